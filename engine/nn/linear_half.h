/* Dense layers whose weights are kept in 16 bits and become float32, strip by strip, as they are used. */
#ifndef MSA_ENGINE_NN_LINEAR_HALF_H
#define MSA_ENGINE_NN_LINEAR_HALF_H

#include <stddef.h>

#include "engine/base/error.h"
#include "engine/nn/linear.h"

typedef struct msa_linear_half {
    uint16_t *packed; /* in the order of engine/nn/packed.h */
    size_t bytes;
    bool bfloat; /* bfloat16; else half precision */
} msa_linear_half;

/* Rounds to nearest, ties to even. Errors: MSA_E_NOMEM, MSA_E_UNSUPPORTED (a value beyond 65504 in half, a
 * layer too wide to be packed). */
MSA_NODISCARD msa_status msa_linear_half_make(msa_linear_half *h, const msa_linear *l, bool bfloat,
                                              msa_error *err);
void msa_linear_half_release(msa_linear_half *h);

/* msa_packed_forward() of the rounded weight: the same bits. l gives sizes and bias. */
void msa_linear_half_forward(const msa_linear *l, const msa_linear_half *h, int64_t M, const float *x,
                             int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue);

#endif
