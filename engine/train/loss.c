#include "engine/train/loss.h"

#include <math.h>
#include <stddef.h>

#define DICE_SMOOTH 1e-5

/* log(1 + e^x) without overflow. */
static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double msa_loss_bce(const float *logits, const float *target, int64_t items, int64_t n,
                    double positive_weight)
{
    double sum = 0;
    for (int64_t i = 0; i < items * n; i++) {
        const double x = (double)logits[i];
        const double t = (double)target[i];
        sum += positive_weight * t * softplus(-x) + (1 - t) * softplus(x);
    }
    return sum / (double)(items * n);
}

void msa_loss_bce_backward(const float *logits, const float *target, int64_t items, int64_t n,
                           double positive_weight, double scale, float *dlogits)
{
    const double each = scale / (double)(items * n);
    for (int64_t i = 0; i < items * n; i++) {
        const double p = sigmoid((double)logits[i]), t = (double)target[i];
        dlogits[i] += (float)(each * ((1 - t) * p - positive_weight * t * (1 - p)));
    }
}

static void dice_sums(const float *logits, const float *target, int64_t n, bool squared, double *both,
                      double *either)
{
    *both = 0;
    *either = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = sigmoid((double)logits[i]);
        const double t = (double)target[i];
        *both += p * t;
        *either += squared ? p * p + t * t : p + t;
    }
}

static double dice_item(const float *logits, const float *target, int64_t n, bool squared)
{
    double both = 0;
    double either = 0;
    dice_sums(logits, target, n, squared, &both, &either);
    return 1 - (2 * both + DICE_SMOOTH) / (either + DICE_SMOOTH);
}

double msa_loss_dice(const float *logits, const float *target, int64_t items, int64_t n, bool squared)
{
    double sum = 0;
    for (int64_t i = 0; i < items; i++)
        sum += dice_item(logits + i * n, target + i * n, n, squared);
    return sum / (double)items;
}

/* L = 1 - U / V: dL/dp = (U dV/dp - V dU/dp) / V^2, and dp/dx = p (1 - p). */
static void dice_item_backward(const float *logits, const float *target, int64_t n, bool squared,
                               double scale, float *dlogits)
{
    double both = 0;
    double either = 0;
    dice_sums(logits, target, n, squared, &both, &either);
    const double U = 2 * both + DICE_SMOOTH, V = either + DICE_SMOOTH;
    for (int64_t i = 0; i < n; i++) {
        const double p = sigmoid((double)logits[i]), t = (double)target[i];
        const double dp = (U * (squared ? 2 * p : 1) / V - 2 * t) / V;
        dlogits[i] += (float)(scale * dp * p * (1 - p));
    }
}

void msa_loss_dice_backward(const float *logits, const float *target, int64_t items, int64_t n, bool squared,
                            double scale, float *dlogits)
{
    for (int64_t i = 0; i < items; i++)
        dice_item_backward(logits + i * n, target + i * n, n, squared, scale / (double)items,
                           dlogits + i * n);
}

double msa_loss_focal(const float *logits, const float *target, int64_t items, int64_t n, double alpha,
                      double gamma)
{
    double sum = 0;
    for (int64_t i = 0; i < items * n; i++) {
        const double x = (double)logits[i];
        const double t = (double)target[i];
        const double p = sigmoid(x);
        const double right = p * t + (1 - p) * (1 - t);
        const double entropy = t * softplus(-x) + (1 - t) * softplus(x);
        sum += (alpha * t + (1 - alpha) * (1 - t)) * entropy * pow(1 - right, gamma);
    }
    return sum / (double)(items * n);
}

/* With q = 1 - p_t: d(a E q^g)/dx = a (E' q^g + E g q^(g-1) q'), q' = -(2t - 1) p (1 - p), E' = p - t. */
void msa_loss_focal_backward(const float *logits, const float *target, int64_t items, int64_t n, double alpha,
                             double gamma, double scale, float *dlogits)
{
    const double each = scale / (double)(items * n);
    for (int64_t i = 0; i < items * n; i++) {
        const double x = (double)logits[i];
        const double t = (double)target[i];
        const double p = sigmoid(x);
        const double wrong = 1 - (p * t + (1 - p) * (1 - t));
        const double entropy = t * softplus(-x) + (1 - t) * softplus(x);
        const double slope = gamma == 0 ? 0 : gamma * pow(wrong, gamma - 1) * (1 - 2 * t) * p * (1 - p);
        const double weight = alpha * t + (1 - alpha) * (1 - t);
        dlogits[i] += (float)(each * weight * ((p - t) * pow(wrong, gamma) + entropy * slope));
    }
}

double msa_loss_iou(float predicted, double actual, double scale, float *dpredicted)
{
    const double off = (double)predicted - actual;
    if (dpredicted != NULL) *dpredicted += (float)(scale * 2 * off);
    return off * off;
}

/* ---- a loss as recipes name it ---- */

msa_loss_options msa_loss_defaults(msa_loss_kind kind)
{
    return (msa_loss_options){.kind = kind,
                              .positive_weight = 1,
                              .focal_alpha = 0.25,
                              .focal_gamma = 2,
                              .focal_weight = 20,
                              .dice_weight = 1};
}

double msa_loss(const msa_loss_options *o, const float *logits, const float *target, int64_t items, int64_t n,
                double scale, float *dlogits)
{
    const bool bce = o->kind == MSA_LOSS_BCE || o->kind == MSA_LOSS_DICE_BCE;
    const bool focal = o->kind == MSA_LOSS_FOCAL_DICE;
    const double dice_weight = o->kind == MSA_LOSS_BCE ? 0 : focal ? o->dice_weight : 1;
    double loss = 0;
    if (bce) loss += msa_loss_bce(logits, target, items, n, o->positive_weight);
    if (focal)
        loss += o->focal_weight * msa_loss_focal(logits, target, items, n, o->focal_alpha, o->focal_gamma);
    if (dice_weight != 0) loss += dice_weight * msa_loss_dice(logits, target, items, n, !o->dice_plain);
    if (dlogits == NULL) return loss;
    if (bce) msa_loss_bce_backward(logits, target, items, n, o->positive_weight, scale, dlogits);
    if (focal)
        msa_loss_focal_backward(logits, target, items, n, o->focal_alpha, o->focal_gamma,
                                scale * o->focal_weight, dlogits);
    if (dice_weight != 0)
        msa_loss_dice_backward(logits, target, items, n, !o->dice_plain, scale * dice_weight, dlogits);
    return loss;
}
