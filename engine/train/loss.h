/* Losses on logits, and their gradients. */
#ifndef MSA_ENGINE_TRAIN_LOSS_H
#define MSA_ENGINE_TRAIN_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/training.h"

/**
 * logits, target (items, n), target in 0 .. 1; sums are kept in double and in order. Every result is a mean.
 * A backward adds `scale` times the gradient to dlogits (items, n), so that several losses may meet there.
 */

/* Binary cross-entropy; positive targets count `positive_weight` times. */
double msa_loss_bce(const float *logits, const float *target, int64_t items, int64_t n,
                    double positive_weight);
void msa_loss_bce_backward(const float *logits, const float *target, int64_t items, int64_t n,
                           double positive_weight, double scale, float *dlogits);
/* Dice on sigmoid, per item, smoothing 1e-5 above and below the line; squared: of p^2 and t^2 in the
 * denominator. */
double msa_loss_dice(const float *logits, const float *target, int64_t items, int64_t n, bool squared);
void msa_loss_dice_backward(const float *logits, const float *target, int64_t items, int64_t n, bool squared,
                            double scale, float *dlogits);
/* alpha for positive, 1 - alpha for negative targets; (1 - p_t)^gamma. gamma is 0, or at least 1. */
double msa_loss_focal(const float *logits, const float *target, int64_t items, int64_t n, double alpha,
                      double gamma);
void msa_loss_focal_backward(const float *logits, const float *target, int64_t items, int64_t n, double alpha,
                             double gamma, double scale, float *dlogits);
/* (predicted - actual)^2 of the IoU head, one value; its derivative goes to *dpredicted when not NULL. */
double msa_loss_iou(float predicted, double actual, double scale, float *dpredicted);

/* The whole loss; dlogits NULL: the value only. */
double msa_loss(const msa_loss_options *o, const float *logits, const float *target, int64_t items, int64_t n,
                double scale, float *dlogits);

#endif
