/* Group normalisation with one group: over all channels of all pixels, then scaled by channel. */
#ifndef MSA_ENGINE_NN_GROUPNORM_H
#define MSA_ENGINE_NN_GROUPNORM_H

#include "engine/nn/layernorm.h"

#define MSA_EPS_GROUP 1e-5f

/* x (pixels, n->C) to y, which may be x. Biased variance, in two passes. The bits do not depend on the number
 * of threads. */
void msa_group_norm_forward(const msa_norm *n, float eps, int64_t pixels, const float *x, float *y);

#endif
