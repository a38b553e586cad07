/* Coordinates there and back, boxes, and logits back onto pixels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/finish.h"
#include "engine/volume/geometry.h"

static const int32_t shapes[][2] = {{512, 512}, {37, 53}, {53, 37}, {1, 1}, {3, 1000}, {256, 240}, {640, 64}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static void coordinates_come_back(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (size_t k = 0; k < SHAPES; k++) {
        for (int geometry = MSA_GEOMETRY_LONGEST_SIDE; geometry <= MSA_GEOMETRY_STRETCH; geometry++) {
            const msa_transform t =
                msa_transform_make((msa_geometry)geometry, shapes[k][0], shapes[k][1], 256);
            for (int i = 0; i < 200; i++) {
                const float x = (float)next_random(&seed) / 16777216.0F * (float)t.cols;
                const float y = (float)next_random(&seed) / 16777216.0F * (float)t.rows;
                float in_x = 0, in_y = 0, back_x = 0, back_y = 0;
                msa_transform_to_input(&t, x, y, &in_x, &in_y);
                msa_transform_to_image(&t, in_x, in_y, &back_x, &back_y);
                assert_float_equal(back_x, x, 1e-3);
                assert_float_equal(back_y, y, 1e-3);
            }
        }
    }
}

/* The encoder adds 0.5: the image's corners must then be the corners of its part of the input, exactly. */
static void corners_meet_corners(void **state)
{
    (void)state;
    for (size_t k = 0; k < SHAPES; k++) {
        const msa_transform t =
            msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, shapes[k][0], shapes[k][1], 1024);
        float x = 0, y = 0;
        msa_transform_to_input(&t, 0, 0, &x, &y);
        assert_float_equal(x + 0.5F, 0, 1e-6);
        assert_float_equal(y + 0.5F, 0, 1e-6);
        msa_transform_to_input(&t, (float)t.cols, (float)t.rows, &x, &y);
        assert_float_equal(x + 0.5F, t.in_cols, 1e-3);
        assert_float_equal(y + 0.5F, t.in_rows, 1e-3);
        assert_true(t.in_cols <= 1024 && t.in_rows <= 1024 && t.in_cols >= 1 && t.in_rows >= 1);
        assert_true(t.in_cols == 1024 || t.in_rows == 1024);
    }
}

/* At scale 1 the centre of pixel i, i + 0.5 from the corner, is SAM's index i. */
static void pixel_centres_are_sams_indices(void **state)
{
    (void)state;
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 64, 64, 64);
    float x = 0, y = 0;
    msa_transform_to_input(&t, 10.5F, 20.5F, &x, &y);
    assert_float_equal(x, 10, 1e-6);
    assert_float_equal(y, 20, 1e-6);
}

static void boxes_cover_the_pixels_they_touch(void **state)
{
    (void)state;
    msa_region r = msa_box_region((msa_box){1.2F, 3, 4.1F, 5}, 10, 10);
    assert_int_equal(r.x0, 1);
    assert_int_equal(r.y0, 3);
    assert_int_equal(r.x1, 5);
    assert_int_equal(r.y1, 5);
    r = msa_box_region((msa_box){-3, -3, 400, 0.5F}, 10, 12);
    assert_int_equal(r.x0, 0);
    assert_int_equal(r.x1, 12);
    assert_int_equal(r.y0, 0);
    assert_int_equal(r.y1, 1);
    r = msa_box_region((msa_box){20, 20, 30, 30}, 10, 10);
    assert_true(r.x0 >= r.x1);
    const msa_box grown = msa_box_grow((msa_box){10, 10, 110, 20}, 0.1F, 2);
    assert_float_equal(grown.x0, 0, 1e-4);
    assert_float_equal(grown.y0, 8, 1e-4);
}

/* The definition, step by step in double; what finish.c folds into one. */
static double bilinear(const double *in, int32_t rows, int32_t cols, int32_t stride, double y, double x)
{
    y = y > 0 ? y : 0;
    x = x > 0 ? x : 0;
    const int32_t y0 = (int32_t)y < rows - 1 ? (int32_t)y : rows - 1;
    const int32_t x0 = (int32_t)x < cols - 1 ? (int32_t)x : cols - 1;
    const int32_t y1 = y0 + 1 < rows ? y0 + 1 : y0;
    const int32_t x1 = x0 + 1 < cols ? x0 + 1 : x0;
    const double fy = y - y0;
    const double fx = x - x0;
    return (1 - fy) * ((1 - fx) * in[y0 * stride + x0] + fx * in[y0 * stride + x1]) +
           fy * ((1 - fx) * in[y1 * stride + x0] + fx * in[y1 * stride + x1]);
}

static void finishing_equals_two_bilinear_steps(void **state)
{
    (void)state;
    enum { LOW = 16, S = 64 };
    float logits[LOW * LOW];
    double low[LOW * LOW];
    static double big[S * S];
    uint32_t seed = 99;
    for (int i = 0; i < LOW * LOW; i++)
        low[i] = logits[i] = (float)next_random(&seed) / 8388608.0F - 1;
    for (int y = 0; y < S; y++)
        for (int x = 0; x < S; x++)
            big[y * S + x] =
                bilinear(low, LOW, LOW, LOW, (y + 0.5) * LOW / S - 0.5, (x + 0.5) * LOW / S - 0.5);
    for (size_t k = 0; k < SHAPES; k++) {
        const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, shapes[k][0], shapes[k][1], S);
        const msa_region all = {0, 0, t.cols, t.rows};
        MSA_AUTO(msa_finish) f = NULL;
        MSA_AUTO_FREE float *got = calloc((size_t)t.rows * (size_t)t.cols, sizeof *got);
        assert_non_null(got);
        assert_int_equal(msa_finish_new(&f, &t, LOW, NULL), MSA_OK);
        assert_int_equal(msa_finish_logits(f, logits, all, got, NULL), MSA_OK);
        for (int32_t y = 0; y < t.rows; y++)
            for (int32_t x = 0; x < t.cols; x++)
                assert_float_equal(got[y * t.cols + x],
                                   bilinear(big, t.in_rows, t.in_cols, S,
                                            (y + 0.5) * t.in_rows / t.rows - 0.5,
                                            (x + 0.5) * t.in_cols / t.cols - 0.5),
                                   2e-5);
    }
}

static void finishing_stays_in_its_region(void **state)
{
    (void)state;
    enum { LOW = 16 };
    float logits[LOW * LOW];
    uint8_t mask[40 * 30];
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 40, 30, 64);
    MSA_AUTO(msa_finish) f = NULL;
    for (int i = 0; i < LOW * LOW; i++)
        logits[i] = 3;
    memset(mask, 9, sizeof mask);
    assert_int_equal(msa_finish_new(&f, &t, LOW, NULL), MSA_OK);
    assert_int_equal(msa_finish_mask(f, logits, (msa_region){5, 10, 12, 20}, mask, NULL), MSA_OK);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 30; x++)
            assert_int_equal(mask[y * 30 + x], x >= 5 && x < 12 && y >= 10 && y < 20 ? 1 : 9);
}

static void a_logit_that_is_not_finite_fails(void **state)
{
    (void)state;
    enum { LOW = 16 };
    float logits[LOW * LOW] = {0};
    uint8_t mask[64 * 64];
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 64, 64, 64);
    MSA_AUTO(msa_finish) f = NULL;
    msa_error err = MSA_ERROR_INIT;
    logits[LOW * LOW - 1] = NAN; /* far from the region: it still fails */
    assert_int_equal(msa_finish_new(&f, &t, LOW, NULL), MSA_OK);
    assert_int_equal(msa_finish_mask(f, logits, (msa_region){0, 0, 4, 4}, mask, &err), MSA_E_INTERNAL);
    assert_string_equal(err.what, "the mask decoder gave a logit that is not finite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coordinates_come_back),
        cmocka_unit_test(corners_meet_corners),
        cmocka_unit_test(pixel_centres_are_sams_indices),
        cmocka_unit_test(boxes_cover_the_pixels_they_touch),
        cmocka_unit_test(finishing_equals_two_bilinear_steps),
        cmocka_unit_test(finishing_stays_in_its_region),
        cmocka_unit_test(a_logit_that_is_not_finite_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
