#include <stdlib.h>

#include "engine/base/arena.h"
#include "engine/base/pool.h"
#include "engine/benchmark.h"
#include "engine/kern/gemm.h"

struct msa_benchmark_gemm {
    int64_t M, N, K, rows; /* of one item */
    float *a, *b, *c;
    msa_arena arena;
};

void msa_benchmark_gemm_free(msa_benchmark_gemm *g)
{
    if (g == NULL) return;
    msa_arena_release(&g->arena);
    free(g);
}

static void layout(msa_benchmark_gemm *g)
{
    g->a = msa_arena_floats(&g->arena, (size_t)(g->M * g->K));
    g->b = msa_arena_floats(&g->arena, (size_t)(g->N * g->K));
    g->c = msa_arena_floats(&g->arena, (size_t)(g->M * g->N));
}

static void fill(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(i % 13) * 0.125f - 0.75f;
}

msa_status msa_benchmark_gemm_new(msa_benchmark_gemm **out, int64_t M, int64_t N, int64_t K, msa_error *err)
{
    const int64_t threads = msa_threads_get();
    *out = NULL;
    MSA_AUTO(msa_benchmark_gemm) g = calloc(1, sizeof *g);
    if (g == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a benchmark");
    g->M = M;
    g->N = N;
    g->K = K;
    g->rows = (M + threads - 1) / threads;
    layout(g);
    MSA_TRY(msa_arena_commit(&g->arena, err));
    layout(g);
    fill(g->a, M * K);
    fill(g->b, N * K);
    *out = MSA_STEAL(g);
    return MSA_OK;
}

static void gemm_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const msa_benchmark_gemm *g = ctx;
    const int64_t first = item * g->rows, m = g->M - first < g->rows ? g->M - first : g->rows;
    msa_gemm_nt(m, g->N, g->K, 1.0f, g->a + first * g->K, g->K, g->b, g->K, g->c + first * g->N, g->N);
}

void msa_benchmark_gemm_run(msa_benchmark_gemm *g)
{
    msa_pool_run(gemm_item, g, (int32_t)((g->M + g->rows - 1) / g->rows), MSA_THREADS_MAX);
}
