/* Parts of check_vec: the layer norm's and attention's kernels, and the timing. */
#ifndef MSA_TESTS_KERN_VEC_ROWS_H
#define MSA_TESTS_KERN_VEC_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kern/vec_table.h"

void vec_near(const char *what, int64_t n, int64_t i, double x, double got, double wanted, double tolerance);
void vec_expect(const char *what, bool ok);
/* In -1 .. 1 */
float vec_next(uint64_t *seed);

void vec_check_norm_row(const msa_vec_table *t, int64_t n, const float *x, const float *dy, float *y);
void vec_check_grids(const msa_vec_table *t, uint64_t seed);
void vec_check_columns(const msa_vec_table *t, uint64_t seed);

/* Prints one line a kernel and size; returns 0. */
int vec_bench(void);

#endif
