/* Multi-head attention, in tiles of queries: the full score matrix of all heads never exists. */
#ifndef MSA_ENGINE_NN_ATTENTION_H
#define MSA_ENGINE_NN_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "engine/nn/window.h"

/* out(nq, heads * d) = softmax(scale q k^T) v per head; rows ld* apart, head h in columns h * d .. h * d + d
 * - 1. */
typedef struct msa_attention {
    const float *q, *k, *v;
    float *out;
    int64_t ldq, ldk, ldv, ldo;
    int64_t nq, nk;
    int32_t heads, d;
    float scale;
} msa_attention;

/* Floats of scratch for one worker. */
size_t msa_attention_scratch(int64_t nk);
/* scratch: workers x msa_attention_scratch(). */
void msa_attention_forward(const msa_attention *a, float *scratch, int32_t workers);

/* dout as out; dq, dk, dv as q, k, v, written: not added to. */
typedef struct msa_attention_grads {
    const float *dout;
    float *dq, *dk, *dv;
    int64_t lddo, lddq, lddk, lddv;
} msa_attention_grads;

/* Floats of scratch for one worker. */
size_t msa_attention_backward_scratch(int64_t nk);
/* a->out is not looked at. Keys and values of one head are summed by one worker, in the order of the queries.
 */
void msa_attention_backward(const msa_attention *a, const msa_attention_grads *g, float *scratch,
                            int32_t workers);

/**
 * Self-attention inside windows with decomposed relative positions:
 * logit(i, j) = q_i . k_j / sqrt(d) + q_i . Rh[iy - jy] + q_i . Rw[ix - jx], the unscaled q in the last two.
 *
 * qkv     (rows, 3 * heads * d): q, k, v, each head-major
 * row_of  row of each window position, window after window; NULL: window * area + position
 * pad_row row that stands for all padding: a live key and value, but not wanted as a query; -1 when none
 * rel_h   (2 * win_h - 1, d), rel_w (2 * win_w - 1, d)
 * out     (rows, heads * d), rows as in qkv
 */
typedef struct msa_window_attention {
    msa_windows windows;
    const float *qkv, *rel_h, *rel_w;
    const int32_t *row_of;
    int64_t pad_row;
    float *out;
    int32_t heads, d;
} msa_window_attention;

size_t msa_window_attention_scratch(const msa_windows *windows, int32_t d);
void msa_window_attention_forward(const msa_window_attention *a, float *scratch, int32_t workers);

/* dout as out; dqkv as qkv, written in full: the padding row's keys and values sum over all their places. */
typedef struct msa_window_attention_grads {
    const float *dout;
    float *dqkv;
    float *drel_h, *drel_w; /* as the tables, added to; NULL: frozen */
} msa_window_attention_grads;

/* Floats of scratch for all workers together. */
size_t msa_window_attention_backward_scratch(const msa_windows *windows, int32_t heads, int32_t d,
                                             int32_t workers);
/**
 * a->out is not looked at; the scores are computed again. What several windows share, the tables and the
 * padding row, is summed per head and group of windows, and the groups are added in order.
 */
void msa_window_attention_backward(const msa_window_attention *a, const msa_window_attention_grads *g,
                                   float *scratch, int32_t workers);

#endif
