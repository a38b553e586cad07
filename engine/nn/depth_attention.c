#include "engine/nn/depth_attention.h"

#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/relpos.h"

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t h_floats(const msa_windows *fold, int32_t d)
{
    return (size_t)msa_relpos_rows(fold->win_h, fold->win_h) * (size_t)d;
}

static size_t w_floats(const msa_windows *fold, int32_t d)
{
    return (size_t)msa_relpos_rows(fold->win_w, fold->win_w) * (size_t)d;
}

/* Both tables of the larger part, resized. */
static size_t table_floats(const msa_depth_groups *g, int32_t d)
{
    size_t most = 0;
    for (int32_t p = 0; p < g->n_parts; p++)
        most = max_size(most, h_floats(&g->part[p].fold, d) + w_floats(&g->part[p].fold, d));
    return (most + 15) / 16 * 16;
}

/* The sequences of a part are windows; its resized tables are written to `tables`. */
static msa_window_attention attention_of(const msa_depth_attention *a, const msa_depth_part *part,
                                         float *tables)
{
    const msa_windows *fold = &part->fold;
    float *rel_h = tables, *rel_w = tables + h_floats(fold, a->d);
    msa_relpos_resize(a->table_h, a->table_h_rows, a->d, fold->win_h, fold->win_h, rel_h);
    msa_relpos_resize(a->table_w, a->table_w_rows, a->d, fold->win_w, fold->win_w, rel_w);
    return (msa_window_attention){.windows = *fold,
                                  .qkv = a->qkv,
                                  .rel_h = rel_h,
                                  .rel_w = rel_w,
                                  .row_of = a->row_of + part->first,
                                  .pad_row = a->pad_row,
                                  .out = a->out,
                                  .heads = a->heads,
                                  .d = a->d};
}

size_t msa_depth_attention_scratch(const msa_depth_groups *groups, int32_t d, int32_t workers)
{
    size_t most = 0;
    for (int32_t p = 0; p < groups->n_parts; p++)
        most = max_size(most, msa_window_attention_scratch(&groups->part[p].fold, d));
    return table_floats(groups, d) + (size_t)workers * most;
}

void msa_depth_attention_forward(const msa_depth_attention *a, float *scratch, int32_t workers)
{
    float *rest = scratch + table_floats(a->groups, a->d);
    for (int32_t p = 0; p < a->groups->n_parts; p++) {
        const msa_window_attention part = attention_of(a, &a->groups->part[p], scratch);
        msa_window_attention_forward(&part, rest, workers);
    }
}

/* ---- backward ---- */

/* Of scratch: tables, their gradients, the padding row's sum, the attention's own. */
size_t msa_depth_attention_backward_scratch(const msa_depth_groups *groups, int32_t heads, int32_t d,
                                            int32_t workers)
{
    size_t most = 0;
    for (int32_t p = 0; p < groups->n_parts; p++)
        most =
            max_size(most, msa_window_attention_backward_scratch(&groups->part[p].fold, heads, d, workers));
    return 2 * table_floats(groups, d) + 3 * (size_t)heads * (size_t)d + most;
}

static void part_backward(const msa_depth_attention *a, const msa_depth_attention_grads *g,
                          const msa_depth_part *part, float *tables, float *dtables, float *rest,
                          int32_t workers)
{
    const msa_windows *fold = &part->fold;
    const msa_window_attention of = attention_of(a, part, tables);
    const size_t h = h_floats(fold, a->d), w = w_floats(fold, a->d);
    const msa_window_attention_grads grads = {.dout = g->dout,
                                              .dqkv = g->dqkv,
                                              .drel_h = g->dtable_h != NULL ? dtables : NULL,
                                              .drel_w = g->dtable_w != NULL ? dtables + h : NULL};
    memset(dtables, 0, (h + w) * sizeof *dtables);
    msa_window_attention_backward(&of, &grads, rest, workers);
    if (g->dtable_h != NULL)
        msa_relpos_resize_backward(dtables, fold->win_h, fold->win_h, a->d, g->dtable_h, a->table_h_rows);
    if (g->dtable_w != NULL)
        msa_relpos_resize_backward(dtables + h, fold->win_w, fold->win_w, a->d, g->dtable_w, a->table_w_rows);
}

void msa_depth_attention_backward(const msa_depth_attention *a, const msa_depth_attention_grads *g,
                                  float *scratch, int32_t workers)
{
    const int64_t width = 3 * (int64_t)a->heads * a->d;
    const size_t tables = table_floats(a->groups, a->d);
    float *pad_sum = scratch + 2 * tables, *pad = a->pad_row < 0 ? NULL : g->dqkv + a->pad_row * width;
    memset(pad_sum, 0, (size_t)width * sizeof *pad_sum);
    for (int32_t p = 0; p < a->groups->n_parts; p++) {
        part_backward(a, g, &a->groups->part[p], scratch, scratch + tables, pad_sum + width, workers);
        if (pad != NULL) msa_add(width, pad_sum, pad, pad_sum); /* each part writes the row anew */
    }
    if (pad != NULL) memcpy(pad, pad_sum, (size_t)width * sizeof *pad);
}
