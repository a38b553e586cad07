/* The automatic mode: suppression, stability, cleaning and linking on hand-made masks; then the whole of it
 * over a predictor that answers a click with everything as bright as what was clicked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/volume/cm.h"

#include "engine/automatic.h"
#include "engine/base/cleanup.h"
#include "engine/volume/auto_link.h"
#include "engine/volume/auto_slice.h"
#include "engine/volume/bits.h"
#include "engine/volume/parts.h"

/* ---- the predictor: found before the library's, so this links without the network ---- */

enum { S = 64, D = 12, H = 48, W = 64, PIXELS = H * W };

static msa_config config = {.image_size = S,
                            .patch = 4,
                            .prompt_dim = 16,
                            .mask_tokens = 4,
                            .mask_select = MSA_SELECT_SAM,
                            .input_norm = MSA_NORM_UNIT,
                            .geometry = MSA_GEOMETRY_LONGEST_SIDE};
static int32_t encoded, decoded, nan_at;
static float iou_of_dark; /* what a click on black is said to be worth */
struct msa_predictor {
    int unused;
};
static struct msa_predictor the_one;

const msa_config *msa_model_config(const msa_model *m)
{
    (void)m;
    return &config;
}

const char *msa_model_hash(const msa_model *m)
{
    (void)m;
    return "";
}

msa_status msa_predictor_new(msa_predictor **out, const msa_model *model, msa_error *err)
{
    (void)model, (void)err;
    *out = &the_one;
    return MSA_OK;
}

msa_status msa_predictor_new_stack(msa_predictor **out, const msa_model *model, int32_t slices,
                                   msa_error *err)
{
    (void)slices;
    return msa_predictor_new(out, model, err);
}

void msa_predictor_free(msa_predictor *p)
{
    (void)p;
}

msa_status msa_predictor_encode(msa_predictor *p, const float *image, float *embedding, msa_error *err)
{
    (void)p, (void)err;
    encoded++;
    memcpy(embedding, image, S * S * sizeof *embedding);
    return MSA_OK;
}

msa_status msa_predictor_encode_stack(msa_predictor *p, int32_t n, const float *images, float *embeddings,
                                      msa_error *err)
{
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(msa_predictor_encode(p, images + (size_t)i * 3 * S * S, embeddings + (size_t)i * S * S, err));
    return MSA_OK;
}

/* Masks 1 to 3 of a click: what is as bright as the pixel; the same, unsure of its edge; all that is not
 * black, which the model does not believe in. */
msa_status msa_predictor_decode(msa_predictor *p, const float *embedding, const msa_prompt_set *prompt,
                                float *logits, float *iou, msa_error *err)
{
    (void)p, (void)err;
    const int32_t x = (int32_t)(prompt->points[0] + 0.5F), y = (int32_t)(prompt->points[1] + 0.5F);
    const float grey = embedding[y * S + x];
    decoded++;
    for (int32_t i = 0; i < S * S; i++) {
        const bool in = fabsf(embedding[i] - grey) < 0.02F;
        logits[i] = -5;
        logits[S * S + i] = in ? 5 : -5;
        logits[2 * S * S + i] = in ? 0.5F : -5;
        logits[3 * S * S + i] = embedding[i] > 0.02F ? 5 : -5;
    }
    iou[0] = 1;
    iou[1] = grey < 0.02F ? iou_of_dark : 0.9F + grey / 100;
    iou[2] = 0.99F;
    iou[3] = 0.5F;
    if (nan_at == decoded) logits[S * S + 3] = NAN;
    return MSA_OK;
}

msa_status msa_predictor_decode_batch(msa_predictor *p, const float *embedding, int32_t n,
                                      const msa_prompt_set *prompts, float *logits, float *iou,
                                      msa_error *err)
{
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(msa_predictor_decode(p, embedding, &prompts[i], logits + (size_t)i * 4 * S * S, iou + 4 * i,
                                     err));
    return MSA_OK;
}

/* ---- parts ---- */

static void the_better_of_two_boxes_stays(void **state)
{
    (void)state;
    /* 0 and 1 overlap by 0.8, 2 and 1 by 0.4, 3 equals 4 */
    const msa_box boxes[] = {
        {0, 0, 8, 10}, {0, 0, 10, 10}, {6, 0, 16, 10}, {20, 20, 30, 30}, {20, 20, 30, 30}};
    const float scores[] = {0.5F, 0.9F, 0.7F, 0.6F, 0.6F};
    int32_t order[5];
    bool kept[5];
    msa_nms(boxes, scores, 5, 0.7F, order, kept);
    assert_false(kept[0]);
    assert_true(kept[1] && kept[2]);
    assert_true(kept[3]); /* of equal scores the earlier */
    assert_false(kept[4]);
    const int32_t wanted[] = {1, 2, 3, 4, 0};
    assert_memory_equal(order, wanted, sizeof wanted);
    msa_nms(boxes, scores, 5, 0.2F, order, kept);
    assert_false(kept[2]); /* 4 of 16 columns */
    msa_nms(boxes, scores, 5, 1, order, kept);
    for (int i = 0; i < 5; i++)
        assert_true(kept[i]); /* an IoU of 1 is not above 1 */
    msa_nms(boxes, scores, 0, 0.7F, order, kept);
}

/* What has gone suppresses nothing: a chain of boxes, each near to the next only. */
static void what_is_suppressed_suppresses_nothing(void **state)
{
    (void)state;
    const msa_box boxes[] = {{0, 0, 10, 10}, {1, 0, 11, 10}, {2, 0, 12, 10}};
    const float scores[] = {0.9F, 0.8F, 0.7F};
    int32_t order[3];
    bool kept[3];
    msa_nms(boxes, scores, 3, 0.7F, order, kept); /* neighbours 9/11, the outer two 8/12 */
    assert_true(kept[0] && !kept[1] && kept[2]);
}

static void stability_and_box_are_of_what_the_image_covers(void **state)
{
    (void)state;
    float logits[8 * 8];
    float stability = -1;
    msa_region box;
    for (int i = 0; i < 64; i++)
        logits[i] = 9; /* padding, which must not count */
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++)
            logits[y * 8 + x] = -9;
    logits[1 * 8 + 2] = 3;
    logits[1 * 8 + 3] = 1.5F;
    logits[2 * 8 + 3] = 0.5F;
    logits[3 * 8 + 5] = -0.5F;
    assert_int_equal(msa_auto_judge(logits, 8, 4, 6, 1, &stability, &box, NULL), MSA_OK);
    assert_near(stability, 0.5, 1e-9); /* 2 above 1, 4 above -1 */
    assert_int_equal(box.x0, 2);
    assert_int_equal(box.y0, 1);
    assert_int_equal(box.x1, 4);
    assert_int_equal(box.y1, 3);
    assert_int_equal(msa_auto_judge(logits, 8, 4, 2, 1, &stability, &box, NULL), MSA_OK);
    assert_near(stability, 0, 0); /* nothing is even possible */
    assert_true(box.x0 >= box.x1);
    logits[2] = NAN;
    assert_int_equal(msa_auto_judge(logits, 8, 4, 6, 1, &stability, &box, NULL), MSA_E_INTERNAL);
}

static void draw(uint8_t *mask, int32_t cols, const char *const *rows, int32_t n)
{
    for (int32_t y = 0; y < n; y++)
        for (int32_t x = 0; x < cols; x++)
            mask[y * cols + x] = rows[y][x] == '#';
}

static void holes_are_filled_and_islands_go(void **state)
{
    (void)state;
    static const char *const before[] = {"..........", ".#####..#.", ".#...#..#.", ".#...#....", ".#####....",
                                         "......#...", "#.........", "....#.####", "....#....#"};
    static const char *const filled[] = {"..........", ".#####..#.", ".#####..#.", ".#####....", ".#####....",
                                         "......#...", "#.........", "....#.####", "....#....#"};
    static const char *const after[] = {"..........", ".#####....", ".#####....", ".#####....", ".#####....",
                                        "......#...", "..........", "......####", ".........#"};
    uint8_t mask[90], wanted[90];
    int32_t list[90];
    draw(mask, 10, before, 9);
    draw(wanted, 10, before, 9);
    msa_parts_clean(mask, 9, 10, 1, list);
    assert_memory_equal(mask, wanted, 90);
    /* the hole has 6 pixels; islands of 2, 1 and 2; the corner at (6, 5) belongs to the frame */
    msa_parts_clean(mask, 9, 10, 5, list);
    for (int i = 0; i < 90; i++)
        wanted[i] = wanted[i] && !(i == 18 || i == 28 || i == 60 || i == 74 || i == 84);
    assert_memory_equal(mask, wanted, 90);
    draw(mask, 10, before, 9);
    draw(wanted, 10, filled, 9);
    msa_parts_clean(mask, 9, 10, 7, list);
    draw(wanted, 10, after, 9);
    for (int i = 60; i < 90; i++)
        wanted[i] = 0; /* the island of 5 is small now */
    assert_memory_equal(mask, wanted, 90);
    msa_parts_clean(mask, 9, 10, 91, list);
    assert_null(memchr(mask, 1, 90)); /* smaller than everything: all is hole, then all is island */
}

static void packed_masks_are_what_they_were(void **state)
{
    (void)state;
    enum { COLS = 200, ROWS = 9 };
    static uint8_t a[ROWS * COLS], b[ROWS * COLS], back[ROWS * COLS];
    msa_bits p, q;
    uint32_t random = 1;
    int64_t both = 0, either = 0;
    for (int y = 1; y < 8; y++)
        for (int x = 61; x < 195; x++) {
            random = random * 1664525u + 1013904223u;
            a[y * COLS + x] = random >> 30 == 0;
            b[y * COLS + x] = random >> 28 < 9 && x > 100 && y > 3;
        }
    for (int i = 0; i < ROWS * COLS; i++) {
        both += a[i] && b[i];
        either += a[i] || b[i];
    }
    assert_int_equal(msa_bits_pack(&p, a, COLS, (msa_region){0, 0, COLS, ROWS}, NULL), MSA_OK);
    assert_int_equal(msa_bits_pack(&q, b, COLS, (msa_region){0, 0, COLS, ROWS}, NULL), MSA_OK);
    assert_near(msa_bits_iou(&p, &q), (double)both / (double)either, 0);
    assert_near(msa_bits_iou(&q, &p), (double)both / (double)either, 0);
    assert_near(msa_bits_iou(&p, &p), 1, 0);
    msa_bits_unpack(&p, COLS, back);
    assert_memory_equal(a, back, sizeof a);
    msa_bits_clear(&q);
    assert_near(msa_bits_iou(&p, &q), 0, 0);
    assert_near(msa_bits_iou(&q, &q), 0, 0);
    msa_bits_clear(&p);
}

/* Rectangles of one row: cells from..to-1. */
static msa_bits strip(int32_t from, int32_t to)
{
    uint8_t mask[100] = {0};
    msa_bits bits;
    memset(mask + from, 1, (size_t)(to - from));
    assert_int_equal(msa_bits_pack(&bits, mask, 100, (msa_region){0, 0, 100, 1}, NULL), MSA_OK);
    return bits;
}

static void the_best_overlap_links_first(void **state)
{
    (void)state;
    msa_bits below[] = {strip(0, 10), strip(20, 30), strip(50, 60)};
    msa_bits above[] = {strip(1, 11), strip(0, 10), strip(23, 33), strip(80, 90), strip(58, 68)};
    const msa_bits *b[3], *a[5];
    int32_t from[5];
    for (int i = 0; i < 3; i++)
        b[i] = &below[i];
    for (int i = 0; i < 5; i++)
        a[i] = &above[i];
    assert_int_equal(msa_link(b, 3, a, 5, 0.5F, from, NULL), MSA_OK);
    const int32_t wanted[] = {-1, 0, 1, -1, -1}; /* 0 has gone to its equal; 2 to 4 is 2 of 18 */
    assert_memory_equal(from, wanted, sizeof wanted);
    assert_int_equal(msa_link(b, 3, a, 5, 0.1F, from, NULL), MSA_OK);
    assert_int_equal(from[4], 2);
    assert_int_equal(msa_link(b, 0, a, 5, 0, from, NULL), MSA_OK);
    assert_int_equal(from[1], -1);
    assert_int_equal(msa_link(b, 3, a, 0, 0, from, NULL), MSA_OK);
    for (int i = 0; i < 3; i++)
        msa_bits_clear(&below[i]);
    for (int i = 0; i < 5; i++)
        msa_bits_clear(&above[i]);
}

/* ---- the whole ---- */

static float voxels[D * PIXELS], positions[D];
static uint8_t mask[D * PIXELS];
static const msa_volume volume = {.voxels = voxels,
                                  .D = D,
                                  .H = H,
                                  .W = W,
                                  .spacing_mm = {1, 1},
                                  .position_mm = positions,
                                  .window_center = 50,
                                  .window_width = 100};

/* A block of one grey level, rows and columns y0..y1-1, x0..x1-1 of slices z0..z1-1. */
static int64_t block(int x0, int y0, int z0, int x1, int y1, int z1, float grey)
{
    for (int z = z0; z < z1; z++)
        for (int y = y0; y < y1; y++)
            for (int x = x0; x < x1; x++)
                voxels[z * PIXELS + y * W + x] = grey;
    return (int64_t)(x1 - x0) * (y1 - y0) * (z1 - z0);
}

static int setup(void **state)
{
    (void)state;
    memset(voxels, 0, sizeof voxels);
    memset(mask, 0, sizeof mask);
    for (int i = 0; i < D; i++)
        positions[i] = (float)i;
    encoded = decoded = nan_at = 0;
    iou_of_dark = 0.1F;
    return 0;
}

static msa_auto_options sparse(void)
{
    msa_auto_options o = msa_auto_defaults();
    o.points_per_side = 8;
    o.area_min_mm2 = 10;
    return o;
}

static void objects_are_found_and_linked(void **state)
{
    (void)state;
    const msa_auto_options o = sparse();
    MSA_AUTO(msa_auto_regions) r = NULL;
    msa_object_result one = {.mask = mask};
    const int64_t small = block(40, 8, 2, 52, 20, 5, 60), large = block(8, 20, 3, 30, 40, 10, 90);
    (void)block(44, 30, 7, 56, 42, 8, 40); /* on one slice only */
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(encoded, 4); /* slices 2 to 9, alike ones once; the others are of one grey level */
    assert_int_equal(msa_auto_regions_count(r), 2);
    assert_int_equal(msa_auto_regions_left_out(r), 0);
    msa_auto_regions_get(r, 0, &one);
    assert_int_equal(one.voxels, large);
    assert_int_equal(one.first_slice, 3);
    assert_int_equal(one.last_slice, 9);
    assert_int_equal(one.n_prompted, 7);
    assert_near(one.mean_iou, 0.909, 1e-4);
    for (int i = 0; i < D * PIXELS; i++)
        assert_int_equal(mask[i], voxels[i] == 90);
    memset(mask, 0, sizeof mask);
    msa_auto_regions_get(r, 1, &one);
    assert_int_equal(one.voxels, small);
    for (int i = 0; i < D * PIXELS; i++)
        assert_int_equal(mask[i], voxels[i] == 60);
}

/* A region ends where its masks no longer overlap enough; what comes after is another. */
static void a_jump_begins_another_region(void **state)
{
    (void)state;
    msa_auto_options o = sparse();
    MSA_AUTO(msa_auto_regions) r = NULL;
    msa_object_result one = {.mask = mask};
    const int64_t first = block(8, 8, 1, 24, 24, 5, 60), second = block(18, 8, 5, 34, 24, 8, 60);
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_auto_regions_count(r), 2);
    msa_auto_regions_get(r, 0, &one);
    assert_int_equal(one.voxels, first);
    assert_int_equal(one.last_slice, 4);
    msa_auto_regions_get(r, 1, &one);
    assert_int_equal(one.voxels, second);
    msa_auto_regions_free(r);
    r = NULL;
    o.link_iou = 0.2F; /* 6 of 26 columns */
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_auto_regions_count(r), 1);
}

static void the_largest_are_kept(void **state)
{
    (void)state;
    msa_auto_options o = sparse();
    MSA_AUTO(msa_auto_regions) r = NULL;
    msa_object_result one = {.mask = mask};
    (void)block(2, 2, 0, 14, 14, 2, 30);
    const int64_t largest = block(20, 2, 2, 34, 14, 6, 40);
    const int64_t next = block(40, 2, 5, 52, 14, 9, 50);
    (void)block(2, 20, 9, 14, 32, 12, 60);
    o.regions_max = 2;
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_auto_regions_count(r), 2);
    assert_int_equal(msa_auto_regions_left_out(r), 2);
    msa_auto_regions_get(r, 0, &one);
    assert_int_equal(one.voxels, largest);
    msa_auto_regions_get(r, 1, &one);
    assert_int_equal(one.voxels, next);
}

static int32_t count_with(const msa_auto_options *o)
{
    MSA_AUTO(msa_auto_regions) r = NULL;
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    return msa_auto_regions_count(r);
}

static void filters_decide(void **state)
{
    (void)state;
    msa_auto_options o = sparse();
    (void)block(8, 8, 2, 24, 24, 6, 60);
    assert_int_equal(count_with(&o), 1);
    o.iou_min = 0.95F; /* leaves only the mask that is unsure of its edge */
    assert_int_equal(count_with(&o), 0);
    o.stability_min = 0; /* its black twin is the air around it */
    assert_int_equal(count_with(&o), 2);
    o = sparse();
    o.area_min_mm2 = 257;
    assert_int_equal(count_with(&o), 0);
    o = sparse();
    o.slices_min = 5;
    assert_int_equal(count_with(&o), 0);
    o.slices_min = 4;
    assert_int_equal(count_with(&o), 1);
    iou_of_dark = 0.9F;
    assert_int_equal(count_with(&o), 2);
}

static void one_slice_is_enough_where_there_is_one(void **state)
{
    (void)state;
    const msa_auto_options o = sparse();
    msa_volume flat = volume;
    MSA_AUTO(msa_auto_regions) r = NULL;
    flat.D = 1;
    (void)block(8, 8, 0, 24, 24, 1, 60);
    assert_int_equal(msa_segment_automatic(&r, NULL, &flat, &o, NULL, NULL, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_auto_regions_count(r), 1);
}

static int32_t told[2 * D + 2], n_told;

static void tell(void *ctx, int32_t done, int32_t total)
{
    (void)ctx;
    assert_int_equal(total, D);
    told[n_told++] = done;
}

static void progress_counts_slices_and_cancelling_ends(void **state)
{
    (void)state;
    const msa_auto_options o = sparse();
    msa_auto_regions *r = NULL;
    atomic_bool cancel = true;
    (void)block(8, 8, 2, 24, 24, 6, 60);
    n_told = 0;
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, tell, NULL, NULL), MSA_OK);
    assert_int_equal(n_told, D + 1);
    assert_int_equal(told[D], D);
    msa_auto_regions_free(r);
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, &cancel, NULL, NULL, NULL),
                     MSA_E_CANCELED);
    assert_null(r);
}

static void failures_are_passed_on(void **state)
{
    (void)state;
    msa_auto_options o = sparse();
    msa_auto_regions *r = NULL;
    msa_error err = MSA_ERROR_INIT;
    (void)block(8, 8, 2, 24, 24, 6, 60);
    iou_of_dark = 0.9F;
    nan_at = 70; /* on the second slice: what was open is freed */
    assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, &err),
                     MSA_E_INTERNAL);
    assert_null(r);
    static const struct {
        size_t offset;
        float value;
        const char *words;
    } wrong[] = {{offsetof(msa_auto_options, stability_min), 1.5F, "the least stability is 1.5, not in 0..1"},
                 {offsetof(msa_auto_options, box_nms), -1, "the overlap of boxes is -1"},
                 {offsetof(msa_auto_options, link_iou), NAN, "the overlap of slices is nan"},
                 {offsetof(msa_auto_options, iou_min), NAN, "the least predicted IoU"},
                 {offsetof(msa_auto_options, stability_offset), -1, "the offset of the stability"},
                 {offsetof(msa_auto_options, area_min_mm2), INFINITY, "the least area"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        err = (msa_error)MSA_ERROR_INIT;
        o = sparse();
        memcpy((char *)&o + wrong[i].offset, &wrong[i].value, sizeof(float));
        assert_int_equal(msa_segment_automatic(&r, NULL, &volume, &o, NULL, NULL, NULL, NULL, &err),
                         MSA_E_INVALID);
        if (strstr(err.what, wrong[i].words) == NULL) fail_msg("%s", err.what);
    }
    o = sparse();
    o.points_per_side = MSA_AUTO_POINTS_MAX + 1;
    assert_int_equal(msa_auto_check(&o, NULL), MSA_E_INVALID);
    o = sparse();
    o.regions_max = 0;
    assert_int_equal(msa_auto_check(&o, NULL), MSA_E_INVALID);
    o = msa_auto_defaults();
    assert_int_equal(msa_auto_check(&o, NULL), MSA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_better_of_two_boxes_stays),
        cmocka_unit_test(what_is_suppressed_suppresses_nothing),
        cmocka_unit_test(stability_and_box_are_of_what_the_image_covers),
        cmocka_unit_test(holes_are_filled_and_islands_go),
        cmocka_unit_test(packed_masks_are_what_they_were),
        cmocka_unit_test(the_best_overlap_links_first),
        cmocka_unit_test_setup(objects_are_found_and_linked, setup),
        cmocka_unit_test_setup(a_jump_begins_another_region, setup),
        cmocka_unit_test_setup(the_largest_are_kept, setup),
        cmocka_unit_test_setup(filters_decide, setup),
        cmocka_unit_test_setup(one_slice_is_enough_where_there_is_one, setup),
        cmocka_unit_test_setup(progress_counts_slices_and_cancelling_ends, setup),
        cmocka_unit_test_setup(failures_are_passed_on, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
