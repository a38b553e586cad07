/* Prompt encoder and mask decoder with backward: the parts of decoder_parts.h, one after the other. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"
#include "engine/nn/conv.h"
#include "engine/sam/position_code.h"
#include "engine/train/decoder_parts.h"
#include "engine/train/passes.h"

struct msa_decoder_pass {
    msa_params *params;
    msa_arena arena;
    int32_t grid; /* tokens per side */
    float *dense_pe;
    float *sparse, *dense;
    msa_prompt_pass prompt;
    msa_two_way_pass two_way;
    msa_heads_pass heads;
    float *dqueries, *dtokens, *dkeys, *dplanes;
};

static void layout(msa_decoder_pass *p, bool prompt_grads, int32_t workers)
{
    const msa_config *c = &p->params->config;
    const size_t P = (size_t)c->prompt_dim, n = (size_t)p->grid * (size_t)p->grid;
    const size_t T = (size_t)(1 + c->mask_tokens + MSA_SPARSE_MAX);
    msa_prompt_pass_layout(&p->prompt, &p->arena, p->params, p->grid, p->grid, prompt_grads);
    msa_two_way_pass_layout(&p->two_way, &p->arena, p->params, (int64_t)n, workers);
    msa_heads_pass_layout(&p->heads, &p->arena, p->params, p->grid, p->grid);
    p->dense_pe = msa_arena_floats(&p->arena, n * P);
    p->sparse = msa_arena_floats(&p->arena, (size_t)MSA_SPARSE_MAX * P);
    p->dense = msa_arena_floats(&p->arena, n * P);
    p->dqueries = msa_arena_floats(&p->arena, T * P);
    p->dtokens = msa_arena_floats(&p->arena, T * P);
    p->dkeys = msa_arena_floats(&p->arena, n * P);
    p->dplanes = msa_arena_floats(&p->arena, n * P);
}

msa_status msa_decoder_pass_new(msa_decoder_pass **out, msa_params *params, bool prompt_grads, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_decoder_pass) p = calloc(1, sizeof *p);
    if (p == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the decoder's training pass");
    const msa_config *c = &params->config;
    const int32_t workers = msa_threads_get();
    p->params = params;
    p->grid = c->image_size / c->patch;
    layout(p, prompt_grads, workers);
    MSA_TRY(msa_arena_commit(&p->arena, err));
    layout(p, prompt_grads, workers);
    /* The Fourier matrix never trains, so this stays true. */
    msa_position_grid(params->weights.prompt.gaussian, c->prompt_dim, p->grid, p->grid, p->dense_pe);
    p->two_way.dense_pe = p->dense_pe;
    *out = MSA_STEAL(p);
    return MSA_OK;
}

void msa_decoder_pass_free(msa_decoder_pass *p)
{
    if (p == NULL) return;
    msa_arena_release(&p->arena);
    free(p);
}

static void gather_tokens(msa_decoder_pass *p, int32_t n_sparse)
{
    const msa_config *c = &p->params->config;
    const msa_decoder_weights *w = &p->params->weights.decoder;
    const size_t P = (size_t)c->prompt_dim, M = (size_t)c->mask_tokens;
    float *tokens = p->two_way.tokens;
    memcpy(tokens, w->iou_token, P * sizeof *tokens);
    memcpy(tokens + P, w->mask_tokens, M * P * sizeof *tokens);
    memcpy(tokens + (1 + M) * P, p->sparse, (size_t)n_sparse * P * sizeof *tokens);
}

msa_status msa_decoder_pass_forward(msa_decoder_pass *p, const float *embedding, const msa_prompt_set *prompt,
                                    float *logits, float *iou, msa_error *err)
{
    const msa_config *c = &p->params->config;
    const int64_t P = c->prompt_dim, n = (int64_t)p->grid * p->grid;
    MSA_TRY(msa_prompt_pass_forward(&p->prompt, prompt, p->sparse, p->dense, err));
    const int64_t T = 1 + c->mask_tokens + p->prompt.n_sparse;
    float *keys = p->two_way.layers[0].keys;
    gather_tokens(p, p->prompt.n_sparse);
    msa_transpose(embedding, P, n, keys);
    msa_add(n * P, keys, p->dense, keys);
    msa_two_way_pass_forward(&p->two_way, T);
    const msa_two_way_kept *end = &p->two_way.layers[c->decoder_depth];
    if (!msa_all_finite(T * P, end->queries2) || !msa_all_finite(n * P, end->keys))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the transformer yields a non-finite value");
    msa_heads_pass_forward(&p->heads, end->queries2, end->keys, c->detail > 0 ? embedding + n * P : NULL,
                           logits, iou);
    if (!msa_all_finite(c->mask_tokens * 16 * n, logits))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the up-scaling yields a non-finite value");
    if (!msa_all_finite(c->mask_tokens, iou))
        return msa_fail(err, MSA_E_INTERNAL, "mask decoder: the IoU head yields a non-finite value");
    return MSA_OK;
}

/* ---- backward ---- */

static void scatter_tokens(msa_decoder_pass *p)
{
    const msa_config *c = &p->params->config;
    const msa_decoder_weights *w = &p->params->weights.decoder;
    const int64_t P = c->prompt_dim;
    float *diou = msa_grad(p->params, w->iou_token), *dmask = msa_grad(p->params, w->mask_tokens);
    if (diou != NULL) msa_add(P, diou, p->dtokens, diou);
    if (dmask != NULL) msa_add(c->mask_tokens * P, dmask, p->dtokens + P, dmask);
}

void msa_decoder_pass_backward(msa_decoder_pass *p, const float *dlogits, const float *diou,
                               float *dembedding)
{
    const msa_config *c = &p->params->config;
    const msa_decoder_weights *w = &p->params->weights.decoder;
    const msa_two_way_kept *end = &p->two_way.layers[c->decoder_depth];
    const int64_t P = c->prompt_dim, n = (int64_t)p->grid * p->grid, heads = 1 + c->mask_tokens;
    const bool want_tokens = msa_grad(p->params, w->iou_token) != NULL ||
                             msa_grad(p->params, w->mask_tokens) != NULL ||
                             (p->prompt.sparse_trains && p->prompt.n_sparse > 0);
    const bool want_keys = dembedding != NULL || msa_prompt_pass_wants_dense(&p->prompt);
    /* The prompt's own tokens end in the transformer. */
    memset(p->dqueries + heads * P, 0, (size_t)(p->prompt.n_sparse * P) * sizeof *p->dqueries);
    float *ddetail = c->detail > 0 && dembedding != NULL ? dembedding + n * P : NULL;
    msa_heads_pass_backward(&p->heads, end->queries2, end->keys, dlogits, diou, p->dqueries, p->dkeys,
                            ddetail);
    msa_two_way_pass_backward(&p->two_way, p->dqueries, p->dkeys, want_keys, want_tokens ? p->dtokens : NULL);
    if (want_tokens) scatter_tokens(p);
    msa_prompt_pass_backward(&p->prompt, p->dtokens + heads * P, p->dkeys);
    if (dembedding == NULL) return;
    msa_transpose(p->dkeys, n, P, p->dplanes);
    msa_add(n * P, dembedding, p->dplanes, dembedding);
}
