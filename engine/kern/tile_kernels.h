/*
 * The bodies of kern/tile_table.h, included once by every tile_<level>.c, which is compiled for that level's
 * instructions and says before: TILE_TABLE, the table's name; TILE_ROWS, the rows of a tile, which is two
 * registers wide; PIECE_MADD(a, b, c), a b + c of registers; VEC_BYTES and VEC_FMA as vec_math.h wants them.
 *
 * A tile of rows x 2 registers of sums leaves room for one row of b and one broadcast value of a: every load
 * serves two multiply-adds or as many as there are rows.
 */
#include <stddef.h>

#include "engine/kern/tile_table.h"
#include "engine/kern/vec_math.h"

#define TILE_COLS (2 * WIDTH)
#define INLINE    static inline __attribute__((always_inline))

INLINE piece get(const float *x)
{
    piece v;
    memcpy(&v, x, sizeof v);
    return v;
}

INLINE void put(float *x, piece v)
{
    memcpy(x, &v, sizeof v);
}

INLINE piece all(float x)
{
    return x - (piece){0};
}

/* ---- product ---- */

/* m rows of n registers; m and n are constants where it is used, so that sums stay in registers. */
INLINE void tile(const int m, const int n, int64_t K, const float *a, int64_t lda, const float *b,
                 int64_t ldb, const float *from, int64_t ldf, float *c, int64_t ldc, const char *next,
                 int64_t step)
{
    piece sum[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n; p++)
            sum[i][p] = from != NULL ? get(from + i * ldf + p * WIDTH) : all(0.0f);
    for (int64_t k = 0; k < K; k++, a += lda, b += ldb, next += step) {
        __builtin_prefetch(next, 0, 2);
        const piece b0 = get(b), b1 = n > 1 ? get(b + WIDTH) : b0;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            const piece v = all(a[i]);
            sum[i][0] = PIECE_MADD(v, b0, sum[i][0]);
            if (n > 1) sum[i][1] = PIECE_MADD(v, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n; p++)
            put(c + i * ldc + p * WIDTH, sum[i][p]);
}

typedef void tile_fn(int64_t K, const float *a, int64_t lda, const float *b, int64_t ldb, const float *from,
                     int64_t ldf, float *c, int64_t ldc, const char *next, int64_t step);

/* One function for each height, so that the last rows of a product cost what they are. */
#define TILE_OF(m)                                                                                           \
    static void tile_##m##_1(int64_t K, const float *a, int64_t lda, const float *b, int64_t ldb,            \
                             const float *from, int64_t ldf, float *c, int64_t ldc, const char *next,        \
                             int64_t step)                                                                   \
    {                                                                                                        \
        tile(m, 1, K, a, lda, b, ldb, from, ldf, c, ldc, next, step);                                        \
    }                                                                                                        \
    static void tile_##m##_2(int64_t K, const float *a, int64_t lda, const float *b, int64_t ldb,            \
                             const float *from, int64_t ldf, float *c, int64_t ldc, const char *next,        \
                             int64_t step)                                                                   \
    {                                                                                                        \
        tile(m, 2, K, a, lda, b, ldb, from, ldf, c, ldc, next, step);                                        \
    }
#define TILES_4(DO)  DO(1) DO(2) DO(3) DO(4)
#define TILES_6(DO)  TILES_4(DO) DO(5) DO(6)
#define TILES_12(DO) TILES_6(DO) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12)
#define TILES_14(DO) TILES_12(DO) DO(13) DO(14)
#if TILE_ROWS == 4
#define TILES TILES_4
#elif TILE_ROWS == 6
#define TILES TILES_6
#elif TILE_ROWS == 12
#define TILES TILES_12
#elif TILE_ROWS == 14
#define TILES TILES_14
#endif
TILES(TILE_OF)
#define TILE_PAIR(m) {tile_##m##_1, tile_##m##_2},
static tile_fn *const tiles[TILE_ROWS][2] = {TILES(TILE_PAIR)};

/* The first rows of tiles fetch what is next, a part each: all at once, memory would be what is waited for.
 */
static void tile_product(int64_t M, int64_t N, int64_t K, msa_tile_operand a, msa_tile_operand b,
                         const float *from, int64_t ldf, float *C, int64_t ldc, const float *next)
{
    const int64_t parts = (M + TILE_ROWS - 1) / TILE_ROWS, bytes = TILE_COLS * (int64_t)sizeof(float);
    const int64_t step = next == NULL ? 0 : (bytes + parts - 1) / parts;
    for (int64_t n = 0; n < N; n += TILE_COLS) {
        const float *bn = b.x + n / TILE_COLS * b.panel;
        const char *fetch = next == NULL ? (const char *)bn : (const char *)next;
        const int wide = N - n >= TILE_COLS;
        for (int64_t m = 0; m < M; m += TILE_ROWS, fetch += K * step) {
            const int64_t rows = M - m < TILE_ROWS ? M - m : TILE_ROWS;
            tiles[rows - 1][wide](K, a.x + m / TILE_ROWS * a.panel, a.ld, bn, b.ld,
                                  from == NULL ? NULL : from + m * ldf + n, ldf, C + m * ldc + n, ldc, fetch,
                                  step);
        }
    }
}

/* ---- packing ---- */

/* Rows and columns of a square of registers change places: halves of ever wider groups are exchanged. */
#define FROM_LOW(l, s)  (((l) & (s)) ? WIDTH + (l) - (s) : (l))
#define FROM_HIGH(l, s) (((l) & (s)) ? WIDTH + (l) : (l) + (s))
#if VEC_BYTES == 16
#define INDICES(F, s) F(0, s), F(1, s), F(2, s), F(3, s)
#elif VEC_BYTES == 32
#define INDICES(F, s) F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s)
#else
#define INDICES(F, s)                                                                                        \
    F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s), F(8, s), F(9, s), F(10, s),      \
        F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)
#endif
#define EXCHANGE(s)                                                                                          \
    _Pragma("GCC unroll 16") for (int i = 0; i < WIDTH; i++) if ((i & (s)) == 0)                             \
    {                                                                                                        \
        const piece low = r[i], high = r[i + (s)];                                                           \
        r[i] = __builtin_shufflevector(low, high, INDICES(FROM_LOW, s));                                     \
        r[i + (s)] = __builtin_shufflevector(low, high, INDICES(FROM_HIGH, s));                              \
    }

INLINE void transpose(piece r[WIDTH])
{
    EXCHANGE(1)
    EXCHANGE(2)
#if VEC_BYTES >= 32
    EXCHANGE(4)
#endif
#if VEC_BYTES >= 64
    EXCHANGE(8)
#endif
}

/* Up to WIDTH rows of x, times `scale`, or of x + y where y is not NULL, to columns of a panel; whole
 * registers are stored, what is too much is written over by the next column. */
INLINE void pack_group(int64_t rows, int64_t K, const float *x, const float *y, int64_t ldx, int32_t width,
                       float scale, float *to)
{
    const piece zero = all(0.0f), times = all(scale);
    int64_t k = 0;
    for (; k + WIDTH <= K; k += WIDTH) {
        piece r[WIDTH];
#pragma GCC unroll 16
        for (int i = 0; i < WIDTH; i++) {
            r[i] = i < rows ? get(x + i * ldx + k) : zero;
            if (y != NULL && i < rows) r[i] += get(y + i * ldx + k);
        }
        transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < WIDTH; i++)
            put(to + (k + i) * width, y != NULL ? r[i] : r[i] * times);
    }
    for (; k < K; k++) {
        float column[WIDTH] = {0};
        for (int64_t i = 0; i < rows && i < WIDTH; i++)
            column[i] = y != NULL ? x[i * ldx + k] + y[i * ldx + k] : x[i * ldx + k] * scale;
        memcpy(to + k * width, column, sizeof column);
    }
}

static void tile_pack(int64_t n, int64_t K, const float *x, int64_t ldx, int32_t width, float scale,
                      float *to)
{
    for (int64_t first = 0; first < n; first += width, to += K * width)
        for (int32_t i = 0; i < width; i += WIDTH) /* groups in order: one may write into the next */
            pack_group(n - first - i, K, x + (first + i) * ldx, NULL, ldx, width, scale, to + i);
}

static void tile_pack_sum(int64_t n, int64_t K, const float *x, const float *y, int64_t ldx, int32_t width,
                          float *to)
{
    for (int64_t first = 0; first < n; first += width, to += K * width)
        for (int32_t i = 0; i < width; i += WIDTH)
            pack_group(n - first - i, K, x + (first + i) * ldx, y + (first + i) * ldx, ldx, width, 1.0f,
                       to + i);
}

/* ---- rows of a tile ---- */

static void tile_leave(int64_t n, int64_t width, const float *s, float *y, int64_t ldy, bool add)
{
    for (int64_t i = 0; i < n; i++, s += TILE_COLS, y += ldy)
        if (width == TILE_COLS && add) {
            put(y, get(y) + get(s));
            put(y + WIDTH, get(y + WIDTH) + get(s + WIDTH));
        } else if (width == TILE_COLS) {
            put(y, get(s));
            put(y + WIDTH, get(s + WIDTH));
        } else {
            for (int64_t k = 0; k < width; k++)
                y[k] = add ? y[k] + s[k] : s[k];
        }
}

/* ---- softmax ---- */

INLINE piece greater(piece a, piece b)
{
    const piece_mask more = a > b;
    return (piece)(((piece_mask)a & more) | ((piece_mask)b & ~more));
}

INLINE piece exp_piece(piece x)
{
    float v[WIDTH];
    memcpy(v, &x, sizeof v);
    for (int l = 0; l < WIDTH; l++)
        v[l] = exp1(v[l]);
    return get(v);
}

static void tile_softmax_block(int64_t n, int64_t width, float *s, float *max, float *sum, float *fade)
{
    for (int p = 0; p < width / WIDTH; p++) {
        const piece before = get(max + p * WIDTH);
        piece most = before, total = get(sum + p * WIDTH);
        float *x = s + p * WIDTH;
        for (int64_t k = 0; k < n; k++)
            most = greater(get(x + k * TILE_COLS), most);
        const piece less = exp_piece(before - most);
        total = total * less;
        for (int64_t k = 0; k < n; k++) {
            const piece e = exp_piece(get(x + k * TILE_COLS) - most);
            put(x + k * TILE_COLS, e);
            total += e;
        }
        put(max + p * WIDTH, most);
        put(sum + p * WIDTH, total);
        put(fade + p * WIDTH, less);
    }
}

static void tile_scale_columns(int64_t n, const float *factor, float *x)
{
    const piece f0 = get(factor), f1 = get(factor + WIDTH);
    for (int64_t k = 0; k < n; k++, x += TILE_COLS) {
        put(x, get(x) * f0);
        put(x + WIDTH, get(x + WIDTH) * f1);
    }
}

static void tile_positions(int64_t h, int64_t w, const float *up, const float *line, float *s)
{
    for (int64_t y = 0; y < h; y++) {
        const piece u0 = get(up + y * TILE_COLS), u1 = get(up + y * TILE_COLS + WIDTH);
        for (int64_t x = 0; x < w; x++, s += TILE_COLS) {
            put(s, u0 + get(line + x * TILE_COLS));
            put(s + WIDTH, u1 + get(line + x * TILE_COLS + WIDTH));
        }
    }
}

const msa_tile_table TILE_TABLE = {
    .rows = TILE_ROWS,
    .cols = TILE_COLS,
    .product = tile_product,
    .pack = tile_pack,
    .pack_sum = tile_pack_sum,
    .softmax_block = tile_softmax_block,
    .leave = tile_leave,
    .scale_columns = tile_scale_columns,
    .positions = tile_positions,
};
