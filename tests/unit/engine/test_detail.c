/* The picture beside the tokens against its definition: plain convolutions in double. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/predictor.h"
#include "engine/sam/detail.h"
#include "tests/unit/engine/fixture.h"

enum { PATCH = 8, SIDE = PATCH / 4, F = 4, P_DIM = 16, DIM = 24 };

static const msa_config config = {
    .image_size = 64, .patch = PATCH, .dim = DIM, .prompt_dim = P_DIM, .detail = F};

static void *zeros(size_t n, size_t size)
{
    void *x = calloc(n, size);
    assert_non_null(x);
    return x;
}

/* ---- weights ---- */

static uint64_t next_seed;

/* Sums of K values of about 1 stay about 1. */
static msa_linear random_layer(int32_t N, int32_t K)
{
    float *weight = zeros((size_t)N * (size_t)K, sizeof *weight), *bias = zeros((size_t)N, sizeof *bias);
    fixture_fill(weight, (int64_t)N * K, next_seed++, 2.0f / sqrtf((float)K));
    fixture_fill(bias, N, next_seed++, 0.5f);
    return (msa_linear){.weight = weight, .bias = bias, .N = N, .K = K};
}

static msa_detail_weights random_weights(void)
{
    static const int32_t out[MSA_DETAIL_LEVELS] = {P_DIM / 8, P_DIM / 4, DIM};
    msa_detail_weights d;
    next_seed = 1;
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        const int32_t C = F << l;
        d.level[l].enter = random_layer(C, l == 0 ? 3 * SIDE * SIDE : 4 * (C / 2));
        d.level[l].mix = random_layer(C, 9 * C);
        d.level[l].leave = random_layer(out[l], 9 * C);
    }
    return d;
}

static void free_layer(const msa_linear *l)
{
    free((void *)(uintptr_t)l->weight);
    free((void *)(uintptr_t)l->bias);
}

static void free_weights(const msa_detail_weights *d)
{
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        free_layer(&d->level[l].enter);
        free_layer(&d->level[l].mix);
        free_layer(&d->level[l].leave);
    }
}

/* ---- the definition ---- */

static void gelu(int64_t n, double *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.5 * x[i] * (1.0 + erf(x[i] * M_SQRT1_2));
}

/* Kernel and stride SIDE: image (3, SIDE H, SIDE W) to (H, W, N); the weight is (N, 3, SIDE, SIDE). */
static double *enter_image(const msa_linear *l, const float *image, int32_t H, int32_t W)
{
    double *y = zeros((size_t)(H * W * l->N), sizeof *y);
    for (int32_t i = 0; i < H; i++)
        for (int32_t j = 0; j < W; j++)
            for (int32_t o = 0; o < l->N; o++) {
                double s = (double)l->bias[o];
                for (int32_t c = 0; c < 3; c++)
                    for (int32_t a = 0; a < SIDE; a++)
                        for (int32_t b = 0; b < SIDE; b++)
                            s += (double)l->weight[((o * 3 + c) * SIDE + a) * SIDE + b] *
                                 (double)image[(c * SIDE * H + SIDE * i + a) * SIDE * W + SIDE * j + b];
                y[(i * W + j) * l->N + o] = s;
            }
    return y;
}

/* x (h, w, C) at a place that may be outside. */
static double value_at(const double *x, int32_t h, int32_t w, int32_t C, int32_t i, int32_t j, int32_t c)
{
    return i < 0 || i >= h || j < 0 || j >= w ? 0.0 : x[(i * w + j) * C + c];
}

/* Kernel k from `before` pixels up and left, with a stride: x (h, w, C) to (h / stride, w / stride, N); the
 * weight is (N, k, k, C). */
static double *convolve(const msa_linear *l, int32_t k, int32_t before, int32_t stride, const double *x,
                        int32_t h, int32_t w, int32_t C)
{
    const int32_t H = h / stride, W = w / stride;
    double *y = zeros((size_t)(H * W * l->N), sizeof *y);
    assert_int_equal(l->K, k * k * C);
    for (int32_t i = 0; i < H; i++)
        for (int32_t j = 0; j < W; j++)
            for (int32_t o = 0; o < l->N; o++) {
                double s = (double)l->bias[o];
                for (int32_t a = 0; a < k; a++)
                    for (int32_t b = 0; b < k; b++)
                        for (int32_t c = 0; c < C; c++)
                            s += (double)l->weight[((o * k + a) * k + b) * C + c] *
                                 value_at(x, h, w, C, stride * i + a - before, stride * j + b - before, c);
                y[(i * W + j) * l->N + o] = s;
            }
    return y;
}

/* leaves[l] is what level l hands on, (4h >> l, 4w >> l, its channels). Freed by the caller. */
static void define(const msa_detail_weights *d, const float *image, int32_t h, int32_t w,
                   double *leaves[MSA_DETAIL_LEVELS])
{
    double *below = NULL;
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++) {
        const msa_detail_level_weights *v = &d->level[l];
        const int32_t H = 4 * h >> l, W = 4 * w >> l, C = F << l;
        double *entered = l == 0 ? enter_image(&v->enter, image, H, W)
                                 : convolve(&v->enter, 2, 0, 2, below, 2 * H, 2 * W, C / 2);
        gelu((int64_t)H * W * C, entered);
        double *mixed = convolve(&v->mix, 3, 1, 1, entered, H, W, C);
        gelu((int64_t)H * W * C, mixed);
        leaves[l] = convolve(&v->leave, 3, 1, 1, mixed, H, W, C);
        free(entered);
        free(below);
        below = mixed;
    }
    free(below);
}

/* ---- against it ---- */

typedef struct detail_result {
    float *behind, *tokens; /* each with one value more, which must stay */
    size_t n_behind, n_tokens;
} detail_result;

#define UNTOUCHED 1234.5f

/* Twice over the same memory: nothing is left behind. */
static void run(const msa_detail_weights *d, const float *image, int32_t h, int32_t w, bool backward,
                detail_result *r)
{
    msa_arena arena = {0};
    msa_detail_work k = {0};
    msa_detail_layout(&k, &arena, &config, h, w, backward);
    assert_int_equal(msa_arena_commit(&arena, NULL), MSA_OK);
    msa_detail_layout(&k, &arena, &config, h, w, backward);
    r->n_behind = msa_detail_floats(&config, (int64_t)h * w);
    r->n_tokens = (size_t)(h * w * DIM);
    r->behind = zeros(r->n_behind + 1, sizeof *r->behind);
    r->tokens = zeros(r->n_tokens + 1, sizeof *r->tokens);
    r->behind[r->n_behind] = r->tokens[r->n_tokens] = UNTOUCHED;
    for (int i = 0; i < 2; i++)
        msa_detail_forward(&config, d, h, w, image, &k, r->behind, r->tokens);
    assert_true(r->behind[r->n_behind] == UNTOUCHED && r->tokens[r->n_tokens] == UNTOUCHED);
    msa_arena_release(&arena);
}

static void near(const char *what, int64_t n, const float *got, const double *wanted)
{
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - wanted[i]) <= 1e-5))
            fail_msg("%s: index %lld wanted %.9g got %.9g", what, (long long)i, wanted[i], (double)got[i]);
        largest = fmax(largest, fabs(wanted[i]));
    }
    assert_true(largest > 0.1); /* else the tolerance says nothing */
}

static void check(int32_t h, int32_t w)
{
    const int64_t pixels = (int64_t)h * w * PATCH * PATCH, n = (int64_t)h * w;
    const msa_detail_weights d = random_weights();
    float *image = zeros((size_t)(3 * pixels), sizeof *image);
    double *wanted[MSA_DETAIL_LEVELS] = {NULL};
    fixture_fill(image, 3 * pixels, 90, 1.5f);
    define(&d, image, h, w, wanted);
    for (int backward = 0; backward < 2; backward++) {
        detail_result r;
        run(&d, image, h, w, backward != 0, &r);
        near("level 0", 16 * n * (P_DIM / 8), r.behind, wanted[0]);
        near("level 1", 4 * n * (P_DIM / 4), r.behind + 16 * n * (P_DIM / 8), wanted[1]);
        near("level 2", n * DIM, r.tokens, wanted[2]);
        free(r.behind);
        free(r.tokens);
    }
    for (int l = 0; l < MSA_DETAIL_LEVELS; l++)
        free(wanted[l]);
    free(image);
    free_weights(&d);
}

static void forward_is_what_it_says(void **state)
{
    (void)state;
    check(2, 3);
    check(3, 2);
    check(1, 1);
}

/* Level 0 has 36 x 32 pixels: two chunks, the second of them short. */
static void forward_in_chunks(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        msa_threads_set(threads);
        check(9, 8);
    }
    msa_threads_set(1);
}

static void sizes_are_what_the_header_says(void **state)
{
    (void)state;
    msa_config without = config;
    msa_arena arena = {0};
    msa_detail_work k = {0};
    without.detail = 0;
    assert_int_equal(msa_detail_floats(&without, 6), 0);
    assert_int_equal(msa_detail_level1(&config, 6), 8 * 12 * (P_DIM / 8));
    assert_int_equal(msa_detail_floats(&config, 6), 8 * 12 * (P_DIM / 8) + 4 * 6 * (P_DIM / 4));
    msa_detail_layout(&k, &arena, &without, 2, 3, true);
    assert_int_equal(arena.used, 0);
}

/* In MiB, of the largest picture: a predictor keeps what leads to the next level, no more. */
static void inference_keeps_little(void **state)
{
    (void)state;
    const msa_config c = {.image_size = 1024, .patch = 16, .dim = 256, .prompt_dim = 256, .detail = 32};
    msa_arena arena = {0};
    msa_detail_work k = {0};
    const double spread = 12, entered = 8, mixed = 8 + 4 + 2, rows = 4.5;
    msa_detail_layout(&k, &arena, &c, 64, 64, false);
    assert_true((double)arena.used == (spread + entered + mixed + rows) * 1024 * 1024);
}

/* Also what goes to the tokens alone: the first block is not to blame for it. */
static void overflow_is_the_details(void **state)
{
    static const char *const poisoned[] = {"image_encoder.detail.0.mix.weight",
                                           "image_encoder.detail.2.mix.weight"};
    msa_config c = fixture_config();
    c.detail = F;
    float *image = zeros(3 * 64 * 64, sizeof *image);
    float *embedding = zeros(msa_embedding_floats(&c), sizeof *embedding);
    fixture_fill(image, 3 * 64 * 64, 91, 1000.0f);
    for (size_t i = 0; i < sizeof poisoned / sizeof poisoned[0]; i++) {
        MSA_AUTO(msa_model) m = NULL;
        MSA_AUTO(msa_predictor) p = NULL;
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(msa_model_write_random(fixture_path(state, "m"), &c, 5, &err), MSA_OK);
        fixture_tamper(state, NULL, NULL, poisoned[i], 3e38f); /* finite, but not its products */
        assert_int_equal(msa_model_load(&m, fixture_path(state, "t"), &err), MSA_OK);
        assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
        assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_E_INTERNAL);
        if (strstr(err.what, "the detail yields") == NULL) fail_msg("%s: %s", poisoned[i], err.what);
    }
    free(image);
    free(embedding);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_what_it_says),        cmocka_unit_test(forward_in_chunks),
        cmocka_unit_test(sizes_are_what_the_header_says), cmocka_unit_test(inference_keeps_little),
        cmocka_unit_test(overflow_is_the_details),
    };
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
