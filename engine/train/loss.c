#include "engine/train/loss.h"

#include <math.h>

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

static double dice_item(const float *logits, const float *target, int64_t n, bool squared)
{
    double both = 0;
    double either = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = sigmoid((double)logits[i]);
        const double t = (double)target[i];
        both += p * t;
        either += squared ? p * p + t * t : p + t;
    }
    return 1 - (2 * both + DICE_SMOOTH) / (either + DICE_SMOOTH);
}

double msa_loss_dice(const float *logits, const float *target, int64_t items, int64_t n, bool squared)
{
    double sum = 0;
    for (int64_t i = 0; i < items; i++)
        sum += dice_item(logits + i * n, target + i * n, n, squared);
    return sum / (double)items;
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
