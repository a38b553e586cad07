/* Resizing of float grids where msa_resize_bilinear() is not what a model was trained with. */
#ifndef MSA_ENGINE_NN_RESAMPLE_H
#define MSA_ENGINE_NN_RESAMPLE_H

#include <stdint.h>

#include "engine/base/error.h"

/* src (h, w, C) to dst (oh, ow, C), not overlapping. Index floor(o * in / out): PyTorch's "nearest". */
void msa_resize_nearest(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                        int32_t ow);
/**
 * Bilinear with a triangle filter that widens when shrinking, as PyTorch's antialias=True; without rounding,
 * unlike msa_resize8(). Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_resize_antialias(const float *src, int32_t h, int32_t w, int32_t C, float *dst,
                                              int32_t oh, int32_t ow, msa_error *err);

#endif
