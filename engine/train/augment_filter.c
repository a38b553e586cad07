#include "engine/train/augment_filter.h"

#include <stddef.h>

static int32_t gauss(float sigma, float k[MSA_FILTER_RADIUS + 1])
{
    float sum = 0;
    int32_t radius = (int32_t)ceilf(3 * sigma);
    if (radius > MSA_FILTER_RADIUS) radius = MSA_FILTER_RADIUS;
    for (int32_t i = 0; i <= radius; i++) {
        k[i] = expf(-(float)(i * i) / (2 * sigma * sigma));
        sum += i == 0 ? k[i] : 2 * k[i];
    }
    for (int32_t i = 0; i <= radius; i++)
        k[i] /= sum;
    return radius;
}

void msa_filter_blur(float *v, int32_t rows, int32_t cols, float sigma, float *line)
{
    float k[MSA_FILTER_RADIUS + 1];
    if (sigma <= 0.05F) return;
    const int32_t radius = gauss(sigma, k);
    for (int pass = 0; pass < 2; pass++) {
        const int32_t n = pass == 0 ? cols : rows, lines = pass == 0 ? rows : cols;
        const int32_t along = pass == 0 ? 1 : cols, across = pass == 0 ? cols : 1;
        for (int32_t l = 0; l < lines; l++) {
            float *at = v + (size_t)l * (size_t)across;
            for (int32_t i = 0; i < n; i++)
                line[radius + i] = at[i * along];
            for (int32_t i = 0; i < radius; i++) {
                line[i] = line[radius];
                line[radius + n + i] = line[radius + n - 1];
            }
            for (int32_t i = 0; i < n; i++) {
                const float *m = line + radius + i;
                float out = k[0] * m[0];
                for (int32_t j = 1; j <= radius; j++)
                    out += k[j] * (m[-j] + m[j]);
                at[i * along] = out;
            }
        }
    }
}

void msa_filter_shrink(const float *from, int32_t rows, int32_t cols, float *to, int32_t to_rows,
                       int32_t to_cols)
{
    for (int32_t y = 0; y < to_rows; y++) {
        const int32_t y0 = y * rows / to_rows, y1 = ((y + 1) * rows + to_rows - 1) / to_rows;
        for (int32_t x = 0; x < to_cols; x++) {
            const int32_t x0 = x * cols / to_cols, x1 = ((x + 1) * cols + to_cols - 1) / to_cols;
            float sum = 0;
            for (int32_t j = y0; j < y1; j++)
                for (int32_t i = x0; i < x1; i++)
                    sum += from[j * cols + i];
            to[y * to_cols + x] = sum / (float)((y1 - y0) * (x1 - x0));
        }
    }
}

static void between(int32_t i, int32_t n, int32_t size, bool nearest, int32_t *a, int32_t *b, float *t)
{
    const float p = ((float)i + 0.5F) * (float)n / (float)size - 0.5F;
    const float clipped = p < 0 ? 0 : p > (float)(n - 1) ? (float)(n - 1) : p;
    *a = (int32_t)clipped;
    *b = *a + 1 < n ? *a + 1 : *a;
    *t = clipped - (float)*a;
    if (nearest) *t = *t < 0.5F ? 0 : 1;
}

void msa_filter_enlarge(const float *from, int32_t rows, int32_t cols, float *to, int32_t to_rows,
                        int32_t to_cols, bool nearest)
{
    for (int32_t y = 0; y < to_rows; y++) {
        int32_t y0, y1, x0, x1;
        float v, u;
        between(y, rows, to_rows, nearest, &y0, &y1, &v);
        for (int32_t x = 0; x < to_cols; x++) {
            between(x, cols, to_cols, nearest, &x0, &x1, &u);
            const float top = from[y0 * cols + x0] * (1 - u) + from[y0 * cols + x1] * u;
            const float low = from[y1 * cols + x0] * (1 - u) + from[y1 * cols + x1] * u;
            to[y * to_cols + x] = top * (1 - v) + low * v;
        }
    }
}
