#include "engine/io/half.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

float msa_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000U) << 16, exponent = h >> 10 & 0x1FU, fraction = h & 0x3FFU;
    if (exponent == 0x1F) return from_bits(sign | 0x7F800000U | fraction << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float f = (float)fraction * 0x1p-24F; /* zero and subnormals: exact, normal as a float */
    return sign != 0 ? -f : f;
}

float msa_bfloat_to_float(uint16_t b)
{
    return from_bits((uint32_t)b << 16);
}

/* value / 2^shift, to nearest, ties to even. */
static uint32_t round_shift(uint32_t value, uint32_t shift)
{
    const uint32_t half = 1U << (shift - 1), rest = value & ((1U << shift) - 1), whole = value >> shift;
    return whole + (rest > half || (rest == half && (whole & 1U) != 0));
}

uint16_t msa_float_to_half(float f)
{
    const uint32_t bits = to_bits(f), sign = bits >> 16 & 0x8000U, size = bits & 0x7FFFFFFFU;
    if (size > 0x7F800000U) return (uint16_t)(sign | 0x7E00U | (size >> 13 & 0x1FFU));
    if (size >= 0x477FF000U) return (uint16_t)(sign | 0x7C00U); /* 65520 and above */
    /* Rounding may carry into the exponent, which is what it should do. */
    if (size >= 0x38800000U) return (uint16_t)(sign | round_shift(size - (112U << 23), 13));
    if (size < 0x33000000U) return (uint16_t)sign; /* below 2^-25 */
    const uint32_t fraction = (size & 0x7FFFFFU) | 0x800000U;
    return (uint16_t)(sign | round_shift(fraction, 126 - (size >> 23)));
}

uint16_t msa_float_to_bfloat(float f)
{
    const uint32_t bits = to_bits(f), size = bits & 0x7FFFFFFFU;
    if (size > 0x7F800000U) return (uint16_t)(bits >> 16 | 0x40U);
    return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

static uint16_t word_at(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

void msa_half_read(const unsigned char *from, int64_t n, float *to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = msa_half_to_float(word_at(from + 2 * i));
}

void msa_bfloat_read(const unsigned char *from, int64_t n, float *to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = msa_bfloat_to_float(word_at(from + 2 * i));
}

bool msa_half_write(const float *from, int64_t n, unsigned char *to)
{
    bool kept = true;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = msa_float_to_half(from[i]);
        kept = kept && ((h & 0x7FFFU) != 0x7C00U || isinf(from[i]));
        to[2 * i] = (unsigned char)(h & 0xFFU);
        to[2 * i + 1] = (unsigned char)(h >> 8);
    }
    return kept;
}

bool msa_half_round(const float *from, int64_t n, uint16_t *to)
{
    bool kept = true;
    for (int64_t i = 0; i < n; i++) {
        to[i] = msa_float_to_half(from[i]);
        kept = kept && ((to[i] & 0x7FFFU) != 0x7C00U || isinf(from[i]));
    }
    return kept;
}

void msa_bfloat_round(const float *from, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = msa_float_to_bfloat(from[i]);
}
