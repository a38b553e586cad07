#include "engine/kern/vec.h"

#include <string.h>

/* Nobody asks for floating-point traps; without them GCC turns selections into masks and so vectorises. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

#define LANES 8

/*
 * exp(x) = 2^k exp(r), |r| <= ln(2) / 2, by the Taylor sum to r^7 / 7! (remainder 5e-9). ln 2 is split in two
 * so that x - k ln 2 keeps its low bits; adding 1.5 * 2^23 rounds to the nearest integer without a branch.
 */
static inline float exp1(float x)
{
    const float low = -87.0f, high = 88.0f, magic = 12582912.0f;
    float v = x < low ? low : x;
    v = v > high ? high : v;
    const float shifted = v * 1.44269504f + magic;
    const float k = shifted - magic;
    const float r = (v - k * 0.693359375f) - k * -2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = ((bits - 0x4b400000u) + 127u) << 23; /* the integer k sits in the low bits of `shifted` */
    float scale = 0.0f;
    memcpy(&scale, &bits, sizeof scale);
    const float y = p * scale;
    return x < low ? 0.0f : y;
}

/*
 * erfc(z) exp(z^2) for z >= 0 as a quotient of polynomials, fitted by weighted least squares on 0 .. 9.5
 * (relative error 5e-9 before rounding). Going by erfc keeps the relative accuracy where GELU is tiny; erf
 * would lose it.
 */
static inline float erfc_scaled1(float z)
{
    float p = 3.225134370e-02f;
    p = p * z + 2.266155369e-01f;
    p = p * z + 7.261348272e-01f;
    p = p * z + 1.233178452e+00f;
    p = p * z + 1.000000005e+00f;
    float q = 5.716322495e-02f;
    q = q * z + 4.016946422e-01f;
    q = q * z + 1.315159956e+00f;
    q = q * z + 2.390859414e+00f;
    q = q * z + 2.361558136e+00f;
    q = q * z + 1.0f;
    return p / q;
}

static inline float gelu1(float x)
{
    const float z = (x < 0.0f ? -x : x) * 0.707106781f;
    /* the normal distribution's upper tail at |x| */
    const float tail = 0.5f * erfc_scaled1(z) * exp1(-0.5f * x * x);
    /* Every arm is computed, then selected: compilers vectorise that, and not a computation inside a
     * condition. */
    const float lower = x * tail, upper = x - lower, far = x < 0.0f ? 0.0f : x;
    const float y = x < 0.0f ? lower : upper;
    return z > 9.5f ? far : y; /* beyond the fit, also +-infinity */
}

void msa_exp(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = exp1(x[i]);
}

void msa_gelu(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = gelu1(x[i]);
}

void msa_relu(int64_t n, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

/* gelu'(x) = Phi(x) + x phi(x), Phi by the same upper tail as in gelu1(). */
static inline float gelu_slope1(float x)
{
    const float z = (x < 0.0f ? -x : x) * 0.707106781f;
    const float bell = exp1(-0.5f * x * x);
    const float tail = 0.5f * erfc_scaled1(z) * bell;
    const float below = x < 0.0f ? tail : 1.0f - tail;
    const float far = x < 0.0f ? 0.0f : 1.0f;
    const float slope = below + x * (bell * 0.398942280f);
    return z > 9.5f ? far : slope;
}

void msa_gelu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * gelu_slope1(x[i]);
}

void msa_relu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = x[i] > 0.0f ? dy[i] : 0.0f;
}

void msa_axpy(int64_t n, float s, const float *x, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += s * x[i];
}

void msa_add(int64_t n, const float *x, const float *y, float *z)
{
    for (int64_t i = 0; i < n; i++)
        z[i] = x[i] + y[i];
}

static float fold(const float part[LANES])
{
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

float msa_sum(int64_t n, const float *x)
{
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l];
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i];
    return fold(part);
}

float msa_dot(int64_t n, const float *x, const float *y)
{
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l] * y[i + l];
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i] * y[i];
    return fold(part);
}

static float row_max(int64_t n, const float *x)
{
    float part[LANES];
    for (int l = 0; l < LANES; l++)
        part[l] = x[0];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] = x[i + l] > part[l] ? x[i + l] : part[l];
    for (int l = 0; i < n; i++, l++)
        part[l] = x[i] > part[l] ? x[i] : part[l];
    float max = part[0];
    for (int l = 1; l < LANES; l++)
        max = part[l] > max ? part[l] : max;
    return max;
}

void msa_softmax(int64_t n, float *x)
{
    const float max = row_max(n, x);
    for (int64_t i = 0; i < n; i++)
        x[i] = exp1(x[i] - max);
    const float scale = 1.0f / msa_sum(n, x);
    for (int64_t i = 0; i < n; i++)
        x[i] *= scale;
}

bool msa_all_finite(int64_t n, const float *x)
{
    /* x * 0 is 0 for every finite x and NaN for the others; one NaN stays in its sum. */
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            part[l] += x[i + l] * 0.0f;
    for (int l = 0; i < n; i++, l++)
        part[l] += x[i] * 0.0f;
    const float sum = fold(part);
    return sum == sum;
}
