#include "engine/nn/interp.h"

#include <math.h>

typedef struct tap2 {
    int32_t i, j; /* neighbours; j has weight t */
    float t;
} tap2;

static tap2 linear_tap(int32_t o, int32_t in, int32_t out)
{
    double s = ((double)o + 0.5) * (double)in / (double)out - 0.5;
    if (s < 0.0) s = 0.0;
    int32_t i = (int32_t)s;
    if (i > in - 1) i = in - 1;
    const int32_t j = i + 1 < in ? i + 1 : in - 1;
    return (tap2){i, j, (float)(s - (double)i)};
}

void msa_resize_bilinear(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                         int32_t ow)
{
    const int64_t row = (int64_t)w * C;
    for (int32_t oy = 0; oy < oh; oy++) {
        const tap2 y = linear_tap(oy, h, oh);
        const float *r0 = src + y.i * row, *r1 = src + y.j * row;
        for (int32_t ox = 0; ox < ow; ox++) {
            const tap2 x = linear_tap(ox, w, ow);
            const float *a0 = r0 + (int64_t)x.i * C, *a1 = r0 + (int64_t)x.j * C;
            const float *b0 = r1 + (int64_t)x.i * C, *b1 = r1 + (int64_t)x.j * C;
            for (int32_t c = 0; c < C; c++) {
                const float top = a0[c] * (1.0f - x.t) + a1[c] * x.t;
                const float bottom = b0[c] * (1.0f - x.t) + b1[c] * x.t;
                *dst++ = top * (1.0f - y.t) + bottom * y.t;
            }
        }
    }
}

void msa_resize_bilinear_backward(const float *ddst, int32_t oh, int32_t ow, int32_t C, float *dsrc,
                                  int32_t h, int32_t w)
{
    const int64_t row = (int64_t)w * C;
    for (int32_t oy = 0; oy < oh; oy++) {
        const tap2 y = linear_tap(oy, h, oh);
        float *r0 = dsrc + y.i * row, *r1 = dsrc + y.j * row;
        for (int32_t ox = 0; ox < ow; ox++) {
            const tap2 x = linear_tap(ox, w, ow);
            const int64_t left = (int64_t)x.i * C, right = (int64_t)x.j * C;
            for (int32_t c = 0; c < C; c++) {
                const float d = *ddst++, top = d * (1.0f - y.t), bottom = d * y.t;
                r0[left + c] += top * (1.0f - x.t);
                r0[right + c] += top * x.t;
                r1[left + c] += bottom * (1.0f - x.t);
                r1[right + c] += bottom * x.t;
            }
        }
    }
}

void msa_resize_linear(const float *src, int32_t n, int32_t C, float *dst, int32_t on)
{
    for (int32_t o = 0; o < on; o++) {
        const tap2 y = linear_tap(o, n, on);
        const float *a = src + (int64_t)y.i * C, *b = src + (int64_t)y.j * C;
        for (int32_t c = 0; c < C; c++)
            *dst++ = a[c] * (1.0f - y.t) + b[c] * y.t;
    }
}

typedef struct tap4 {
    int32_t i[4];
    double k[4];
} tap4;

#define CUBIC_A (-0.75)

static double cubic_near(double u)
{
    return ((CUBIC_A + 2.0) * u - (CUBIC_A + 3.0)) * u * u + 1.0;
}

static double cubic_far(double u)
{
    return ((CUBIC_A * u - 5.0 * CUBIC_A) * u + 8.0 * CUBIC_A) * u - 4.0 * CUBIC_A;
}

static tap4 cubic_tap(int32_t o, int32_t in, int32_t out)
{
    const double s = ((double)o + 0.5) * (double)in / (double)out - 0.5;
    const double base = floor(s), t = s - base;
    tap4 tap = {{0, 0, 0, 0}, {cubic_far(1.0 + t), cubic_near(t), cubic_near(1.0 - t), cubic_far(2.0 - t)}};
    for (int32_t n = 0; n < 4; n++) {
        const int32_t i = (int32_t)base - 1 + n;
        tap.i[n] = i < 0 ? 0 : i > in - 1 ? in - 1 : i;
    }
    return tap;
}

void msa_resize_bicubic(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh, int32_t ow)
{
    for (int32_t oy = 0; oy < oh; oy++) {
        const tap4 y = cubic_tap(oy, h, oh);
        for (int32_t ox = 0; ox < ow; ox++) {
            const tap4 x = cubic_tap(ox, w, ow);
            for (int32_t c = 0; c < C; c++) {
                double sum = 0.0;
                for (int32_t m = 0; m < 4; m++) {
                    const float *row = src + (int64_t)y.i[m] * w * C + c;
                    double line = 0.0;
                    for (int32_t n = 0; n < 4; n++)
                        line += x.k[n] * (double)row[(int64_t)x.i[n] * C];
                    sum += y.k[m] * line;
                }
                *dst++ = (float)sum;
            }
        }
    }
}

/* ---- backward ---- */

void msa_resize_bicubic_backward(const float *ddst, int32_t oh, int32_t ow, int32_t C, float *dsrc, int32_t h,
                                 int32_t w)
{
    for (int32_t oy = 0; oy < oh; oy++) {
        const tap4 y = cubic_tap(oy, h, oh);
        for (int32_t ox = 0; ox < ow; ox++, ddst += C) {
            const tap4 x = cubic_tap(ox, w, ow);
            for (int32_t m = 0; m < 16; m++) {
                const float k = (float)(y.k[m / 4] * x.k[m % 4]);
                float *to = dsrc + ((int64_t)y.i[m / 4] * w + x.i[m % 4]) * C;
                for (int32_t c = 0; c < C; c++)
                    to[c] += k * ddst[c];
            }
        }
    }
}

void msa_resize_linear_backward(const float *ddst, int32_t on, int32_t C, float *dsrc, int32_t n)
{
    for (int32_t o = 0; o < on; o++, ddst += C) {
        const tap2 y = linear_tap(o, n, on);
        float *a = dsrc + (int64_t)y.i * C, *b = dsrc + (int64_t)y.j * C;
        for (int32_t c = 0; c < C; c++)
            a[c] += ddst[c] * (1.0f - y.t);
        for (int32_t c = 0; c < C; c++)
            b[c] += ddst[c] * y.t;
    }
}
