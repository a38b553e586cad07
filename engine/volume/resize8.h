/* 8-bit bilinear resize, antialiased: the exact arithmetic of PIL, which the models saw in training. */
#ifndef MSA_ENGINE_VOLUME_RESIZE8_H
#define MSA_ENGINE_VOLUME_RESIZE8_H

#include <stdint.h>

#include "engine/base/error.h"

/* Sides after scaling the longest one to `size`: int(side * size / longest + 0.5). A very thin image can come
 * to 0. */
void msa_longest_side(int32_t rows, int32_t cols, int32_t size, int32_t *out_rows, int32_t *out_cols);

/**
 * in (rows, cols, channels) to out (out_rows, out_cols, channels), interleaved; all sides at least 1.
 * Triangle filter, widened by the scale when shrinking; coefficients computed in double and rounded to
 * 22-bit fixed point; horizontal pass first; each pass clips to 8 bits; a pass that changes no size is left
 * out. Errors: MSA_E_NOMEM. Threads: reentrant.
 */
MSA_NODISCARD msa_status msa_resize8(const uint8_t *in, int32_t rows, int32_t cols, int32_t channels,
                                     uint8_t *out, int32_t out_rows, int32_t out_cols, msa_error *err);

#endif
