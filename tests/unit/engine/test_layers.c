/* Layers against their definitions, computed here in double. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/arena.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/linear.h"
#include "tests/unit/engine/fixture.h"

static void near(double got, double wanted, double tolerance, const char *what, int64_t i)
{
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%s: index %lld wanted %.9g got %.9g tolerance %g", what, (long long)i, wanted, got,
                 tolerance);
}

static void layernorm_takes_two_passes(void **state)
{
    (void)state;
    enum { C = 37, T = 70 };
    static float x[T * C], y[T * C], weight[C], bias[C];
    const msa_norm n = {weight, bias, C};
    fixture_fill(x, T * C, 1, 2.0f);
    fixture_fill(weight, C, 2, 1.0f);
    fixture_fill(bias, C, 3, 1.0f);
    for (int i = 0; i < C; i++)
        x[i] += 1000.0f; /* one pass would lose this row's variance */
    msa_norm_forward(&n, 1e-6f, T, x, y);
    for (int t = 0; t < T; t++) {
        double mean = 0.0, var = 0.0;
        for (int c = 0; c < C; c++)
            mean += (double)x[t * C + c] / C;
        for (int c = 0; c < C; c++)
            var += ((double)x[t * C + c] - mean) * ((double)x[t * C + c] - mean) / C;
        for (int c = 0; c < C; c++)
            near((double)y[t * C + c],
                 ((double)x[t * C + c] - mean) / sqrt(var + 1e-6) * (double)weight[c] + (double)bias[c],
                 t == 0 ? 5e-4 : 5e-6, "layernorm", t * C + c);
    }
}

static void layernorm_does_not_hide_overflow(void **state)
{
    (void)state;
    const float weight[2] = {1.0f, 1.0f}, bias[2] = {0.0f, 0.0f}, x[2] = {1e30f, -1e30f};
    const msa_norm n = {weight, bias, 2};
    float y[2];
    msa_norm_forward(&n, 1e-6f, 1, x, y);
    assert_true(isnan(y[0]) && isnan(y[1]));
}

/* Sizes that need one tile, several, and slivers of both. */
static void linear_is_a_product(void **state)
{
    (void)state;
    static const int sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {257, 300, 33}, {800, 513, 20}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int M = sizes[s][0], N = sizes[s][1], K = sizes[s][2];
        float *x = malloc((size_t)(M * K) * sizeof *x), *w = malloc((size_t)(N * K) * sizeof *w);
        float *b = malloc((size_t)N * sizeof *b), *y = malloc((size_t)(M * N + 1) * sizeof *y);
        const msa_linear l = {.weight = w, .bias = b, .N = N, .K = K};
        fixture_fill(x, M * K, 4, 1.0f);
        fixture_fill(w, N * K, 5, 1.0f);
        fixture_fill(b, N, 6, 1.0f);
        y[M * N] = 1234.5f;
        msa_linear_forward(&l, M, x, K, y, N, MSA_EPILOGUE_RELU);
        assert_true(y[M * N] == 1234.5f);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double sum = (double)b[j];
                for (int k = 0; k < K; k++)
                    sum += (double)x[i * K + k] * (double)w[j * K + k];
                near((double)y[i * N + j], fmax(sum, 0.0), 1e-5, "linear", i * N + j);
            }
        free(x);
        free(w);
        free(b);
        free(y);
    }
}

static void attention_is_softmax_of_products(void **state)
{
    (void)state;
    enum { HEADS = 2, D = 5, NQ = 70, NK = 9, C = HEADS * D };
    static float q[NQ * C], k[NK * C], v[NK * C], out[NQ * C];
    fixture_fill(q, NQ * C, 7, 2.0f);
    fixture_fill(k, NK * C, 8, 2.0f);
    fixture_fill(v, NK * C, 9, 1.0f);
    const msa_attention a = {q, k, v, out, C, C, C, C, NQ, NK, HEADS, D, 0.7f};
    float *scratch = malloc(msa_attention_scratch(NK) * sizeof *scratch);
    msa_attention_forward(&a, scratch, 1);
    free(scratch);
    for (int i = 0; i < NQ; i++)
        for (int h = 0; h < HEADS; h++) {
            double e[NK], sum = 0.0;
            for (int j = 0; j < NK; j++) {
                double dot = 0.0;
                for (int c = 0; c < D; c++)
                    dot += (double)q[i * C + h * D + c] * (double)k[j * C + h * D + c];
                sum += e[j] = exp(0.7 * dot);
            }
            for (int c = 0; c < D; c++) {
                double y = 0.0;
                for (int j = 0; j < NK; j++)
                    y += e[j] / sum * (double)v[j * C + h * D + c];
                near((double)out[i * C + h * D + c], y, 1e-5, "attention", i * C + h * D + c);
            }
        }
}

enum { WH = 5, WW = 4, WIN = 3, WHEADS = 2, WD = 4, WC = WHEADS * WD };

/* Attention of one window position, by the definition; -1 is the padding row. */
static void expected_window(const float *qkv, const float *rel_h, const float *rel_w, const msa_windows *w,
                            int64_t window, int64_t p, int64_t pad, int head, double out[WD])
{
    double e[WIN * WIN], sum = 0.0;
    const int64_t row = msa_windows_source(w, window, p);
    const float *q = qkv + row * 3 * WC + head * WD;
    for (int64_t j = 0; j < WIN * WIN; j++) {
        const int64_t source = msa_windows_source(w, window, j), key = source < 0 ? pad : source;
        const int64_t dy = p / WIN - j / WIN + WIN - 1, dx = p % WIN - j % WIN + WIN - 1;
        double logit = 0.0;
        for (int c = 0; c < WD; c++)
            logit += (double)q[c] * ((double)qkv[key * 3 * WC + WC + head * WD + c] / sqrt(WD) +
                                     (double)rel_h[dy * WD + c] + (double)rel_w[dx * WD + c]);
        sum += e[j] = exp(logit);
    }
    for (int c = 0; c < WD; c++)
        out[c] = 0.0;
    for (int64_t j = 0; j < WIN * WIN; j++) {
        const int64_t source = msa_windows_source(w, window, j), key = source < 0 ? pad : source;
        for (int c = 0; c < WD; c++)
            out[c] += e[j] / sum * (double)qkv[key * 3 * WC + 2 * WC + head * WD + c];
    }
}

/* Padding takes part as key and value, through one row that stands for all of it. */
static void windows_keep_padding_alive(void **state)
{
    (void)state;
    enum { TOKENS = WH * WW, SLOTS = 4 * WIN * WIN };
    static float qkv[(TOKENS + 1) * 3 * WC], rel_h[(2 * WIN - 1) * WD], rel_w[(2 * WIN - 1) * WD];
    static float out[(TOKENS + 1) * WC];
    static int32_t row_of[SLOTS];
    const msa_windows w = msa_windows_make(WH, WW, WIN);
    assert_int_equal(msa_windows_tokens(&w), SLOTS);
    fixture_fill(qkv, (TOKENS + 1) * 3 * WC, 10, 1.5f);
    fixture_fill(rel_h, (2 * WIN - 1) * WD, 11, 1.0f);
    fixture_fill(rel_w, (2 * WIN - 1) * WD, 12, 1.0f);
    for (int64_t s = 0; s < SLOTS; s++) {
        const int64_t source = msa_windows_source(&w, s / (WIN * WIN), s % (WIN * WIN));
        row_of[s] = (int32_t)(source < 0 ? TOKENS : source);
    }
    const msa_window_attention a = {w, qkv, rel_h, rel_w, row_of, TOKENS, out, WHEADS, WD};
    float *scratch = malloc(msa_window_attention_scratch(&w, WD) * sizeof *scratch);
    msa_window_attention_forward(&a, scratch, 1);
    free(scratch);
    for (int64_t s = 0; s < SLOTS; s++)
        for (int h = 0; row_of[s] != TOKENS && h < WHEADS; h++) {
            double wanted[WD];
            expected_window(qkv, rel_h, rel_w, &w, s / (WIN * WIN), s % (WIN * WIN), TOKENS, h, wanted);
            for (int c = 0; c < WD; c++)
                near((double)out[row_of[s] * WC + h * WD + c], wanted[c], 1e-5, "window attention", s);
        }
}

static void windows_split_and_merge(void **state)
{
    (void)state;
    static float x[WH * WW * 2], parts[36 * 2], back[WH * WW * 2];
    const msa_windows w = msa_windows_make(WH, WW, WIN);
    fixture_fill(x, WH * WW * 2, 13, 1.0f);
    msa_windows_split(&w, 2, x, parts);
    assert_true(parts[2 * 10] == 0.0f); /* window 1, row 0, column 1 of the grid's column 4: padding */
    assert_memory_equal(parts + 2 * 9, x + 2 * 3, 2 * sizeof *x);
    msa_windows_merge(&w, 2, parts, back);
    assert_memory_equal(back, x, sizeof x);
}

static void arena_measures_before_it_takes(void **state)
{
    (void)state;
    msa_arena a = {0};
    msa_error err = MSA_ERROR_INIT;
    assert_null(msa_arena_floats(&a, 3));
    assert_null(msa_arena_floats(&a, 100));
    assert_int_equal(msa_arena_commit(&a, &err), MSA_OK);
    float *x = msa_arena_floats(&a, 3), *y = msa_arena_floats(&a, 100);
    assert_int_equal((uintptr_t)x % 64, 0);
    assert_int_equal(y - x, 16);
    assert_true(y[99] == 0.0f);
    msa_arena_release(&a);
    assert_null(msa_arena_take(&a, SIZE_MAX / 8, 16));
    assert_int_equal(msa_arena_commit(&a, &err), MSA_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_takes_two_passes),
        cmocka_unit_test(layernorm_does_not_hide_overflow),
        cmocka_unit_test(linear_is_a_product),
        cmocka_unit_test(attention_is_softmax_of_products),
        cmocka_unit_test(windows_keep_padding_alive),
        cmocka_unit_test(windows_split_and_merge),
        cmocka_unit_test(arena_measures_before_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
