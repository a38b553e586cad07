/* Filters of small pictures that the generator and augmentation share. */
#ifndef MSA_ENGINE_TRAIN_AUGMENT_FILTER_H
#define MSA_ENGINE_TRAIN_AUGMENT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/train/data_random.h"

#define MSA_FILTER_RADIUS 8

/* A Gaussian of deviation sigma (cut at MSA_FILTER_RADIUS pixels) along both axes, in place; what lies
 * outside repeats the edge. line: scratch of max(rows, cols) + 2 * MSA_FILTER_RADIUS. Below 0.05 nothing
 * happens. */
void msa_filter_blur(float *v, int32_t rows, int32_t cols, float sigma, float *line);
/* Means over voxels larger than pixels: partial volume of a coarse scan. to_rows <= rows, to_cols <= cols. */
void msa_filter_shrink(const float *from, int32_t rows, int32_t cols, float *to, int32_t to_rows,
                       int32_t to_cols);
/* Linear between pixel centres, or nearest. */
void msa_filter_enlarge(const float *from, int32_t rows, int32_t cols, float *to, int32_t to_rows,
                        int32_t to_cols, bool nearest);
/* Nearly Gaussian, mean 0, deviation 1, limited to 4.9: the sum of eight 16-bit uniforms, in two draws. */
static inline float msa_filter_normal(msa_rng *r)
{
    const uint64_t a = msa_rng_u64(r), b = msa_rng_u64(r);
    const uint32_t sum = (uint32_t)((a & 0xFFFF) + (a >> 16 & 0xFFFF) + (a >> 32 & 0xFFFF) + (a >> 48)) +
                         (uint32_t)((b & 0xFFFF) + (b >> 16 & 0xFFFF) + (b >> 32 & 0xFFFF) + (b >> 48));
    return ((float)sum / 65535.0F - 4.0F) * 1.2247449F;
}

#endif
