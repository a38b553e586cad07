#include "engine/nn/on_the_fly.h"

#include <stddef.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/tile_table.h"
#include "engine/kern/vec.h"

/* Both factors' parts stay in the second level of cache. */
#define DEPTH 512 /* of a part */
#define ROWS  168 /* of x: whole tiles at every level */
#define COLS  384 /* of an item at most, a multiple of every tile's */
/* Floats between panels of the weight: not a power of two, whose lines would share few places in the cache.
 */
#define PANEL(cols) (DEPTH * (cols) + 16)

typedef struct product_job {
    const msa_tile_table *t;
    int64_t M, N, K, ldx, ldy, cols; /* cols: of an item */
    const float *x, *bias;
    msa_changing_weight w;
    msa_epilogue epilogue;
    bool add;
    float *y;
} product_job;

/* Depths k .. k + depth - 1 of columns n0 .. n0 + n - 1, the last panel filled up with zeros. */
static void pack_weight(const product_job *j, int64_t n0, int64_t n, int64_t k, int64_t depth, float *b)
{
    const int64_t cols = j->t->cols, panel = PANEL(cols);
    if (!j->w.turned) {
        for (int64_t i = 0; i < n; i += cols)
            j->t->pack(n - i < cols ? n - i : cols, depth, j->w.w + (n0 + i) * j->w.ld + k, j->w.ld,
                       (int32_t)cols, 1.0f, b + i / cols * panel);
        return;
    }
    for (int64_t d = 0; d < depth; d++) {
        const float *from = j->w.w + (k + d) * j->w.ld + n0;
        for (int64_t i = 0; i < n; i += cols) {
            float *to = b + i / cols * panel + d * cols;
            const int64_t width = n - i < cols ? n - i : cols;
            memcpy(to, from + i, (size_t)width * sizeof *to);
            if (width < cols) memset(to + width, 0, (size_t)(cols - width) * sizeof *to);
        }
    }
}

/* The last columns, fewer than a tile's: by way of s (m, cols), since a tile writes all of them. */
static void narrow_strip(const product_job *j, int64_t m, int64_t width, int64_t depth, msa_tile_operand a,
                         const float *b, bool add, float *y)
{
    const int64_t cols = j->t->cols;
    _Alignas(64) float s[ROWS * MSA_TILE_COLS_MAX];
    memset(s, 0, (size_t)(m * cols) * sizeof *s);
    for (int64_t i = 0; i < m && add; i++)
        memcpy(s + i * cols, y + i * j->ldy, (size_t)width * sizeof *s);
    j->t->product(m, cols, depth, a, (msa_tile_operand){b, cols, 0}, s, cols, s, cols, NULL);
    j->t->leave(m, width, s, y, j->ldy, false);
}

/* The bias comes last: a large one at the start would cost every sum its last bits, and differences of losses
 * would show it. */
static void finish(const product_job *j, int64_t m, int64_t n0, int64_t n, float *y)
{
    for (int64_t i = 0; i < m; i++, y += j->ldy) {
        if (j->bias != NULL) msa_add(n, y, j->bias + n0, y);
        if (j->epilogue == MSA_EPILOGUE_GELU) msa_gelu(n, y, y);
        if (j->epilogue == MSA_EPILOGUE_RELU) msa_relu(n, y, y);
    }
}

/* One part of the sums of rows m0 .. m0 + m - 1 and columns n0 .. n0 + n - 1. */
static void add_part(const product_job *j, int64_t m0, int64_t m, int64_t n0, int64_t n, int64_t k,
                     int64_t depth, const float *a, const float *b)
{
    const msa_tile_table *t = j->t;
    const int64_t whole = n / t->cols * t->cols, panel = PANEL(t->cols);
    const msa_tile_operand x = {a, t->rows, depth * t->rows}, w = {b, t->cols, panel};
    float *y = j->y + m0 * j->ldy + n0;
    const float *from = k > 0 || j->add ? y : NULL;
    t->product(m, whole, depth, x, w, from, j->ldy, y, j->ldy, NULL);
    if (whole < n)
        narrow_strip(j, m, n - whole, depth, x, b + whole / t->cols * panel, from != NULL, y + whole);
    if (k + depth == j->K) finish(j, m, n0, n, y);
}

static void product_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const product_job *j = ctx;
    const int64_t n0 = item * j->cols, n = j->N - n0 < j->cols ? j->N - n0 : j->cols;
    _Alignas(64) float a[ROWS * DEPTH + 16],
        b[COLS / MSA_TILE_COLS_MAX * PANEL(MSA_TILE_COLS_MAX) + 16 * COLS];
    for (int64_t k = 0; k < j->K; k += DEPTH) {
        const int64_t depth = j->K - k < DEPTH ? j->K - k : DEPTH;
        pack_weight(j, n0, n, k, depth, b);
        for (int64_t m0 = 0; m0 < j->M; m0 += ROWS) {
            const int64_t m = j->M - m0 < ROWS ? j->M - m0 : ROWS;
            j->t->pack(m, depth, j->x + m0 * j->ldx + k, j->ldx, j->t->rows, 1.0f, a);
            add_part(j, m0, m, n0, n, k, depth, a, b);
        }
    }
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

void msa_product_on_the_fly(int64_t M, int64_t N, int64_t K, const float *x, int64_t ldx,
                            msa_changing_weight w, const float *bias, msa_epilogue epilogue, bool add,
                            float *y, int64_t ldy)
{
    product_job j = {.t = msa_tiles(),
                     .M = M,
                     .N = N,
                     .K = K,
                     .ldx = ldx,
                     .ldy = ldy,
                     .x = x,
                     .bias = add ? NULL : bias,
                     .w = w,
                     .epilogue = epilogue,
                     .add = add,
                     .y = y};
    const int64_t threads = msa_threads_get(), pieces = divide_up(divide_up(N, COLS), threads) * threads;
    j.cols = divide_up(divide_up(N, pieces), j.t->cols) * j.t->cols; /* the same for every thread */
    msa_pool_run(product_item, &j, (int32_t)divide_up(N, j.cols), MSA_THREADS_MAX);
}
