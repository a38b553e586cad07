#include "engine/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"
#include "engine/nn/interp.h"
#include "engine/sam/prompt_picture.h"
#include "engine/volume/metrics.h"
#include "engine/volume/select.h"

#define PURPOSE_PROMPT 0x9a2057ull
#define RUNNING_STEPS  100 /* the running mean forgets over so many */

/* What was learned from one picture. */
typedef struct picture_result {
    double loss, dice_first, dice_last;
    msa_status status;
    msa_error error;
} picture_result;

/* Who works through every n-th picture of a batch: what a picture needs while it is learned from, and a sum
 * of gradients of its own. The sums are added up in order, so that threads do not change the bits. */
typedef struct lane {
    const msa_trainer_options *options;
    msa_params params; /* the run's, with other gradients */
    float *grads;      /* of its own; NULL: the first lane uses the run's */
    msa_arena arena;
    msa_encoder_pass *encoder;
    msa_decoder_pass *decoder;
    int32_t slices, plane;         /* of a picture; that the target is learned on */
    float *embedding, *dembedding; /* (slices, msa_embedding_floats()) */
    float *logits, *dlogits;       /* (mask_tokens, 4g, 4g) */
    float *feedback;               /* (4g, 4g) logits of the round before */
    float *pred, *dpred;           /* (S, S) */
    float *target;                 /* (S, S) 0 or 1 */
    const uint8_t *mask;           /* (S, S) the same, in the picture */
    uint8_t *found;                /* (S, S) prediction */
    float iou[MSA_MASK_TOKENS_MAX], diou[MSA_MASK_TOKENS_MAX];
} lane;

typedef struct msa_trainer_work {
    msa_arena arena;
    msa_train_picture *pictures; /* (batch) */
    picture_result *results;     /* (batch) */
    lane *lanes;
    int32_t n_lanes;
} msa_trainer_work;

static void lane_layout(lane *w)
{
    const msa_config *c = &w->params.config;
    const size_t S = (size_t)c->image_size, g = S / (size_t)c->patch, side = 4 * g;
    w->embedding = msa_arena_floats(&w->arena, (size_t)w->slices * msa_embedding_floats(c));
    w->dembedding = msa_arena_floats(&w->arena, (size_t)w->slices * msa_embedding_floats(c));
    w->logits = msa_arena_floats(&w->arena, (size_t)c->mask_tokens * side * side);
    w->dlogits = msa_arena_floats(&w->arena, (size_t)c->mask_tokens * side * side);
    w->feedback = msa_arena_floats(&w->arena, side * side);
    w->pred = msa_arena_floats(&w->arena, S * S);
    w->dpred = msa_arena_floats(&w->arena, S * S);
    w->target = msa_arena_floats(&w->arena, S * S);
    w->found = msa_arena_take(&w->arena, S * S, 1);
}

static void pictures_layout(msa_trainer_work *w, const msa_trainer_options *o, const msa_config *c)
{
    const int32_t slices = msa_config_slices(c);
    const size_t n = (size_t)slices * (size_t)c->image_size * (size_t)c->image_size;
    for (int32_t i = 0; i < o->batch; i++)
        w->pictures[i] = (msa_train_picture){.slices = slices,
                                             .image = msa_arena_floats(&w->arena, 3 * n),
                                             .targets = msa_arena_take(&w->arena, (size_t)o->targets * n, 1),
                                             .targets_max = o->targets};
}

/* Something of the prompt encoder trains. */
static bool prompt_trains(const msa_params *p)
{
    for (int32_t i = 0; i < p->n_list; i++)
        if (p->list[i].trains && strncmp(p->list[i].name, "prompt_encoder.", 15) == 0) return true;
    return false;
}

static msa_status lane_open(lane *w, const msa_trainer *t, bool first, msa_error *err)
{
    w->options = &t->options;
    w->params = *t->params;
    w->slices = msa_config_slices(&w->params.config);
    if (!first) {
        w->grads = calloc((size_t)t->params->n_trained, sizeof *w->grads);
        if (w->grads == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for gradients");
        w->params.grads = w->grads;
    }
    lane_layout(w);
    MSA_TRY(msa_arena_commit(&w->arena, err));
    lane_layout(w);
    MSA_TRY(msa_encoder_pass_new_stack(&w->encoder, &w->params, w->slices, t->options.recompute, err));
    return msa_decoder_pass_new(&w->decoder, &w->params, prompt_trains(&w->params), err);
}

static msa_status work_open(msa_trainer *t, msa_error *err)
{
    msa_trainer_work *w = t->work;
    const msa_trainer_options *o = &t->options;
    w->n_lanes = o->lanes < o->batch ? o->lanes : o->batch;
    w->lanes = calloc((size_t)w->n_lanes, sizeof *w->lanes);
    w->pictures = calloc((size_t)o->batch, sizeof *w->pictures);
    w->results = calloc((size_t)o->batch, sizeof *w->results);
    if (w->lanes == NULL || w->pictures == NULL || w->results == NULL)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a trainer");
    pictures_layout(w, o, &t->params->config);
    MSA_TRY(msa_arena_commit(&w->arena, err));
    pictures_layout(w, o, &t->params->config);
    for (int32_t i = 0; i < w->n_lanes; i++)
        MSA_TRY(lane_open(&w->lanes[i], t, i == 0, err));
    return MSA_OK;
}

msa_status msa_trainer_new(msa_trainer **out, msa_params *params, const msa_trainer_options *options,
                           msa_error *err)
{
    *out = NULL;
    MSA_TRY(msa_trainer_options_check(options, err));
    MSA_AUTO(msa_trainer) t = calloc(1, sizeof *t);
    if (t == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a trainer");
    t->work = calloc(1, sizeof *t->work);
    if (t->work == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a trainer");
    t->options = *options;
    t->params = params;
    MSA_TRY(msa_optimizer_new(&t->optimizer, params, &options->optimizer, err));
    MSA_TRY(work_open(t, err));
    *out = MSA_STEAL(t);
    return MSA_OK;
}

static void lane_clear(lane *w)
{
    msa_decoder_pass_free(w->decoder);
    msa_encoder_pass_free(w->encoder);
    msa_arena_release(&w->arena);
    free(w->grads);
}

void msa_trainer_free(msa_trainer *t)
{
    if (t == NULL) return;
    for (int32_t i = 0; t->work != NULL && t->work->lanes != NULL && i < t->work->n_lanes; i++)
        lane_clear(&t->work->lanes[i]);
    if (t->work != NULL) {
        free(t->work->lanes);
        free(t->work->pictures);
        free(t->work->results);
        msa_arena_release(&t->work->arena);
    }
    free(t->work);
    msa_optimizer_free(t->optimizer);
    free(t);
}

/* ---- prompts ---- */

typedef struct prompts {
    float points[2 * MSA_ROUNDS_MAX], labels[MSA_ROUNDS_MAX], box[4];
    int32_t n_points;
    bool has_box, has_mask;
} prompts;

/* A click names the centre of its pixel, which is where the network's coordinates put whole numbers. */
static void add_click(const msa_config *c, prompts *p, msa_click click)
{
    const float x = (float)click.col, y = (float)click.row;
    p->points[2 * p->n_points] = c->point_order_yx ? y : x;
    p->points[2 * p->n_points + 1] = c->point_order_yx ? x : y;
    p->labels[p->n_points++] = click.positive ? 1.0f : 0.0f;
}

/* Borders lie half a pixel before the centres that coordinates name. */
static void set_box(prompts *p, msa_box b)
{
    p->has_box = true;
    p->box[0] = b.x0 - 0.5f;
    p->box[1] = b.y0 - 0.5f;
    p->box[2] = b.x1 - 0.5f;
    p->box[3] = b.y1 - 0.5f;
}

static void first_prompt(const lane *w, msa_random *r, const int32_t covered[2], prompts *p)
{
    const msa_trainer_options *o = w->options;
    const int32_t S = w->params.config.image_size;
    const bool wants_box = msa_random_unit(r) < o->box_chance;
    msa_box tight;
    if (!wants_box || !msa_mask_box(w->mask, S, S, &tight)) {
        add_click(&w->params.config, p, msa_sample_click(r, w->mask, S, S));
        return;
    }
    set_box(p, msa_sample_box(r, tight, o->box_jitter, o->box_limit, covered[0], covered[1]));
}

/* The mask of the round before is fed back; a quiet round brings no new click. */
static void next_prompt(const lane *w, msa_random *r, bool quiet, int32_t token, prompts *p)
{
    const msa_config *c = &w->params.config;
    const int32_t S = c->image_size, side = 4 * (S / c->patch);
    const size_t plane = (size_t)side * (size_t)side;
    msa_click click = {0};
    memcpy(w->feedback, w->logits + (size_t)token * plane, plane * sizeof *w->feedback);
    p->has_mask = true;
    if (!quiet && msa_sample_error_click(r, w->found, w->mask, S, S, MSA_ERROR_BY_AREA, &click))
        add_click(c, p, click);
}

/* ---- one target ---- */

static void resize_token(const lane *w, int32_t token)
{
    const int32_t S = w->params.config.image_size, side = 4 * (S / w->params.config.patch);
    msa_resize_bilinear(w->logits + (int64_t)token * side * side, side, side, 1, w->pred, S, S);
}

/* pred becomes a mask; its IoU with the target. */
static double true_iou(const lane *w)
{
    const int64_t n = (int64_t)w->params.config.image_size * w->params.config.image_size;
    for (int64_t i = 0; i < n; i++)
        w->found[i] = w->pred[i] > 0;
    return msa_metric_iou(w->found, w->mask, n);
}

/* Loss of one mask token and of its predicted IoU; gradients are added when `learn`. */
static double token_loss(lane *w, int32_t token, double scale, bool learn_mask)
{
    const int32_t S = w->params.config.image_size, side = 4 * (S / w->params.config.patch);
    const int64_t n = (int64_t)S * S;
    const double iou_weight = w->options->iou_weight;
    resize_token(w, token);
    if (learn_mask) memset(w->dpred, 0, (size_t)n * sizeof *w->dpred);
    double loss = msa_loss(&w->options->loss, w->pred, w->target, 1, n, scale, learn_mask ? w->dpred : NULL);
    if (!learn_mask) return loss;
    loss += iou_weight * msa_loss_iou(w->iou[token], true_iou(w), iou_weight * scale, &w->diou[token]);
    msa_resize_bilinear_backward(w->dpred, S, S, 1, w->dlogits + (int64_t)token * side * side, side, side);
    return loss;
}

/* One click may mean several things: of the masks for that, the one that is nearest learns (as SAM does). */
static int32_t learning_token(lane *w, const prompts *p)
{
    const msa_config *c = &w->params.config;
    int32_t best = 0;
    double least = INFINITY;
    if (msa_select_mask(c, p->n_points, p->has_box, w->iou) == 0) return 0;
    for (int32_t token = 1; token < c->mask_tokens; token++) {
        const double loss = token_loss(w, token, 0, false);
        if (loss < least) {
            least = loss;
            best = token;
        }
    }
    return best;
}

/* Decoder forward, loss, decoder backward. The answer is what inference would choose: its mask is left in
 * `found`, its token returned. */
static msa_status learn_round(lane *w, const prompts *p, double scale, double *loss, int32_t *answer,
                              msa_error *err)
{
    const msa_config *c = &w->params.config;
    const size_t side = 4 * (size_t)(c->image_size / c->patch);
    const msa_prompt_set set = {.points = p->points,
                                .labels = p->labels,
                                .n_points = p->n_points,
                                .box = p->has_box ? p->box : NULL,
                                .mask = p->has_mask ? w->feedback : NULL};
    const size_t at = (size_t)w->plane * msa_embedding_floats(c);
    MSA_TRY(msa_decoder_pass_forward(w->decoder, w->embedding + at, &set, w->logits, w->iou, err));
    memset(w->dlogits, 0, (size_t)c->mask_tokens * side * side * sizeof *w->dlogits);
    memset(w->diou, 0, sizeof w->diou);
    *loss = token_loss(w, learning_token(w, p), scale, true);
    if (!isfinite(*loss)) return msa_fail(err, MSA_E_INTERNAL, "the loss is not finite");
    msa_decoder_pass_backward(w->decoder, w->dlogits, w->diou, w->dembedding + at);
    *answer = msa_select_mask(c, p->n_points, p->has_box, w->iou);
    resize_token(w, *answer);
    (void)true_iou(w);
    return MSA_OK;
}

static int64_t area(const uint8_t *mask, int64_t n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += mask[i] != 0;
    return sum;
}

/* One slice of those that show a target, which nobody would box where it is about to end. */
static int32_t draw_plane(const lane *w, msa_random *r, const uint8_t *target)
{
    const int64_t n = (int64_t)w->params.config.image_size * w->params.config.image_size;
    int32_t shown[MSA_STACK_MAX], n_shown = 0;
    if (w->slices == 1) return 0;
    const int64_t least = (area(target + w->slices / 2 * n, n) + 3) / 4;
    for (int32_t d = 0; d < w->slices; d++)
        if (area(target + d * n, n) >= least) shown[n_shown++] = d;
    return shown[msa_random_below(r, n_shown)];
}

/* target (slices, S, S) */
static void take_target(lane *w, const uint8_t *target, int32_t plane)
{
    const int64_t n = (int64_t)w->params.config.image_size * w->params.config.image_size;
    w->plane = plane;
    w->mask = target + plane * n;
    for (int64_t i = 0; i < n; i++)
        w->target[i] = w->mask[i] != 0 ? 1.0f : 0.0f;
}

static int32_t draw_rounds(const lane *w, msa_random *r)
{
    const msa_trainer_options *o = w->options;
    const bool more = o->rounds_max > 1 && msa_random_unit(r) < o->more_chance;
    return more ? 2 + (int32_t)msa_random_below(r, o->rounds_max - 1) : 1;
}

/* All rounds of prompts for the target in w->mask, from the first one on; its part of the picture's result is
 * added.
 */
static msa_status learn_target(lane *w, msa_random *r, prompts *p, int32_t rounds, double scale, double share,
                               picture_result *result, msa_error *err)
{
    const int64_t n = (int64_t)w->params.config.image_size * w->params.config.image_size;
    /* Of three rounds or more, the last and one other bring no click: the model learns to refine alone. */
    const int32_t quiet = rounds > 2 ? 1 + (int32_t)msa_random_below(r, rounds - 2) : 0;
    for (int32_t i = 0; i < rounds; i++) {
        double loss = 0;
        int32_t answer = 0;
        MSA_TRY(learn_round(w, p, scale / rounds, &loss, &answer, err));
        const double dice = msa_metric_dice(w->found, w->mask, n);
        result->loss += share * loss / rounds;
        if (i == 0) result->dice_first += share * dice;
        if (i + 1 == rounds) result->dice_last += share * dice;
        if (i + 1 < rounds) next_prompt(w, r, rounds > 2 && (i + 1 == quiet || i + 2 == rounds), answer, p);
    }
    return MSA_OK;
}

/* ---- one picture ---- */

/* A model that has the box in its picture sees another picture for every target; of a stack all slices have
 * it, as at inference. */
static msa_status encode(lane *w, const msa_train_picture *picture, const prompts *p, msa_error *err)
{
    const msa_config *c = &w->params.config;
    const size_t one = 3 * (size_t)c->image_size * (size_t)c->image_size, slices = (size_t)w->slices;
    for (size_t d = 0; d < slices; d++)
        msa_prompt_into_image(c, p->has_box ? p->box : NULL, picture->covered[0], picture->covered[1],
                              picture->image + d * one);
    MSA_TRY(msa_encoder_pass_forward(w->encoder, picture->image, w->embedding, err));
    memset(w->dembedding, 0, slices * msa_embedding_floats(c) * sizeof *w->dembedding);
    return MSA_OK;
}

static msa_status learn_picture(lane *w, msa_random *r, const msa_train_picture *picture, double scale,
                                picture_result *result, msa_error *err)
{
    const msa_config *c = &w->params.config;
    const int64_t n = (int64_t)w->slices * c->image_size * c->image_size;
    const double share = 1.0 / picture->n_targets;
    for (int32_t k = 0; k < picture->n_targets; k++) {
        const uint8_t *target = picture->targets + k * n;
        prompts p = {0};
        take_target(w, target, draw_plane(w, r, target));
        const int32_t rounds = draw_rounds(w, r);
        first_prompt(w, r, picture->covered, &p);
        if (k == 0 || c->box_in_image) MSA_TRY(encode(w, picture, &p, err));
        MSA_TRY(learn_target(w, r, &p, rounds, scale * share, share, result, err));
        if (k + 1 == picture->n_targets || c->box_in_image)
            msa_encoder_pass_backward(w->encoder, w->dembedding);
    }
    return MSA_OK;
}

static void lane_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const msa_trainer *t = ctx;
    const msa_trainer_options *o = &t->options;
    lane *w = &t->work->lanes[item];
    memset(w->params.grads, 0, (size_t)w->params.n_trained * sizeof *w->params.grads);
    for (int32_t i = item; i < o->batch; i += t->work->n_lanes) {
        picture_result *result = &t->work->results[i];
        msa_random r = msa_random_at(o->seed, PURPOSE_PROMPT, (uint64_t)t->optimizer->step, (uint64_t)i);
        *result = (picture_result){.error = MSA_ERROR_INIT};
        result->status = learn_picture(w, &r, &t->work->pictures[i], 1.0 / o->batch, result, &result->error);
        if (result->status != MSA_OK) return; /* the step fails: what follows is not looked at */
    }
}

/* ---- one step ---- */

static msa_status load_pictures(const msa_trainer *t, msa_train_next *next, void *ctx, msa_error *err)
{
    const int32_t S = t->params->config.image_size;
    for (int32_t i = 0; i < t->options.batch; i++) {
        msa_train_picture *p = &t->work->pictures[i];
        p->n_targets = 1;
        p->covered[0] = p->covered[1] = S;
        MSA_TRY(next(ctx, t->optimizer->step, i, p, err));
        if (p->covered[0] < 1 || p->covered[0] > S || p->covered[1] < 1 || p->covered[1] > S)
            return msa_fail(err, MSA_E_INVALID, "a picture covers more than the network's input");
        if (p->n_targets < 1 || p->n_targets > p->targets_max)
            return msa_fail(err, MSA_E_INVALID, "a picture has %d targets, not 1 to %d", p->n_targets,
                            p->targets_max);
    }
    return MSA_OK;
}

#define SUM_TILE 65536

static void sum_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const msa_trainer *t = ctx;
    const int64_t first = (int64_t)item * SUM_TILE, left = t->params->n_trained - first;
    for (int32_t i = 1; i < t->work->n_lanes; i++)
        msa_add(left < SUM_TILE ? left : SUM_TILE, t->params->grads + first, t->work->lanes[i].grads + first,
                t->params->grads + first);
}

static msa_status try_step(msa_trainer *t, msa_train_next *next, void *ctx, msa_train_report *report,
                           msa_error *err)
{
    const double batch = (double)t->options.batch;
    *report = (msa_train_report){.step = t->optimizer->step};
    MSA_TRY(load_pictures(t, next, ctx, err));
    msa_pool_run(lane_item, t, t->work->n_lanes, t->work->n_lanes);
    for (int32_t i = 0; i < t->options.batch; i++) {
        const picture_result *one = &t->work->results[i];
        if (one->status != MSA_OK) {
            if (err != NULL) *err = one->error;
            return one->status;
        }
        report->loss += one->loss / batch;
        report->dice_first += one->dice_first / batch;
        report->dice_last += one->dice_last / batch;
    }
    msa_pool_run(sum_item, t, (int32_t)((t->params->n_trained + SUM_TILE - 1) / SUM_TILE), MSA_THREADS_MAX);
    return msa_optimizer_step(t->optimizer, err);
}

static double drift(double mean, double x, int64_t n)
{
    return mean + (x - mean) / (double)(n < RUNNING_STEPS ? n : RUNNING_STEPS);
}

msa_status msa_trainer_step(msa_trainer *t, msa_train_next *next, void *ctx, msa_train_report *report,
                            msa_error *err)
{
    msa_error inner = MSA_ERROR_INIT;
    const int64_t step = t->optimizer->step;
    const msa_status status = try_step(t, next, ctx, report, &inner);
    if (status != MSA_OK) return msa_fail(err, status, "step %lld: %.180s", (long long)step, inner.what);
    report->lr = t->optimizer->last_lr;
    report->grad_norm = t->optimizer->last_grad_norm;
    msa_running *run = &t->running;
    run->n++;
    run->loss = drift(run->loss, report->loss, run->n);
    run->dice_first = drift(run->dice_first, report->dice_first, run->n);
    run->dice_last = drift(run->dice_last, report->dice_last, run->n);
    return MSA_OK;
}

/* ---- looking only ---- */

msa_status msa_trainer_answer(msa_trainer *t, const msa_train_picture *picture, int32_t k,
                              msa_train_answer *out, msa_error *err)
{
    lane *w = &t->work->lanes[0];
    const msa_config *c = &t->params->config;
    const int32_t S = c->image_size;
    const int64_t n = (int64_t)S * S;
    prompts p = {0};
    take_target(w, picture->targets + (int64_t)k * w->slices * n, w->slices / 2);
    if (!msa_mask_box(w->mask, S, S, &out->box)) return msa_fail(err, MSA_E_INVALID, "a target is empty");
    set_box(&p, out->box);
    if (k == 0 || c->box_in_image) MSA_TRY(encode(w, picture, &p, err));
    const msa_prompt_set set = {.box = p.box};
    const size_t at = (size_t)w->plane * msa_embedding_floats(c);
    MSA_TRY(msa_decoder_pass_forward(w->decoder, w->embedding + at, &set, w->logits, w->iou, err));
    const int32_t token = msa_select_mask(c, 0, true, w->iou);
    out->loss = token_loss(w, token, 0, false);
    (void)true_iou(w);
    out->found = w->found;
    out->dice = msa_metric_dice(w->found, w->mask, n);
    return MSA_OK;
}
