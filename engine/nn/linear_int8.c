#include "engine/nn/linear_int8.h"

#include <stdalign.h>
#include <stdlib.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm_int8_table.h"
#include "engine/kern/vec.h"

/* ---- weights ---- */

typedef struct make_job {
    const msa_linear *l;
    msa_linear_int8 *q;
    int8_t *codes; /* (N, K) */
} make_job;

static void make_panel(void *ctx, int32_t panel, int32_t worker)
{
    (void)worker;
    const make_job *j = ctx;
    const int64_t K = j->l->K;
    const int32_t first = panel * MSA_INT8_PANEL, end = first + MSA_INT8_PANEL;
    for (int32_t n = first; n < end && n < j->l->N; n++) /* plain codes are the scalar table's */
        msa_int8_quantise(&msa_int8_scalar, j->l->K, j->l->weight + n * K, j->codes + n * K,
                          &j->q->scales[n]);
    msa_int8_pack(j->q->table, j->l->N, j->l->K, j->codes, panel,
                  j->q->panels + panel * msa_int8_panel_bytes(j->q->table, j->l->K));
}

msa_status msa_linear_int8_make(msa_linear_int8 *q, const msa_linear *l, msa_error *err)
{
    const msa_int8_table *t = msa_int8_table_chosen();
    const int64_t panels = msa_int8_panels(l->N);
    *q = (msa_linear_int8){.table = t};
    if (l->K > MSA_INT8_K_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "a layer of %d inputs is too wide for int8", l->K);
    const size_t bytes = (size_t)(panels * msa_int8_panel_bytes(t, l->K));
    MSA_AUTO_FREE int8_t *codes = malloc((size_t)l->N * (size_t)l->K);
    q->panels = aligned_alloc(64, bytes);
    q->scales = malloc((size_t)l->N * sizeof *q->scales);
    q->bytes = bytes + (size_t)l->N * sizeof *q->scales;
    if (codes == NULL || q->panels == NULL || q->scales == NULL) {
        msa_linear_int8_release(q);
        return msa_fail(err, MSA_E_NOMEM, "no memory for a layer's weights");
    }
    make_job job = {l, q, codes};
    msa_pool_run(make_panel, &job, (int32_t)panels, MSA_THREADS_MAX);
    return MSA_OK;
}

void msa_linear_int8_release(msa_linear_int8 *q)
{
    free(q->panels);
    free(q->scales);
    *q = (msa_linear_int8){0};
}

/* ---- forward ---- */

#define ROWS_BYTES (256 << 10) /* of quantised rows that one item holds, on its stack */
#define ROWS_MAX   96
#define CHUNK      MSA_INT8_TILE_PANELS
#define CHUNK_COLS (CHUNK * MSA_INT8_PANEL)

typedef struct forward_job {
    const msa_linear *l;
    const msa_linear_int8 *q;
    const float *x;
    float *y;
    int64_t M, ldx, ldy;
    int32_t pieces; /* of M, nearly equal */
    msa_epilogue epilogue;
} forward_job;

/* Columns first .. first + n - 1 of rows whose sums are c. */
static void finish(const forward_job *j, int32_t rows, int32_t first, int32_t n, const int32_t *c,
                   const float *scale, float *y)
{
    const float *bias = j->l->bias == NULL ? NULL : j->l->bias + first;
    for (int32_t r = 0; r < rows; r++, y += j->ldy) {
        msa_int8_restore(j->q->table, n, c + r * CHUNK_COLS, scale[r], j->q->scales + first, bias, y);
        if (j->epilogue == MSA_EPILOGUE_GELU) msa_gelu(n, y, y);
        if (j->epilogue == MSA_EPILOGUE_RELU) msa_relu(n, y, y);
    }
}

static void forward_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const forward_job *j = ctx;
    const msa_int8_table *t = j->q->table;
    const int32_t N = j->l->N, K = j->l->K;
    const int64_t row_bytes = msa_int8_row_bytes(t, K), panel_bytes = msa_int8_panel_bytes(t, K);
    const int64_t from = j->M * item / j->pieces, rows = j->M * (item + 1) / j->pieces - from;
    alignas(64) unsigned char a[ROWS_BYTES];
    alignas(64) int32_t c[ROWS_MAX * CHUNK_COLS];
    float scale[ROWS_MAX];
    for (int64_t r = 0; r < rows; r++)
        msa_int8_quantise(t, K, j->x + (from + r) * j->ldx, a + r * row_bytes, &scale[r]);
    for (int32_t n = 0; n < N; n += CHUNK_COLS) {
        const int32_t cols = N - n < CHUNK_COLS ? N - n : CHUNK_COLS;
        msa_int8_multiply(t, (int32_t)rows, (int32_t)msa_int8_panels(cols), K, a,
                          j->q->panels + n / MSA_INT8_PANEL * panel_bytes, c, CHUNK_COLS);
        finish(j, (int32_t)rows, n, cols, c, scale, j->y + from * j->ldy + n);
    }
}

void msa_linear_int8_forward(const msa_linear *l, const msa_linear_int8 *q, int64_t M, const float *x,
                             int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue)
{
    forward_job j = {.l = l, .q = q, .x = x, .y = y, .M = M, .ldx = ldx, .ldy = ldy, .epilogue = epilogue};
    const int64_t fit = ROWS_BYTES / msa_int8_row_bytes(q->table, l->K), threads = msa_threads_get();
    const int64_t most = fit < ROWS_MAX ? fit : ROWS_MAX;
    const int64_t turns = (M + most * threads - 1) / (most * threads); /* every thread has so many */
    j.pieces = (int32_t)(turns * threads < M ? turns * threads : M);
    msa_pool_run(forward_item, &j, j.pieces, MSA_THREADS_MAX);
}
