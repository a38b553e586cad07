/* Attention along the depth axis, on the queries, keys and values that the attention inside slices has. */
#ifndef MSA_ENGINE_NN_DEPTH_ATTENTION_H
#define MSA_ENGINE_NN_DEPTH_ATTENTION_H

#include <stddef.h>

#include "engine/nn/depth_groups.h"

/**
 * qkv     (rows, 3 * heads * d), out (rows, heads * d): rows of the stack
 * row_of  msa_depth_groups_map()
 * pad_row as in msa_stack_rows: a live key and value, not wanted as a query
 * table_* (table_*_rows, d) relative positions as the weights have them, resized here to the sequences
 *
 * Rows that are in no sequence are left alone.
 */
typedef struct msa_depth_attention {
    const msa_depth_groups *groups;
    const int32_t *row_of;
    const float *qkv, *table_h, *table_w;
    int32_t table_h_rows, table_w_rows;
    int64_t pad_row;
    float *out;
    int32_t heads, d;
} msa_depth_attention;

/* Floats of scratch for all workers together. */
size_t msa_depth_attention_scratch(const msa_depth_groups *groups, int32_t d, int32_t workers);
void msa_depth_attention_forward(const msa_depth_attention *a, float *scratch, int32_t workers);

/* dout as out; dqkv as qkv: the rows of sequences are written, the padding row's sum over all its places. */
typedef struct msa_depth_attention_grads {
    const float *dout;
    float *dqkv;
    float *dtable_h, *dtable_w; /* as the tables, added to; NULL: frozen */
} msa_depth_attention_grads;

size_t msa_depth_attention_backward_scratch(const msa_depth_groups *groups, int32_t heads, int32_t d,
                                            int32_t workers);
void msa_depth_attention_backward(const msa_depth_attention *a, const msa_depth_attention_grads *g,
                                  float *scratch, int32_t workers);

#endif
