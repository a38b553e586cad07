#include "engine/sam/position_code.h"

#include <math.h>

void msa_position_code(const float *gaussian, int32_t P, double x, double y, float *out)
{
    /* In double: u reaches tens of radians, where a float's last bit already costs 1e-6 of a sine. */
    const int32_t half = P / 2;
    for (int32_t i = 0; i < half; i++) {
        const double u =
            2.0 * M_PI *
            ((2.0 * x - 1.0) * (double)gaussian[i] + (2.0 * y - 1.0) * (double)gaussian[half + i]);
        out[i] = (float)sin(u);
        out[half + i] = (float)cos(u);
    }
}

void msa_position_grid(const float *gaussian, int32_t P, int32_t h, int32_t w, float *out)
{
    for (int32_t y = 0; y < h; y++)
        for (int32_t x = 0; x < w; x++, out += P)
            msa_position_code(gaussian, P, ((double)x + 0.5) / (double)w, ((double)y + 0.5) / (double)h, out);
}
