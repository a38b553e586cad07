#include "engine/nn/packed.h"

#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/tile_table.h"
#include "engine/kern/vec.h"

#define BLOCK_FLOATS    (256 * 1024) /* of x, packed: stays in the second level of cache */
#define BLOCK_ROWS      168          /* whole tiles at every level: 12 x 14, 28 x 6, 14 x 12, 42 x 4 */
#define DEPTH           768          /* of one pass over a strip of the weight */
#define ITEM_COLS_MIN   128          /* narrower, packing x again for each piece would show */
#define LONE_COLS_MIN   256          /* of a product that is a single block of rows */
#define PIECES_A_THREAD 6

typedef struct packed_job {
    const msa_linear *l;
    const msa_tile_table *t;
    const uint16_t *packed_16; /* NULL; else instead of l->packed */
    msa_widen *widen;
    const float *x;
    float *y;
    int64_t M, ldx, ldy;
    int64_t rows, row_blocks; /* of an item */
    int64_t whole;            /* the first ones have all columns, the others so many: */
    int64_t cols;
    msa_epilogue epilogue;
    bool add;
} packed_job;

/* Rows of x that are packed together, a multiple of a tile's. */
static int64_t block_rows(int64_t K)
{
    const int64_t rows = msa_tiles()->rows, fit = (BLOCK_FLOATS - 16) / K / rows * rows;
    return fit < BLOCK_ROWS ? fit : BLOCK_ROWS;
}

size_t msa_packed_floats(int32_t N, int32_t K)
{
    if (N < 1 || K < 1 || block_rows(K) == 0) return 0;
    return ((size_t)msa_tile_packed_floats(N, K, msa_tiles()->cols) + 15) / 16 * 16;
}

/* ---- packing ---- */

typedef struct pack_job {
    const msa_tile_table *t;
    const float *weight;
    float *packed;
    int64_t N, K;
} pack_job;

/* One panel, which is as wide as two registers: no store goes beyond it. */
static void pack_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const pack_job *j = ctx;
    const int64_t first = (int64_t)item * j->t->cols;
    const int64_t n = j->N - first < j->t->cols ? j->N - first : j->t->cols;
    j->t->pack(n, j->K, j->weight + first * j->K, j->K, j->t->cols, 1.0f, j->packed + first * j->K);
}

void msa_pack_weight(int32_t N, int32_t K, const float *weight, float *packed)
{
    const msa_tile_table *t = msa_tiles();
    pack_job j = {t, weight, packed, N, K};
    msa_pool_run(pack_item, &j, (N + t->cols - 1) / t->cols, MSA_THREADS_MAX);
}

/* ---- forward ---- */

/* Depths k .. k + depth - 1 of the strip that begins at column n0: where they lie, or made float32 in room.
 */
static const float *weights(const packed_job *j, int64_t n0, int64_t k, int64_t depth, float *room)
{
    const int64_t at = n0 * j->l->K + k * j->t->cols;
    if (j->packed_16 == NULL) return j->l->packed + at;
    j->widen(j->packed_16 + at, depth * j->t->cols, room);
    return room;
}

/* One strip of `cols` columns of the result, the next one beginning at column `next`. It goes where it
 * belongs as it is summed up, or, where something is still to be done with it, waits in s (m, cols): the
 * first level of cache. */
static void strip(const packed_job *j, int64_t m, int64_t m0, int64_t n0, int64_t next, const float *a,
                  float *s, float *room)
{
    const msa_tile_table *t = j->t;
    const int64_t K = j->l->K, width = j->l->N - n0 < t->cols ? j->l->N - n0 : t->cols;
    const bool direct = width == t->cols && j->epilogue == MSA_EPILOGUE_NONE && !j->add;
    float bias[MSA_TILE_COLS_MAX] = {0}, *y = j->y + m0 * j->ldy + n0;
    const float *from = bias;
    if (j->l->bias != NULL) memcpy(bias, j->l->bias + n0, (size_t)width * sizeof *bias);
    for (int64_t k = 0; k < K; k += DEPTH) {
        const int64_t depth = K - k < DEPTH ? K - k : DEPTH;
        const float *b = weights(j, n0, k, depth, room), *after = b;
        if (b != room) after = k + depth == K ? j->l->packed + next * K : b + depth * t->cols;
        const msa_tile_operand x = {a + k * t->rows, t->rows, K * t->rows}, w = {b, t->cols, 0};
        const bool last = direct && k + depth == K;
        t->product(m, t->cols, depth, x, w, from, from == bias ? 0 : t->cols, last ? y : s,
                   last ? j->ldy : t->cols, after);
        from = s;
    }
    if (direct) return;
    if (j->epilogue == MSA_EPILOGUE_GELU) msa_gelu(m * t->cols, s, s);
    if (j->epilogue == MSA_EPILOGUE_RELU) msa_relu(m * t->cols, s, s);
    t->leave(m, width, s, y, j->ldy, j->add);
}

/* room: DEPTH * MSA_TILE_COLS_MAX floats, or NULL where the weight is float32. */
static void run_item(const packed_job *j, int32_t item, float *room)
{
    const msa_tile_table *t = j->t;
    const bool whole = item < j->whole;
    const int64_t piece = item - j->whole, rest = j->row_blocks - j->whole;
    const int64_t m0 = (whole ? item : j->whole + piece % rest) * j->rows;
    const int64_t n0 = whole ? 0 : piece / rest * j->cols;
    const int64_t m = j->M - m0 < j->rows ? j->M - m0 : j->rows;
    const int64_t last = whole || n0 + j->cols > j->l->N ? j->l->N : n0 + j->cols;
    _Alignas(64) float a[BLOCK_FLOATS], s[BLOCK_ROWS * MSA_TILE_COLS_MAX];
    t->pack(m, j->l->K, j->x + m0 * j->ldx, j->ldx, t->rows, 1.0f, a);
    for (int64_t n = n0; n < last; n += t->cols)
        strip(j, m, m0, n, n + t->cols < last ? n + t->cols : n0, a, s, room); /* who is next begins at n0 */
}

static void packed_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    run_item(ctx, item, NULL);
}

static void packed_item_16(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    _Alignas(64) float room[DEPTH * MSA_TILE_COLS_MAX];
    run_item(ctx, item, room);
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static void run(packed_job j)
{
    const msa_linear *l = j.l;
    const msa_tile_table *t = j.t;
    const int64_t M = j.M;
    if (M == 0) return;
    j.rows = divide_up(divide_up(M, divide_up(M, block_rows(l->K))), t->rows) * t->rows;
    j.row_blocks = divide_up(M, j.rows);
    /* Who has all columns of its rows packs them once. The last blocks are cut, to end all at the same time.
     */
    const int64_t threads = msa_threads_get(), over = j.row_blocks % threads;
    j.whole = threads == 1 ? j.row_blocks : j.row_blocks - (over > 0 ? over : threads);
    if (j.whole < 0) j.whole = 0;
    const int64_t rest = j.row_blocks - j.whole,
                  most = divide_up(l->N, j.row_blocks > 1 ? ITEM_COLS_MIN : LONE_COLS_MIN);
    const int64_t wanted = rest > 0 ? divide_up(PIECES_A_THREAD * threads, rest) : 1;
    const int64_t pieces = wanted < most ? wanted : most;
    j.cols = divide_up(divide_up(l->N, pieces), t->cols) * t->cols;
    msa_pool_run(j.packed_16 == NULL ? packed_item : packed_item_16, &j,
                 (int32_t)(j.whole + rest * divide_up(l->N, j.cols)), MSA_THREADS_MAX);
}

void msa_packed_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                        msa_epilogue epilogue, bool add)
{
    run((packed_job){.l = l,
                     .t = msa_tiles(),
                     .x = x,
                     .y = y,
                     .M = M,
                     .ldx = ldx,
                     .ldy = ldy,
                     .epilogue = epilogue,
                     .add = add});
}

void msa_packed_forward_16(const msa_linear *l, const uint16_t *packed, msa_widen *widen, int64_t M,
                           const float *x, int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue)
{
    run((packed_job){.l = l,
                     .t = msa_tiles(),
                     .packed_16 = packed,
                     .widen = widen,
                     .x = x,
                     .y = y,
                     .M = M,
                     .ldx = ldx,
                     .ldy = ldy,
                     .epilogue = epilogue});
}
