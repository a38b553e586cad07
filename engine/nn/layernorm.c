#include "engine/nn/layernorm.h"

#include <math.h>

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

static float squared_distance(int64_t n, const float *x, float mean)
{
    enum { LANES = 8 };
    float part[LANES] = {0}, sum = 0.0f;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += (x[i + l] - mean) * (x[i + l] - mean);
    for (int l = 0; i < n; i++, l++)
        part[l] += (x[i] - mean) * (x[i] - mean);
    for (int l = 0; l < LANES; l++)
        sum += part[l];
    return sum;
}

static void norm_row(const msa_norm *n, float eps, const float *x, float *y)
{
    const float mean = msa_sum(n->C, x) / (float)n->C;
    const float variance = squared_distance(n->C, x, mean) / (float)n->C;
    /* A variance that overflows would scale the row to zero and hide itself. */
    const float scale = isfinite(variance) ? 1.0f / sqrtf(variance + eps) : NAN;
    for (int32_t c = 0; c < n->C; c++)
        y[c] = (x[c] - mean) * scale * n->weight[c] + n->bias[c];
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
