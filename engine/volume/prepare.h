/* One slice, or a part of it, to network input, as the model's profile wants it. */
#ifndef MSA_ENGINE_VOLUME_PREPARE_H
#define MSA_ENGINE_VOLUME_PREPARE_H

#include "engine/base/error.h"
#include "engine/volume/geometry.h"
#include "engine/volume/window.h"

/**
 * 8-bit picture to network input. u8 (rows, cols, channels), channels 1 (copied to all three) or 3;
 * out (3, S, S), S >= rows, cols. What the picture does not cover is zero AFTER normalising: padding is not
 * black, it is nothing. Errors: none. Source: Sam.preprocess() of arXiv:2304.02643, MedSAM
 * (arXiv:2304.12306).
 */
void msa_normalise_pad(const uint8_t *u8, int32_t rows, int32_t cols, int32_t channels, msa_input_norm norm,
                       int32_t size, float *out);

/* Rows first .. first + n - 1 of the part of slice (.., cols) that t says, windowed: grey (n, t->cols).
 * Errors: MSA_E_INVALID (a value that is not finite). */
MSA_NODISCARD msa_status msa_grey_rows(const msa_transform *t, const msa_window *window, const float *slice,
                                       int32_t cols, int32_t first, int32_t n, uint8_t *grey, msa_error *err);

/**
 * The part of slice (.., cols) that t says, in modality units, to image (3, S, S). Windowed to 8 bit, resized
 * as PIL does (also for the stretch profile, where MedSAM's own tools use a cubic filter: the difference is
 * below one grey level of noise), normalised, padded. Errors: MSA_E_INVALID (a value that is not finite),
 * MSA_E_NOMEM. Threads: reentrant.
 */
MSA_NODISCARD msa_status msa_prepare_slice(const msa_transform *t, const msa_window *window,
                                           msa_input_norm norm, const float *slice, int32_t cols,
                                           float *image, msa_error *err);

#endif
