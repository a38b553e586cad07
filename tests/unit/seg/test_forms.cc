/* Forms of a result: formats, compression, what viewers' profiles change; DCMTK reads the pixels, not our
 * code. */
#include "tests/unit/seg/writing.h"

#include "dcmtk/dcmdata/dcrledrg.h"

#include "engine/base/hash.h"
#include "engine/base/pool.h"

namespace
{

result write_form(const synthetic &s, const temp_dir &dir, const dicom_seg_form &form,
                  const char *name = nullptr)
{
    result r;
    dicom_seg_options o = options_for(key);
    o.form = form;
    o.file_name = name;
    r.status = dicom_seg_write(&s.series, s.segments.data(), s.segments.size(), &o, dir.path.c_str(), r.files,
                               &r.n, &r.err);
    return r;
}

/* Pixel data as DCMTK sees them, decompressed. */
std::vector<uint8_t> pixels_of(const std::string &path, DcmFileFormat &file)
{
    DcmElement *element = nullptr;
    Uint8 *bytes = nullptr;
    Uint16 *words = nullptr;
    assert_true(file.loadFile(path.c_str()).good());
    DcmDataset &d = *file.getDataset();
    assert_true(d.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).good());
    assert_true(d.findAndGetElement(DCM_PixelData, element).good());
    if (element->getUint8Array(bytes).good() && bytes)
        return std::vector<uint8_t>(bytes, bytes + element->getLength());
    assert_true(element->getUint16Array(words).good());
    std::vector<uint8_t> out;
    for (size_t k = 0; k < element->getLength() / 2; k++) {
        out.push_back(static_cast<uint8_t>(words[k]));
        out.push_back(static_cast<uint8_t>(words[k] >> 8));
    }
    return out;
}

unsigned us(DcmItem &item, const DcmTagKey &tag)
{
    Uint16 value = 0;
    assert_true(item.findAndGetUint16(tag, value).good());
    return value;
}

std::string sha256(const std::string &path)
{
    char hex[MSA_SHA256_HEX];
    assert_int_equal(msa_sha256_file(path.c_str(), hex, nullptr), MSA_OK);
    return hex;
}

const int32_t compressions[] = {DICOM_SEG_NONE, DICOM_SEG_RLE, DICOM_SEG_DEFLATE};

/* Two segments of ragged pixels that do not meet, on slices 1 to 3 and 2 to 4. */
struct sample : synthetic {
    std::vector<std::vector<uint8_t>> fractions;
    sample() : synthetic(23, 38, 6)
    {
        unsigned seed = 5;
        for (int i = 0; i < 2; i++) {
            (void)add_segment(i == 0 ? "liver" : "spleen");
            for (int32_t k = 1 + i; k < 4 + i; k++)
                for (int32_t r = 0; r < 23; r++)
                    for (int32_t c = 0; c < 38; c++)
                        at(static_cast<size_t>(i), k, r, c) = (rand_r(&seed) >> 5 & 3) == 0 && c % 2 == i;
        }
    }
    /* Certain inside, less outside, and something on slices that have no mask. */
    void add_probability()
    {
        for (size_t i = 0; i < 2; i++) {
            fractions.emplace_back(masks[i].size());
            for (size_t p = 0; p < masks[i].size(); p++)
                fractions[i][p] = static_cast<uint8_t>(masks[i][p] ? 128 + p % 128 : p % 97);
        }
        for (size_t i = 0; i < 2; i++)
            segments[i].probability = fractions[i].data();
    }
};

void fractional_holds_probabilities(void **)
{
    for (const int32_t compression : compressions) {
        temp_dir dir;
        sample s;
        s.add_probability();
        expect_written(write_form(s, dir, {DICOM_SEG_FRACTIONAL, 0, compression, 0}), 1);
        DcmFileFormat file;
        const std::vector<uint8_t> got = pixels_of(dir.path + "/seg.dcm", file);
        DcmDataset &d = *file.getDataset();
        assert_string_equal(dicom::seg::text_of(d, DCM_SegmentationType).c_str(), "FRACTIONAL");
        assert_string_equal(dicom::seg::text_of(d, DCM_SegmentationFractionalType).c_str(), "PROBABILITY");
        assert_int_equal(us(d, DCM_MaximumFractionalValue), 255);
        assert_int_equal(us(d, DCM_BitsAllocated), 8);
        assert_int_equal(us(d, DCM_HighBit), 7);
        assert_string_equal(dicom::seg::text_of(d, DCM_NumberOfFrames).c_str(), "6");
        assert_int_equal(got.size(), 6 * s.pixels());
        for (size_t i = 0; i < 2; i++)
            assert_memory_equal(got.data() + i * 3 * s.pixels(), s.fractions[i].data() + (1 + i) * s.pixels(),
                                3 * s.pixels());
    }
}

void fractional_without_probabilities_is_occupancy(void **)
{
    temp_dir dir;
    sample s;
    expect_written(write_form(s, dir, {DICOM_SEG_FRACTIONAL, 0, 0, 0}), 1);
    DcmFileFormat file;
    const std::vector<uint8_t> got = pixels_of(dir.path + "/seg.dcm", file);
    assert_string_equal(dicom::seg::text_of(*file.getDataset(), DCM_SegmentationFractionalType).c_str(),
                        "OCCUPANCY");
    for (size_t p = 0; p < 3 * s.pixels(); p++)
        assert_int_equal(got[p], s.masks[0][s.pixels() + p] ? 255 : 0);
}

void label_map_has_a_frame_for_each_slice(void **)
{
    for (const int32_t compression : compressions) {
        temp_dir dir;
        sample s;
        const result r = write_form(s, dir, {DICOM_SEG_LABELMAP, 0, compression, 0});
        expect_written(r, 1);
        assert_string_equal(r.files[0].sop_class_uid, "1.2.840.10008.5.1.4.1.1.66.7");
        DcmFileFormat file;
        const std::vector<uint8_t> got = pixels_of(dir.path + "/seg.dcm", file);
        DcmDataset &d = *file.getDataset();
        assert_string_equal(dicom::seg::text_of(d, DCM_SOPClassUID).c_str(), "1.2.840.10008.5.1.4.1.1.66.7");
        assert_string_equal(dicom::seg::text_of(d, DCM_SegmentationType).c_str(), "LABELMAP");
        assert_int_equal(us(d, DCM_BitsAllocated), 8);
        assert_int_equal(us(d, DCM_PixelPaddingValue), 0);
        assert_int_equal(got.size(), 4 * s.pixels()); /* slices 1 to 4 */
        for (size_t p = 0; p < got.size(); p++)
            assert_int_equal(got[p], s.masks[0][s.pixels() + p] ? 1 : s.masks[1][s.pixels() + p] ? 2 : 0);
        DcmItem *groups = nullptr;
        assert_true(d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, 3).good());
        assert_false(groups->tagExists(DCM_SegmentIdentificationSequence));
        const Uint32 *index = nullptr;
        unsigned long n = 0;
        assert_true(in_frame(d, 3, DCM_FrameContentSequence)
                        .findAndGetUint32Array(DCM_DimensionIndexValues, index, &n)
                        .good());
        assert_int_equal(n, 1);
        assert_int_equal(index[0], 4);
    }
}

/* More segments than 8 bits count, which also is many segments: a pixel each. */
void many_labels_need_16_bits(void **)
{
    for (const int32_t compression : compressions) {
        temp_dir dir;
        synthetic s(20, 21, 3);
        for (int k = 0; k < 300; k++)
            s.at(s.add_segment(("structure " + std::to_string(k)).c_str()), k % 3, k / 20, k % 20) = 1;
        const result r = write_form(s, dir, {DICOM_SEG_LABELMAP, 0, compression, 0});
        expect_written(r, 1);
        assert_int_equal(r.files[0].segments, 300);
        DcmFileFormat file;
        const std::vector<uint8_t> got = pixels_of(dir.path + "/seg.dcm", file);
        assert_int_equal(us(*file.getDataset(), DCM_BitsAllocated), 16);
        assert_int_equal(got.size(), 3 * 2 * s.pixels());
        for (unsigned k = 0; k < 300; k++) {
            const size_t at = 2 * (k % 3 * s.pixels() + k / 20 * 21 + k % 20);
            assert_int_equal(got[at] | got[at + 1] << 8, k + 1);
        }
    }
}

/* 130 segments, each of which overlaps its two neighbours: no pixel is lost, and no object has an overlap. */
void many_overlapping_segments_keep_every_pixel(void **)
{
    temp_dir dir;
    synthetic s(16, 150, 4);
    for (int k = 0; k < 130; k++) {
        const size_t segment = s.add_segment(("structure " + std::to_string(k)).c_str());
        for (int32_t slice = 0; slice < 4; slice++)
            for (int32_t c = k; c < k + 3; c++)
                s.at(segment, slice, k % 16, c) = s.at(segment, slice, (k + 1) % 16, c) = 1;
    }
    const result r = write_form(s, dir, {});
    assert_int_equal(r.status, MSA_OK);
    int32_t segments = 0, frames = 0;
    for (size_t k = 0; k < r.n; k++) {
        segments += r.files[k].segments;
        frames += r.files[k].frames;
    }
    assert_in_range(r.n, 2, 4);
    assert_int_equal(segments, 130);
    assert_int_equal(frames, 130 * 4);
    assert_string_equal(r.files[0].series_uid, r.files[1].series_uid);
}

void profiles_change_what_their_viewer_needs(void **)
{
    temp_dir dir;
    synthetic s(9, 10, 4);
    for (int k = 0; k < 3; k++) {
        const size_t segment = s.add_segment("x");
        for (int32_t slice = 0; slice < 4; slice++)
            s.at(segment, slice, 1, 1) = 1;
    }
    result r = write_form(s, dir, {0, DICOM_SEG_OHIF, 0, 0});
    expect_written(r, 3);
    assert_string_not_equal(r.files[0].series_uid, r.files[1].series_uid);
    DcmFileFormat file;
    (void)pixels_of(dir.path + "/seg-3.dcm", file);
    assert_string_equal(dicom::seg::text_of(*file.getDataset(), DCM_InstanceNumber).c_str(), "1");
    assert_string_equal(dicom::seg::text_of(*file.getDataset(), DCM_SeriesNumber).c_str(), "902");
    assert_string_equal(dicom::seg::text_of(*file.getDataset(), DCM_SeriesInstanceUID).c_str(),
                        r.files[2].series_uid);

    r = write_form(s, dir, {0, DICOM_SEG_SLICER, 0, 0});
    expect_written(r, 1);
    assert_int_equal(r.files[0].segments, 3);
    assert_int_equal(r.files[0].frames, 12);
    r = write_form(s, dir, {DICOM_SEG_LABELMAP, DICOM_SEG_SLICER, 0, 0}); /* a label map holds no overlap */
    expect_written(r, 3);
}

void weasis_gets_at_most_400_frames(void **)
{
    temp_dir dir;
    synthetic s(3, 4, 150);
    for (int k = 0; k < 5; k++) {
        const size_t segment = s.add_segment("x");
        for (int32_t slice = 0; slice < 150; slice++)
            s.at(segment, slice, k / 4, k % 4) = 1;
    }
    const result r = write_form(s, dir, {0, DICOM_SEG_WEASIS, 0, 0});
    expect_written(r, 3);
    for (size_t k = 0; k < 3; k++) {
        assert_true(r.files[k].frames <= 400);
        assert_string_equal(r.files[k].series_uid, r.files[0].series_uid);
    }
    expect_written(write_form(s, dir, {}), 1);
}

void empty_frames_on_request(void **)
{
    temp_dir dir;
    sample s;
    s.add_probability();
    for (int32_t format = DICOM_SEG_BINARY; format <= DICOM_SEG_LABELMAP; format++) {
        const result r = write_form(s, dir, {format, 0, 0, 1});
        expect_written(r, 1);
        assert_int_equal(r.files[0].frames, format == DICOM_SEG_LABELMAP ? 6 : 12);
        DcmFileFormat file;
        const std::vector<uint8_t> got = pixels_of(dir.path + "/seg.dcm", file);
        if (format == DICOM_SEG_BINARY) continue;
        for (size_t p = 0; p < s.pixels(); p++) /* slice 0 is empty, whatever its probabilities are */
            assert_int_equal(got[p], 0);
    }
}

/* Another form is another object; other bytes of the same form are the same object. */
void forms_have_uids_of_their_own(void **)
{
    temp_dir dir;
    sample s;
    std::vector<std::string> objects, series;
    for (int32_t format = DICOM_SEG_BINARY; format <= DICOM_SEG_LABELMAP; format++)
        for (int32_t profile = DICOM_SEG_STRICT; profile <= DICOM_SEG_WEASIS; profile++)
            for (int32_t empty = 0; empty < 2; empty++) {
                const result r = write_form(s, dir, {format, profile, 0, empty});
                expect_written(r, 1);
                objects.push_back(r.files[0].sop_instance_uid);
                series.push_back(r.files[0].series_uid);
                const result deflated =
                    write_form(s, dir, {format, profile, DICOM_SEG_DEFLATE, empty}, "small");
                expect_written(deflated, 1);
                assert_string_equal(deflated.files[0].name, "small.dcm");
                assert_string_equal(deflated.files[0].sop_instance_uid, r.files[0].sop_instance_uid);
            }
    for (const auto &uids : {objects, series})
        for (size_t i = 0; i < uids.size(); i++)
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(uids[i].c_str(), uids[k].c_str());
}

void same_input_same_bytes_in_every_form(void **)
{
    temp_dir dir;
    sample s;
    s.add_probability();
    for (int32_t format = DICOM_SEG_BINARY; format <= DICOM_SEG_LABELMAP; format++)
        for (const int32_t compression : compressions) {
            if (format == DICOM_SEG_BINARY && compression == DICOM_SEG_RLE) continue;
            expect_written(write_form(s, dir, {format, 0, compression, 0}, "a"), 1);
            expect_written(write_form(s, dir, {format, 0, compression, 0}, "b"), 1);
            assert_string_equal(sha256(dir.path + "/a.dcm").c_str(), sha256(dir.path + "/b.dcm").c_str());
        }
}

/* Invariant 10. One call of this test starts threads for good, so it comes last. */
void any_number_of_threads_gives_the_same_bytes(void **)
{
    temp_dir dir;
    synthetic s(40, 41, 90);
    for (int k = 0; k < 6; k++) {
        const size_t segment = s.add_segment(("structure " + std::to_string(k)).c_str());
        for (int32_t slice = k; slice < 80 + k; slice++)
            for (int32_t c = 0; c < 9; c++)
                s.at(segment, slice, slice % 40, 4 * k + c) = 1;
    }
    const result one = write_form(s, dir, {}, "one");
    msa_threads_set(4);
    const result four = write_form(s, dir, {}, "four");
    msa_threads_set(1);
    assert_int_equal(one.status, MSA_OK);
    assert_int_equal(four.status, MSA_OK);
    assert_int_equal(one.n, four.n);
    assert_true(one.n > 1);
    for (size_t k = 0; k < one.n; k++)
        assert_string_equal(sha256(dir.path + "/" + one.files[k].name).c_str(),
                            sha256(dir.path + "/" + four.files[k].name).c_str());
}

/* The read-back of each form sees one changed byte of its pixels. */
void a_changed_byte_is_noticed(void **)
{
    for (int32_t format = DICOM_SEG_BINARY; format <= DICOM_SEG_LABELMAP; format++)
        for (const int32_t compression : compressions) {
            if (format == DICOM_SEG_BINARY && compression == DICOM_SEG_RLE) continue;
            temp_dir dir;
            sample s;
            const dicom_seg_form form = {format, 0, compression, 0};
            const dicom_segment *segments[] = {&s.segments[0], &s.segments[1]};
            const std::string path = dir.path + "/seg.dcm";
            expect_written(write_form(s, dir, form), 1);
            msa_error err = MSA_ERROR_INIT;
            assert_int_equal(dicom_seg_verify(&s.series, segments, 2, &form, path.c_str(), &err), MSA_OK);
            FILE *file = std::fopen(path.c_str(), "r+b");
            assert_non_null(file);
            /* inside the last frame, before padding and the end of the fragments */
            assert_int_equal(std::fseek(file, compression == DICOM_SEG_DEFLATE ? -40 : -60, SEEK_END), 0);
            const int byte = std::fgetc(file);
            assert_int_equal(std::fseek(file, -1, SEEK_CUR), 0);
            assert_int_not_equal(std::fputc(byte ^ 0x11, file), EOF);
            assert_int_equal(std::fclose(file), 0);
            const msa_status st = dicom_seg_verify(&s.series, segments, 2, &form, path.c_str(), &err);
            assert_int_equal(st, MSA_E_INTERNAL);
        }
}

void forms_that_are_none_are_refused(void **)
{
    temp_dir dir;
    sample s;
    assert_int_equal(write_form(s, dir, {DICOM_SEG_BINARY, 0, DICOM_SEG_RLE, 0}).status, MSA_E_UNSUPPORTED);
    assert_int_equal(write_form(s, dir, {3, 0, 0, 0}).status, MSA_E_INVALID);
    assert_int_equal(write_form(s, dir, {0, 4, 0, 0}).status, MSA_E_INVALID);
    assert_int_equal(write_form(s, dir, {0, 0, -1, 0}).status, MSA_E_INVALID);
    assert_int_equal(dir.names().size(), 0);
    char name[DICOM_SEG_FORM_NAME_MAX];
    const dicom_seg_form plain = {},
                         long_name = {DICOM_SEG_FRACTIONAL, DICOM_SEG_WEASIS, DICOM_SEG_DEFLATE, 1};
    dicom_seg_form_name(&plain, name);
    assert_string_equal(name, "binary");
    dicom_seg_form_name(&long_name, name);
    assert_string_equal(name, "fractional-weasis-deflate-empty");
}

int init_codecs(void **state)
{
    DcmRLEDecoderRegistration::registerCodecs();
    return init(state);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fractional_holds_probabilities),
        cmocka_unit_test(fractional_without_probabilities_is_occupancy),
        cmocka_unit_test(label_map_has_a_frame_for_each_slice),
        cmocka_unit_test(many_labels_need_16_bits),
        cmocka_unit_test(many_overlapping_segments_keep_every_pixel),
        cmocka_unit_test(profiles_change_what_their_viewer_needs),
        cmocka_unit_test(weasis_gets_at_most_400_frames),
        cmocka_unit_test(empty_frames_on_request),
        cmocka_unit_test(forms_have_uids_of_their_own),
        cmocka_unit_test(same_input_same_bytes_in_every_form),
        cmocka_unit_test(a_changed_byte_is_noticed),
        cmocka_unit_test(forms_that_are_none_are_refused),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, init_codecs, nullptr);
}
