/* DCMTK's own reader of segmentations takes what we write, and sees the same pixels. */
#include "tests/unit/seg/writing.h"

#include "dcmtk/dcmseg/segdoc.h"
#include "dcmtk/dcmseg/segment.h"
#include "dcmtk/dcmseg/segutils.h"

namespace
{

/* Ragged pixels, two segments on slices 1 to 3. */
struct sample : synthetic {
    std::vector<uint8_t> fractions;
    explicit sample(int32_t cols) : synthetic(11, cols, 5)
    {
        unsigned seed = 3;
        for (size_t i = 0; i < 2; i++) {
            (void)add_segment(i == 0 ? "liver" : "spleen");
            for (int32_t k = 1; k < 4; k++)
                for (int32_t r = 0; r < 11; r++)
                    for (int32_t c = static_cast<int32_t>(i); c < cols; c += 2)
                        at(i, k, r, c) = (rand_r(&seed) >> 7 & 1) == 0;
        }
        for (size_t p = 0; p < masks[0].size(); p++)
            fractions.push_back(static_cast<uint8_t>(p % 251));
    }
};

void expect_frames(const sample &s, const dicom_seg_form &form)
{
    temp_dir dir;
    dicom_seg_options o = options_for(key);
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n = 0;
    DcmSegmentation *loaded = nullptr;
    o.form = form;
    assert_int_equal(
        dicom_seg_write(&s.series, s.segments.data(), 2, &o, dir.path.c_str(), files, &n, nullptr), MSA_OK);
    assert_true(DcmSegmentation::loadFile((dir.path + "/seg.dcm").c_str(), loaded).good());
    const std::unique_ptr<DcmSegmentation> seg(loaded);
    assert_int_equal(seg->getNumberOfSegments(), 2);
    assert_int_equal(seg->getNumberOfFrames(), 6);
    for (size_t k = 0; k < 6; k++) {
        const DcmIODTypes::Frame *frame = seg->getFrame(k);
        assert_non_null(frame);
        const size_t segment = k / 3, slice = 1 + k % 3;
        const uint8_t *mask = s.masks[segment].data() + slice * s.pixels();
        if (form.format == DICOM_SEG_FRACTIONAL) {
            assert_memory_equal(frame->pixData, s.fractions.data() + slice * s.pixels(), s.pixels());
            continue;
        }
        const std::unique_ptr<DcmIODTypes::Frame> bytes(
            DcmSegUtils::unpackBinaryFrame(frame, 11, static_cast<Uint16>(s.series.info.cols)));
        assert_memory_equal(bytes->pixData, mask, s.pixels());
    }
}

/* Frames of whole bytes: DCMTK 3.6.7 was seen to unpack others wrongly, which pydicom reads right
 * (check_objects.py). */
void binary_frames_are_read(void **)
{
    for (int32_t cols = 16; cols < 49; cols += 8) {
        const sample s(cols);
        expect_frames(s, {});
        expect_frames(s, {DICOM_SEG_BINARY, DICOM_SEG_SLICER, DICOM_SEG_DEFLATE, 0});
    }
}

void fractional_frames_are_read(void **)
{
    sample s(19);
    for (dicom_segment &segment : s.segments)
        segment.probability = s.fractions.data();
    expect_frames(s, {DICOM_SEG_FRACTIONAL, 0, 0, 0});
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_frames_are_read),
        cmocka_unit_test(fractional_frames_are_read),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
