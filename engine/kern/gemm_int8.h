/* Products of int8 matrices. Integer sums are exact, so every instruction set gives the same bits. */
#ifndef MSA_ENGINE_KERN_GEMM_INT8_H
#define MSA_ENGINE_KERN_GEMM_INT8_H

#include <stddef.h>
#include <stdint.h>

/*
 * c(M,N) = a(M,K) b(N,K)^T with values of -127 .. 127. How both operands lie in memory is the business of the
 * instructions that run (gemm_int8_table.h); b is packed once, in panels of MSA_INT8_PANEL rows. Reentrant,
 * allocates nothing.
 */
#define MSA_INT8_PANEL 16
#define MSA_INT8_K_MAX 65536 /* 127 * 127 * K fits 31 bits */

typedef struct msa_int8_table msa_int8_table;

/* For this CPU, as far as MSA_CPU_MASK allows: the choice of the first call. */
const msa_int8_table *msa_int8_table_chosen(void);

int64_t msa_int8_panels(int32_t N);
/* Bytes of one row of a, and of one panel of b; multiples of 64. */
int64_t msa_int8_row_bytes(const msa_int8_table *t, int32_t K);
int64_t msa_int8_panel_bytes(const msa_int8_table *t, int32_t K);

/**
 * x (K) to the nearest multiples of *scale = max |x| / 127, ties to even; row holds them. A row smaller than
 * 1e-30 is zero. One with a value that is not finite has *scale NaN, so that nothing comes of it unnoticed.
 */
void msa_int8_quantise(const msa_int8_table *t, int32_t K, const float *x, void *row, float *scale);
/* One panel from rows 16 panel .. of q (N, K), row-major; missing rows are zero. */
void msa_int8_pack(const msa_int8_table *t, int32_t N, int32_t K, const int8_t *q, int32_t panel, void *to);
/* rows of a, one after another, by panels, one after another: c (rows, 16 panels), rows ldc apart. */
void msa_int8_multiply(const msa_int8_table *t, int32_t rows, int32_t panels, int32_t K, const void *a,
                       const void *b, int32_t *c, int64_t ldc);
/* y = c * scale * scales + bias, rounded after each step; bias may be NULL. */
void msa_int8_restore(const msa_int8_table *t, int32_t n, const int32_t *c, float scale, const float *scales,
                      const float *bias, float *y);

#endif
