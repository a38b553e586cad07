#include "engine/sam/mask_decoder.h"

#include <string.h>

#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/sam/detail.h"
#include "engine/sam/prompt_encoder.h"

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void adapter_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                           const msa_decoder_weights *w, size_t rows)
{
    size_t width = 0;
    for (int32_t i = 0; i < c->decoder_depth; i++) {
        const msa_layer_adapters *a = &w->layers[i].adapters;
        msa_prompt_adapter_layout(&k->adapters[i], arena, &a->prompt, k->tokens_max);
        if (a->mlp.down.weight != NULL)
            width =
                max_size(width, (size_t)(a->mlp.down.N > a->image.down.N ? a->mlp.down.N : a->image.down.N));
    }
    if (width > 0) k->adapter_hidden = msa_arena_floats(arena, rows * width);
}

void msa_decoder_work_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                             const msa_decoder_weights *w, int32_t grid_h, int32_t grid_w, int32_t workers)
{
    const size_t P = (size_t)c->prompt_dim, T = (size_t)(1 + c->mask_tokens + MSA_SPARSE_MAX);
    const size_t n = (size_t)grid_h * (size_t)grid_w, most = max_size(T, n);
    k->workers = workers;
    k->tokens_max = (int64_t)T;
    k->pixels = (int64_t)n;
    k->tokens = msa_arena_floats(arena, T * P);
    k->queries = msa_arena_floats(arena, T * P);
    k->token_in = msa_arena_floats(arena, T * P);
    k->keys = msa_arena_floats(arena, n * P);
    k->image_in = msa_arena_floats(arena, n * P);
    k->q = msa_arena_floats(arena, most * P);
    k->k = msa_arena_floats(arena, most * P);
    k->v = msa_arena_floats(arena, most * P);
    k->mixed = msa_arena_floats(arena, most * P);
    k->result = msa_arena_floats(arena, most * P);
    k->hidden = msa_arena_floats(
        arena, max_size(T * (size_t)c->decoder_mlp_dim, 2 * max_size(P, (size_t)c->iou_hidden)));
    k->attention = msa_arena_floats(arena, (size_t)workers * msa_attention_scratch((int64_t)most));
    k->up_raw = msa_arena_floats(arena, 16 * n * (P / 8));
    k->up1 = msa_arena_floats(arena, 4 * n * (P / 4));
    k->up2 = msa_arena_floats(arena, 16 * n * (P / 8));
    k->hyper = msa_arena_floats(arena, (size_t)c->mask_tokens * (P / 8));
    adapter_layout(k, arena, c, w, most);
}

/* Three dense layers, ReLU between, on one token. */
static void mlp3(const msa_mlp3_weights *m, const float *x, float *hidden, float *y)
{
    float *h1 = hidden, *h2 = hidden + m->layer[0].N;
    msa_linear_forward(&m->layer[0], 1, x, m->layer[0].K, h1, m->layer[0].N, MSA_EPILOGUE_RELU);
    msa_linear_forward(&m->layer[1], 1, h1, m->layer[1].K, h2, m->layer[1].N, MSA_EPILOGUE_RELU);
    msa_linear_forward(&m->layer[2], 1, h2, m->layer[2].K, y, m->layer[2].N, MSA_EPILOGUE_NONE);
}

/* Keys to (4h, 4w, P / 8), channels-last: logits are then one product with the hypernetworks' rows. */
static void upscale(const msa_config *c, const msa_decoder_weights *w, int32_t h, int32_t wt,
                    const float *detail, msa_decoder_work *k)
{
    const int32_t P = c->prompt_dim;
    const int64_t n = k->pixels;
    msa_conv_transpose2x2(k->keys, h, wt, P, w->up1_weight, w->up1_bias, P / 4, k->up_raw, k->up1);
    if (c->detail > 0) msa_add(4 * n * (P / 4), k->up1, detail + msa_detail_level1(c, n), k->up1);
    msa_norm_forward(&w->up_norm, MSA_EPS_ENCODER, 4 * n, k->up1, k->up1);
    msa_gelu(4 * n * (P / 4), k->up1, k->up1);
    msa_conv_transpose2x2(k->up1, 2 * h, 2 * wt, P / 4, w->up2_weight, w->up2_bias, P / 8, k->up_raw, k->up2);
    if (c->detail > 0) msa_add(16 * n * (P / 8), k->up2, detail, k->up2);
    msa_gelu(16 * n * (P / 8), k->up2, k->up2);
}

static void gather_tokens(const msa_config *c, const msa_decoder_weights *w, const float *sparse,
                          int32_t n_sparse, float *tokens)
{
    const size_t P = (size_t)c->prompt_dim;
    memcpy(tokens, w->iou_token, P * sizeof *tokens);
    memcpy(tokens + P, w->mask_tokens, (size_t)c->mask_tokens * P * sizeof *tokens);
    memcpy(tokens + (size_t)(1 + c->mask_tokens) * P, sparse, (size_t)n_sparse * P * sizeof *tokens);
}

msa_status msa_mask_decode(const msa_config *c, const msa_decoder_weights *w, int32_t grid_h, int32_t grid_w,
                           const float *dense_pe, const float *embedding, const float *sparse,
                           int32_t n_sparse, const float *dense, msa_decoder_work *k, float *logits,
                           float *iou, const msa_tap *tap, msa_error *err)
{
    const int64_t P = c->prompt_dim, n = k->pixels, T = 1 + c->mask_tokens + n_sparse;
    gather_tokens(c, w, sparse, n_sparse, k->tokens);
    msa_transpose(embedding, P, n, k->keys);
    msa_add(n * P, k->keys, dense, k->keys);
    msa_two_way_forward(c, w, dense_pe, T, k, tap);
    MSA_TAP(tap, k->queries, T, P, "tokens");
    MSA_TAP(tap, k->keys, n, P, "src");
    if (!msa_all_finite(T * P, k->queries) || !msa_all_finite(n * P, k->keys))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the transformer yields a non-finite value");
    upscale(c, w, grid_h, grid_w, embedding + n * P, k);
    MSA_TAP(tap, k->up2, 16 * n, P / 8, "upscaled");
    for (int32_t m = 0; m < c->mask_tokens; m++)
        mlp3(&w->hyper[m], k->queries + (1 + m) * P, k->hidden, k->hyper + m * (P / 8));
    msa_gemm_nt(c->mask_tokens, 16 * n, P / 8, 1.0f, k->hyper, P / 8, k->up2, P / 8, logits, 16 * n);
    mlp3(&w->iou, k->queries, k->hidden, iou);
    if (!msa_all_finite(c->mask_tokens * 16 * n, logits))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the up-scaling yields a non-finite value");
    if (!msa_all_finite(c->mask_tokens, iou))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the IoU head yields a non-finite value");
    return MSA_OK;
}
