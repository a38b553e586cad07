/*
 * Products of small packed operands and the softmax between two of them: what dense layers and attention are
 * made of. The functions of one instruction set; who needs them asks msa_tiles().
 */
#ifndef MSA_ENGINE_KERN_TILE_TABLE_H
#define MSA_ENGINE_KERN_TILE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kern/cpu.h"

#define MSA_TILE_ROWS_MAX 16
#define MSA_TILE_COLS_MAX 32

/* One factor of a product: value (k, i) is at x[i / w * panel + k * ld + i % w], w its tile's rows or
 * columns.
 */
typedef struct msa_tile_operand {
    const float *x;
    int64_t ld, panel;
} msa_tile_operand;

/*
 * Every function: reentrant, allocates nothing. Every element of a product is one sum in the order of k, so
 * its bits depend on the level alone, neither on its place in a tile nor on how the work was shared out.
 */
typedef struct msa_tile_table {
    int32_t rows, cols; /* of the tile that is held in registers */
    /**
     * C(M, N) = from(M, N) + the sum over k of a(k, m) b(k, n). from: rows ldf apart, 0 where all are the
     * same one; C itself; NULL: zeros. N: a multiple of cols / 2, which b must have room for; any M. next (K,
     * cols): what will be b in the next call, fetched while this one computes; NULL: nothing.
     */
    void (*product)(int64_t M, int64_t N, int64_t K, msa_tile_operand a, msa_tile_operand b,
                    const float *from, int64_t ldf, float *C, int64_t ldc, const float *next);
    /**
     * Rows x (n, K), ldx apart, to panels (n / width, K, width), width being rows or cols, each value times
     * `scale`; zero where the last panel has more rows than there are. to: msa_tile_packed_floats().
     */
    void (*pack)(int64_t n, int64_t K, const float *x, int64_t ldx, int32_t width, float scale, float *to);
    /* The same of x + y, both with rows ldx apart. */
    void (*pack_sum)(int64_t n, int64_t K, const float *x, const float *y, int64_t ldx, int32_t width,
                     float *to);
    /**
     * Softmax of columns that come in blocks of rows: s (n, cols), the next block of scores, becomes
     * e^(s - max); max (cols), sum (cols) are brought up to it; fade (cols) out: what earlier results are to
     * be multiplied with. max is -FLT_MAX and sum 0 before the first block. Only the first `width` columns,
     * cols or half of them.
     */
    void (*softmax_block)(int64_t n, int64_t width, float *s, float *max, float *sum, float *fade);
    /* y (n, width), rows ldy apart, = the first columns of s (n, cols), added to what y holds when `add`. */
    void (*leave)(int64_t n, int64_t width, const float *s, float *y, int64_t ldy, bool add);
    /* x (n, cols) times factor (cols). */
    void (*scale_columns)(int64_t n, const float *factor, float *x);
    /* s (h, w, cols) = up (h, cols) + line (w, cols) */
    void (*positions)(int64_t h, int64_t w, const float *up, const float *line, float *s);
} msa_tile_table;

extern const msa_tile_table msa_tile_scalar;
#if defined(__x86_64__)
extern const msa_tile_table msa_tile_avx2, msa_tile_avx512;
#elif defined(__aarch64__)
extern const msa_tile_table msa_tile_neon;
#endif

/* The table of a level; NULL when this build has none. The CPU is not asked: see msa_cpu_detected(). */
const msa_tile_table *msa_tile_table_at(msa_cpu_level level);
/* The table of the level that is allowed, the same for the life of the process. */
const msa_tile_table *msa_tiles(void);

/* Room for n rows of K packed to panels of `width`, with what a store of whole registers writes behind. */
static inline int64_t msa_tile_packed_floats(int64_t n, int64_t K, int32_t width)
{
    return (n + width - 1) / width * width * K + 16;
}

#endif
