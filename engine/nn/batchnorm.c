#include "engine/nn/batchnorm.h"

#include <math.h>

void msa_batchnorm_fold(const msa_bn_conv *c, int64_t step_n, int64_t step_k, float *weight, float *bias)
{
    for (int64_t n = 0; n < c->N; n++) {
        const double variance = c->variance[n] > 0.0f ? (double)c->variance[n] : 0.0;
        const double scale = (double)c->gain[n] / sqrt(variance + (double)MSA_EPS_BATCH);
        for (int64_t k = 0; k < c->K; k++) {
            float *w = &weight[n * step_n + k * step_k];
            *w = (float)(scale * (double)*w);
        }
        bias[n] = (float)((double)c->shift[n] - scale * (double)c->mean[n]);
    }
}
