/* Whole models: written, loaded, refused, and run on different numbers of threads. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/log.h"
#include "engine/base/pool.h"
#include "engine/sam/internal.h"
#include "tests/unit/engine/fixture.h"

static void write_model(void **state, const msa_config *c)
{
    assert_int_equal(msa_model_write_random(fixture_path(state, "m"), c, 11, NULL), MSA_OK);
}

static msa_model *load(void **state, const msa_config *c)
{
    msa_error err = MSA_ERROR_INIT;
    msa_model *m = NULL;
    write_model(state, c);
    if (msa_model_load(&m, fixture_path(state, "m"), &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

/* Figures of the reference files' README. */
static void hash_scheme_is_the_published_one(void **state)
{
    (void)state;
    assert_true(msa_hash_key("in.image", 0) == 0x0d2424a4018ad10dull);
    const uint64_t key = msa_hash_key("in.image", 103);
    assert_true(key == 0xa575dd06377d3d7eull);
    assert_true(fabs(2.0 * msa_hash_unit(key, 0) - -0.716269493) < 1e-8);
    assert_true(fabs(2.0 * msa_hash_unit(key, 2) - 0.409896135) < 1e-8);
    assert_true(fabs(2.0 * msa_hash_unit(key, 3 * 256 * 256 - 1) - 1.81829309) < 1e-8);
}

static void round_trip_keeps_everything(void **state)
{
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = load(state, &c);
    MSA_AUTO(msa_model) again = load(state, &c);
    const msa_config *back = msa_model_config(m);
    char text[4096] = "";
    assert_int_equal(back->dim, 32);
    assert_int_equal(back->window, 5);
    assert_true(back->adapters);
    assert_true(back->untrained); /* whatever the caller said */
    assert_string_equal(back->name, "fixture");
    assert_int_equal(strlen(msa_model_hash(m)), 64);
    assert_string_equal(msa_model_hash(m), msa_model_hash(again));
    assert_true(msa_model_parameters(m) > 20000);
    FILE *to = fmemopen(text, sizeof text, "w");
    assert_non_null(to);
    msa_model_describe(m, to);
    (void)fclose(to);
    assert_non_null(strstr(text, "untrained"));
    assert_non_null(strstr(text, msa_model_hash(m)));
    assert_non_null(strstr(text, "windows of 5"));
}

static void assert_refused(void **state, msa_status status, const char *sentence)
{
    msa_error err = MSA_ERROR_INIT;
    msa_model *m = NULL;
    const msa_status got = msa_model_load(&m, fixture_path(state, "t"), &err);
    if (got != status || strstr(err.what, sentence) == NULL)
        fail_msg("status %d, \"%s\" does not say \"%s\"", (int)got, err.what, sentence);
    assert_null(m);
}

static void refuses_other_tensors(void **state)
{
    const msa_config c = fixture_config();
    const char *bias = "image_encoder.blocks.1.norm2.bias";
    write_model(state, &c);
    fixture_tamper(state, bias, NULL, NULL, 0);
    assert_refused(state, MSA_E_PARSE, "blocks.1.norm2.bias is missing");
    fixture_tamper(state, bias, bias, NULL, 0);
    assert_refused(state, MSA_E_PARSE, "axis 0 is 1, the configuration says 32");
    fixture_tamper(state, NULL, "image_encoder.blocks.9.norm2.bias", NULL, 0);
    assert_refused(state, MSA_E_UNSUPPORTED, "is not part of the configuration");
    fixture_tamper(state, NULL, NULL, bias, NAN);
    assert_refused(state, MSA_E_PARSE, "not finite");
    fixture_tamper(state, NULL, NULL, bias, -INFINITY);
    assert_refused(state, MSA_E_PARSE, "not finite");
    fixture_tamper(state, NULL, NULL, NULL, 0);
    assert_int_equal(chmod(fixture_path(state, "t"), 0666), 0);
    assert_refused(state, MSA_E_UNSUPPORTED, "chmod o-w");
}

enum { S = 64, G = 8, P = 32 };

static void run(const msa_model *m, int threads, float *embedding, float *logits, float *iou)
{
    static float image[3 * S * S];
    const float box[4] = {5.0f, 9.0f, 50.0f, 41.0f};
    const msa_prompt_set prompt = {.box = box};
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_predictor) p = NULL;
    fixture_fill(image, 3 * S * S, 21, 2.0f);
    msa_threads_set(threads);
    assert_int_equal(msa_threads_get(), threads);
    assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_OK);
    assert_int_equal(msa_predictor_decode(p, embedding, &prompt, logits, iou, &err), MSA_OK);
    msa_threads_set(1);
}

static void threads_do_not_change_a_bit(void **state)
{
    static float e1[P * G * G], en[P * G * G], l1[4 * 16 * G * G], ln[4 * 16 * G * G], i1[4], in[4];
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = load(state, &c);
    run(m, 1, e1, l1, i1);
    for (int threads = 2; threads <= 5; threads++) {
        run(m, threads, en, ln, in);
        assert_memory_equal(e1, en, sizeof e1);
        assert_memory_equal(l1, ln, sizeof l1);
        assert_memory_equal(i1, in, sizeof i1);
    }
}

static void names_what_is_not_finite(void **state)
{
    static float image[3 * S * S], embedding[P * G * G], logits[4 * 16 * G * G], iou[4];
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = load(state, &c);
    MSA_AUTO(msa_predictor) p = NULL;
    msa_error err = MSA_ERROR_INIT;
    const float box[4] = {0.0f, NAN, 5.0f, 5.0f}, point[2] = {1.0f, 2.0f}, label[1] = {4.0f};
    assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
    image[17] = NAN;
    assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "input image"));
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_predictor_decode(p, embedding, &(msa_prompt_set){.box = box}, logits, iou, &err),
                     MSA_E_INVALID);
    assert_non_null(strstr(err.what, "box"));
    err = (msa_error)MSA_ERROR_INIT;
    const msa_prompt_set odd = {.points = point, .labels = label, .n_points = 1};
    assert_int_equal(msa_predictor_decode(p, embedding, &odd, logits, iou, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "label"));
    err = (msa_error)MSA_ERROR_INIT;
    const msa_prompt_set many = {.points = point, .labels = label, .n_points = 100000};
    assert_int_equal(msa_predictor_decode(p, embedding, &many, logits, iou, &err), MSA_E_INVALID);
    err = (msa_error)MSA_ERROR_INIT;
    memset(embedding, 0, sizeof embedding);
    embedding[3] = INFINITY;
    assert_int_equal(msa_predictor_decode(p, embedding, &(msa_prompt_set){0}, logits, iou, &err),
                     MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "mask decoder"));
}

static void names_the_block_that_overflows(void **state)
{
    static float image[3 * S * S], embedding[P * G * G];
    const msa_config c = fixture_config();
    MSA_AUTO(msa_model) m = NULL;
    MSA_AUTO(msa_predictor) p = NULL;
    msa_error err = MSA_ERROR_INIT;
    write_model(state, &c);
    fixture_tamper(state, NULL, NULL, "image_encoder.blocks.1.norm1.weight",
                   3e38f); /* finite, but not the products of queries and keys */
    assert_int_equal(msa_model_load(&m, fixture_path(state, "t"), &err), MSA_OK);
    assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_E_INTERNAL);
    if (strstr(err.what, "block 1 ") == NULL) fail_msg("%s", err.what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_scheme_is_the_published_one),
        cmocka_unit_test(round_trip_keeps_everything),
        cmocka_unit_test(refuses_other_tensors),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(names_what_is_not_finite),
        cmocka_unit_test(names_the_block_that_overflows),
    };
    msa_log_set_level(MSA_LOG_ERROR);
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
