/* Layer normalisation of rows. */
#ifndef MSA_ENGINE_NN_LAYERNORM_H
#define MSA_ENGINE_NN_LAYERNORM_H

#include <stdbool.h>
#include <stdint.h>

#define MSA_EPS_ENCODER 1e-6f /* encoder blocks, neck, every norm over channels */
#define MSA_EPS_DECODER 1e-5f

/* weight (C), bias (C). Borrowed. */
typedef struct msa_norm {
    const float *weight, *bias;
    int32_t C;
} msa_norm;

/**
 * x (T, C) to y (T, C), rows contiguous; y may be x. Biased variance, in two passes: mean first, then the
 * squared distances from it, since one pass cancels badly for rows with a large offset. A channels-first
 * plane set (C, H, W) is normalised per pixel by msa_norm_planes().
 */
void msa_norm_forward(const msa_norm *n, float eps, int64_t T, const float *x, float *y);
void msa_norm_planes(const msa_norm *n, float eps, int64_t pixels, const float *x, float *y);

/**
 * Backward of msa_norm_forward(); x is its input. dx (T, C), may be dy, is added to when `add` (then it is
 * not dy); NULL: not wanted. dweight, dbias (C), added to; NULL: frozen. scratch (2 * T).
 */
void msa_norm_backward(const msa_norm *n, float eps, int64_t T, const float *x, const float *dy, float *dx,
                       bool add, float *dweight, float *dbias, float *scratch);

#endif
