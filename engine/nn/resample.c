#include "engine/nn/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

static int32_t nearest(int32_t o, int32_t in, int32_t out)
{
    const int32_t i = (int32_t)floorf((float)o * ((float)in / (float)out));
    return i < in ? i : in - 1;
}

void msa_resize_nearest(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh, int32_t ow)
{
    for (int32_t y = 0; y < oh; y++)
        for (int32_t x = 0; x < ow; x++, dst += C)
            memcpy(dst, src + ((int64_t)nearest(y, h, oh) * w + nearest(x, w, ow)) * C,
                   (size_t)C * sizeof *dst);
}

/* The weights of output sample o; weight has room for 2 * ceil(max(in / out, 1)) + 1. */
static void triangle_taps(int32_t o, int32_t in, int32_t out, int32_t *first, int32_t *count, double *weight)
{
    const double scale = (double)in / (double)out;
    const double reach = scale > 1 ? scale : 1;
    const double center = scale * (o + 0.5);
    const int32_t low = (int32_t)(center - reach + 0.5);
    const int32_t high = (int32_t)(center + reach + 0.5);
    double sum = 0;
    *first = low > 0 ? low : 0;
    *count = (high < in ? high : in) - *first;
    for (int32_t i = 0; i < *count; i++) {
        weight[i] = fmax(1 - fabs((*first + i - center + 0.5) / reach), 0);
        sum += weight[i];
    }
    for (int32_t i = 0; i < *count && sum > 0; i++)
        weight[i] /= sum;
}

/* One axis: src (outer, in, inner) to dst (outer, out, inner). */
static void resample_axis(const float *src, int64_t outer, int32_t in, int64_t inner, float *dst, int32_t out,
                          double *weight)
{
    for (int32_t o = 0; o < out; o++) {
        int32_t first = 0;
        int32_t count = 0;
        triangle_taps(o, in, out, &first, &count, weight);
        for (int64_t a = 0; a < outer; a++)
            for (int64_t c = 0; c < inner; c++) {
                double sum = 0;
                for (int32_t i = 0; i < count; i++)
                    sum += weight[i] * (double)src[(a * in + first + i) * inner + c];
                dst[(a * out + o) * inner + c] = (float)sum;
            }
    }
}

msa_status msa_resize_antialias(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                                int32_t ow, msa_error *err)
{
    const int32_t longer = h > w ? h : w;
    MSA_AUTO_FREE float *narrow = malloc((size_t)h * (size_t)ow * (size_t)C * sizeof *narrow);
    MSA_AUTO_FREE double *weight = malloc((2 * (size_t)longer + 3) * sizeof *weight);
    if (!narrow || !weight) return msa_fail(err, MSA_E_NOMEM, "out of memory for a resized image");
    resample_axis(src, h, w, C, narrow, ow, weight);
    resample_axis(narrow, 1, h, (int64_t)ow * C, dst, oh, weight);
    return MSA_OK;
}
