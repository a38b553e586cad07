/* Steps, schedules, clipping, averages and refusal of the optimiser. */
#include <math.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/train/optimizer.h"
#include "engine/train/random.h"
#include "tests/unit/engine/cm.h"

/* A parameter set of one tensor, made by hand: the optimiser needs no model. */
#define N 40000
static float values[N], grads[N];
static msa_param list[1] = {{.name = "w", .numel = N, .trains = true}};
static msa_params params = {
    .values = values, .grads = grads, .n_values = N, .n_trained = N, .list = list, .n_list = 1};

static void reset(int64_t n)
{
    msa_random r = msa_random_at(7, 0, 0, 0);
    for (int i = 0; i < N; i++) {
        values[i] = (float)msa_random_normal(&r);
        grads[i] = (float)(0.01 * msa_random_normal(&r));
    }
    params.n_trained = params.n_values = list[0].numel = n;
}

static msa_optimizer *make(const msa_optimizer_options *o)
{
    msa_optimizer *made = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_optimizer_new(&made, &params, o, &err) != MSA_OK) fail_msg("%s", err.what);
    return made;
}

/* The first step of Adam is lr times the sign of the gradient, whatever its size. */
static void test_first_step(void **state)
{
    (void)state;
    reset(4);
    const float before[4] = {values[0], values[1], values[2], values[3]};
    const msa_optimizer_options o = msa_optimizer_defaults(0.01);
    MSA_AUTO(msa_optimizer) adam = make(&o);
    assert_int_equal(msa_optimizer_step(adam, NULL), MSA_OK);
    for (int i = 0; i < 4; i++)
        assert_float_equal(values[i], before[i] - copysignf(0.01f, grads[i]), 1e-5);
    assert_int_equal(adam->step, 1);
}

static void test_decay(void **state)
{
    (void)state;
    reset(1);
    values[0] = 2;
    grads[0] = 0;
    msa_optimizer_options o = msa_optimizer_defaults(0.1);
    o.decoupled = true;
    o.weight_decay = 0.5;
    MSA_AUTO(msa_optimizer) adamw = make(&o);
    assert_int_equal(msa_optimizer_step(adamw, NULL), MSA_OK);
    assert_float_equal(values[0], 2 * (1 - 0.05f), 1e-6); /* decays though the gradient is zero */
    values[0] = 2;
    o.decoupled = false;
    MSA_AUTO(msa_optimizer) adam = make(&o);
    assert_int_equal(msa_optimizer_step(adam, NULL), MSA_OK);
    assert_float_equal(values[0], 2 - 0.1f, 1e-6); /* the decay is a gradient, and Adam takes its sign */
}

static void test_clip(void **state)
{
    (void)state;
    reset(2);
    values[0] = values[1] = 0;
    grads[0] = 3;
    grads[1] = 4;
    msa_optimizer_options o = msa_optimizer_defaults(1);
    o.momentum_only = true;
    o.beta1 = 0;
    o.clip_norm = 1;
    MSA_AUTO(msa_optimizer) sgd = make(&o);
    assert_int_equal(msa_optimizer_step(sgd, NULL), MSA_OK);
    assert_float_equal(sgd->last_grad_norm, 5, 1e-9);
    assert_float_equal(values[0], -0.6, 1e-6);
    assert_float_equal(values[1], -0.8, 1e-6);
    grads[0] = grads[1] = 0.1f;
    assert_int_equal(msa_optimizer_step(sgd, NULL), MSA_OK);
    assert_float_equal(values[0], -0.7, 1e-6); /* a small gradient is left as it is */
}

static void test_average(void **state)
{
    (void)state;
    reset(3);
    msa_optimizer_options o = msa_optimizer_defaults(0.1);
    o.ema_decay = 0.75;
    double wanted[3];
    MSA_AUTO(msa_optimizer) adam = make(&o);
    for (int i = 0; i < 3; i++)
        wanted[i] = (double)values[i];
    for (int step = 0; step < 5; step++) {
        assert_int_equal(msa_optimizer_step(adam, NULL), MSA_OK);
        for (int i = 0; i < 3; i++)
            wanted[i] = 0.75 * wanted[i] + 0.25 * (double)values[i];
    }
    for (int i = 0; i < 3; i++)
        assert_float_equal(adam->ema[i], wanted[i], 1e-6);
}

static void test_schedules(void **state)
{
    (void)state;
    msa_optimizer_options o = msa_optimizer_defaults(1);
    assert_float_equal(msa_schedule_lr(&o, 12345), 1, 0);
    o.warmup_steps = 4;
    assert_float_equal(msa_schedule_lr(&o, 0), 0.25, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 3), 1, 1e-12);
    o.schedule = MSA_SCHEDULE_COSINE;
    o.total_steps = 104;
    o.lr_min = 0.1;
    assert_float_equal(msa_schedule_lr(&o, 4), 1, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 54), 0.55, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 104), 0.1, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 9999), 0.1, 1e-12);
    for (int n = 4; n < 104; n++)
        assert_true(msa_schedule_lr(&o, n + 1) < msa_schedule_lr(&o, n));
    o = msa_optimizer_defaults(1);
    o.schedule = MSA_SCHEDULE_STEP;
    o.step_every = 10;
    o.step_factor = 0.5;
    assert_float_equal(msa_schedule_lr(&o, 9), 1, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 10), 0.5, 1e-12);
    assert_float_equal(msa_schedule_lr(&o, 35), 0.125, 1e-12);
}

static void test_not_finite(void **state)
{
    static float before[N], m[N];
    (void)state;
    reset(N);
    msa_optimizer_options o = msa_optimizer_defaults(0.1);
    o.ema_decay = 0.9;
    MSA_AUTO(msa_optimizer) adam = make(&o);
    assert_int_equal(msa_optimizer_step(adam, NULL), MSA_OK);
    memcpy(before, values, sizeof before);
    memcpy(m, adam->m, sizeof m);
    const float bad[2] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        msa_error err = MSA_ERROR_INIT;
        grads[N - 1] = bad[i];
        assert_int_equal(msa_optimizer_step(adam, &err), MSA_E_INTERNAL);
        assert_string_equal(err.what, "the gradient of w is not finite");
        assert_memory_equal(before, values, sizeof before);
        assert_memory_equal(m, adam->m, sizeof m);
        assert_int_equal(adam->step, 1);
    }
}

static void test_threads(void **state)
{
    static float one[N], ema[N];
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        msa_threads_set(threads);
        reset(N);
        msa_optimizer_options o = msa_optimizer_defaults(0.01);
        o.clip_norm = 0.5;
        o.ema_decay = 0.9;
        MSA_AUTO(msa_optimizer) adam = make(&o);
        for (int step = 0; step < 3; step++)
            assert_int_equal(msa_optimizer_step(adam, NULL), MSA_OK);
        if (threads == 1) {
            memcpy(one, values, sizeof one);
            memcpy(ema, adam->ema, sizeof ema);
        }
        assert_memory_equal(one, values, sizeof one);
        assert_memory_equal(ema, adam->ema, sizeof ema);
    }
    msa_threads_set(1);
}

static void test_refusals(void **state)
{
    (void)state;
    msa_optimizer *made = NULL;
    msa_optimizer_options o = msa_optimizer_defaults(0);
    assert_int_equal(msa_optimizer_new(&made, &params, &o, NULL), MSA_E_INVALID);
    o = msa_optimizer_defaults(0.1);
    o.beta2 = 1;
    assert_int_equal(msa_optimizer_new(&made, &params, &o, NULL), MSA_E_INVALID);
    o = msa_optimizer_defaults(0.1);
    o.schedule = MSA_SCHEDULE_COSINE;
    assert_int_equal(msa_optimizer_new(&made, &params, &o, NULL), MSA_E_INVALID);
    assert_null(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_step), cmocka_unit_test(test_decay),
                                       cmocka_unit_test(test_clip),       cmocka_unit_test(test_average),
                                       cmocka_unit_test(test_schedules),  cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_threads),    cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
