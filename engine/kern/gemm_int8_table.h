/* The parts of kern/gemm_int8.h that differ between instruction sets. */
#ifndef MSA_ENGINE_KERN_GEMM_INT8_TABLE_H
#define MSA_ENGINE_KERN_GEMM_INT8_TABLE_H

#include "engine/kern/gemm_int8.h"

/* The largest tile of multiply(). */
#define MSA_INT8_TILE_ROWS   6
#define MSA_INT8_TILE_PANELS 4

struct msa_int8_table {
    const char *name;
    int32_t group;        /* so many neighbours of K lie together; K is filled up with zeros to a multiple */
    int32_t row_bytes;    /* of one value of a */
    int32_t weight_bytes; /* of one value of b */
    int32_t panel_head;   /* bytes at the beginning of a panel */
    void (*quantise)(int32_t K, const float *x, void *row, float *scale);
    void (*pack)(int32_t rows, int32_t K, const int8_t *q, void *to); /* rows of q, 1 .. 16, to one panel */
    /* 1 .. TILE_ROWS rows, lda bytes apart, by 1 .. TILE_PANELS panels, ldb bytes apart. */
    void (*tile)(int32_t rows, int32_t panels, int64_t groups, const void *a, int64_t lda, const void *b,
                 int64_t ldb, int32_t *c, int64_t ldc);
    void (*restore)(int32_t n, const int32_t *c, float scale, const float *scales, const float *bias,
                    float *y);
};

extern const msa_int8_table msa_int8_scalar;
#if defined(__x86_64__)
extern const msa_int8_table msa_int8_avx2, msa_int8_vnni;
#endif

/* i = 0, 1, ...: those that this CPU runs, the slowest first; NULL after the last. */
const msa_int8_table *msa_int8_table_at(int i);

#endif
