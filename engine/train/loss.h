/* Losses on logits, forward. Backward follows with training. */
#ifndef MSA_ENGINE_TRAIN_LOSS_H
#define MSA_ENGINE_TRAIN_LOSS_H

#include <stdbool.h>
#include <stdint.h>

/* logits, target (items, n), target in 0 .. 1; sums are kept in double. Every result is a mean. */

/* Binary cross-entropy; positive targets count `positive_weight` times. */
double msa_loss_bce(const float *logits, const float *target, int64_t items, int64_t n,
                    double positive_weight);
/* Dice on sigmoid, per item, smoothing 1e-5 above and below the line; squared: of p^2 and t^2 in the
 * denominator. */
double msa_loss_dice(const float *logits, const float *target, int64_t items, int64_t n, bool squared);
/* alpha for positive, 1 - alpha for negative targets; (1 - p_t)^gamma. */
double msa_loss_focal(const float *logits, const float *target, int64_t items, int64_t n, double alpha,
                      double gamma);

#endif
