#include "engine/nn/activation.h"

#include <math.h>

static float sigmoid(float x)
{
    const float e = expf(-fabsf(x)); /* never overflows, and keeps small values for negative x */
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

void msa_sigmoid(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = sigmoid(x[i]);
}

void msa_quickgelu(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * sigmoid(1.702F * x[i]);
}

void msa_gelu_tanh(int64_t n, const float *x, float *y)
{
    const float scale = 0.79788456F; /* sqrt(2 / pi) */
    for (int64_t i = 0; i < n; i++)
        y[i] = 0.5F * x[i] * (1 + tanhf(scale * (x[i] + 0.044715F * x[i] * x[i] * x[i])));
}
