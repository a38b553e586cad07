#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"
#include "engine/nn/conv.h"
#include "engine/sam/detail.h"
#include "engine/train/decoder_parts.h"

#define PIXELS_PER_ITEM 4096

static int64_t pixels(const msa_heads_pass *p)
{
    return (int64_t)p->h * p->wt;
}

void msa_heads_pass_layout(msa_heads_pass *p, msa_arena *arena, const msa_params *params, int32_t grid_h,
                           int32_t grid_w)
{
    const msa_config *c = &params->config;
    const size_t P = (size_t)c->prompt_dim, n = (size_t)grid_h * (size_t)grid_w;
    const size_t M = (size_t)c->mask_tokens, iou = (size_t)c->iou_hidden;
    p->params = params;
    p->c = c;
    p->w = &params->weights.decoder;
    p->h = grid_h;
    p->wt = grid_w;
    p->up1_sum = msa_arena_floats(arena, 4 * n * (P / 4));
    p->up1_norm = msa_arena_floats(arena, 4 * n * (P / 4));
    p->up1 = msa_arena_floats(arena, 4 * n * (P / 4));
    p->up2_sum = msa_arena_floats(arena, 16 * n * (P / 8));
    p->up2 = msa_arena_floats(arena, 16 * n * (P / 8));
    p->hyper = msa_arena_floats(arena, M * (P / 8));
    p->hyper1 = msa_arena_floats(arena, M * P);
    p->hyper2 = msa_arena_floats(arena, M * P);
    p->iou1 = msa_arena_floats(arena, iou);
    p->iou2 = msa_arena_floats(arena, iou);
    p->scratch = msa_arena_floats(arena, 16 * n * (P / 8));
    p->dup1 = msa_arena_floats(arena, 4 * n * (P / 4));
    p->dup2 = msa_arena_floats(arena, 16 * n * (P / 8));
    p->dhyper = msa_arena_floats(arena, M * (P / 8));
    p->dhidden = msa_arena_floats(arena, 2 * (P > iou ? P : iou));
    p->norm = msa_arena_floats(arena, 8 * n);
}

static void mlp3_forward(const msa_mlp3_weights *m, const float *x, float *h1, float *h2, float *y)
{
    msa_linear_forward(&m->layer[0], 1, x, m->layer[0].K, h1, m->layer[0].N, MSA_EPILOGUE_RELU);
    msa_linear_forward(&m->layer[1], 1, h1, m->layer[1].K, h2, m->layer[1].N, MSA_EPILOGUE_RELU);
    msa_linear_forward(&m->layer[2], 1, h2, m->layer[2].K, y, m->layer[2].N, MSA_EPILOGUE_NONE);
}

void msa_heads_pass_forward(msa_heads_pass *p, const float *queries, const float *keys, const float *detail,
                            float *logits, float *iou)
{
    const msa_decoder_weights *w = p->w;
    const int32_t P = p->c->prompt_dim, M = p->c->mask_tokens;
    const int64_t n = pixels(p);
    msa_conv_transpose2x2(keys, p->h, p->wt, P, w->up1_weight, w->up1_bias, P / 4, p->scratch, p->up1_sum);
    if (detail != NULL) msa_add(4 * n * (P / 4), p->up1_sum, detail + msa_detail_level1(p->c, n), p->up1_sum);
    msa_norm_forward(&w->up_norm, MSA_EPS_ENCODER, 4 * n, p->up1_sum, p->up1_norm);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, 4 * n * (P / 4), p->up1_norm, p->up1);
    msa_conv_transpose2x2(p->up1, 2 * p->h, 2 * p->wt, P / 4, w->up2_weight, w->up2_bias, P / 8, p->scratch,
                          p->up2_sum);
    if (detail != NULL) msa_add(16 * n * (P / 8), p->up2_sum, detail, p->up2_sum);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, 16 * n * (P / 8), p->up2_sum, p->up2);
    for (int32_t m = 0; m < M; m++)
        mlp3_forward(&w->hyper[m], queries + (1 + m) * P, p->hyper1 + m * P, p->hyper2 + m * P,
                     p->hyper + m * (P / 8));
    msa_gemm_nt(M, 16 * n, P / 8, 1.0f, p->hyper, P / 8, p->up2, P / 8, logits, 16 * n);
    mlp3_forward(&w->iou, queries, p->iou1, p->iou2, iou);
}

/* ---- backward ---- */

/* dx (K) is written. */
static void mlp3_backward(const msa_heads_pass *p, const msa_mlp3_weights *m, const float *x, const float *h1,
                          const float *h2, const float *dy, float *dx)
{
    const msa_linear *l = m->layer;
    float *dh1 = p->dhidden, *dh2 = p->dhidden + l[0].N;
    msa_dense_backward_params(p->params, &l[2], 1, h2, dy);
    msa_linear_backward_input(&l[2], 1, dy, l[2].N, dh2, l[2].K, false);
    msa_epilogue_backward(MSA_EPILOGUE_RELU, l[1].N, h2, dh2, dh2);
    msa_dense_backward_params(p->params, &l[1], 1, h1, dh2);
    msa_linear_backward_input(&l[1], 1, dh2, l[1].N, dh1, l[1].K, false);
    msa_epilogue_backward(MSA_EPILOGUE_RELU, l[0].N, h1, dh1, dh1);
    msa_dense_backward_params(p->params, &l[0], 1, x, dh1);
    msa_linear_backward_input(&l[0], 1, dh1, l[0].N, dx, l[0].K, false);
}

typedef struct logits_job {
    const msa_heads_pass *p;
    const float *dlogits;
    int64_t n; /* pixels of a mask */
} logits_job;

/* A run of pixels of dup2 (16n, P/8) = dlogits^T hyper. */
static void logits_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const logits_job *j = ctx;
    const int64_t width = j->p->c->prompt_dim / 8, first = (int64_t)item * PIXELS_PER_ITEM;
    const int64_t n = j->n - first < PIXELS_PER_ITEM ? j->n - first : PIXELS_PER_ITEM;
    float *to = j->p->dup2 + first * width;
    memset(to, 0, (size_t)(n * width) * sizeof *to);
    msa_gemm_tn_add(n, width, j->p->c->mask_tokens, 1.0f, j->dlogits + first, j->n, j->p->hyper, width, to,
                    width);
}

/* From p->dup2, the gradient of up2, to that of the keys. */
static void upscale_backward(msa_heads_pass *p, const float *keys, float *dkeys, float *ddetail)
{
    const msa_params *q = p->params;
    const msa_decoder_weights *w = p->w;
    const int32_t P = p->c->prompt_dim;
    const int64_t n = pixels(p);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, 16 * n * (P / 8), p->up2_sum, p->dup2, p->dup2);
    if (ddetail != NULL) msa_add(16 * n * (P / 8), ddetail, p->dup2, ddetail);
    msa_conv_transpose2x2_backward(p->up1, 2 * p->h, 2 * p->wt, P / 4, w->up2_weight, P / 8, p->dup2,
                                   p->scratch, p->dup1, msa_grad(q, w->up2_weight), msa_grad(q, w->up2_bias));
    msa_epilogue_backward(MSA_EPILOGUE_GELU, 4 * n * (P / 4), p->up1_norm, p->dup1, p->dup1);
    msa_norm_backward(&w->up_norm, MSA_EPS_ENCODER, 4 * n, p->up1_sum, p->dup1, p->dup1, false,
                      msa_grad(q, w->up_norm.weight), msa_grad(q, w->up_norm.bias), p->norm);
    if (ddetail != NULL) {
        float *level1 = ddetail + msa_detail_level1(p->c, n);
        msa_add(4 * n * (P / 4), level1, p->dup1, level1);
    }
    msa_conv_transpose2x2_backward(keys, p->h, p->wt, P, w->up1_weight, P / 4, p->dup1, p->scratch, dkeys,
                                   msa_grad(q, w->up1_weight), msa_grad(q, w->up1_bias));
}

void msa_heads_pass_backward(msa_heads_pass *p, const float *queries, const float *keys, const float *dlogits,
                             const float *diou, float *dqueries, float *dkeys, float *ddetail)
{
    const int32_t P = p->c->prompt_dim, M = p->c->mask_tokens;
    const int64_t n = 16 * pixels(p);
    logits_job j = {p, dlogits, n};
    msa_gemm_nn(M, P / 8, n, dlogits, n, p->up2, P / 8, p->dhyper, P / 8);
    msa_pool_run(logits_item, &j, (int32_t)((n + PIXELS_PER_ITEM - 1) / PIXELS_PER_ITEM), MSA_THREADS_MAX);
    for (int32_t m = 0; m < M; m++)
        mlp3_backward(p, &p->w->hyper[m], queries + (1 + m) * P, p->hyper1 + m * P, p->hyper2 + m * P,
                      p->dhyper + m * (P / 8), dqueries + (1 + m) * P);
    if (diou != NULL)
        mlp3_backward(p, &p->w->iou, queries, p->iou1, p->iou2, diou, dqueries);
    else
        memset(dqueries, 0, (size_t)P * sizeof *dqueries);
    upscale_backward(p, keys, dkeys, ddetail);
}
