#include "engine/adapt/lora.h"

#include <stddef.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/nn/linear.h"

#define TILE_ROWS 128 /* fixed: which rows go together must not depend on the threads */

typedef struct lora_job {
    const msa_lora *l;
    const float *in; /* rows ldin apart */
    float *z, *out;  /* rows of z are rank apart, of out ldout */
    int64_t M, ldin, ldout;
} lora_job;

static int32_t tiles(int64_t rows)
{
    return (int32_t)((rows + TILE_ROWS - 1) / TILE_ROWS);
}

static int64_t tile_rows(int64_t rows, int64_t first)
{
    return rows - first < TILE_ROWS ? rows - first : TILE_ROWS;
}

static void forward_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const lora_job *j = ctx;
    const msa_lora *l = j->l;
    const int64_t m0 = (int64_t)item * TILE_ROWS, m = tile_rows(j->M, m0), r = l->rank;
    float *z = j->z + m0 * r;
    msa_gemm_nt(m, r, l->K, l->scale, j->in + m0 * j->ldin, j->ldin, l->a, l->K, z, r);
    msa_gemm_nt_add(m, l->N, r, z, r, l->b, r, j->out + m0 * j->ldout + l->first, j->ldout);
}

void msa_lora_forward(const msa_lora *l, int64_t M, const float *x, int64_t ldx, float *z, float *y,
                      int64_t ldy)
{
    lora_job j = {.l = l, .in = x, .z = z, .out = y, .M = M, .ldin = ldx, .ldout = ldy};
    msa_pool_run(forward_tile, &j, tiles(M), MSA_THREADS_MAX);
}

/* ---- backward ---- */

static void inner_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const lora_job *j = ctx;
    const msa_lora *l = j->l;
    const int64_t m0 = (int64_t)item * TILE_ROWS, m = tile_rows(j->M, m0), r = l->rank;
    float *dz = j->z + m0 * r;
    msa_gemm_nn(m, r, l->N, j->in + m0 * j->ldin + l->first, j->ldin, l->b, r, dz, r);
    for (int64_t i = 0; i < m * r; i++)
        dz[i] *= l->scale;
}

void msa_lora_backward_params(const msa_lora *l, int64_t M, const float *x, int64_t ldx, const float *z,
                              const float *dy, int64_t lddy, float *da, float *db, float *dz)
{
    const msa_linear up = {.N = l->N, .K = l->rank}, down = {.N = l->rank, .K = l->K};
    lora_job j = {.l = l, .in = dy, .z = dz, .M = M, .ldin = lddy};
    msa_pool_run(inner_tile, &j, tiles(M), MSA_THREADS_MAX);
    if (db != NULL) msa_linear_backward_params(&up, M, z, l->rank, dy + l->first, lddy, db, NULL);
    if (da != NULL) msa_linear_backward_params(&down, M, x, ldx, dz, l->rank, da, NULL);
}

static void input_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const lora_job *j = ctx;
    const msa_lora *l = j->l;
    const int64_t m0 = (int64_t)item * TILE_ROWS, m = tile_rows(j->M, m0);
    msa_gemm_nn_add(m, l->K, l->rank, j->in + m0 * j->ldin, j->ldin, l->a, l->K, j->out + m0 * j->ldout,
                    j->ldout);
}

void msa_lora_backward_input(const msa_lora *l, int64_t M, const float *dz, float *dx, int64_t lddx)
{
    lora_job j = {.l = l, .in = dz, .out = dx, .M = M, .ldin = l->rank, .ldout = lddx};
    msa_pool_run(input_tile, &j, tiles(M), MSA_THREADS_MAX);
}

/* ---- merging ---- */

typedef struct merge_job {
    const msa_lora *l;
    float *weight;
} merge_job;

static void merge_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const merge_job *j = ctx;
    const msa_lora *l = j->l;
    const int64_t n0 = (int64_t)item * TILE_ROWS, n = tile_rows(l->N, n0), r = l->rank;
    /* An update of nothing must leave the weight's bits: the product is made by itself, then added once. */
    float row[256];
    for (int64_t i = n0; i < n0 + n; i++) {
        float *w = j->weight + (l->first + i) * l->K;
        for (int64_t k0 = 0; k0 < l->K; k0 += 256) {
            const int64_t k = l->K - k0 < 256 ? l->K - k0 : 256;
            memset(row, 0, sizeof row);
            for (int64_t c = 0; c < r; c++) {
                const float weight = l->e == NULL ? l->scale : l->scale * l->e[c];
                const float scaled = weight * l->b[i * r + c], *a = l->a + c * l->K + k0;
                for (int64_t q = 0; q < k; q++)
                    row[q] += scaled * a[q];
            }
            for (int64_t q = 0; q < k; q++)
                w[k0 + q] += row[q];
        }
    }
}

void msa_lora_merge(const msa_lora *l, float *weight)
{
    merge_job j = {l, weight};
    msa_pool_run(merge_tile, &j, tiles(l->N), MSA_THREADS_MAX);
}
