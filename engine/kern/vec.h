/* Elementwise functions and row reductions on float vectors; plain C that compilers vectorise. */
#ifndef MSA_ENGINE_KERN_VEC_H
#define MSA_ENGINE_KERN_VEC_H

#include <stdbool.h>
#include <stdint.h>

/* Every function: reentrant, allocates nothing, same bits for the same input. y may be x. NaN stays NaN. */

/* e^x, relative error below 3e-7; 0 below -87. */
void msa_exp(int64_t n, const float *x, float *y);
/* Exact (erf) form 0.5 x (1 + erf(x / sqrt 2)); absolute error below 1e-6, relative below 2e-6 in the tail.
 */
void msa_gelu(int64_t n, const float *x, float *y);
void msa_relu(int64_t n, const float *x, float *y);
/* dx = dy * f'(x); dx may be dy. x of the ReLU may be its output as well. */
void msa_gelu_backward(int64_t n, const float *x, const float *dy, float *dx);
void msa_relu_backward(int64_t n, const float *x, const float *dy, float *dx);
/* y += s * x */
void msa_axpy(int64_t n, float s, const float *x, float *y);
/* z = x + y; z may be either */
void msa_add(int64_t n, const float *x, const float *y, float *z);

/* Sums use eight running sums, added in a fixed order. */
float msa_sum(int64_t n, const float *x);
float msa_dot(int64_t n, const float *x, const float *y);
/* Softmax of one row in place, the maximum subtracted first. n >= 1. */
void msa_softmax(int64_t n, float *x);
/* False when any value is infinite or not a number. */
bool msa_all_finite(int64_t n, const float *x);

#endif
