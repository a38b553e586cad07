/* Whole training runs of a tiny model: it learns, resumes to the same bits, stops at NaN; files it leaves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "engine/train/checkpoint.h"
#include "engine/train/export.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

#define S 64

static msa_config tiny(void)
{
    msa_config c = fixture_config();
    c.depth = 2;
    c.window = 5; /* padded windows */
    c.n_global = 1;
    c.global_blocks[0] = 1;
    c.adapters = false;
    return c;
}

/* A bright disc among dimmer ones, in noise. poison: the step from which the picture holds a NaN. */
typedef struct discs {
    uint64_t seed;
    int64_t poison;
    bool fails;
} discs;

static msa_status next_disc(void *ctx, int64_t step, int32_t item, msa_train_picture *picture, msa_error *err)
{
    const discs *d = ctx;
    float *image = picture->image;
    msa_random r = msa_random_at(d->seed, 77, (uint64_t)step, (uint64_t)item);
    if (d->fails) return msa_fail(err, MSA_E_IO, "the disc is gone");
    const double x = msa_random_range(&r, 16, 48), y = msa_random_range(&r, 16, 48),
                 radius = msa_random_range(&r, 6, 15), x2 = msa_random_range(&r, 0, 64),
                 y2 = msa_random_range(&r, 0, 64);
    for (int i = 0; i < S * S; i++) {
        const bool in = hypot(i % S - x, i / S - y) < radius, other = hypot(i % S - x2, i / S - y2) < 8;
        const double value = (in ? 1.5 : other ? -1.2 : -0.5) + 0.3 * msa_random_normal(&r);
        picture->targets[i] = in;
        image[i] = image[S * S + i] = image[2 * S * S + i] = (float)value;
    }
    if (d->poison > 0 && step >= d->poison) image[5] = NAN;
    return MSA_OK;
}

static msa_params *fresh(const msa_config *c, msa_train_set set)
{
    const msa_params_start start = {.seed = 4};
    msa_params *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_params_start_new(&p, c, NULL, set, &start, &err) != MSA_OK) fail_msg("%s", err.what);
    return p;
}

static msa_trainer_options options_of(double lr)
{
    msa_trainer_options o = msa_trainer_defaults(9, lr);
    o.batch = 2;
    o.rounds_max = 3;
    o.optimizer.decoupled = true;
    o.optimizer.weight_decay = 0.01;
    o.optimizer.clip_norm = 1;
    o.optimizer.ema_decay = 0.9;
    o.optimizer.warmup_steps = 5;
    return o;
}

static msa_trainer *trainer_of(msa_params *p, const msa_trainer_options *o)
{
    msa_trainer *t = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_trainer_new(&t, p, o, &err) != MSA_OK) fail_msg("%s", err.what);
    return t;
}

static void run(msa_trainer *t, discs *d, int steps)
{
    for (int i = 0; i < steps; i++) {
        msa_train_report report;
        msa_error err = MSA_ERROR_INIT;
        if (msa_trainer_step(t, next_disc, d, &report, &err) != MSA_OK) fail_msg("%s", err.what);
    }
}

/* 200 steps of everything, boxes only: the Dice of the second half of the run is far above the beginning's.
 */
static void test_learns(void **state)
{
    (void)state;
    const msa_config c = tiny();
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    msa_trainer_options o = options_of(2e-3);
    o.box_chance = 1;
    o.box_jitter = 0.1;
    MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
    discs d = {.seed = 1};
    double first = 0, last = 0, first_loss = 0, last_loss = 0;
    for (int i = 0; i < 200; i++) {
        msa_train_report report;
        msa_error err = MSA_ERROR_INIT;
        if (msa_trainer_step(t, next_disc, &d, &report, &err) != MSA_OK) fail_msg("%s", err.what);
        assert_int_equal(report.step, i);
        if (i < 10) first += report.dice_first / 10;
        if (i < 10) first_loss += report.loss / 10;
        if (i >= 180) last += report.dice_first / 20;
        if (i >= 180) last_loss += report.loss / 20;
    }
    if (!(last > 0.85 && last > first + 0.3 && last_loss < 0.5 * first_loss))
        fail_msg("Dice %.3f -> %.3f, loss %.3f -> %.3f", first, last, first_loss, last_loss);
}

static void expect_same(const msa_trainer *a, const msa_trainer *b)
{
    const size_t n = (size_t)a->params->n_trained * sizeof(float);
    assert_int_equal(a->params->n_trained, b->params->n_trained);
    assert_memory_equal(a->params->values, b->params->values, n);
    assert_memory_equal(a->optimizer->m, b->optimizer->m, n);
    assert_memory_equal(a->optimizer->v, b->optimizer->v, n);
    assert_memory_equal(a->optimizer->ema, b->optimizer->ema, n);
    assert_int_equal(a->optimizer->step, b->optimizer->step);
    assert_memory_equal(&a->running, &b->running, sizeof a->running);
}

static void expect_same_files(void **state, const char *a, const char *b)
{
    char left[MSA_SHA256_HEX], right[MSA_SHA256_HEX];
    assert_int_equal(msa_sha256_file(fixture_path(state, a), left, NULL), MSA_OK);
    assert_int_equal(msa_sha256_file(fixture_path(state, b), right, NULL), MSA_OK);
    assert_string_equal(left, right);
}

static void save(void **state, const msa_trainer *t, const char *name)
{
    msa_error err = MSA_ERROR_INIT;
    if (msa_checkpoint_save(t, fixture_path(state, name), "recipe", &err) != MSA_OK) fail_msg("%s", err.what);
}

/* Six steps; three, and three more by another process' trainer; six on two threads; six with recomputation.
 */
static void test_resume(void **state)
{
    const msa_config c = tiny();
    const msa_trainer_options o = options_of(1e-3);
    discs d = {.seed = 2};
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) whole = trainer_of(p, &o);
    run(whole, &d, 6);
    save(state, whole, "whole");
    {
        MSA_AUTO(msa_params) q = fresh(&c, MSA_TRAIN_ALL);
        MSA_AUTO(msa_trainer) killed = trainer_of(q, &o);
        run(killed, &d, 3);
        save(state, killed, "three");
    }
    MSA_AUTO(msa_params) q = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) resumed = trainer_of(q, &o);
    assert_int_equal(msa_checkpoint_load(resumed, fixture_path(state, "three"), "recipe", NULL), MSA_OK);
    assert_int_equal(resumed->optimizer->step, 3);
    run(resumed, &d, 3);
    expect_same(whole, resumed);
    save(state, resumed, "resumed");
    expect_same_files(state, "whole", "resumed");

    msa_threads_set(2);
    MSA_AUTO(msa_params) r = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) threads = trainer_of(r, &o);
    run(threads, &d, 6);
    msa_threads_set(1);
    expect_same(whole, threads);
    msa_trainer_options lean = o;
    lean.recompute = true;
    MSA_AUTO(msa_params) s = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) again = trainer_of(s, &lean);
    run(again, &d, 6);
    expect_same(whole, again);
}

static void expect_refusal(msa_trainer *t, const char *path, const char *recipe, const char *part)
{
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE float *before = malloc((size_t)t->params->n_trained * sizeof *before);
    assert_non_null(before);
    memcpy(before, t->params->values, (size_t)t->params->n_trained * sizeof *before);
    assert_int_equal(msa_checkpoint_load(t, path, recipe, &err), MSA_E_INVALID);
    if (strstr(err.what, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.what, part);
    assert_memory_equal(before, t->params->values, (size_t)t->params->n_trained * sizeof *before);
}

static void test_wrong_checkpoint(void **state)
{
    msa_config c = tiny();
    msa_trainer_options o = options_of(1e-3);
    discs d = {.seed = 2};
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
    run(t, &d, 1);
    save(state, t, "one");
    expect_refusal(t, fixture_path(state, "one"), "other", "another recipe");
    o.optimizer.ema_decay = 0;
    MSA_AUTO(msa_trainer) no_average = trainer_of(p, &o);
    expect_refusal(no_average, fixture_path(state, "one"), "recipe", "ema");
    o = options_of(1e-3);
    o.seed = 10;
    MSA_AUTO(msa_trainer) seed = trainer_of(p, &o);
    expect_refusal(seed, fixture_path(state, "one"), "recipe", "another seed");
    o.seed = 9;
    c.depth = 1;
    c.n_global = 0;
    MSA_AUTO(msa_params) smaller = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) other = trainer_of(smaller, &o);
    expect_refusal(other, fixture_path(state, "one"), "recipe", "another model");
    assert_int_equal(msa_checkpoint_load(t, fixture_path(state, "none"), "recipe", NULL), MSA_E_NOT_FOUND);
}

/* A NaN in the picture: step and layer are named, nothing is changed, and the source's own words come
 * through. */
static void test_stops(void **state)
{
    (void)state;
    const msa_config c = tiny();
    const msa_trainer_options o = options_of(1e-3);
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
    discs d = {.seed = 2, .poison = 2};
    run(t, &d, 2);
    const size_t n = (size_t)p->n_trained * sizeof(float);
    MSA_AUTO_FREE float *before = malloc(n);
    assert_non_null(before);
    memcpy(before, p->values, n);
    msa_train_report report;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_trainer_step(t, next_disc, &d, &report, &err), MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "step 2: "));
    assert_non_null(strstr(err.what, "image encoder"));
    assert_memory_equal(before, p->values, n);
    assert_int_equal(t->optimizer->step, 2);
    d.fails = true;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_trainer_step(t, next_disc, &d, &report, &err), MSA_E_IO);
    assert_string_equal(err.what, "step 2: the disc is gone");
}

/* ---- targets and lanes ---- */

/* One picture of two squares; `together`: both are targets of it, else each of one of two such pictures. */
static msa_status next_squares(void *ctx, int64_t step, int32_t item, msa_train_picture *picture,
                               msa_error *err)
{
    (void)step;
    (void)err;
    const bool together = *(const bool *)ctx;
    picture->n_targets = together ? 2 : 1;
    for (int i = 0; i < S * S; i++) {
        const int x = i % S, y = i / S;
        const bool one = x > 10 && x < 30 && y > 12 && y<40, two = x> 35 && x < 50 && y > 20 && y < 50;
        for (int c = 0; c < 3; c++)
            picture->image[c * S * S + i] = one ? 1 : two ? -1 : 0.1f * (float)(x % 7);
        picture->targets[i] = together || item == 0 ? one : two;
        if (together) picture->targets[S * S + i] = two;
    }
    return MSA_OK;
}

static void gradients_of(bool together, int lanes, float *grads)
{
    const msa_config c = tiny();
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    msa_trainer_options o = options_of(1e-3);
    o.batch = together ? 1 : 2;
    o.lanes = lanes;
    o.box_chance = 1;
    o.box_jitter = 0;
    o.rounds_max = 1;
    MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
    msa_train_report report;
    msa_error err = MSA_ERROR_INIT;
    if (msa_trainer_step(t, next_squares, &together, &report, &err) != MSA_OK) fail_msg("%s", err.what);
    memcpy(grads, p->grads, (size_t)p->n_trained * sizeof *grads);
}

/* Two targets of one picture teach what two pictures with one each teach; lanes only change who sums. */
static void test_targets(void **state)
{
    (void)state;
    const msa_config c = tiny();
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    const int64_t n = p->n_trained;
    MSA_AUTO_FREE float *g = calloc((size_t)(3 * n), sizeof *g);
    double norm = 0, targets = 0, lanes = 0;
    assert_non_null(g);
    gradients_of(true, 1, g);
    gradients_of(false, 1, g + n);
    gradients_of(false, 2, g + 2 * n);
    for (int64_t i = 0; i < n; i++) {
        norm += (double)g[i] * (double)g[i];
        targets += pow((double)g[i] - (double)g[n + i], 2);
        lanes += pow((double)g[n + i] - (double)g[2 * n + i], 2);
    }
    assert_true(norm > 1e-6);
    assert_true(sqrt(targets / norm) < 1e-5);
    assert_true(sqrt(lanes / norm) < 1e-5);
}

/* ---- files ---- */

static void encode(const msa_model *m, float *embedding)
{
    float image[3 * S * S];
    msa_predictor *p = NULL;
    fixture_fill(image, 3 * S * S, 5, 2);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, NULL), MSA_OK);
    msa_predictor_free(p);
}

static double difference(const msa_model *a, const msa_model *b)
{
    static float x[64 * 32], y[64 * 32];
    double most = 0;
    encode(a, x);
    encode(b, y);
    for (int i = 0; i < 64 * 32; i++) { /* fmax() here ends GCC 12 for aarch64 with an internal error */
        const double apart = fabs((double)x[i] - (double)y[i]);
        if (apart > most) most = apart;
    }
    return most;
}

static msa_model *load(void **state, const char *name)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_load(&m, fixture_path(state, name), &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static void write_base(void **state, const char *name, uint64_t seed)
{
    const msa_config c = tiny();
    assert_int_equal(msa_model_write_random(fixture_path(state, name), &c, seed, NULL), MSA_OK);
}

static msa_params *adapters_on(const msa_model *base, msa_train_set set)
{
    msa_config c = *msa_model_config(base);
    const msa_params_start start = {.seed = 8, .adapter_width = 4};
    msa_params *p = NULL;
    c.adapters = true;
    assert_int_equal(msa_params_start_new(&p, &c, msa_model_weights(base), set, &start, NULL), MSA_OK);
    return p;
}

/* New adapters change nothing; trained ones do, and come back from their own small file. */
static void test_adapter_file(void **state)
{
    write_base(state, "base", 3);
    write_base(state, "wrong", 4);
    MSA_AUTO(msa_model) base = load(state, "base");
    MSA_AUTO(msa_model) wrong = load(state, "wrong");
    for (int set = MSA_TRAIN_ADAPTERS; set <= MSA_TRAIN_ADAPTERS_DECODER; set++) {
        msa_error err = MSA_ERROR_INIT;
        MSA_AUTO(msa_params) p = adapters_on(base, (msa_train_set)set);
        const msa_metadata note = {"steps", "4"};
        const msa_export_options noted = {.notes = &note, .n_notes = 1};
        assert_int_equal(msa_export_model(p, fixture_path(state, "start"), NULL, NULL), MSA_OK);
        MSA_AUTO(msa_model) start = load(state, "start");
        assert_true(difference(base, start) < 1e-5);
        const msa_trainer_options o = options_of(1e-2);
        MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
        discs d = {.seed = 2};
        run(t, &d, 4);
        assert_int_equal(msa_export_model(p, fixture_path(state, "full"), &noted, NULL), MSA_OK);
        assert_int_equal(
            msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "adapter"), &noted, NULL),
            MSA_OK);
        MSA_AUTO(msa_model) full = load(state, "full");
        assert_false(msa_model_config(full)->untrained);
        assert_true(difference(base, full) > 1e-3);
        msa_params *again = NULL;
        if (msa_adapter_apply(&again, base, fixture_path(state, "adapter"), &err) != MSA_OK)
            fail_msg("%s", err.what);
        MSA_AUTO(msa_params) q = again;
        assert_int_equal(msa_export_model(q, fixture_path(state, "joined"), &noted, NULL), MSA_OK);
        expect_same_files(state, "full", "joined");
        assert_int_equal(msa_adapter_apply(&again, wrong, fixture_path(state, "adapter"), &err),
                         MSA_E_INVALID);
        assert_null(again);
        assert_non_null(strstr(err.what, "another base"));
        err = (msa_error)MSA_ERROR_INIT;
        assert_int_equal(msa_adapter_apply(&again, base, fixture_path(state, "full"), &err), MSA_E_PARSE);
    }
}

/* An adapter file that lacks a tensor, or has one too many, is refused by name. */
static void test_adapter_tampered(void **state)
{
    write_base(state, "base", 3);
    MSA_AUTO(msa_model) base = load(state, "base");
    MSA_AUTO(msa_params) p = adapters_on(base, MSA_TRAIN_ADAPTERS);
    assert_int_equal(msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "a"), NULL, NULL),
                     MSA_OK);
    MSA_AUTO(msa_safetensors) f = NULL;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "a"), NULL), MSA_OK);
    msa_tensor list[64];
    const int32_t n = msa_safetensors_count(f);
    assert_true(n == 2 * 2 * 4);
    for (int32_t i = 0; i < n; i++)
        list[i] = *msa_safetensors_at(f, i);
    list[n] = *msa_safetensors_at(f, 0);
    list[n].name = "image_encoder.pos_embed";
    const msa_metadata metadata[] = {{"kind", msa_safetensors_metadata(f, "kind")},
                                     {"config", msa_safetensors_metadata(f, "config")},
                                     {"base_sha256", msa_safetensors_metadata(f, "base_sha256")}};
    static const struct {
        int32_t from, count;
        const char *sentence;
    } cases[] = {{1, 15, "lacks"}, {0, 17, "belongs to the base"}};
    for (int i = 0; i < 2; i++) {
        msa_error err = MSA_ERROR_INIT;
        msa_params *made = NULL;
        assert_int_equal(msa_safetensors_write(fixture_path(state, "b"), list + cases[i].from, cases[i].count,
                                               metadata, 3, NULL, NULL, NULL),
                         MSA_OK);
        assert_int_equal(msa_adapter_apply(&made, base, fixture_path(state, "b"), &err), MSA_E_PARSE);
        assert_null(made);
        if (strstr(err.what, cases[i].sentence) == NULL) fail_msg("%s", err.what);
    }
}

/* The moving average is what is exported when it is given; a model that was trained whole is no adapter. */
static void test_export_average(void **state)
{
    const msa_config c = tiny();
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    const msa_trainer_options o = options_of(1e-2);
    MSA_AUTO(msa_trainer) t = trainer_of(p, &o);
    discs d = {.seed = 2};
    run(t, &d, 2);
    const msa_export_options average = {.trained = t->optimizer->ema};
    assert_int_equal(msa_export_model(p, fixture_path(state, "ema"), &average, NULL), MSA_OK);
    MSA_AUTO(msa_model) m = load(state, "ema");
    const msa_param *q = msa_params_find(p, "image_encoder.neck.2.weight");
    assert_non_null(q);
    assert_memory_equal(msa_model_weights(m)->encoder.neck3x3, t->optimizer->ema + q->offset,
                        (size_t)q->numel * sizeof(float));
    assert_memory_not_equal(msa_model_weights(m)->encoder.neck3x3, p->values + q->offset,
                            (size_t)q->numel * sizeof(float));
    assert_int_equal(msa_export_adapter(p, "0", fixture_path(state, "no"), NULL, NULL), MSA_E_INVALID);
    /* In half precision every value is the nearest half. */
    const msa_export_options half = {.stored = MSA_STORED_F16};
    assert_int_equal(msa_export_model(p, fixture_path(state, "half"), &half, NULL), MSA_OK);
    MSA_AUTO(msa_model) h = load(state, "half");
    double worst = 0;
    for (int64_t i = 0; i < q->numel; i++) {
        const double value = (double)p->values[q->offset + i];
        worst = fmax(worst,
                     fabs(value - (double)msa_model_weights(h)->encoder.neck3x3[i]) / (fabs(value) + 1e-4));
    }
    assert_true(worst > 1e-6 && worst < 1.0 / 2048);
}

static void test_options(void **state)
{
    (void)state;
    const msa_config c = tiny();
    MSA_AUTO(msa_params) p = fresh(&c, MSA_TRAIN_ALL);
    msa_trainer *t = NULL;
    msa_trainer_options o = options_of(1e-3);
    o.rounds_max = MSA_ROUNDS_MAX + 1;
    assert_int_equal(msa_trainer_new(&t, p, &o, NULL), MSA_E_INVALID);
    o = options_of(1e-3);
    o.batch = 0;
    assert_int_equal(msa_trainer_new(&t, p, &o, NULL), MSA_E_INVALID);
    o = options_of(1e-3);
    o.box_chance = NAN;
    assert_int_equal(msa_trainer_new(&t, p, &o, NULL), MSA_E_INVALID);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),           cmocka_unit_test(test_resume),
        cmocka_unit_test(test_wrong_checkpoint), cmocka_unit_test(test_stops),
        cmocka_unit_test(test_targets),          cmocka_unit_test(test_adapter_file),
        cmocka_unit_test(test_adapter_tampered), cmocka_unit_test(test_export_average),
        cmocka_unit_test(test_options)};
    return cmocka_run_group_tests_name("trainer", tests, fixture_folder, fixture_remove);
}
