/* Outlines by hand, and structure sets read back by the reader of structure sets: the same mask, pixel by
 * pixel. */
#include "tests/unit/seg/writing.h"

#include "dicom/labels.h"
#include "dicom/structure/outline.h"
#include "dicom/structure_set.h"

using dicom::structure::find_outlines;
using dicom::structure::polygon;

namespace
{

const char NAME[] = "/structure-set.dcm";

std::string text_of(const polygon &p)
{
    std::string out;
    for (const auto &c : p)
        out += "(" + std::to_string(c.x) + "," + std::to_string(c.y) + ")";
    return out;
}

void test_one_pixel(void **)
{
    const uint8_t plane[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0};
    const auto all = find_outlines(plane, 3, 3);
    assert_int_equal(all.size(), 1);
    assert_string_equal(text_of(all[0]).c_str(), "(2,1)(2,2)(1,2)(1,1)");
}

void test_hole(void **)
{
    const uint8_t plane[9] = {1, 1, 1, 1, 0, 1, 1, 1, 1};
    const auto all = find_outlines(plane, 3, 3);
    assert_int_equal(all.size(), 2);
    assert_string_equal(text_of(all[0]).c_str(), "(3,0)(3,3)(0,3)(0,0)");
    assert_string_equal(text_of(all[1]).c_str(), "(2,2)(2,1)(1,1)(1,2)"); /* the other way round */
}

void test_corners_do_not_join(void **)
{
    const uint8_t plane[4] = {1, 0, 0, 1};
    const auto all = find_outlines(plane, 2, 2);
    assert_int_equal(all.size(), 2);
    assert_string_equal(text_of(all[0]).c_str(), "(1,0)(1,1)(0,1)(0,0)");
    assert_string_equal(text_of(all[1]).c_str(), "(2,1)(2,2)(1,2)(1,1)");
}

/* Every other thing at random, so that all turns, holes and touching corners occur. */
void draw(synthetic &s, size_t segment, unsigned seed)
{
    for (int32_t k = 0; k < s.series.info.slices; k++)
        for (int32_t y = 0; y < s.series.info.rows; y++)
            for (int32_t x = 0; x < s.series.info.cols; x++) {
                seed = seed * 1664525u + 1013904223u;
                s.at(segment, k, y, x) = seed >> 31;
            }
}

void test_there_and_back(void **)
{
    temp_dir out;
    synthetic s(13, 17, 4);
    dicom_seg_file file;
    msa_error err = MSA_ERROR_INIT;
    s.add_segment("Liver");
    s.add_segment("nothing");
    s.add_segment("Tumour");
    draw(s, 0, 1);
    draw(s, 2, 7);
    const dicom_seg_options options = options_for("key");
    assert_int_equal(
        dicom_structure_set_write(&s.series, s.segments.data(), 3, &options, out.path.c_str(), &file, &err),
        MSA_OK);
    assert_int_equal(file.segments, 2);

    dicom_masks *masks = nullptr;
    assert_int_equal(dicom_masks_read(&masks, &s.series, (out.path + NAME).c_str(), &err), MSA_OK);
    assert_int_equal(dicom_masks_count(masks), 2);
    const size_t of_segment[2] = {0, 2};
    for (size_t i = 0; i < 2; i++) {
        std::vector<uint8_t> mask(s.masks[0].size(), 9);
        assert_int_equal(dicom_masks_fill(masks, i, mask.data(), nullptr, &err), MSA_OK);
        assert_true(mask == s.masks[of_segment[i]]);
        assert_string_equal(dicom_masks_at(masks, i)->name, s.segments[of_segment[i]].label);
        assert_int_equal(dicom_masks_at(masks, i)->planes_outside, 0);
    }
    dicom_masks_free(masks);
}

void test_nothing(void **)
{
    temp_dir out;
    synthetic s(4, 4, 2);
    dicom_seg_file file;
    msa_error err = MSA_ERROR_INIT;
    s.add_segment("nothing");
    const dicom_seg_options options = options_for("key");
    assert_int_equal(
        dicom_structure_set_write(&s.series, s.segments.data(), 1, &options, out.path.c_str(), &file, &err),
        MSA_E_NOT_FOUND);
    assert_int_equal(access((out.path + NAME).c_str(), F_OK), -1);
}

void test_same_bytes(void **)
{
    temp_dir one, two;
    synthetic s(8, 8, 2);
    dicom_seg_file file;
    msa_error err = MSA_ERROR_INIT;
    s.add_segment("Spleen");
    draw(s, 0, 3);
    const dicom_seg_options options = options_for("key");
    for (const temp_dir *to : {&one, &two})
        assert_int_equal(dicom_structure_set_write(&s.series, s.segments.data(), 1, &options,
                                                   to->path.c_str(), &file, &err),
                         MSA_OK);
    assert_true(bytes_of(one.path + NAME) == bytes_of(two.path + NAME));
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_one_pixel),
        cmocka_unit_test(test_hole),
        cmocka_unit_test(test_corners_do_not_join),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_same_bytes),
    };
    return cmocka_run_group_tests_name("structure set", tests, nullptr, nullptr);
}
