/* Gradients against central differences of the same function evaluated in double. */
#ifndef MSA_TESTS_UNIT_TRAIN_CENTRAL_H
#define MSA_TESTS_UNIT_TRAIN_CENTRAL_H

#include <stdint.h>

/* The scalar to be differentiated, at the values it finds in its context. */
typedef double central_fn(const void *ctx);

/**
 * Checks grad[i] = d fn / d values[i] for every i (every `stride`-th). Fails the cmocka test with the first
 * index, wanted, got and tolerance; the tolerance is `relative` of the largest difference quotient.
 */
void central_check(const char *what, central_fn *fn, const void *ctx, double *values, int64_t n,
                   const float *grad, int64_t stride, double relative);

/* n floats and the same numbers in double, in -scale .. scale. Freed by free(). */
typedef struct twin {
    float *f;
    double *d;
    int64_t n;
} twin;
twin twin_new(int64_t n, uint64_t seed, float scale);
void twin_free(twin *t);

#endif
