/* Activations that no SAM block uses, but other models of the family and the losses do. */
#ifndef MSA_ENGINE_NN_ACTIVATION_H
#define MSA_ENGINE_NN_ACTIVATION_H

#include <stdint.h>

/* y may be x. NaN stays NaN. */

void msa_sigmoid(int64_t n, const float *x, float *y);
/* x * sigmoid(1.702 x): CLIP's. */
void msa_quickgelu(int64_t n, const float *x, float *y);
/* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): the approximate form; SAM itself uses msa_gelu(). */
void msa_gelu_tanh(int64_t n, const float *x, float *y);

#endif
