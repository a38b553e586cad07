#include "engine/sam/position_code.h"

#include <math.h>

/*
 * The published values come from float32 arithmetic, and at tens of radians one rounding of u is worth 1e-6
 * of a sine. So u is rounded where they round it: 2 c - 1, the first product, the sum (one fused step), the
 * factor 2 pi.
 */
void msa_position_code(const float *gaussian, int32_t P, double x, double y, float *out)
{
    const int32_t half = P / 2;
    const float cx = 2.0f * (float)x - 1.0f, cy = 2.0f * (float)y - 1.0f, two_pi = (float)(2.0 * M_PI);
    for (int32_t i = 0; i < half; i++) {
        const float u = two_pi * fmaf(cy, gaussian[half + i], cx * gaussian[i]);
        out[i] = (float)sin((double)u);
        out[half + i] = (float)cos((double)u);
    }
}

void msa_position_grid(const float *gaussian, int32_t P, int32_t h, int32_t w, float *out)
{
    for (int32_t y = 0; y < h; y++)
        for (int32_t x = 0; x < w; x++, out += P)
            msa_position_code(gaussian, P, ((double)x + 0.5) / (double)w, ((double)y + 0.5) / (double)h, out);
}
