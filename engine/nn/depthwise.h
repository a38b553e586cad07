/* Depthwise convolution: every channel has its own kernel. Grids are channels-last. */
#ifndef MSA_ENGINE_NN_DEPTHWISE_H
#define MSA_ENGINE_NN_DEPTHWISE_H

#include <stdint.h>

/* Rows or columns of the output for `n` of the input: kernel 3, padding 1. */
int32_t msa_depthwise3x3_side(int32_t n, int32_t stride);
/* x (h, w, C), weight (C, 1, 3, 3), bias (C) or NULL to y (side(h), side(w), C), not overlapping. */
void msa_depthwise3x3(const float *x, int32_t h, int32_t w, int32_t C, const float *weight, const float *bias,
                      int32_t stride, float *y);

#endif
