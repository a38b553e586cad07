/*
 * AVX-512 VNNI: vpdpbusd adds four products of an unsigned and a signed byte to 32 bits, without saturation
 * in between. The values of a become unsigned by adding 128; the sums begin at what that adds too much.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t row_code;
typedef int8_t weight_code;
#define INT8_TABLE  msa_int8_vnni
#define INT8_NAME   "avx512vnni"
#define INT8_GROUP  4
#define INT8_OFFSET 128

/* Six rows by four panels: 24 registers of sums, enough to hide what a product takes to come back. */
static inline __attribute__((always_inline)) void rows_by_panels(const int rows, const int panels,
                                                                 int64_t groups, const char *a, int64_t lda,
                                                                 const char *b, int64_t ldb, int32_t *c,
                                                                 int64_t ldc)
{
    __m512i sum[6][4];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++)
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
            sum[r][p] = _mm512_load_si512(b + p * ldb);
    b += 64;
    for (int64_t g = 0; g < groups; g++) {
        __m512i w[4];
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            w[p] = _mm512_load_si512(b + p * ldb + 64 * g);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t four = 0;
            memcpy(&four, a + r * lda + 4 * g, sizeof four);
            const __m512i v = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++)
                sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], v, w[p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            _mm512_storeu_si512(c + r * ldc + 16 * p, sum[r][p]);
}

#define ROWS(n)                                                                                              \
    case n:                                                                                                  \
        if (panels == 4)                                                                                     \
            rows_by_panels(n, 4, groups, a, lda, b, ldb, c, ldc);                                            \
        else                                                                                                 \
            for (int32_t p = 0; p < panels; p++)                                                             \
                rows_by_panels(n, 1, groups, a, lda, (const char *)b + p * ldb, ldb, c + 16 * p, ldc);       \
        break

static void tile(int32_t rows, int32_t panels, int64_t groups, const void *a, int64_t lda, const void *b,
                 int64_t ldb, int32_t *c, int64_t ldc)
{
    switch (rows) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
        ROWS(4);
        ROWS(5);
        ROWS(6);
    }
}

#include "engine/kern/gemm_int8_kernels.h"
