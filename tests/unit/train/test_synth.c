#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/synth.h"
#include "tests/unit/volume/cm.h"

enum { SIZE = 64, PLANE = SIZE * SIZE, TARGETS = 6 };

static int32_t area_of(const uint8_t *mask)
{
    int32_t area = 0;
    for (int i = 0; i < PLANE; i++)
        area += mask[i];
    return area;
}

/* targets (targets_max, PLANE). Returns how many there are. */
static int32_t draw(uint64_t seed, uint64_t index, int32_t targets_max, float *image, uint8_t *targets)
{
    msa_synth_picture p = {
        .depth = 1, .size = SIZE, .targets_max = targets_max, .image = image, .targets = targets};
    msa_error err = MSA_ERROR_INIT;
    if (msa_synth_sample(seed, index, &p, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_in_range(p.n_targets, 1, targets_max);
    assert_in_range(p.rows, SIZE / 2, SIZE);
    assert_in_range(p.cols, SIZE / 2, SIZE);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            for (int k = 0; k < p.n_targets && (y >= p.rows || x >= p.cols); k++) {
                assert_true(image[y * SIZE + x] == 0);
                assert_int_equal(targets[k * PLANE + y * SIZE + x], 0);
            }
    return p.n_targets;
}

static void sample(uint64_t seed, uint64_t index, float *image, uint8_t *target)
{
    assert_int_equal(draw(seed, index, 1, image, target), 1);
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

static double overlap(const uint8_t *a, const uint8_t *b)
{
    double both = 0, any = 0;
    for (int i = 0; i < PLANE; i++) {
        both += a[i] & b[i];
        any += a[i] | b[i];
    }
    return both / any;
}

/* Most pictures show several objects: all large enough, none twice, the same ones every time. */
static void pictures_have_several_targets(void **state)
{
    static float image[PLANE], again[PLANE];
    static uint8_t targets[TARGETS * PLANE], same[TARGETS * PLANE];
    int total = 0, alone = 0;
    (void)state;
    for (uint64_t k = 0; k < 60; k++) {
        const int32_t n = draw(5, k, TARGETS, image, targets);
        assert_int_equal(draw(5, k, TARGETS, again, same), n);
        assert_memory_equal(image, again, sizeof image);
        assert_memory_equal(targets, same, (size_t)n * PLANE);
        total += n;
        alone += n == 1;
        for (int32_t a = 0; a < n; a++) {
            assert_in_range(area_of(targets + a * PLANE), 10, PLANE * 19 / 20);
            if (a > 0) assert_true(area_of(targets + a * PLANE) >= PLANE / 400);
            for (int32_t b = 0; b < a; b++)
                assert_true(overlap(targets + a * PLANE, targets + b * PLANE) < 0.9);
        }
    }
    assert_in_range(total, 60 * 3, 60 * TARGETS - 30);
    assert_in_range(alone, 1, 20);
}

/* A view is mostly chosen around the first target: a margin all around it, and it lies near the middle. */
static void the_first_target_is_in_the_middle(void **state)
{
    static float image[PLANE];
    static uint8_t targets[2 * PLANE];
    int close = 0;
    (void)state;
    for (uint64_t k = 0; k < 100; k++) {
        int32_t x0 = SIZE, y0 = SIZE, x1 = 0, y1 = 0;
        (void)draw(6, k, 2, image, targets);
        for (int i = 0; i < PLANE; i++) {
            if (!targets[i]) continue;
            const int32_t x = i % SIZE, y = i / SIZE;
            x0 = x < x0 ? x : x0;
            y0 = y < y0 ? y : y0;
            x1 = x + 1 > x1 ? x + 1 : x1;
            y1 = y + 1 > y1 ? y + 1 : y1;
        }
        const int32_t side = x1 - x0 > y1 - y0 ? x1 - x0 : y1 - y0;
        const int32_t off_x = abs(x0 + x1 - SIZE) / 2, off_y = abs(y0 + y1 - SIZE) / 2;
        close += side * 4 > SIZE && side < SIZE * 7 / 8 && off_x < SIZE / 5 && off_y < SIZE / 5;
    }
    assert_in_range(close, 55, 95);
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

static void stacks_have_targets_in_the_middle(void **state)
{
    static float image[3 * PLANE];
    static uint8_t targets[2 * 3 * PLANE];
    int second = 0, beside = 0;
    (void)state;
    for (uint64_t k = 0; k < 10; k++) {
        msa_synth_picture p = {
            .depth = 3, .size = SIZE, .targets_max = 2, .image = image, .targets = targets};
        assert_int_equal(msa_synth_sample(2, k, &p, NULL), MSA_OK);
        for (int32_t t = 0; t < p.n_targets; t++)
            assert_true(area_of(targets + (3 * t + 1) * PLANE) >= 10);
        second += p.n_targets == 2;
        beside += p.n_targets == 2 && area_of(targets + 3 * PLANE) > 0;
    }
    assert_in_range(second, 5, 10);
    assert_in_range(beside, 4, second); /* an object is rarely gone on the next plane */
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
    static float image[PLANE];
    msa_synth_picture p = {.depth = 1, .size = SIZE, .image = image, .targets = labels};
    assert_int_equal(msa_synth_sample(1, 1, &p, NULL), MSA_E_INVALID);
    p.targets_max = 1;
    p.size = 4;
    assert_int_equal(msa_synth_sample(1, 1, &p, NULL), MSA_E_INVALID);
    v.half_x = 0;
    assert_int_equal(msa_synth_render(s, &v, 1, SIZE, NULL, labels, NULL), MSA_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_sound),
        cmocka_unit_test(pictures_have_several_targets),
        cmocka_unit_test(the_first_target_is_in_the_middle),
        cmocka_unit_test(samples_are_a_function_of_seed_and_index),
        cmocka_unit_test(neighbours_are_consistent),
        cmocka_unit_test(labels_do_not_depend_on_colour),
        cmocka_unit_test(targets_nest),
        cmocka_unit_test(stacks_have_targets_in_the_middle),
        cmocka_unit_test(wrong_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
