#include "engine/volume/question.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/crop.h"
#include "engine/volume/depth_windows.h"
#include "engine/volume/embeddings.h"
#include "engine/volume/finish.h"
#include "engine/volume/propagate.h"
#include "engine/volume/select.h"

#define MASK_LOGIT 4.0F /* inside a mask that is given as a prompt; outside minus that, as a filled box */

struct msa_asker {
    const msa_config *config;
    const msa_volume *volume;
    msa_crop_rule rule;
    msa_predictor *predictor;
    msa_embeddings *embeddings;
    msa_finish *finish;
    int32_t low;            /* side of the logits */
    float *logits, *iou;    /* (mask_tokens, low, low), (mask_tokens) */
    float *points, *labels; /* of the question, in input coordinates */
    float *dense;           /* (low, low): its mask */
    msa_transform view;     /* what the network sees of the slice */
    int32_t token;
    float *asked; /* what the decoder was asked last, and which of it lies in logits and iou */
    size_t n_asked;
    int32_t asked_slice; /* -1: nothing yet, or something with a mask, which is not compared */
    msa_transform asked_view;
};

static msa_status asker_memory(msa_asker *a, int32_t points, msa_error *err)
{
    const size_t tokens = (size_t)a->config->mask_tokens, low = (size_t)a->low, n = (size_t)points;
    a->logits = malloc(tokens * low * low * sizeof *a->logits);
    a->iou = calloc(tokens, sizeof *a->iou);
    a->points = calloc(n + 1, 2 * sizeof *a->points);
    a->labels = calloc(n + 1, sizeof *a->labels);
    a->dense = malloc(low * low * sizeof *a->dense);
    a->asked = calloc(3 * n + 5, sizeof *a->asked);
    a->asked_slice = -1;
    if (!a->logits || !a->iou || !a->points || !a->labels || !a->dense || !a->asked)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks");
    return MSA_OK;
}

msa_status msa_asker_new(msa_asker **out, const msa_model *model, const msa_volume *volume,
                         const msa_window *window, msa_embedding_cache *cache, int32_t points, msa_error *err)
{
    MSA_AUTO(msa_asker) a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a) return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks");
    a->config = msa_model_config(model);
    a->volume = volume;
    a->low = 4 * (a->config->image_size / a->config->patch);
    a->rule = msa_crop_rule_make(a->config, volume->H, volume->W, volume->spacing_mm);
    a->view = msa_crop_whole(&a->rule);
    MSA_TRY(asker_memory(a, points, err));
    MSA_TRY(msa_finish_new(&a->finish, &a->view, a->low, err));
    const int32_t stack = msa_depth_windows_make(a->config, volume->D).size;
    MSA_TRY(msa_predictor_new_stack(&a->predictor, model, stack, err));
    MSA_TRY(msa_embeddings_new(&a->embeddings, model, volume, window, a->predictor, cache, err));
    *out = MSA_STEAL(a);
    return MSA_OK;
}

void msa_asker_free(msa_asker *a)
{
    if (!a) return;
    msa_embeddings_free(a->embeddings);
    msa_finish_free(a->finish);
    msa_predictor_free(a->predictor);
    free(a->logits);
    free(a->iou);
    free(a->points);
    free(a->labels);
    free(a->dense);
    free(a->asked);
    free(a);
}

static bool in_view(const msa_transform *view, const float point[2])
{
    const msa_region r = msa_transform_region(view);
    return point[0] >= (float)r.x0 && point[0] <= (float)r.x1 && point[1] >= (float)r.y0 &&
           point[1] <= (float)r.y1;
}

/* Whether pixel (x, y) of the slice, in corner coordinates, is given as the object's. */
static bool given_at(const msa_asker *a, const msa_question *q, float x, float y)
{
    const int32_t col = (int32_t)floorf(x), row = (int32_t)floorf(y);
    const bool in_box = x >= q->box->x0 && x < q->box->x1 && y >= q->box->y0 && y < q->box->y1;
    return in_box && col >= 0 && row >= 0 && col < a->volume->W && row < a->volume->H &&
           q->mask[(size_t)row * (size_t)a->volume->W + (size_t)col];
}

/* The mask as the decoder takes it: logits by how much of a cell, looked at in 4 x 4 places, it covers. */
static void draw_mask(msa_asker *a, const msa_question *q)
{
    enum { TIMES = 4 };
    const float step = (float)a->config->patch / 4 / TIMES; /* input pixels */
    for (int32_t i = 0; i < a->low * a->low; i++) {
        int32_t n = 0;
        for (int32_t k = 0; k < TIMES * TIMES; k++) {
            float x = 0, y = 0;
            const int32_t u = i % a->low * TIMES + k % TIMES, v = i / a->low * TIMES + k / TIMES;
            msa_transform_to_image(&a->view, ((float)u + 0.5F) * step - 0.5F, ((float)v + 0.5F) * step - 0.5F,
                                   &x, &y);
            n += given_at(a, q, x, y);
        }
        a->dense[i] = MASK_LOGIT * (2 * (float)n / (TIMES * TIMES) - 1);
    }
}

/* A point outside the view can only be a negative one: the view was widened to the others. What the network
 * does not see it need not be told to leave out. */
static void fill_prompt(msa_asker *a, const msa_question *q, float box[4], msa_prompt_set *set)
{
    const bool swap = a->config->point_order_yx; /* upstream eras A to C clicked (row, column) */
    int32_t n = 0;
    for (int32_t i = 0; i < q->n_points; i++) {
        const float *point = q->points + 2 * (size_t)i;
        float *to = a->points + 2 * (size_t)n;
        if (!in_view(&a->view, point)) continue;
        msa_transform_to_input(&a->view, point[0], point[1], &to[swap], &to[!swap]);
        a->labels[n++] = q->positive[i] ? 1.0F : 0.0F;
    }
    *set = (msa_prompt_set){.n_points = n};
    if (n > 0) set->points = a->points;
    if (n > 0) set->labels = a->labels;
    if (!q->box) return;
    msa_transform_to_input(&a->view, q->box->x0, q->box->y0, &box[0], &box[1]);
    msa_transform_to_input(&a->view, q->box->x1, q->box->y1, &box[2], &box[3]);
    set->box = box;
    if (!q->mask || a->config->family == MSA_FAMILY_EFFICIENTSAM) return;
    draw_mask(a, q);
    set->mask = a->dense;
}

/* Objects of several classes ask the same one after the other: the decoder answers once. */
static bool asked_before(msa_asker *a, const msa_question *q, const msa_prompt_set *set)
{
    const size_t n = (size_t)set->n_points, size = (set->box ? 4 : 0) + 3 * n;
    float *now = a->asked;
    bool same = a->asked_slice == q->slice && a->n_asked == size && !set->mask &&
                memcmp(&a->asked_view, &a->view, sizeof a->view) == 0;
    if (set->box) {
        same = same && memcmp(now, set->box, 4 * sizeof *now) == 0;
        memcpy(now, set->box, 4 * sizeof *now);
        now += 4;
    }
    if (n > 0) {
        same = same && memcmp(now, set->points, 2 * n * sizeof *now) == 0 &&
               memcmp(now + 2 * n, set->labels, n * sizeof *now) == 0;
        memcpy(now, set->points, 2 * n * sizeof *now);
        memcpy(now + 2 * n, set->labels, n * sizeof *now);
    }
    a->n_asked = size;
    a->asked_view = a->view;
    return same;
}

static int32_t choose(const msa_asker *a, const msa_question *q, int32_t n_points)
{
    if (msa_config_classes(a->config) > 1) return q->channel;
    return msa_select_mask(a->config, n_points, q->box != NULL, a->iou);
}

msa_status msa_ask(msa_asker *a, msa_question *q, msa_error *err)
{
    float box[4];
    msa_prompt_set set;
    const float *embedding = NULL;
    a->view = q->box ? msa_crop_around(&a->rule, *q->box, q->points, q->positive, q->n_points)
                     : msa_crop_whole(&a->rule);
    q->clip = msa_region_intersect(q->clip, msa_transform_region(&a->view));
    fill_prompt(a, q, box, &set);
    if (!asked_before(a, q, &set)) {
        a->asked_slice = -1; /* until there is an answer */
        MSA_TRY(msa_embeddings_get(a->embeddings, q->slice, &a->view, set.box, &embedding, err));
        MSA_TRY(msa_predictor_decode(a->predictor, embedding, &set, a->logits, a->iou, err));
        a->asked_slice = set.mask ? -1 : q->slice;
    }
    a->token = choose(a, q, set.n_points);
    if (!isfinite(a->iou[a->token]))
        return msa_fail(err, MSA_E_INTERNAL, "the predicted IoU on slice %d is not finite", q->slice);
    msa_finish_aim(a->finish, &a->view);
    return MSA_OK;
}

float msa_answer_iou(const msa_asker *a)
{
    return a->iou[a->token];
}

int32_t msa_answer_token(const msa_asker *a)
{
    return a->token;
}

const float *msa_answer_all_iou(const msa_asker *a)
{
    return a->iou;
}

static const float *answer_of(const msa_asker *a)
{
    return a->logits + (size_t)a->token * (size_t)a->low * (size_t)a->low;
}

msa_status msa_answer_logits(msa_asker *a, const msa_question *q, float *out, msa_error *err)
{
    return msa_finish_logits(a->finish, answer_of(a), q->clip, out, err);
}

/* A click names the part it lies in; where a box is given, the box already says what is meant. */
static msa_status keep_clicked(msa_asker *a, const msa_question *q, uint8_t *mask, msa_error *err)
{
    int32_t n = 0;
    for (int32_t i = 0; i < q->n_points; i++) {
        if (!q->positive[i]) continue;
        a->points[2 * n] =
            fminf(q->points[2 * i], (float)a->volume->W - 0.5F); /* the far edge is in the last pixel */
        a->points[2 * n++ + 1] = fminf(q->points[2 * i + 1], (float)a->volume->H - 0.5F);
    }
    return msa_mask_keep_touched(mask, a->volume->W, q->clip, a->points, n, err);
}

msa_status msa_answer_mask(msa_asker *a, const msa_question *q, uint8_t *mask, msa_error *err)
{
    MSA_TRY(msa_finish_mask(a->finish, answer_of(a), q->clip, mask, err));
    return q->box ? MSA_OK : keep_clicked(a, q, mask, err);
}
