#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/synth.h"
#include "tests/unit/volume/cm.h"

enum { SIZE = 64, PLANE = SIZE * SIZE };

static int32_t area_of(const uint8_t *mask)
{
    int32_t area = 0;
    for (int i = 0; i < PLANE; i++)
        area += mask[i];
    return area;
}

static void sample(uint64_t seed, uint64_t index, float *image, uint8_t *target)
{
    int32_t rows = 0, cols = 0;
    msa_error err = MSA_ERROR_INIT;
    if (msa_synth_sample(seed, index, 1, SIZE, image, target, &rows, &cols, &err) != MSA_OK)
        fail_msg("%s", err.what);
    assert_in_range(rows, SIZE / 2, SIZE);
    assert_in_range(cols, SIZE / 2, SIZE);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            if (y >= rows || x >= cols) {
                assert_true(image[y * SIZE + x] == 0);
                assert_int_equal(target[y * SIZE + x], 0);
            }
}

/* Every sample: values in 0..1 and finite, a target that is neither nothing nor all, and that can be seen. */
static void samples_are_sound(void **state)
{
    static float image[PLANE];
    static uint8_t target[PLANE];
    (void)state;
    int small = 0, large = 0, flat = 0;
    for (uint64_t k = 0; k < 120; k++) {
        float low = 1, high = 0;
        sample(5, k, image, target);
        for (int i = 0; i < PLANE; i++) {
            if (!(image[i] >= 0 && image[i] <= 1))
                fail_msg("sample %d, pixel %d: %g", (int)k, i, (double)image[i]);
            assert_in_range(target[i], 0, 1);
            low = fminf(low, image[i]);
            high = fmaxf(high, image[i]);
        }
        const int32_t area = area_of(target);
        assert_in_range(area, 10, PLANE * 19 / 20);
        small += area < PLANE / 50;
        large += area > PLANE / 4;
        flat += high - low < 0.05F;
    }
    assert_in_range(small, 5, 80); /* the range of sizes is wide */
    assert_in_range(large, 6, 80);
    assert_in_range(flat, 0, 4);
}

static void samples_are_a_function_of_seed_and_index(void **state)
{
    static float one[PLANE], two[PLANE];
    static uint8_t a[PLANE], b[PLANE];
    (void)state;
    for (uint64_t k = 0; k < 12; k++) {
        sample(9, k, one, a);
        sample(9, k + 100, two, b); /* something in between */
        sample(9, k, two, b);
        assert_memory_equal(one, two, sizeof one);
        assert_memory_equal(a, b, sizeof a);
        sample(10, k, two, b);
        assert_memory_not_equal(one, two, sizeof one);
        sample(9, k + 1, two, b);
        assert_memory_not_equal(one, two, sizeof one);
    }
}

/* Planes a hair apart show the same objects; planes far apart do not. */
static void neighbours_are_consistent(void **state)
{
    static uint8_t labels[5 * PLANE];
    (void)state;
    double near_same = 0, far_same = 0, n = 0;
    for (uint64_t k = 0; k < 30; k++) {
        MSA_AUTO(msa_synth) s = NULL;
        assert_int_equal(msa_synth_new(&s, 3, k, NULL), MSA_OK);
        msa_synth_view v = msa_synth_overview(s);
        v.step = 0.002F;
        assert_int_equal(msa_synth_render(s, &v, 3, SIZE, NULL, labels, NULL), MSA_OK);
        for (int i = 0; i < PLANE; i++)
            near_same += labels[i] == labels[PLANE + i];
        v.step = 0.4F;
        assert_int_equal(msa_synth_render(s, &v, 3, SIZE, NULL, labels, NULL), MSA_OK);
        for (int i = 0; i < PLANE; i++)
            far_same += labels[i] == labels[PLANE + i];
        n += PLANE;
    }
    assert_true(near_same / n > 0.97);
    assert_true(far_same / n < near_same / n - 0.03);
}

static void labels_do_not_depend_on_colour(void **state)
{
    static float image[PLANE];
    static uint8_t with[PLANE], without[PLANE];
    (void)state;
    for (uint64_t k = 0; k < 20; k++) {
        MSA_AUTO(msa_synth) s = NULL;
        assert_int_equal(msa_synth_new(&s, 4, k, NULL), MSA_OK);
        const msa_synth_view v = msa_synth_overview(s);
        assert_int_equal(msa_synth_render(s, &v, 1, SIZE, image, with, NULL), MSA_OK);
        assert_int_equal(msa_synth_render(s, &v, 1, SIZE, NULL, without, NULL), MSA_OK);
        assert_memory_equal(with, without, sizeof with);
    }
}

/* A parent's filled mask holds its children's; a piece is connected and part of the whole. */
static void targets_nest(void **state)
{
    static uint8_t labels[PLANE], filled[PLANE], alone[PLANE], piece[PLANE];
    (void)state;
    int nested = 0, pieces = 0;
    for (uint64_t k = 0; k < 40; k++) {
        MSA_AUTO(msa_synth) s = NULL;
        msa_synth_target t;
        assert_int_equal(msa_synth_new(&s, 6, k, NULL), MSA_OK);
        const msa_synth_view v = msa_synth_overview(s);
        assert_int_equal(msa_synth_render(s, &v, 1, SIZE, NULL, labels, NULL), MSA_OK);
        assert_int_equal(msa_synth_pick(s, k, labels, NULL, SIZE, 8, &t, NULL), MSA_OK);
        if (t.id == 0) continue;
        t.piece = false;
        t.filled = false;
        const int32_t own = msa_synth_mask(s, &t, labels, SIZE, 0, 0, alone);
        t.filled = true;
        const int32_t all = msa_synth_mask(s, &t, labels, SIZE, 0, 0, filled);
        t.piece = true;
        const int32_t part = msa_synth_mask(s, &t, labels, SIZE, 0, 0, piece);
        assert_true(own <= all && part <= all && part > 0);
        for (int i = 0; i < PLANE; i++) {
            assert_true(alone[i] <= filled[i] && piece[i] <= filled[i]);
            assert_int_equal(alone[i], labels[i] == t.id);
        }
        nested += own < all;
        pieces += part < all;
    }
    assert_true(nested > 3 && pieces > 3);
}

static void stacks_have_a_target_in_the_middle(void **state)
{
    static float image[3 * PLANE];
    static uint8_t target[3 * PLANE];
    (void)state;
    for (uint64_t k = 0; k < 10; k++) {
        int32_t rows, cols;
        assert_int_equal(msa_synth_sample(2, k, 3, SIZE, image, target, &rows, &cols, NULL), MSA_OK);
        assert_true(area_of(target + PLANE) >= 10);
    }
}

static void wrong_sizes_are_refused(void **state)
{
    static uint8_t labels[PLANE];
    (void)state;
    MSA_AUTO(msa_synth) s = NULL;
    assert_int_equal(msa_synth_new(&s, 1, 1, NULL), MSA_OK);
    msa_synth_view v = msa_synth_overview(s);
    assert_int_equal(msa_synth_render(s, &v, 1, 4, NULL, labels, NULL), MSA_E_INVALID);
    assert_int_equal(msa_synth_render(s, &v, 1, MSA_SYNTH_SIZE_MAX + 1, NULL, labels, NULL), MSA_E_INVALID);
    assert_int_equal(msa_synth_render(s, &v, 0, SIZE, NULL, labels, NULL), MSA_E_INVALID);
    v.half_x = 0;
    assert_int_equal(msa_synth_render(s, &v, 1, SIZE, NULL, labels, NULL), MSA_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_sound),
        cmocka_unit_test(samples_are_a_function_of_seed_and_index),
        cmocka_unit_test(neighbours_are_consistent),
        cmocka_unit_test(labels_do_not_depend_on_colour),
        cmocka_unit_test(targets_nest),
        cmocka_unit_test(stacks_have_a_target_in_the_middle),
        cmocka_unit_test(wrong_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
