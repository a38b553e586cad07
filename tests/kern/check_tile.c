/*
 * The products of tiles, packing and the softmax between two of them, at every instruction set that this CPU
 * has, against loops in double: odd shapes, guards around what is written, the same bits wherever an element
 * lies. Dense layers made of them, packed against not packed, on one and three threads. Rates:
 * bench_products.c.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/tile_table.h"
#include "engine/nn/on_the_fly.h"
#include "engine/nn/packed.h"

#define GUARD 12345.0f

static int failures;
static const char *level;
static uint64_t seed = 20261123;

static float next(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)((double)(seed >> 40) / 8388608.0 - 1.0);
}

static void expect(const char *what, int64_t i, double got, double wanted, double tolerance)
{
    if (fabs(got - wanted) <= tolerance) return;
    if (failures++ < 20)
        printf("%s: %s: index %lld wanted %.9g got %.9g tolerance %g\n", level, what, (long long)i, wanted,
               got, tolerance);
}

static float *take(int64_t n)
{
    float *p = aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64 + 64);
    if (p == NULL) abort();
    return p;
}

static float *noise(int64_t n)
{
    float *p = take(n);
    for (int64_t i = 0; i < n; i++)
        p[i] = next();
    return p;
}

/* ---- product and packing ---- */

/* K roundings of partial sums, which are about sqrt(K) / 3, come to 1e-8 K; the largest of many results is
 * several times as far off. */
static double sum_tolerance(int64_t K)
{
    return 1e-7 * (double)K + 5e-7;
}

static void check_product(const msa_tile_table *t, int64_t M, int64_t N, int64_t K, bool add)
{
    const int64_t wide = (N + t->cols / 2 - 1) / (t->cols / 2) * (t->cols / 2), ldc = wide + 3;
    const float scale = 0.5f;
    float *x = noise(M * (K + 2)), *w = noise(N * K), *c = noise(M * ldc + 1), *was = take(M * ldc);
    float *a = take(msa_tile_packed_floats(M, K, t->rows)), *b = take(msa_tile_packed_floats(N, K, t->cols));
    memcpy(was, c, (size_t)(M * ldc) * sizeof *c);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = wide; n < ldc; n++)
            c[m * ldc + n] = GUARD;
    t->pack(M, K, x, K + 2, t->rows, scale, a);
    t->pack(N, K, w, K, t->cols, 1.0f, b);
    t->product(M, wide, K, (msa_tile_operand){a, t->rows, K * t->rows},
               (msa_tile_operand){b, t->cols, K * t->cols}, add ? c : NULL, ldc, c, ldc,
               (M & 1) != 0 ? b : NULL);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < ldc; n++) {
            double sum = n >= wide ? (double)GUARD : add ? (double)was[m * ldc + n] : 0.0;
            for (int64_t k = 0; k < K && n < N; k++)
                sum += (double)scale * (double)x[m * (K + 2) + k] * (double)w[n * K + k];
            expect("product", m * ldc + n, (double)c[m * ldc + n], sum, n >= wide ? 0.0 : sum_tolerance(K));
        }
    free(x), free(w), free(c), free(was), free(a), free(b);
}

/* A factor that is not packed but lies as it is, like the values of attention. */
static void check_plain_operand(const msa_tile_table *t, int64_t M, int64_t K)
{
    float *v = noise(K * M), *p = noise(K * t->cols), *c = take(M * t->cols);
    t->product(M, t->cols, K, (msa_tile_operand){v, M, t->rows}, (msa_tile_operand){p, t->cols, 0}, NULL, 0,
               c, t->cols, NULL);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < t->cols; n++) {
            double sum = 0.0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)v[k * M + m] * (double)p[k * t->cols + n];
            expect("product as it lies", m * t->cols + n, (double)c[m * t->cols + n], sum, sum_tolerance(K));
        }
    free(v), free(p), free(c);
}

/* As packing what was added before, bit for bit. */
static void check_pack_sum(const msa_tile_table *t, int64_t n, int64_t K, int32_t width)
{
    const int64_t ld = K + 3, floats = (n + width - 1) / width * width * K;
    float *x = noise(n * ld), *y = noise(n * ld), *sum = take(n * ld);
    float *got = take(msa_tile_packed_floats(n, K, width)),
          *wanted = take(msa_tile_packed_floats(n, K, width));
    for (int64_t i = 0; i < n * ld; i++)
        sum[i] = x[i] + y[i];
    t->pack_sum(n, K, x, y, ld, width, got);
    t->pack(n, K, sum, ld, width, 1.0f, wanted);
    for (int64_t i = 0; i < floats; i++)
        expect("pack of a sum", i, (double)got[i], (double)wanted[i], 0.0);
    free(x), free(y), free(sum), free(got), free(wanted);
}

/* Every row's sums begin with the same row. */
static void check_common_row(const msa_tile_table *t, int64_t M, int64_t N, int64_t K)
{
    float *x = noise(M * K), *w = noise(K * N), *row = noise(N), *c = take(M * N);
    float *a = take(msa_tile_packed_floats(M, K, t->rows));
    t->pack(M, K, x, K, t->rows, 1.0f, a);
    t->product(M, N, K, (msa_tile_operand){a, t->rows, K * t->rows}, (msa_tile_operand){w, N, t->cols}, row,
               0, c, N, NULL);
    for (int64_t i = 0; i < M * N; i++) {
        double sum = (double)row[i % N];
        for (int64_t k = 0; k < K; k++)
            sum += (double)x[i / N * K + k] * (double)w[k * N + i % N];
        expect("product that begins with a row", i, (double)c[i], sum, sum_tolerance(K));
    }
    free(x), free(w), free(row), free(c), free(a);
}

static void check_products(const msa_tile_table *t)
{
    static const int64_t sizes[] = {1, 2, 5, 6, 7, 13, 14, 15, 28, 33}, depths[] = {0, 1, 3, 16, 17, 64};
    for (size_t m = 0; m < sizeof sizes / sizeof sizes[0]; m++)
        for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++)
            for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++)
                check_product(t, sizes[m], sizes[n], depths[k], (m + n + k) % 2 == 1);
    check_product(t, 196, 70, 64, false);
    check_plain_operand(t, 64, 196);
    check_plain_operand(t, 5, 3);
    check_common_row(t, 29, 3 * t->cols / 2, 65);
    check_pack_sum(t, 128, 256, t->cols);
    check_pack_sum(t, 37, 21, t->cols);
    check_pack_sum(t, 15, 33, t->rows);
}

/* ---- softmax in blocks ---- */

static void check_softmax(const msa_tile_table *t, int64_t n, int64_t block, int64_t width)
{
    const int64_t cols = t->cols;
    float *s = noise(n * cols), *p = take(n * cols), *max = take(cols), *sum = take(cols), *fade = take(cols);
    float *after = take((n / block + 2) * cols); /* what a block's values are to be multiplied with */
    for (int64_t i = 0; i < n * cols; i++)
        s[i] = p[i] = 30.0f * s[i];
    for (int64_t i = 0; i < cols; i++)
        max[i] = -FLT_MAX, sum[i] = 0.0f;
    for (int64_t first = 0; first < n; first += block) {
        const int64_t rows = n - first < block ? n - first : block;
        t->softmax_block(rows, width, p + first * cols, max, sum, fade);
        if (first > 0) t->scale_columns(first, fade, p);
    }
    for (int64_t i = 0; i < width; i++) {
        double most = -1e30, total = 0.0;
        for (int64_t k = 0; k < n; k++)
            most = fmax(most, (double)s[k * cols + i]);
        for (int64_t k = 0; k < n; k++)
            total += exp((double)s[k * cols + i] - most);
        for (int64_t k = 0; k < n; k++)
            expect("softmax", k * cols + i, (double)(p[k * cols + i] / sum[i]),
                   exp((double)s[k * cols + i] - most) / total, 1e-6);
    }
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = width; i < cols && n <= block; i++)
            expect("softmax leaves other columns", k * cols + i, (double)p[k * cols + i],
                   (double)s[k * cols + i], 0.0);
    free(s), free(p), free(max), free(sum), free(fade), free(after);
}

/* NaN must reach the sum, and so the result. */
static void check_softmax_nan(const msa_tile_table *t)
{
    float s[3 * MSA_TILE_COLS_MAX], max[MSA_TILE_COLS_MAX], sum[MSA_TILE_COLS_MAX], fade[MSA_TILE_COLS_MAX];
    for (int i = 0; i < 3 * MSA_TILE_COLS_MAX; i++)
        s[i] = next();
    for (int i = 0; i < MSA_TILE_COLS_MAX; i++)
        max[i] = -FLT_MAX, sum[i] = 0.0f;
    s[t->cols + 1] = NAN;
    s[t->cols + 2] = INFINITY;
    t->softmax_block(3, t->cols, s, max, sum, fade);
    expect("NaN stays", 0, isnan(sum[1]) ? 1 : 0, 1, 0);
    expect("infinity becomes NaN", 0, isnan(sum[2]) ? 1 : 0, 1, 0);
    expect("a neighbour is well", 0, isfinite(sum[3]) ? 1 : 0, 1, 0);
}

/* ---- rows ---- */

static void check_rows(const msa_tile_table *t)
{
    enum { H = 3, W = 5 };
    float *up = noise(H * t->cols), *line = noise(W * t->cols), *s = take(H * W * t->cols);
    float *y = take(H * 100);
    t->positions(H, W, up, line, s);
    for (int64_t i = 0; i < H * W * t->cols; i++)
        expect("positions", i, (double)s[i],
               (double)(up[i / (W * t->cols) * t->cols + i % t->cols] +
                        line[i / t->cols % W * t->cols + i % t->cols]),
               0.0);
    for (int64_t width = 1; width <= t->cols; width++)
        for (int add = 0; add < 2; add++) {
            for (int i = 0; i < H * 100; i++)
                y[i] = GUARD;
            t->leave(H, width, s, y, 100, add != 0);
            for (int64_t i = 0; i < H * 100; i++)
                expect("leave", i, (double)y[i],
                       (double)(i % 100 >= width
                                    ? GUARD
                                    : s[i / 100 * t->cols + i % 100] + (add != 0 ? GUARD : 0.0f)),
                       0.0);
        }
    free(up), free(line), free(s), free(y);
}

/* ---- weights that change ---- */

static void check_changing(int64_t M, int64_t N, int64_t K, bool turned, bool add, msa_epilogue epilogue)
{
    const int64_t ldw = (turned ? N : K) + 2, ldx = K + 1, ldy = N + 5;
    float *x = noise(M * ldx), *w = noise((turned ? K : N) * ldw), *bias = noise(N), *was = noise(M * ldy);
    float *y[2] = {take(M * ldy), take(M * ldy)};
    for (int i = 0; i < 2; i++) {
        memcpy(y[i], was, (size_t)(M * ldy) * sizeof **y);
        msa_threads_set(i == 0 ? 1 : 3);
        msa_product_on_the_fly(M, N, K, x, ldx, (msa_changing_weight){w, ldw, turned}, bias, epilogue, add,
                               y[i], ldy);
    }
    for (int64_t i = 0; i < M * ldy; i++) {
        const int64_t m = i / ldy, n = i % ldy;
        double sum = n >= N || add ? (double)was[i] : (double)bias[n];
        for (int64_t k = 0; k < K && n < N; k++)
            sum += (double)x[m * ldx + k] * (double)w[turned ? k * ldw + n : n * ldw + k];
        if (n < N && epilogue == MSA_EPILOGUE_RELU && sum < 0.0) sum = 0.0;
        expect("changing weight", i, (double)y[0][i], sum, n >= N ? 0.0 : sum_tolerance(K));
        expect("changing weight, threads", i, (double)y[1][i], (double)y[0][i], 0.0);
    }
    msa_threads_set(1);
    free(x), free(w), free(bias), free(was), free(y[0]), free(y[1]);
}

static void check_changing_weights(void)
{
    static const int64_t shapes[][3] = {
        {33, 1, 5}, {40, 37, 513}, {200, 801, 64}, {169, 384, 1030}, {32, 64, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int form = 0; form < 4; form++)
            check_changing(shapes[i][0], shapes[i][1], shapes[i][2], form % 2 == 1, form / 2 == 1,
                           form == 1 ? MSA_EPILOGUE_RELU : MSA_EPILOGUE_NONE);
}

/* Levels with a fused multiply-add have one sum for an element, so they have one result. */
static void check_same_bits(void)
{
    enum { M = 29, N = 64, K = 129 };
    const msa_tile_table *of[2] = {msa_tile_table_at(MSA_CPU_AVX2), msa_tile_table_at(MSA_CPU_AVX512)};
    float *x = noise(M * K), *w = noise(N * K), *c[2] = {take(M * N), take(M * N)};
    level = "avx2 and avx512";
    for (int i = 0; i < 2; i++) {
        const msa_tile_table *t = of[i];
        float *a = take(msa_tile_packed_floats(M, K, t->rows)),
              *b = take(msa_tile_packed_floats(N, K, t->cols));
        t->pack(M, K, x, K, t->rows, 1.0f, a);
        t->pack(N, K, w, K, t->cols, 1.0f, b);
        t->product(M, N, K, (msa_tile_operand){a, t->rows, K * t->rows},
                   (msa_tile_operand){b, t->cols, K * t->cols}, NULL, 0, c[i], N, NULL);
        free(a), free(b);
    }
    expect("the same bits", 0, memcmp(c[0], c[1], (size_t)M * N * sizeof *x) == 0 ? 1 : 0, 1, 0);
    free(x), free(w), free(c[0]), free(c[1]);
}

/* ---- dense layers, at the level that runs ---- */

static void check_layer(int64_t M, int32_t N, int32_t K, msa_epilogue e, bool add)
{
    const int64_t ldx = K + 1, ldy = N + 5;
    float *w = noise((int64_t)N * K), *bias = noise(N), *x = noise(M * ldx), *packed = NULL;
    float *y[3] = {noise(M * ldy), take(M * ldy), take(M * ldy)};
    packed = take((int64_t)msa_packed_floats(N, K));
    msa_pack_weight(N, K, w, packed);
    const msa_linear plain = {.weight = w, .bias = bias, .N = N, .K = K};
    const msa_linear l = {.weight = w, .bias = bias, .N = N, .K = K, .packed = packed};
    for (int i = 1; i < 3; i++)
        memcpy(y[i], y[0], (size_t)(M * ldy) * sizeof *w);
    float *room = take(M * N);
    msa_linear_forward(&plain, M, x, ldx, room, N, e);
    for (int i = 1; i < 3; i++) {
        msa_threads_set(i == 1 ? 1 : 3);
        msa_packed_forward(&l, M, x, ldx, y[i], ldy, e, add);
    }
    msa_threads_set(1);
    for (int64_t i = 0; i < M * ldy; i++) {
        const bool inside = i % ldy < N;
        const double before = (double)y[0][i], sum = inside ? (double)room[i / ldy * N + i % ldy] : before;
        expect("packed layer", i, (double)y[1][i], inside && add ? before + sum : sum,
               inside ? sum_tolerance(K) : 0.0);
    }
    expect("threads change no bit", 0, memcmp(y[1], y[2], (size_t)(M * ldy) * sizeof *w) == 0 ? 1 : 0, 1, 0);
    free(w), free(bias), free(x), free(packed), free(room);
    for (int i = 0; i < 3; i++)
        free(y[i]);
}

static void check_layers(void)
{
    level = "layers";
    check_layer(0, 3, 3, MSA_EPILOGUE_NONE, false);
    check_layer(1, 1, 1, MSA_EPILOGUE_NONE, false);
    check_layer(7, 256, 256, MSA_EPILOGUE_RELU, false);
    check_layer(257, 300, 70, MSA_EPILOGUE_NONE, false);
    check_layer(197, 768, 192, MSA_EPILOGUE_GELU, false);
    check_layer(60, 100, 3072, MSA_EPILOGUE_NONE, true);
    check_layer(15, 20, 9000, MSA_EPILOGUE_NONE, false); /* few rows fit a block */
    expect("wider than a block", 0, (double)msa_packed_floats(16, 1 << 20), 0, 0);
}

int main(void)
{
    for (int i = 0; i <= (int)msa_cpu_detected(); i++) {
        const msa_tile_table *t = msa_tile_table_at((msa_cpu_level)i);
        if (t == NULL) continue; /* another architecture's */
        level = msa_cpu_level_name((msa_cpu_level)i);
        check_products(t);
        check_softmax(t, 1, 1, t->cols);
        check_softmax(t, 40, 40, t->cols / 2);
        check_softmax(t, 200, 64, t->cols);
        check_softmax_nan(t);
        check_rows(t);
    }
    if (msa_cpu_detected() == MSA_CPU_AVX512) check_same_bits();
    check_layers();
    level = "changing weights";
    check_changing_weights();
    printf("levels up to %s, %d failures\n", msa_cpu_level_name(msa_cpu_detected()), failures);
    return failures == 0 ? 0 : 1;
}
