/*
 * The row kernels at every level that this CPU has, against libm in double and against the scalar level:
 * sizes around the vector width, misaligned starts, guard values. With --bench: nanoseconds per value, level
 * by level.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/vec.h"
#include "engine/kern/vec_table.h"
#include "tests/kern/vec_rows.h"

#define GUARD 12345.678f

static int failures;
static const char *level = "";

void vec_near(const char *what, int64_t n, int64_t i, double x, double got, double wanted, double tolerance)
{
    if (fabs(got - wanted) <= tolerance) return;
    if (failures++ < 10)
        printf("%s: %s: n %lld index %lld x %.9g wanted %.9g got %.9g tolerance %.3g\n", level, what,
               (long long)n, (long long)i, x, wanted, got, tolerance);
}

void vec_expect(const char *what, bool ok)
{
    if (ok) return;
    failures++;
    printf("%s: %s\n", level, what);
}

float vec_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)((double)(*seed >> 40) / 8388608.0 - 1.0);
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

static double gelu_slope(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0)) + x * exp(-0.5 * x * x) / sqrt(2.0 * acos(-1.0));
}

/* The tail keeps its relative accuracy: 2e-6 of the value, and never more than 1e-6. */
static double gelu_tolerance(double x)
{
    return fmax(fmin(2e-6 * fabs(gelu(x)), 1e-6), fmax(1e-37, fabs(x) * 6e-8));
}

/* Rounding of n floats of at most `size`, added in sixteen lanes. */
static double sum_tolerance(int64_t n, double size)
{
    return size * (2.0 + sqrt((double)n)) * 1.2e-7;
}

static void check_functions(const msa_vec_table *t, int64_t n, const float *x, const float *dy, float *y)
{
    y[n] = GUARD;
    t->gelu(n, x, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("gelu", n, i, (double)x[i], (double)y[i], gelu((double)x[i]), gelu_tolerance((double)x[i]));
    t->exp(n, x, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("exp", n, i, (double)x[i], (double)y[i], exp((double)x[i]), 3e-7 * exp((double)x[i]));
    t->gelu_backward(n, x, dy, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("gelu backward", n, i, (double)x[i], (double)y[i], (double)dy[i] * gelu_slope((double)x[i]),
                 1e-6);
    t->relu(n, x, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("relu", n, i, (double)x[i], (double)y[i], fmax((double)x[i], 0.0), 0.0);
    t->relu_backward(n, x, dy, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("relu backward", n, i, (double)x[i], (double)y[i], x[i] > 0.0f ? (double)dy[i] : 0.0, 0.0);
    t->add(n, x, dy, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("add", n, i, (double)x[i], (double)y[i], (double)(x[i] + dy[i]), 0.0);
    t->axpy(n, 0.7f, x, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("axpy", n, i, (double)x[i], (double)y[i], 1.7 * (double)x[i] + (double)dy[i], 2e-6);
    t->scale(n, 0.7f, x, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("scale", n, i, (double)x[i], (double)y[i], (double)(0.7f * x[i]), 0.0);
    vec_near("guard", n, n, 0.0, (double)y[n], (double)GUARD, 0.0);
}

static void check_sums(const msa_vec_table *t, int64_t n, const float *x, const float *y)
{
    const msa_vec_table *scalar = msa_vec_table_at(MSA_CPU_SCALAR);
    double sum = 0.0, dot = 0.0, distance = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - 0.25;
        sum += (double)x[i];
        dot += (double)x[i] * (double)y[i];
        distance += d * d;
    }
    vec_near("sum", n, 0, 0.0, (double)t->sum(n, x), sum, sum_tolerance(n, 16.0));
    vec_near("dot", n, 0, 0.0, (double)t->dot(n, x, y), dot, sum_tolerance(n, 16.0));
    vec_near("squared distance", n, 0, 0.0, (double)t->squared_distance(n, x, 0.25f), distance,
             sum_tolerance(n, 70.0) + 1e-6 * distance);
    vec_expect("sums have the scalar level's bits",
               t->sum(n, x) == scalar->sum(n, x) && t->dot(n, x, y) == scalar->dot(n, x, y) &&
                   t->squared_distance(n, x, 0.25f) == scalar->squared_distance(n, x, 0.25f));
}

static void check_softmax(const msa_vec_table *t, int64_t n, const float *x, const float *dy, float *y)
{
    double total = 0.0, mean = 0.0;
    static double p[4200];
    for (int64_t i = 0; i < n; i++)
        total += exp((double)x[i]);
    for (int64_t i = 0; i < n; i++)
        p[i] = exp((double)x[i]) / total, mean += p[i] * (double)dy[i];
    memcpy(y, x, (size_t)n * sizeof *y);
    y[n] = GUARD;
    t->softmax(n, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("softmax", n, i, (double)x[i], (double)y[i], p[i], 1e-6);
    static float row[4200];
    float sum = 0.0f;
    memcpy(row, x, (size_t)n * sizeof *y);
    const double max = (double)t->softmax_part(n, row, &sum);
    for (int64_t i = 0; i < n; i++)
        vec_near("softmax part", n, i, (double)x[i], (double)row[i], exp((double)x[i] - max), 1e-6);
    vec_near("softmax part, sum", n, 0, max, (double)sum, total / exp(max), 1e-6 * (double)n);
    memcpy(row, y, (size_t)n * sizeof *y);
    memcpy(y, dy, (size_t)n * sizeof *y);
    t->softmax_backward(n, row, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("softmax backward", n, i, (double)dy[i], (double)y[i], p[i] * ((double)dy[i] - mean), 2e-6);
    vec_near("softmax guard", n, n, 0.0, (double)y[n], (double)GUARD, 0.0);
}

static void check_sizes(const msa_vec_table *t, uint64_t seed)
{
    static const int64_t sizes[] = {0, 1, 7, 8, 9, 14, 15, 16, 17, 31, 33, 63, 64, 65, 196, 768, 4096};
    static float room[4200], other[4200], out[4200];
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int shift = 0; shift < 4; shift++) {
            const int64_t n = sizes[s];
            float *x = room + shift, *dy = other + (shift + 1) % 4, *y = out + (shift + 2) % 4;
            for (int64_t i = 0; i < n; i++)
                x[i] = 8.0f * vec_next(&seed), dy[i] = vec_next(&seed);
            check_functions(t, n, x, dy, y);
            check_sums(t, n, x, dy);
            if (n > 0) check_softmax(t, n, x, dy, y);
            if (n > 0) vec_check_norm_row(t, n, x, dy, y);
        }
}

/* What may be in place is the same in place. */
static void check_in_place(const msa_vec_table *t, uint64_t seed)
{
    enum { N = 77 };
    float x[N], dy[N], y[N], z[N];
    for (int i = 0; i < N; i++)
        x[i] = 4.0f * vec_next(&seed), dy[i] = vec_next(&seed);
    t->gelu(N, x, y);
    memcpy(z, x, sizeof z);
    t->gelu(N, z, z);
    vec_expect("gelu in place", memcmp(y, z, sizeof z) == 0);
    t->gelu_backward(N, x, dy, y);
    memcpy(z, dy, sizeof z);
    t->gelu_backward(N, x, z, z);
    vec_expect("gelu backward in place", memcmp(y, z, sizeof z) == 0);
    t->add(N, x, dy, y);
    memcpy(z, dy, sizeof z);
    t->add(N, x, z, z);
    vec_expect("add in place", memcmp(y, z, sizeof z) == 0);
    t->normalise_backward(N, x, 0.1f, 0.5f, x, dy, false, y);
    memcpy(z, dy, sizeof z);
    t->normalise_backward(N, x, 0.1f, 0.5f, x, z, false, z);
    vec_expect("normalise backward in place", memcmp(y, z, sizeof z) == 0);
}

/* Every float in steps through the range where GELU is not trivial. */
static void check_gelu_range(const msa_vec_table *t)
{
    enum { N = 2048 };
    float x[N], y[N];
    for (double from = -14.0; from < 14.0; from += 0.02) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(from + 0.02 * i / N);
        t->gelu(N, x, y);
        for (int i = 0; i < N; i++)
            vec_near("gelu range", N, i, (double)x[i], (double)y[i], gelu((double)x[i]), 1e-6);
    }
}

/* The value at every place of a row of 23: in the lanes and after them. */
static void check_bad_values(const msa_vec_table *t)
{
    enum { N = 23 };
    float row[N], dp[N];
    for (int bad = 0; bad < N; bad++) {
        for (int i = 0; i < N; i++)
            row[i] = (float)i, dp[i] = 1.0f;
        row[bad] = NAN;
        vec_expect("NaN is found", !t->all_finite(N, row));
        vec_expect("NaN shows in sums", isnan(t->sum(N, row)) && isnan(t->dot(N, dp, row)) &&
                                            isnan(t->squared_distance(N, row, 1.0f)));
        t->softmax(N, row);
        vec_expect("NaN shows in softmax", isnan(row[0]) && isnan(row[N - 1]));
        dp[bad] = NAN;
        for (int i = 0; i < N; i++)
            row[i] = 1.0f;
        t->softmax_backward(N, row, dp);
        vec_expect("NaN shows in softmax backward", isnan(dp[0]) && isnan(dp[N - 1]));
        for (int i = 0; i < N; i++)
            row[i] = (float)i;
        row[bad] = -INFINITY;
        vec_expect("infinity is found", !t->all_finite(N, row));
        t->softmax(N, row);
        vec_expect("minus infinity is nothing in softmax", row[bad] == 0.0f && isfinite(row[(bad + 1) % N]));
    }
}

static void check_specials(const msa_vec_table *t)
{
    enum { N = 18 };
    const float six[6] = {NAN, INFINITY, -INFINITY, 0.0f, 1e30f, -1e30f};
    float x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = six[i % 6];
    for (int at = 0; at < N; at += 6) {
        t->gelu(N, x, y);
        vec_expect("gelu of NaN is NaN", isnan(y[at]));
        vec_expect("gelu of infinities", y[at + 1] == INFINITY && y[at + 2] == 0.0f && y[at + 3] == 0.0f &&
                                             y[at + 4] == 1e30f && y[at + 5] == 0.0f);
        t->exp(N, x, y);
        vec_expect("exp of NaN is NaN", isnan(y[at]));
        vec_expect("exp of large negatives is 0",
                   y[at + 2] == 0.0f && y[at + 5] == 0.0f && y[at + 3] == 1.0f);
        t->relu(N, x, y);
        vec_expect("relu of NaN is NaN", isnan(y[at]) && y[at + 1] == INFINITY && y[at + 2] == 0.0f);
    }
    for (int i = 0; i < N; i++)
        x[i] = 1e38f * (i % 2 == 0 ? 1.0f : -1.0f);
    vec_expect("large values are finite", t->all_finite(N, x));
    for (int i = 0; i < N; i++)
        x[i] = 1000.0f;
    t->softmax(N, x);
    vec_expect("softmax subtracts the maximum", fabsf(x[4] - 1.0f / N) < 1e-7f);
}

/* Both levels with FMA fuse the same, so a run on one kind of CPU is repeated on the other, but for OpenBLAS.
 */
static void check_same_bits(void)
{
    enum { N = 1001 };
    static float x[N], dy[N], y[N], z[N];
    const msa_vec_table *a = msa_vec_table_at(MSA_CPU_AVX2), *b = msa_vec_table_at(MSA_CPU_AVX512);
    uint64_t seed = 99;
    for (int i = 0; i < N; i++)
        x[i] = 6.0f * vec_next(&seed), dy[i] = vec_next(&seed);
    level = "avx2 and avx512";
    a->gelu(N, x, y);
    b->gelu(N, x, z);
    vec_expect("gelu has the same bits", memcmp(y, z, sizeof y) == 0);
    a->gelu_backward(N, x, dy, y);
    b->gelu_backward(N, x, dy, z);
    vec_expect("gelu backward has the same bits", memcmp(y, z, sizeof y) == 0);
    memcpy(y, x, sizeof y);
    memcpy(z, x, sizeof z);
    a->softmax(N, y);
    b->softmax(N, z);
    vec_expect("softmax has the same bits", memcmp(y, z, sizeof y) == 0);
    a->normalise_backward(N, x, 0.1f, 0.7f, dy, dy, true, y);
    b->normalise_backward(N, x, 0.1f, 0.7f, dy, dy, true, z);
    vec_expect("normalise backward has the same bits", memcmp(y, z, sizeof y) == 0);
}

/* MSA_CPU_MASK's words, and that the functions of vec.h are those of the level it allows. */
static void check_choice(void)
{
    level = "choice";
    vec_expect("names of levels", msa_cpu_level_named("scalar") == MSA_CPU_SCALAR &&
                                      msa_cpu_level_named("0") == MSA_CPU_SCALAR);
    for (int i = 0; i < MSA_CPU_LEVELS; i++)
        vec_expect("a level of another architecture is no level",
                   msa_cpu_level_named(msa_cpu_level_name((msa_cpu_level)i)) ==
                       (msa_vec_table_at((msa_cpu_level)i) != NULL ? (msa_cpu_level)i : MSA_CPU_AVX512));
    vec_expect("no name and no known name allow all",
               msa_cpu_level_named(NULL) == MSA_CPU_AVX512 && msa_cpu_level_named("axv2") == MSA_CPU_AVX512);
    const msa_cpu_level has = msa_cpu_detected();
    setenv("MSA_CPU_MASK", "scalar", 1);
    vec_expect("the mask allows less", msa_cpu_allowed() == MSA_CPU_SCALAR);
    setenv("MSA_CPU_MASK", "avx512", 1);
    vec_expect("the mask never allows more than there is", msa_cpu_allowed() == has);
    unsetenv("MSA_CPU_MASK");
    const float x[3] = {0.3f, -2.1f, 1.7f};
    float y[3], z[3];
    msa_exp(3, x, y);
    msa_vec_table_at(has)->exp(3, x, z);
    vec_expect("the highest level runs", memcmp(y, z, sizeof y) == 0);
}

int main(int argc, char **argv)
{
    const uint64_t seed = 20240607;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) return vec_bench();
    check_choice();
    for (int i = 0; i <= (int)msa_cpu_detected(); i++) {
        const msa_vec_table *t = msa_vec_table_at((msa_cpu_level)i);
        level = msa_cpu_level_name((msa_cpu_level)i);
        if (t == NULL) continue; /* another architecture's */
        check_sizes(t, seed);
        check_in_place(t, seed);
        check_gelu_range(t);
        check_bad_values(t);
        check_specials(t);
        vec_check_grids(t, seed);
        vec_check_columns(t, seed);
    }
    if (msa_cpu_detected() == MSA_CPU_AVX512) check_same_bits();
    printf("levels up to %s, %d failures, seed %llu\n", msa_cpu_level_name(msa_cpu_detected()), failures,
           (unsigned long long)seed);
    return failures == 0 ? 0 : 1;
}
