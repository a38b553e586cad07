#include "engine/nn/linear_half.h"

#include <math.h>
#include <stdalign.h>
#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/base/pool.h"
#include "engine/io/half.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"

/* ---- weights ---- */

typedef struct make_job {
    const msa_linear *l;
    msa_linear_half *h;
    bool *kept; /* (N) no value of the row went beyond the type */
} make_job;

static void make_row(void *ctx, int32_t n, int32_t worker)
{
    (void)worker;
    const make_job *j = ctx;
    const int64_t K = j->l->K;
    if (j->h->bfloat)
        msa_bfloat_round(j->l->weight + n * K, K, j->h->weight + n * K);
    else
        j->kept[n] = msa_half_round(j->l->weight + n * K, K, j->h->weight + n * K);
}

msa_status msa_linear_half_make(msa_linear_half *h, const msa_linear *l, bool bfloat, msa_error *err)
{
    MSA_AUTO_FREE bool *kept = calloc((size_t)l->N, sizeof *kept);
    *h = (msa_linear_half){.weight = malloc((size_t)l->N * (size_t)l->K * sizeof *h->weight),
                           .bfloat = bfloat};
    if (h->weight == NULL || kept == NULL) {
        msa_linear_half_release(h);
        return msa_fail(err, MSA_E_NOMEM, "no memory for a layer's weights");
    }
    make_job job = {l, h, kept};
    msa_pool_run(make_row, &job, l->N, MSA_THREADS_MAX);
    for (int32_t n = 0; n < l->N && !bfloat; n++) {
        if (kept[n]) continue;
        msa_linear_half_release(h);
        return msa_fail(err, MSA_E_UNSUPPORTED, "a weight is beyond 65504, which fp16 cannot hold; use bf16");
    }
    return MSA_OK;
}

void msa_linear_half_release(msa_linear_half *h)
{
    free(h->weight);
    h->weight = NULL;
}

/* ---- forward ---- */

#define TILE_ROWS 1024
#define TILE_COLS 128
#define TILE_K    512 /* TILE_COLS * TILE_K floats lie on the stack of an item */

typedef struct forward_job {
    const msa_linear *l;
    const msa_linear_half *h;
    const float *x;
    float *y;
    int64_t M, ldx, ldy;
    int64_t row_tiles;
    msa_epilogue epilogue;
} forward_job;

static void widen(const msa_linear_half *h, int64_t K, int64_t n0, int64_t n, int64_t k0, int64_t k,
                  float *to)
{
    for (int64_t i = 0; i < n; i++) {
        const uint16_t *from = h->weight + (n0 + i) * K + k0;
        if (h->bfloat)
            msa_bfloat_widen(from, k, to + i * k);
        else
            msa_half_widen(from, k, to + i * k);
    }
}

static void forward_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const forward_job *j = ctx;
    const int64_t N = j->l->N, K = j->l->K;
    const int64_t m0 = item % j->row_tiles * TILE_ROWS, n0 = item / j->row_tiles * TILE_COLS;
    const int64_t m = j->M - m0 < TILE_ROWS ? j->M - m0 : TILE_ROWS;
    const int64_t n = N - n0 < TILE_COLS ? N - n0 : TILE_COLS;
    alignas(64) float w[TILE_COLS * TILE_K];
    float *y = j->y + m0 * j->ldy + n0;
    for (int64_t k0 = 0; k0 < K; k0 += TILE_K) {
        const int64_t k = K - k0 < TILE_K ? K - k0 : TILE_K;
        const float *x = j->x + m0 * j->ldx + k0;
        widen(j->h, K, n0, n, k0, k, w);
        if (k0 == 0)
            msa_gemm_nt(m, n, k, 1.0f, x, j->ldx, w, k, y, j->ldy);
        else
            msa_gemm_nt_add(m, n, k, x, j->ldx, w, k, y, j->ldy);
    }
    for (int64_t i = 0; i < m; i++, y += j->ldy) {
        if (j->l->bias != NULL) msa_add(n, y, j->l->bias + n0, y);
        if (j->epilogue == MSA_EPILOGUE_GELU) msa_gelu(n, y, y);
        if (j->epilogue == MSA_EPILOGUE_RELU) msa_relu(n, y, y);
    }
}

void msa_linear_half_forward(const msa_linear *l, const msa_linear_half *h, int64_t M, const float *x,
                             int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue)
{
    forward_job j = {.l = l, .h = h, .x = x, .y = y, .M = M, .ldx = ldx, .ldy = ldy, .epilogue = epilogue};
    const int64_t col_tiles = (l->N + TILE_COLS - 1) / TILE_COLS;
    j.row_tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
    msa_pool_run(forward_item, &j, (int32_t)(j.row_tiles * col_tiles), MSA_THREADS_MAX);
}
