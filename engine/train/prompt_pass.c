#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/conv.h"
#include "engine/train/decoder_parts.h"

static void find_what_trains(msa_prompt_pass *p)
{
    const msa_prompt_weights *w = p->w;
    const msa_linear *const convs[] = {&w->conv1, &w->conv2, &w->conv3};
    p->sparse_trains = msa_grad(p->params, w->not_a_point) != NULL;
    for (int i = 0; i < 4; i++)
        p->sparse_trains = p->sparse_trains || msa_grad(p->params, w->point[i]) != NULL;
    p->no_mask_trains = msa_grad(p->params, w->no_mask) != NULL;
    p->mask_trains = msa_norm_trains(p->params, &w->norm1) || msa_norm_trains(p->params, &w->norm2);
    for (int i = 0; i < 3; i++)
        p->mask_trains = p->mask_trains || msa_dense_trains(p->params, convs[i]);
}

void msa_prompt_pass_layout(msa_prompt_pass *p, msa_arena *arena, const msa_params *params, int32_t grid_h,
                            int32_t grid_w, bool gradients)
{
    const size_t n = (size_t)grid_h * (size_t)grid_w;
    float **const kept[] = {&p->patches1, &p->sum1,  &p->norm1,   &p->half, &p->planes, &p->patches2,
                            &p->sum2,     &p->norm2, &p->quarter, &p->da,   &p->db};
    p->params = params;
    p->c = &params->config;
    p->w = &params->weights.prompt;
    p->h = grid_h;
    p->wt = grid_w;
    p->scratch = msa_arena_floats(arena, msa_prompt_scratch(grid_h, grid_w));
    p->boxed = msa_arena_floats(arena, 16 * n);
    if (!gradients) return;
    find_what_trains(p);
    if (!p->mask_trains) return;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        *kept[i] = msa_arena_floats(arena, 16 * n);
    p->norm = msa_arena_floats(arena, 8 * n);
}

/* Which embedding each token came from, in the order of msa_prompt_encode(). */
static void keep_labels(msa_prompt_pass *p, const msa_prompt_set *prompt)
{
    int32_t n = 0;
    for (; n < prompt->n_points; n++)
        p->labels[n] = (int8_t)prompt->labels[n];
    if (prompt->box != NULL) {
        p->labels[n++] = 2;
        p->labels[n++] = 3;
    } else if (n > 0) {
        p->labels[n++] = -1;
    }
}

/* As in engine/sam/prompt_encoder.c, each result in its own place. */
static void mask_forward(msa_prompt_pass *p, const float *mask, float *dense)
{
    const msa_prompt_weights *w = p->w;
    const int32_t h = p->h, wt = p->wt, C1 = w->conv1.N, C2 = w->conv2.N;
    const int64_t n = (int64_t)h * wt;
    msa_patch_rows(mask, 1, 4 * h, 4 * wt, 2, 0, 4 * n, p->patches1);
    msa_linear_forward(&w->conv1, 4 * n, p->patches1, w->conv1.K, p->sum1, C1, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->norm1, MSA_EPS_ENCODER, 4 * n, p->sum1, p->norm1);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, 4 * n * C1, p->norm1, p->half);
    msa_transpose(p->half, 4 * n, C1, p->planes);
    msa_patch_rows(p->planes, C1, 2 * h, 2 * wt, 2, 0, n, p->patches2);
    msa_linear_forward(&w->conv2, n, p->patches2, w->conv2.K, p->sum2, C2, MSA_EPILOGUE_NONE);
    msa_norm_forward(&w->norm2, MSA_EPS_ENCODER, n, p->sum2, p->norm2);
    msa_epilogue_forward(MSA_EPILOGUE_GELU, n * C2, p->norm2, p->quarter);
    msa_linear_forward(&w->conv3, n, p->quarter, w->conv3.K, dense, w->conv3.N, MSA_EPILOGUE_NONE);
}

msa_status msa_prompt_pass_forward(msa_prompt_pass *p, const msa_prompt_set *prompt, float *sparse,
                                   float *dense, msa_error *err)
{
    const float *mask = msa_prompt_mask(p->c, p->h, p->wt, prompt, p->boxed);
    p->mask = mask != NULL;
    const bool kept = p->mask && p->mask_trains;
    int64_t step = p->c->prompt_dim;
    if (kept)
        MSA_TRY(msa_prompt_tokens(p->c, p->w, p->h, p->wt, prompt, sparse, &p->n_sparse, err));
    else
        MSA_TRY(msa_prompt_encode(p->c, p->w, p->h, p->wt, prompt, p->scratch, sparse, &p->n_sparse, dense,
                                  &step, err));
    if (step == 0) msa_prompt_repeat(p->c->prompt_dim, (int64_t)p->h * p->wt, dense);
    keep_labels(p, prompt);
    if (!kept) return MSA_OK;
    if (!msa_all_finite(16 * (int64_t)p->h * p->wt, mask))
        return msa_fail(err, MSA_E_INVALID, "the mask of the prompt is not finite");
    mask_forward(p, mask, dense);
    return MSA_OK;
}

/* ---- backward ---- */

bool msa_prompt_pass_wants_dense(const msa_prompt_pass *p)
{
    return p->mask ? p->mask_trains : p->no_mask_trains;
}

static void sparse_backward(msa_prompt_pass *p, const float *dsparse)
{
    const int64_t P = p->c->prompt_dim;
    for (int32_t i = 0; i < p->n_sparse; i++) {
        const float *of = p->labels[i] < 0 ? p->w->not_a_point : p->w->point[p->labels[i]];
        float *to = msa_grad(p->params, of);
        if (to != NULL) msa_add(P, to, dsparse + i * P, to);
    }
}

static void mask_backward(msa_prompt_pass *p, const float *ddense)
{
    const msa_params *q = p->params;
    const msa_prompt_weights *w = p->w;
    const int32_t h = p->h, wt = p->wt, C1 = w->conv1.N, C2 = w->conv2.N;
    const int64_t n = (int64_t)h * wt;
    msa_dense_backward_params(q, &w->conv3, n, p->quarter, ddense);
    msa_linear_backward_input(&w->conv3, n, ddense, w->conv3.N, p->da, C2, false);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, n * C2, p->norm2, p->da, p->da);
    msa_norm_backward(&w->norm2, MSA_EPS_ENCODER, n, p->sum2, p->da, p->da, false,
                      msa_grad(q, w->norm2.weight), msa_grad(q, w->norm2.bias), p->norm);
    msa_dense_backward_params(q, &w->conv2, n, p->patches2, p->da);
    msa_linear_backward_input(&w->conv2, n, p->da, C2, p->db, w->conv2.K, false);
    msa_patch_rows_backward(p->db, C1, 2 * h, 2 * wt, 2, p->da);
    msa_transpose(p->da, C1, 4 * n, p->db);
    msa_epilogue_backward(MSA_EPILOGUE_GELU, 4 * n * C1, p->norm1, p->db, p->db);
    msa_norm_backward(&w->norm1, MSA_EPS_ENCODER, 4 * n, p->sum1, p->db, p->db, false,
                      msa_grad(q, w->norm1.weight), msa_grad(q, w->norm1.bias), p->norm);
    msa_dense_backward_params(q, &w->conv1, 4 * n, p->patches1, p->db);
}

void msa_prompt_pass_backward(msa_prompt_pass *p, const float *dsparse, const float *ddense)
{
    if (p->sparse_trains) sparse_backward(p, dsparse);
    if (p->mask && p->mask_trains) mask_backward(p, ddense);
    if (p->mask || !p->no_mask_trains) return;
    const msa_linear everywhere = {.N = p->c->prompt_dim, .K = 1}; /* one bias for every pixel */
    msa_linear_backward_params(&everywhere, (int64_t)p->h * p->wt, NULL, 1, ddense, everywhere.N, NULL,
                               msa_grad(p->params, p->w->no_mask));
}
