#include "engine/sam/mask_decoder.h"

#include <string.h>

#include "engine/kern/tile_table.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/sam/prompt_encoder.h"

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void adapter_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                           const msa_decoder_weights *w)
{
    size_t width = 0, image_width = 0;
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        const msa_layer_adapters *a = &w->layers[i].adapters;
        msa_prompt_adapter_layout(&k->adapters[i], arena, &a->prompt, k->tokens_max);
        if (a->mlp.down.weight != NULL) width = max_size(width, (size_t)a->mlp.down.N);
        if (a->image.down.weight != NULL) image_width = max_size(image_width, (size_t)a->image.down.N);
    }
    if (width > 0) k->adapter_hidden = msa_arena_floats(arena, (size_t)k->tokens_max * width);
    for (int32_t i = 0; i < k->workers && image_width > 0; i++) {
        k->tile[i].adapter_hidden = msa_arena_floats(arena, MSA_TILE_PIXELS * image_width);
        k->tile[i].adapted = msa_arena_floats(arena, MSA_TILE_PIXELS * (size_t)c->prompt_dim);
    }
}

static void tile_layout(msa_decoder_tile *t, msa_arena *arena, const msa_config *c,
                        const msa_decoder_weights *w, int64_t T, int64_t width)
{
    const size_t n = MSA_TILE_PIXELS;
    msa_cross_scratch_layout(&t->cross, arena, c, T, width);
    t->up1 = msa_arena_floats(arena, 4 * n * (size_t)w->up_width[0]);
    t->up2 = msa_arena_floats(arena, 16 * n * (size_t)w->up_width[1]);
    t->panel = msa_arena_floats(
        arena, (size_t)msa_tile_packed_floats(msa_tiles()->cols, w->up_width[1], msa_tiles()->cols));
    t->logits = msa_arena_floats(arena, 16 * n * (size_t)c->mask_tokens);
}

/* Layers and the final attention may differ in width. */
static int64_t cross_width(const msa_config *c, const msa_decoder_weights *w)
{
    int64_t width = w->final_attn.q.N;
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        const msa_two_way_weights *l = &w->layers[i];
        if (l->token_to_image.q.N > width) width = l->token_to_image.q.N;
        if (l->image_to_token.q.N > width) width = l->image_to_token.q.N;
    }
    return width;
}

void msa_decoder_work_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                             const msa_decoder_weights *w, int32_t grid_h, int32_t grid_w, bool watched,
                             int32_t workers)
{
    const size_t P = (size_t)c->prompt_dim, T = (size_t)(1 + c->mask_tokens + MSA_SPARSE_MAX);
    const size_t n = (size_t)grid_h * (size_t)grid_w;
    const int64_t width = cross_width(c, w);
    k->workers = workers;
    k->tokens_max = (int64_t)T;
    k->pixels = (int64_t)n;
    k->tokens = msa_arena_floats(arena, T * P);
    k->queries = msa_arena_floats(arena, T * P);
    k->token_in = msa_arena_floats(arena, T * P);
    k->q = msa_arena_floats(arena, T * P);
    k->k = msa_arena_floats(arena, T * P);
    k->v = msa_arena_floats(arena, T * P);
    k->mixed = msa_arena_floats(arena, T * P);
    k->result = msa_arena_floats(arena, T * P);
    k->hidden = msa_arena_floats(
        arena, max_size(T * (size_t)c->decoder_mlp_dim, 2 * max_size(P, (size_t)c->iou_hidden)));
    k->attention = msa_arena_floats(arena, (size_t)workers * msa_attention_scratch((int64_t)T));
    k->keys = msa_arena_floats(arena, n * P);
    msa_look_layout(&k->look, arena, c, (int64_t)T, width, (int64_t)n);
    msa_take_layout(&k->take, arena, c, (int64_t)T, width);
    k->hyper = msa_arena_floats(arena, (size_t)c->mask_tokens * (size_t)w->up_width[1]);
    k->hyper_packed = msa_arena_floats(
        arena, (size_t)msa_tile_packed_floats(c->mask_tokens, w->up_width[1], msa_tiles()->rows));
    k->upscaled = watched ? msa_arena_floats(arena, 16 * n * (size_t)w->up_width[1]) : NULL;
    if (c->family == MSA_FAMILY_EFFICIENTSAM) {
        k->up1 = msa_arena_floats(arena, 4 * n * (size_t)w->up_width[0]);
        k->moments = msa_arena_take(arena, (size_t)msa_tile_count((int64_t)n), sizeof *k->moments);
    }
    for (int32_t i = 0; i < workers; i++)
        tile_layout(&k->tile[i], arena, c, w, (int64_t)T, width);
    adapter_layout(k, arena, c, w);
}

/* Three dense layers, an activation between, on one token. */
static void mlp3(const msa_mlp3_weights *m, msa_epilogue act, const float *x, float *hidden, float *y)
{
    float *h1 = hidden, *h2 = hidden + m->layer[0].N;
    msa_linear_forward(&m->layer[0], 1, x, m->layer[0].K, h1, m->layer[0].N, act);
    msa_linear_forward(&m->layer[1], 1, h1, m->layer[1].K, h2, m->layer[1].N, act);
    msa_linear_forward(&m->layer[2], 1, h2, m->layer[2].K, y, m->layer[2].N, MSA_EPILOGUE_NONE);
}

static void gather_tokens(const msa_config *c, const msa_decoder_weights *w, const float *sparse,
                          int32_t n_sparse, float *tokens)
{
    const size_t P = (size_t)c->prompt_dim;
    memcpy(tokens, w->iou_token, P * sizeof *tokens);
    memcpy(tokens + P, w->mask_tokens, (size_t)c->mask_tokens * P * sizeof *tokens);
    memcpy(tokens + (size_t)(1 + c->mask_tokens) * P, sparse, (size_t)n_sparse * P * sizeof *tokens);
}

msa_status msa_mask_decode(const msa_config *c, const msa_decoder_weights *w, const msa_upscale_weights *u,
                           const msa_decoder_image *image, const msa_decoder_prompt *prompt,
                           msa_decoder_work *k, float *logits, float *iou, const msa_tap *tap, msa_error *err)
{
    const int64_t P = c->prompt_dim, n = k->pixels, T = 1 + c->mask_tokens + prompt->n_sparse;
    const int64_t U = w->up_width[1];
    const msa_epilogue act = msa_decoder_epilogue(c);
    gather_tokens(c, w, prompt->sparse, prompt->n_sparse, k->tokens);
    const bool finite = msa_two_way_forward(c, w, image, prompt, T, k, tap);
    MSA_TAP(tap, k->queries, T, P, "tokens");
    MSA_TAP(tap, k->keys, n, P, "src");
    if (!finite)
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the transformer yields a non-finite value");
    for (int32_t m = 0; m < c->mask_tokens; m++)
        mlp3(&w->hyper[m], act, k->queries + (1 + m) * P, k->hidden, k->hyper + m * U);
    if (!msa_upscale_forward(c, w, u, image, k, logits))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the up-scaling yields a non-finite value");
    if (k->upscaled != NULL) MSA_TAP(tap, k->upscaled, 16 * n, U, "upscaled");
    mlp3(&w->iou, act, k->queries, k->hidden, iou);
    if (!msa_all_finite(c->mask_tokens, iou))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the IoU head yields a non-finite value");
    return MSA_OK;
}
