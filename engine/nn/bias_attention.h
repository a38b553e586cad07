/* Self-attention inside windows whose scores get a bias by head and distance, as TinyViT has it. */
#ifndef MSA_ENGINE_NN_BIAS_ATTENTION_H
#define MSA_ENGINE_NN_BIAS_ATTENTION_H

#include <stddef.h>

#include "engine/nn/window.h"

/**
 * logit(i, j) = q_i . k_j / sqrt(d) + bias[head][|iy - jy|][|ix - jx|]
 *
 * qkv     (rows, 3 * heads * d): head after head, each its q, k and v
 * row_of  row of each window position, window after window; NULL: window * area + position
 * pad_row row that stands for all padding: a live key and value, but not wanted as a query; -1 when none
 * bias    msa_bias_mirror()
 * out     (rows, heads * d), rows as in qkv; of the padding row nothing
 *
 * Windows are square. Memory: none. The bits do not depend on the number of threads.
 */
typedef struct msa_bias_attention {
    msa_windows windows;
    const float *qkv, *bias;
    const int32_t *row_of;
    int64_t pad_row;
    float *out;
    int32_t heads, d;
} msa_bias_attention;

/* table (heads, side * side) by distance to out (heads, side, 2 * side - 1), the distances across from
 * 1 - side to side - 1: what a row of scores gets then lies in a row. */
void msa_bias_mirror(const float *table, int32_t heads, int32_t side, float *out);

/* Floats of scratch for one worker. */
size_t msa_bias_attention_scratch(const msa_windows *windows, int32_t d);
/* scratch: workers x msa_bias_attention_scratch(). */
void msa_bias_attention_forward(const msa_bias_attention *a, float *scratch, int32_t workers);

#endif
