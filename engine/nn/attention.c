#include "engine/nn/attention.h"

#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"

#define QUERY_TILE 64

/* ---- plain ---- */

typedef struct attention_job {
    const msa_attention *a;
    float *scratch;
    int64_t tiles;
} attention_job;

size_t msa_attention_scratch(int64_t nk)
{
    return (size_t)QUERY_TILE * (size_t)nk;
}

static void attention_item(void *ctx, int32_t item, int32_t worker)
{
    const attention_job *j = ctx;
    const msa_attention *a = j->a;
    const int64_t column = item / j->tiles * a->d, first = item % j->tiles * QUERY_TILE;
    const int64_t n = a->nq - first < QUERY_TILE ? a->nq - first : QUERY_TILE;
    float *s = j->scratch + (size_t)worker * msa_attention_scratch(a->nk);
    msa_gemm_nt(n, a->nk, a->d, a->scale, a->q + first * a->ldq + column, a->ldq, a->k + column, a->ldk, s,
                a->nk);
    for (int64_t i = 0; i < n; i++)
        msa_softmax(a->nk, s + i * a->nk);
    msa_gemm_nn(n, a->d, a->nk, s, a->nk, a->v + column, a->ldv, a->out + first * a->ldo + column, a->ldo);
}

void msa_attention_forward(const msa_attention *a, float *scratch, int32_t workers)
{
    attention_job j = {a, scratch, (a->nq + QUERY_TILE - 1) / QUERY_TILE};
    msa_pool_run(attention_item, &j, (int32_t)(j.tiles * a->heads), workers);
}

/* ---- plain, backward ---- */

typedef struct attention_back_job {
    const msa_attention *a;
    const msa_attention_grads *g;
    float *scratch;
} attention_back_job;

size_t msa_attention_backward_scratch(int64_t nk)
{
    return 2 * (size_t)QUERY_TILE * (size_t)nk;
}

static void zero_columns(int64_t rows, int64_t n, float *x, int64_t ld)
{
    for (int64_t i = 0; i < rows; i++)
        memset(x + i * ld, 0, (size_t)n * sizeof *x);
}

/* One head; the probabilities are computed again, tile by tile. */
static void attention_back_item(void *ctx, int32_t item, int32_t worker)
{
    const attention_back_job *j = ctx;
    const msa_attention *a = j->a;
    const msa_attention_grads *g = j->g;
    const int64_t column = (int64_t)item * a->d, nk = a->nk, d = a->d;
    float *p = j->scratch + (size_t)worker * msa_attention_backward_scratch(nk), *dp = p + QUERY_TILE * nk;
    const float *k = a->k + column, *v = a->v + column;
    float *dk = g->dk + column, *dv = g->dv + column;
    zero_columns(nk, d, dk, g->lddk);
    zero_columns(nk, d, dv, g->lddv);
    for (int64_t first = 0; first < a->nq; first += QUERY_TILE) {
        const int64_t n = a->nq - first < QUERY_TILE ? a->nq - first : QUERY_TILE;
        const float *q = a->q + first * a->ldq + column, *dout = g->dout + first * g->lddo + column;
        float *dq = g->dq + first * g->lddq + column;
        msa_gemm_nt(n, nk, d, a->scale, q, a->ldq, k, a->ldk, p, nk);
        for (int64_t i = 0; i < n; i++)
            msa_softmax(nk, p + i * nk);
        msa_gemm_tn_add(nk, d, n, 1.0f, p, nk, dout, g->lddo, dv, g->lddv);
        msa_gemm_nt(n, nk, d, 1.0f, dout, g->lddo, v, a->ldv, dp, nk);
        for (int64_t i = 0; i < n; i++)
            msa_softmax_backward(nk, p + i * nk, dp + i * nk);
        msa_scale(n * nk, a->scale, dp, dp);
        msa_gemm_nn(n, d, nk, dp, nk, k, a->ldk, dq, g->lddq);
        msa_gemm_tn_add(nk, d, n, 1.0f, dp, nk, q, a->ldq, dk, g->lddk);
    }
}

void msa_attention_backward(const msa_attention *a, const msa_attention_grads *g, float *scratch,
                            int32_t workers)
{
    attention_back_job j = {a, g, scratch};
    msa_pool_run(attention_back_item, &j, a->heads, workers);
}
