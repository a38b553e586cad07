/* Elementwise kernels against libm in double: sizes around the vector width, misaligned starts, guard values.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/vec.h"

#define GUARD 12345.678f

static int failures;

static void near(const char *what, int64_t n, int64_t i, double x, double got, double wanted,
                 double tolerance)
{
    if (fabs(got - wanted) <= tolerance) return;
    if (failures++ < 10)
        printf("%s: n %lld index %lld x %.9g wanted %.9g got %.9g tolerance %.3g\n", what, (long long)n,
               (long long)i, x, wanted, got, tolerance);
}

static float next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)((double)(*seed >> 40) / 8388608.0 - 1.0);
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

/* The tail keeps its relative accuracy: 2e-6 of the value, and never more than 1e-6. */
static double gelu_tolerance(double x)
{
    return fmax(fmin(2e-6 * fabs(gelu(x)), 1e-6), fmax(1e-37, fabs(x) * 6e-8));
}

static void check_sizes(uint64_t seed)
{
    static const int64_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 4096};
    static float room[4200], out[4200];
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int shift = 0; shift < 4; shift++) {
            const int64_t n = sizes[s];
            float *x = room + shift, *y = out + shift;
            double sum = 0.0, total = 0.0;
            for (int64_t i = 0; i < n; i++)
                x[i] = 8.0f * next(&seed);
            y[n] = GUARD;
            msa_gelu(n, x, y);
            for (int64_t i = 0; i < n; i++)
                near("gelu", n, i, (double)x[i], (double)y[i], gelu((double)x[i]),
                     gelu_tolerance((double)x[i]));
            msa_exp(n, x, y);
            for (int64_t i = 0; i < n; i++)
                near("exp", n, i, (double)x[i], (double)y[i], exp((double)x[i]), 3e-7 * exp((double)x[i]));
            for (int64_t i = 0; i < n; i++)
                sum += (double)x[i], total += exp((double)x[i]);
            near("sum", n, 0, 0.0, (double)msa_sum(n, x), sum, 1e-2 * sqrt((double)n) * 1e-3 + 1e-5);
            memcpy(y, x, (size_t)n * sizeof *y);
            if (n > 0) msa_softmax(n, y);
            for (int64_t i = 0; i < n; i++)
                near("softmax", n, i, (double)x[i], (double)y[i], exp((double)x[i]) / total, 1e-6);
            near("guard", n, n, 0.0, (double)y[n], (double)GUARD, 0.0);
        }
}

/* Every float in steps through the range where GELU is not trivial. */
static void check_gelu_range(void)
{
    enum { N = 2048 };
    float x[N], y[N];
    for (double from = -14.0; from < 14.0; from += 0.02) {
        for (int i = 0; i < N; i++)
            x[i] = (float)(from + 0.02 * i / N);
        msa_gelu(N, x, y);
        for (int i = 0; i < N; i++)
            near("gelu range", N, i, (double)x[i], (double)y[i], gelu((double)x[i]), 1e-6);
    }
}

static void expect(const char *what, bool ok)
{
    if (ok) return;
    failures++;
    printf("%s\n", what);
}

static void check_specials(void)
{
    const float x[6] = {NAN, INFINITY, -INFINITY, 0.0f, 1e30f, -1e30f};
    float y[6], row[9];
    msa_gelu(6, x, y);
    expect("gelu of NaN is NaN", isnan(y[0]));
    expect("gelu of infinities",
           y[1] == INFINITY && y[2] == 0.0f && y[3] == 0.0f && y[4] == 1e30f && y[5] == 0.0f);
    msa_exp(6, x, y);
    expect("exp of NaN is NaN", isnan(y[0]));
    expect("exp of large negatives is 0", y[2] == 0.0f && y[5] == 0.0f && y[3] == 1.0f);
    for (int bad = 0; bad < 9; bad++) {
        for (int i = 0; i < 9; i++)
            row[i] = (float)i;
        row[bad] = NAN;
        expect("NaN is found", !msa_all_finite(9, row));
        msa_softmax(9, row);
        expect("NaN shows in softmax", isnan(row[0]) && isnan(row[8]));
        for (int i = 0; i < 9; i++)
            row[i] = (float)i;
        row[bad] = -INFINITY;
        expect("infinity is found", !msa_all_finite(9, row));
    }
    for (int i = 0; i < 9; i++)
        row[i] = 1e38f * (i % 2 == 0 ? 1.0f : -1.0f);
    expect("large values are finite", msa_all_finite(9, row));
    for (int i = 0; i < 9; i++)
        row[i] = 1000.0f;
    msa_softmax(9, row);
    expect("softmax subtracts the maximum", fabsf(row[4] - 1.0f / 9.0f) < 1e-7f);
}

int main(void)
{
    const uint64_t seed = 20240607;
    check_sizes(seed);
    check_gelu_range();
    check_specials();
    if (failures > 0) printf("%d failures, seed %llu\n", failures, (unsigned long long)seed);
    return failures == 0 ? 0 : 1;
}
