/* Validation through the door that programs use: the same pictures every time, and nothing of the run
 * changes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/training.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

static const char config[] =
    "{\"image_size\":64,\"patch\":8,\"dim\":32,\"depth\":2,\"heads\":2,\"mlp_dim\":64,\"window\":0,"
    "\"global_blocks\":[],\"prompt_dim\":32,\"decoder_depth\":1,\"decoder_heads\":4,\"decoder_mlp_dim\":64,"
    "\"iou_hidden\":16,\"mask_tokens\":4,\"adapters\":false,\"decoder_wiring\":\"sam\",\"pad_order\":\"norm_"
    "then_pad\","
    "\"mask_select\":\"sam\",\"input_norm\":\"sam\",\"geometry\":\"longest_side\",\"box_as_mask\":true}";

static msa_training *open_run(double ema)
{
    msa_training_options o = {.config = config,
                              .set = MSA_TRAIN_ALL,
                              .trainer = msa_trainer_defaults(3, 1e-3),
                              .synthetic = 1,
                              .validation_pictures = 6,
                              .loaders = 1};
    msa_training *t = NULL;
    msa_error err = MSA_ERROR_INIT;
    o.trainer.optimizer.ema_decay = ema;
    if (msa_training_open(&t, &o, &err) != MSA_OK) fail_msg("%s", err.what);
    return t;
}

typedef struct seen {
    int32_t n;
    double dice;
} seen;

static void look(void *ctx, const msa_train_view *v)
{
    seen *s = ctx;
    int64_t both = 0, either = 0;
    for (int32_t i = 0; i < v->size * v->size; i++) {
        const int32_t x = i % v->size, y = i / v->size;
        both += v->target[i] && v->found[i];
        either += v->target[i] + v->found[i];
        if (v->target[i])
            assert_true((float)x >= v->box[0] && (float)x < v->box[2] && (float)y >= v->box[1] &&
                        (float)y < v->box[3]);
    }
    assert_true(fabs(v->dice - 2.0 * (double)both / (double)either) < 1e-9);
    s->n++;
    s->dice += v->dice;
}

static void steps(msa_training *t, int n)
{
    msa_train_report report;
    msa_error err = MSA_ERROR_INIT;
    for (int i = 0; i < n; i++)
        if (msa_training_step(t, &report, &err) != MSA_OK) fail_msg("%s", err.what);
}

static msa_train_report validate(msa_training *t, seen *s)
{
    msa_train_report report;
    msa_error err = MSA_ERROR_INIT;
    if (msa_training_validate(t, &report, s != NULL ? look : NULL, s, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return report;
}

static void expect_same_files(void **state, const char *a, const char *b)
{
    char one[4096], two[4096];
    (void)snprintf(one, sizeof one, "%s", fixture_path(state, a));
    (void)snprintf(two, sizeof two, "%s", fixture_path(state, b));
    FILE *f = fopen(one, "rb"), *g = fopen(two, "rb");
    assert_non_null(f);
    assert_non_null(g);
    int x = 0;
    do {
        x = fgetc(f);
        assert_int_equal(x, fgetc(g));
    } while (x != EOF);
    (void)fclose(f);
    (void)fclose(g);
}

static void test_changes_nothing(void **state)
{
    for (int average = 0; average < 2; average++) {
        msa_training *looked = open_run(average ? 0.9 : 0), *plain = open_run(average ? 0.9 : 0);
        seen s = {0};
        steps(looked, 3);
        const msa_train_report first = validate(looked, &s), again = validate(looked, NULL);
        assert_true(s.n >= 6);
        assert_true(fabs(first.dice_first - s.dice / s.n) < 1e-9 && isfinite(first.loss));
        assert_true(first.loss == again.loss && first.dice_first == again.dice_first && first.step == 3);
        steps(looked, 2);
        assert_true(validate(looked, NULL).loss != first.loss);
        steps(plain, 5);
        assert_int_equal(msa_training_save(looked, fixture_path(state, "looked"), NULL), MSA_OK);
        assert_int_equal(msa_training_save(plain, fixture_path(state, "plain"), NULL), MSA_OK);
        expect_same_files(state, "looked", "plain");
        msa_training_free(looked);
        msa_training_free(plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_changes_nothing)};
    return cmocka_run_group_tests_name("validation", tests, fixture_folder, fixture_remove);
}
