#include "engine/nn/linear.h"

#include <stddef.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"

/* Large enough that packing the operands is small beside multiplying them, small enough to share out. */
#define TILE_ROWS 384
#define TILE_COLS 256

typedef struct linear_job {
    const msa_linear *l;
    const float *x;
    float *y;
    int64_t M, ldx, ldy;
    int64_t tile_rows, row_tiles;
    msa_epilogue epilogue;
} linear_job;

msa_epilogue msa_epilogue_of(msa_activation act)
{
    return act == MSA_ACT_RELU ? MSA_EPILOGUE_RELU : MSA_EPILOGUE_GELU;
}

static void linear_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const linear_job *j = ctx;
    const msa_linear *l = j->l;
    const int64_t m0 = (item % j->row_tiles) * j->tile_rows, n0 = (item / j->row_tiles) * TILE_COLS;
    const int64_t m = j->M - m0 < j->tile_rows ? j->M - m0 : j->tile_rows;
    const int64_t n = l->N - n0 < TILE_COLS ? l->N - n0 : TILE_COLS;
    float *y = j->y + m0 * j->ldy + n0;
    msa_gemm_nt(m, n, l->K, 1.0f, j->x + m0 * j->ldx, j->ldx, l->weight + n0 * l->K, l->K, y, j->ldy);
    for (int64_t i = 0; i < m; i++, y += j->ldy) { /* the tile is still in the cache */
        if (l->bias != NULL) msa_add(n, y, l->bias + n0, y);
        if (j->epilogue == MSA_EPILOGUE_GELU) msa_gelu(n, y, y);
        if (j->epilogue == MSA_EPILOGUE_RELU) msa_relu(n, y, y);
    }
}

void msa_linear_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                        msa_epilogue epilogue)
{
    linear_job j = {.l = l, .x = x, .y = y, .M = M, .ldx = ldx, .ldy = ldy, .epilogue = epilogue};
    const int64_t pieces = (M + TILE_ROWS - 1) / TILE_ROWS; /* of nearly equal height: no sliver at the end */
    j.tile_rows = ((M + pieces - 1) / pieces + 7) / 8 * 8;
    j.row_tiles = (M + j.tile_rows - 1) / j.tile_rows;
    const int64_t col_tiles = (l->N + TILE_COLS - 1) / TILE_COLS;
    msa_pool_run(linear_tile, &j, (int32_t)(j.row_tiles * col_tiles), MSA_THREADS_MAX);
}

void msa_linear_add(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float scale, float *scratch,
                    float *y, int64_t ldy)
{
    msa_linear_forward(l, M, x, ldx, scratch, l->N, MSA_EPILOGUE_NONE);
    for (int64_t i = 0; i < M; i++)
        msa_axpy(l->N, scale, scratch + i * l->N, y + i * ldy);
}
