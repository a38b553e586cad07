#include "engine/train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

#define TILE 16384 /* values a thread takes at a time */
#define PI   3.14159265358979323846

msa_optimizer_options msa_optimizer_defaults(double lr)
{
    return (msa_optimizer_options){
        .lr = lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .schedule = MSA_SCHEDULE_CONSTANT};
}

double msa_schedule_lr(const msa_optimizer_options *o, int64_t n)
{
    const int64_t warm = o->warmup_steps > 0 ? o->warmup_steps : 0;
    if (n < warm) return o->lr * (double)(n + 1) / (double)warm;
    if (o->schedule == MSA_SCHEDULE_STEP && o->step_every > 0)
        return o->lr * pow(o->step_factor, (double)(n / o->step_every));
    if (o->schedule != MSA_SCHEDULE_COSINE) return o->lr;
    const int64_t span = o->total_steps - warm;
    const double part = span <= 0 || n >= o->total_steps ? 1 : (double)(n - warm) / (double)span;
    return o->lr_min + (o->lr - o->lr_min) * 0.5 * (1 + cos(PI * part));
}

static msa_status check_options(const msa_optimizer_options *o, msa_error *err)
{
    if (!(o->lr > 0) || !isfinite(o->lr) || !(o->lr_min >= 0))
        return msa_fail(err, MSA_E_INVALID, "the learning rate %g is not a positive number", o->lr);
    if (!(o->beta1 >= 0 && o->beta1 < 1) || !(o->beta2 >= 0 && o->beta2 < 1) || !(o->eps >= 0))
        return msa_fail(err, MSA_E_INVALID, "the optimiser's betas are not in 0..1 or eps is negative");
    if (!(o->weight_decay >= 0) || !(o->clip_norm >= 0) || !(o->ema_decay >= 0 && o->ema_decay < 1))
        return msa_fail(err, MSA_E_INVALID, "weight decay, clipping or the moving average is out of range");
    if (o->schedule == MSA_SCHEDULE_STEP && (o->step_every < 1 || !(o->step_factor > 0)))
        return msa_fail(err, MSA_E_INVALID, "the step schedule needs step_every and step_factor above zero");
    if (o->schedule == MSA_SCHEDULE_COSINE && o->total_steps < 1)
        return msa_fail(err, MSA_E_INVALID, "the cosine schedule needs total_steps");
    return MSA_OK;
}

static void layout(msa_optimizer *o)
{
    const size_t n = (size_t)o->params->n_trained;
    o->m = msa_arena_floats(&o->arena, n);
    o->v = o->options.momentum_only ? NULL : msa_arena_floats(&o->arena, n);
    o->squares = msa_arena_take(&o->arena, (n + TILE - 1) / TILE, sizeof *o->squares);
    o->ema = o->options.ema_decay > 0 ? msa_arena_floats(&o->arena, n) : NULL;
}

msa_status msa_optimizer_new(msa_optimizer **out, msa_params *params, const msa_optimizer_options *options,
                             msa_error *err)
{
    *out = NULL;
    MSA_TRY(check_options(options, err));
    MSA_AUTO(msa_optimizer) o = calloc(1, sizeof *o);
    if (o == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the optimiser");
    o->options = *options;
    o->params = params;
    layout(o);
    MSA_TRY(msa_arena_commit(&o->arena, err));
    layout(o);
    if (o->ema != NULL) memcpy(o->ema, params->values, (size_t)params->n_trained * sizeof *o->ema);
    *out = MSA_STEAL(o);
    return MSA_OK;
}

void msa_optimizer_free(msa_optimizer *o)
{
    if (o == NULL) return;
    msa_arena_release(&o->arena);
    free(o);
}

/* ---- one step ---- */

/* Names the gradient that made the norm what it is: the square of a finite float fits into a double. */
static msa_status not_finite(const msa_params *p, msa_error *err)
{
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        if (q->trains && !msa_all_finite(q->numel, p->grads + q->offset))
            return msa_fail(err, MSA_E_INTERNAL, "the gradient of %.120s is not finite", q->name);
    }
    return msa_fail(err, MSA_E_INTERNAL, "a gradient between two parameters is not finite");
}

static int64_t tiles_of(const msa_params *p)
{
    return (p->n_trained + TILE - 1) / TILE;
}

static void square_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const msa_optimizer *o = ctx;
    const int64_t n = o->params->n_trained, first = (int64_t)item * TILE;
    const int64_t end = n - first < TILE ? n : first + TILE;
    double sum = 0;
    for (int64_t i = first; i < end; i++)
        sum += (double)o->params->grads[i] * (double)o->params->grads[i];
    o->squares[item] = sum;
}

/* Tile by tile, tiles added in order: the same bits whoever asks. */
static double squared_norm(msa_optimizer *o)
{
    const int64_t tiles = tiles_of(o->params);
    double total = 0;
    msa_pool_run(square_tile, o, (int32_t)tiles, msa_threads_get());
    for (int64_t i = 0; i < tiles; i++)
        total += o->squares[i];
    return total;
}

typedef struct update {
    const msa_optimizer *o;
    double lr, scale;          /* of the gradient: clipping */
    double correct1, correct2; /* 1 - beta^t */
} update;

/* In double: the reference's float32 order of operations is not specified, and this is nearest to the truth.
 */
static void adam_range(const update *u, int64_t first, int64_t end)
{
    const msa_optimizer_options *c = &u->o->options;
    float *value = u->o->params->values, *m = u->o->m, *v = u->o->v;
    const float *grad = u->o->params->grads;
    const double root2 = sqrt(u->correct2);
    for (int64_t i = first; i < end; i++) {
        const double x = (double)value[i];
        double g = (double)grad[i] * u->scale;
        if (!c->decoupled) g += c->weight_decay * x;
        const double kept = c->decoupled ? x * (1 - u->lr * c->weight_decay) : x;
        const double mean = c->beta1 * (double)m[i] + (1 - c->beta1) * g;
        const double square = c->beta2 * (double)v[i] + (1 - c->beta2) * g * g;
        m[i] = (float)mean;
        v[i] = (float)square;
        value[i] = (float)(kept - u->lr / u->correct1 * mean / (sqrt(square) / root2 + c->eps));
    }
}

static void momentum_range(const update *u, int64_t first, int64_t end)
{
    const msa_optimizer_options *c = &u->o->options;
    float *value = u->o->params->values, *m = u->o->m;
    const float *grad = u->o->params->grads;
    for (int64_t i = first; i < end; i++) {
        const double g = (double)grad[i] * u->scale + c->weight_decay * (double)value[i];
        const double speed = c->beta1 * (double)m[i] + g;
        m[i] = (float)speed;
        value[i] = (float)((double)value[i] - u->lr * speed);
    }
}

static void update_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const update *u = ctx;
    const msa_optimizer *o = u->o;
    const int64_t n = o->params->n_trained, first = (int64_t)item * TILE;
    const int64_t end = n - first < TILE ? n : first + TILE;
    if (o->options.momentum_only)
        momentum_range(u, first, end);
    else
        adam_range(u, first, end);
    const double d = o->options.ema_decay;
    for (int64_t i = first; o->ema != NULL && i < end; i++)
        o->ema[i] = (float)(d * (double)o->ema[i] + (1 - d) * (double)o->params->values[i]);
}

msa_status msa_optimizer_step(msa_optimizer *o, msa_error *err)
{
    const msa_params *p = o->params;
    const msa_optimizer_options *c = &o->options;
    const double norm = sqrt(squared_norm(o)), t = (double)(o->step + 1);
    if (!isfinite(norm)) return not_finite(p, err);
    const bool clip = c->clip_norm > 0 && norm > c->clip_norm;
    update u = {.o = o,
                .lr = msa_schedule_lr(c, o->step),
                .scale = clip ? c->clip_norm / norm : 1,
                .correct1 = 1 - pow(c->beta1, t),
                .correct2 = 1 - pow(c->beta2, t)};
    msa_pool_run(update_tile, &u, (int32_t)tiles_of(p), msa_threads_get());
    o->last_lr = u.lr;
    o->last_grad_norm = norm;
    o->step++;
    return MSA_OK;
}
