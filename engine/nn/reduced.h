/* A dense layer's weights in fewer bits than float32, and the product with them. */
#ifndef MSA_ENGINE_NN_REDUCED_H
#define MSA_ENGINE_NN_REDUCED_H

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/nn/linear.h"
#include "engine/precision.h"

/* From l->weight, by the engine's threads. precision: not FP32. Errors: MSA_E_NOMEM, MSA_E_UNSUPPORTED (a
 * layer wider than int8 can sum). */
MSA_NODISCARD msa_status msa_reduced_new(msa_reduced **out, const msa_linear *l, msa_precision precision,
                                         msa_error *err);
void msa_reduced_free(msa_reduced *r);
MSA_DEFINE_AUTO(msa_reduced, msa_reduced_free);
/* Memory that it holds. */
size_t msa_reduced_bytes(const msa_reduced *r);

/* What msa_linear_forward() does for a layer that has l->reduced: the same arguments. */
void msa_reduced_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                         msa_epilogue epilogue);

#endif
