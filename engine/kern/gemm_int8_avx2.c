/*
 * AVX2: values are held in 16 bits and multiplied and added in pairs (vpmaddwd), which cannot overflow. The
 * products of unsigned by signed bytes (vpmaddubsw) would saturate at 255 * 127 * 2, and making the bytes
 * small enough or moving their signs costs as many instructions as it saves.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef int16_t row_code, weight_code;
#define INT8_TABLE  msa_int8_avx2
#define INT8_NAME   "avx2"
#define INT8_GROUP  2
#define INT8_OFFSET 0

/* One panel is two registers of sums; six rows of them leave registers for its weights and a row's pair. */
static inline __attribute__((always_inline)) void rows_by_panel(const int rows, int64_t groups, const char *a,
                                                                int64_t lda, const char *b, int32_t *c,
                                                                int64_t ldc)
{
    __m256i low[6], high[6];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        low[r] = high[r] = _mm256_setzero_si256();
    for (int64_t g = 0; g < groups; g++) {
        const __m256i *w = (const __m256i *)(const void *)(b + 64 * g);
        const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t pair = 0;
            memcpy(&pair, a + r * lda + 4 * g, sizeof pair);
            const __m256i v = _mm256_set1_epi32(pair);
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(v, w0));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(v, w1));
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(void *)(c + r * ldc), low[r]);
        _mm256_storeu_si256((__m256i *)(void *)(c + r * ldc + 8), high[r]);
    }
}

static void tile(int32_t rows, int32_t panels, int64_t groups, const void *a, int64_t lda, const void *b,
                 int64_t ldb, int32_t *c, int64_t ldc)
{
    const char *w = b;
    for (int32_t p = 0; p < panels; p++, w += ldb, c += 16) {
        switch (rows) {
        case 6:
            rows_by_panel(6, groups, a, lda, w, c, ldc);
            break;
        case 5:
            rows_by_panel(5, groups, a, lda, w, c, ldc);
            break;
        case 4:
            rows_by_panel(4, groups, a, lda, w, c, ldc);
            break;
        case 3:
            rows_by_panel(3, groups, a, lda, w, c, ldc);
            break;
        case 2:
            rows_by_panel(2, groups, a, lda, w, c, ldc);
            break;
        default:
            rows_by_panel(1, groups, a, lda, w, c, ldc);
        }
    }
}

#include "engine/kern/gemm_int8_kernels.h"
