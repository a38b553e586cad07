/* Depthwise convolution, 3 x 3, padding 1: every channel has its own kernel. Grids are channels-last. */
#ifndef MSA_ENGINE_NN_DEPTHWISE_H
#define MSA_ENGINE_NN_DEPTHWISE_H

#include <stdint.h>

/* Rows or columns of the output for `n` of the input. */
int32_t msa_depthwise3x3_side(int32_t n, int32_t stride);
/* weight (C, 1, 3, 3), as checkpoints have it, to out (9, C), as the functions below want it. */
void msa_depthwise3x3_weight(const float *weight, int32_t C, float *out);

/**
 * One line of the output: y (side(w), C) of the three lines of the input around it, each (w, C); a line
 * outside the input is NULL. weight (9, C), bias (C), zeros (C). Does not use threads.
 */
void msa_depthwise3x3_line(const float *const lines[3], int32_t w, int32_t C, const float *weight,
                           const float *bias, const float *zeros, int32_t stride, float *y);
/* x (h, w, C) to y (side(h), side(w), C), not overlapping; the lines are shared out over the engine's
 * threads. */
void msa_depthwise3x3(const float *x, int32_t h, int32_t w, int32_t C, const float *weight, const float *bias,
                      const float *zeros, int32_t stride, float *y);

#endif
