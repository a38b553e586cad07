/* Stacks of slices are learned from: what only the neighbours show is found with a depth branch and not
 * without, targets are learned on every slice that shows them, the bits do not depend on threads, and a base
 * of single slices gets a branch as an adapter. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/sam/internal.h"
#include "engine/train/trainer.h"
#include "engine/training.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

enum { S = 64, SLICES = 3 };

static msa_config stacked(msa_depth_grouping grouping)
{
    msa_config c = fixture_config();
    c.depth = 2;
    c.n_global = 1;
    c.global_blocks[0] = 1;
    c.depth_grouping = grouping;
    c.depth_fold = MSA_DEPTH_LINE;
    c.depth_slices = SLICES;
    return c;
}

/* A disc or a cross of the same box. The middle slice, whose target it is, shows noise; its neighbours, if
 * there are any, show which of the two it is. */
static msa_status next_hidden(void *ctx, int64_t step, int32_t item, msa_train_picture *p, msa_error *err)
{
    msa_random r = msa_random_at(*(const uint64_t *)ctx, 78, (uint64_t)step, (uint64_t)item);
    const double x = msa_random_range(&r, 20, 44), y = msa_random_range(&r, 20, 44),
                 radius = msa_random_range(&r, 8, 14);
    const bool disc = msa_random_unit(&r) < 0.5;
    (void)err;
    memset(p->targets, 0, (size_t)p->slices * S * S);
    for (int32_t d = 0; d < p->slices; d++)
        for (int i = 0; i < S * S; i++) {
            const double a = fabs(i % S - x) / radius, b = fabs(i / S - y) / radius;
            const bool in = disc ? hypot(a, b) < 1 : fmin(a, b) < 0.2 && fmax(a, b) < 1;
            const bool middle = d == p->slices / 2;
            float *image = p->image + (int64_t)d * 3 * S * S;
            image[i] = (float)((in && !middle ? 1.5 : -0.5) + 0.1 * msa_random_normal(&r));
            image[S * S + i] = image[2 * S * S + i] = image[i];
            if (middle) p->targets[(int64_t)d * S * S + i] = in;
        }
    return MSA_OK;
}

static msa_trainer *trainer_of(const msa_config *c, msa_params **params)
{
    const msa_params_start start = {.seed = 4};
    msa_trainer_options o = msa_trainer_defaults(9, 2e-3);
    msa_trainer *t = NULL;
    msa_error err = MSA_ERROR_INIT;
    o.rounds_max = 1;
    o.box_chance = 1;
    o.box_jitter = 0;
    if (msa_params_start_new(params, c, NULL, MSA_TRAIN_ALL, &start, &err) != MSA_OK ||
        msa_trainer_new(&t, *params, &o, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return t;
}

/* Mean Dice of the last 20 of so many steps. */
static double learn(const msa_config *c, int steps)
{
    uint64_t seed = 1;
    double dice = 0;
    MSA_AUTO(msa_params) p = NULL;
    MSA_AUTO(msa_trainer) t = trainer_of(c, &p);
    for (int i = 0; i < steps; i++) {
        msa_train_report report;
        msa_error err = MSA_ERROR_INIT;
        if (msa_trainer_step(t, next_hidden, &seed, &report, &err) != MSA_OK) fail_msg("%s", err.what);
        if (i >= steps - 20) dice += report.dice_first / 20;
    }
    return dice;
}

static void neighbours_are_learned_from(void **state)
{
    (void)state;
    const msa_config with = stacked(MSA_DEPTH_VOLUME), without = stacked(MSA_DEPTH_NONE);
    const double stack = learn(&with, 150), alone = learn(&without, 80);
    printf("Dice %.3f with neighbours, %.3f without\n", stack, alone);
    if (!(stack > 0.7 && stack > alone + 0.15))
        fail_msg("Dice %.3f with neighbours, %.3f without", stack, alone);
}

/* Targets of every slice, which alone differ: which one was learned shows in the loss. */
typedef struct planes {
    int32_t shown; /* slices that show the target enough */
    int64_t area[SLICES];
} planes;

static msa_status next_on_planes(void *ctx, int64_t step, int32_t item, msa_train_picture *p, msa_error *err)
{
    const planes *of = ctx;
    (void)step, (void)item, (void)err;
    memset(p->image, 0, 3ul * SLICES * S * S * sizeof *p->image);
    memset(p->targets, 0, (size_t)SLICES * S * S);
    for (int32_t d = 0; d < SLICES; d++)
        memset(p->targets + (size_t)d * S * S, 1, (size_t)of->area[d]);
    return MSA_OK;
}

/* Different losses that steps without learning have: one for each slice that is drawn. */
static int different_losses(const planes *of)
{
    const msa_config c = stacked(MSA_DEPTH_VOLUME);
    double seen[SLICES + 1];
    int n = 0;
    MSA_AUTO(msa_params) p = NULL;
    MSA_AUTO(msa_trainer) t = trainer_of(&c, &p);
    t->options.batch = 1;
    for (int64_t step = 0; step < 24; step++) {
        msa_train_report report;
        msa_error err = MSA_ERROR_INIT;
        planes given = *of;
        int i = 0;
        t->optimizer->options.lr = 0;
        if (msa_trainer_step(t, next_on_planes, &given, &report, &err) != MSA_OK) fail_msg("%s", err.what);
        while (i < n && seen[i] != report.loss)
            i++;
        if (i == n && n <= SLICES) seen[n++] = report.loss;
    }
    return n;
}

static void slices_that_show_it_are_drawn(void **state)
{
    (void)state;
    assert_int_equal(different_losses(&(planes){.area = {20 * S, 24 * S, 32 * S}}), 3);
    assert_int_equal(different_losses(&(planes){.area = {5 * S, 24 * S, 32 * S}}), 2); /* about to end */
    assert_int_equal(different_losses(&(planes){.area = {0, 24 * S, 0}}), 1);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    const msa_config c = stacked(MSA_DEPTH_VOLUME);
    float *values[2] = {NULL};
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t seed = 2;
        MSA_AUTO(msa_params) p = NULL;
        msa_threads_set(i == 0 ? 1 : 3);
        MSA_AUTO(msa_trainer) t = trainer_of(&c, &p);
        msa_train_report report;
        for (int step = 0; step < 3; step++)
            assert_int_equal(msa_trainer_step(t, next_hidden, &seed, &report, NULL), MSA_OK);
        n = (size_t)p->n_trained * sizeof(float);
        values[i] = malloc(n);
        assert_non_null(values[i]);
        memcpy(values[i], p->values, n);
    }
    msa_threads_set(2);
    assert_memory_equal(values[0], values[1], n);
    free(values[0]);
    free(values[1]);
}

/* ---- a branch for a base that has none ---- */

static void a_base_gets_a_branch(void **state)
{
    msa_config c = fixture_config();
    char base[512], adapter[512];
    msa_error err = MSA_ERROR_INIT;
    msa_training *made = NULL;
    msa_train_report report;
    c.adapters = false;
    (void)snprintf(base, sizeof base, "%s", fixture_path(state, "base"));
    (void)snprintf(adapter, sizeof adapter, "%s", fixture_path(state, "adapter"));
    assert_int_equal(msa_model_write_random(base, &c, 3, NULL), MSA_OK);
    const msa_training_options o = {.base = base,
                                    .set = MSA_TRAIN_ADAPTERS,
                                    .depth_slices = SLICES,
                                    .trainer = msa_trainer_defaults(1, 1e-2),
                                    .synthetic = 1,
                                    .validation_pictures = 2};
    if (msa_training_open(&made, &o, &err) != MSA_OK) fail_msg("%s", err.what);
    MSA_AUTO(msa_training) t = made;
    for (int i = 0; i < 2; i++)
        if (msa_training_step(t, &report, &err) != MSA_OK) fail_msg("%s", err.what);
    if (msa_training_validate(t, &report, NULL, NULL, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_true(report.dice_first >= 0 && report.dice_first <= 1);
    if (msa_training_export(t, adapter, &err) != MSA_OK) fail_msg("%s", err.what);
    MSA_AUTO(msa_model) m = NULL;
    if (msa_model_load_adapted(&m, base, adapter, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(msa_model_config(m)->depth_grouping, MSA_DEPTH_VOLUME);
    assert_int_equal(msa_config_slices(msa_model_config(m)), SLICES);
    /* the branch has learned: a slice's embedding depends on its neighbours */
    static float image[2][SLICES * 3 * S * S], embedding[2][SLICES * 32 * 8 * 8];
    MSA_AUTO(msa_predictor) p = NULL;
    fixture_fill(image[0], SLICES * 3 * S * S, 1, 1.0f);
    memcpy(image[1], image[0], sizeof image[0]);
    fixture_fill(image[1], 3 * S * S, 2, 1.0f); /* the first slice is another */
    assert_int_equal(msa_predictor_new_stack(&p, m, SLICES, NULL), MSA_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(msa_predictor_encode_stack(p, SLICES, image[i], embedding[i], NULL), MSA_OK);
    const size_t one = 32 * 8 * 8;
    assert_memory_not_equal(embedding[0] + one, embedding[1] + one, one * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_that_show_it_are_drawn),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(neighbours_are_learned_from),
        cmocka_unit_test(a_base_gets_a_branch),
    };
    msa_threads_set(2);
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
