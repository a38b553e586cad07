/* Resizing of float grids, half-pixel centres (align_corners off), no antialiasing, edges clamped. */
#ifndef MSA_ENGINE_NN_INTERP_H
#define MSA_ENGINE_NN_INTERP_H

#include <stdint.h>

/**
 * src (h, w, C) to dst (oh, ow, C), both row-major, not overlapping; C = 1 for a plane. Sides are at least 1.
 * Bilinear: s = max((o + 0.5) * in / out - 0.5, 0), upper neighbour clamped.
 * Bicubic: a = -0.75, s not clamped, the four taps clamped: PyTorch's interpolate(mode="bicubic").
 * Memory: none. Errors: none. Threads: reentrant.
 */
void msa_resize_bilinear(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                         int32_t ow);
void msa_resize_bicubic(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                        int32_t ow);
/* src (n, C) to dst (on, C), linear along the rows only. */
void msa_resize_linear(const float *src, int32_t n, int32_t C, float *dst, int32_t on);

/* Backward: ddst as dst; added to dsrc, shaped as src. */
void msa_resize_bilinear_backward(const float *ddst, int32_t oh, int32_t ow, int32_t C, float *dsrc,
                                  int32_t h, int32_t w);
void msa_resize_bicubic_backward(const float *ddst, int32_t oh, int32_t ow, int32_t C, float *dsrc, int32_t h,
                                 int32_t w);
void msa_resize_linear_backward(const float *ddst, int32_t on, int32_t C, float *dsrc, int32_t n);

#endif
