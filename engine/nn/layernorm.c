#include "engine/nn/layernorm.h"

#include <math.h>
#include <stddef.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

#define ROWS_PER_ITEM 64

typedef struct norm_job {
    const msa_norm *n;
    const float *x;
    float *y;
    int64_t T;
    float eps;
} norm_job;

static void norm_row(const msa_norm *n, float eps, const float *x, float *y)
{
    const float mean = msa_sum(n->C, x) / (float)n->C;
    const float variance = msa_squared_distance(n->C, x, mean) / (float)n->C;
    /* A variance that overflows would scale the row to zero and hide itself. */
    const float scale = isfinite(variance) ? 1.0f / sqrtf(variance + eps) : NAN;
    msa_normalise(n->C, x, mean, scale, n->weight, n->bias, y);
}

static void norm_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const norm_job *j = ctx;
    const int64_t first = (int64_t)item * ROWS_PER_ITEM;
    const int64_t last = first + ROWS_PER_ITEM < j->T ? first + ROWS_PER_ITEM : j->T;
    for (int64_t t = first; t < last; t++)
        norm_row(j->n, j->eps, j->x + t * j->n->C, j->y + t * j->n->C);
}

void msa_norm_forward(const msa_norm *n, float eps, int64_t T, const float *x, float *y)
{
    norm_job j = {n, x, y, T, eps};
    msa_pool_run(norm_item, &j, (int32_t)((T + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM), MSA_THREADS_MAX);
}

void msa_norm_planes(const msa_norm *n, float eps, int64_t pixels, const float *x, float *y)
{
    for (int64_t p = 0; p < pixels; p++) {
        float sum = 0.0f, squares = 0.0f;
        for (int32_t c = 0; c < n->C; c++)
            sum += x[c * pixels + p];
        const float mean = sum / (float)n->C;
        for (int32_t c = 0; c < n->C; c++) {
            const float d = x[c * pixels + p] - mean;
            squares += d * d;
        }
        const float scale = 1.0f / sqrtf(squares / (float)n->C + eps);
        for (int32_t c = 0; c < n->C; c++)
            y[c * pixels + p] = (x[c * pixels + p] - mean) * scale * n->weight[c] + n->bias[c];
    }
}

/* ---- backward ---- */

#define STRIP 64

typedef struct norm_back_job {
    const msa_norm *n;
    const float *x, *dy;
    float *dx, *dweight, *dbias;
    float *mean, *scale; /* (T) */
    int64_t T;
    float eps;
    bool add;
} norm_back_job;

static void stats_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const norm_back_job *j = ctx;
    const int32_t C = j->n->C;
    const int64_t first = (int64_t)item * ROWS_PER_ITEM;
    const int64_t last = first + ROWS_PER_ITEM < j->T ? first + ROWS_PER_ITEM : j->T;
    for (int64_t t = first; t < last; t++) {
        const float *x = j->x + t * C;
        j->mean[t] = msa_sum(C, x) / (float)C;
        j->scale[t] = 1.0f / sqrtf(msa_squared_distance(C, x, j->mean[t]) / (float)C + j->eps);
    }
}

/* The weight's and bias's gradient of at most STRIP channels over all rows, summed in double. */
static void norm_params_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const norm_back_job *j = ctx;
    const int64_t C = j->n->C, c0 = (int64_t)item * STRIP, n = C - c0 < STRIP ? C - c0 : STRIP;
    double dweight[STRIP] = {0}, dbias[STRIP] = {0};
    msa_normalise_params(j->T, n, j->x + c0, j->dy + c0, C, j->mean, j->scale, dweight, dbias);
    for (int64_t c = 0; c < n && j->dweight != NULL; c++)
        j->dweight[c0 + c] += (float)dweight[c];
    for (int64_t c = 0; c < n && j->dbias != NULL; c++)
        j->dbias[c0 + c] += (float)dbias[c];
}

static void norm_input_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const norm_back_job *j = ctx;
    const int64_t first = (int64_t)item * ROWS_PER_ITEM;
    const int64_t last = first + ROWS_PER_ITEM < j->T ? first + ROWS_PER_ITEM : j->T;
    for (int64_t t = first; t < last; t++)
        msa_normalise_backward(j->n->C, j->x + t * j->n->C, j->mean[t], j->scale[t], j->n->weight,
                               j->dy + t * j->n->C, j->add, j->dx + t * j->n->C);
}

void msa_norm_backward(const msa_norm *n, float eps, int64_t T, const float *x, const float *dy, float *dx,
                       bool add, float *dweight, float *dbias, float *scratch)
{
    norm_back_job j = {.n = n,
                       .x = x,
                       .dy = dy,
                       .dx = dx,
                       .dweight = dweight,
                       .dbias = dbias,
                       .mean = scratch,
                       .scale = scratch + T,
                       .T = T,
                       .eps = eps,
                       .add = add};
    const int32_t items = (int32_t)((T + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM);
    msa_pool_run(stats_item, &j, items, MSA_THREADS_MAX);
    if (dweight != NULL || dbias != NULL) /* before dy is overwritten */
        msa_pool_run(norm_params_item, &j, (n->C + STRIP - 1) / STRIP, MSA_THREADS_MAX);
    if (dx != NULL) msa_pool_run(norm_input_item, &j, items, MSA_THREADS_MAX);
}
