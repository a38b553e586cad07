#include "tests/kern/vec_rows.h"

#include <math.h>
#include <string.h>

#define ROW_MAX 4200

/* The weights: near 1, as a trained layer's, none of them alike. */
static float weight_at(int64_t i)
{
    return 1.0f + 0.25f * (float)(i % 7) - 0.125f * (float)(i % 3);
}

void vec_check_norm_row(const msa_vec_table *t, int64_t n, const float *x, const float *dy, float *y)
{
    static float weight[ROW_MAX], bias[ROW_MAX], added[ROW_MAX];
    const float mean = 0.3f, scale = 0.21f;
    double mean_u = 0.0, mean_uz = 0.0;
    for (int64_t i = 0; i < n; i++) {
        weight[i] = weight_at(i), bias[i] = 0.01f * (float)(i % 11);
        const double u = (double)dy[i] * (double)weight[i];
        mean_u += u / (double)n;
        mean_uz += u * ((double)x[i] - (double)mean) * (double)scale / (double)n;
    }
    t->normalise(n, x, mean, scale, weight, bias, y);
    for (int64_t i = 0; i < n; i++)
        vec_near("normalise", n, i, (double)x[i], (double)y[i],
                 ((double)x[i] - (double)mean) * (double)scale * (double)weight[i] + (double)bias[i], 2e-6);
    t->normalise_backward(n, x, mean, scale, weight, dy, false, y);
    for (int64_t i = 0; i < n; i++)
        added[i] = 0.5f;
    t->normalise_backward(n, x, mean, scale, weight, dy, true, added);
    for (int64_t i = 0; i < n; i++) {
        const double z = ((double)x[i] - (double)mean) * (double)scale;
        const double wanted = (double)scale * ((double)dy[i] * (double)weight[i] - mean_u - z * mean_uz);
        vec_near("normalise backward", n, i, (double)x[i], (double)y[i], wanted, 1e-6);
        vec_near("normalise backward, added", n, i, (double)x[i], (double)added[i], wanted + 0.5, 1e-6);
    }
}

static void check_grid(const msa_vec_table *t, int64_t rows, int64_t n, uint64_t *seed)
{
    enum { SIDE = 33 };
    float grid[SIDE * SIDE + 1], before[SIDE * SIDE + 1], up[SIDE], line[SIDE + 1];
    for (int64_t i = 0; i <= rows * n; i++)
        before[i] = grid[i] = vec_next(seed);
    for (int i = 0; i < SIDE; i++)
        up[i] = vec_next(seed), line[i] = vec_next(seed);
    const float *last = up + rows - 1;
    t->add_position(rows, n, last, line, grid);
    for (int64_t i = 0; i < rows * n; i++)
        vec_near("add position", n, i, (double)before[i], (double)grid[i],
                 (double)before[i] + (double)last[-(i / n)] + (double)line[i % n], 4e-7);
    vec_expect("add position stays inside", grid[rows * n] == before[rows * n]);

    float sums_up[SIDE], sums_line[SIDE + 1];
    sums_line[n] = 7.0f;
    t->position_sums(rows, n, before, sums_up + rows - 1, sums_line);
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)before[row * n + i];
        vec_near("position sums, up", n, row, 0.0, (double)sums_up[rows - 1 - row], sum, 4e-6);
    }
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int64_t row = 0; row < rows; row++)
            sum += (double)before[row * n + i];
        vec_near("position sums, line", n, i, 0.0, (double)sums_line[i], sum, 4e-6);
    }
    vec_expect("position sums stay inside", sums_line[n] == 7.0f);
}

void vec_check_grids(const msa_vec_table *t, uint64_t seed)
{
    static const int32_t sides[][2] = {{1, 1},  {2, 3},   {5, 14}, {14, 14},
                                       {3, 15}, {16, 16}, {4, 17}, {32, 33}};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
        check_grid(t, sides[i][0], sides[i][1], &seed);
}

static void check_softmax_columns(const msa_vec_table *t, int64_t rows, int64_t n, const float *x, int64_t ld)
{
    static float y[40 * 80];
    memcpy(y, x, (size_t)(rows * ld) * sizeof *y);
    t->softmax_columns(rows, n, y, ld);
    for (int64_t c = 0; c < ld; c++) {
        double sum = 0.0;
        for (int64_t r = 0; r < rows; r++)
            sum += exp((double)x[r * ld + c]);
        for (int64_t r = 0; r < rows; r++) { /* beyond the n columns nothing changes */
            const double was = (double)x[r * ld + c];
            vec_near("softmax columns", n, c, was, (double)y[r * ld + c], c < n ? exp(was) / sum : was,
                     c < n ? 5e-7 : 0.0);
        }
    }
}

static void check_depthwise(const msa_vec_table *t, int64_t n, const float *x)
{
    enum { MAX = 64 };
    float y[MAX + 1] = {0};
    const float *taps[9], *weight = x + 5, *bias = x + 700;
    for (int k = 0; k < 9; k++)
        taps[k] = x + 1000 + 67 * k;
    y[n] = 7.0f;
    t->depthwise9(n, taps, weight, bias, y);
    for (int64_t i = 0; i < n; i++) {
        double wanted = (double)bias[i];
        for (int k = 0; k < 9; k++)
            wanted += (double)taps[k][i] * (double)weight[k * n + i];
        vec_near("depthwise", n, i, (double)bias[i], (double)y[i], wanted, 4e-6);
    }
    vec_expect("depthwise stays inside", y[n] == 7.0f);
}

/* Both are the plain C of them, bit for bit, at every level. */
static void check_pictures(const msa_vec_table *t, int64_t n, const float *x)
{
    enum { MAX = 64 };
    const float *const rows[4] = {x, x + 100, x + 201, x + 302}, *weight = x + 500;
    float y[MAX + 1] = {0}, grey[MAX];
    uint8_t level[MAX + 1] = {0};
    y[n] = 7.0f;
    t->mix4(n, rows, weight, y);
    for (int64_t i = 0; i < n; i++) {
        const float wanted = ((weight[0] * rows[0][i] + weight[1] * rows[1][i]) + weight[2] * rows[2][i]) +
                             weight[3] * rows[3][i];
        vec_near("mix of four", n, i, (double)x[i], (double)y[i], (double)wanted, 0.0);
    }
    vec_expect("mix of four stays inside", y[n] == 7.0f);
    for (int64_t i = 0; i < n; i++)
        grey[i] = i % 5 == 2 ? 0.0f : x[i];
    for (int keep = 0; keep < 2; keep++) {
        const float low = -0.7f, high = 0.4f;
        level[n] = 7;
        t->grey(n, grey, low, high, keep != 0, level);
        for (int64_t i = 0; i < n; i++) {
            const float v = grey[i] < low ? low : grey[i] > high ? high : grey[i];
            const float share = keep && grey[i] == 0.0f ? 0.0f : (v - low) / (high - low);
            vec_near("grey", n, i, (double)grey[i], (double)level[i], (double)(uint8_t)(share * 255.0f), 0.0);
        }
        vec_expect("grey stays inside", level[n] == 7);
    }
}

void vec_check_columns(const msa_vec_table *t, uint64_t seed)
{
    enum { ROWS = 37, LD = 70 };
    static const int64_t widths[] = {1, 3, 8, 15, 16, 33, 64};
    static float x[ROWS * LD], dy[ROWS * LD], mean[ROWS], scale[ROWS];
    for (int i = 0; i < ROWS * LD; i++)
        x[i] = vec_next(&seed), dy[i] = vec_next(&seed);
    for (int i = 0; i < ROWS; i++)
        mean[i] = vec_next(&seed), scale[i] = vec_next(&seed) + 1.5f;
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++) {
        const int64_t n = widths[k];
        check_softmax_columns(t, 1 + (int64_t)k * 6, n, x, LD);
        check_depthwise(t, n, x);
        check_pictures(t, n, x);
        double sum[65], dweight[65], dbias[65];
        for (int i = 0; i < 65; i++)
            sum[i] = dweight[i] = dbias[i] = 3.0;
        t->column_sums(ROWS, n, x, LD, sum);
        t->normalise_params(ROWS, n, x, dy, LD, mean, scale, dweight, dbias);
        for (int64_t c = 0; c <= n; c++) { /* the one after the last stays */
            double of_x = 3.0, of_dy = 3.0, of_z = 3.0;
            for (int r = 0; r < ROWS && c < n; r++) {
                const double z = ((double)x[r * LD + c] - (double)mean[r]) * (double)scale[r];
                of_x += (double)x[r * LD + c];
                of_dy += (double)dy[r * LD + c];
                of_z += (double)dy[r * LD + c] * z;
            }
            vec_near("column sums", n, c, 0.0, sum[c], of_x, 1e-13);
            vec_near("normalise params, bias", n, c, 0.0, dbias[c], of_dy, 1e-13);
            vec_near("normalise params, weight", n, c, 0.0, dweight[c], of_z, 1e-5);
        }
    }
}
