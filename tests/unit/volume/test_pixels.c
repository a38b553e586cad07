/* Windowing, 8-bit resize, normalising: numbers in, numbers out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/prepare.h"
#include "engine/volume/resize8.h"
#include "engine/volume/window.h"

static void centered_window_clips_and_truncates(void **state)
{
    (void)state;
    const msa_window w = msa_window_centered(40, 400);
    const float hu[] = {-1000, -160, -159, 39.9F, 40, 239.9F, 240, 3000};
    const uint8_t want[] = {0, 0, 0, 127, 127, 254, 255, 255};
    uint8_t got[8];
    msa_window_u8(&w, hu, 8, got);
    assert_memory_equal(got, want, sizeof want);
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a;
    const float y = *(const float *)b;
    return (x > y) - (x < y);
}

static void percentiles_equal_those_of_a_sorted_copy(void **state)
{
    (void)state;
    enum { N = 5003 };
    static float v[N];
    static float sorted[N];
    size_t positive = 0;
    uint32_t seed = 12345;
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525U + 1013904223U;
        v[i] = (float)((int32_t)(seed >> 12) - 300000) * 0.001F;
        if (i % 7 == 0) v[i] = 0;
        if (v[i] > 0) sorted[positive++] = v[i];
    }
    qsort(sorted, positive, sizeof *sorted, by_value);
    const double rank = 0.995 * (double)(positive - 1);
    const size_t k = (size_t)rank;
    const double want = sorted[k] + ((double)sorted[k + 1] - sorted[k]) * (rank - (double)k);
    msa_window w;
    assert_int_equal(msa_window_percentile(&w, v, N, 0.5, 99.5, NULL), MSA_OK);
    assert_float_equal(w.hi, want, 1e-4);
    assert_true(w.lo > 0 && w.lo < w.hi && w.keep_zero);
    assert_int_equal(msa_window_percentile(&w, v, N, 0, 100, NULL), MSA_OK);
    assert_float_equal(w.lo, sorted[0], 0);
    assert_float_equal(w.hi, sorted[positive - 1], 0);
}

static void percentile_window_refuses_nan_and_survives_emptiness(void **state)
{
    (void)state;
    const float zeros[4] = {0, -1, 0, 0};
    const float bad[3] = {1, NAN, 2};
    msa_window w;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_window_percentile(&w, zeros, 4, 0.5, 99.5, &err), MSA_OK);
    assert_true(w.lo < w.hi);
    assert_int_equal(msa_window_percentile(&w, bad, 3, 0.5, 99.5, &err), MSA_E_INVALID);
    assert_string_equal(err.what, "voxel 1 of the volume is not finite");
}

static void zero_stays_zero_in_mr(void **state)
{
    (void)state;
    const msa_window w = {.lo = -10, .hi = 10, .keep_zero = true};
    const float v[3] = {0, 5, -10};
    uint8_t got[3];
    msa_window_u8(&w, v, 3, got);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 191);
    assert_int_equal(got[2], 0);
}

/* Wanted values: the triangle filter in 22-bit fractions, rounded after each pass. */
typedef struct resize_case {
    int32_t rows, cols;
    uint8_t want[80];
} resize_case;

static const resize_case resize_cases[] = {
    {3, 4, {61, 128, 127, 163, 151, 142, 148, 140, 106, 125, 142, 131}},
    {8, 10, {0,   20,  46,  72,  98,  124, 150, 176, 202, 222, 40,  63,  93,  123, 153, 144,
             101, 131, 161, 184, 97,  124, 157, 181, 216, 167, 46,  83,  111, 130, 154, 186,
             184, 102, 134, 147, 136, 178, 140, 75,  130, 168, 170, 94,  132, 151, 146, 193,
             161, 101, 27,  69,  117, 159, 210, 179, 76,  128, 174, 206, 68,  114, 136, 94,
             145, 164, 143, 100, 122, 168, 108, 157, 155, 38,  88,  150, 200, 83,  81,  130}},
    {5, 3, {32, 111, 190, 134, 166, 92, 181, 130, 159, 82, 170, 152, 129, 119, 109}},
    {2, 7, {79, 129, 121, 171, 105, 155, 147, 87, 163, 99, 175, 135, 129, 147}},
    {1, 1, {134}},
};

static void resize_gives_the_values_of_the_filter(void **state)
{
    (void)state;
    uint8_t in[5 * 7];
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 7; x++)
            in[y * 7 + x] = (uint8_t)(x * 37 + y * 91 + x * y * 13);
    for (size_t k = 0; k < sizeof resize_cases / sizeof *resize_cases; k++) {
        const resize_case *c = &resize_cases[k];
        uint8_t got[80] = {0};
        assert_int_equal(msa_resize8(in, 5, 7, 1, got, c->rows, c->cols, NULL), MSA_OK);
        assert_memory_equal(got, c->want, (size_t)(c->rows * c->cols));
    }
}

static void resize_keeps_a_flat_picture_and_separates_channels(void **state)
{
    (void)state;
    uint8_t in[9 * 4 * 3];
    uint8_t out[21 * 33 * 3];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i % 3 == 0 ? 7 : i % 3 == 1 ? 128 : 255);
    assert_int_equal(msa_resize8(in, 9, 4, 3, out, 21, 33, NULL), MSA_OK);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], i % 3 == 0 ? 7 : i % 3 == 1 ? 128 : 255);
}

static void longest_side_follows_sam(void **state)
{
    (void)state;
    const int32_t cases[][5] = {{37, 53, 64, 45, 64},         {53, 37, 64, 64, 45},
                                {512, 512, 1024, 1024, 1024}, {200, 101, 1024, 1024, 517},
                                {3, 1000, 1024, 3, 1024},     {1, 1, 64, 64, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t rows = 0;
        int32_t cols = 0;
        msa_longest_side(cases[i][0], cases[i][1], cases[i][2], &rows, &cols);
        assert_int_equal(rows, cases[i][3]);
        assert_int_equal(cols, cases[i][4]);
    }
}

static void profiles_normalise_and_pad_with_zero(void **state)
{
    (void)state;
    const uint8_t u8[6] = {0, 51, 102, 153, 204, 255}; /* 2 x 3 into 4 x 4 */
    float out[3 * 16];
    msa_normalise_pad(u8, 2, 3, 1, MSA_NORM_SAM, 4, out);
    assert_float_equal(out[1], (51 - 123.675F) / 58.395F, 1e-6F);
    assert_float_equal(out[16 + 4], (153 - 116.28F) / 57.12F, 1e-6F);
    assert_float_equal(out[3], 0, 0); /* right of the picture */
    assert_float_equal(out[8], 0, 0); /* below it */
    assert_float_equal(out[47], 0, 0);
    msa_normalise_pad(u8, 2, 3, 1, MSA_NORM_UNIT, 4, out);
    assert_float_equal(out[5], 0.8, 1e-6);
    msa_normalise_pad(u8 + 1, 1, 3, 1, MSA_NORM_MEDSAM, 4, out);
    assert_float_equal(out[0], 0, 0);
    assert_float_equal(out[1], 0.5, 1e-6);
    assert_float_equal(out[2], 1, 0);
    msa_normalise_pad(u8, 2, 3, 1, MSA_NORM_SAM_ON_UNIT, 4, out);
    assert_float_equal(out[6], (1 - 123.675F) / 58.395F, 1e-6F);
}

static void a_flat_slice_is_finite_in_every_profile(void **state)
{
    (void)state;
    const float slice[12] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 3, 4, 16);
    const msa_window w = msa_window_centered(40, 400);
    float image[3 * 256];
    for (int norm = MSA_NORM_SAM; norm <= MSA_NORM_SAM_ON_UNIT; norm++) {
        assert_int_equal(msa_prepare_slice(&t, &w, (msa_input_norm)norm, slice, 4, image, NULL), MSA_OK);
        for (size_t i = 0; i < 3 * 256; i++)
            assert_true(isfinite(image[i]));
    }
}

static void a_slice_with_nan_is_refused(void **state)
{
    (void)state;
    float slice[4] = {1, 2, INFINITY, 3};
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_STRETCH, 2, 2, 16);
    const msa_window w = msa_window_centered(40, 400);
    float image[3 * 256];
    assert_int_equal(msa_prepare_slice(&t, &w, MSA_NORM_SAM, slice, 2, image, NULL), MSA_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(centered_window_clips_and_truncates),
        cmocka_unit_test(percentiles_equal_those_of_a_sorted_copy),
        cmocka_unit_test(percentile_window_refuses_nan_and_survives_emptiness),
        cmocka_unit_test(zero_stays_zero_in_mr),
        cmocka_unit_test(resize_gives_the_values_of_the_filter),
        cmocka_unit_test(resize_keeps_a_flat_picture_and_separates_channels),
        cmocka_unit_test(longest_side_follows_sam),
        cmocka_unit_test(profiles_normalise_and_pad_with_zero),
        cmocka_unit_test(a_flat_slice_is_finite_in_every_profile),
        cmocka_unit_test(a_slice_with_nan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
