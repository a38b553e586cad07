/* A dense layer's weights in fewer bits than float32, and the product with them. */
#ifndef MSA_ENGINE_NN_REDUCED_H
#define MSA_ENGINE_NN_REDUCED_H

#include "engine/nn/linear.h"

/* What msa_linear_forward() does for a layer that has l->reduced: the same arguments. */
void msa_reduced_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                         msa_epilogue epilogue);

#endif
