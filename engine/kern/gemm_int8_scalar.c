/* The reference: a loop for each sum's terms, in plain C. */
#include <stdbool.h>
#include <stdint.h>

typedef int8_t row_code, weight_code;
#define INT8_TABLE  msa_int8_scalar
#define INT8_NAME   "scalar"
#define INT8_GROUP  1
#define INT8_OFFSET 0

static void tile(int32_t rows, int32_t panels, int64_t groups, const void *a, int64_t lda, const void *b,
                 int64_t ldb, int32_t *c, int64_t ldc)
{
    enum { PANEL = 16 };
    for (int32_t r = 0; r < rows; r++)
        for (int32_t p = 0; p < panels; p++) {
            const row_code *row = (const row_code *)a + r * lda;
            const weight_code *w = (const weight_code *)b + p * ldb;
            int32_t sum[PANEL] = {0};
            for (int64_t k = 0; k < groups; k++)
                for (int j = 0; j < PANEL; j++)
                    sum[j] += row[k] * w[k * PANEL + j];
            for (int j = 0; j < PANEL; j++)
                c[r * ldc + p * PANEL + j] = sum[j];
        }
}

#include "engine/kern/gemm_int8_kernels.h"
