/*
 * The mask decoder with heads wide enough that a box's tokens are folded into the projections (as with SAM),
 * and with so many points that they are not; on more pixels than a tile has, the last tile not full. Against
 * the decoder that training runs, which knows neither tiles nor folding; together against alone; by threads.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/pool.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "engine/train/passes.h"
#include "tests/unit/engine/fixture.h"

enum {
    S = 96,
    G = 12,
    P = 64,
    TOKENS = 4,
    MASK = 16 * G * G,
    LOGITS = TOKENS * MASK,
    PROMPTS = 7,
    POINTS = 20
};

static float embedding[P * G * G], mask[MASK];
static float points[2 * POINTS], labels[POINTS];
static const float boxes[3][4] = {{5, 9, 50, 41}, {40, 30, 90, 88}, {0, 0, 95, 95}};
static float alone[PROMPTS][LOGITS], alone_iou[PROMPTS][TOKENS];

static msa_prompt_set prompt_of(int i)
{
    switch (i) {
    case 0:
        return (msa_prompt_set){.box = boxes[0]};
    case 1:
        return (msa_prompt_set){.points = points, .labels = labels, .n_points = POINTS};
    case 2:
        return (msa_prompt_set){.points = points, .labels = labels, .n_points = 1};
    case 3:
        return (msa_prompt_set){0};
    case 4:
        return (msa_prompt_set){.box = boxes[1], .mask = mask};
    case 5: /* 1 + 4 + 11: as many tokens as a head has channels */
        return (msa_prompt_set){.points = points, .labels = labels, .n_points = 9, .box = boxes[2]};
    default:
        return (msa_prompt_set){.box = boxes[2]};
    }
}

static msa_model *load(void **state)
{
    msa_config c = fixture_config();
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    c.image_size = S;
    c.prompt_dim = P;
    c.decoder_heads = 2; /* of 16 channels where tokens and image meet */
    const char *path = fixture_path(state, "m");
    if (msa_model_write_random(path, &c, 5, &err) != MSA_OK) fail_msg("%s", err.what);
    if (msa_model_load(&m, path, &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static int setup(void **state)
{
    fixture_fill(embedding, P * G * G, 3, 1.5f);
    fixture_fill(mask, MASK, 4, 3.0f);
    fixture_fill(points, 2 * POINTS, 5, 40.0f);
    for (int i = 0; i < 2 * POINTS; i++)
        points[i] += 45.0f;
    for (int i = 0; i < POINTS; i++)
        labels[i] = (float)(i % 3 != 1);
    return fixture_folder(state);
}

static void decode_alone(const msa_model *m)
{
    MSA_AUTO(msa_predictor) p = NULL;
    msa_threads_set(1);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    for (int i = 0; i < PROMPTS; i++) {
        const msa_prompt_set prompt = prompt_of(i);
        assert_int_equal(msa_predictor_decode(p, embedding, &prompt, alone[i], alone_iou[i], NULL), MSA_OK);
    }
}

static void compare(const char *what, int prompt, int n, const float *got, const float *wanted)
{
    float largest = 0.0f;
    for (int i = 0; i < n; i++) {
        if (!(fabsf(got[i] - wanted[i]) <= 1e-5f))
            fail_msg("prompt %d, %s %d: wanted %.8g, got %.8g", prompt, what, i, (double)wanted[i],
                     (double)got[i]);
        largest = fmaxf(largest, fabsf(wanted[i]));
    }
    assert_true(largest > 0.01f); /* there is something to compare */
}

static void is_the_decoder_of_training(void **state)
{
    MSA_AUTO(msa_model) m = load(state);
    MSA_AUTO(msa_params) all = NULL;
    static float logits[LOGITS];
    float iou[TOKENS];
    decode_alone(m);
    assert_int_equal(msa_params_new(&all, msa_model_config(m), msa_model_weights(m), MSA_TRAIN_ALL, NULL),
                     MSA_OK);
    for (int i = 0; i < PROMPTS; i++) {
        MSA_AUTO(msa_decoder_pass) pass = NULL;
        const msa_prompt_set prompt = prompt_of(i);
        assert_int_equal(msa_decoder_pass_new(&pass, all, false, NULL), MSA_OK);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &prompt, logits, iou, NULL), MSA_OK);
        compare("logit", i, LOGITS, alone[i], logits);
        compare("iou", i, TOKENS, alone_iou[i], iou);
    }
}

static void company_and_threads_change_no_bit(void **state)
{
    MSA_AUTO(msa_model) m = load(state);
    static float logits[PROMPTS][LOGITS], iou[PROMPTS][TOKENS];
    msa_prompt_set prompts[PROMPTS];
    decode_alone(m);
    for (int i = 0; i < PROMPTS; i++)
        prompts[i] = prompt_of(i);
    for (int threads = 1; threads <= 6; threads++) {
        MSA_AUTO(msa_predictor) p = NULL;
        msa_threads_set(threads);
        assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
        for (int n = 1; n <= PROMPTS; n++) {
            memset(logits, 1, sizeof logits);
            assert_int_equal(msa_predictor_decode_batch(p, embedding, n, prompts, logits[0], iou[0], NULL),
                             MSA_OK);
            assert_memory_equal(logits, alone, (size_t)n * sizeof logits[0]);
            assert_memory_equal(iou, alone_iou, (size_t)n * sizeof iou[0]);
        }
    }
    msa_threads_set(1);
}

static const msa_predictor *address_of_new(const msa_model *m, int32_t slices)
{
    MSA_AUTO(msa_predictor) p = NULL;
    assert_int_equal(msa_predictor_new_stack(&p, m, slices, NULL), MSA_OK);
    return p; /* freed here */
}

/* What was freed last serves again, where it fits, and gives what a new one gives. */
static void a_spare_one_serves_its_model(void **state)
{
    MSA_AUTO(msa_model) m = load(state);
    static float logits[LOGITS];
    float iou[TOKENS];
    const msa_prompt_set prompt = prompt_of(1);
    decode_alone(m);
    const msa_predictor *first = address_of_new(m, 1);
    assert_ptr_equal(address_of_new(m, 1), first);
    MSA_AUTO(msa_predictor) p = NULL;
    MSA_AUTO(msa_predictor) beside = NULL;
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_new(&beside, m, NULL), MSA_OK);
    assert_ptr_equal(p, first);
    assert_ptr_not_equal(beside, p);
    assert_int_equal(msa_predictor_decode(p, embedding, &prompt, logits, iou, NULL), MSA_OK);
    assert_memory_equal(logits, alone[1], sizeof logits);
    msa_predictor_free(p);
    p = NULL;
    msa_threads_set(3); /* room for other threads */
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_decode(p, embedding, &prompt, logits, iou, NULL), MSA_OK);
    assert_memory_equal(logits, alone[1], sizeof logits);
    msa_threads_set(1);
}

static void the_first_bad_prompt_is_named(void **state)
{
    MSA_AUTO(msa_model) m = load(state);
    MSA_AUTO(msa_predictor) p = NULL;
    static float logits[5][LOGITS], iou[5][TOKENS];
    const float nan_box[4] = {0, NAN, 5, 5}, label[1] = {9};
    const msa_prompt_set prompts[5] = {prompt_of(0),
                                       prompt_of(6),
                                       {.box = nan_box},
                                       {.points = points, .labels = label, .n_points = 1},
                                       prompt_of(2)};
    msa_error err = MSA_ERROR_INIT;
    decode_alone(m);
    msa_threads_set(2);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_decode_batch(p, embedding, 5, prompts, logits[0], iou[0], &err),
                     MSA_E_INVALID);
    assert_non_null(strstr(err.what, "box"));
    assert_memory_equal(logits[1], alone[6], sizeof alone[6]);
    assert_memory_equal(logits[4], alone[2], sizeof alone[2]);
    assert_int_equal(msa_predictor_decode_batch(p, embedding, 0, prompts, logits[0], iou[0], NULL), MSA_OK);
    embedding[7] = INFINITY;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_predictor_decode_batch(p, embedding, 2, prompts, logits[0], iou[0], &err),
                     MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "mask decoder"));
    msa_threads_set(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_the_decoder_of_training, setup, fixture_remove),
        cmocka_unit_test_setup_teardown(company_and_threads_change_no_bit, setup, fixture_remove),
        cmocka_unit_test_setup_teardown(a_spare_one_serves_its_model, setup, fixture_remove),
        cmocka_unit_test_setup_teardown(the_first_bad_prompt_is_named, setup, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
