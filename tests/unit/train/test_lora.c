/* Low-rank updates: the layer in double, the start, what trains, the gradients, and the way into a file and
 * back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/adapt/lora.h"
#include "engine/base/pool.h"
#include "engine/io/config_json.h"
#include "engine/sam/internal.h"
#include "engine/train/export.h"
#include "engine/train/passes.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/train/central.h"

#define TOLERANCE 2e-5

/* ---- the layer ---- */

/* More rows than one tile; the update acts on the middle of a wider result. */
enum { M = 150, K = 7, N = 5, R = 3, WIDE = 9, FIRST = 2 };

typedef struct layer_case {
    twin x, a, b, dy;
    double scale;
} layer_case;

static double layer_value(const void *ctx)
{
    const layer_case *t = ctx;
    double sum = 0.0;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
            for (int r = 0; r < R; r++) {
                double z = 0.0;
                for (int k = 0; k < K; k++)
                    z += t->x.d[m * K + k] * t->a.d[r * K + k];
                sum += t->scale * z * t->b.d[n * R + r] * t->dy.d[m * WIDE + FIRST + n];
            }
    return sum;
}

static void test_layer(void **state)
{
    (void)state;
    layer_case t = {twin_new(M * K, 1, 1.0f), twin_new(R * K, 2, 1.0f), twin_new(N * R, 3, 1.0f),
                    twin_new(M * WIDE, 4, 1.0f), 0.375};
    const msa_lora l = {
        .a = t.a.f, .b = t.b.f, .N = N, .K = K, .rank = R, .first = FIRST, .scale = (float)t.scale};
    static float y[M * WIDE], z[M * R], dz[M * R], dx[M * K], da[R * K], db[N * R];
    for (int i = 0; i < M * WIDE; i++)
        y[i] = 1.0f;
    msa_lora_forward(&l, M, t.x.f, K, z, y, WIDE);
    double sum = 0.0;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < WIDE; n++) {
            const double update = (double)y[m * WIDE + n] - 1.0;
            if (n < FIRST || n >= FIRST + N) assert_true(update == 0.0);
            sum += update * t.dy.d[m * WIDE + n];
        }
    assert_true(fabs(sum - layer_value(&t)) < 1e-4);
    msa_lora_backward_params(&l, M, t.x.f, K, z, t.dy.f, WIDE, da, db, dz);
    msa_lora_backward_input(&l, M, dz, dx, K);
    central_check("lora x", layer_value, &t, t.x.d, M * K, dx, 7, TOLERANCE);
    central_check("lora a", layer_value, &t, t.a.d, R * K, da, 1, TOLERANCE);
    central_check("lora b", layer_value, &t, t.b.d, N * R, db, 1, TOLERANCE);
    float kept[N * R];
    memcpy(kept, db, sizeof kept);
    msa_lora_backward_params(&l, M, t.x.f, K, z, t.dy.f, WIDE, NULL, NULL, dz); /* frozen */
    assert_memory_equal(kept, db, sizeof kept);
    twin_free(&t.x), twin_free(&t.a), twin_free(&t.b), twin_free(&t.dy);
}

static void test_merge(void **state)
{
    (void)state;
    enum { WIDTH = 300, OUT = 140, RANK = 4 };
    twin a = twin_new(RANK * WIDTH, 5, 1.0f), b = twin_new(OUT * RANK, 6, 1.0f);
    float *weight = calloc((size_t)(2 * OUT * WIDTH), sizeof *weight);
    assert_non_null(weight);
    fixture_fill(weight, 2 * OUT * WIDTH, 7, 1.0f);
    float *before = malloc((size_t)(2 * OUT * WIDTH) * sizeof *before);
    assert_non_null(before);
    memcpy(before, weight, (size_t)(2 * OUT * WIDTH) * sizeof *before);
    msa_lora l = {.a = a.f, .b = b.f, .N = OUT, .K = WIDTH, .rank = RANK, .first = OUT, .scale = 0.25f};
    msa_lora_merge(&l, weight);
    assert_memory_equal(weight, before, OUT * WIDTH * sizeof *weight); /* outputs below `first` */
    for (int n = 0; n < OUT; n++)
        for (int k = 0; k < WIDTH; k++) {
            double wanted = (double)before[(OUT + n) * WIDTH + k];
            for (int r = 0; r < RANK; r++)
                wanted += 0.25 * b.d[n * RANK + r] * a.d[r * WIDTH + k];
            assert_true(fabs(wanted - (double)weight[(OUT + n) * WIDTH + k]) < 1e-6);
        }
    memcpy(weight, before, (size_t)(2 * OUT * WIDTH) * sizeof *before);
    memset(b.f, 0, (size_t)b.n * sizeof *b.f);
    msa_lora_merge(&l, weight);
    assert_memory_equal(weight, before, (size_t)(2 * OUT * WIDTH) * sizeof *before); /* nothing: every bit */
    free(weight), free(before), twin_free(&a), twin_free(&b);
}

/* ---- whole models ---- */

enum { STACK = 3, IMAGE = STACK * 3 * 64 * 64, EMBEDDING = STACK * 32 * 8 * 8 };

static float image[IMAGE], weight_of[EMBEDDING]; /* loss = weight_of . embedding */

/* Plain SAM, one slice; adapters, padding and a depth branch, three. */
enum { CASE_PLAIN, CASE_DEPTH, CASES };

static int32_t slices_of(int which)
{
    return which == CASE_DEPTH ? STACK : 1;
}

static int64_t values_of(int which)
{
    return EMBEDDING / STACK * slices_of(which);
}

static msa_config config_of(int which)
{
    msa_config c = fixture_config();
    if (which == CASE_PLAIN) {
        c.adapters = false;
        c.pad_order = MSA_NORM_THEN_PAD;
    } else {
        c.depth_grouping = MSA_DEPTH_VOLUME;
    }
    return c;
}

static msa_model *load(void **state, const char *name)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_load(&m, fixture_path(state, name), &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static msa_model *base_of(void **state, int which)
{
    const msa_config c = config_of(which);
    assert_int_equal(msa_model_write_random(fixture_path(state, "base"), &c, 7, NULL), MSA_OK);
    return load(state, "base");
}

static msa_params *updates_on(const msa_model *base)
{
    const msa_weights *whole = NULL;
    const msa_params_start start = {.seed = 5, .lora_rank = 3, .lora_alpha = 2.0f};
    msa_params *p = NULL;
    assert_int_equal(msa_model_whole_weights(&whole, base, NULL), MSA_OK);
    assert_int_equal(msa_params_start_new(&p, msa_model_config(base), whole, MSA_TRAIN_LORA, &start, NULL),
                     MSA_OK);
    return p;
}

static bool is_b(const msa_param *q)
{
    return strstr(q->name, ".lora_B") != NULL;
}

/* As if it had been trained: no factor is zero. */
static void fill_factors(msa_params *p)
{
    for (int32_t i = 0; i < p->n_list; i++)
        if (is_b(&p->list[i]))
            fixture_fill(p->values + p->list[i].offset, p->list[i].numel, (uint64_t)i, 0.3f);
}

static void encode(msa_params *p, int which, bool recompute, float *embedding)
{
    msa_encoder_pass *made = NULL;
    assert_int_equal(msa_encoder_pass_new_stack(&made, p, slices_of(which), recompute, NULL), MSA_OK);
    MSA_AUTO(msa_encoder_pass) pass = made;
    msa_params_zero_grads(p);
    assert_int_equal(msa_encoder_pass_forward(pass, image, embedding, NULL), MSA_OK);
    msa_encoder_pass_backward(pass, weight_of);
}

static void predict(const msa_model *m, int which, float *embedding)
{
    MSA_AUTO(msa_predictor) p = NULL;
    assert_int_equal(msa_predictor_new_stack(&p, m, slices_of(which), NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode_stack(p, slices_of(which), image, embedding, NULL), MSA_OK);
}

static float one[EMBEDDING], other[EMBEDDING];

/* Only factors train, with gradient memory for nothing else; the model computes its base's bits. */
static void test_start(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) base = base_of(state, which);
        MSA_AUTO(msa_params) p = updates_on(base);
        msa_params *made = NULL;
        int64_t trained = 0;
        assert_int_equal(
            msa_params_new(&made, msa_model_config(base), msa_model_weights(base), MSA_TRAIN_ALL, NULL),
            MSA_OK);
        MSA_AUTO(msa_params) all = made;
        for (int32_t i = 0; i < p->n_list; i++) {
            const msa_param *q = &p->list[i];
            assert_int_equal(q->trains, strstr(q->name, ".lora_") != NULL);
            if (q->trains) trained += (q->numel + 15) / 16 * 16;
        }
        assert_int_equal(p->n_trained, trained);
        assert_int_equal(msa_params_count(p, true), 3 * 3 * ((2 * 32 + 64) + 2 * (32 + 64)));
        assert_null(msa_grad(p, p->weights.encoder.blocks[0].qkv.weight));
        encode(p, which, false, one);
        encode(all, which, false, other);
        assert_memory_equal(one, other, (size_t)values_of(which) * sizeof *one);
        assert_int_equal(msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "a"), NULL, NULL),
                         MSA_OK);
        msa_model *put = NULL;
        assert_int_equal(msa_model_adapt(&put, base, fixture_path(state, "a"), NULL), MSA_OK);
        MSA_AUTO(msa_model) adapted = put;
        predict(base, which, one);
        predict(adapted, which, other);
        assert_memory_equal(one, other, (size_t)values_of(which) * sizeof *one);
    }
}

/* ---- gradients ---- */

/* dB = s dW A^T and dA = s B^T dW, dW the gradient of the weight that the update is merged into. */
static void check_factors(const msa_params *p, const msa_lora *l, const float *dweight, const char *what)
{
    const float *da = msa_grad(p, l->a), *db = msa_grad(p, l->b);
    const double s = (double)l->scale;
    double worst = 0.0, largest = 0.0;
    dweight += (int64_t)l->first * l->K;
    for (int32_t r = 0; r < l->rank; r++) {
        for (int32_t k = 0; k < l->K; k++) {
            double wanted = 0.0;
            for (int32_t n = 0; n < l->N; n++)
                wanted += s * (double)l->b[n * l->rank + r] * (double)dweight[n * l->K + k];
            worst = fmax(worst, fabs(wanted - (double)da[r * l->K + k]));
            largest = fmax(largest, fabs(wanted));
        }
        for (int32_t n = 0; n < l->N; n++) {
            double wanted = 0.0;
            for (int32_t k = 0; k < l->K; k++)
                wanted += s * (double)dweight[n * l->K + k] * (double)l->a[r * l->K + k];
            worst = fmax(worst, fabs(wanted - (double)db[n * l->rank + r]));
            largest = fmax(largest, fabs(wanted));
        }
    }
    if (!(largest > 1e-3) || !(worst <= 1e-4 * largest))
        fail_msg("%s: gradients up to %g differ by %g", what, largest, worst);
}

static void test_gradients(void **state)
{
    static const char *const names[MSA_LORA_PLACES] = {"query", "value", "lin1", "lin2"};
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) base = base_of(state, which);
        MSA_AUTO(msa_params) p = updates_on(base);
        fill_factors(p);
        encode(p, which, false, one);
        assert_int_equal(msa_export_model(p, fixture_path(state, "merged"), NULL, NULL), MSA_OK);
        MSA_AUTO(msa_model) merged = load(state, "merged");
        msa_params *made = NULL;
        assert_int_equal(
            msa_params_new(&made, msa_model_config(merged), msa_model_weights(merged), MSA_TRAIN_ALL, NULL),
            MSA_OK);
        MSA_AUTO(msa_params) all = made;
        encode(all, which, false, other);
        for (int64_t i = 0; i < values_of(which); i++)
            assert_true(fabsf(one[i] - other[i]) <= 2e-5f);
        for (int32_t i = 0; i < p->config.depth; i++)
            for (int place = 0; place < MSA_LORA_PLACES; place++) {
                const msa_block_weights *w = &all->weights.encoder.blocks[i];
                const msa_linear *layers[MSA_LORA_PLACES] = {&w->qkv, &w->qkv, &w->lin1, &w->lin2};
                const msa_lora l =
                    msa_block_lora(&p->config, &p->weights.encoder.blocks[i], (msa_lora_place)place);
                check_factors(p, &l, msa_grad(all, layers[place]->weight), names[place]);
            }
    }
}

static void test_bits(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) base = base_of(state, which);
        MSA_AUTO(msa_params) p = updates_on(base);
        fill_factors(p);
        encode(p, which, false, one);
        const size_t bytes = (size_t)p->n_trained * sizeof(float);
        MSA_AUTO_FREE float *grads = malloc(bytes);
        assert_non_null(grads);
        memcpy(grads, p->grads, bytes);
        for (int threads = 1; threads <= 5; threads += 2) {
            msa_threads_set(threads);
            encode(p, which, threads != 3, other);
            assert_memory_equal(one, other, (size_t)values_of(which) * sizeof *one);
            assert_memory_equal(grads, p->grads, bytes);
        }
        msa_threads_set(2);
    }
}

/* ---- files ---- */

static void same_file(void **state, const char *a, const char *b)
{
    char left[512];
    (void)snprintf(left, sizeof left, "%s", fixture_path(state, a));
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO(msa_safetensors) g = NULL;
    size_t n = 0, m = 0;
    assert_int_equal(msa_safetensors_open(&f, left, NULL), MSA_OK);
    assert_int_equal(msa_safetensors_open(&g, fixture_path(state, b), NULL), MSA_OK);
    const void *x = msa_safetensors_bytes(f, &n), *y = msa_safetensors_bytes(g, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
}

/* Factors alone in the file; on the base again they give what the whole model gives. */
static void test_round_trip(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) base = base_of(state, which);
        MSA_AUTO(msa_params) p = updates_on(base);
        msa_model *put = NULL;
        msa_params *again = NULL;
        fill_factors(p);
        assert_int_equal(msa_export_model(p, fixture_path(state, "whole"), NULL, NULL), MSA_OK);
        assert_int_equal(msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "a"), NULL, NULL),
                         MSA_OK);
        MSA_AUTO(msa_safetensors) f = NULL;
        assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "a"), NULL), MSA_OK);
        assert_int_equal(msa_safetensors_count(f), 3 * 6);
        assert_int_equal(msa_adapter_apply(&again, base, fixture_path(state, "a"), NULL), MSA_OK);
        MSA_AUTO(msa_params) q = again;
        assert_int_equal(q->config.lora_rank, 3);
        assert_true(q->config.lora_alpha == 2.0f);
        assert_int_equal(msa_export_model(q, fixture_path(state, "joined"), NULL, NULL), MSA_OK);
        same_file(state, "whole", "joined");
        assert_int_equal(msa_model_adapt(&put, base, fixture_path(state, "a"), NULL), MSA_OK);
        MSA_AUTO(msa_model) adapted = put;
        MSA_AUTO(msa_model) whole = load(state, "whole");
        assert_int_equal(msa_model_config(adapted)->lora_rank, 0);
        predict(whole, which, one);
        predict(adapted, which, other);
        assert_memory_equal(one, other, (size_t)values_of(which) * sizeof *one);
        predict(base, which, other);
        assert_memory_not_equal(one, other, (size_t)values_of(which) * sizeof *one);
        encode(p, which, false, other);
        for (int64_t i = 0; i < values_of(which); i++)
            assert_true(fabsf(one[i] - other[i]) <= 2e-5f);
    }
}

/* The moving average of the factors is what is merged, when it is given. */
static void test_average(void **state)
{
    MSA_AUTO(msa_model) base = base_of(state, CASE_PLAIN);
    MSA_AUTO(msa_params) p = updates_on(base);
    fill_factors(p);
    assert_int_equal(msa_export_model(p, fixture_path(state, "values"), NULL, NULL), MSA_OK);
    MSA_AUTO_FREE float *average = malloc((size_t)p->n_trained * sizeof *average);
    assert_non_null(average);
    memcpy(average, p->values, (size_t)p->n_trained * sizeof *average);
    memset(p->values, 0, (size_t)p->n_trained * sizeof *average);
    const msa_export_options how = {.trained = average};
    assert_int_equal(msa_export_model(p, fixture_path(state, "average"), &how, NULL), MSA_OK);
    same_file(state, "values", "average");
}

static void test_refused(void **state)
{
    msa_config c = config_of(CASE_PLAIN);
    MSA_AUTO(msa_model) base = base_of(state, CASE_PLAIN);
    MSA_AUTO(msa_params) p = updates_on(base);
    assert_int_equal(msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "a"), NULL, NULL),
                     MSA_OK);
    assert_int_equal(msa_model_write_random(fixture_path(state, "wrong"), &c, 8, NULL), MSA_OK);
    MSA_AUTO(msa_model) wrong = load(state, "wrong");
    msa_error err = MSA_ERROR_INIT;
    msa_model *m = NULL;
    msa_params *q = NULL;
    assert_int_equal(msa_adapter_apply(&q, wrong, fixture_path(state, "a"), &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "another base"));
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_model_adapt(&m, wrong, fixture_path(state, "a"), &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "another base"));
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_params_new(&q, &p->config, &p->weights, MSA_TRAIN_ALL, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "only they train"));
    c.lora_rank = 2;
    c.lora_alpha = 0.0f;
    assert_int_equal(msa_config_check(&c, NULL), MSA_E_UNSUPPORTED);
}

/* A model file may hold factors: they are merged when it is loaded, and an adapter then goes on the result.
 */
static void test_factors_in_a_model(void **state)
{
    msa_config c = config_of(CASE_PLAIN);
    MSA_AUTO(msa_model) plain = base_of(state, CASE_PLAIN);
    const msa_params_start start = {.lora_rank = 3, .lora_alpha = 2.0f};
    msa_params *made = NULL;
    msa_model *put = NULL;
    c.lora_rank = 3;
    c.lora_alpha = 2.0f;
    assert_int_equal(msa_model_write_random(fixture_path(state, "factors"), &c, 7, NULL), MSA_OK);
    MSA_AUTO(msa_model) merged = load(state, "factors");
    assert_int_equal(msa_model_config(merged)->lora_rank, 0);
    assert_int_equal(msa_params_start_new(&made, msa_model_config(plain), msa_model_weights(plain),
                                          MSA_TRAIN_LORA, &start, NULL),
                     MSA_OK);
    MSA_AUTO(msa_params) p = made;
    MSA_AUTO(msa_safetensors) f = NULL;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "factors"), NULL), MSA_OK);
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_tensor *t = msa_safetensors_find(f, p->list[i].name);
        assert_non_null(t);
        memcpy(p->values + p->list[i].offset, t->data, (size_t)t->count * sizeof(float));
    }
    assert_int_equal(msa_export_model(p, fixture_path(state, "whole"), NULL, NULL), MSA_OK);
    MSA_AUTO(msa_model) whole = load(state, "whole");
    predict(merged, CASE_PLAIN, one);
    predict(whole, CASE_PLAIN, other);
    assert_memory_equal(one, other, (size_t)values_of(CASE_PLAIN) * sizeof *one);
    MSA_AUTO(msa_params) more = updates_on(merged);
    assert_int_equal(msa_export_adapter(more, msa_model_hash(merged), fixture_path(state, "a"), NULL, NULL),
                     MSA_OK);
    assert_int_equal(msa_model_adapt(&put, merged, fixture_path(state, "a"), NULL), MSA_OK);
    MSA_AUTO(msa_model) adapted = put;
    predict(adapted, CASE_PLAIN, other);
    assert_memory_equal(one, other, (size_t)values_of(CASE_PLAIN) * sizeof *one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_factors_in_a_model),
    };
    msa_threads_set(2);
    fixture_fill(image, IMAGE, 3, 1.5f);
    fixture_fill(weight_of, EMBEDDING, 4, 1.0f);
    return cmocka_run_group_tests_name("lora", tests, fixture_folder, fixture_remove);
}
