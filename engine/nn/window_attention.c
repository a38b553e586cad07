#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/tile_table.h"
#include "engine/nn/attention.h"

/*
 * Scores are computed the other way round, keys down and queries across: a tile of queries fills the columns
 * of the kernels' tile, the softmax goes down its columns without ever adding across a register, and what it
 * leaves is, as it lies, the factor that the values are multiplied with. Keys come in blocks, so that a
 * tile's scores stay in the first level of cache and a block's keys and values in the second.
 */
#define ITEM_QUERIES 256 /* share one packing of the keys */
#define BLOCK_KEYS   256

typedef struct window_job {
    const msa_window_attention *a;
    const msa_tile_table *t;
    float *scratch;
    int64_t area, pieces; /* of a window's queries */
    int64_t block_rows;   /* lines of the window whose keys make a block */
} window_job;

/* One worker's scratch, cut up; of up to ITEM_QUERIES queries in tiles of t->cols, the last may be narrower.
 */
typedef struct window_scratch {
    float *rel_h, *rel_w; /* the tables, packed */
    float *rows;          /* what is gathered before it is packed, and the results of a tile */
    float *k, *v;         /* of a block: packed, as they are */
    float *scores;        /* (keys of a block, cols) */
    float *by_distance;   /* (the longer table, cols) */
    /* One after the other for each tile: */
    float *q, *up, *line, *mixed; /* (d, cols), (win_h, cols), (win_w, cols), (d, cols) */
    float *max, *sum, *fade;      /* (cols) */
} window_scratch;

static int64_t block_rows(const msa_windows *w)
{
    const int64_t fit = BLOCK_KEYS / w->win_w < 1 ? 1 : BLOCK_KEYS / w->win_w;
    const int64_t blocks = (w->win_h + fit - 1) / fit;
    return (w->win_h + blocks - 1) / blocks; /* of nearly equal size */
}

static int64_t item_queries(const msa_windows *w)
{
    const int64_t area = (int64_t)w->win_h * w->win_w;
    return area < ITEM_QUERIES ? area : ITEM_QUERIES;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static window_scratch cut_scratch(float *s, const msa_windows *w, int32_t d, size_t *total)
{
    const msa_tile_table *t = msa_tiles();
    const size_t cols = (size_t)t->cols, dd = (size_t)d, h = (size_t)w->win_h, ww = (size_t)w->win_w;
    const size_t keys = (size_t)block_rows(w) * ww, wide = round_up(dd, MSA_TILE_ROWS_MAX);
    const size_t queries = round_up((size_t)item_queries(w), cols); /* of all tiles */
    const size_t sizes[14] = {(size_t)msa_tile_packed_floats(2 * w->win_h - 1, d, t->rows),
                              (size_t)msa_tile_packed_floats(2 * w->win_w - 1, d, t->rows),
                              most_of(keys, cols) * wide + 16,
                              (size_t)msa_tile_packed_floats((int64_t)keys, d, t->rows),
                              keys * dd,
                              keys * cols,
                              2 * most_of(h, ww) * cols,
                              dd * queries,
                              h * queries,
                              ww * queries,
                              dd * queries,
                              queries,
                              queries,
                              cols};
    float *piece[14] = {NULL};
    *total = 0;
    for (int i = 0; i < 14; i++) {
        if (s != NULL) piece[i] = s + *total;
        *total += round_up(sizes[i], 16);
    }
    return (window_scratch){.rel_h = piece[0],
                            .rel_w = piece[1],
                            .rows = piece[2],
                            .k = piece[3],
                            .v = piece[4],
                            .scores = piece[5],
                            .by_distance = piece[6],
                            .q = piece[7],
                            .up = piece[8],
                            .line = piece[9],
                            .mixed = piece[10],
                            .max = piece[11],
                            .sum = piece[12],
                            .fade = piece[13]};
}

size_t msa_window_attention_scratch(const msa_windows *windows, int32_t d)
{
    size_t total = 0;
    (void)cut_scratch(NULL, windows, d, &total);
    return total;
}

/* ---- one item: some queries of one window and head ---- */

typedef struct window_item {
    const window_job *j;
    window_scratch s;
    int64_t slot0, head; /* slot0: of the window */
    int64_t nq, tiles;
    int32_t position[ITEM_QUERIES], row[ITEM_QUERIES]; /* of the queries */
} window_item;

static int64_t row_at(const msa_window_attention *a, int64_t slot)
{
    return a->row_of == NULL ? slot : a->row_of[slot];
}

/* Padding asks nothing. */
static void choose_queries(window_item *w, int64_t first, int64_t last)
{
    const msa_window_attention *a = w->j->a;
    for (int64_t p = first; p < last; p++) {
        const int64_t row = row_at(a, w->slot0 + p);
        if (row == a->pad_row) continue;
        w->position[w->nq] = (int32_t)p;
        w->row[w->nq++] = (int32_t)row;
    }
    w->tiles = (w->nq + w->j->t->cols - 1) / w->j->t->cols;
}

/* Columns of a tile that are computed: all of them, or half when that is enough. */
static int64_t tile_width(const window_item *w, int64_t tile)
{
    const int64_t cols = w->j->t->cols, left = w->nq - tile * cols;
    return left > cols / 2 ? cols : cols / 2;
}

static int64_t tile_queries(const window_item *w, int64_t tile)
{
    const int64_t cols = w->j->t->cols, left = w->nq - tile * cols;
    return left < cols ? left : cols;
}

/*
 * to (n, cols): row j holds each query's term of position for the keys at j, which is the product with the
 * table's row of their distance. at: the query's own place along that axis is position / over % n.
 */
static void position_terms(const window_item *w, int64_t tile, const float *table, int64_t n, int64_t over,
                           float *to)
{
    const msa_tile_table *t = w->j->t;
    const int64_t cols = t->cols, d = w->j->a->d, queries = tile_queries(w, tile);
    const msa_tile_operand rows = {table, t->rows, t->rows * d}, q = {w->s.q + tile * d * cols, cols, 0};
    float *by_distance = w->s.by_distance;
    t->product(2 * n - 1, tile_width(w, tile), d, rows, q, NULL, 0, by_distance, cols, NULL);
    for (int64_t i = 0; i < queries; i++) {
        const int64_t at = w->position[tile * cols + i] / over % n;
        const float *from = by_distance + (at + n - 1) * cols + i;
        for (int64_t j = 0; j < n; j++)
            to[j * cols + i] = from[-j * cols];
    }
}

static void begin_tile(const window_item *w, int64_t tile)
{
    const msa_window_attention *a = w->j->a;
    const int64_t cols = w->j->t->cols, d = a->d, wh = a->windows.win_h, ww = a->windows.win_w;
    const int64_t n = tile_queries(w, tile);
    for (int64_t i = 0; i < n; i++)
        memcpy(w->s.rows + i * d, a->qkv + w->row[tile * cols + i] * 3 * a->heads * d + w->head * d,
               (size_t)d * sizeof(float));
    w->j->t->pack(n, d, w->s.rows, d, (int32_t)cols, 1.0f, w->s.q + tile * d * cols);
    position_terms(w, tile, w->s.rel_h, wh, ww, w->s.up + tile * wh * cols);
    position_terms(w, tile, w->s.rel_w, ww, 1, w->s.line + tile * ww * cols);
    for (int64_t i = 0; i < cols; i++) {
        w->s.max[tile * cols + i] = -FLT_MAX;
        w->s.sum[tile * cols + i] = 0.0f;
    }
}

/* Keys, scaled and packed, and values of the window's positions first .. first + n - 1. */
static void load_block(const window_item *w, int64_t first, int64_t n)
{
    const msa_window_attention *a = w->j->a;
    const msa_tile_table *t = w->j->t;
    const int64_t d = a->d, C = a->heads * d, at = C + w->head * d;
    const float *k = a->qkv + (w->slot0 + first) * 3 * C + at;
    const float scale = 1.0f / sqrtf((float)d);
    for (int64_t i = 0; i < n; i++) {
        const float *from = a->qkv + row_at(a, w->slot0 + first + i) * 3 * C + at;
        memcpy(w->s.v + i * d, from + C, (size_t)d * sizeof *from);
        if (a->row_of != NULL) memcpy(w->s.rows + i * d, from, (size_t)d * sizeof *from);
    }
    if (a->row_of != NULL)
        t->pack(n, d, w->s.rows, d, t->rows, scale, w->s.k);
    else
        t->pack(n, d, k, 3 * C, t->rows, scale, w->s.k);
}

/* Lines y .. y + lines - 1 of the window's keys, which are loaded, for one tile. */
static void mix_block(const window_item *w, int64_t tile, int64_t y, int64_t lines)
{
    const msa_tile_table *t = w->j->t;
    const msa_windows *windows = &w->j->a->windows;
    const int64_t cols = t->cols, d = w->j->a->d, wh = windows->win_h, ww = windows->win_w;
    const int64_t n = lines * ww, width = tile_width(w, tile);
    const msa_tile_operand k = {w->s.k, t->rows, t->rows * d}, q = {w->s.q + tile * d * cols, cols, 0};
    const msa_tile_operand v = {w->s.v, d, t->rows}, p = {w->s.scores, cols, 0};
    float *mixed = w->s.mixed + tile * d * cols;
    t->positions(lines, ww, w->s.up + (tile * wh + y) * cols, w->s.line + tile * ww * cols, w->s.scores);
    t->product(n, width, d, k, q, w->s.scores, cols, w->s.scores, cols, NULL);
    t->softmax_block(n, width, w->s.scores, w->s.max + tile * cols, w->s.sum + tile * cols, w->s.fade);
    if (y > 0) t->scale_columns(d, w->s.fade, mixed);
    t->product(d, width, n, v, p, y > 0 ? mixed : NULL, cols, mixed, cols, NULL);
}

static void end_tile(const window_item *w, int64_t tile)
{
    const msa_window_attention *a = w->j->a;
    const int64_t cols = w->j->t->cols, d = a->d, n = tile_queries(w, tile);
    const int64_t wide = (int64_t)round_up((size_t)d, MSA_TILE_ROWS_MAX); /* whole registers */
    float *mixed = w->s.mixed + tile * d * cols;
    for (int64_t i = 0; i < cols; i++)
        w->s.fade[i] = i < n ? 1.0f / w->s.sum[tile * cols + i] : 0.0f;
    w->j->t->scale_columns(d, w->s.fade, mixed);
    w->j->t->pack(d, cols, mixed, cols, (int32_t)wide, 1.0f, w->s.rows);
    for (int64_t i = 0; i < n; i++)
        memcpy(a->out + (w->row[tile * cols + i] * a->heads + w->head) * d, w->s.rows + i * wide,
               (size_t)d * sizeof(float));
}

static void run_item(void *ctx, int32_t item, int32_t worker)
{
    const window_job *j = ctx;
    const msa_window_attention *a = j->a;
    const int64_t wh = a->windows.win_h, ww = a->windows.win_w, first = item % j->pieces * ITEM_QUERIES;
    size_t size = 0;
    window_item w;
    (void)cut_scratch(NULL, &a->windows, a->d, &size);
    w.j = j;
    w.s = cut_scratch(j->scratch + (size_t)worker * size, &a->windows, a->d, &size);
    w.slot0 = item / j->pieces / a->heads * j->area;
    w.head = item / j->pieces % a->heads;
    w.nq = 0;
    choose_queries(&w, first, first + ITEM_QUERIES < j->area ? first + ITEM_QUERIES : j->area);
    if (w.nq == 0) return;
    j->t->pack(2 * wh - 1, a->d, a->rel_h, a->d, j->t->rows, 1.0f, w.s.rel_h);
    j->t->pack(2 * ww - 1, a->d, a->rel_w, a->d, j->t->rows, 1.0f, w.s.rel_w);
    for (int64_t i = 0; i < w.tiles; i++)
        begin_tile(&w, i);
    for (int64_t y = 0; y < wh; y += j->block_rows) {
        const int64_t lines = wh - y < j->block_rows ? wh - y : j->block_rows;
        load_block(&w, y * ww, lines * ww);
        for (int64_t i = 0; i < w.tiles; i++)
            mix_block(&w, i, y, lines);
    }
    for (int64_t i = 0; i < w.tiles; i++)
        end_tile(&w, i);
}

void msa_window_attention_forward(const msa_window_attention *a, float *scratch, int32_t workers)
{
    window_job j = {.a = a, .t = msa_tiles(), .scratch = scratch};
    j.area = (int64_t)a->windows.win_h * a->windows.win_w;
    j.pieces = (j.area + ITEM_QUERIES - 1) / ITEM_QUERIES;
    j.block_rows = block_rows(&a->windows);
    msa_pool_run(run_item, &j, (int32_t)(msa_windows_count(&a->windows) * a->heads * j.pieces), workers);
}
