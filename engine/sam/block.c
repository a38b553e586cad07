#include <assert.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/depth_attention.h"
#include "engine/sam/image_encoder.h"

/* What one block works on; rows are token rows in k->a, k->b and k->qkv. */
typedef struct block_view {
    const msa_config *c;
    const msa_block_weights *b;
    msa_encoder_work *k;
    const msa_tap *tap;
    msa_windows windows;
    int64_t tokens; /* h * w */
    int64_t rows;   /* rows of qkv */
    int64_t live;   /* rows whose attention is wanted: the first ones */
    int32_t index;
    float eps;     /* of both norms */
    bool padded;   /* some window positions are padding */
    bool windowed; /* rows are in window order (full mode) instead of grid order */
} block_view;

/*
 * LN1 to k->a. In grid order the one padding row follows the tokens: zero where padding comes after the norm
 * (plain SAM), LN1's bias where zeros are normalised (MSA).
 */
static void first_norm(block_view *v)
{
    const int32_t C = v->c->dim;
    msa_encoder_work *k = v->k;
    if (v->windowed && v->c->pad_order == MSA_PAD_THEN_NORM) {
        msa_windows_split(&v->windows, C, k->x, k->b);
        msa_norm_forward(&v->b->norm1, v->eps, v->rows, k->b, k->a);
        MSA_TAP(v->tap, k->a, v->rows, C, "block.%d.norm1", v->index);
        return;
    }
    float *n = v->windowed ? k->b : k->a;
    msa_norm_forward(&v->b->norm1, v->eps, v->tokens, k->x, n);
    MSA_TAP(v->tap, n, v->tokens, C, "block.%d.norm1", v->index);
    if (v->windowed) {
        msa_windows_split(&v->windows, C, n, k->a);
    } else if (v->padded) {
        float *pad = n + v->tokens * C;
        if (v->c->pad_order == MSA_PAD_THEN_NORM)
            memcpy(pad, v->b->norm1.bias, (size_t)C * sizeof *pad);
        else
            memset(pad, 0, (size_t)C * sizeof *pad);
    }
}

static void attend(const block_view *v, const msa_tables *t)
{
    const int32_t C = v->c->dim;
    msa_encoder_work *k = v->k;
    msa_linear_forward(&v->b->qkv, v->rows, k->a, C, k->qkv, 3 * C, MSA_EPILOGUE_NONE);
    const bool mapped = !v->windowed && (v->padded || msa_windows_count(&v->windows) > 1);
    const msa_window_attention a = {.windows = v->windows,
                                    .qkv = k->qkv,
                                    .rel_h = t->rel_h[v->index],
                                    .rel_w = t->rel_w[v->index],
                                    .row_of = mapped ? k->row_of : NULL,
                                    .pad_row = mapped && v->padded ? v->tokens : -1,
                                    .out = k->a,
                                    .heads = v->c->heads,
                                    .d = C / v->c->heads};
    msa_window_attention_forward(&a, k->attention, k->workers);
}

/* The attention's result in k->a, projected and adapted, is added to the tokens; padding is dropped. */
static void first_residual(const block_view *v)
{
    const int32_t C = v->c->dim;
    msa_encoder_work *k = v->k;
    const float *y = k->b;
    if (v->tap == NULL && !v->c->adapters && !v->windowed) {
        msa_linear_add(&v->b->proj, v->tokens, k->a, C, k->x, k->b);
        return;
    }
    msa_linear_forward(&v->b->proj, v->live, k->a, C, k->b, C, MSA_EPILOGUE_NONE);
    MSA_TAP(v->tap, k->b, v->live, C, "block.%d.attn", v->index);
    if (v->c->adapters) {
        for (int64_t r = 0; r < v->live; r += k->chunk) {
            const int64_t n = v->live - r < k->chunk ? v->live - r : k->chunk;
            msa_adapter_forward(&v->b->space, v->c->adapter_act, true, n, k->b + r * C, k->hidden,
                                k->a + r * C);
        }
        MSA_TAP(v->tap, k->a, v->live, C, "block.%d.Space_Adapter", v->index);
        y = k->a;
    }
    if (v->windowed) {
        msa_windows_merge(&v->windows, C, y, k->spare);
        y = k->spare;
    }
    msa_accumulate(v->tokens * C, 1.0f, y, k->x);
}

static void second_half(const block_view *v)
{
    const int32_t C = v->c->dim;
    msa_encoder_work *k = v->k;
    float *adapted = k->spare;
    msa_norm_forward(&v->b->norm2, v->eps, v->tokens, k->x, k->a);
    MSA_TAP(v->tap, k->a, v->tokens, C, "block.%d.norm2", v->index);
    for (int64_t r = 0; r < v->tokens; r += k->chunk) {
        const int64_t n = v->tokens - r < k->chunk ? v->tokens - r : k->chunk;
        msa_linear_forward(&v->b->lin1, n, k->a + r * C, C, k->hidden, v->c->mlp_dim, MSA_EPILOGUE_GELU);
        if (v->tap == NULL)
            msa_linear_add(&v->b->lin2, n, k->hidden, v->c->mlp_dim, k->x + r * C, k->b + r * C);
        else
            msa_linear_forward(&v->b->lin2, n, k->hidden, v->c->mlp_dim, k->b + r * C, C, MSA_EPILOGUE_NONE);
        if (v->c->adapters)
            msa_adapter_forward(&v->b->mlp, v->c->adapter_act, false, n, k->a + r * C, k->hidden,
                                adapted + r * C);
    }
    if (v->tap != NULL) {
        MSA_TAP(v->tap, k->b, v->tokens, C, "block.%d.mlp", v->index);
        msa_accumulate(v->tokens * C, 1.0f, k->b, k->x);
    }
    if (!v->c->adapters) return;
    MSA_TAP(v->tap, adapted, v->tokens, C, "block.%d.MLP_Adapter", v->index);
    msa_accumulate(v->tokens * C, v->c->adapter_mlp_scale, adapted, k->x);
}

static block_view view_of(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                          msa_encoder_work *k, int32_t i, const msa_tap *tap)
{
    const bool global = msa_block_is_global(c, i);
    block_view v = {
        .c = c, .b = &w->blocks[i], .k = k, .tap = tap, .index = i, .tokens = (int64_t)t->h * t->w};
    v.eps = c->block_norm_eps > 0.0f ? c->block_norm_eps : MSA_EPS_ENCODER;
    v.windows = global ? msa_windows_make(t->h, t->w, 0) : k->windows;
    v.padded = msa_windows_tokens(&v.windows) > v.tokens;
    v.windowed = k->full && !global;
    v.live = v.windowed ? msa_windows_tokens(&v.windows) : v.tokens;
    v.rows = v.windowed || !v.padded ? v.live : v.tokens + 1;
    assert(v.rows <= k->rows);
    return v;
}

void msa_block_forward(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                       msa_encoder_work *k, int32_t i, const msa_tap *tap)
{
    block_view v = view_of(c, w, t, k, i, tap);
    first_norm(&v);
    attend(&v, t);
    first_residual(&v);
    second_half(&v);
    MSA_TAP(tap, k->x, v.tokens, c->dim, "block.%d", i);
}

/* ---- a stack with a depth branch ---- */

/* Slice s of the stack; k holds the view's own copy of the work. */
static void enter_slice(block_view *v, const msa_encoder_work *stack, int32_t s)
{
    const int64_t C = v->c->dim;
    v->k->x = stack->stack_x + s * v->tokens * C;
    v->k->qkv = stack->stack_qkv + s * v->rows * 3 * C;
}

static void see_rows(const block_view *v, int which, int32_t s, const float *x)
{
    const int64_t C = v->c->dim;
    if (v->tap != NULL)
        memcpy(v->k->stack_seen[which] + s * v->live * C, x, (size_t)(v->live * C) * sizeof *x);
}

/* What was seen of all slices, in the order of the sequences; stack_out is free then. */
static void show_sequences(const block_view *v, const msa_depth_groups *g, int which, const char *name)
{
    const size_t C = (size_t)v->c->dim;
    if (v->tap == NULL) return;
    for (int64_t i = 0; i < g->slots; i++)
        memcpy(v->k->stack_out + (size_t)i * C, v->k->stack_seen[which] + (size_t)v->k->depth_row_of[i] * C,
               C * sizeof(float));
    MSA_TAP(v->tap, v->k->stack_out, g->slots, v->c->dim, "block.%d.%s", v->index, name);
}

/* Every slice's queries, keys and values are there; row_of is filled. */
static void attend_depth(const block_view *v, const msa_stack_rows *rows, const msa_depth_groups *g)
{
    msa_encoder_work *k = v->k;
    msa_depth_groups_map(g, v->c, rows, k->depth_row_of);
    const msa_depth_attention a = {.groups = g,
                                   .row_of = k->depth_row_of,
                                   .qkv = k->stack_qkv,
                                   .table_h = v->b->rel_h,
                                   .table_w = v->b->rel_w,
                                   .table_h_rows = v->b->rel_h_rows,
                                   .table_w_rows = v->b->rel_w_rows,
                                   .pad_row = rows->pad_row,
                                   .out = k->stack_out,
                                   .heads = v->c->heads,
                                   .d = v->c->dim / v->c->heads};
    msa_depth_attention_forward(&a, k->depth, k->workers);
}

/* Projection and Depth adapter of slice s, added to its tokens. */
static void depth_residual(const block_view *v, int32_t s)
{
    const int32_t C = v->c->dim;
    msa_encoder_work *k = v->k;
    const float *y = k->a;
    msa_linear_forward(&v->b->proj, v->live, k->stack_out + s * v->rows * C, C, k->b, C, MSA_EPILOGUE_NONE);
    see_rows(v, 0, s, k->b);
    for (int64_t r = 0; r < v->live; r += k->chunk) {
        const int64_t n = v->live - r < k->chunk ? v->live - r : k->chunk;
        msa_adapter_forward(&v->b->depth, v->c->adapter_act, false, n, k->b + r * C, k->hidden, k->a + r * C);
    }
    see_rows(v, 1, s, k->a);
    MSA_TAP(v->tap, k->a, v->live, C, "block.%d.depth_branch", v->index);
    if (v->windowed) {
        msa_windows_merge(&v->windows, C, y, k->spare);
        y = k->spare;
    }
    msa_accumulate(v->tokens * C, 1.0f, y, k->x);
}

void msa_block_stack_forward(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                             msa_encoder_work *k, int32_t i, int32_t n, const msa_tap *tap)
{
    msa_encoder_work own = *k;
    block_view v = view_of(c, w, t, &own, i, tap);
    const msa_stack_rows rows = {.windows = v.windows,
                                 .slices = n,
                                 .stride = v.rows,
                                 .pad_row = v.padded && !v.windowed ? v.tokens : -1,
                                 .split = v.windowed};
    const msa_depth_groups g = msa_depth_groups_make(c, &rows);
    for (int32_t s = 0; s < n; s++) {
        enter_slice(&v, k, s);
        first_norm(&v);
        see_rows(&v, 0, s, own.a);
        attend(&v, t);
        first_residual(&v);
    }
    if (tap != NULL) {
        msa_depth_groups_map(&g, c, &rows, own.depth_row_of);
        show_sequences(&v, &g, 0, "norm1_depth");
    }
    attend_depth(&v, &rows, &g);
    for (int32_t s = 0; s < n; s++) {
        enter_slice(&v, k, s);
        depth_residual(&v, s);
        second_half(&v);
        MSA_TAP(tap, own.x, v.tokens, c->dim, "block.%d", i);
    }
    show_sequences(&v, &g, 0, "attn_depth");
    show_sequences(&v, &g, 1, "Depth_Adapter");
}
