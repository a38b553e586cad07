/* Layers and models in 16 and 8 bits: what rounding costs, the same bits whoever computes, and names that
 * tell. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/io/half.h"
#include "engine/kern/widen.h"
#include "engine/nn/reduced.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "engine/train/export.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/cm.h"

enum { M_MAX = 200, WIDTH_MAX = 400 };

/* ---- a layer ---- */

typedef struct layer {
    msa_linear l;
    float *weight, *bias, *x;
    int64_t M, ldx;
} layer;

static layer layer_new(int64_t M, int32_t N, int32_t K, uint64_t seed)
{
    layer a = {.M = M, .ldx = K + 3};
    a.weight = malloc((size_t)N * (size_t)K * sizeof *a.weight);
    a.bias = malloc((size_t)N * sizeof *a.bias);
    a.x = malloc((size_t)(M * a.ldx) * sizeof *a.x);
    assert_true(a.weight != NULL && a.bias != NULL && a.x != NULL);
    fixture_fill(a.weight, (int64_t)N * K, seed, 0.3f);
    fixture_fill(a.bias, N, seed + 1, 1.0f);
    fixture_fill(a.x, M * a.ldx, seed + 2, 2.0f);
    a.l = (msa_linear){.weight = a.weight, .bias = a.bias, .N = N, .K = K};
    return a;
}

static void layer_free(layer *a)
{
    free(a->weight);
    free(a->bias);
    free(a->x);
}

static void forward(const layer *a, msa_precision precision, msa_epilogue e, int64_t ldy, float *y)
{
    MSA_AUTO(msa_reduced) r = NULL;
    msa_linear l = a->l;
    if (precision != MSA_PRECISION_FP32) {
        assert_int_equal(msa_reduced_new(&r, &a->l, precision, NULL), MSA_OK);
        l.weight = NULL; /* not looked at any more */
    }
    l.reduced = r;
    msa_linear_forward(&l, a->M, a->x, a->ldx, y, ldy, e);
}

/* Relative to what the sum's terms could amount to: sqrt(K) steps of half a unit in the last place, a few
 * over. */
static const double steps[MSA_PRECISIONS] = {1e-6, 1.0 / 2048, 1.0 / 256, 1.0 / 100};

static void test_what_rounding_costs(void **state)
{
    (void)state;
    static const int32_t shapes[][3] = {{1, 1, 1}, {2, 5, 3}, {7, 65, 33}, {100, 48, 192}, {171, 130, 257}};
    float *y = malloc(sizeof(float) * M_MAX * WIDTH_MAX), *wanted = malloc(sizeof(float) * M_MAX * WIDTH_MAX);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int p = MSA_PRECISION_FP16; p < MSA_PRECISIONS; p++) {
            layer a = layer_new(shapes[s][0], shapes[s][1], shapes[s][2], 10 + s);
            const int64_t N = a.l.N, ldy = N + 2;
            forward(&a, MSA_PRECISION_FP32, MSA_EPILOGUE_NONE, ldy, wanted);
            for (int64_t i = 0; i < a.M * ldy; i++)
                y[i] = 77.0f;
            forward(&a, (msa_precision)p, MSA_EPILOGUE_NONE, ldy, y);
            /* weights up to 0.3, inputs up to 2 */
            const double most = 0.6 * sqrt((double)a.l.K) * steps[p] * 2.0 + 1e-5;
            double worst = 0.0;
            for (int64_t m = 0; m < a.M; m++)
                for (int64_t n = 0; n < ldy; n++) {
                    if (n >= N && y[m * ldy + n] != 77.0f) fail_msg("written behind row %d", (int)m);
                    if (n < N)
                        worst = fmax(worst, fabs((double)y[m * ldy + n] - (double)wanted[m * ldy + n]));
                }
            if (worst > most || (worst == 0.0 && a.l.K > 100))
                fail_msg("%s, shape %d: %g off, at most %g", msa_precision_name((msa_precision)p), (int)s,
                         worst, most);
            layer_free(&a);
        }
    free(y);
    free(wanted);
}

/* The activation comes after the sum, and who computes which rows changes no bit. */
static void test_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    layer a = layer_new(173, 130, 257, 3);
    const size_t bytes = sizeof(float) * 173 * 130;
    float *one = malloc(bytes), *other = malloc(bytes);
    for (int p = MSA_PRECISION_FP16; p < MSA_PRECISIONS; p++)
        for (int e = MSA_EPILOGUE_NONE; e <= MSA_EPILOGUE_RELU; e++) {
            msa_threads_set(1);
            forward(&a, (msa_precision)p, (msa_epilogue)e, 130, one);
            for (int threads = 2; threads <= 5; threads++) {
                msa_threads_set(threads);
                forward(&a, (msa_precision)p, (msa_epilogue)e, 130, other);
                assert_memory_equal(one, other, bytes);
            }
            msa_threads_set(1);
            a.M = 3; /* fewer rows: the same ones */
            forward(&a, (msa_precision)p, (msa_epilogue)e, 130, other);
            a.M = 173;
            assert_memory_equal(one, other, sizeof(float) * 3 * 130);
            for (int64_t i = 0; i < 173 * 130 && e == MSA_EPILOGUE_RELU; i++)
                assert_true(one[i] >= 0.0f);
        }
    free(one);
    free(other);
    layer_free(&a);
}

/* int8: a row that is not finite says so, and disturbs no other; a row of zeros is the bias. */
static void test_rows_that_are_not_finite(void **state)
{
    (void)state;
    layer a = layer_new(5, 20, 40, 8);
    float y[5 * 20], before[5 * 20];
    forward(&a, MSA_PRECISION_INT8, MSA_EPILOGUE_NONE, 20, before);
    a.x[1 * a.ldx + 39] = NAN;
    a.x[3 * a.ldx] = -INFINITY;
    memset(a.x + 4 * a.ldx, 0, 40 * sizeof *a.x);
    forward(&a, MSA_PRECISION_INT8, MSA_EPILOGUE_NONE, 20, y);
    for (int n = 0; n < 20; n++) {
        assert_true(isnan(y[20 + n]) && isnan(y[60 + n]));
        assert_true(y[80 + n] == a.bias[n]);
        assert_true(y[n] == before[n] && y[40 + n] == before[40 + n]);
    }
    layer_free(&a);
}

/* Every half and every bfloat, beside the conversion of one value. */
static void test_widened_is_exact(void **state)
{
    (void)state;
    static uint16_t words[65536];
    static float wide[65536];
    for (uint32_t i = 0; i < 65536; i++)
        words[i] = (uint16_t)i;
    msa_widen_half(words + 1, 65535, wide + 1);
    for (uint32_t i = 1; i < 65536; i++) {
        const float f = msa_half_to_float((uint16_t)i);
        if (!(isnan(f) && isnan(wide[i]))) assert_memory_equal(&f, &wide[i], sizeof f);
    }
    msa_widen_bfloat(words, 65533, wide);
    for (uint32_t i = 0; i < 65533; i++) {
        const float f = msa_bfloat_to_float((uint16_t)i);
        assert_memory_equal(&f, &wide[i], sizeof f);
    }
}

static void test_bfloat_rounds_to_even(void **state)
{
    (void)state;
    assert_int_equal(msa_float_to_bfloat(1.0f), 0x3f80);
    assert_int_equal(msa_float_to_bfloat(1.00390625f), 0x3f80); /* half a step: to even */
    assert_int_equal(msa_float_to_bfloat(1.01171875f), 0x3f82);
    assert_int_equal(msa_float_to_bfloat(1.0040f), 0x3f81);
    assert_int_equal(msa_float_to_bfloat(-0.0f), 0x8000);
    assert_int_equal(msa_float_to_bfloat(INFINITY), 0x7f80);
    assert_true(isnan(msa_bfloat_to_float(msa_float_to_bfloat(NAN))));
}

static void test_what_fp16_cannot_hold(void **state)
{
    (void)state;
    layer a = layer_new(1, 9, 9, 4);
    msa_reduced *r = NULL;
    msa_error err = MSA_ERROR_INIT;
    a.weight[70] = 1e6f;
    assert_int_equal(msa_reduced_new(&r, &a.l, MSA_PRECISION_FP16, &err), MSA_E_UNSUPPORTED);
    assert_null(r);
    assert_non_null(strstr(err.what, "65504"));
    assert_int_equal(msa_reduced_new(&r, &a.l, MSA_PRECISION_BF16, NULL), MSA_OK);
    msa_reduced_free(r);
    layer_free(&a);
}

/* ---- a model ---- */

enum { S = 64, FLOATS = 32 * 8 * 8 };

static void encode(const msa_model *m, float *embedding)
{
    static float image[3 * S * S];
    MSA_AUTO(msa_predictor) p = NULL;
    fixture_fill(image, 3 * S * S, 1, 1.0f);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, NULL), MSA_OK);
}

/* Root mean square of the difference, relative to that of the first. */
static double distance(const float *x, const float *y)
{
    double off = 0.0, size = 0.0;
    for (int i = 0; i < FLOATS; i++) {
        off += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)x[i] * (double)x[i];
    }
    return sqrt(off / size);
}

static msa_model *load_in(void **state, msa_precision precision)
{
    msa_model *m = NULL;
    assert_int_equal(msa_model_load_in(&m, fixture_path(state, "m"), precision, NULL), MSA_OK);
    return m;
}

static void test_a_model_in_each(void **state)
{
    static const double most[MSA_PRECISIONS] = {0.0, 2e-3, 2e-2, 3e-2};
    const msa_config c = fixture_config();
    float wanted[FLOATS], got[FLOATS], changed[FLOATS];
    assert_int_equal(msa_model_write_random(fixture_path(state, "m"), &c, 3, NULL), MSA_OK);
    MSA_AUTO(msa_model) plain = load_in(state, MSA_PRECISION_FP32);
    encode(plain, wanted);
    for (int p = MSA_PRECISION_FP16; p < MSA_PRECISIONS; p++) {
        MSA_AUTO(msa_model) m = load_in(state, (msa_precision)p);
        MSA_AUTO(msa_model) later = load_in(state, MSA_PRECISION_FP32);
        encode(m, got);
        const double off = distance(wanted, got);
        if (off > most[p] || off == 0.0) fail_msg("%s: %g off", msa_precision_name((msa_precision)p), off);
        assert_int_equal(msa_model_set_precision(later, (msa_precision)p, NULL), MSA_OK);
        encode(later, changed);
        assert_memory_equal(got, changed, sizeof got);
        assert_string_equal(msa_model_hash(later), msa_model_hash(m));
        assert_int_equal(msa_model_set_precision(later, MSA_PRECISION_FP32, NULL), MSA_OK);
        encode(later, changed);
        assert_memory_equal(wanted, changed, sizeof wanted);
        assert_string_equal(msa_model_hash(later), msa_model_hash(plain));
        assert_string_equal(msa_model_config(later)->version, msa_model_config(plain)->version);
    }
}

/* Nothing that is kept by hash, an embedding or a result, is ever taken for another precision's. */
static void test_hash_and_version_tell(void **state)
{
    const msa_config c = fixture_config();
    msa_model *m[MSA_PRECISIONS];
    assert_int_equal(msa_model_write_random(fixture_path(state, "m"), &c, 3, NULL), MSA_OK);
    for (int p = 0; p < MSA_PRECISIONS; p++) {
        m[p] = load_in(state, (msa_precision)p);
        assert_int_equal(msa_model_precision(m[p]), p);
        assert_string_equal(msa_model_file_hash(m[p]), msa_model_hash(m[0]));
        for (int q = 0; q < p; q++)
            assert_string_not_equal(msa_model_hash(m[q]), msa_model_hash(m[p]));
        const char *name = strchr(msa_model_config(m[p])->version, '+');
        if (p == 0)
            assert_null(name);
        else
            assert_string_equal(name + 1, msa_precision_name((msa_precision)p));
    }
    for (int p = 0; p < MSA_PRECISIONS; p++)
        msa_model_free(m[p]);
}

/* An adapter on a base in int8 is in int8, shares the base's layers, and belongs to the base's file. */
static void test_adapters_share_the_base(void **state)
{
    const msa_params_start start = {.seed = 2, .adapter_width = 6};
    const msa_export_options how = {.stored = MSA_STORED_F32};
    msa_config c = fixture_config();
    c.adapters = false;
    assert_int_equal(msa_model_write_random(fixture_path(state, "m"), &c, 3, NULL), MSA_OK);
    MSA_AUTO(msa_model) plain = load_in(state, MSA_PRECISION_FP32);
    MSA_AUTO(msa_model) base = load_in(state, MSA_PRECISION_INT8);
    c = *msa_model_config(plain);
    c.adapters = true;
    msa_params *made = NULL;
    assert_int_equal(
        msa_params_start_new(&made, &c, msa_model_weights(plain), MSA_TRAIN_ADAPTERS, &start, NULL), MSA_OK);
    MSA_AUTO(msa_params) p = made;
    assert_int_equal(msa_export_adapter(p, msa_model_hash(plain), fixture_path(state, "a"), &how, NULL),
                     MSA_OK);
    MSA_AUTO(msa_model) adapted = NULL;
    MSA_AUTO(msa_model) other = NULL;
    assert_int_equal(msa_model_adapt(&adapted, base, fixture_path(state, "a"), NULL), MSA_OK);
    assert_int_equal(msa_model_adapt(&other, plain, fixture_path(state, "a"), NULL), MSA_OK);
    assert_int_equal(msa_model_precision(adapted), MSA_PRECISION_INT8);
    assert_ptr_equal(msa_model_weights(adapted)->encoder.blocks[1].qkv.reduced,
                     msa_model_weights(base)->encoder.blocks[1].qkv.reduced);
    assert_null(msa_model_weights(other)->encoder.blocks[1].qkv.reduced);
    assert_string_equal(msa_model_file_hash(adapted), msa_model_hash(other));
    assert_string_not_equal(msa_model_hash(adapted), msa_model_hash(other));
    char told[64];
    (void)snprintf(told, sizeof told, "%s+int8", msa_model_config(other)->version);
    assert_string_equal(msa_model_config(adapted)->version, told);
    float in8[FLOATS], in32[FLOATS];
    encode(adapted, in8);
    encode(other, in32);
    assert_true(distance(in32, in8) < 3e-2 && distance(in32, in8) > 0.0);
}

static void test_names(void **state)
{
    (void)state;
    msa_precision p = MSA_PRECISION_BF16;
    assert_false(msa_precision_named("fp8", &p) || msa_precision_named("", &p));
    assert_int_equal(p, MSA_PRECISION_BF16);
    for (int i = 0; i < MSA_PRECISIONS; i++) {
        assert_true(msa_precision_named(msa_precision_name((msa_precision)i), &p));
        assert_int_equal(p, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_rounding_costs),
        cmocka_unit_test(test_same_bits_on_any_number_of_threads),
        cmocka_unit_test(test_rows_that_are_not_finite),
        cmocka_unit_test(test_widened_is_exact),
        cmocka_unit_test(test_bfloat_rounds_to_even),
        cmocka_unit_test(test_what_fp16_cannot_hold),
        cmocka_unit_test_setup_teardown(test_a_model_in_each, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_hash_and_version_tell, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_adapters_share_the_base, fixture_folder, fixture_remove),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
