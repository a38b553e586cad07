#include "engine/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/nn/interp.h"
#include "engine/volume/metrics.h"
#include "engine/volume/select.h"

#define PURPOSE_PROMPT 0x9a2057ull
#define RUNNING_STEPS  100 /* the running mean forgets over so many */

/* What one picture needs while it is learned from. */
typedef struct msa_trainer_work {
    msa_arena arena;
    msa_encoder_pass *encoder;
    msa_decoder_pass *decoder;
    float *image;                  /* (3, S, S) */
    float *embedding, *dembedding; /* (P, g, g) */
    float *logits, *dlogits;       /* (mask_tokens, 4g, 4g) */
    float *feedback;               /* (4g, 4g) logits of the round before */
    float *pred, *dpred;           /* (S, S) */
    float *target;                 /* (S, S) 0 or 1 */
    uint8_t *mask, *found;         /* target and prediction (S, S) */
    float iou[MSA_MASK_TOKENS_MAX], diou[MSA_MASK_TOKENS_MAX];
} msa_trainer_work;

msa_trainer_options msa_trainer_defaults(uint64_t seed, double lr)
{
    return (msa_trainer_options){.seed = seed,
                                 .batch = 2,
                                 .loss = msa_loss_defaults(MSA_LOSS_DICE_BCE),
                                 .iou_weight = 1,
                                 .box_chance = 0.8,
                                 .box_jitter = 0.1,
                                 .box_limit = 20,
                                 .more_chance = 0.5,
                                 .rounds_max = 2,
                                 .optimizer = msa_optimizer_defaults(lr)};
}

static msa_status check_options(const msa_trainer_options *o, msa_error *err)
{
    if (o->batch < 1 || o->rounds_max < 1 || o->rounds_max > MSA_ROUNDS_MAX)
        return msa_fail(err, MSA_E_INVALID, "training needs a batch of 1 or more and 1 to %d rounds",
                        MSA_ROUNDS_MAX);
    if (!(o->box_chance >= 0 && o->box_chance <= 1) || !(o->more_chance >= 0 && o->more_chance <= 1))
        return msa_fail(err, MSA_E_INVALID, "a chance of training is not in 0..1");
    if (!(o->box_jitter >= 0) || !(o->box_limit >= 0) || !(o->iou_weight >= 0))
        return msa_fail(err, MSA_E_INVALID, "the jitter of boxes or the weight of the IoU is negative");
    return MSA_OK;
}

static void layout(msa_trainer_work *w, const msa_config *c)
{
    const size_t S = (size_t)c->image_size, g = S / (size_t)c->patch, side = 4 * g;
    w->image = msa_arena_floats(&w->arena, 3 * S * S);
    w->embedding = msa_arena_floats(&w->arena, g * g * (size_t)c->prompt_dim);
    w->dembedding = msa_arena_floats(&w->arena, g * g * (size_t)c->prompt_dim);
    w->logits = msa_arena_floats(&w->arena, (size_t)c->mask_tokens * side * side);
    w->dlogits = msa_arena_floats(&w->arena, (size_t)c->mask_tokens * side * side);
    w->feedback = msa_arena_floats(&w->arena, side * side);
    w->pred = msa_arena_floats(&w->arena, S * S);
    w->dpred = msa_arena_floats(&w->arena, S * S);
    w->target = msa_arena_floats(&w->arena, S * S);
    w->mask = msa_arena_take(&w->arena, S * S, 1);
    w->found = msa_arena_take(&w->arena, S * S, 1);
}

/* Something of the prompt encoder trains. */
static bool prompt_trains(const msa_params *p)
{
    for (int32_t i = 0; i < p->n_list; i++)
        if (p->list[i].trains && strncmp(p->list[i].name, "prompt_encoder.", 15) == 0) return true;
    return false;
}

msa_status msa_trainer_new(msa_trainer **out, msa_params *params, const msa_trainer_options *options,
                           msa_error *err)
{
    *out = NULL;
    MSA_TRY(check_options(options, err));
    MSA_AUTO(msa_trainer) t = calloc(1, sizeof *t);
    if (t == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a trainer");
    t->work = calloc(1, sizeof *t->work);
    if (t->work == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a trainer");
    t->options = *options;
    t->params = params;
    layout(t->work, &params->config);
    MSA_TRY(msa_arena_commit(&t->work->arena, err));
    layout(t->work, &params->config);
    MSA_TRY(msa_optimizer_new(&t->optimizer, params, &options->optimizer, err));
    MSA_TRY(msa_encoder_pass_new(&t->work->encoder, params, options->recompute, err));
    MSA_TRY(msa_decoder_pass_new(&t->work->decoder, params, prompt_trains(params), err));
    *out = MSA_STEAL(t);
    return MSA_OK;
}

void msa_trainer_free(msa_trainer *t)
{
    if (t == NULL) return;
    if (t->work != NULL) {
        msa_decoder_pass_free(t->work->decoder);
        msa_encoder_pass_free(t->work->encoder);
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

static void first_prompt(const msa_trainer *t, msa_random *r, const int32_t covered[2], prompts *p)
{
    const msa_trainer_options *o = &t->options;
    const int32_t S = t->params->config.image_size;
    const bool wants_box = msa_random_unit(r) < o->box_chance;
    msa_box tight;
    if (!wants_box || !msa_mask_box(t->work->mask, S, S, &tight)) {
        add_click(&t->params->config, p, msa_sample_click(r, t->work->mask, S, S));
        return;
    }
    const msa_box b = msa_sample_box(r, tight, o->box_jitter, o->box_limit, covered[0], covered[1]);
    p->has_box = true;
    p->box[0] = b.x0 - 0.5f;
    p->box[1] = b.y0 - 0.5f;
    p->box[2] = b.x1 - 0.5f;
    p->box[3] = b.y1 - 0.5f;
}

/* The mask of the round before is fed back; a quiet round brings no new click. */
static void next_prompt(const msa_trainer *t, msa_random *r, bool quiet, int32_t token, prompts *p)
{
    msa_trainer_work *w = t->work;
    const int32_t S = t->params->config.image_size, side = 4 * (S / t->params->config.patch);
    const size_t plane = (size_t)side * (size_t)side;
    msa_click click = {0};
    memcpy(w->feedback, w->logits + (size_t)token * plane, plane * sizeof *w->feedback);
    p->has_mask = true;
    if (!quiet && msa_sample_error_click(r, w->found, w->mask, S, S, MSA_ERROR_BY_AREA, &click))
        add_click(&t->params->config, p, click);
}

/* ---- one picture ---- */

typedef struct picture {
    double loss, dice_first, dice_last;
} picture;

static void resize_token(const msa_trainer *t, int32_t token)
{
    const int32_t S = t->params->config.image_size, side = 4 * (S / t->params->config.patch);
    msa_resize_bilinear(t->work->logits + (int64_t)token * side * side, side, side, 1, t->work->pred, S, S);
}

/* pred becomes a mask; its IoU with the target. */
static double true_iou(const msa_trainer *t)
{
    const int64_t n = (int64_t)t->params->config.image_size * t->params->config.image_size;
    for (int64_t i = 0; i < n; i++)
        t->work->found[i] = t->work->pred[i] > 0;
    return msa_metric_iou(t->work->found, t->work->mask, n);
}

/* Loss of one mask token and of its predicted IoU; gradients are added when `learn`. */
static double token_loss(const msa_trainer *t, int32_t token, double scale, bool learn_mask)
{
    msa_trainer_work *w = t->work;
    const int32_t S = t->params->config.image_size, side = 4 * (S / t->params->config.patch);
    const int64_t n = (int64_t)S * S;
    const double iou_weight = t->options.iou_weight;
    resize_token(t, token);
    if (learn_mask) memset(w->dpred, 0, (size_t)n * sizeof *w->dpred);
    double loss = msa_loss(&t->options.loss, w->pred, w->target, 1, n, scale, learn_mask ? w->dpred : NULL);
    if (!learn_mask) return loss;
    loss += iou_weight * msa_loss_iou(w->iou[token], true_iou(t), iou_weight * scale, &w->diou[token]);
    msa_resize_bilinear_backward(w->dpred, S, S, 1, w->dlogits + (int64_t)token * side * side, side, side);
    return loss;
}

/* One click may mean several things: of the masks for that, the one that is nearest learns (as SAM does). */
static int32_t learning_token(const msa_trainer *t, const prompts *p)
{
    const msa_config *c = &t->params->config;
    int32_t best = 0;
    double least = INFINITY;
    if (msa_select_mask(c, p->n_points, p->has_box, t->work->iou) == 0) return 0;
    for (int32_t token = 1; token < c->mask_tokens; token++) {
        const double loss = token_loss(t, token, 0, false);
        if (loss < least) {
            least = loss;
            best = token;
        }
    }
    return best;
}

/* Decoder forward, loss, decoder backward. The answer is what inference would choose: its mask is left in
 * `found`, its token returned. */
static msa_status learn_round(const msa_trainer *t, const prompts *p, double scale, double *loss,
                              int32_t *answer, msa_error *err)
{
    msa_trainer_work *w = t->work;
    const msa_config *c = &t->params->config;
    const size_t side = 4 * (size_t)(c->image_size / c->patch);
    const msa_prompt_set set = {.points = p->points,
                                .labels = p->labels,
                                .n_points = p->n_points,
                                .box = p->has_box ? p->box : NULL,
                                .mask = p->has_mask ? w->feedback : NULL};
    MSA_TRY(msa_decoder_pass_forward(w->decoder, w->embedding, &set, w->logits, w->iou, err));
    memset(w->dlogits, 0, (size_t)c->mask_tokens * side * side * sizeof *w->dlogits);
    memset(w->diou, 0, sizeof w->diou);
    *loss = token_loss(t, learning_token(t, p), scale, true);
    if (!isfinite(*loss)) return msa_fail(err, MSA_E_INTERNAL, "the loss is not finite");
    msa_decoder_pass_backward(w->decoder, w->dlogits, w->diou, w->dembedding);
    *answer = msa_select_mask(c, p->n_points, p->has_box, w->iou);
    resize_token(t, *answer);
    (void)true_iou(t);
    return MSA_OK;
}

static msa_status learn_picture(const msa_trainer *t, msa_random *r, const int32_t covered[2], double scale,
                                picture *result, msa_error *err)
{
    msa_trainer_work *w = t->work;
    const msa_config *c = &t->params->config;
    const msa_trainer_options *o = &t->options;
    const int64_t n = (int64_t)c->image_size * c->image_size, g = c->image_size / c->patch;
    const bool more = o->rounds_max > 1 && msa_random_unit(r) < o->more_chance;
    const int32_t rounds = more ? 2 + (int32_t)msa_random_below(r, o->rounds_max - 1) : 1;
    /* Of three rounds or more, the last and one other bring no click: the model learns to refine alone. */
    const int32_t quiet = rounds > 2 ? 1 + (int32_t)msa_random_below(r, rounds - 2) : 0;
    prompts p = {0};
    first_prompt(t, r, covered, &p);
    MSA_TRY(msa_encoder_pass_forward(w->encoder, w->image, w->embedding, err));
    memset(w->dembedding, 0, (size_t)(g * g * c->prompt_dim) * sizeof *w->dembedding);
    *result = (picture){0};
    for (int32_t i = 0; i < rounds; i++) {
        double loss = 0;
        int32_t answer = 0;
        MSA_TRY(learn_round(t, &p, scale / rounds, &loss, &answer, err));
        result->loss += loss / rounds;
        result->dice_last = msa_metric_dice(w->found, w->mask, n);
        if (i == 0) result->dice_first = result->dice_last;
        if (i + 1 < rounds) next_prompt(t, r, rounds > 2 && (i + 1 == quiet || i + 2 == rounds), answer, &p);
    }
    msa_encoder_pass_backward(w->encoder, w->dembedding);
    return MSA_OK;
}

/* ---- one step ---- */

static msa_status load_picture(const msa_trainer *t, msa_train_next *next, void *ctx, int64_t step,
                               int32_t item, int32_t covered[2], msa_error *err)
{
    const int32_t S = t->params->config.image_size;
    covered[0] = covered[1] = S;
    MSA_TRY(next(ctx, step, item, t->work->image, t->work->mask, covered, err));
    if (covered[0] < 1 || covered[0] > S || covered[1] < 1 || covered[1] > S)
        return msa_fail(err, MSA_E_INVALID, "a picture covers more than the network's input");
    for (int64_t i = 0; i < (int64_t)S * S; i++)
        t->work->target[i] = t->work->mask[i] != 0 ? 1.0f : 0.0f;
    return MSA_OK;
}

static msa_status try_step(const msa_trainer *t, msa_train_next *next, void *ctx, msa_train_report *report,
                           msa_error *err)
{
    const int64_t step = t->optimizer->step;
    const double batch = (double)t->options.batch;
    *report = (msa_train_report){.step = step};
    msa_params_zero_grads(t->params);
    for (int32_t item = 0; item < t->options.batch; item++) {
        int32_t covered[2];
        picture one;
        msa_random r = msa_random_at(t->options.seed, PURPOSE_PROMPT, (uint64_t)step, (uint64_t)item);
        MSA_TRY(load_picture(t, next, ctx, step, item, covered, err));
        MSA_TRY(learn_picture(t, &r, covered, 1 / batch, &one, err));
        report->loss += one.loss / batch;
        report->dice_first += one.dice_first / batch;
        report->dice_last += one.dice_last / batch;
    }
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
