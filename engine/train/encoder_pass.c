#include "engine/train/encoder_pass.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/depth_attention.h"
#include "engine/nn/interp.h"
#include "engine/nn/relpos.h"

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- what trains ---- */

static bool norm_trains(const msa_params *q, const msa_norm *n)
{
    return msa_grad(q, n->weight) != NULL || msa_grad(q, n->bias) != NULL;
}

static bool linear_trains(const msa_params *q, const msa_linear *l)
{
    return msa_grad(q, l->weight) != NULL || msa_grad(q, l->bias) != NULL;
}

static bool adapter_trains(const msa_params *q, const msa_adapter *a)
{
    return linear_trains(q, &a->down) || linear_trains(q, &a->up);
}

/* Factors train together. */
static bool lora_trains(const msa_params *q, const msa_block_weights *b, msa_lora_place place)
{
    return msa_grad(q, msa_block_lora(&q->config, b, place).a) != NULL;
}

static bool detail_trains(const msa_params *q, const msa_detail_weights *d)
{
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++)
        if (linear_trains(q, &d->level[l].enter) || linear_trains(q, &d->level[l].mix) ||
            linear_trains(q, &d->level[l].leave))
            return true;
    return false;
}

static void find_trained(msa_encoder_pass *p)
{
    const msa_params *q = p->params;
    const msa_encoder_weights *w = &q->weights.encoder;
    p->stem_trains = linear_trains(q, &w->patch) || msa_grad(q, w->pos_embed) != NULL;
    p->neck_trains = linear_trains(q, &w->neck1) || msa_grad(q, w->neck3x3) != NULL ||
                     norm_trains(q, &w->neck_norm1) || norm_trains(q, &w->neck_norm2);
    p->detail_trains = q->config.detail > 0 && detail_trains(q, &w->detail);
    p->first = q->config.depth;
    for (int32_t i = q->config.depth - 1; i >= 0; i--) {
        const msa_block_weights *b = &w->blocks[i];
        block_state *s = &p->blocks[i];
        const bool adapters = q->config.adapters;
        s->attention_trains = norm_trains(q, &b->norm1) || linear_trains(q, &b->qkv) ||
                              linear_trains(q, &b->proj) || msa_grad(q, b->rel_h) != NULL ||
                              msa_grad(q, b->rel_w) != NULL || lora_trains(q, b, MSA_LORA_QUERY);
        s->space_trains = adapters && adapter_trains(q, &b->space);
        s->depth_trains = q->config.depth_grouping != MSA_DEPTH_NONE && adapter_trains(q, &b->depth);
        s->rest_trains = norm_trains(q, &b->norm2) || linear_trains(q, &b->lin1) ||
                         linear_trains(q, &b->lin2) || (adapters && adapter_trains(q, &b->mlp)) ||
                         lora_trains(q, b, MSA_LORA_LIN1);
        if (s->attention_trains || s->space_trains || s->depth_trains || s->rest_trains) p->first = i;
    }
    if (p->stem_trains || p->detail_trains) p->first = 0;
}

/* ---- memory ---- */

/* Own pieces for what backward looks at, those of `shared` for the rest. */
static void keep_layout(msa_encoder_pass *p, int32_t i, const block_keep *shared)
{
    const msa_params *q = p->params;
    const msa_block_weights *w = &q->weights.encoder.blocks[i];
    block_keep *k = &p->blocks[i].keep;
    const size_t T = (size_t)p->tokens, R = (size_t)p->blocks[i].rows, C = (size_t)q->config.dim;
    const bool branch = q->config.depth_grouping != MSA_DEPTH_NONE;
    *k = *shared;
    if (i < p->first || p->recompute) return;
    if (msa_grad(q, w->qkv.weight) != NULL || lora_trains(q, w, MSA_LORA_QUERY))
        k->norm1 = msa_arena_floats(&p->arena, R * C);
    k->qkv = msa_arena_floats(&p->arena, R * 3 * C);
    if (msa_grad(q, w->proj.weight) != NULL) {
        k->mixed = msa_arena_floats(&p->arena, T * C);
        if (branch) k->depth_mixed = msa_arena_floats(&p->arena, T * C);
    }
    for (int place = 0; place < MSA_LORA_PLACES; place++)
        if (lora_trains(q, w, (msa_lora_place)place))
            k->lora[place] = msa_arena_floats(&p->arena, R * (size_t)q->config.lora_rank);
    k->attn = msa_arena_floats(&p->arena, T * C);
    k->middle = msa_arena_floats(&p->arena, T * C);
    k->norm2 = msa_arena_floats(&p->arena, T * C);
    k->hidden = msa_arena_floats(&p->arena, T * (size_t)q->config.mlp_dim);
    if (!q->config.adapters) return;
    k->space = msa_arena_floats(&p->arena, T * (size_t)w->space.down.N);
    k->mlp = msa_arena_floats(&p->arena, T * (size_t)w->mlp.down.N);
    if (!branch) return;
    k->depth_attn = msa_arena_floats(&p->arena, T * C);
    k->depth = msa_arena_floats(&p->arena, T * (size_t)w->depth.down.N);
}

static size_t widest_adapter(const msa_encoder_pass *p)
{
    const msa_config *c = &p->params->config;
    size_t width = 0;
    for (int32_t i = 0; i < c->depth && c->adapters; i++) {
        const msa_block_weights *w = &p->params->weights.encoder.blocks[i];
        width = max_size(width, max_size((size_t)w->space.down.N, (size_t)w->mlp.down.N));
        if (c->depth_grouping != MSA_DEPTH_NONE) width = max_size(width, (size_t)w->depth.down.N);
    }
    return width;
}

/* The widest row of anything that is spread out: MLP, patches, 3 x 3 neighbourhoods, adapters. */
static size_t widest(const msa_encoder_pass *p)
{
    const msa_config *c = &p->params->config;
    const size_t patch = 3u * (size_t)c->patch * (size_t)c->patch, rows3x3 = 9u * (size_t)c->prompt_dim;
    return max_size(max_size((size_t)c->mlp_dim, widest_adapter(p)), max_size(patch, rows3x3));
}

static void shared_keep(msa_encoder_pass *p, block_keep *k)
{
    const msa_config *c = &p->params->config;
    const size_t T = (size_t)p->tokens, R = T + 1, C = (size_t)c->dim, D = widest_adapter(p);
    const bool branch = c->depth_grouping != MSA_DEPTH_NONE;
    *k = (block_keep){.norm1 = msa_arena_floats(&p->arena, R * C),
                      .mixed = msa_arena_floats(&p->arena, T * C)};
    if (branch) k->depth_mixed = msa_arena_floats(&p->arena, T * C);
    for (int place = 0; place < MSA_LORA_PLACES && c->lora_rank > 0; place++)
        k->lora[place] = msa_arena_floats(&p->arena, R * (size_t)c->lora_rank);
    if (p->first == 0 && !p->recompute) return; /* every block keeps the others */
    k->qkv = msa_arena_floats(&p->arena, R * 3 * C);
    k->attn = msa_arena_floats(&p->arena, T * C);
    k->middle = msa_arena_floats(&p->arena, T * C);
    k->norm2 = msa_arena_floats(&p->arena, T * C);
    k->hidden = msa_arena_floats(&p->arena, T * (size_t)c->mlp_dim);
    k->space = msa_arena_floats(&p->arena, T * D);
    k->mlp = msa_arena_floats(&p->arena, T * D);
    if (!branch) return;
    k->depth_attn = msa_arena_floats(&p->arena, T * C);
    k->depth = msa_arena_floats(&p->arena, T * D);
}

/* The windows of one slice, repeated for the others. */
static msa_windows windows_of(const msa_encoder_pass *p, int32_t window)
{
    msa_windows w = msa_windows_make(p->grid, p->grid, window);
    w.rows *= p->slices;
    return w;
}

static void blocks_layout(msa_encoder_pass *p)
{
    const msa_config *c = &p->params->config;
    const size_t T = (size_t)p->tokens, C = (size_t)c->dim, d = (size_t)(c->dim / c->heads);
    block_keep shared = {0};
    shared_keep(p, &shared);
    for (int32_t i = c->depth; i >= 0; i--)
        p->x[i] = i < p->first ? p->x[i + 1] : msa_arena_floats(&p->arena, T * C);
    for (int32_t i = 0; i < c->depth; i++) {
        const msa_block_weights *w = &p->params->weights.encoder.blocks[i];
        block_state *b = &p->blocks[i];
        const bool global = msa_block_is_global(c, i);
        b->windows = windows_of(p, global ? 0 : c->window);
        b->row_of = global ? NULL : p->row_of;
        b->rows = p->tokens + (msa_windows_tokens(&b->windows) > p->tokens ? 1 : 0);
        keep_layout(p, i, &shared);
        const int32_t rows_h = msa_relpos_rows(b->windows.win_h, b->windows.win_h);
        const int32_t rows_w = msa_relpos_rows(b->windows.win_w, b->windows.win_w);
        b->rel_h = rows_h == w->rel_h_rows ? NULL : msa_arena_floats(&p->arena, (size_t)rows_h * d);
        b->rel_w = rows_w == w->rel_w_rows ? NULL : msa_arena_floats(&p->arena, (size_t)rows_w * d);
    }
}

static size_t attention_floats(const msa_encoder_pass *p, const msa_windows *windows)
{
    const msa_config *c = &p->params->config;
    const int32_t d = c->dim / c->heads;
    return max_size((size_t)p->workers * msa_window_attention_scratch(windows, d),
                    msa_window_attention_backward_scratch(windows, c->heads, d, p->workers));
}

static size_t depth_floats(const msa_encoder_pass *p, const msa_depth_groups *g)
{
    const msa_config *c = &p->params->config;
    const int32_t d = c->dim / c->heads;
    return max_size(msa_depth_attention_scratch(g, d, p->workers),
                    msa_depth_attention_backward_scratch(g, c->heads, d, p->workers));
}

static void map_rows(msa_encoder_pass *p)
{
    const msa_windows one = msa_windows_make(p->grid, p->grid, p->params->config.window);
    const int64_t area = (int64_t)one.win_h * one.win_w, all = msa_windows_tokens(&one);
    const int64_t tokens = p->tokens / p->slices;
    for (int64_t slot = 0; slot < p->slices * all; slot++) {
        const int64_t slice = slot / all, place = slot % all;
        const int64_t source = msa_windows_source(&one, place / area, place % area);
        p->row_of[slot] = (int32_t)(source < 0 ? p->tokens : slice * tokens + source);
    }
}

static void depth_layout(msa_encoder_pass *p, depth_map *map, int32_t window)
{
    const msa_config *c = &p->params->config;
    const msa_windows one = msa_windows_make(p->grid, p->grid, window);
    const int64_t tokens = p->tokens / p->slices;
    const msa_stack_rows rows = {.windows = one,
                                 .slices = p->slices,
                                 .stride = tokens,
                                 .pad_row = msa_windows_tokens(&one) > tokens ? p->tokens : -1};
    map->groups = msa_depth_groups_make(c, &rows);
    map->row_of = msa_arena_take(&p->arena, (size_t)map->groups.slots, sizeof *map->row_of);
    if (map->row_of != NULL) msa_depth_groups_map(&map->groups, c, &rows, map->row_of);
}

static void layout(msa_encoder_pass *p)
{
    const msa_params *q = p->params;
    const msa_config *c = &q->config;
    const msa_encoder_weights *w = &q->weights.encoder;
    const size_t T = (size_t)p->tokens, R = T + 1, C = (size_t)c->dim, P = (size_t)c->prompt_dim;
    const msa_windows windows = windows_of(p, c->window), global = windows_of(p, 0);
    const bool branch = c->depth_grouping != MSA_DEPTH_NONE;
    msa_arena *a = &p->arena;
    p->row_of = msa_arena_take(a, (size_t)msa_windows_tokens(&windows), sizeof *p->row_of);
    if (p->row_of != NULL) map_rows(p);
    if (branch) depth_layout(p, &p->depth[0], c->window);
    if (branch) depth_layout(p, &p->depth[1], 0);
    blocks_layout(p);
    p->wide = msa_arena_floats(a, T * widest(p));
    p->wide2 = msa_arena_floats(a, T * widest_adapter(p));
    p->patches = msa_grad(q, w->patch.weight) == NULL ? p->wide : msa_arena_floats(a, T * (size_t)w->patch.K);
    p->pos =
        w->pos_h == p->grid && w->pos_w == p->grid ? NULL : msa_arena_floats(a, T / (size_t)p->slices * C);
    p->neck0 = msa_arena_floats(a, T * P);
    p->neck1 = msa_arena_floats(a, T * P);
    p->neck2 = msa_arena_floats(a, T * P);
    p->neck3x3 = msa_arena_floats(a, 9 * P * P);
    p->dneck3x3 = msa_grad(q, w->neck3x3) == NULL ? NULL : msa_arena_floats(a, 9 * P * P);
    p->dx = msa_arena_floats(a, T * C);
    p->a = msa_arena_floats(a, R * max_size(C, P));
    p->b = msa_arena_floats(a, R * max_size(C, P));
    p->dqkv = msa_arena_floats(a, R * 3 * C);
    if (branch) p->dqkv_depth = msa_arena_floats(a, R * 3 * C);
    if (c->lora_rank > 0) p->dz = msa_arena_floats(a, R * (size_t)c->lora_rank);
    p->stats = msa_arena_floats(a, 2 * T);
    const size_t side = max_size((size_t)p->grid, (size_t)c->window);
    p->drel = msa_arena_floats(a, 2 * (2 * side - 1) * (C / (size_t)c->heads));
    size_t scratch = max_size(attention_floats(p, &windows), attention_floats(p, &global));
    for (int i = 0; i < 2 && branch; i++)
        scratch = max_size(scratch, depth_floats(p, &p->depth[i].groups));
    p->attention = msa_arena_floats(a, scratch);
    for (int32_t s = 0; s < p->slices; s++)
        msa_detail_layout(&p->detail[s], a, c, p->grid, p->grid, true);
}

msa_status msa_encoder_pass_new(msa_encoder_pass **out, msa_params *params, bool recompute, msa_error *err)
{
    return msa_encoder_pass_new_stack(out, params, 1, recompute, err);
}

msa_status msa_encoder_pass_new_stack(msa_encoder_pass **out, msa_params *params, int32_t slices,
                                      bool recompute, msa_error *err)
{
    *out = NULL;
    if (slices < 1 || slices > MSA_STACK_MAX)
        return msa_fail(err, MSA_E_INVALID, "a stack holds 1 to %d slices, not %d", MSA_STACK_MAX, slices);
    MSA_AUTO(msa_encoder_pass) p = calloc(1, sizeof *p);
    if (p == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a training pass");
    p->params = params;
    p->recompute = recompute;
    p->workers = msa_threads_get();
    p->grid = params->config.image_size / params->config.patch;
    p->slices = slices;
    p->tokens = (int64_t)slices * p->grid * p->grid;
    p->fresh = -1;
    p->detail = calloc((size_t)slices, sizeof *p->detail);
    if (p->detail == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a training pass");
    find_trained(p);
    layout(p);
    MSA_TRY(msa_arena_commit(&p->arena, err));
    layout(p);
    *out = MSA_STEAL(p);
    return MSA_OK;
}

void msa_encoder_pass_free(msa_encoder_pass *p)
{
    if (p == NULL) return;
    msa_arena_release(&p->arena);
    free(p->detail);
    free(p);
}

size_t msa_encoder_pass_bytes(const msa_encoder_pass *p)
{
    return p->arena.size;
}

/* ---- patches and positions ---- */

static void stem_forward(msa_encoder_pass *p, const float *images)
{
    const msa_config *c = &p->params->config;
    const msa_encoder_weights *w = &p->params->weights.encoder;
    const int32_t side = p->grid * c->patch;
    const int64_t tokens = p->tokens / p->slices;
    const float *pos = w->pos_embed;
    for (int32_t s = 0; s < p->slices; s++)
        msa_patch_rows(images + s * 3 * (int64_t)side * side, 3, side, side, c->patch, 0, tokens,
                       p->patches + s * tokens * w->patch.K);
    msa_linear_forward(&w->patch, p->tokens, p->patches, w->patch.K, p->x[0], c->dim, MSA_EPILOGUE_NONE);
    if (p->pos != NULL) {
        msa_resize_bicubic(w->pos_embed, w->pos_h, w->pos_w, c->dim, p->pos, p->grid, p->grid);
        pos = p->pos;
    }
    for (int32_t s = 0; s < p->slices; s++)
        msa_add(tokens * c->dim, p->x[0] + s * tokens * c->dim, pos, p->x[0] + s * tokens * c->dim);
}

static void stem_backward(msa_encoder_pass *p)
{
    const msa_params *q = p->params;
    const msa_encoder_weights *w = &q->weights.encoder;
    const int32_t C = q->config.dim;
    float *dpos = msa_grad(q, w->pos_embed);
    msa_linear_backward_params(&w->patch, p->tokens, p->patches, w->patch.K, p->dx, C,
                               msa_grad(q, w->patch.weight), msa_grad(q, w->patch.bias));
    if (dpos == NULL) return;
    const int64_t n = p->tokens / p->slices * C;
    for (int32_t s = 0; s < p->slices; s++)
        if (p->pos == NULL)
            msa_add(n, dpos, p->dx + s * n, dpos);
        else
            msa_resize_bicubic_backward(p->dx + s * n, p->grid, p->grid, C, dpos, w->pos_h, w->pos_w);
}

/* ---- the pass ---- */

msa_status msa_encoder_pass_forward(msa_encoder_pass *p, const float *image, float *embedding, msa_error *err)
{
    const msa_config *c = &p->params->config;
    const int64_t side = (int64_t)p->grid * c->patch;
    if (!msa_all_finite(p->slices * 3 * side * side, image))
        return msa_fail(err, MSA_E_INTERNAL, "image encoder: the input image holds a non-finite value");
    stem_forward(p, image);
    msa_encoder_detail_forward(p, image, embedding);
    for (int32_t i = 0; i < c->depth; i++) {
        msa_encoder_block_forward(p, i);
        if (!msa_all_finite(p->tokens * c->dim, p->x[i + 1]))
            return msa_fail(err, MSA_E_INTERNAL, "image encoder: block %d yields a non-finite value", i);
    }
    p->fresh = c->depth - 1;
    msa_encoder_neck_forward(p, embedding);
    if (!msa_all_finite(p->slices * (int64_t)msa_embedding_floats(c), embedding))
        return msa_fail(err, MSA_E_INTERNAL, "image encoder: the neck yields a non-finite value");
    return MSA_OK;
}

void msa_encoder_pass_backward(msa_encoder_pass *p, const float *dembedding)
{
    const msa_config *c = &p->params->config;
    if (!p->neck_trains && p->first == c->depth) return;
    msa_encoder_neck_backward(p, dembedding);
    for (int32_t i = c->depth - 1; i >= p->first; i--) {
        if (p->recompute && i != p->fresh) msa_encoder_block_forward(p, i);
        p->fresh = i;
        msa_encoder_block_backward(p, i);
    }
    if (p->detail_trains) msa_encoder_detail_backward(p, dembedding);
    if (p->stem_trains) stem_backward(p);
}
