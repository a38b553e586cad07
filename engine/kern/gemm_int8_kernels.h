/*
 * What gemm_int8_<set>.c have in common, included once by each after its own tile(). Plain C that compilers
 * vectorise; contraction is off and every rounding is written down, so all give the same bits.
 *
 * Before the include: INT8_TABLE, the table's name, INT8_NAME in words; INT8_GROUP; the types row_code and
 * weight_code; INT8_OFFSET, what is added to a's values to make codes of them.
 */
#include <string.h>

#include "engine/kern/gemm_int8_table.h"

/* Adding 1.5 * 2^23 leaves the nearest integer in the low bits, ties to even. */
static inline int32_t nearest(float x)
{
    const float shifted = x + 12582912.0f;
    int32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    return bits - 0x4b400000;
}

/* Of the bits without the sign: they are ordered as the values are, and every NaN is above all else. */
static uint32_t largest(int32_t n, const float *x)
{
    uint32_t most = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return most;
}

static void quantise(int32_t K, const float *x, void *row, float *scale)
{
    row_code *to = row;
    const uint32_t bits = largest(K, x);
    float most = 0.0f;
    memcpy(&most, &bits, sizeof most);
    const int32_t all = (K + INT8_GROUP - 1) / INT8_GROUP * INT8_GROUP;
    const bool finite = bits < 0x7f800000u, zero = most < 1e-30f;
    *scale = !finite ? __builtin_nanf("") : zero ? 0.0f : most / 127.0f;
    if (!finite || zero) {
        for (int32_t i = 0; i < all; i++)
            to[i] = INT8_OFFSET;
        return;
    }
    const float up = 127.0f / most;
    for (int32_t i = 0; i < K; i++)
        to[i] = (row_code)(nearest(x[i] * up) + INT8_OFFSET);
    for (int32_t i = K; i < all; i++)
        to[i] = INT8_OFFSET;
}

/* [groups][16][INT8_GROUP]; where a's codes have an offset, what it adds is subtracted by the panel's head.
 */
static void pack(int32_t rows, int32_t K, const int8_t *q, void *to)
{
    const int32_t groups = (K + INT8_GROUP - 1) / INT8_GROUP;
    int32_t head[MSA_INT8_PANEL] = {0};
    weight_code *w = (weight_code *)((char *)to + (INT8_OFFSET != 0 ? sizeof head : 0));
    memset(w, 0, (size_t)groups * MSA_INT8_PANEL * INT8_GROUP * sizeof *w);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t k = 0; k < K; k++) {
            const int8_t v = q[(int64_t)r * K + k];
            w[((int64_t)(k / INT8_GROUP) * MSA_INT8_PANEL + r) * INT8_GROUP + k % INT8_GROUP] = v;
            head[r] -= INT8_OFFSET * v;
        }
    if (INT8_OFFSET != 0) memcpy(to, head, sizeof head);
}

static void restore(int32_t n, const int32_t *c, float scale, const float *scales, const float *bias,
                    float *y)
{
    if (bias == NULL)
        for (int32_t i = 0; i < n; i++)
            y[i] = (float)c[i] * scale * scales[i];
    else
        for (int32_t i = 0; i < n; i++)
            y[i] = (float)c[i] * scale * scales[i] + bias[i];
}

const msa_int8_table INT8_TABLE = {
    .name = INT8_NAME,
    .group = INT8_GROUP,
    .row_bytes = sizeof(row_code),
    .weight_bytes = sizeof(weight_code),
    .panel_head = INT8_OFFSET != 0 ? MSA_INT8_PANEL * (int32_t)sizeof(int32_t) : 0,
    .quantise = quantise,
    .pack = pack,
    .tile = tile,
    .restore = restore,
};
