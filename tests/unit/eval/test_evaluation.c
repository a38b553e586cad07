/* Prompts by their definition, baselines on pictures whose answer is known, scores by hand. */
#include "tests/unit/volume/cm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/evaluation.h"
#include "engine/train/sampling.h"

enum { D = 5, H = 12, W = 16, N = D * H * W };

static const int32_t size[3] = {D, H, W};

static void block(uint8_t *mask, int32_t slice, int32_t y0, int32_t y1, int32_t x0, int32_t x1)
{
    for (int32_t y = y0; y < y1; y++)
        memset(mask + ((size_t)slice * H + (size_t)y) * W + x0, 1, (size_t)(x1 - x0));
}

/* Slices 1, 2 and 4: on slice 1 two parts, one of them hooked by a diagonal. */
static void example(uint8_t *mask)
{
    memset(mask, 0, N);
    block(mask, 1, 2, 4, 3, 6);
    block(mask, 1, 4, 5, 6, 8); /* touches the corner of the one above */
    block(mask, 1, 9, 11, 10, 15);
    block(mask, 2, 0, 12, 0, 16);
    block(mask, 4, 5, 6, 5, 6);
}

static msa_prompt *prompts(const uint8_t *mask, msa_eval_prompt kind, bool whole, uint64_t seed, int32_t *n)
{
    msa_prompt *list = NULL;
    assert_int_equal(msa_eval_prompts(&list, n, mask, size, kind, whole, seed, 9, NULL), MSA_OK);
    return list;
}

static void assert_box(const msa_prompt *p, int32_t slice, float x0, float y0, float x1, float y1)
{
    assert_int_equal(p->kind, MSA_PROMPT_BOX);
    assert_int_equal(p->slice, slice);
    assert_true(p->x0 == x0 && p->y0 == y0 && p->x1 == x1 && p->y1 == y1);
}

static void boxes_are_tight(void **state)
{
    (void)state;
    uint8_t mask[N];
    int32_t n = 0;
    example(mask);
    MSA_AUTO_FREE msa_prompt *parts = prompts(mask, MSA_EVAL_BOX, false, 1, &n);
    assert_int_equal(n, 4);
    assert_box(&parts[0], 1, 3, 2, 8, 5);
    assert_box(&parts[1], 1, 10, 9, 15, 11);
    assert_box(&parts[2], 2, 0, 0, 16, 12);
    assert_box(&parts[3], 4, 5, 5, 6, 6);
    MSA_AUTO_FREE msa_prompt *whole = prompts(mask, MSA_EVAL_BOX, true, 1, &n);
    assert_int_equal(n, 3);
    assert_box(&whole[0], 1, 3, 2, 15, 11);
    /* Middle of slices 1 to 4: 2 and 3 are equally near, and 3 holds nothing. */
    MSA_AUTO_FREE msa_prompt *middle = prompts(mask, MSA_EVAL_MIDDLE_BOX, false, 1, &n);
    assert_int_equal(n, 1);
    assert_box(&middle[0], 2, 0, 0, 16, 12);
    memset(mask, 0, N);
    MSA_AUTO_FREE msa_prompt *none = prompts(mask, MSA_EVAL_BOX, false, 1, &n);
    assert_int_equal(n, 0);
    assert_null(none);
}

static void many_parts_share_the_last_box(void **state)
{
    (void)state;
    enum { SIDE = 40 };
    static uint8_t mask[SIDE * SIDE];
    const int32_t plane[3] = {1, SIDE, SIDE};
    msa_prompt *list = NULL;
    int32_t n = 0;
    for (int32_t i = 0; i < SIDE * SIDE; i++)
        mask[i] = i % SIDE % 2 == 0 && i / SIDE % 2 == 0;
    assert_int_equal(msa_eval_prompts(&list, &n, mask, plane, MSA_EVAL_BOX, false, 1, 1, NULL), MSA_OK);
    assert_int_equal(n, MSA_EVAL_PARTS + 1);
    assert_box(&list[0], 0, 0, 0, 1, 1);
    assert_box(&list[MSA_EVAL_PARTS], 0, 0, 6, 39, 39); /* from the 65th: row 6, column 8 */
    free(list);
}

static void points_lie_in_the_label_and_repeat(void **state)
{
    (void)state;
    uint8_t mask[N];
    int32_t n = 0, again = 0, other = 0;
    example(mask);
    MSA_AUTO_FREE msa_prompt *a = prompts(mask, MSA_EVAL_POINT3, false, 5, &n);
    MSA_AUTO_FREE msa_prompt *b = prompts(mask, MSA_EVAL_POINT3, false, 5, &again);
    MSA_AUTO_FREE msa_prompt *c = prompts(mask, MSA_EVAL_POINT3, false, 6, &other);
    MSA_AUTO_FREE msa_prompt *one = prompts(mask, MSA_EVAL_POINT1, false, 5, &again);
    assert_int_equal(n, 9);
    assert_int_equal(other, 9);
    assert_int_equal(again, 3);
    assert_true(one[2].slice == 4 && one[2].x0 == 5.5F && one[2].y0 == 5.5F); /* the only pixel there */
    bool differs = false;
    for (int32_t i = 0; i < n; i++) {
        const int32_t x = (int32_t)a[i].x0, y = (int32_t)a[i].y0;
        assert_int_equal(a[i].kind, MSA_PROMPT_POINT);
        assert_true(a[i].positive);
        assert_true(a[i].x0 == (float)x + 0.5F && a[i].y0 == (float)y + 0.5F);
        assert_int_equal(mask[(a[i].slice * H + y) * W + x], 1);
        assert_true(a[i].x0 == b[i].x0 && a[i].y0 == b[i].y0 && a[i].slice == b[i].slice);
        differs = differs || a[i].x0 != c[i].x0 || a[i].y0 != c[i].y0;
    }
    assert_true(differs);
}

static void disturbed_boxes_overlap_as_told(void **state)
{
    (void)state;
    static uint8_t mask[3 * 64 * 64];
    const int32_t big[3] = {3, 64, 64};
    for (int32_t k = 0; k < 3; k++)
        for (int32_t y = 20; y < 44; y++)
            memset(mask + (k * 64 + y) * 64 + 16, 1, 30);
    for (int which = 0; which < 2; which++) {
        const double wanted = which == 0 ? 0.75 : 0.5;
        msa_prompt *list = NULL;
        int32_t n = 0;
        assert_int_equal(msa_eval_prompts(&list, &n, mask, big, which == 0 ? MSA_EVAL_BOX75 : MSA_EVAL_BOX50,
                                          false, 3, 4, NULL),
                         MSA_OK);
        assert_int_equal(n, 3);
        for (int32_t i = 0; i < n; i++) {
            const msa_box tight = {16, 20, 46, 44};
            const msa_box box = {list[i].x0, list[i].y0, list[i].x1, list[i].y1};
            assert_true(fabs(msa_box_iou(tight, box) - wanted) <= 0.02);
        }
        assert_true(list[0].x0 != list[1].x0); /* each slice its own */
        free(list);
    }
}

static void slices_without_a_prompt_are_not_asked_about(void **state)
{
    (void)state;
    uint8_t mask[N];
    const msa_prompt at[] = {{.slice = 1}, {.slice = 1}, {.slice = 3}};
    memset(mask, 1, N);
    msa_eval_keep_prompted(mask, size, at, 3);
    for (int32_t i = 0; i < N; i++)
        assert_int_equal(mask[i], i / (H * W) == 1 || i / (H * W) == 3);
    msa_eval_keep_prompted(mask, size, NULL, 0);
    for (int32_t i = 0; i < N; i++)
        assert_int_equal(mask[i], 0);
}

/* A bright or a dark disc in noise: Otsu finds it, and knows which side it is. */
static void baselines_draw_what_they_say(void **state)
{
    (void)state;
    static float voxels[40 * 40];
    static uint8_t disc[40 * 40], drawn[40 * 40];
    const msa_volume v = {.voxels = voxels, .D = 1, .H = 40, .W = 40};
    const msa_prompt box = {.kind = MSA_PROMPT_BOX, .x0 = 10, .y0 = 8, .x1 = 31, .y1 = 29};
    const msa_prompt point = {.kind = MSA_PROMPT_POINT, .x0 = 10, .y0 = 8};
    for (int which = 0; which < 2; which++) {
        for (int32_t i = 0; i < 1600; i++) {
            const int32_t x = i % 40 - 20, y = i / 40 - 18;
            disc[i] = x * x + y * y <= 110;
            voxels[i] = (float)(disc[i] == which ? 100 : -100) + (float)(i * 7919 % 40);
        }
        assert_int_equal(msa_eval_draw(MSA_EVAL_OTSU, &v, &box, 1, drawn, NULL), MSA_OK);
        assert_memory_equal(drawn, disc, sizeof disc);
    }
    assert_int_equal(msa_eval_draw(MSA_EVAL_FILLED, &v, &box, 1, drawn, NULL), MSA_OK);
    for (int32_t i = 0; i < 1600; i++)
        assert_int_equal(drawn[i], i % 40 >= 10 && i % 40 < 31 && i / 40 >= 8 && i / 40 < 29);
    assert_int_equal(msa_eval_draw(MSA_EVAL_FILLED, &v, &point, 1, drawn, NULL), MSA_OK);
    assert_null(memchr(drawn, 1, sizeof drawn));
    for (int32_t i = 0; i < 1600; i++)
        voxels[i] = 3;
    assert_int_equal(msa_eval_draw(MSA_EVAL_OTSU, &v, &box, 1, drawn, NULL), MSA_OK);
    assert_int_equal(drawn[18 * 40 + 20], 1); /* nothing to tell apart: the box */
    voxels[18 * 40 + 20] = NAN;
    assert_int_equal(msa_eval_draw(MSA_EVAL_OTSU, &v, &box, 1, drawn, NULL), MSA_E_INVALID);
}

static void scores_by_hand(void **state)
{
    (void)state;
    const double spacing[3] = {4, 2, 1};
    uint8_t a[N] = {0}, b[N] = {0};
    msa_eval_score s;
    assert_int_equal(msa_eval_compare(&s, a, b, size, spacing, NULL), MSA_OK);
    assert_true(s.dice == 1 && s.iou == 1 && s.slice_dice == 1 && s.hd95_mm == 0 && s.voxels == 0);
    block(b, 1, 2, 6, 2, 6); /* 16 */
    assert_int_equal(msa_eval_compare(&s, a, b, size, spacing, NULL), MSA_OK);
    assert_true(s.dice == 0 && s.slice_dice == 0 && isnan(s.hd95_mm) && s.voxels == 16 && s.found == 0);
    block(a, 1, 2, 6, 4, 8); /* half of it, moved by 2 mm */
    block(a, 3, 2, 3, 2, 3); /* and one voxel elsewhere */
    assert_int_equal(msa_eval_compare(&s, a, b, size, spacing, NULL), MSA_OK);
    assert_int_equal(s.found, 17);
    assert_true(fabs(s.dice - 16.0 / 33) < 1e-12 && fabs(s.iou - 8.0 / 25) < 1e-12);
    assert_true(fabs(s.slice_dice - (0.5 + 0) / 2) < 1e-12);
    /* 17 distances of a: eight 0, four 1, four 2, one 8; rank 15.2 lies a fifth of the way from 2 to 8. */
    assert_true(fabs(s.hd95_mm - (2 + 0.2 * 6)) < 1e-9);
    assert_int_equal(msa_eval_compare(&s, b, b, size, spacing, NULL), MSA_OK);
    assert_true(s.dice == 1 && s.hd95_mm == 0);
}

/* Cropping changes nothing, at the border of the volume neither. */
static void distance_does_not_depend_on_what_is_around(void **state)
{
    (void)state;
    const double spacing[3] = {3, 1.5, 1};
    const int32_t big[3] = {D + 4, H + 4, W + 4};
    static uint8_t a[N], b[N], wide[2][(D + 4) * (H + 4) * (W + 4)];
    uint32_t random = 7;
    for (int round = 0; round < 20; round++) {
        msa_eval_score small, large;
        memset(wide, 0, sizeof wide);
        for (int32_t i = 0; i < N; i++) {
            random = random * 1664525U + 1013904223U;
            a[i] = random >> 28 == 0;
            b[i] = (random >> 20 & 31) == 0;
            const int32_t z = i / (H * W) + 2, y = i / W % H + 2, x = i % W + 2;
            wide[0][(z * big[1] + y) * big[2] + x] = a[i];
            wide[1][(z * big[1] + y) * big[2] + x] = b[i];
        }
        assert_int_equal(msa_eval_compare(&small, a, b, size, spacing, NULL), MSA_OK);
        assert_int_equal(msa_eval_compare(&large, wide[0], wide[1], big, spacing, NULL), MSA_OK);
        assert_true(small.hd95_mm == large.hd95_mm && small.dice == large.dice);
    }
}

static void names_of_prompts(void **state)
{
    (void)state;
    msa_eval_prompt kind;
    assert_true(msa_eval_prompt_named("box", &kind) && kind == MSA_EVAL_BOX);
    assert_true(msa_eval_prompt_named("middle-box", &kind) && kind == MSA_EVAL_MIDDLE_BOX);
    assert_true(msa_eval_prompt_named("box0.5", &kind) && kind == MSA_EVAL_BOX50);
    assert_false(msa_eval_prompt_named("boxes", &kind));
    assert_false(msa_eval_prompt_named("", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_tight),
        cmocka_unit_test(many_parts_share_the_last_box),
        cmocka_unit_test(points_lie_in_the_label_and_repeat),
        cmocka_unit_test(disturbed_boxes_overlap_as_told),
        cmocka_unit_test(slices_without_a_prompt_are_not_asked_about),
        cmocka_unit_test(baselines_draw_what_they_say),
        cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(distance_does_not_depend_on_what_is_around),
        cmocka_unit_test(names_of_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
