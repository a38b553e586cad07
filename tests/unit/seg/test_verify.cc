/* Invariant 6: what lies on disk is compared with memory before anybody sees it. */
#include "tests/unit/seg/writing.h"

#include <algorithm>

#include "dicom/seg/digest.h"

namespace
{

/* Spoils a written object and expects the read-back to find it. */
void expect_noticed(const char *words, const std::function<void(DcmDataset &)> &spoil)
{
    temp_dir dir;
    synthetic s(13, 17, 6);
    for (const char *label : {"liver", "spleen"})
        (void)s.add_segment(label);
    for (int32_t k = 1; k < 5; k++) {
        s.at(0, k, 2, 3) = s.at(0, k, 3, 3) = s.at(0, k, 3, 4) = 1;
        s.at(1, k, 10, 11) = s.at(1, k, 12, 16) = 1;
    }
    expect_written(write(s, dir), 1);
    const std::string path = dir.path + "/seg.dcm";
    const dicom_seg_form form = {};
    const dicom_segment *segments[] = {&s.segments[0], &s.segments[1]};
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_seg_verify(&s.series, segments, 2, &form, path.c_str(), &err), MSA_OK);
    DcmFileFormat file;
    assert_true(file.loadFile(path.c_str()).good());
    assert_true(file.loadAllDataIntoMemory().good());
    spoil(*file.getDataset());
    assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit, EET_ExplicitLength).good());
    assert_int_equal(dicom_seg_verify(&s.series, segments, 2, &form, path.c_str(), &err), MSA_E_INTERNAL);
    if (!std::strstr(err.what, words)) fail_msg("'%s' does not say '%s'", err.what, words);
}

void flip_bit(DcmDataset &d, size_t bit)
{
    DcmElement *element = nullptr;
    Uint8 *bytes = nullptr;
    if (d.findAndGetElement(DCM_PixelData, element).bad() || element->getUint8Array(bytes).bad())
        std::abort();
    bytes[bit / 8] = static_cast<Uint8>(bytes[bit / 8] ^ 1u << (bit % 8));
}

void reading_back_finds_a_flipped_bit(void **)
{
    const size_t pixels = 13 * 17;
    expect_noticed("segment 1, slice 3: pixel (row 5, column 9) was read back as 1",
                   [&](DcmDataset &d) { flip_bit(d, 2 * pixels + 5 * 17 + 9); });
    expect_noticed("segment 2, slice 4: pixel (row 12, column 16) was read back as 0",
                   [&](DcmDataset &d) { flip_bit(d, 8 * pixels - 1); });
}

void reading_back_finds_a_wrong_plane(void **)
{
    expect_noticed("segment 1, slice 2: the frame's plane position", [](DcmDataset &d) {
        set(in_frame(d, 1, DCM_PlanePositionSequence), DCM_ImagePositionPatient, "-12.50\\3.250\\15.000001");
    });
    expect_noticed("segment 2, slice 1: the frame's plane position",
                   [](DcmDataset &d) { /* other words for the same number */
                                       set(in_frame(d, 4, DCM_PlanePositionSequence),
                                           DCM_ImagePositionPatient, "-12.5\\3.25\\12.5");
                   });
    expect_noticed("orientation", [](DcmDataset &d) {
        set(in_shared(d, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, "0\\1\\0\\1\\0\\0");
    });
    expect_noticed("pixel spacing", [](DcmDataset &d) { /* rows and columns swapped */
                                                        set(in_shared(d, DCM_PixelMeasuresSequence),
                                                            DCM_PixelSpacing, ".9\\0.70");
    });
}

void reading_back_finds_wrong_references(void **)
{
    expect_noticed("frame of reference", [](DcmDataset &d) { set(d, DCM_FrameOfReferenceUID, "1.2.3"); });
    expect_noticed("another study", [](DcmDataset &d) { set(d, DCM_StudyInstanceUID, "1.2.3"); });
    expect_noticed("frame 3 belongs to no segment", [](DcmDataset &d) {
        if (in_frame(d, 2, DCM_SegmentIdentificationSequence)
                .putAndInsertUint16(DCM_ReferencedSegmentNumber, 3)
                .bad())
            std::abort();
    });
    const auto rename_source = [](DcmDataset &d, const char *uid) {
        DcmItem *image = nullptr;
        if (in_frame(d, 0, DCM_DerivationImageSequence)
                .findAndGetSequenceItem(DCM_SourceImageSequence, image, 0)
                .bad())
            std::abort();
        set(*image, DCM_ReferencedSOPInstanceUID, uid);
    };
    expect_noticed("frame 1 names no image", [&](DcmDataset &d) { rename_source(d, "1.2.3"); });
    expect_noticed("segment 1, slice 0: the frame's plane position",
                   [&](DcmDataset &d) { rename_source(d, "1.2.826.1.1"); });
    expect_noticed("number of frames", [](DcmDataset &d) { set(d, DCM_NumberOfFrames, "7"); });
}

/* The writer's digests stand for the masks: one that is another's, or of a slice that has no frame, is told.
 */
void reading_back_goes_by_the_digests(void **)
{
    temp_dir dir;
    synthetic s(13, 17, 4);
    (void)s.add_segment("liver");
    s.at(0, 1, 5, 6) = s.at(0, 1, 12, 16) = s.at(0, 2, 0, 0) = 1;
    expect_written(write(s, dir), 1);
    const std::string path = dir.path + "/seg.dcm";
    const dicom_segment *segments[] = {&s.segments[0]};
    const size_t pixels = s.pixels();
    const auto told = [&](const std::vector<uint64_t> &digests) {
        msa_error err = MSA_ERROR_INIT;
        const uint64_t *const of_segment[] = {digests.data()};
        const msa_status status =
            dicom::seg::verify_file(s.series, segments, 1, of_segment, {}, path.c_str(), &err);
        return status == MSA_OK ? std::string() : std::string(err.what);
    };
    std::vector<uint64_t> digests;
    for (size_t k = 0; k < 4; k++)
        digests.push_back(dicom::seg::digest_pixels(s.masks[0].data() + k * pixels, pixels, 0));
    assert_int_equal(digests[0], 0);
    assert_int_equal(digests[3], 0);
    assert_string_equal(told(digests).c_str(), "");
    digests[3] = 1;
    assert_string_equal(told(digests).c_str(), "segment 1, slice 3: the frame is missing");
    digests[3] = 0;
    std::swap(digests[1], digests[2]);
    assert_string_equal(told(digests).c_str(),
                        "segment 1, slice 1: the mask is not what it was when written");
}

/* A digest tells any two slices apart that differ in a pixel, and is the same in whatever pieces it is taken.
 */
void digests_tell_pixels_apart(void **)
{
    std::vector<uint8_t> mask(200, 0);
    std::vector<uint64_t> seen = {0};
    assert_int_equal(dicom::seg::digest_pixels(mask.data(), mask.size(), 0), 0);
    for (size_t p = 0; p < mask.size(); p++) {
        mask[p] = 1;
        const uint64_t whole = dicom::seg::digest_pixels(mask.data(), mask.size(), 0);
        const uint64_t parts = dicom::seg::digest_pixels(mask.data(), 72, 0) +
                               dicom::seg::digest_pixels(mask.data() + 72, 128, 72);
        assert_true(whole == parts);
        assert_true(std::find(seen.begin(), seen.end(), whole) == seen.end());
        seen.push_back(whole);
        mask[p] = 255; /* any byte but 0 is set */
        assert_true(whole == dicom::seg::digest_pixels(mask.data(), mask.size(), 0));
        mask[p] = 0;
    }
}

/* What the engine took for the geometry differs from what the headers say. */
void reading_back_finds_a_moved_centroid(void **)
{
    temp_dir dir;
    synthetic s(64, 64, 3);
    s.at(s.add_segment("x"), 1, 40, 50) = 1;
    std::swap(s.series.info.spacing_mm[0], s.series.info.spacing_mm[1]);
    const result r = write(s, dir);
    assert_int_equal(r.status, MSA_E_INTERNAL);
    assert_non_null(std::strstr(r.err.what, "segment 1: its centroid"));
    assert_int_equal(dir.names().size(), 0); /* what failed is not left behind */
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_back_finds_a_flipped_bit),
        cmocka_unit_test(reading_back_finds_a_wrong_plane),
        cmocka_unit_test(reading_back_finds_wrong_references),
        cmocka_unit_test(reading_back_finds_a_moved_centroid),
        cmocka_unit_test(reading_back_goes_by_the_digests),
        cmocka_unit_test(digests_tell_pixels_apart),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
