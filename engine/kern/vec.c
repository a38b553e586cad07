#include "engine/kern/vec.h"

#include <stdatomic.h>
#include <stddef.h>

#include "engine/kern/vec_table.h"

/* Chosen by the first call; whoever comes at the same time chooses the same. */
static const msa_vec_table *_Atomic chosen;

const msa_vec_table *msa_vec_table_at(msa_cpu_level level)
{
    if (level == MSA_CPU_SCALAR) return &msa_vec_scalar;
#if defined(__x86_64__)
    if (level == MSA_CPU_AVX2) return &msa_vec_avx2;
    if (level == MSA_CPU_AVX512) return &msa_vec_avx512;
#elif defined(__aarch64__)
    if (level == MSA_CPU_NEON) return &msa_vec_neon;
#endif
    return NULL;
}

static __attribute__((noinline, cold)) const msa_vec_table *choose(void)
{
    const msa_vec_table *t = msa_vec_table_at(msa_cpu_allowed());
    atomic_store_explicit(&chosen, t, memory_order_relaxed);
    return t;
}

static inline const msa_vec_table *table(void)
{
    const msa_vec_table *t = atomic_load_explicit(&chosen, memory_order_relaxed);
    return t != NULL ? t : choose();
}

void msa_exp(int64_t n, const float *x, float *y)
{
    table()->exp(n, x, y);
}

void msa_gelu(int64_t n, const float *x, float *y)
{
    table()->gelu(n, x, y);
}

void msa_relu(int64_t n, const float *x, float *y)
{
    table()->relu(n, x, y);
}

void msa_gelu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    table()->gelu_backward(n, x, dy, dx);
}

void msa_relu_backward(int64_t n, const float *x, const float *dy, float *dx)
{
    table()->relu_backward(n, x, dy, dx);
}

void msa_axpy(int64_t n, float s, const float *x, float *y)
{
    table()->axpy(n, s, x, y);
}

void msa_add(int64_t n, const float *x, const float *y, float *z)
{
    table()->add(n, x, y, z);
}

void msa_scale(int64_t n, float s, const float *x, float *y)
{
    table()->scale(n, s, x, y);
}

float msa_sum(int64_t n, const float *x)
{
    return table()->sum(n, x);
}

float msa_dot(int64_t n, const float *x, const float *y)
{
    return table()->dot(n, x, y);
}

void msa_softmax(int64_t n, float *x)
{
    table()->softmax(n, x);
}

float msa_softmax_part(int64_t n, float *x, float *sum)
{
    return table()->softmax_part(n, x, sum);
}

void msa_softmax_columns(int64_t rows, int64_t n, float *x, int64_t ld)
{
    table()->softmax_columns(rows, n, x, ld);
}

void msa_softmax_backward(int64_t n, const float *p, float *dp)
{
    table()->softmax_backward(n, p, dp);
}

bool msa_all_finite(int64_t n, const float *x)
{
    return table()->all_finite(n, x);
}

void msa_add_position(int64_t rows, int64_t n, const float *up, const float *line, float *to)
{
    table()->add_position(rows, n, up, line, to);
}

void msa_position_sums(int64_t rows, int64_t n, const float *x, float *up, float *line)
{
    table()->position_sums(rows, n, x, up, line);
}

void msa_mix4(int64_t n, const float *const x[4], const float weight[4], float *y)
{
    table()->mix4(n, x, weight, y);
}

void msa_grey(int64_t n, const float *x, float low, float high, bool keep_zero, uint8_t *y)
{
    table()->grey(n, x, low, high, keep_zero, y);
}

void msa_depthwise9(int64_t n, const float *const x[9], const float *weight, const float *bias, float *y)
{
    table()->depthwise9(n, x, weight, bias, y);
}

void msa_column_sums(int64_t rows, int64_t n, const float *x, int64_t ld, double *sum)
{
    table()->column_sums(rows, n, x, ld, sum);
}

float msa_squared_distance(int64_t n, const float *x, float mean)
{
    return table()->squared_distance(n, x, mean);
}

void msa_normalise(int64_t n, const float *x, float mean, float scale, const float *weight, const float *bias,
                   float *y)
{
    table()->normalise(n, x, mean, scale, weight, bias, y);
}

void msa_normalise_backward(int64_t n, const float *x, float mean, float scale, const float *weight,
                            const float *dy, bool add, float *dx)
{
    table()->normalise_backward(n, x, mean, scale, weight, dy, add, dx);
}

void msa_normalise_params(int64_t rows, int64_t n, const float *x, const float *dy, int64_t ld,
                          const float *mean, const float *scale, double *dweight, double *dbias)
{
    table()->normalise_params(rows, n, x, dy, ld, mean, scale, dweight, dbias);
}
