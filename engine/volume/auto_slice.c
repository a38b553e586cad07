#include "engine/volume/auto_slice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/auto_link.h"
#include "engine/volume/crop.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/embeddings.h"
#include "engine/volume/finish.h"
#include "engine/volume/parts.h"
#include "engine/volume/select.h"

enum { BATCH = 32 }; /* clicks decoded together */

/* A mask that the filters let pass: where it came from, so that it can be made again when it survives. */
typedef struct candidate {
    int32_t point, token;
} candidate;

struct msa_auto_slicer {
    const msa_model *model;
    const msa_volume *volume;
    const msa_auto_options *options;
    const atomic_bool *cancel;
    msa_window window;
    msa_transform view; /* the whole slice */
    int32_t side;       /* of the logits, and how much of them the slice covers: */
    int32_t low_rows, low_cols;
    int64_t area_min; /* pixels */
    msa_predictor *predictor;
    msa_embeddings *embeddings;
    msa_finish *finish;
    size_t mask_floats;  /* of the logits of one click: (mask_tokens, side, side) */
    float *logits, *iou; /* (BATCH, mask_tokens, side, side), (BATCH, mask_tokens) */
    uint8_t *mask;       /* (H, W) */
    int32_t *list;       /* (H, W) */
    int32_t room;        /* candidates there can be */
    candidate *candidates;
    msa_box *boxes;
    float *scores;
    int32_t *order;
    bool *kept;
};

void msa_auto_slicer_free(msa_auto_slicer *s)
{
    if (!s) return;
    msa_embeddings_free(s->embeddings);
    msa_finish_free(s->finish);
    msa_predictor_free(s->predictor);
    free(s->logits);
    free(s->iou);
    free(s->mask);
    free(s->list);
    free(s->candidates);
    free(s->boxes);
    free(s->scores);
    free(s->order);
    free(s->kept);
    free(s);
}

static int32_t covered(int32_t in, int32_t side, int32_t size)
{
    return (int32_t)(((int64_t)in * side + size - 1) / size);
}

static msa_status allocate(msa_auto_slicer *s, msa_error *err)
{
    const size_t pixels = (size_t)s->volume->H * (size_t)s->volume->W, room = (size_t)s->room;
    const size_t tokens = (size_t)msa_model_config(s->model)->mask_tokens;
    s->mask_floats = tokens * (size_t)s->side * (size_t)s->side;
    s->logits = malloc(BATCH * s->mask_floats * sizeof *s->logits);
    s->iou = malloc(BATCH * tokens * sizeof *s->iou);
    s->mask = malloc(pixels);
    s->list = malloc(pixels * sizeof *s->list);
    s->candidates = malloc(room * sizeof *s->candidates);
    s->boxes = malloc(room * sizeof *s->boxes);
    s->scores = malloc(room * sizeof *s->scores);
    s->order = malloc(room * sizeof *s->order);
    s->kept = malloc(room * sizeof *s->kept);
    if (!s->logits || !s->iou || !s->mask || !s->list || !s->candidates || !s->boxes || !s->scores ||
        !s->order || !s->kept)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the automatic mode");
    return MSA_OK;
}

static void measure(msa_auto_slicer *s)
{
    const msa_config *c = msa_model_config(s->model);
    const msa_crop_rule rule = msa_crop_rule_make(c, s->volume->H, s->volume->W, s->volume->spacing_mm);
    int32_t first = 0, tokens = 0;
    s->view = msa_crop_whole(&rule);
    s->side = 4 * (c->image_size / c->patch);
    s->low_rows = covered(s->view.in_rows, s->side, s->view.size);
    s->low_cols = covered(s->view.in_cols, s->side, s->view.size);
    s->area_min = (int64_t)ceilf(s->options->area_min_mm2 / (rule.spacing_mm[0] * rule.spacing_mm[1]));
    msa_mask_range(c, true, &first, &tokens);
    s->room = tokens * s->options->points_per_side * s->options->points_per_side;
}

msa_status msa_auto_slicer_new(msa_auto_slicer **out, const msa_model *model, const msa_volume *volume,
                               const msa_window *window, const msa_auto_options *options,
                               msa_embedding_cache *cache, const atomic_bool *cancel, msa_error *err)
{
    MSA_AUTO(msa_auto_slicer) s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return msa_fail(err, MSA_E_NOMEM, "out of memory for the automatic mode");
    s->model = model;
    s->volume = volume;
    s->window = *window;
    s->options = options;
    s->cancel = cancel;
    measure(s);
    MSA_TRY(allocate(s, err));
    const int32_t stack = msa_depth_windows_make(msa_model_config(model), volume->D).size;
    MSA_TRY(msa_finish_new(&s->finish, &s->view, s->side, err));
    MSA_TRY(msa_predictor_new_stack(&s->predictor, model, stack, err));
    MSA_TRY(msa_embeddings_new(&s->embeddings, model, volume, window, s->predictor, cache, err));
    *out = MSA_STEAL(s);
    return MSA_OK;
}

/* ---- the grid ---- */

/* The middle of cell `point` of the grid, in the slice's corner coordinates. */
static void place(const msa_auto_slicer *s, int32_t point, float *x, float *y)
{
    const int32_t n = s->options->points_per_side;
    *x = ((float)(point % n) + 0.5F) / (float)n * (float)s->volume->W;
    *y = ((float)(point / n) + 0.5F) / (float)n * (float)s->volume->H;
}

/* points (n), n up to BATCH: a click at each, the answers in s->logits and s->iou in their order. */
static msa_status click(msa_auto_slicer *s, const float *embedding, const int32_t *points, int32_t n,
                        msa_error *err)
{
    static const float positive = 1;
    const bool swap = msa_model_config(s->model)->point_order_yx;
    msa_prompt_set sets[BATCH];
    float at[BATCH][2];
    if (s->cancel && atomic_load(s->cancel)) return msa_fail(err, MSA_E_CANCELED, "the job was cancelled");
    for (int32_t i = 0; i < n; i++) {
        float x = 0, y = 0;
        place(s, points[i], &x, &y);
        msa_transform_to_input(&s->view, x, y, &at[i][swap], &at[i][!swap]);
        sets[i] = (msa_prompt_set){.points = at[i], .labels = &positive, .n_points = 1};
    }
    return msa_predictor_decode_batch(s->predictor, embedding, n, sets, s->logits, s->iou, err);
}

static const float *logits_of(const msa_auto_slicer *s, int32_t click, int32_t token)
{
    return s->logits + (size_t)click * s->mask_floats + (size_t)token * (size_t)s->side * (size_t)s->side;
}

msa_status msa_auto_judge(const float *logits, int32_t side, int32_t rows, int32_t cols, float offset,
                          float *stability, msa_region *box, msa_error *err)
{
    int64_t sure = 0, possible = 0;
    msa_region b = {cols, rows, 0, 0};
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < cols; x++) {
            const float logit = logits[(size_t)y * (size_t)side + (size_t)x];
            if (!isfinite(logit))
                return msa_fail(err, MSA_E_INTERNAL, "the mask decoder gave a logit that is not finite");
            sure += logit > offset;
            possible += logit > -offset;
            if (!(logit > 0)) continue;
            if (x < b.x0) b.x0 = x;
            if (x >= b.x1) b.x1 = x + 1;
            if (y < b.y0) b.y0 = y;
            b.y1 = y + 1;
        }
    *stability = possible == 0 ? 0 : (float)((double)sure / (double)possible);
    *box = b.x0 < b.x1 ? b : (msa_region){0};
    return MSA_OK;
}

/* Appends the masks of a click of the batch that pass the filters. */
static msa_status judge_click(msa_auto_slicer *s, int32_t click, int32_t point, int32_t *n, msa_error *err)
{
    const float *iou = s->iou + (size_t)click * (size_t)msa_model_config(s->model)->mask_tokens;
    int32_t first = 0, count = 0;
    msa_mask_range(msa_model_config(s->model), true, &first, &count);
    for (int32_t token = first; token < first + count; token++) {
        float stability = 0;
        msa_region box;
        if (!isfinite(iou[token])) return msa_fail(err, MSA_E_INTERNAL, "a predicted IoU is not finite");
        if (iou[token] < s->options->iou_min) continue;
        MSA_TRY(msa_auto_judge(logits_of(s, click, token), s->side, s->low_rows, s->low_cols,
                               s->options->stability_offset, &stability, &box, err));
        if (stability < s->options->stability_min || box.x0 >= box.x1) continue;
        s->candidates[*n] = (candidate){point, token};
        s->boxes[*n] = (msa_box){(float)box.x0, (float)box.y0, (float)box.x1, (float)box.y1};
        s->scores[(*n)++] = iou[token];
    }
    return MSA_OK;
}

static msa_status click_all(msa_auto_slicer *s, const float *embedding, int32_t *n, msa_error *err)
{
    const int32_t all = s->options->points_per_side * s->options->points_per_side;
    int32_t points[BATCH];
    *n = 0;
    for (int32_t first = 0; first < all; first += BATCH) {
        const int32_t batch = all - first < BATCH ? all - first : BATCH;
        for (int32_t i = 0; i < batch; i++)
            points[i] = first + i;
        MSA_TRY(click(s, embedding, points, batch, err));
        for (int32_t i = 0; i < batch; i++)
            MSA_TRY(judge_click(s, i, points[i], n, err));
    }
    return MSA_OK;
}

/* ---- the survivors ---- */

/* Logits at the slice's own size, cleaned. */
static msa_status make_mask(msa_auto_slicer *s, const float *logits, msa_bits *bits, msa_error *err)
{
    const msa_region all = {0, 0, s->volume->W, s->volume->H};
    MSA_TRY(msa_finish_mask(s->finish, logits, all, s->mask, err));
    msa_parts_clean(s->mask, s->volume->H, s->volume->W, s->area_min, s->list);
    return msa_bits_pack(bits, s->mask, s->volume->W, all, err);
}

/* The next of the candidates (n) that survived, best first, from s->order[*at] on; chosen (BATCH) out. */
static int32_t choose(const msa_auto_slicer *s, int32_t n, int32_t *at, int32_t *chosen)
{
    int32_t found = 0;
    for (; *at < n && found < BATCH; (*at)++)
        if (s->kept[s->order[*at]]) chosen[found++] = s->order[*at];
    return found;
}

/* The masks that survived among the candidates, which are decoded once more: to keep all until then would
 * take more memory than the masks of a whole volume. */
static msa_status make_masks(msa_auto_slicer *s, const float *embedding, int32_t n_candidates,
                             msa_auto_mask *masks, int32_t *n, msa_error *err)
{
    int32_t chosen[BATCH], points[BATCH], at = 0;
    for (int32_t batch = choose(s, n_candidates, &at, chosen); batch > 0 && *n < MSA_AUTO_MASKS_MAX;
         batch = choose(s, n_candidates, &at, chosen)) {
        for (int32_t i = 0; i < batch; i++)
            points[i] = s->candidates[chosen[i]].point;
        MSA_TRY(click(s, embedding, points, batch, err));
        for (int32_t i = 0; i < batch && *n < MSA_AUTO_MASKS_MAX; i++) {
            masks[*n] = (msa_auto_mask){.iou = s->scores[chosen[i]]};
            MSA_TRY(make_mask(s, logits_of(s, i, s->candidates[chosen[i]].token), &masks[*n].bits, err));
            *n += masks[*n].bits.area > 0;
        }
    }
    return MSA_OK;
}

/* Once more, with the boxes that cleaning has left. */
static void suppress_again(msa_auto_slicer *s, msa_auto_mask *masks, int32_t *n)
{
    int32_t left = 0;
    for (int32_t i = 0; i < *n; i++) {
        const msa_region b = masks[i].bits.box;
        s->boxes[i] = (msa_box){(float)b.x0, (float)b.y0, (float)b.x1, (float)b.y1};
        s->scores[i] = masks[i].iou;
    }
    msa_nms(s->boxes, s->scores, *n, s->options->box_nms, s->order, s->kept);
    for (int32_t i = 0; i < *n; i++) {
        if (s->kept[i])
            masks[left++] = masks[i];
        else
            msa_bits_clear(&masks[i].bits);
    }
    *n = left;
}

/* Outside the window on one side, or of one value: there is nothing to be seen. */
static bool is_flat(const msa_auto_slicer *s, int32_t slice)
{
    const size_t pixels = (size_t)s->volume->H * (size_t)s->volume->W;
    const float *v = s->volume->voxels + (size_t)slice * pixels;
    const float first = fminf(fmaxf(v[0], s->window.lo), s->window.hi);
    for (size_t i = 1; i < pixels; i++)
        if (fminf(fmaxf(v[i], s->window.lo), s->window.hi) != first) return false;
    return true;
}

msa_status msa_auto_slice(msa_auto_slicer *s, int32_t slice, msa_auto_mask *masks, int32_t *n, msa_error *err)
{
    const float *embedding = NULL;
    int32_t candidates = 0;
    *n = 0;
    if (is_flat(s, slice)) return MSA_OK;
    MSA_TRY(msa_embeddings_get(s->embeddings, slice, &s->view, NULL, &embedding, err));
    MSA_TRY(click_all(s, embedding, &candidates, err));
    msa_nms(s->boxes, s->scores, candidates, s->options->box_nms, s->order, s->kept);
    MSA_TRY(make_masks(s, embedding, candidates, masks, n, err));
    suppress_again(s, masks, n);
    return MSA_OK;
}
