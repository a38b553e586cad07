#include "engine/nn/conv.h"

#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/gemm.h"
#include "engine/kern/vec.h"

#define ROWS_PER_ITEM 512

void msa_patch_rows(const float *image, int32_t C, int32_t H, int32_t W, int32_t p, int64_t first, int64_t n,
                    float *out)
{
    const int32_t across = W / p;
    for (int64_t t = first; t < first + n; t++) {
        const int64_t y0 = t / across * p, x0 = t % across * p;
        for (int32_t c = 0; c < C; c++)
            for (int32_t y = 0; y < p; y++, out += p)
                memcpy(out, image + ((int64_t)c * H + y0 + y) * W + x0, (size_t)p * sizeof *out);
    }
}

void msa_conv3x3_rows(const float *x, int32_t h, int32_t w, int32_t C, int64_t first, int64_t n, float *out)
{
    const size_t bytes = (size_t)C * sizeof *out;
    for (int64_t t = first; t < first + n; t++) {
        const int64_t y0 = t / w, x0 = t % w;
        for (int64_t y = y0 - 1; y <= y0 + 1; y++)
            for (int64_t i = x0 - 1; i <= x0 + 1; i++, out += C) {
                if (y < 0 || y >= h || i < 0 || i >= w)
                    memset(out, 0, bytes);
                else
                    memcpy(out, x + (y * w + i) * C, bytes);
            }
    }
}

void msa_conv3x3_weight(const float *weight, int32_t N, int32_t C, float *out)
{
    for (int64_t o = 0; o < N; o++)
        for (int64_t k = 0; k < 9; k++)
            for (int64_t c = 0; c < C; c++)
                *out++ = weight[(o * C + c) * 9 + k];
}

typedef struct transpose_job {
    const float *x, *weight, *bias;
    float *scratch, *y;
    int64_t pixels;
    int32_t w, C, N;
} transpose_job;

/* One run of input pixels: product with (C, 4N), then each (N, 2, 2) result to its four output pixels. */
static void transpose_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const transpose_job *j = ctx;
    const int64_t first = (int64_t)item * ROWS_PER_ITEM, N = j->N;
    const int64_t n = j->pixels - first < ROWS_PER_ITEM ? j->pixels - first : ROWS_PER_ITEM;
    msa_gemm_nn(n, 4 * N, j->C, j->x + first * j->C, j->C, j->weight, 4 * N, j->scratch + first * 4 * N,
                4 * N);
    for (int64_t t = first; t < first + n; t++) {
        const float *from = j->scratch + t * 4 * N;
        for (int64_t k = 0; k < 4; k++) {
            float *to = j->y + ((t / j->w * 2 + k / 2) * (2 * (int64_t)j->w) + t % j->w * 2 + k % 2) * N;
            for (int64_t o = 0; o < N; o++)
                to[o] = from[o * 4 + k] + j->bias[o];
        }
    }
}

void msa_conv_transpose2x2(const float *x, int32_t h, int32_t w, int32_t C, const float *weight,
                           const float *bias, int32_t N, float *scratch, float *y)
{
    transpose_job j = {x, weight, bias, scratch, y, (int64_t)h * w, w, C, N};
    msa_pool_run(transpose_item, &j, (int32_t)((j.pixels + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM),
                 MSA_THREADS_MAX);
}

void msa_transpose(const float *x, int64_t C, int64_t n, float *y)
{
    enum { BLOCK = 32 };
    for (int64_t c0 = 0; c0 < C; c0 += BLOCK)
        for (int64_t i0 = 0; i0 < n; i0 += BLOCK)
            for (int64_t i = i0; i < i0 + BLOCK && i < n; i++)
                for (int64_t c = c0; c < c0 + BLOCK && c < C; c++)
                    y[i * C + c] = x[c * n + i];
}

/* ---- backward ---- */

typedef struct rows_back_job {
    const float *drows;
    float *dx;
    int32_t h, w, C;
} rows_back_job;

/* One line of pixels; each takes its part from the rows of its nine neighbours. */
static void rows_back_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const rows_back_job *j = ctx;
    const int64_t w = j->w, C = j->C, y0 = item;
    for (int64_t x0 = 0; x0 < w; x0++) {
        float *to = j->dx + (y0 * w + x0) * C;
        memset(to, 0, (size_t)C * sizeof *to);
        for (int64_t k = 0; k < 9; k++) {
            const int64_t y = y0 - k / 3 + 1, x = x0 - k % 3 + 1;
            if (y >= 0 && y < j->h && x >= 0 && x < w)
                msa_add(C, to, j->drows + ((y * w + x) * 9 + k) * C, to);
        }
    }
}

void msa_conv3x3_rows_backward(const float *drows, int32_t h, int32_t w, int32_t C, float *dx)
{
    rows_back_job j = {drows, dx, h, w, C};
    msa_pool_run(rows_back_item, &j, h, MSA_THREADS_MAX);
}

void msa_conv3x3_weight_backward(const float *dout, int32_t N, int32_t C, float *dweight)
{
    for (int64_t o = 0; o < N; o++)
        for (int64_t k = 0; k < 9; k++)
            for (int64_t c = 0; c < C; c++)
                dweight[(o * C + c) * 9 + k] += *dout++;
}

void msa_patch_rows_backward(const float *drows, int32_t C, int32_t H, int32_t W, int32_t p, float *dimage)
{
    const int64_t across = W / p, n = H / p * across;
    if (H % p != 0 || W % p != 0) memset(dimage, 0, (size_t)C * (size_t)H * (size_t)W * sizeof *dimage);
    for (int64_t t = 0; t < n; t++) {
        const int64_t y0 = t / across * p, x0 = t % across * p;
        for (int32_t c = 0; c < C; c++)
            for (int32_t y = 0; y < p; y++, drows += p)
                memcpy(dimage + ((int64_t)c * H + y0 + y) * W + x0, drows, (size_t)p * sizeof *drows);
    }
}

/* One run of input pixels: each (N, 2, 2) gradient from its four output pixels. */
static void gather_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const transpose_job *j = ctx;
    const int64_t first = (int64_t)item * ROWS_PER_ITEM, N = j->N;
    const int64_t n = j->pixels - first < ROWS_PER_ITEM ? j->pixels - first : ROWS_PER_ITEM;
    for (int64_t t = first; t < first + n; t++) {
        float *to = j->scratch + t * 4 * N;
        for (int64_t k = 0; k < 4; k++) {
            const float *from =
                j->y + ((t / j->w * 2 + k / 2) * (2 * (int64_t)j->w) + t % j->w * 2 + k % 2) * N;
            for (int64_t o = 0; o < N; o++)
                to[o * 4 + k] = from[o];
        }
    }
}

/*
 * Read backwards, the layer is a dense one from (N, 2, 2) to C with the weight as it is stored: its forward
 * gives dx, and x takes the part of the output's gradient in the sum for the weight.
 */
void msa_conv_transpose2x2_backward(const float *x, int32_t h, int32_t w, int32_t C, const float *weight,
                                    int32_t N, const float *dy, float *scratch, float *dx, float *dweight,
                                    float *dbias)
{
    const int64_t pixels = (int64_t)h * w;
    const msa_linear reversed = {.weight = weight, .N = C, .K = 4 * N}, bias_only = {.N = N, .K = 1};
    if (dbias != NULL) msa_linear_backward_params(&bias_only, 4 * pixels, NULL, 1, dy, N, NULL, dbias);
    if (dx == NULL && dweight == NULL) return;
    /* gather_item() only reads y. */
    transpose_job j = {.scratch = scratch, .y = (float *)(uintptr_t)dy, .pixels = pixels, .w = w, .N = N};
    msa_pool_run(gather_item, &j, (int32_t)((pixels + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM), MSA_THREADS_MAX);
    if (dweight != NULL)
        msa_linear_backward_params(&reversed, pixels, scratch, 4 * (int64_t)N, x, C, dweight, NULL);
    if (dx != NULL) msa_linear_forward(&reversed, pixels, scratch, 4 * (int64_t)N, dx, C, MSA_EPILOGUE_NONE);
}
