/* Modality values to grey levels: one affine map for the whole volume, so that slices stay comparable. */
#ifndef MSA_ENGINE_VOLUME_WINDOW_H
#define MSA_ENGINE_VOLUME_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

/* lo maps to 0 and hi to full scale; values outside are clipped. lo < hi. */
typedef struct msa_window {
    float lo, hi;
    bool keep_zero; /* exactly zero stays zero: the air around an MR head is not tissue */
} msa_window;

/* CT: center and width in HU, both finite, width > 0. */
msa_window msa_window_centered(float center, float width);

/**
 * MR: between two percentiles of the positive voxels, linear between order statistics as NumPy does it.
 * v (n). percentiles in 0..100, low < high.
 * A volume without two different positive values gives 0..1: it is shown as it is, black.
 * Errors: MSA_E_INVALID (a non-finite voxel), MSA_E_NOMEM (512 KiB of counters; the volume is not copied).
 */
MSA_NODISCARD msa_status msa_window_percentile(msa_window *out, const float *v, size_t n, double low_pct,
                                               double high_pct, msa_error *err);

/* v (n) to out (n), 0..255, truncated and not rounded: NumPy's astype(uint8), as the models were trained. */
void msa_window_u8(const msa_window *w, const float *v, size_t n, uint8_t *out);
/* v (n) to out (n), 0..1. */
void msa_window_unit(const msa_window *w, const float *v, size_t n, float *out);

#endif
