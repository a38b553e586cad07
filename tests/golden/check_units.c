/* Replays single operators with the engine's own functions. */
#include <stdlib.h>

#include "tests/golden/units.h"

const msa_tensor *units_need(const golden_file *f, golden_report *r, const char *name)
{
    const msa_tensor *t = golden_find(f, name);
    if (!t) {
        (void)fprintf(stderr, "    no tensor %s\n", name);
        golden_fail(r, "an input that an operator needs is missing");
    }
    return t;
}

float *units_floats(int64_t n)
{
    float *p = calloc((size_t)n, sizeof *p);
    if (!p) abort();
    return p;
}

float *units_to_channels_last(const float *x, int64_t N, int64_t C, int64_t pixels)
{
    float *out = units_floats(N * C * pixels);
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < pixels; i++)
                out[(n * pixels + i) * C + c] = x[(n * C + c) * pixels + i];
    return out;
}

float *units_to_channels_first(const float *x, int64_t N, int64_t C, int64_t pixels)
{
    return units_to_channels_last(x, N, pixels, C);
}

void golden_check_units(const golden_file *f, golden_report *r)
{
    units_check_kern(f, r);
    units_check_rows(f, r);
    units_check_grids(f, r);
    units_check_positions(f, r);
    units_check_images(f, r);
    units_check_scores(f, r);
    units_check_losses(f, r);
    units_check_grads(f, r);
    units_check_optimizers(f, r);
}
