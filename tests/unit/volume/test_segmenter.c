/* msa_segment() over a fake predictor: a bright ball in a dark volume. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"
#include "tests/unit/volume/fake_predictor.h"

#include "engine/segmenter.h"

enum { D = 24, H = 48, W = 64, PIXELS = H * W };

static float voxels[D * PIXELS];
static float positions[D];
static uint8_t masks[3][D * PIXELS];
static const msa_volume volume = {.voxels = voxels,
                                  .D = D,
                                  .H = H,
                                  .W = W,
                                  .spacing_mm = {1, 1},
                                  .position_mm = positions,
                                  .window_center = 50,
                                  .window_width = 100};

static void add_ball(double cx, double cy, double cz, double r)
{
    for (int z = 0; z < D; z++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                if (hypot(hypot(x + 0.5 - cx, y + 0.5 - cy), z - cz) <= r)
                    voxels[z * PIXELS + y * W + x] = 100;
}

static int setup(void **state)
{
    (void)state;
    memset(voxels, 0, sizeof voxels);
    for (int i = 0; i < D; i++)
        positions[i] = (float)i;
    fake_log = (fake_predictor_log){.iou = 0.8F};
    add_ball(24, 20, 12, 7);
    return 0;
}

static int64_t bright(void)
{
    int64_t n = 0;
    for (int i = 0; i < D * PIXELS; i++)
        n += voxels[i] > 50;
    return n;
}

static msa_status segment(const msa_object *objects, int32_t n, msa_object_result *results, msa_error *err)
{
    for (int32_t i = 0; i < n; i++)
        results[i] = (msa_object_result){.mask = masks[i]};
    return msa_segment(NULL, &volume, objects, n, results, NULL, NULL, NULL, NULL, err);
}

static const msa_prompt ball_box = {
    .kind = MSA_PROMPT_BOX, .slice = 12, .x0 = 17, .y0 = 13, .x1 = 31, .y1 = 27};

static void one_box_finds_the_whole_ball(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    /* The poles of 1 and a few pixels fall under the area limits; nothing else may differ. */
    assert_true(r.voxels > bright() * 95 / 100 && r.voxels <= bright());
    for (int i = 0; i < D * PIXELS; i++)
        assert_true(!masks[0][i] || voxels[i] > 50);
    assert_in_range(r.first_slice, 5, 7);
    assert_in_range(r.last_slice, 17, 19);
    assert_int_equal(r.n_prompted, 1);
    assert_true(r.n_propagated >= 10);
    assert_float_equal(r.mean_iou, 0.8, 1e-5);
    assert_true(r.stop_reason[0] != 0);
}

/* Half and more of the probability is the mask, which is what it is without it. */
static void a_probability_agrees_with_its_mask(void **state)
{
    (void)state;
    static uint8_t probability[D * PIXELS], alone[D * PIXELS];
    const msa_prompt prompts[2] = {
        ball_box, {.kind = MSA_PROMPT_POINT, .slice = 12, .x0 = 20.5F, .y0 = 20.5F, .positive = false}};
    for (int32_t n = 1; n <= 2; n++) { /* alone, and cut by a background point */
        const msa_object object = {prompts, n, 0, NULL};
        int64_t between = 0;
        msa_object_result r;
        assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
        memcpy(alone, masks[0], sizeof alone);
        memset(probability, 0, sizeof probability);
        r = (msa_object_result){.mask = masks[0], .probability = probability};
        assert_int_equal(msa_segment(NULL, &volume, &object, 1, &r, NULL, NULL, NULL, NULL, NULL), MSA_OK);
        assert_memory_equal(masks[0], alone, sizeof alone);
        for (int i = 0; i < D * PIXELS; i++) {
            assert_int_equal(probability[i] >= 128, masks[0][i]);
            between += probability[i] > 0 && probability[i] < 255;
            if (masks[0][i]) assert_in_range(i % PIXELS / W, r.first_row, r.last_row);
        }
        assert_true(between > 0);
        assert_ptr_equal(r.probability, probability);
    }
}

static void the_prompt_reaches_the_network_in_its_coordinates(void **state)
{
    (void)state;
    const msa_prompt point = {
        .kind = MSA_PROMPT_POINT, .slice = 3, .x0 = 10.5F, .y0 = 20.5F, .positive = true};
    const msa_object object = {&point, 1, 0, NULL};
    msa_object_result r;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.voxels, 0); /* dark there */
    assert_string_equal(r.stop_reason, "the model found nothing in a prompt");
    assert_int_equal(fake_log.decoded, 1);
    assert_false(fake_log.last_had_box);
    assert_float_equal(fake_log.last_point[0], 10, 1e-5); /* 64 columns to 64: scale 1 */
    assert_float_equal(fake_log.last_point[1], 20, 1e-5);
    fake_config.point_order_yx = true;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    fake_config.point_order_yx = false;
    assert_float_equal(fake_log.last_point[0], 20, 1e-5);
    assert_float_equal(fake_log.last_point[1], 10, 1e-5);
}

static void masks_stay_in_the_box_and_its_margin(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r;
    fake_log.inverted = true; /* a model that would fill the whole image */
    for (int i = 0; i < D * PIXELS; i++)
        voxels[i] = 0;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    for (int z = 0; z < D; z++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const bool prompted = x >= 15 && x < 33 && y >= 11 && y < 29;
                const int slant = (abs(z - 12) + 1) / 2; /* half a millimetre for each */
                const bool reach = x >= 10 - slant && x < 38 + slant && y >= 6 - slant && y < 34 + slant;
                if (masks[0][z * PIXELS + y * W + x]) assert_true(z == 12 ? prompted : reach);
            }
    assert_true(r.voxels > 0);
}

static void carrying_ends_at_the_distance_limit(void **state)
{
    (void)state;
    const msa_prompt small = {.kind = MSA_PROMPT_BOX, .slice = 12, .x0 = 20, .y0 = 16, .x1 = 24, .y1 = 20};
    const msa_object object = {&small, 1, 0, NULL};
    msa_object_result r;
    for (int i = 0; i < D; i++)
        positions[i] = 4.0F * (float)i; /* 20 mm are 5 slices */
    for (int i = 0; i < D * PIXELS; i++)
        voxels[i] = i % W / 4 == 5 && i % PIXELS / W / 4 == 4 ? 100 : 0;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.first_slice, 7);
    assert_int_equal(r.last_slice, 17);
    assert_string_equal(r.stop_reason, "the limit of distance was reached");
}

static void each_slice_is_encoded_once_for_all_objects(void **state)
{
    (void)state;
    const msa_prompt other = {.kind = MSA_PROMPT_BOX, .slice = 12, .x0 = 42, .y0 = 23, .x1 = 58, .y1 = 37};
    const msa_prompt far = {.kind = MSA_PROMPT_BOX, .slice = 10, .x0 = 17, .y0 = 13, .x1 = 31, .y1 = 27};
    const msa_object objects[] = {{&ball_box, 1, 0, NULL}, {&other, 1, 0, NULL}, {&far, 1, 0, NULL}};
    msa_object_result r[3];
    add_ball(50, 30, 12, 7);
    assert_int_equal(segment(objects, 3, r, NULL), MSA_OK);
    assert_int_equal(r[0].voxels, r[1].voxels); /* same shape, apart */
    assert_true(r[2].voxels > 0);
    assert_true(fake_log.encoded <= D);
    assert_true(fake_log.decoded > fake_log.encoded);
    for (int i = 0; i < D * PIXELS; i++)
        assert_false(masks[0][i] && masks[1][i]);
}

static void boxes_on_two_slices_are_not_extrapolated(void **state)
{
    (void)state;
    const msa_prompt boxes[] = {
        ball_box, {.kind = MSA_PROMPT_BOX, .slice = 15, .x0 = 18, .y0 = 14, .x1 = 30, .y1 = 26}};
    const msa_object object = {boxes, 2, 0, NULL};
    msa_object_result r;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.first_slice, 12);
    assert_int_equal(r.last_slice, 15);
    assert_int_equal(r.n_prompted, 4);
    assert_int_equal(r.n_propagated, 0);
    assert_string_equal(r.stop_reason, "");
}

/* ---- carrying ---- */

/* A column of side 12 through all slices. */
static void fill_column(int first, int last, float grey)
{
    for (int z = first; z <= last; z++)
        for (int y = 14; y < 26; y++)
            for (int x = 18; x < 30; x++)
                voxels[z * PIXELS + y * W + x] = grey;
}

static const msa_prompt column_box = {
    .kind = MSA_PROMPT_BOX, .slice = 12, .x0 = 18, .y0 = 14, .x1 = 30, .y1 = 26};

static void carrying_ends_where_other_greys_begin(void **state)
{
    (void)state;
    const msa_object object = {.prompts = &column_box, .n_prompts = 1};
    msa_object_result r;
    memset(voxels, 0, sizeof voxels);
    fill_column(0, D - 1, 60);
    fill_column(17, D - 1, 95); /* another organ on top, in the same place: the model takes either */
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.first_slice, 0);
    assert_int_equal(r.last_slice, 16);
    assert_string_equal(r.stop_reason, "what goes on has other greys");
}

static void carrying_ends_where_the_model_sees_nothing_of_it(void **state)
{
    (void)state;
    const msa_object object = {.prompts = &column_box, .n_prompts = 1};
    msa_object_result r;
    memset(voxels, 0, sizeof voxels);
    for (int i = 0; i < D * PIXELS; i++)
        voxels[i] = 60; /* greys say nothing: what was there goes on for ever */
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.first_slice, 12); /* and the model fills the place */
    assert_int_equal(r.last_slice, 12);
    assert_string_equal(r.stop_reason, "the model sees no object where the last one goes on");
}

static void a_slanting_vessel_is_followed(void **state)
{
    (void)state;
    const msa_prompt box = {.kind = MSA_PROMPT_BOX, .slice = 12, .x0 = 30, .y0 = 20, .x1 = 36, .y1 = 26};
    const msa_object object = {.prompts = &box, .n_prompts = 1};
    msa_object_result r;
    memset(voxels, 0, sizeof voxels);
    for (int z = 0; z < D; z++)
        for (int y = 20; y < 26; y++)
            for (int x = 18 + z; x < 24 + z; x++)
                voxels[z * PIXELS + y * W + x] = 100;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_true(r.voxels > D * 36 * 3 / 4);
    for (int i = 0; i < D * PIXELS; i++)
        assert_true(!masks[0][i] || voxels[i] > 50);
}

static void nothing_is_found_on_forbidden_slices(void **state)
{
    (void)state;
    uint8_t slices[D];
    msa_object object = {.prompts = &ball_box, .n_prompts = 1, .slices = slices};
    msa_object_result r;
    for (int i = 0; i < D; i++)
        slices[i] = i >= 10 && i <= 13;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.first_slice, 10);
    assert_int_equal(r.last_slice, 13);
    assert_string_equal(r.stop_reason, "the object may not lie on the slices that follow");
    slices[12] = 0;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(r.voxels, 0);
    assert_string_equal(r.stop_reason, "no prompt lies where the object may");
}

static void a_background_point_is_cut_from_the_answer(void **state)
{
    (void)state;
    const msa_prompt prompts[] = {
        ball_box,
        {.kind = MSA_PROMPT_POINT, .slice = 12, .x0 = 20.5F, .y0 = 20.5F},
        {.kind = MSA_PROMPT_POINT, .slice = 13, .x0 = 20.5F, .y0 = 20.5F},
    };
    const msa_object object = {.prompts = prompts, .n_prompts = 3};
    msa_object_result r;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_int_equal(masks[0][12 * PIXELS + 20 * W + 20], 0);
    assert_int_equal(masks[0][13 * PIXELS + 20 * W + 20], 0); /* the model says otherwise on both */
    assert_int_equal(masks[0][12 * PIXELS + 20 * W + 26], 1);
    assert_int_equal(masks[0][13 * PIXELS + 20 * W + 26], 1);
}

/* ---- masks as prompts ---- */

static uint8_t drawn[PIXELS];

static msa_prompt ball_mask(int32_t slice)
{
    for (int i = 0; i < PIXELS; i++)
        drawn[i] = voxels[slice * PIXELS + i] > 50;
    return (msa_prompt){.kind = MSA_PROMPT_MASK, .slice = slice, .mask = drawn};
}

static void a_mask_is_given_to_the_decoder(void **state)
{
    (void)state;
    const msa_prompt prompt = ball_mask(12);
    const msa_object object = {.prompts = &prompt, .n_prompts = 1};
    msa_object_result r;
    fake_log.keep_mask_of = 1;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_true(r.voxels > bright() * 95 / 100 && r.voxels <= bright()); /* and carried, as a box is */
    assert_true(fake_log.had_mask);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++) {
            const bool in = y < H && voxels[12 * PIXELS + y * W + x] > 50;
            assert_near((double)fake_log.mask[y * 64 + x], in ? 4 : -4, 1e-6);
        }
    fake_config.family = MSA_FAMILY_EFFICIENTSAM; /* knows none */
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    fake_config.family = MSA_FAMILY_SAM;
    assert_true(r.voxels > bright() * 95 / 100 && r.voxels <= bright());
}

static void a_click_takes_only_what_it_touches(void **state)
{
    (void)state;
    const msa_prompt click = {.kind = MSA_PROMPT_POINT, .slice = 12, .x0 = 24, .y0 = 20, .positive = true};
    const msa_object object = {&click, 1, 0, NULL};
    msa_object_result r;
    add_ball(50, 30, 12, 7);
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_true(r.voxels > 0);
    for (int z = 0; z < D; z++)
        for (int y = 0; y < H; y++)
            for (int x = 38; x < W; x++)
                assert_false(masks[0][z * PIXELS + y * W + x]);
}

static void a_nan_logit_fails_the_job(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r;
    msa_error err = MSA_ERROR_INIT;
    fake_log.nan_at = 4; /* while being carried */
    assert_int_equal(segment(&object, 1, &r, &err), MSA_E_INTERNAL);
    assert_string_equal(err.what, "the mask decoder gave a logit that is not finite");
}

static void a_nan_voxel_fails_the_job(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r;
    voxels[12 * PIXELS] = NAN;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_E_INVALID);
}

typedef struct watch {
    int32_t calls, done, total, cancel_after;
    atomic_bool cancel;
    bool backwards;
} watch;

static void watch_progress(void *ctx, int32_t done, int32_t total)
{
    watch *w = ctx;
    w->backwards = w->backwards || done < w->done || done > total;
    w->calls++;
    w->done = done;
    w->total = total;
    if (w->cancel_after > 0 && w->calls >= w->cancel_after) atomic_store(&w->cancel, true);
}

static void progress_runs_to_its_total(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r = {.mask = masks[0]};
    watch w = {0};
    assert_int_equal(msa_segment(NULL, &volume, &object, 1, &r, NULL, &w.cancel, watch_progress, &w, NULL),
                     MSA_OK);
    assert_false(w.backwards);
    assert_int_equal(w.done, w.total);
    assert_true(w.calls > 10);
}

static void cancel_is_read_between_slices(void **state)
{
    (void)state;
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r = {.mask = masks[0]};
    watch w = {.cancel_after = 3};
    assert_int_equal(msa_segment(NULL, &volume, &object, 1, &r, NULL, &w.cancel, watch_progress, &w, NULL),
                     MSA_E_CANCELED);
    assert_int_equal(w.calls, 3);
}

static void the_same_twice_is_the_same_bits(void **state)
{
    (void)state;
    static uint8_t first[D * PIXELS];
    const msa_object object = {&ball_box, 1, 0, NULL};
    msa_object_result r;
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    memcpy(first, masks[0], sizeof first);
    memset(masks[0], 7,
           sizeof masks[0]); /* results start from what the call makes of them, not from what was there */
    assert_int_equal(segment(&object, 1, &r, NULL), MSA_OK);
    assert_memory_equal(first, masks[0], sizeof first);
}

static void candidates_are_told(void **state)
{
    (void)state;
    const msa_prompt click = {.kind = MSA_PROMPT_POINT, .slice = 11, .x0 = 24, .y0 = 20, .positive = true};
    const msa_object objects[] = {{&click, 1, 0, NULL}, {&ball_box, 1, 0, NULL}};
    msa_object_result r[2];
    fake_log.iou_step = 0.05F;
    assert_int_equal(segment(objects, 2, r, NULL), MSA_OK);
    assert_int_equal(r[0].candidates.slice, 11);
    assert_int_equal(r[0].candidates.n, 4);
    assert_int_equal(r[0].candidates.chosen, 3);
    for (int i = 0; i < 4; i++)
        assert_near((double)r[0].candidates.iou[i], 0.8 + 0.05 * i, 1e-6);
    assert_int_equal(r[1].candidates.slice, 12);
    assert_int_equal(r[1].candidates.chosen, 0);
    assert_near((double)r[1].mean_iou, 0.8, 1e-6); /* carried by boxes as well: mask 0 everywhere */
}

static void a_prompt_gives_a_mask_of_each_class(void **state)
{
    (void)state;
    const msa_config sam = fake_config;
    const msa_prompt other[] = {{.kind = MSA_PROMPT_BOX, .slice = 3, .x0 = 1, .y0 = 2, .x1 = 9, .y1 = 9},
                                {.kind = MSA_PROMPT_BOX, .slice = 5, .x0 = 1, .y0 = 2, .x1 = 9, .y1 = 9}};
    const msa_prompt ball[] = {ball_box,
                               {.kind = MSA_PROMPT_BOX, .slice = 13, .x0 = 17, .y0 = 13, .x1 = 31, .y1 = 27}};
    const msa_object objects[] = {{ball, 2, 0, NULL}, {ball, 2, 1, NULL}, {other, 2, 1, NULL}};
    msa_object_result r[3];
    msa_error err = MSA_ERROR_INIT;
    fake_log.odd_inverted = true;
    fake_config.mask_select = MSA_SELECT_FIRST;
    fake_config.classes = 2;
    assert_int_equal(segment(objects, 3, r, NULL), MSA_OK);
    assert_int_equal(fake_log.decoded, 5); /* slices 12 and 13 once for both classes, 3 to 5 */
    assert_int_equal(r[0].candidates.chosen, 0);
    assert_int_equal(r[1].candidates.chosen, 1);
    assert_true(r[0].voxels > 100 && r[1].voxels > 100);
    for (int i = 12 * PIXELS; i < 14 * PIXELS; i++) {
        assert_false(masks[0][i] && masks[1][i]);
        if (masks[0][i]) assert_true(voxels[i] > 50);
        if (masks[1][i]) assert_true(voxels[i] < 50);
    }
    const msa_object third = {ball, 2, 2, NULL};
    assert_int_equal(segment(&third, 1, r, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "class 2"));
    fake_config = sam;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(candidates_are_told, setup),
        cmocka_unit_test_setup(a_prompt_gives_a_mask_of_each_class, setup),
        cmocka_unit_test_setup(one_box_finds_the_whole_ball, setup),
        cmocka_unit_test_setup(a_probability_agrees_with_its_mask, setup),
        cmocka_unit_test_setup(the_prompt_reaches_the_network_in_its_coordinates, setup),
        cmocka_unit_test_setup(masks_stay_in_the_box_and_its_margin, setup),
        cmocka_unit_test_setup(carrying_ends_at_the_distance_limit, setup),
        cmocka_unit_test_setup(each_slice_is_encoded_once_for_all_objects, setup),
        cmocka_unit_test_setup(boxes_on_two_slices_are_not_extrapolated, setup),
        cmocka_unit_test_setup(carrying_ends_where_other_greys_begin, setup),
        cmocka_unit_test_setup(carrying_ends_where_the_model_sees_nothing_of_it, setup),
        cmocka_unit_test_setup(a_slanting_vessel_is_followed, setup),
        cmocka_unit_test_setup(nothing_is_found_on_forbidden_slices, setup),
        cmocka_unit_test_setup(a_background_point_is_cut_from_the_answer, setup),
        cmocka_unit_test_setup(a_mask_is_given_to_the_decoder, setup),
        cmocka_unit_test_setup(a_click_takes_only_what_it_touches, setup),
        cmocka_unit_test_setup(a_nan_logit_fails_the_job, setup),
        cmocka_unit_test_setup(a_nan_voxel_fails_the_job, setup),
        cmocka_unit_test_setup(progress_runs_to_its_total, setup),
        cmocka_unit_test_setup(cancel_is_read_between_slices, setup),
        cmocka_unit_test_setup(the_same_twice_is_the_same_bits, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
