/* Dense layers in 8 bits: weights scaled for each output channel, inputs for each row as it comes. */
#ifndef MSA_ENGINE_NN_LINEAR_INT8_H
#define MSA_ENGINE_NN_LINEAR_INT8_H

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/kern/gemm_int8.h"
#include "engine/nn/linear.h"

typedef struct msa_linear_int8 {
    const msa_int8_table *table; /* whose form the panels have */
    unsigned char *panels;
    float *scales; /* (N) */
    size_t bytes;  /* of both */
} msa_linear_int8;

/* Uses the engine's threads. l->weight must be finite and l->K at most MSA_INT8_K_MAX. Errors: MSA_E_NOMEM,
 * MSA_E_UNSUPPORTED (K). */
MSA_NODISCARD msa_status msa_linear_int8_make(msa_linear_int8 *q, const msa_linear *l, msa_error *err);
void msa_linear_int8_release(msa_linear_int8 *q);

/**
 * As msa_linear_forward(); l gives sizes and bias, its weight is not looked at. A row that holds a value
 * which is not finite gives a row of NaN. Sums are exact and rows do not see each other, so the bits depend
 * neither on the threads nor on the CPU (a GELU after them: engine/kern/vec.h).
 */
void msa_linear_int8_forward(const msa_linear *l, const msa_linear_int8 *q, int64_t M, const float *x,
                             int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue);

#endif
