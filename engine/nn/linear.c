#include "engine/nn/linear.h"

#include <stddef.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"
#include "engine/nn/on_the_fly.h"
#include "engine/nn/packed.h"
#include "engine/nn/reduced.h"

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
    if (l->reduced != NULL) {
        msa_reduced_forward(l, M, x, ldx, y, ldy, epilogue);
        return;
    }
    if (l->packed != NULL) {
        msa_packed_forward(l, M, x, ldx, y, ldy, epilogue, false);
        return;
    }
    if (M == 0) return;
    if (M >= MSA_ON_THE_FLY_ROWS) {
        msa_product_on_the_fly(M, l->N, l->K, x, ldx, (msa_changing_weight){l->weight, l->K, false}, l->bias,
                               epilogue, false, y, ldy);
        return;
    }
    linear_job j = {.l = l, .x = x, .y = y, .M = M, .ldx = ldx, .ldy = ldy, .epilogue = epilogue};
    const int64_t pieces = (M + TILE_ROWS - 1) / TILE_ROWS; /* of nearly equal height: no sliver at the end */
    j.tile_rows = ((M + pieces - 1) / pieces + 7) / 8 * 8;
    j.row_tiles = (M + j.tile_rows - 1) / j.tile_rows;
    const int64_t col_tiles = (l->N + TILE_COLS - 1) / TILE_COLS;
    msa_pool_run(linear_tile, &j, (int32_t)(j.row_tiles * col_tiles), MSA_THREADS_MAX);
}

void msa_linear_add(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, float *room)
{
    if (l->reduced == NULL && l->packed != NULL) {
        msa_packed_forward(l, M, x, ldx, y, l->N, MSA_EPILOGUE_NONE, true);
        return;
    }
    msa_linear_forward(l, M, x, ldx, room, l->N, MSA_EPILOGUE_NONE);
    msa_accumulate(M * l->N, 1.0f, room, y);
}

/* ---- backward ---- */

typedef struct input_job {
    const msa_linear *l;
    const float *dy;
    float *dx;
    int64_t M, lddy, lddx;
    int64_t tile_rows, row_tiles;
    bool add;
} input_job;

static void input_tile(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const input_job *j = ctx;
    const msa_linear *l = j->l;
    const int64_t m0 = (item % j->row_tiles) * j->tile_rows, k0 = (item / j->row_tiles) * TILE_COLS;
    const int64_t m = j->M - m0 < j->tile_rows ? j->M - m0 : j->tile_rows;
    const int64_t k = l->K - k0 < TILE_COLS ? l->K - k0 : TILE_COLS;
    const float *dy = j->dy + m0 * j->lddy;
    float *dx = j->dx + m0 * j->lddx + k0;
    if (j->add)
        msa_gemm_nn_add(m, k, l->N, dy, j->lddy, l->weight + k0, l->K, dx, j->lddx);
    else
        msa_gemm_nn(m, k, l->N, dy, j->lddy, l->weight + k0, l->K, dx, j->lddx);
}

void msa_linear_backward_input(const msa_linear *l, int64_t M, const float *dy, int64_t lddy, float *dx,
                               int64_t lddx, bool add)
{
    if (M == 0) return;
    if (M >= MSA_ON_THE_FLY_ROWS) {
        msa_product_on_the_fly(M, l->K, l->N, dy, lddy, (msa_changing_weight){l->weight, l->K, true}, NULL,
                               MSA_EPILOGUE_NONE, add, dx, lddx);
        return;
    }
    input_job j = {.l = l, .dy = dy, .dx = dx, .M = M, .lddy = lddy, .lddx = lddx, .add = add};
    const int64_t pieces = (M + TILE_ROWS - 1) / TILE_ROWS;
    j.tile_rows = ((M + pieces - 1) / pieces + 7) / 8 * 8;
    j.row_tiles = (M + j.tile_rows - 1) / j.tile_rows;
    const int64_t col_tiles = (l->K + TILE_COLS - 1) / TILE_COLS;
    msa_pool_run(input_tile, &j, (int32_t)(j.row_tiles * col_tiles), MSA_THREADS_MAX);
}

/* Of the weight's gradient: rows of N, columns of K; a bias strip is one item as well. */
#define GRAD_ROWS  128
#define BIAS_STRIP 64

typedef struct params_job {
    const msa_linear *l;
    const float *x, *dy;
    float *dweight, *dbias;
    int64_t M, ldx, lddy;
    int64_t row_tiles, weight_tiles;
} params_job;

/* Sums of at most BIAS_STRIP columns; double, since a column may hold thousands of rows. */
static void bias_strip(const params_job *j, int64_t n0)
{
    const int64_t n = j->l->N - n0 < BIAS_STRIP ? j->l->N - n0 : BIAS_STRIP;
    double sum[BIAS_STRIP] = {0};
    msa_column_sums(j->M, n, j->dy + n0, j->lddy, sum);
    for (int64_t i = 0; i < n; i++)
        j->dbias[n0 + i] += (float)sum[i];
}

static void params_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const params_job *j = ctx;
    const msa_linear *l = j->l;
    if (item >= j->weight_tiles) {
        bias_strip(j, (item - j->weight_tiles) * BIAS_STRIP);
        return;
    }
    const int64_t n0 = item % j->row_tiles * GRAD_ROWS, k0 = item / j->row_tiles * TILE_COLS;
    const int64_t n = l->N - n0 < GRAD_ROWS ? l->N - n0 : GRAD_ROWS;
    const int64_t k = l->K - k0 < TILE_COLS ? l->K - k0 : TILE_COLS;
    msa_gemm_tn_add(n, k, j->M, 1.0f, j->dy + n0, j->lddy, j->x + k0, j->ldx, j->dweight + n0 * l->K + k0,
                    l->K);
}

void msa_linear_backward_params(const msa_linear *l, int64_t M, const float *x, int64_t ldx, const float *dy,
                                int64_t lddy, float *dweight, float *dbias)
{
    if (M == 0) return;
    params_job j = {
        .l = l, .x = x, .dy = dy, .dweight = dweight, .dbias = dbias, .M = M, .ldx = ldx, .lddy = lddy};
    j.row_tiles = (l->N + GRAD_ROWS - 1) / GRAD_ROWS;
    if (dweight != NULL) j.weight_tiles = j.row_tiles * ((l->K + TILE_COLS - 1) / TILE_COLS);
    const int64_t strips = dbias != NULL ? (l->N + BIAS_STRIP - 1) / BIAS_STRIP : 0;
    msa_pool_run(params_item, &j, (int32_t)(j.weight_tiles + strips), MSA_THREADS_MAX);
}

/* ---- activations over the threads ---- */

#define ACTIVATION_STRIP 16384

typedef struct activation_job {
    msa_epilogue e;
    int64_t n;
    const float *x, *dy; /* dy NULL: forward */
    float *out;
} activation_job;

static void activation_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const activation_job *j = ctx;
    const int64_t first = (int64_t)item * ACTIVATION_STRIP;
    const int64_t n = j->n - first < ACTIVATION_STRIP ? j->n - first : ACTIVATION_STRIP;
    const float *x = j->x + first, *dy = j->dy == NULL ? NULL : j->dy + first;
    float *out = j->out + first;
    if (j->e == MSA_EPILOGUE_GELU && dy == NULL)
        msa_gelu(n, x, out);
    else if (j->e == MSA_EPILOGUE_GELU)
        msa_gelu_backward(n, x, dy, out);
    else if (j->e == MSA_EPILOGUE_RELU && dy == NULL)
        msa_relu(n, x, out);
    else if (j->e == MSA_EPILOGUE_RELU)
        msa_relu_backward(n, x, dy, out);
    else
        memmove(out, dy == NULL ? x : dy, (size_t)n * sizeof *out);
}

void msa_epilogue_forward(msa_epilogue e, int64_t n, const float *x, float *y)
{
    activation_job j = {e, n, x, NULL, y};
    msa_pool_run(activation_item, &j, (int32_t)((n + ACTIVATION_STRIP - 1) / ACTIVATION_STRIP),
                 MSA_THREADS_MAX);
}

void msa_epilogue_backward(msa_epilogue e, int64_t n, const float *x, const float *dy, float *dx)
{
    activation_job j = {e, n, x, dy, dx};
    msa_pool_run(activation_item, &j, (int32_t)((n + ACTIVATION_STRIP - 1) / ACTIVATION_STRIP),
                 MSA_THREADS_MAX);
}

typedef struct accumulate_job {
    int64_t n;
    float s;
    const float *x;
    float *y;
} accumulate_job;

static void accumulate_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const accumulate_job *j = ctx;
    const int64_t first = (int64_t)item * ACTIVATION_STRIP;
    const int64_t n = j->n - first < ACTIVATION_STRIP ? j->n - first : ACTIVATION_STRIP;
    if (j->s == 1.0f)
        msa_add(n, j->y + first, j->x + first, j->y + first);
    else
        msa_axpy(n, j->s, j->x + first, j->y + first);
}

void msa_accumulate(int64_t n, float s, const float *x, float *y)
{
    accumulate_job j = {n, s, x, y};
    msa_pool_run(accumulate_item, &j, (int32_t)((n + ACTIVATION_STRIP - 1) / ACTIVATION_STRIP),
                 MSA_THREADS_MAX);
}
