#include "engine/nn/depthwise.h"

#include <string.h>

int32_t msa_depthwise3x3_side(int32_t n, int32_t stride)
{
    return (n - 1) / stride + 1;
}

static void add_tap(const float *x, int32_t C, const float *weight, int32_t tap, float *y)
{
    for (int32_t c = 0; c < C; c++)
        y[c] += x[c] * weight[(int64_t)c * 9 + tap];
}

void msa_depthwise3x3(const float *x, int32_t h, int32_t w, int32_t C, const float *weight, const float *bias,
                      int32_t stride, float *y)
{
    const int32_t oh = msa_depthwise3x3_side(h, stride);
    const int32_t ow = msa_depthwise3x3_side(w, stride);
    for (int32_t oy = 0; oy < oh; oy++)
        for (int32_t ox = 0; ox < ow; ox++, y += C) {
            if (bias)
                memcpy(y, bias, (size_t)C * sizeof *y);
            else
                memset(y, 0, (size_t)C * sizeof *y);
            for (int32_t tap = 0; tap < 9; tap++) {
                const int32_t iy = oy * stride + tap / 3 - 1;
                const int32_t ix = ox * stride + tap % 3 - 1;
                if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                    add_tap(x + ((int64_t)iy * w + ix) * C, C, weight, tap, y);
            }
        }
}
