/* Elementwise functions and row reductions on float vectors, run with the widest instructions of the CPU. */
#ifndef MSA_ENGINE_KERN_VEC_H
#define MSA_ENGINE_KERN_VEC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Every function: reentrant, allocates nothing, same bits for the same input and level (kern/cpu.h). y may be
 * x. NaN stays NaN. Sums are sixteen running sums, added in a fixed order. The levels differ only by
 * rounding: those with FMA round a product and a sum once.
 */

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
/* y = s * x */
void msa_scale(int64_t n, float s, const float *x, float *y);

float msa_sum(int64_t n, const float *x);
float msa_dot(int64_t n, const float *x, const float *y);
/* Softmax of one row in place, the maximum subtracted first. n >= 1. */
void msa_softmax(int64_t n, float *x);
/* Softmax of a row that comes in parts: x = e^(x - max) of this part, whose max is returned and whose sum is
 * *sum. n >= 1. */
float msa_softmax_part(int64_t n, float *x, float *sum);
/* Softmax of each of the n columns of x (rows, n), rows ld apart. rows >= 1. */
void msa_softmax_columns(int64_t rows, int64_t n, float *x, int64_t ld);
/* p the probabilities of a row, dp their gradients, replaced by those of the scores: p * (dp - sum(p dp)). */
void msa_softmax_backward(int64_t n, const float *p, float *dp);
/* False when any value is infinite or not a number. */
bool msa_all_finite(int64_t n, const float *x);

/* to(rows, n) += up[-row] + line[i]: both position terms of one query's scores, the rows read backwards. */
void msa_add_position(int64_t rows, int64_t n, const float *up, const float *line, float *to);
/* Its backward: up[-row] = the sum of row(n) of x, line[i] = the sum of column i. */
void msa_position_sums(int64_t rows, int64_t n, const float *x, float *up, float *line);
/* sum[i] += of column i of x(rows, n), rows ld apart; in double, since a column may hold thousands of rows.
 */
void msa_column_sums(int64_t rows, int64_t n, const float *x, int64_t ld, double *sum);
/* y = bias + the sum of x[k] * weight[k] over k: vectors of n, weight (9, n); one pixel of a depthwise 3 x 3.
 */
void msa_depthwise9(int64_t n, const float *const x[9], const float *weight, const float *bias, float *y);

/* y = the sum of x[k] * weight[k] over k, in their order; the same bits at every level. */
void msa_mix4(int64_t n, const float *const x[4], const float weight[4], float *y);
/* low .. high to 0 .. 255, clipped and truncated; an x of 0 gives 0 where keep_zero says so. x is finite, low
 * < high. The same bits at every level. */
void msa_grey(int64_t n, const float *x, float low, float high, bool keep_zero, uint8_t *y);

/* ---- parts of the layer norm; z = (x - mean) * scale is the normalised row ---- */

/* sum((x - mean)^2) */
float msa_squared_distance(int64_t n, const float *x, float mean);
/* y = z * weight + bias */
void msa_normalise(int64_t n, const float *x, float mean, float scale, const float *weight, const float *bias,
                   float *y);
/**
 * With u = dy * weight: dx = scale * (u - mean(u) - z * mean(u z)), or added to dx; dx may be dy, unless
 * added.
 */
void msa_normalise_backward(int64_t n, const float *x, float mean, float scale, const float *weight,
                            const float *dy, bool add, float *dx);
/* Over the rows (ld apart) of n columns: dweight += dy z, dbias += dy; mean and scale one a row. */
void msa_normalise_params(int64_t rows, int64_t n, const float *x, const float *dy, int64_t ld,
                          const float *mean, const float *scale, double *dweight, double *dbias);

#endif
