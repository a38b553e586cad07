#include "engine/nn/groupnorm.h"

#include <math.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

#define STRIPS 64 /* fixed: each has a sum of its own, added in their order */

typedef struct group_job {
    const msa_norm *n;
    const float *x;
    float *y;
    int64_t pixels;
    float mean, scale;
    double sums[STRIPS];
} group_job;

static int64_t strip_begin(const group_job *j, int64_t item)
{
    return item * j->pixels / STRIPS;
}

static void sum_strip(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    group_job *j = ctx;
    double sum = 0.0;
    for (int64_t i = strip_begin(j, item); i < strip_begin(j, item + 1); i++)
        sum += (double)msa_sum(j->n->C, j->x + i * j->n->C);
    j->sums[item] = sum;
}

static void distance_strip(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    group_job *j = ctx;
    double sum = 0.0;
    for (int64_t i = strip_begin(j, item); i < strip_begin(j, item + 1); i++)
        sum += (double)msa_squared_distance(j->n->C, j->x + i * j->n->C, j->mean);
    j->sums[item] = sum;
}

static void normalise_strip(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const group_job *j = ctx;
    const int64_t C = j->n->C;
    for (int64_t i = strip_begin(j, item); i < strip_begin(j, item + 1); i++)
        msa_normalise(C, j->x + i * C, j->mean, j->scale, j->n->weight, j->n->bias, j->y + i * C);
}

static double mean_of_strips(const group_job *j)
{
    double sum = 0.0;
    for (int i = 0; i < STRIPS; i++)
        sum += j->sums[i];
    return sum / ((double)j->pixels * (double)j->n->C);
}

void msa_group_norm_forward(const msa_norm *n, float eps, int64_t pixels, const float *x, float *y)
{
    group_job j = {.n = n, .x = x, .y = y, .pixels = pixels};
    msa_pool_run(sum_strip, &j, STRIPS, MSA_THREADS_MAX);
    j.mean = (float)mean_of_strips(&j);
    msa_pool_run(distance_strip, &j, STRIPS, MSA_THREADS_MAX);
    j.scale = (float)(1.0 / sqrt(mean_of_strips(&j) + (double)eps));
    msa_pool_run(normalise_strip, &j, STRIPS, MSA_THREADS_MAX);
}
