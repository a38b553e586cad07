#include "engine/volume/resize8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

void msa_longest_side(int32_t rows, int32_t cols, int32_t size, int32_t *out_rows, int32_t *out_cols)
{
    const int32_t longest = rows > cols ? rows : cols;
    const double scale = (double)size / (double)longest;
    *out_rows = (int32_t)((double)rows * scale + 0.5);
    *out_cols = (int32_t)((double)cols * scale + 0.5);
}

enum { FIXED_BITS = 22 }; /* 32 - 8 of the sample - 2 of headroom */

/* For every output sample: which inputs it sees, and how much of each. */
typedef struct taps {
    int32_t width;          /* room for one sample's weights */
    int32_t *first, *count; /* (out) */
    int32_t *weight;        /* (out, width), fixed point */
} taps;

static void taps_clear(taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

static double triangle(double x)
{
    const double distance = fabs(x);
    return distance < 1 ? 1 - distance : 0;
}

/* The weights of output sample o, normalised in double and then rounded away from zero. */
static void taps_fill(taps *t, double *row, int32_t o, int32_t in, double scale)
{
    const double reach = scale > 1 ? scale : 1;
    const double center = ((double)o + 0.5) * scale;
    const int32_t low = (int32_t)(center - reach + 0.5);
    const int32_t high = (int32_t)(center + reach + 0.5);
    const int32_t first = low > 0 ? low : 0;
    const int32_t count = (high < in ? high : in) - first;
    double sum = 0;
    for (int32_t i = 0; i < count; i++) {
        row[i] = triangle(((double)(i + first) - center + 0.5) / reach);
        sum += row[i];
    }
    for (int32_t i = 0; i < count; i++) {
        const double w = sum != 0 ? row[i] / sum : row[i];
        t->weight[(size_t)o * (size_t)t->width + (size_t)i] =
            (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << FIXED_BITS));
    }
    t->first[o] = first;
    t->count[o] = count;
}

static msa_status taps_make(taps *t, int32_t in, int32_t out, msa_error *err)
{
    const double scale = (double)in / (double)out;
    const size_t n = (size_t)out;
    t->width = (int32_t)ceil(scale > 1 ? scale : 1) * 2 + 1;
    MSA_AUTO_FREE double *row = calloc((size_t)t->width, sizeof *row);
    t->first = calloc(n, sizeof *t->first);
    t->count = calloc(n, sizeof *t->count);
    t->weight = calloc(n * (size_t)t->width, sizeof *t->weight);
    if (!row || !t->first || !t->count || !t->weight)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the resize weights");
    for (int32_t o = 0; o < out; o++)
        taps_fill(t, row, o, in, scale);
    return MSA_OK;
}

/* One output sample; `step` is the distance between neighbours along the axis being resized. */
static uint8_t weigh(const taps *t, int32_t o, const uint8_t *in, size_t step)
{
    const int32_t *weight = t->weight + (size_t)o * (size_t)t->width;
    const uint8_t *from = in + (size_t)t->first[o] * step;
    int32_t sum = 1 << (FIXED_BITS - 1);
    for (int32_t i = 0; i < t->count[o]; i++)
        sum += weight[i] * (int32_t)from[(size_t)i * step];
    const int32_t value = sum >> FIXED_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static msa_status resize_horizontal(const uint8_t *in, size_t rows, int32_t cols, size_t channels,
                                    uint8_t *out, int32_t out_cols, msa_error *err)
{
    __attribute__((cleanup(taps_clear))) taps t = {0};
    MSA_TRY(taps_make(&t, cols, out_cols, err));
    for (size_t y = 0; y < rows; y++) {
        const uint8_t *from = in + y * (size_t)cols * channels;
        uint8_t *to = out + y * (size_t)out_cols * channels;
        for (int32_t x = 0; x < out_cols; x++)
            for (size_t c = 0; c < channels; c++)
                to[(size_t)x * channels + c] = weigh(&t, x, from + c, channels);
    }
    return MSA_OK;
}

static msa_status resize_vertical(const uint8_t *in, int32_t rows, size_t samples, uint8_t *out,
                                  int32_t out_rows, msa_error *err)
{
    __attribute__((cleanup(taps_clear))) taps t = {0};
    MSA_TRY(taps_make(&t, rows, out_rows, err));
    for (int32_t y = 0; y < out_rows; y++)
        for (size_t x = 0; x < samples; x++)
            out[(size_t)y * samples + x] = weigh(&t, y, in + x, samples);
    return MSA_OK;
}

msa_status msa_resize8(const uint8_t *in, int32_t rows, int32_t cols, int32_t channels, uint8_t *out,
                       int32_t out_rows, int32_t out_cols, msa_error *err)
{
    const size_t n_channels = (size_t)channels;
    const size_t samples = (size_t)out_cols * n_channels;
    if (cols == out_cols && rows == out_rows) {
        memcpy(out, in, (size_t)rows * samples);
        return MSA_OK;
    }
    if (cols == out_cols) return resize_vertical(in, rows, samples, out, out_rows, err);
    if (rows == out_rows) return resize_horizontal(in, (size_t)rows, cols, n_channels, out, out_cols, err);
    MSA_AUTO_FREE uint8_t *narrow = malloc((size_t)rows * samples);
    if (!narrow) return msa_fail(err, MSA_E_NOMEM, "out of memory for the resized slice");
    MSA_TRY(resize_horizontal(in, (size_t)rows, cols, n_channels, narrow, out_cols, err));
    return resize_vertical(narrow, rows, samples, out, out_rows, err);
}
