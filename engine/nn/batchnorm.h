/* Batch norm of a trained network: an affine map of each channel, which its convolution takes over. */
#ifndef MSA_ENGINE_NN_BATCHNORM_H
#define MSA_ENGINE_NN_BATCHNORM_H

#include <stdint.h>

#define MSA_EPS_BATCH 1e-5f

/**
 * A convolution without bias and the batch norm behind it, borrowed. weight (N, K): N outputs, each of K
 * values; the norm's weight, bias, mean and variance (N).
 */
typedef struct msa_bn_conv {
    const float *weight, *gain, *shift, *mean, *variance;
    int32_t N, K;
} msa_bn_conv;

/**
 * The same as one convolution with a bias. weight holds a copy of c->weight, output n's value k at n * step_n
 * + k * step_k, and is scaled in place; bias (N) out. A variance below zero, which is no variance, counts as
 * zero.
 */
void msa_batchnorm_fold(const msa_bn_conv *c, int64_t step_n, int64_t step_k, float *weight, float *bias);

#endif
