/* What is decoded where, and when carrying a mask stops. No model. */
#include <math.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/volume/plan.h"
#include "engine/volume/propagate.h"

enum { D = 40, H = 100, W = 120 };
static float positions[D];
static const float voxel; /* the plan looks at no voxel */
static msa_volume volume = {
    .voxels = &voxel, .D = D, .H = H, .W = W, .spacing_mm = {1, 1}, .position_mm = positions};

static int positions_setup(void **state)
{
    (void)state;
    for (int i = 0; i < D; i++)
        positions[i] = 2.0F * (float)i - 30;
    return 0;
}

static msa_prompt box(int32_t slice, float x0, float y0, float x1, float y1)
{
    return (msa_prompt){.kind = MSA_PROMPT_BOX, .slice = slice, .x0 = x0, .y0 = y0, .x1 = x1, .y1 = y1};
}

static msa_prompt point(int32_t slice, float x, float y, bool positive)
{
    return (msa_prompt){.kind = MSA_PROMPT_POINT, .slice = slice, .x0 = x, .y0 = y, .positive = positive};
}

static msa_plan *plan_of(const msa_prompt *prompts, int32_t n)
{
    msa_plan *p = NULL;
    const msa_object o = {.prompts = prompts, .n_prompts = n};
    assert_int_equal(msa_plan_new(&p, &volume, &o, 1, NULL), MSA_OK);
    return p;
}

static void one_box_is_carried_as_far_as_its_size_allows(void **state)
{
    (void)state;
    const msa_prompt small = box(20, 10, 10, 14, 14);
    const msa_prompt large = box(20, 10, 10, 90, 90);
    MSA_AUTO(msa_plan) p = plan_of(&small, 1);
    MSA_AUTO(msa_plan) q = plan_of(&large, 1);
    assert_int_equal(p->n_rows, 1);
    assert_true(p->rows[0].given);
    assert_int_equal(p->rows[0].up_to, 30); /* 20 mm at 2 mm a slice */
    assert_int_equal(p->rows[0].down_to, 10);
    assert_int_equal(q->rows[0].up_to, D - 1);
    assert_int_equal(q->rows[0].down_to, 0);
}

static void boxes_between_two_slices_are_interpolated_by_position(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(14, 20, 30, 40, 50), box(10, 10, 10, 20, 20)};
    positions[11] = positions[10] + 1; /* uneven: a quarter of the way, not half */
    MSA_AUTO(msa_plan) p = plan_of(prompts, 2);
    positions_setup(NULL);
    assert_int_equal(p->n_rows, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(p->rows[i].slice, 10 + i);
        assert_int_equal(p->rows[i].up_to, 10 + i); /* no extrapolation, nothing to carry */
        assert_int_equal(p->rows[i].down_to, 10 + i);
        assert_int_equal(p->rows[i].given, i == 0 || i == 4);
    }
    assert_float_equal(p->rows[1].box.x0, 11.25, 1e-4);
    assert_float_equal(p->rows[2].box.y1, 35, 1e-4);
}

static void two_boxes_a_slice_are_paired_by_their_centres(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(5, 10, 10, 20, 20), box(5, 80, 10, 90, 20), box(7, 82, 12, 92, 22),
                                  box(7, 12, 12, 22, 22)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 4);
    assert_int_equal(p->n_rows, 6);
    assert_float_equal(p->rows[2].box.x0, 11, 1e-4);
    assert_float_equal(p->rows[3].box.x0, 81, 1e-4);
}

static void unequal_counts_interpolate_the_bounding_boxes(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(5, 10, 10, 20, 20), box(5, 80, 10, 90, 20), box(7, 10, 10, 90, 20)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 3);
    assert_int_equal(p->n_rows, 4);
    assert_float_equal(p->rows[2].box.x0, 10, 1e-4);
    assert_float_equal(p->rows[2].box.x1, 90, 1e-4);
}

static void points_refine_the_box_that_holds_them(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(5, 10, 10, 30, 30), point(5, 15, 15, true), point(5, 70, 70, true),
                                  point(5, 75, 75, false)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 4);
    assert_int_equal(p->n_rows, 2);
    assert_true(p->rows[0].has_box);
    assert_int_equal(p->rows[0].n_points, 1);
    assert_float_equal(p->points[2 * p->rows[0].first_point], 15, 0);
    assert_false(p->rows[1].has_box);
    assert_int_equal(p->rows[1].n_points, 2);
    assert_false(p->positive[p->rows[1].first_point + 1]);
}

static void negative_points_alone_prompt_nothing(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(5, 10, 10, 30, 30), point(6, 15, 15, false)};
    const msa_object only_negative = {.prompts = &prompts[1], .n_prompts = 1};
    msa_plan *none = NULL;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_plan) p = plan_of(prompts, 2);
    assert_int_equal(p->n_rows, 1);
    assert_int_equal(msa_plan_new(&none, &volume, &only_negative, 1, &err), MSA_E_INVALID);
    assert_null(none);
    assert_string_equal(err.what, "an object has neither a box nor a mask nor a positive point");
}

static void two_clicked_slices_share_the_gap(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {point(10, 15, 15, true), point(15, 15, 15, true), point(16, 15, 15, true)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 3);
    assert_int_equal(p->n_rows, 3);
    assert_int_equal(p->rows[0].up_to, 12);
    assert_int_equal(p->rows[1].down_to, 13);
    assert_int_equal(p->rows[1].up_to, 15);
    assert_int_equal(p->rows[2].down_to, 16);
    assert_int_equal(p->rows[2].up_to, D - 1);
    assert_int_equal(p->rows[0].down_to, 0);
}

static void bad_prompts_are_refused_with_a_sentence(void **state)
{
    (void)state;
    const struct {
        msa_prompt prompt;
        const char *what;
    } cases[] = {
        {box(40, 1, 1, 2, 2), "a prompt lies on slice 40, but slices are 0 to 39"},
        {box(-1, 1, 1, 2, 2), "a prompt lies on slice -1, but slices are 0 to 39"},
        {box(3, 5, 5, 5, 9), "the box on slice 3 is empty: it needs x0 < x1 and y0 < y1"},
        {box(3, 9, 5, 5, 9), "the box on slice 3 is empty: it needs x0 < x1 and y0 < y1"},
        {box(3, NAN, 5, 5, 9), "a prompt on slice 3 has a coordinate that is not finite"},
        {box(3, 120, 5, 130, 9), "the box on slice 3 lies outside the image of 120 columns and 100 rows"},
        {point(3, 4, 101, true), "the point on slice 3 lies outside the image of 120 columns and 100 rows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const msa_object o = {.prompts = &cases[i].prompt, .n_prompts = 1};
        msa_plan *p = NULL;
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(msa_plan_new(&p, &volume, &o, 1, &err), MSA_E_INVALID);
        assert_string_equal(err.what, cases[i].what);
    }
}

static void a_box_partly_outside_is_clipped(void **state)
{
    (void)state;
    const msa_prompt prompt = box(3, -5, 90, 30, 130);
    MSA_AUTO(msa_plan) p = plan_of(&prompt, 1);
    assert_float_equal(p->rows[0].box.x0, 0, 0);
    assert_float_equal(p->rows[0].box.y1, H, 0);
}

static msa_mask_stats disc(double cx, double cy, int32_t r)
{
    static uint8_t mask[H * W];
    memset(mask, 0, sizeof mask);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            mask[y * W + x] = hypot(x + 0.5 - cx, y + 0.5 - cy) <= r;
    return msa_mask_measure(mask, W, (msa_region){0, 0, W, H});
}

static void measuring_a_mask(void **state)
{
    (void)state;
    const msa_mask_stats s = disc(50, 40, 10);
    assert_float_equal(s.cx, 50, 1e-9);
    assert_float_equal(s.cy, 40, 1e-9);
    assert_int_equal(s.box.x0, 40);
    assert_int_equal(s.box.x1, 60);
    assert_int_equal(s.box.y0, 30);
    assert_int_equal(disc(50, 40, -1).area, 0);
}

static void carrying_stops_for_a_named_reason(void **state)
{
    (void)state;
    const msa_mask_stats start = disc(50, 40, 20);
    const msa_mask_stats near = disc(52, 41, 19);
    const msa_mask_stats none = disc(50, 40, -1);
    const msa_mask_stats speck = disc(50, 40, 3);
    const msa_mask_stats huge = disc(50, 40, 39);
    const msa_mask_stats away = disc(80, 40, 20);
    const msa_mask_stats shrunk = disc(50, 40, 8);
    const msa_signs good = {.iou = 0.9F, .fit = 0.8, .agreement = 0.9};
    const msa_signs doubtful = {.iou = 0.5F, .fit = 0.8, .agreement = 0.9};
    const msa_signs at_odds = {.iou = 0.9F, .fit = 0.8, .agreement = 0.6};
    const msa_signs other = {.iou = 0.9F, .fit = 0.6, .agreement = 0.9};
    const msa_signs enough = {.iou = 0.6F, .fit = 0.7, .agreement = 0.75};
    msa_track t = msa_track_start(NULL, &start, &good);
    assert_string_equal(msa_track_step(&t, &none, &good), "the object ended");
    assert_string_equal(msa_track_step(&t, &speck, &good), "the object became too small");
    assert_string_equal(msa_track_step(&t, &huge, &good), "the area changed too much between two slices");
    assert_string_equal(msa_track_step(&t, &shrunk, &good), "the area changed too much between two slices");
    assert_string_equal(msa_track_step(&t, &away, &good), "the position jumped between two slices");
    assert_string_equal(msa_track_step(&t, &near, &doubtful), "the model's own confidence fell");
    assert_string_equal(msa_track_step(&t, &near, &at_odds),
                        "the model sees no object where the last one goes on");
    assert_string_equal(msa_track_step(&t, &near, &other), "what goes on has other greys");
    assert_int_equal(t.last.area, start.area); /* none of these was taken */
    assert_null(msa_track_step(&t, &near, &enough));
    assert_int_equal(t.last.area, near.area);
}

static void a_carried_mask_never_leaves_the_reach(void **state)
{
    (void)state;
    const msa_box prompted = {40, 40, 60, 60};
    const msa_signs signs = {.iou = 0.5F};
    const float spacing[2] = {2, 1};
    msa_mask_stats mask = disc(50, 50, 10);
    msa_track t = msa_track_start(&prompted, &mask, &signs);
    for (int i = 0; i < 100; i++) { /* a model that fills all it may, slice after slice */
        const msa_region clip = msa_track_next(&t, 0, spacing, H, W);
        assert_true(clip.x0 >= 30 && clip.y0 >= 30 && clip.x1 <= 70 && clip.y1 <= 70);
        t.last.box = clip;
    }
    const msa_region farther = msa_track_next(&t, 8, spacing, H, W); /* 4 mm more to each side */
    assert_int_equal(farther.x0, 26);
    assert_int_equal(farther.y0, 28);
    assert_int_equal(farther.x1, 74);
    assert_int_equal(farther.y1, 72);
    t.last.box = (msa_region){100, 80, 110, 90};
    assert_true(msa_region_empty(msa_track_next(&t, 0, spacing, H, W)));
}

/* ---- masks, allowed slices, conflicts ---- */

static uint8_t drawn[H * W]; /* the last mask that was drawn */

static msa_prompt two_squares(int32_t slice)
{
    memset(drawn, 0, sizeof drawn);
    for (int y = 20; y < 30; y++)
        for (int x = 10; x < 20; x++)
            drawn[y * W + x] = drawn[(y + 40) * W + x + 50] = 1;
    return (msa_prompt){.kind = MSA_PROMPT_MASK, .slice = slice, .mask = drawn};
}

static void each_part_of_a_mask_is_refined_in_its_box(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {point(20, 15, 25, false), two_squares(20)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 2);
    assert_int_equal(p->n_rows, 2);
    assert_ptr_equal(p->rows[0].mask, drawn);
    assert_true(p->rows[0].given && p->rows[0].has_box);
    assert_float_equal(p->rows[0].box.x0, 10, 0);
    assert_float_equal(p->rows[0].box.y1, 30, 0);
    assert_int_equal(p->rows[0].n_points, 1);
    assert_float_equal(p->rows[1].box.x1, 70, 0);
    assert_int_equal(p->rows[1].n_points, 0);
    assert_int_equal(p->rows[1].up_to, 35); /* alone it is carried, as a box is */
}

static void a_mask_without_a_voxel_is_refused(void **state)
{
    (void)state;
    static const uint8_t empty[H * W];
    const msa_prompt prompt = {.kind = MSA_PROMPT_MASK, .slice = 4, .mask = empty};
    const msa_object o = {.prompts = &prompt, .n_prompts = 1};
    msa_plan *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_plan_new(&p, &volume, &o, 1, &err), MSA_E_INVALID);
    assert_string_equal(err.what, "the mask on slice 4 is empty");
}

static void many_parts_share_the_last_box(void **state)
{
    (void)state;
    memset(drawn, 0, sizeof drawn);
    for (int y = 0; y < H; y += 10)
        for (int x = 0; x < W; x += 10)
            drawn[y * W + x] = 1;
    const msa_prompt prompt = {.kind = MSA_PROMPT_MASK, .slice = 4, .mask = drawn};
    MSA_AUTO(msa_plan) p = plan_of(&prompt, 1);
    assert_int_equal(p->n_rows, MSA_PLAN_PARTS);
    assert_float_equal(p->rows[MSA_PLAN_PARTS - 1].box.y0, 50, 0); /* 12 a row: the 64th is in the sixth */
    assert_float_equal(p->rows[MSA_PLAN_PARTS - 1].box.y1, 91, 0);
}

static void masked_slices_are_refined_and_nothing_between(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {two_squares(10), two_squares(14), box(18, 12, 22, 22, 32)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 2);
    assert_int_equal(p->n_rows, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(p->rows[i].slice, i < 2 ? 10 : 14);
        assert_int_equal(p->rows[i].up_to, p->rows[i].slice);
        assert_int_equal(p->rows[i].down_to, p->rows[i].slice);
    }
    MSA_AUTO(msa_plan)
    q = plan_of(prompts, 3); /* a box somewhere: between it and the mask there is something */
    assert_int_equal(q->n_rows, 4 + 3 + 1);
    assert_int_equal(q->rows[4].slice, 15);
    assert_false(q->rows[4].given);
    assert_null(q->rows[4].mask);
    assert_float_equal(q->rows[4].box.x0, 10.5, 1e-4); /* two parts to one box: bounding box of each side */
    assert_float_equal(q->rows[4].box.x1, 58, 1e-4);
}

static void what_is_said_twice_counts_once(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {box(20, 10, 20, 20, 30), box(20, 10, 20, 20, 30), two_squares(20),
                                  box(20, 10.5F, 20.5F, 20, 30), box(20, 10, 20, 24, 30)};
    MSA_AUTO(msa_plan) p = plan_of(prompts, 2);
    assert_int_equal(p->n_rows, 1);
    MSA_AUTO(msa_plan) q = plan_of(prompts, 5);
    assert_int_equal(q->n_rows, 3); /* both parts, and the box that says something else */
    assert_non_null(q->rows[0].mask);
    assert_non_null(q->rows[1].mask);
    assert_null(q->rows[2].mask);
}

static void nothing_lies_where_it_may_not(void **state)
{
    (void)state;
    uint8_t slices[D] = {0};
    const msa_prompt prompts[] = {box(20, 10, 10, 90, 90), box(10, 10, 10, 90, 90), point(9, 15, 15, true)};
    msa_plan *p = NULL;
    for (int i = 18; i < 24; i++)
        slices[i] = 1;
    slices[30] = 1;
    msa_object o = {.prompts = prompts, .n_prompts = 1, .slices = slices};
    assert_int_equal(msa_plan_new(&p, &volume, &o, 1, NULL), MSA_OK);
    assert_int_equal(p->n_rows, 1);
    assert_int_equal(p->rows[0].up_to, 23); /* not through the gap to slice 30 */
    assert_int_equal(p->rows[0].down_to, 18);
    msa_plan_free(p);
    o.n_prompts = 3;
    assert_int_equal(msa_plan_new(&p, &volume, &o, 1, NULL), MSA_OK);
    assert_int_equal(p->n_rows, 3); /* 18 and 19 between the boxes, 20; neither 10 nor the point */
    assert_int_equal(p->rows[0].slice, 18);
    assert_false(p->rows[0].given);
    msa_plan_free(p);
    o.prompts = &prompts[1];
    o.n_prompts = 2;
    assert_int_equal(msa_plan_new(&p, &volume, &o, 1, NULL), MSA_OK);
    assert_int_equal(p->n_rows, 0);
    msa_plan_free(p);
}

static int64_t cut(const float *points, const bool *positive, int32_t n)
{
    static const msa_region all = {0, 0, W, H};
    memset(drawn, 0, sizeof drawn);
    for (int y = 20; y < 60; y++)
        for (int x = 20; x < 60; x++)
            drawn[y * W + x] = 1;
    msa_mask_cut(drawn, W, all, points, positive, n);
    return msa_mask_measure(drawn, W, all).area;
}

static void a_background_point_is_cut_out(void **state)
{
    (void)state;
    const float points[] = {24.5F, 40.5F, 28.5F, 40.5F, 80, 80};
    const bool background[] = {false, false, false}, one_each[] = {false, true, false};
    assert_int_equal(cut(points + 4, background, 1), 1600);  /* outside anyway */
    assert_int_equal(cut(points, background, 1), 1600 - 80); /* a disc of 5 pixels, to the edge at its left */
    assert_int_equal(drawn[40 * W + 24], 0);
    assert_int_equal(drawn[40 * W + 29], 0);
    assert_int_equal(drawn[40 * W + 30], 1);
    assert_int_equal(cut(points, one_each, 2), 1600 - 13); /* half way to the positive point */
    assert_int_equal(drawn[40 * W + 28], 1);
    const float same[] = {24.5F, 40.5F, 24.7F, 40.5F};
    assert_int_equal(cut(same, one_each, 2), 1600);
    const float beside[] = {24.5F, 40.5F, 25.5F, 40.5F};
    assert_int_equal(cut(beside, one_each, 2), 1600 - 1);
}

static void a_click_keeps_the_part_it_lies_in(void **state)
{
    (void)state;
    uint8_t mask[6 * 8] = {
        1, 1, 0, 0, 0, 0, 1, 1, /* */
        1, 0, 0, 1, 1, 0, 0, 1, /* */
        0, 0, 0, 1, 1, 0, 0, 0, /* */
        0, 1, 0, 0, 0, 1, 1, 0, /* touches the middle part by a corner only */
        0, 1, 1, 0, 0, 1, 1, 0, /* */
        0, 0, 0, 0, 0, 0, 0, 0,
    };
    const float clicks[] = {3.5F, 1.5F, 1.2F, 3.9F};
    assert_int_equal(msa_mask_keep_touched(mask, 8, (msa_region){0, 0, 8, 6}, clicks, 2, NULL), MSA_OK);
    const msa_mask_stats s = msa_mask_measure(mask, 8, (msa_region){0, 0, 8, 6});
    assert_int_equal(s.area, 4 + 3);
    assert_int_equal(mask[0], 0);
    assert_int_equal(mask[8 + 3], 1);
    assert_int_equal(mask[3 * 8 + 5], 0);
    const float miss[] = {0.5F, 5.5F};
    assert_int_equal(msa_mask_keep_touched(mask, 8, (msa_region){0, 0, 8, 6}, miss, 1, NULL), MSA_OK);
    assert_int_equal(msa_mask_measure(mask, 8, (msa_region){0, 0, 8, 6}).area, 0);
}

/* Runs of every length and place: measured eight pixels at a time, wanted one by one. */
static void measuring_is_counting(void **state)
{
    enum { COLS = 61, ROWS = 23 };
    uint8_t mask[ROWS * COLS];
    uint32_t r = 7;
    (void)state;
    for (int round = 0; round < 40; round++) {
        const msa_region region = {round % 9, round % 3, COLS - round % 11, ROWS - round % 5};
        msa_mask_stats want = {0, {COLS, ROWS, 0, 0}, 0, 0};
        for (int i = 0; i < ROWS * COLS; i++) {
            r = r * 1664525U + 1013904223U;
            mask[i] = r >> 28 < (uint32_t)round / 2 - (i % COLS > 30 ? 0 : (uint32_t)round / 3);
        }
        for (int y = region.y0; y < region.y1; y++)
            for (int x = region.x0; x < region.x1; x++) {
                if (!mask[y * COLS + x]) continue;
                want.area++;
                want.cx += x + 0.5;
                want.cy += y + 0.5;
                want.box = (msa_region){x < want.box.x0 ? x : want.box.x0, y < want.box.y0 ? y : want.box.y0,
                                        x >= want.box.x1 ? x + 1 : want.box.x1, y + 1};
            }
        const msa_mask_stats got = msa_mask_measure(mask, COLS, region);
        assert_int_equal(got.area, want.area);
        if (want.area == 0) continue;
        assert_memory_equal(&got.box, &want.box, sizeof got.box);
        assert_true(got.cx == want.cx / (double)want.area && got.cy == want.cy / (double)want.area);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_box_is_carried_as_far_as_its_size_allows),
        cmocka_unit_test(boxes_between_two_slices_are_interpolated_by_position),
        cmocka_unit_test(two_boxes_a_slice_are_paired_by_their_centres),
        cmocka_unit_test(unequal_counts_interpolate_the_bounding_boxes),
        cmocka_unit_test(points_refine_the_box_that_holds_them),
        cmocka_unit_test(negative_points_alone_prompt_nothing),
        cmocka_unit_test(two_clicked_slices_share_the_gap),
        cmocka_unit_test(bad_prompts_are_refused_with_a_sentence),
        cmocka_unit_test(a_box_partly_outside_is_clipped),
        cmocka_unit_test(measuring_a_mask),
        cmocka_unit_test(measuring_is_counting),
        cmocka_unit_test(carrying_stops_for_a_named_reason),
        cmocka_unit_test(a_carried_mask_never_leaves_the_reach),
        cmocka_unit_test(each_part_of_a_mask_is_refined_in_its_box),
        cmocka_unit_test(a_mask_without_a_voxel_is_refused),
        cmocka_unit_test(many_parts_share_the_last_box),
        cmocka_unit_test(masked_slices_are_refined_and_nothing_between),
        cmocka_unit_test(what_is_said_twice_counts_once),
        cmocka_unit_test(nothing_lies_where_it_may_not),
        cmocka_unit_test(a_background_point_is_cut_out),
        cmocka_unit_test(a_click_keeps_the_part_it_lies_in),
    };
    return cmocka_run_group_tests(tests, positions_setup, NULL);
}
