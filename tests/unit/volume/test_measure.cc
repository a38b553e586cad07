/* Measures of masks whose answers are known by hand: bars, a single voxel, two slices, a turned patient. */
#include "tests/unit/seg/synthetic.h"

#include <cstdarg>
#include <cstddef>
#include <csetjmp>
#include <cstdint>

extern "C" {
#include <cmocka.h>
#include "server/segment/measure.h"
}

namespace
{

void assert_near(double a, double b)
{
    if (std::fabs(a - b) > 1e-9 * (1 + std::fabs(b))) fail_msg("%.12g is not %.12g", a, b);
}

/* Rows 0.7 mm, columns 0.9 mm, slices 2.5 mm apart; a voxel's value is 100 slices + 10 rows + columns. */
struct example {
    synthetic s{12, 10, 3};
    dicom_measures m = {};

    example()
    {
        s.add_segment("it");
        for (int32_t k = 0; k < 3; k++)
            for (int32_t y = 0; y < 12; y++)
                for (int32_t x = 0; x < 10; x++)
                    s.series.voxels.push_back(static_cast<float>(100 * k + 10 * y + x));
    }
    void bar(int32_t k, int32_t y0, int32_t y1, int32_t x0, int32_t x1)
    {
        for (int32_t y = y0; y < y1; y++)
            for (int32_t x = x0; x < x1; x++)
                s.at(0, k, y, x) = 1;
    }
    void measure(int32_t first, int32_t last)
    {
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(srv_measure(&m, &s.series, s.masks[0].data(), first, last, &err), MSA_OK);
    }
};

void test_one_voxel(void **)
{
    example e;
    e.bar(1, 3, 4, 7, 8);
    e.measure(1, 1);
    assert_near(e.m.volume_ml, 0.7 * 0.9 * 2.5 / 1000);
    assert_near(e.m.mean, 137);
    assert_near(e.m.deviation, 0);
    assert_near(e.m.least, 137);
    assert_near(e.m.greatest, 137);
    assert_near(e.m.long_axis_mm, std::hypot(0.7, 0.9));
    assert_near(e.m.short_axis_mm,
                2 * 0.7 * 0.9 / std::hypot(0.7, 0.9)); /* the other corners' distance from it */
    assert_near(e.m.center_mm[0], -12.5 + 7 * 0.9);
    assert_near(e.m.center_mm[1], 3.25 + 3 * 0.7);
    assert_near(e.m.center_mm[2], 12.5);
}

/* The longer bar's slice gives both axes, also where the other one is wider. */
void test_axes_are_of_one_slice(void **)
{
    example e;
    e.bar(0, 0, 12, 2, 3);
    e.bar(2, 0, 6, 2, 6);
    e.measure(0, 2);
    const double along = std::hypot(12 * 0.7, 0.9);
    assert_near(e.m.long_axis_mm, along);
    assert_near(e.m.short_axis_mm, 2 * 12 * 0.7 * 0.9 / along);
    assert_near(e.m.volume_ml, (12 + 24) * 0.7 * 0.9 * 2.5 / 1000);
}

/* A ring's hole counts for its volume and not for its axes. */
void test_hole(void **)
{
    example e;
    e.bar(0, 2, 7, 2, 7);
    e.measure(0, 0);
    const dicom_measures full = e.m;
    for (int32_t y = 3; y < 6; y++)
        for (int32_t x = 3; x < 6; x++)
            e.s.at(0, 0, y, x) = 0;
    e.measure(0, 0);
    assert_near(e.m.long_axis_mm, full.long_axis_mm);
    assert_near(e.m.short_axis_mm, full.short_axis_mm);
    assert_near(e.m.volume_ml, full.volume_ml * 16 / 25);
    assert_near(e.m.center_mm[0], full.center_mm[0]);
}

void test_spread(void **)
{
    example e;
    e.bar(0, 0, 1, 0, 4); /* 0, 1, 2, 3 */
    e.measure(0, 0);
    assert_near(e.m.mean, 1.5);
    assert_near(e.m.deviation, std::sqrt(1.25));
    assert_near(e.m.least, 0);
    assert_near(e.m.greatest, 3);
}

/* Rows run along -z and columns along y: the centre follows the directions. */
void test_turned(void **)
{
    example e;
    dicom_volume_info &info = e.s.series.info;
    info.row_dir[0] = 0, info.row_dir[2] = -1;
    e.bar(1, 0, 1, 0, 3);
    e.measure(1, 1);
    assert_near(e.m.center_mm[0], -12.5);
    assert_near(e.m.center_mm[2], 12.5 - 0.9);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_one_voxel), cmocka_unit_test(test_axes_are_of_one_slice),
        cmocka_unit_test(test_hole),      cmocka_unit_test(test_spread),
        cmocka_unit_test(test_turned),
    };
    return cmocka_run_group_tests_name("measure", tests, nullptr, nullptr);
}
