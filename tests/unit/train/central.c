#include "tests/unit/train/central.h"

#include <math.h>
#include <stdlib.h>

#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

#define STEP 1e-5

void central_check(const char *what, central_fn *fn, const void *ctx, double *values, int64_t n,
                   const float *grad, int64_t stride, double relative)
{
    double *wanted = calloc((size_t)n, sizeof *wanted), largest = 0.0;
    assert_non_null(wanted);
    for (int64_t i = 0; i < n; i += stride) {
        const double kept = values[i];
        values[i] = kept + STEP;
        const double above = fn(ctx);
        values[i] = kept - STEP;
        const double below = fn(ctx);
        values[i] = kept;
        wanted[i] = (above - below) / (2.0 * STEP);
        largest = fmax(largest, fabs(wanted[i]));
    }
    if (!(largest > 0.0)) fail_msg("%s: no gradient at all: nothing is tested", what);
    const double tolerance = relative * largest + 1e-7;
    for (int64_t i = 0; i < n; i += stride)
        if (!(fabs((double)grad[i] - wanted[i]) <= tolerance))
            fail_msg("%s: index %lld wanted %.8g got %.8g tolerance %.3g", what, (long long)i, wanted[i],
                     (double)grad[i], tolerance);
    free(wanted);
}

twin twin_new(int64_t n, uint64_t seed, float scale)
{
    twin t = {malloc((size_t)n * sizeof(float)), malloc((size_t)n * sizeof(double)), n};
    assert_non_null(t.f);
    assert_non_null(t.d);
    fixture_fill(t.f, n, seed, scale);
    for (int64_t i = 0; i < n; i++)
        t.d[i] = (double)t.f[i];
    return t;
}

void twin_free(twin *t)
{
    free(t->f);
    free(t->d);
}
