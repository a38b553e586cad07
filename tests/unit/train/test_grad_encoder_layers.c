/* Backward of every layer of the image encoder against central differences in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adapt/adapter.h"
#include "engine/base/pool.h"
#include "engine/kern/vec.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/interp.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/linear.h"
#include "engine/nn/relpos.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/train/central.h"

#define TOLERANCE 2e-5 /* float sums of a few hundred terms against exact ones */

static float *zeros(int64_t n)
{
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static double dot(int64_t n, const double *a, const double *b)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- double versions, as the definitions say ---- */

static void linear_d(int64_t M, int64_t N, int64_t K, const double *x, const double *w, const double *b,
                     double *y)
{
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++)
            y[m * N + n] = b[n] + dot(K, x + m * K, w + n * K);
}

static double gelu_d(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

static void softmax_d(int64_t n, double *x)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i]);
    for (int64_t i = 0; i < n; i++)
        x[i] = exp(x[i]) / sum;
}

/* ---- dense ---- */

enum { M = 9, N = 11, K = 7 };

typedef struct linear_case {
    twin x, w, b, dy;
} linear_case;

static double linear_value(const void *ctx)
{
    const linear_case *t = ctx;
    double y[M * N];
    linear_d(M, N, K, t->x.d, t->w.d, t->b.d, y);
    return dot(M * N, y, t->dy.d);
}

static void test_linear(void **state)
{
    (void)state;
    linear_case t = {twin_new(M * K, 1, 1.0f), twin_new(N * K, 2, 1.0f), twin_new(N, 3, 1.0f),
                     twin_new(M * N, 4, 1.0f)};
    const msa_linear l = {.weight = t.w.f, .bias = t.b.f, .N = N, .K = K};
    float dx[M * K], twice[M * K], dw[N * K] = {0}, db[N] = {0};
    msa_linear_backward_input(&l, M, t.dy.f, N, dx, K, false);
    memcpy(twice, dx, sizeof dx);
    msa_linear_backward_input(&l, M, t.dy.f, N, twice, K, true);
    for (int i = 0; i < M * K; i++)
        assert_true(fabsf(twice[i] - 2.0f * dx[i]) < 1e-5f);
    msa_linear_backward_params(&l, M, t.x.f, K, t.dy.f, N, dw, db);
    central_check("linear x", linear_value, &t, t.x.d, M * K, dx, 1, TOLERANCE);
    central_check("linear weight", linear_value, &t, t.w.d, N * K, dw, 1, TOLERANCE);
    central_check("linear bias", linear_value, &t, t.b.d, N, db, 1, TOLERANCE);
    msa_linear_backward_params(&l, M, t.x.f, K, t.dy.f, N, NULL, db); /* added to, the weight left alone */
    for (int i = 0; i < N; i++)
        db[i] *= 0.5f;
    central_check("linear bias, summed", linear_value, &t, t.b.d, N, db, 1, TOLERANCE);
    twin_free(&t.x), twin_free(&t.w), twin_free(&t.b), twin_free(&t.dy);
}

static void same_bits_on_one_thread(const msa_linear *l, int64_t rows, const float *x, const float *dy,
                                    const float *dx, const float *dw, const float *db)
{
    float *in = zeros(rows * l->K), *weight = zeros((int64_t)l->N * l->K), *bias = zeros(l->N);
    msa_threads_set(1);
    msa_linear_backward_input(l, rows, dy, l->N, in, l->K, false);
    msa_linear_backward_params(l, rows, x, l->K, dy, l->N, weight, bias);
    msa_threads_set(2);
    assert_memory_equal(in, dx, (size_t)(rows * l->K) * sizeof *in);
    assert_memory_equal(weight, dw, (size_t)(l->N * l->K) * sizeof *weight);
    assert_memory_equal(bias, db, (size_t)l->N * sizeof *bias);
    free(in), free(weight), free(bias);
}

/* More rows and columns than one tile: the tiles must fit together. */
static void test_linear_tiles(void **state)
{
    (void)state;
    enum { ROWS = 400, OUT = 300, IN = 270 };
    twin x = twin_new(ROWS * IN, 5, 1.0f), w = twin_new(OUT * IN, 6, 0.1f),
         dy = twin_new(ROWS * OUT, 7, 1.0f);
    const msa_linear l = {.weight = w.f, .N = OUT, .K = IN};
    float *dx = zeros(ROWS * IN), *dw = zeros(OUT * IN), *db = zeros(OUT);
    msa_linear_backward_input(&l, ROWS, dy.f, OUT, dx, IN, false);
    msa_linear_backward_params(&l, ROWS, x.f, IN, dy.f, OUT, dw, db);
    same_bits_on_one_thread(&l, ROWS, x.f, dy.f, dx, dw, db);
    for (int r = 0; r < ROWS; r += 7)
        for (int k = 0; k < IN; k++) {
            double sum = 0.0;
            for (int n = 0; n < OUT; n++)
                sum += dy.d[r * OUT + n] * w.d[n * IN + k];
            assert_true(fabs(sum - (double)dx[r * IN + k]) < 1e-5);
        }
    for (int n = 0; n < OUT; n++) {
        double sum = 0.0;
        for (int r = 0; r < ROWS; r++)
            sum += dy.d[r * OUT + n];
        assert_true(fabs(sum - (double)db[n]) < 1e-5);
        for (int k = 0; k < IN; k += 5) {
            sum = 0.0;
            for (int r = 0; r < ROWS; r++)
                sum += dy.d[r * OUT + n] * x.d[r * IN + k];
            assert_true(fabs(sum - (double)dw[n * IN + k]) < 1e-4);
        }
    }
    free(dx), free(dw), free(db), twin_free(&x), twin_free(&w), twin_free(&dy);
}

/* ---- activations ---- */

static void test_activations(void **state)
{
    (void)state;
    enum { COUNT = 4001 };
    float x[COUNT], dy[COUNT], dx[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = ((float)i - 2000.0f) / 150.0f;
        dy[i] = 1.0f;
    }
    msa_gelu_backward(COUNT, x, dy, dx);
    for (int i = 0; i < COUNT; i++) {
        const double v = (double)x[i], h = 1e-4, want = (gelu_d(v + h) - gelu_d(v - h)) / (2.0 * h);
        if (!(fabs(want - (double)dx[i]) < 1e-6))
            fail_msg("gelu' at %g: wanted %g got %g", v, want, (double)dx[i]);
    }
    const float far[4] = {INFINITY, -INFINITY, 30.0f, -30.0f}, one[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    float slope[4];
    msa_gelu_backward(4, far, one, slope);
    assert_true(slope[0] == 1.0f && slope[1] == 0.0f && slope[2] == 1.0f && slope[3] == 0.0f);
    const float nan = NAN;
    msa_gelu_backward(1, &nan, one, slope);
    assert_true(isnan(slope[0]));
    msa_epilogue_backward(MSA_EPILOGUE_RELU, COUNT, x, dy, dx);
    for (int i = 0; i < COUNT; i++)
        assert_true(dx[i] == (x[i] > 0.0f ? 1.0f : 0.0f));
}

/* ---- norm ---- */

enum { ROWS = 130, CHANNELS = 37 };

typedef struct norm_case {
    twin x, w, b, dy;
    double eps;
} norm_case;

static double norm_value(const void *ctx)
{
    const norm_case *t = ctx;
    double sum = 0.0;
    for (int r = 0; r < ROWS; r++) {
        const double *x = t->x.d + r * CHANNELS;
        double mean = 0.0, var = 0.0;
        for (int c = 0; c < CHANNELS; c++)
            mean += x[c] / CHANNELS;
        for (int c = 0; c < CHANNELS; c++)
            var += (x[c] - mean) * (x[c] - mean) / CHANNELS;
        for (int c = 0; c < CHANNELS; c++)
            sum += ((x[c] - mean) / sqrt(var + t->eps) * t->w.d[c] + t->b.d[c]) * t->dy.d[r * CHANNELS + c];
    }
    return sum;
}

static void test_norm(void **state)
{
    (void)state;
    norm_case t = {twin_new(ROWS * CHANNELS, 11, 2.0f), twin_new(CHANNELS, 12, 1.5f),
                   twin_new(CHANNELS, 13, 1.0f), twin_new(ROWS * CHANNELS, 14, 1.0f), 1e-6};
    const msa_norm n = {t.w.f, t.b.f, CHANNELS};
    float *dx = zeros(ROWS * CHANNELS), dw[CHANNELS] = {0}, db[CHANNELS] = {0}, scratch[2 * ROWS];
    msa_norm_backward(&n, 1e-6f, ROWS, t.x.f, t.dy.f, dx, false, dw, db, scratch);
    central_check("norm x", norm_value, &t, t.x.d, ROWS * CHANNELS, dx, 17, TOLERANCE);
    central_check("norm weight", norm_value, &t, t.w.d, CHANNELS, dw, 1, TOLERANCE);
    central_check("norm bias", norm_value, &t, t.b.d, CHANNELS, db, 1, TOLERANCE);
    float *other = zeros(ROWS * CHANNELS); /* in place, and added to */
    memcpy(other, t.dy.f, (size_t)(ROWS * CHANNELS) * sizeof *other);
    msa_norm_backward(&n, 1e-6f, ROWS, t.x.f, other, other, false, NULL, NULL, scratch);
    assert_memory_equal(other, dx, (size_t)(ROWS * CHANNELS) * sizeof *dx);
    msa_norm_backward(&n, 1e-6f, ROWS, t.x.f, t.dy.f, other, true, NULL, NULL, scratch);
    for (int i = 0; i < ROWS * CHANNELS; i++)
        assert_true(fabsf(other[i] - 2.0f * dx[i]) < 1e-5f);
    free(dx), free(other), twin_free(&t.x), twin_free(&t.w), twin_free(&t.b), twin_free(&t.dy);
}

/* ---- adapter ---- */

enum { TOKENS = 6, WIDTH = 12, INNER = 5 };

typedef struct adapter_case {
    twin x, dw, db, uw, ub, dy;
    msa_activation act;
    bool skip;
} adapter_case;

static double adapter_value(const void *ctx)
{
    const adapter_case *t = ctx;
    double h[TOKENS * INNER], y[TOKENS * WIDTH];
    linear_d(TOKENS, INNER, WIDTH, t->x.d, t->dw.d, t->db.d, h);
    for (int i = 0; i < TOKENS * INNER; i++)
        h[i] = t->act == MSA_ACT_RELU ? fmax(h[i], 0.0) : gelu_d(h[i]);
    linear_d(TOKENS, WIDTH, INNER, h, t->uw.d, t->ub.d, y);
    for (int i = 0; i < TOKENS * WIDTH && t->skip; i++)
        y[i] += t->x.d[i];
    return dot(TOKENS * WIDTH, y, t->dy.d);
}

static void adapter_one(msa_activation act, bool skip)
{
    adapter_case t = {twin_new(TOKENS * WIDTH, 21, 1.0f),
                      twin_new(INNER * WIDTH, 22, 0.6f),
                      twin_new(INNER, 23, 0.3f),
                      twin_new(WIDTH * INNER, 24, 0.8f),
                      twin_new(WIDTH, 25, 0.3f),
                      twin_new(TOKENS * WIDTH, 26, 1.0f),
                      act,
                      skip};
    const msa_adapter a = {{.weight = t.dw.f, .bias = t.db.f, .N = INNER, .K = WIDTH},
                           {.weight = t.uw.f, .bias = t.ub.f, .N = WIDTH, .K = INNER}};
    float pre[TOKENS * INNER], h[TOKENS * INNER], dh[TOKENS * INNER], y[TOKENS * WIDTH],
        plain[TOKENS * WIDTH];
    float dx[TOKENS * WIDTH], dw[INNER * WIDTH] = {0}, db[INNER] = {0}, uw[WIDTH * INNER] = {0},
                                         ub[WIDTH] = {0};
    const msa_adapter_grads g = {dw, db, uw, ub}, none = {NULL, NULL, NULL, NULL};
    msa_adapter_forward_kept(&a, act, skip, TOKENS, t.x.f, pre, h, y);
    msa_adapter_forward(&a, act, skip, TOKENS, t.x.f, h, plain);
    assert_memory_equal(y, plain, sizeof y);
    msa_adapter_backward(&a, act, skip, TOKENS, t.x.f, pre, t.dy.f, dx, false, &g, h, dh);
    central_check("adapter x", adapter_value, &t, t.x.d, TOKENS * WIDTH, dx, 1, TOLERANCE);
    central_check("adapter down weight", adapter_value, &t, t.dw.d, INNER * WIDTH, dw, 1, TOLERANCE);
    central_check("adapter down bias", adapter_value, &t, t.db.d, INNER, db, 1, TOLERANCE);
    central_check("adapter up weight", adapter_value, &t, t.uw.d, WIDTH * INNER, uw, 1, TOLERANCE);
    central_check("adapter up bias", adapter_value, &t, t.ub.d, WIDTH, ub, 1, TOLERANCE);
    float again[TOKENS * WIDTH];
    msa_adapter_backward(&a, act, skip, TOKENS, t.x.f, pre, t.dy.f, again, false, &none, h, dh);
    assert_memory_equal(again, dx, sizeof dx); /* frozen: the way down is the same */
    twin_free(&t.x), twin_free(&t.dw), twin_free(&t.db), twin_free(&t.uw), twin_free(&t.ub), twin_free(&t.dy);
}

static void test_adapter(void **state)
{
    (void)state;
    adapter_one(MSA_ACT_GELU, true);
    adapter_one(MSA_ACT_GELU, false);
    adapter_one(MSA_ACT_RELU, true);
}

/* ---- plain attention ---- */

enum { NQ = 70, NK = 9, HEADS = 2, D = 5, HD = HEADS * D };

typedef struct attention_case {
    twin q, k, v, dout;
    double scale;
} attention_case;

static double attention_value(const void *ctx)
{
    const attention_case *t = ctx;
    double sum = 0.0;
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < NQ; i++) {
            double p[NK];
            for (int j = 0; j < NK; j++)
                p[j] = t->scale * dot(D, t->q.d + i * HD + h * D, t->k.d + j * HD + h * D);
            softmax_d(NK, p);
            for (int j = 0; j < NK; j++)
                sum += p[j] * dot(D, t->v.d + j * HD + h * D, t->dout.d + i * HD + h * D);
        }
    return sum;
}

static void test_attention(void **state)
{
    (void)state;
    attention_case t = {twin_new(NQ * HD, 31, 1.5f), twin_new(NK * HD, 32, 1.5f), twin_new(NK * HD, 33, 1.0f),
                        twin_new(NQ * HD, 34, 1.0f), 0.5};
    float dq[NQ * HD], dk[NK * HD], dv[NK * HD],
        *scratch = zeros((int64_t)msa_attention_backward_scratch(NK));
    const msa_attention a = {.q = t.q.f,
                             .k = t.k.f,
                             .v = t.v.f,
                             .ldq = HD,
                             .ldk = HD,
                             .ldv = HD,
                             .ldo = HD,
                             .nq = NQ,
                             .nk = NK,
                             .heads = HEADS,
                             .d = D,
                             .scale = 0.5f};
    const msa_attention_grads g = {t.dout.f, dq, dk, dv, HD, HD, HD, HD};
    msa_attention_backward(&a, &g, scratch, 1);
    central_check("attention q", attention_value, &t, t.q.d, NQ * HD, dq, 3, TOLERANCE);
    central_check("attention k", attention_value, &t, t.k.d, NK * HD, dk, 1, TOLERANCE);
    central_check("attention v", attention_value, &t, t.v.d, NK * HD, dv, 1, TOLERANCE);
    free(scratch), twin_free(&t.q), twin_free(&t.k), twin_free(&t.v), twin_free(&t.dout);
}

/* ---- windows with relative positions ---- */

typedef struct window_case {
    msa_windows w;
    int32_t heads, d;
    int32_t *row_of; /* NULL: one window without padding */
    int64_t rows, pad_row;
    twin qkv, rel_h, rel_w, dout;
} window_case;

static double window_value(const void *ctx)
{
    const window_case *t = ctx;
    const int64_t area = (int64_t)t->w.win_h * t->w.win_w, C = (int64_t)t->heads * t->d, d = t->d;
    double sum = 0.0, p[400];
    for (int64_t slot = 0; slot < msa_windows_tokens(&t->w); slot++) {
        const int64_t slot0 = slot / area * area, i = slot % area;
        const int64_t row = t->row_of == NULL ? slot : t->row_of[slot];
        if (row == t->pad_row) continue;
        for (int64_t h = 0; h < t->heads; h++) {
            const double *q = t->qkv.d + row * 3 * C + h * d;
            for (int64_t j = 0; j < area; j++) {
                const int64_t key = t->row_of == NULL ? slot0 + j : t->row_of[slot0 + j];
                const int64_t dy = i / t->w.win_w - j / t->w.win_w + t->w.win_h - 1;
                const int64_t dx = i % t->w.win_w - j % t->w.win_w + t->w.win_w - 1;
                p[j] = dot(d, q, t->qkv.d + key * 3 * C + C + h * d) / sqrt((double)d) +
                       dot(d, q, t->rel_h.d + dy * d) + dot(d, q, t->rel_w.d + dx * d);
            }
            softmax_d(area, p);
            for (int64_t j = 0; j < area; j++) {
                const int64_t key = t->row_of == NULL ? slot0 + j : t->row_of[slot0 + j];
                sum += p[j] * dot(d, t->qkv.d + key * 3 * C + 2 * C + h * d, t->dout.d + row * C + h * d);
            }
        }
    }
    return sum;
}

static window_case window_case_new(int32_t h, int32_t w, int32_t window, int32_t heads, int32_t d)
{
    window_case t = {.w = msa_windows_make(h, w, window), .heads = heads, .d = d, .pad_row = -1};
    const int64_t tokens = (int64_t)h * w, all = msa_windows_tokens(&t.w), C = (int64_t)heads * d;
    const int64_t area = (int64_t)t.w.win_h * t.w.win_w;
    t.rows = tokens + (all > tokens ? 1 : 0);
    if (all > tokens) t.pad_row = tokens;
    if (window > 0) {
        t.row_of = malloc((size_t)all * sizeof *t.row_of);
        assert_non_null(t.row_of);
        for (int64_t s = 0; s < all; s++) {
            const int64_t source = msa_windows_source(&t.w, s / area, s % area);
            t.row_of[s] = (int32_t)(source < 0 ? tokens : source);
        }
    }
    t.qkv = twin_new(t.rows * 3 * C, 41, 1.2f);
    t.rel_h = twin_new((2 * t.w.win_h - 1) * d, 42, 0.5f);
    t.rel_w = twin_new((2 * t.w.win_w - 1) * d, 43, 0.5f);
    t.dout = twin_new(tokens * C, 44, 1.0f);
    return t;
}

static void window_one(int32_t h, int32_t w, int32_t window, int32_t heads, int32_t d, int64_t stride)
{
    window_case t = window_case_new(h, w, window, heads, d);
    const int64_t n = t.rows * 3 * heads * d;
    float *dqkv = malloc((size_t)n * sizeof *dqkv), *dh = zeros(t.rel_h.n), *dw = zeros(t.rel_w.n);
    float *scratch = zeros((int64_t)msa_window_attention_backward_scratch(&t.w, heads, d, 2));
    assert_non_null(dqkv);
    memset(dqkv, 0xff, (size_t)n * sizeof *dqkv); /* NaN: everything must be written */
    const msa_window_attention a = {.windows = t.w,
                                    .qkv = t.qkv.f,
                                    .rel_h = t.rel_h.f,
                                    .rel_w = t.rel_w.f,
                                    .row_of = t.row_of,
                                    .pad_row = t.pad_row,
                                    .heads = heads,
                                    .d = d};
    const msa_window_attention_grads g = {t.dout.f, dqkv, dh, dw}, frozen = {t.dout.f, dqkv, NULL, NULL};
    msa_window_attention_backward(&a, &frozen, scratch, 2);
    memset(dqkv, 0xff, (size_t)n * sizeof *dqkv);
    msa_window_attention_backward(&a, &g, scratch, 2);
    float *again = zeros(n), *again_h = zeros(t.rel_h.n), *again_w = zeros(t.rel_w.n);
    const msa_window_attention_grads g1 = {t.dout.f, again, again_h, again_w};
    msa_window_attention_backward(&a, &g1, scratch, 1);
    assert_memory_equal(again, dqkv, (size_t)n * sizeof *again);
    assert_memory_equal(again_h, dh, (size_t)t.rel_h.n * sizeof *again_h);
    assert_memory_equal(again_w, dw, (size_t)t.rel_w.n * sizeof *again_w);
    free(again), free(again_h), free(again_w);
    central_check("window qkv", window_value, &t, t.qkv.d, n, dqkv, stride, TOLERANCE);
    central_check("window rel_h", window_value, &t, t.rel_h.d, t.rel_h.n, dh, 1, TOLERANCE);
    central_check("window rel_w", window_value, &t, t.rel_w.d, t.rel_w.n, dw, 1, TOLERANCE);
    if (t.pad_row >= 0) { /* the last row, all of it: keys and values of the padding */
        const int64_t C = (int64_t)heads * d, at = t.pad_row * 3 * C;
        for (int64_t i = 0; i < C; i++)
            assert_true(dqkv[at + i] == 0.0f);
        central_check("window padding", window_value, &t, t.qkv.d + at, 3 * C, dqkv + at, 1, TOLERANCE);
    }
    free(dqkv), free(dh), free(dw), free(scratch), free(t.row_of);
    twin_free(&t.qkv), twin_free(&t.rel_h), twin_free(&t.rel_w), twin_free(&t.dout);
}

static void test_windows(void **state)
{
    (void)state;
    window_one(5, 7, 3, 2, 4, 3);  /* six windows in four groups, padding on both sides */
    window_one(6, 4, 2, 1, 3, 1);  /* no padding */
    window_one(4, 5, 0, 2, 4, 1);  /* global */
    window_one(9, 8, 0, 1, 2, 5);  /* global, more than one tile of queries */
    window_one(3, 4, 14, 2, 4, 1); /* one window larger than the grid */
}

/* ---- resizing and the neck's convolution: linear maps, so the backward is the transpose ---- */

typedef void linear_map(const float *x, float *y);

static void transpose_check(const char *what, linear_map *forward, linear_map *backward, int64_t n_in,
                            int64_t n_out)
{
    float *in = zeros(n_in), *out = zeros(n_out), *dx = zeros(n_in);
    twin dy = twin_new(n_out, 51, 1.0f);
    backward(dy.f, dx);
    for (int64_t i = 0; i < n_in; i++) {
        double want = 0.0;
        in[i] = 1.0f;
        forward(in, out);
        in[i] = 0.0f;
        for (int64_t o = 0; o < n_out; o++)
            want += (double)out[o] * dy.d[o];
        if (!(fabs(want - (double)dx[i]) < 1e-5))
            fail_msg("%s: index %lld wanted %g got %g", what, (long long)i, want, (double)dx[i]);
    }
    free(in), free(out), free(dx), twin_free(&dy);
}

#define MAP(name, call)                                                                                      \
    static void name(const float *x, float *y)                                                               \
    {                                                                                                        \
        call;                                                                                                \
    }
MAP(cubic_up, msa_resize_bicubic(x, 4, 3, 2, y, 7, 9))
MAP(cubic_up_back, msa_resize_bicubic_backward(x, 7, 9, 2, y, 4, 3))
MAP(cubic_down, msa_resize_bicubic(x, 9, 8, 2, y, 4, 3))
MAP(cubic_down_back, msa_resize_bicubic_backward(x, 4, 3, 2, y, 9, 8))
MAP(table_up, msa_relpos_resize(x, 7, 3, 6, 6, y))
MAP(table_up_back, msa_relpos_resize_backward(x, 6, 6, 3, y, 7))
MAP(table_down, msa_relpos_resize(x, 27, 3, 5, 5, y))
MAP(table_down_back, msa_relpos_resize_backward(x, 5, 5, 3, y, 27))
MAP(table_same, msa_relpos_resize(x, 9, 3, 5, 5, y))
MAP(table_same_back, msa_relpos_resize_backward(x, 5, 5, 3, y, 9))
MAP(rows3x3, msa_conv3x3_rows(x, 4, 5, 3, 0, 20, y))
MAP(rows3x3_back, msa_conv3x3_rows_backward(x, 4, 5, 3, y))
MAP(weight3x3, msa_conv3x3_weight(x, 4, 3, y))
MAP(weight3x3_back, msa_conv3x3_weight_backward(x, 4, 3, y))

static void test_linear_maps(void **state)
{
    (void)state;
    transpose_check("bicubic up", cubic_up, cubic_up_back, 24, 126);
    transpose_check("bicubic down", cubic_down, cubic_down_back, 144, 24);
    transpose_check("table up", table_up, table_up_back, 21, 33);
    transpose_check("table down", table_down, table_down_back, 81, 27);
    transpose_check("table same", table_same, table_same_back, 27, 27);
    transpose_check("3x3 rows", rows3x3, rows3x3_back, 60, 540);
    transpose_check("3x3 weight", weight3x3, weight3x3_back, 108, 108);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),      cmocka_unit_test(test_linear_tiles),
        cmocka_unit_test(test_activations), cmocka_unit_test(test_norm),
        cmocka_unit_test(test_adapter),     cmocka_unit_test(test_attention),
        cmocka_unit_test(test_windows),     cmocka_unit_test(test_linear_maps),
    };
    msa_threads_set(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
