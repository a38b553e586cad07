/*
 * What the kernels of one instruction set share: their registers, the fused multiply-add, e^x. Included by
 * vec_kernels.h and tile_kernels.h; before it: VEC_BYTES, the size of a register; VEC_FMA, 1 where there is a
 * fused multiply-add.
 *
 * Plain C in a form that compilers vectorise: every arm of a condition is computed, then selected.
 * Contraction stays off, so what is fused is written as MADD and every compiler gives the same bits.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if VEC_FMA
#define MADD(a, b, c) __builtin_fmaf((a), (b), (c))
#else
#define MADD(a, b, c) ((a) * (b) + (c))
#endif
/* Outputs are an input or apart from it (the contract), so iterations never depend on each other. */
#if defined(__clang__)
#define EACH _Pragma("clang loop vectorize(assume_safety)")
#else
#define EACH _Pragma("GCC ivdep")
#endif

/* One register of floats. */
typedef float piece __attribute__((vector_size(VEC_BYTES)));
typedef int32_t piece_mask __attribute__((vector_size(VEC_BYTES)));
#define WIDTH (VEC_BYTES / (int)sizeof(float))

/*
 * exp(x) = 2^k exp(r), |r| <= ln(2) / 2, by the Taylor sum to r^7 / 7! (remainder 5e-9). ln 2 is split in two
 * so that x - k ln 2 keeps its low bits; adding 1.5 * 2^23 rounds to the nearest integer without a branch.
 */
static inline float exp1(float x)
{
    const float low = -87.0f, high = 88.0f, magic = 12582912.0f;
    float v = x < low ? low : x;
    v = v > high ? high : v;
    const float shifted = MADD(v, 1.44269504f, magic);
    const float k = shifted - magic;
    const float r = MADD(k, 2.12194440e-4f, MADD(k, -0.693359375f, v));
    float p = 1.98412698e-4f;
    p = MADD(p, r, 1.38888889e-3f);
    p = MADD(p, r, 8.33333333e-3f);
    p = MADD(p, r, 4.16666667e-2f);
    p = MADD(p, r, 1.66666667e-1f);
    p = MADD(p, r, 0.5f);
    p = MADD(p, r, 1.0f);
    p = MADD(p, r, 1.0f);
    uint32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = ((bits - 0x4b400000u) + 127u) << 23; /* the integer k sits in the low bits of `shifted` */
    float scale = 0.0f;
    memcpy(&scale, &bits, sizeof scale);
    const float y = p * scale;
    return x < low ? 0.0f : y;
}
