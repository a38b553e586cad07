/* How well two masks agree. */
#ifndef MSA_ENGINE_VOLUME_METRICS_H
#define MSA_ENGINE_VOLUME_METRICS_H

#include <stdint.h>

#include "engine/base/error.h"

/* Masks (n), 0 or not. Both empty: 1. */
double msa_metric_dice(const uint8_t *a, const uint8_t *b, int64_t n);
double msa_metric_iou(const uint8_t *a, const uint8_t *b, int64_t n);

/**
 * Upstream's averages: probability and target (items, n), the same thresholds applied to both, IoU and Dice
 * per item with upstream's smoothing (1e-6, 1e-4), means over items and thresholds.
 */
void msa_metric_thresholds(const float *probability, const float *target, int64_t items, int64_t n,
                           const float *thresholds, int32_t n_thresholds, double *iou, double *dice);

/**
 * Hausdorff distance, mm, of masks (D, H, W): surfaces are what a cross-shaped erosion takes away (outside
 * the volume counts as background), distances by the exact Euclidean transform, `percentile` (0..100, linear
 * between order statistics) of each direction, the larger of the two. D = 1: in the plane. spacing_mm:
 * between slices, rows, columns. Both empty: 0. Errors: MSA_E_INVALID (one is empty: there is no distance),
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_metric_hausdorff(const uint8_t *a, const uint8_t *b, int32_t D, int32_t H,
                                              int32_t W, const double spacing_mm[3], double percentile,
                                              double *out, msa_error *err);

#endif
