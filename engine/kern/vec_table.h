/* The kernels of kern/vec.h, one table for each instruction set they were compiled for. */
#ifndef MSA_ENGINE_KERN_VEC_TABLE_H
#define MSA_ENGINE_KERN_VEC_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/kern/cpu.h"

typedef struct msa_vec_table {
    void (*exp)(int64_t n, const float *x, float *y);
    void (*gelu)(int64_t n, const float *x, float *y);
    void (*relu)(int64_t n, const float *x, float *y);
    void (*gelu_backward)(int64_t n, const float *x, const float *dy, float *dx);
    void (*relu_backward)(int64_t n, const float *x, const float *dy, float *dx);
    void (*axpy)(int64_t n, float s, const float *x, float *y);
    void (*add)(int64_t n, const float *x, const float *y, float *z);
    void (*scale)(int64_t n, float s, const float *x, float *y);
    float (*sum)(int64_t n, const float *x);
    float (*dot)(int64_t n, const float *x, const float *y);
    void (*softmax)(int64_t n, float *x);
    float (*softmax_part)(int64_t n, float *x, float *sum);
    void (*softmax_columns)(int64_t rows, int64_t n, float *x, int64_t ld);
    void (*softmax_backward)(int64_t n, const float *p, float *dp);
    bool (*all_finite)(int64_t n, const float *x);
    void (*add_position)(int64_t rows, int64_t n, const float *up, const float *line, float *to);
    void (*position_sums)(int64_t rows, int64_t n, const float *x, float *up, float *line);
    void (*column_sums)(int64_t rows, int64_t n, const float *x, int64_t ld, double *sum);
    void (*depthwise9)(int64_t n, const float *const x[9], const float *weight, const float *bias, float *y);
    void (*mix4)(int64_t n, const float *const x[4], const float weight[4], float *y);
    void (*grey)(int64_t n, const float *x, float low, float high, bool keep_zero, uint8_t *y);
    float (*squared_distance)(int64_t n, const float *x, float mean);
    void (*normalise)(int64_t n, const float *x, float mean, float scale, const float *weight,
                      const float *bias, float *y);
    void (*normalise_backward)(int64_t n, const float *x, float mean, float scale, const float *weight,
                               const float *dy, bool add, float *dx);
    void (*normalise_params)(int64_t rows, int64_t n, const float *x, const float *dy, int64_t ld,
                             const float *mean, const float *scale, double *dweight, double *dbias);
} msa_vec_table;

extern const msa_vec_table msa_vec_scalar;
#if defined(__x86_64__)
extern const msa_vec_table msa_vec_avx2, msa_vec_avx512;
#elif defined(__aarch64__)
extern const msa_vec_table msa_vec_neon;
#endif

/* The table of a level; NULL when this build has none. The CPU is not asked: see msa_cpu_detected(). */
const msa_vec_table *msa_vec_table_at(msa_cpu_level level);

#endif
