#include <math.h>

#include "engine/nn/attention.h"
#include "engine/train/decoder_parts.h"

void msa_dense_backward_params(const msa_params *p, const msa_linear *l, int64_t M, const float *x,
                               const float *dy)
{
    float *dweight = msa_grad(p, l->weight), *dbias = msa_grad(p, l->bias);
    if (dweight != NULL || dbias != NULL) msa_linear_backward_params(l, M, x, l->K, dy, l->N, dweight, dbias);
}

bool msa_dense_trains(const msa_params *p, const msa_linear *l)
{
    return msa_grad(p, l->weight) != NULL || msa_grad(p, l->bias) != NULL;
}

bool msa_norm_trains(const msa_params *p, const msa_norm *n)
{
    return msa_grad(p, n->weight) != NULL || msa_grad(p, n->bias) != NULL;
}

void msa_projected_layout(msa_projected *k, msa_arena *arena, const msa_decoder_attention *a, int64_t nq_max,
                          int64_t nk_max)
{
    const size_t width = (size_t)a->q.N;
    k->q = msa_arena_floats(arena, (size_t)nq_max * width);
    k->k = msa_arena_floats(arena, (size_t)nk_max * width);
    k->v = msa_arena_floats(arena, (size_t)nk_max * width);
    k->mixed = msa_arena_floats(arena, (size_t)nq_max * width);
}

void msa_attention_scratch_layout(msa_attention_scratch_set *s, msa_arena *arena, int32_t P, int64_t rows_max,
                                  int32_t workers)
{
    const size_t forward = msa_attention_scratch(rows_max),
                 backward = msa_attention_backward_scratch(rows_max);
    const size_t rows = (size_t)rows_max * (size_t)P;
    s->workers = workers;
    s->heads = msa_arena_floats(arena, (size_t)workers * (forward > backward ? forward : backward));
    s->dq = msa_arena_floats(arena, rows);
    s->dk = msa_arena_floats(arena, rows);
    s->dv = msa_arena_floats(arena, rows);
    s->dmixed = msa_arena_floats(arena, rows);
}

static msa_attention heads_of(const msa_projected *k, int64_t width, int32_t heads)
{
    const int32_t d = (int32_t)width / heads;
    return (msa_attention){.q = k->q,
                           .k = k->k,
                           .v = k->v,
                           .out = k->mixed,
                           .ldq = width,
                           .ldk = width,
                           .ldv = width,
                           .ldo = width,
                           .nq = k->nq,
                           .nk = k->nk,
                           .heads = heads,
                           .d = d,
                           .scale = 1.0f / sqrtf((float)d)};
}

void msa_projected_forward(const msa_config *c, const msa_decoder_attention *a, msa_projected *k,
                           const msa_attention_scratch_set *s, const float *q_in, int64_t nq,
                           const float *k_in, const float *v_in, int64_t nk, float *y)
{
    const int64_t P = c->prompt_dim, width = a->q.N;
    k->q_in = q_in;
    k->k_in = k_in;
    k->v_in = v_in;
    k->nq = nq;
    k->nk = nk;
    msa_linear_forward(&a->q, nq, q_in, P, k->q, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->k, nk, k_in, P, k->k, width, MSA_EPILOGUE_NONE);
    msa_linear_forward(&a->v, nk, v_in, P, k->v, width, MSA_EPILOGUE_NONE);
    const msa_attention heads = heads_of(k, width, c->decoder_heads);
    msa_attention_forward(&heads, s->heads, s->workers);
    msa_linear_forward(&a->out, nq, k->mixed, width, y, P, MSA_EPILOGUE_NONE);
}

/* ---- backward ---- */

bool msa_projected_trains(const msa_params *p, const msa_decoder_attention *a)
{
    return msa_dense_trains(p, &a->q) || msa_dense_trains(p, &a->k) || msa_dense_trains(p, &a->v) ||
           msa_dense_trains(p, &a->out);
}

static void projection_backward(const msa_params *p, const msa_linear *l, int64_t M, const float *x,
                                const float *dy, float *dx)
{
    msa_dense_backward_params(p, l, M, x, dy);
    if (dx != NULL) msa_linear_backward_input(l, M, dy, l->N, dx, l->K, true);
}

void msa_projected_backward(const msa_params *p, const msa_decoder_attention *a, const msa_projected *k,
                            const msa_attention_scratch_set *s, const float *dy, float *dq_in, float *dk_in,
                            float *dv_in)
{
    const int64_t width = a->q.N;
    msa_dense_backward_params(p, &a->out, k->nq, k->mixed, dy);
    if (dq_in == NULL && dk_in == NULL && dv_in == NULL && !msa_dense_trains(p, &a->q) &&
        !msa_dense_trains(p, &a->k) && !msa_dense_trains(p, &a->v))
        return;
    msa_linear_backward_input(&a->out, k->nq, dy, a->out.N, s->dmixed, width, false);
    const msa_attention heads = heads_of(k, width, p->config.decoder_heads);
    const msa_attention_grads grads = {.dout = s->dmixed,
                                       .dq = s->dq,
                                       .dk = s->dk,
                                       .dv = s->dv,
                                       .lddo = width,
                                       .lddq = width,
                                       .lddk = width,
                                       .lddv = width};
    msa_attention_backward(&heads, &grads, s->heads, s->workers);
    projection_backward(p, &a->q, k->nq, k->q_in, s->dq, dq_in);
    projection_backward(p, &a->k, k->nk, k->k_in, s->dk, dk_in);
    projection_backward(p, &a->v, k->nk, k->v_in, s->dv, dv_in);
}
