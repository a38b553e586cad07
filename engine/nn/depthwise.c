#include "engine/nn/depthwise.h"

#include <stddef.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

int32_t msa_depthwise3x3_side(int32_t n, int32_t stride)
{
    return (n - 1) / stride + 1;
}

void msa_depthwise3x3_weight(const float *weight, int32_t C, float *out)
{
    for (int64_t c = 0; c < C; c++)
        for (int64_t tap = 0; tap < 9; tap++)
            out[tap * C + c] = weight[c * 9 + tap];
}

void msa_depthwise3x3_line(const float *const lines[3], int32_t w, int32_t C, const float *weight,
                           const float *bias, const float *zeros, int32_t stride, float *y)
{
    const int32_t across = msa_depthwise3x3_side(w, stride);
    const float *taps[9];
    for (int32_t ox = 0; ox < across; ox++, y += C) {
        for (int32_t tap = 0; tap < 9; tap++) {
            const float *line = lines[tap / 3];
            const int32_t x = ox * stride + tap % 3 - 1;
            taps[tap] = line != NULL && x >= 0 && x < w ? line + (int64_t)x * C : zeros;
        }
        msa_depthwise9(C, taps, weight, bias, y);
    }
}

typedef struct depthwise_job {
    const float *x, *weight, *bias, *zeros;
    float *y;
    int32_t h, w, C, stride;
} depthwise_job;

static void depthwise_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const depthwise_job *j = ctx;
    const int64_t line = (int64_t)j->w * j->C, across = msa_depthwise3x3_side(j->w, j->stride);
    const float *lines[3];
    for (int32_t k = 0; k < 3; k++) {
        const int32_t y = item * j->stride + k - 1;
        lines[k] = y >= 0 && y < j->h ? j->x + y * line : NULL;
    }
    msa_depthwise3x3_line(lines, j->w, j->C, j->weight, j->bias, j->zeros, j->stride,
                          j->y + item * across * j->C);
}

void msa_depthwise3x3(const float *x, int32_t h, int32_t w, int32_t C, const float *weight, const float *bias,
                      const float *zeros, int32_t stride, float *y)
{
    depthwise_job j = {x, weight, bias, zeros, y, h, w, C, stride};
    msa_pool_run(depthwise_item, &j, msa_depthwise3x3_side(h, stride), MSA_THREADS_MAX);
}
