#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/augment.h"
#include "engine/train/augment_filter.h"
#include "tests/unit/volume/cm.h"

enum { ROWS = 40, COLS = 56, DEPTH = 5, PLANE = ROWS * COLS };

/* A smooth picture with values in 0.1..0.9 and three labels (3, 7, 200) in the middle of it. */
static void scene(int32_t depth, float *image, uint8_t *labels)
{
    for (int32_t d = 0; d < depth; d++)
        for (int32_t y = 0; y < ROWS; y++)
            for (int32_t x = 0; x < COLS; x++) {
                const size_t i = (size_t)(d * PLANE + y * COLS + x);
                const float a = (float)(x - 26) / 12, b = (float)(y - 18) / 9;
                image[i] = 0.5F + 0.4F * sinf((float)x * 0.2F + (float)d * 0.1F) * cosf((float)y * 0.15F);
                labels[i] = a * a + b * b > 1 ? 0 : x < 22 ? 3 : y < 18 ? 7 : 200;
            }
}

static int32_t count(const uint8_t *labels, int32_t n, uint8_t value)
{
    int32_t found = 0;
    for (int32_t i = 0; i < n; i++)
        found += labels[i] == value;
    return found;
}

static void apply(const msa_augment *a, int32_t depth, int32_t *rows, int32_t *cols, float *image,
                  uint8_t *labels, msa_label_sampling sampling)
{
    *rows = ROWS;
    *cols = COLS;
    assert_int_equal(msa_augment_apply(a, depth, rows, cols, image, labels, labels ? 1 : 0, sampling, NULL),
                     MSA_OK);
}

static void zero_is_the_identity(void **state)
{
    static float image[DEPTH * PLANE], was[DEPTH * PLANE];
    static uint8_t labels[DEPTH * PLANE], labels_were[DEPTH * PLANE];
    int32_t rows, cols;
    (void)state;
    for (int32_t depth = 1; depth <= DEPTH; depth += DEPTH - 1) {
        const msa_augment none = {.seed = 17};
        scene(depth, image, labels);
        memcpy(was, image, sizeof was);
        memcpy(labels_were, labels, sizeof labels);
        apply(&none, depth, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
        assert_memory_equal(image, was, sizeof was);
        assert_memory_equal(labels, labels_were, sizeof labels);
        assert_int_equal(rows, ROWS);
    }
}

/* Flips twice, four quarter turns: back to the start, bit for bit. Three turns undo one. */
static void moves_have_inverses(void **state)
{
    static const msa_augment moves[] = {
        {.flip_x = true}, {.flip_y = true}, {.flip_z = true}, {.quarter_turns = 2}};
    static float image[DEPTH * PLANE], was[DEPTH * PLANE];
    static uint8_t labels[DEPTH * PLANE], labels_were[DEPTH * PLANE];
    int32_t rows, cols;
    (void)state;
    scene(DEPTH, was, labels_were);
    for (size_t k = 0; k < sizeof moves / sizeof moves[0]; k++) {
        scene(DEPTH, image, labels);
        apply(&moves[k], DEPTH, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
        assert_memory_not_equal(image, was, sizeof was);
        apply(&moves[k], DEPTH, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
        assert_memory_equal(image, was, sizeof was);
        assert_memory_equal(labels, labels_were, sizeof labels);
    }
    const msa_augment once = {.quarter_turns = 1}, thrice = {.quarter_turns = 3};
    scene(DEPTH, image, labels);
    apply(&once, DEPTH, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
    assert_int_equal(rows, COLS);
    assert_int_equal(cols, ROWS);
    assert_true(image[0] == was[COLS - 1]); /* anticlockwise: the last column became the first row */
    assert_int_equal(
        msa_augment_apply(&thrice, DEPTH, &rows, &cols, image, labels, 1, MSA_LABELS_NEAREST, NULL), MSA_OK);
    assert_int_equal(rows, ROWS);
    assert_memory_equal(image, was, sizeof was);
    assert_memory_equal(labels, labels_were, sizeof labels);
}

/* A picture and its labels stay together: where the scene's own rule says 7, the label is 7. */
static void a_turn_moves_both_alike(void **state)
{
    static float image[PLANE];
    static uint8_t labels[PLANE];
    const float values[256] = {[0] = 0.1F, [3] = 0.4F, [7] = 0.6F, [200] = 0.9F};
    const msa_augment a = {.angle = 0.3F,
                           .log_scale_x = 0.1F,
                           .shift_y = 0.04F,
                           .elastic = 0.02F,
                           .elastic_cells = 3,
                           .seed = 4};
    int32_t rows, cols, same = 0, inner = 0;
    (void)state;
    scene(1, image, labels);
    for (int i = 0; i < PLANE; i++)
        image[i] = values[labels[i]];
    apply(&a, 1, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++) {
        if (labels[i] == 0) continue;
        inner++;
        same += fabsf(image[i] - values[labels[i]]) < 0.15F;
    }
    assert_true(inner > 200);
    assert_true(same > inner * 85 / 100); /* the rest are borders, where the picture is between two values */
}

/* Several masks together come out as each of them alone. */
static void masks_move_alike(void **state)
{
    enum { MASKS = 3 };
    static const uint8_t value[MASKS] = {3, 7, 200};
    static float image[DEPTH * PLANE], alone[DEPTH * PLANE];
    static uint8_t labels[DEPTH * PLANE], masks[MASKS * DEPTH * PLANE], one[DEPTH * PLANE];
    const msa_augment_options usual = {.shape = 1, .intensity = 1, .flips = true};
    int32_t rows, cols, turned = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        const int32_t depth = seed % 5 == 0 ? DEPTH : 1;
        const size_t n = (size_t)(depth * PLANE);
        const msa_augment a = msa_augment_draw(&usual, seed);
        scene(depth, image, labels);
        for (size_t i = 0; i < MASKS * n; i++)
            masks[i] = labels[i % n] == value[i / n];
        rows = ROWS;
        cols = COLS;
        assert_int_equal(
            msa_augment_apply(&a, depth, &rows, &cols, image, masks, MASKS, MSA_LABELS_SOFT, NULL), MSA_OK);
        turned += rows != ROWS;
        for (int k = 0; k < MASKS; k++) {
            scene(depth, alone, labels);
            for (size_t i = 0; i < n; i++)
                one[i] = labels[i] == value[k];
            apply(&a, depth, &rows, &cols, alone, one, MSA_LABELS_SOFT);
            assert_memory_equal(alone, image, n * sizeof *image);
            assert_memory_equal(one, masks + (size_t)k * n, n);
        }
    }
    assert_in_range(turned, 2, 20);
}

static void a_known_angle_and_scale(void **state)
{
    static float image[PLANE];
    static uint8_t labels[PLANE];
    (void)state;
    int32_t rows, cols;
    const float angle = 0.5F;
    memset(image, 0, sizeof image);
    memset(labels, 0, sizeof labels);
    const float cx = (COLS - 1) / 2.0F, cy = (ROWS - 1) / 2.0F;
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLS; x++) /* a disc right of the centre */
            labels[y * COLS + x] = hypotf((float)x - cx - 10, (float)y - cy) < 4;
    const msa_augment a = {.angle = angle, .log_scale_x = logf(1.2F), .log_scale_y = logf(1.2F)};
    const int32_t before = count(labels, PLANE, 1);
    apply(&a, 1, &rows, &cols, image, labels, MSA_LABELS_SOFT);
    double sx = 0, sy = 0, n = 0;
    for (int i = 0; i < PLANE; i++)
        if (labels[i]) {
            sx += i % COLS;
            sy += i / COLS;
            n++;
        }
    assert_near(n / before, 1.44, 0.1);
    assert_near(sx / n - (double)cx, 12 * cos((double)angle), 0.4);
    assert_near(fabs(sy / n - (double)cy), 12 * sin((double)angle), 0.4);
}

static void drawn_ones_keep_what_must_hold(void **state)
{
    static float image[DEPTH * PLANE], again[DEPTH * PLANE];
    static uint8_t labels[DEPTH * PLANE], labels_again[DEPTH * PLANE];
    const msa_augment_options usual = {.shape = 1, .intensity = 1, .flips = true};
    int32_t rows, cols;
    (void)state;
    for (uint64_t seed = 0; seed < 150; seed++) {
        const int32_t depth = seed % 3 == 0 ? DEPTH : 1;
        const msa_augment a = msa_augment_draw(&usual, seed), b = msa_augment_draw(&usual, seed);
        assert_memory_equal(&a.angle, &b.angle, sizeof a.angle);
        scene(depth, image, labels);
        const int32_t before = depth * PLANE - count(labels, depth * PLANE, 0);
        apply(&a, depth, &rows, &cols, image, labels, MSA_LABELS_NEAREST);
        assert_int_equal(rows * cols, PLANE);
        const int32_t after = depth * PLANE - count(labels, depth * PLANE, 0);
        for (int i = 0; i < depth * PLANE; i++) {
            if (!(image[i] >= 0 && image[i] <= 1))
                fail_msg("seed %d: pixel %d is %g", (int)seed, i, (double)image[i]);
            assert_true(labels[i] == 0 || labels[i] == 3 || labels[i] == 7 || labels[i] == 200);
        }
        const double grown = exp((double)(a.log_scale_x + a.log_scale_y));
        if (!(after > 0.65 * grown * before && after < 1.45 * grown * before))
            fail_msg("seed %d: %d pixels became %d, scaled %g", (int)seed, before, after, grown);
        scene(depth, again, labels_again);
        apply(&b, depth, &rows, &cols, again, labels_again, MSA_LABELS_NEAREST);
        assert_memory_equal(image, again, (size_t)(depth * PLANE) * sizeof *image);
        assert_memory_equal(labels, labels_again, (size_t)(depth * PLANE));
    }
}

static void soft_masks_stay_binary(void **state)
{
    static float image[PLANE];
    static uint8_t labels[PLANE];
    const msa_augment_options strong = {.shape = 2, .intensity = 2, .flips = true};
    int32_t rows, cols;
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        const msa_augment a = msa_augment_draw(&strong, seed);
        scene(1, image, labels);
        for (int i = 0; i < PLANE; i++)
            labels[i] = labels[i] != 0;
        apply(&a, 1, &rows, &cols, image, labels, MSA_LABELS_SOFT);
        for (int i = 0; i < PLANE; i++)
            assert_in_range(labels[i], 0, 1);
        assert_true(count(labels, PLANE, 1) > 50);
    }
}

static void intensities_do_what_they_say(void **state)
{
    static float image[PLANE], was[PLANE];
    static uint8_t labels[PLANE];
    int32_t rows, cols;
    (void)state;
    scene(1, was, labels);
    const msa_augment inverted = {.inverted = true};
    memcpy(image, was, sizeof was);
    apply(&inverted, 1, &rows, &cols, image, NULL, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++)
        assert_near((double)image[i], 1 - (double)was[i], 1e-6);
    const msa_augment brighter = {.brightness = 0.05F};
    memcpy(image, was, sizeof was);
    apply(&brighter, 1, &rows, &cols, image, NULL, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++)
        assert_near((double)image[i], fmin((double)was[i] + 0.05, 1), 1e-6);
    const msa_augment gamma = {.log_gamma = logf(2)};
    memcpy(image, was, sizeof was);
    apply(&gamma, 1, &rows, &cols, image, NULL, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++)
        assert_near((double)image[i], (double)was[i] * (double)was[i], 1e-5);
    const msa_augment noise = {.noise = 0.05F, .seed = 3};
    double square = 0;
    for (int i = 0; i < PLANE; i++)
        image[i] = 0.5F;
    apply(&noise, 1, &rows, &cols, image, NULL, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++)
        square += ((double)image[i] - 0.5) * ((double)image[i] - 0.5);
    assert_near(sqrt(square / PLANE), 0.05, 0.003);
    const msa_augment vague = {.blur = 1, .coarse = 1};
    for (int i = 0; i < PLANE; i++)
        image[i] = 0.3F;
    apply(&vague, 1, &rows, &cols, image, NULL, MSA_LABELS_NEAREST);
    for (int i = 0; i < PLANE; i++)
        assert_near((double)image[i], 0.3, 1e-5);
}

static void filters_keep_the_mean(void **state)
{
    static float v[PLANE], small[PLANE], line[COLS + 2 * MSA_FILTER_RADIUS];
    static uint8_t labels[PLANE];
    double before = 0, after = 0, shrunk = 0;
    (void)state;
    scene(1, v, labels);
    memset(v, 0, sizeof v);
    v[20 * COLS + 28] = 1; /* away from the edges nothing is lost */
    for (int i = 0; i < PLANE; i++)
        before += (double)v[i];
    msa_filter_blur(v, ROWS, COLS, 1.5F, line);
    for (int i = 0; i < PLANE; i++)
        after += (double)v[i];
    assert_near(after, before, 1e-5);
    assert_near((double)v[20 * COLS + 27], (double)v[20 * COLS + 29], 1e-7);
    assert_near((double)(v[20 * COLS + 27] / v[20 * COLS + 28]), exp(-1 / 4.5), 1e-4);
    msa_filter_shrink(v, ROWS, COLS, small, ROWS / 4, COLS / 4);
    for (int i = 0; i < PLANE / 16; i++)
        shrunk += (double)small[i] * 16;
    assert_near(shrunk, before, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_the_identity),    cmocka_unit_test(moves_have_inverses),
        cmocka_unit_test(a_turn_moves_both_alike), cmocka_unit_test(masks_move_alike),
        cmocka_unit_test(a_known_angle_and_scale), cmocka_unit_test(drawn_ones_keep_what_must_hold),
        cmocka_unit_test(soft_masks_stay_binary),  cmocka_unit_test(intensities_do_what_they_say),
        cmocka_unit_test(filters_keep_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
