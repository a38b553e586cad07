/* The few convolutions of SAM, as rearrangements around a matrix product. Grids are channels-last. */
#ifndef MSA_ENGINE_NN_CONV_H
#define MSA_ENGINE_NN_CONV_H

#include <stdint.h>

#include "engine/nn/linear.h"

/**
 * Non-overlapping patches: a convolution whose kernel equals its stride. image (C, H, W) channels-first;
 * rows first .. first + n - 1 of the (H/p * W/p) patches to out (n, C * p * p), in (channel, row, column)
 * order like the weight (N, C, p, p). H and W are cut to multiples of p.
 */
void msa_patch_rows(const float *image, int32_t C, int32_t H, int32_t W, int32_t p, int64_t first, int64_t n,
                    float *out);
/* 3 x 3, padding 1: x (h, w, C), pixels first .. first + n - 1 to out (n, 9 * C) in (row, column, channel)
 * order. */
void msa_conv3x3_rows(const float *x, int32_t h, int32_t w, int32_t C, int64_t first, int64_t n, float *out);
/* weight (N, C, 3, 3) to out (N, 3, 3, C), which belongs to msa_conv3x3_rows(). */
void msa_conv3x3_weight(const float *weight, int32_t N, int32_t C, float *out);
/**
 * Transposed convolution, kernel 2, stride 2: x (h, w, C), weight (C, N, 2, 2), bias (N) to y (2h, 2w, N).
 * Every output pixel sees one input pixel. scratch (h * w * 4 * N).
 */
void msa_conv_transpose2x2(const float *x, int32_t h, int32_t w, int32_t C, const float *weight,
                           const float *bias, int32_t N, float *scratch, float *y);
/* (C, n) to (n, C). Used both ways between channels-first and channels-last. */
void msa_transpose(const float *x, int64_t C, int64_t n, float *y);

/* ---- backward ---- */

/* Gradient of the rows, (h * w, 9 * C), to that of x, written. */
void msa_conv3x3_rows_backward(const float *drows, int32_t h, int32_t w, int32_t C, float *dx);
/* Gradient in the order of the rows, (N, 3, 3, C), added to dweight (N, C, 3, 3). */
void msa_conv3x3_weight_backward(const float *dout, int32_t N, int32_t C, float *dweight);

/* Patches cover the image once: rows (H/p * W/p, C * p * p) back to (C, H, W), what no patch covers is zero.
 */
void msa_patch_rows_backward(const float *drows, int32_t C, int32_t H, int32_t W, int32_t p, float *dimage);
/**
 * Backward of msa_conv_transpose2x2(). dy (2h, 2w, N); dx (h, w, C) is written, NULL: not wanted; dweight
 * (C, N, 2, 2) and dbias (N) are added to, NULL: frozen. scratch (h * w * 4 * N).
 */
void msa_conv_transpose2x2_backward(const float *x, int32_t h, int32_t w, int32_t C, const float *weight,
                                    int32_t N, const float *dy, float *scratch, float *dx, float *dweight,
                                    float *dbias);

#endif
