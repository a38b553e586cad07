/* The decoder's own layers, each against central differences of the same layer in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adapt/decoder_adapter.h"
#include "engine/base/pool.h"
#include "engine/nn/conv.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/train/central.h"

#define NEARLY 1e-4

static float *zeros(int64_t n)
{
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static void expect_zeros(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        assert_true(x[i] == 0.0f);
}

/* ---- transposed convolution ---- */

typedef struct spread {
    int32_t h, w, C, N;
    twin x, weight, bias, factor;
} spread;

static double spread_value(const void *ctx)
{
    const spread *s = ctx;
    double value = 0.0;
    for (int32_t i = 0; i < 2 * s->h; i++)
        for (int32_t j = 0; j < 2 * s->w; j++)
            for (int32_t o = 0; o < s->N; o++) {
                double y = s->bias.d[o];
                for (int32_t c = 0; c < s->C; c++)
                    y += s->x.d[((i / 2) * s->w + j / 2) * s->C + c] *
                         s->weight.d[(c * s->N + o) * 4 + i % 2 * 2 + j % 2];
                value += y * s->factor.d[(i * 2 * s->w + j) * s->N + o];
            }
    return value;
}

static spread spread_new(int32_t h, int32_t w, int32_t C, int32_t N)
{
    return (spread){.h = h,
                    .w = w,
                    .C = C,
                    .N = N,
                    .x = twin_new((int64_t)h * w * C, 1, 1.0f),
                    .weight = twin_new((int64_t)C * N * 4, 2, 0.5f),
                    .bias = twin_new(N, 3, 0.5f),
                    .factor = twin_new((int64_t)4 * h * w * N, 4, 1.0f)};
}

static void spread_free(spread *s)
{
    twin_free(&s->x);
    twin_free(&s->weight);
    twin_free(&s->bias);
    twin_free(&s->factor);
}

static void transposed_convolution(void **state)
{
    (void)state;
    spread s = spread_new(3, 5, 6, 4);
    float *scratch = zeros(4 * s.h * s.w * s.N), *dx = zeros(s.x.n), *dw = zeros(s.weight.n),
          *db = zeros(s.bias.n);
    msa_conv_transpose2x2_backward(s.x.f, s.h, s.w, s.C, s.weight.f, s.N, s.factor.f, scratch, dx, dw, db);
    central_check("x", spread_value, &s, s.x.d, s.x.n, dx, 1, NEARLY);
    central_check("weight", spread_value, &s, s.weight.d, s.weight.n, dw, 1, NEARLY);
    central_check("bias", spread_value, &s, s.bias.d, s.bias.n, db, 1, NEARLY);
    /* dx is written, the others are added to. */
    msa_conv_transpose2x2_backward(s.x.f, s.h, s.w, s.C, s.weight.f, s.N, s.factor.f, scratch, dx, dw, db);
    central_check("x again", spread_value, &s, s.x.d, s.x.n, dx, 1, NEARLY);
    for (int64_t i = 0; i < s.weight.n; i++)
        dw[i] *= 0.5f;
    central_check("half of two weights", spread_value, &s, s.weight.d, s.weight.n, dw, 1, NEARLY);
    /* Frozen: the bias alone, then nothing but dx. */
    memset(db, 0, (size_t)s.bias.n * sizeof *db);
    msa_conv_transpose2x2_backward(s.x.f, s.h, s.w, s.C, s.weight.f, s.N, s.factor.f, scratch, NULL, NULL,
                                   db);
    central_check("bias alone", spread_value, &s, s.bias.d, s.bias.n, db, 1, NEARLY);
    memset(dx, 0, (size_t)s.x.n * sizeof *dx);
    msa_conv_transpose2x2_backward(s.x.f, s.h, s.w, s.C, s.weight.f, s.N, s.factor.f, scratch, dx, NULL,
                                   NULL);
    central_check("x alone", spread_value, &s, s.x.d, s.x.n, dx, 1, NEARLY);
    spread_free(&s);
    free(scratch);
    free(dx);
    free(dw);
    free(db);
}

/* More than one run of pixels, two threads: the same bits. */
static void transposed_convolution_threads(void **state)
{
    (void)state;
    spread s = spread_new(37, 41, 20, 12);
    float *out[2];
    const int64_t n = s.x.n + s.weight.n + s.bias.n;
    float *scratch = zeros(4 * (int64_t)s.h * s.w * s.N);
    for (int i = 0; i < 2; i++) {
        out[i] = zeros(n);
        float *dw = out[i] + s.x.n;
        msa_threads_set(1 + i);
        msa_conv_transpose2x2_backward(s.x.f, s.h, s.w, s.C, s.weight.f, s.N, s.factor.f, scratch, out[i], dw,
                                       dw + s.weight.n);
    }
    msa_threads_set(1);
    assert_memory_equal(out[0], out[1], (size_t)n * sizeof(float));
    /* Linear in each argument, so one difference of the weight is exact: the last value, in the last run. */
    central_check("weight", spread_value, &s, s.weight.d, s.weight.n, out[0] + s.x.n, 199, NEARLY);
    central_check("x", spread_value, &s, s.x.d, s.x.n, out[0], 5003, NEARLY);
    spread_free(&s);
    free(scratch);
    free(out[0]);
    free(out[1]);
}

/* ---- patches ---- */

/* Gathering and scattering are each other's adjoint: <rows(x), r> = <x, back(r)>; a rest is not covered. */
static void patches(void **state)
{
    (void)state;
    static const int32_t grids[][4] = {{1, 4, 6, 2}, {3, 8, 4, 2}, {2, 7, 9, 2}, {1, 9, 9, 4}};
    for (size_t k = 0; k < sizeof grids / sizeof grids[0]; k++) {
        const int32_t C = grids[k][0], H = grids[k][1], W = grids[k][2], p = grids[k][3];
        const int64_t n = (int64_t)(H / p) * (W / p), row = (int64_t)C * p * p, all = (int64_t)C * H * W;
        twin x = twin_new(all, 5, 1.0f), r = twin_new(n * row, 6, 1.0f);
        float *rows = zeros(n * row), *back = zeros(all);
        double a = 0.0, b = 0.0;
        fixture_fill(back, all, 7, 1.0f); /* must be overwritten */
        msa_patch_rows(x.f, C, H, W, p, 0, n, rows);
        msa_patch_rows_backward(r.f, C, H, W, p, back);
        for (int64_t i = 0; i < n * row; i++)
            a += (double)rows[i] * r.d[i];
        for (int64_t i = 0; i < all; i++)
            b += x.d[i] * (double)back[i];
        assert_true(fabs(a - b) < 1e-9);
        if (H % p != 0) expect_zeros(back + (int64_t)(H - 1) * W, W);
        twin_free(&x);
        twin_free(&r);
        free(rows);
        free(back);
    }
}

/* ---- prompt adapter ---- */

enum { T = 5, P = 12, R = 4, N_TENSORS = 10 };

typedef struct conditioned {
    bool hyper, relu;
    twin x, p, factor;
    twin down, down_bias, prompt, prompt_bias, up, up_bias, generate, generate_bias, norm, norm_bias;
} conditioned;

static void dense(int64_t N, int64_t K, const double *x, const twin *w, const twin *b, double *y)
{
    for (int64_t n = 0; n < N; n++) {
        y[n] = b->d[n];
        for (int64_t k = 0; k < K; k++)
            y[n] += x[k] * w->d[n * K + k];
    }
}

static void hyper_step(const conditioned *a, const double *condition, double *e)
{
    double weights[R * R], product[R] = {0}, mean = 0.0, variance = 0.0;
    dense(R * R, R, condition, &a->generate, &a->generate_bias, weights);
    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++)
            product[j] += e[i] * weights[i * R + j];
    for (int j = 0; j < R; j++)
        mean += product[j] / R;
    for (int j = 0; j < R; j++)
        variance += (product[j] - mean) * (product[j] - mean) / R;
    for (int j = 0; j < R; j++)
        e[j] = (product[j] - mean) / sqrt(variance + 1e-5) * a->norm.d[j] + a->norm_bias.d[j];
}

static double conditioned_value(const void *ctx)
{
    const conditioned *a = ctx;
    double value = 0.0;
    for (int t = 0; t < T; t++) {
        double e[R], condition[R], y[P];
        dense(R, P, a->x.d + t * P, &a->down, &a->down_bias, e);
        dense(R, P, a->p.d + t * P, &a->prompt, &a->prompt_bias, condition);
        if (a->hyper) hyper_step(a, condition, e);
        for (int i = 0; i < R; i++) {
            if (!a->hyper) e[i] += condition[i];
            e[i] = a->relu ? fmax(e[i], 0.0) : 0.5 * e[i] * (1.0 + erf(e[i] * M_SQRT1_2));
        }
        dense(P, R, e, &a->up, &a->up_bias, y);
        for (int i = 0; i < P; i++)
            value += (a->x.d[t * P + i] + y[i]) * a->factor.d[t * P + i];
    }
    return value;
}

static const int64_t sizes[N_TENSORS] = {R * P, R, R *P, R, P *R, P, R *R *R, R *R, R, R};
static const char *const names[N_TENSORS] = {"down", "down bias", "prompt",   "prompt bias",
                                             "up",   "up bias",   "generate", "generate bias",
                                             "norm", "norm bias"};

static void list_tensors(conditioned *a, twin *list[N_TENSORS])
{
    twin *all[N_TENSORS] = {&a->down,    &a->down_bias, &a->prompt,        &a->prompt_bias, &a->up,
                            &a->up_bias, &a->generate,  &a->generate_bias, &a->norm,        &a->norm_bias};
    memcpy(list, all, sizeof all);
}

static conditioned conditioned_new(bool hyper, bool relu)
{
    conditioned a = {.hyper = hyper, .relu = relu};
    twin *list[N_TENSORS];
    list_tensors(&a, list);
    for (int i = 0; i < N_TENSORS; i++)
        *list[i] = twin_new(sizes[i], 40 + (uint64_t)i, 0.8f);
    a.x = twin_new(T * P, 31, 1.0f);
    a.p = twin_new(T * P, 32, 1.0f);
    a.factor = twin_new(T * P, 33, 1.0f);
    return a;
}

static void conditioned_free(conditioned *a)
{
    twin *list[N_TENSORS];
    list_tensors(a, list);
    for (int i = 0; i < N_TENSORS; i++)
        twin_free(list[i]);
    twin_free(&a->x);
    twin_free(&a->p);
    twin_free(&a->factor);
}

static msa_linear layer(const float *weight, const float *bias, int32_t N, int32_t K)
{
    return (msa_linear){.weight = weight, .bias = bias, .N = N, .K = K};
}

static msa_prompt_adapter layers_of(const conditioned *a)
{
    return (msa_prompt_adapter){.down = layer(a->down.f, a->down_bias.f, R, P),
                                .prompt = layer(a->prompt.f, a->prompt_bias.f, R, P),
                                .up = layer(a->up.f, a->up_bias.f, P, R),
                                .generate =
                                    layer(a->hyper ? a->generate.f : NULL, a->generate_bias.f, R * R, R),
                                .norm = {a->norm.f, a->norm_bias.f, R}};
}

/* Forward, backward with every gradient, and backward with none: dx has the same bits. */
static void run_conditioned(const conditioned *a, float *grads[N_TENSORS], float *dx, float *dp)
{
    const msa_prompt_adapter m = layers_of(a);
    const msa_prompt_adapter_grads all = {{grads[0], grads[1]},
                                          {grads[2], grads[3]},
                                          {grads[4], grads[5]},
                                          {grads[6], grads[7]},
                                          {grads[8], grads[9]}};
    const msa_prompt_adapter_grads none = {
        {NULL, NULL}, {NULL, NULL}, {NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    const msa_activation act = a->relu ? MSA_ACT_RELU : MSA_ACT_GELU;
    msa_arena arena = {0};
    msa_prompt_adapter_work k = {0};
    msa_prompt_adapter_layout(&k, &arena, &m, T);
    assert_int_equal(msa_arena_commit(&arena, NULL), MSA_OK);
    msa_prompt_adapter_layout(&k, &arena, &m, T);
    float *scratch = zeros((int64_t)msa_prompt_adapter_scratch(&m, T)), y[T * P], again[T * P];
    double value = 0.0;
    msa_prompt_adapter_forward(&m, act, T, a->x.f, a->p.f, &k, y);
    for (int i = 0; i < T * P; i++)
        value += (double)y[i] * a->factor.d[i];
    assert_true(fabs(value - conditioned_value(a)) < 1e-4);
    msa_prompt_adapter_backward(&m, act, T, a->x.f, a->p.f, &k, &all, a->factor.f, scratch, dx, dp);
    msa_prompt_adapter_backward(&m, act, T, a->x.f, a->p.f, &k, &none, a->factor.f, scratch, again, NULL);
    assert_memory_equal(dx, again, sizeof again);
    free(scratch);
    msa_arena_release(&arena);
}

static void check_conditioned(bool hyper, bool relu)
{
    conditioned a = conditioned_new(hyper, relu);
    twin *list[N_TENSORS];
    float *grads[N_TENSORS], dx[T * P], dp[T * P] = {0};
    list_tensors(&a, list);
    for (int i = 0; i < N_TENSORS; i++)
        grads[i] = zeros(sizes[i]);
    run_conditioned(&a, grads, dx, dp);
    central_check("x", conditioned_value, &a, a.x.d, T * P, dx, 1, NEARLY);
    central_check("p", conditioned_value, &a, a.p.d, T * P, dp, 1, NEARLY);
    for (int i = 0; i < N_TENSORS; i++) {
        if (i < 6 || hyper)
            central_check(names[i], conditioned_value, &a, list[i]->d, sizes[i], grads[i], 1, NEARLY);
        else
            expect_zeros(grads[i], sizes[i]);
        free(grads[i]);
    }
    conditioned_free(&a);
}

static void prompt_adapters(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        check_conditioned(i / 2 != 0, i % 2 != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposed_convolution),
        cmocka_unit_test(transposed_convolution_threads),
        cmocka_unit_test(patches),
        cmocka_unit_test(prompt_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
