/* The image encoder's training pass as a whole: the predictor's numbers, gradients, and bits that do not
 * depend on threads, recomputation or on what else trains. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/sam/internal.h"
#include "engine/train/passes.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"

#define STACK     5
#define IMAGE     (STACK * 3 * 64 * 64)
#define EMBEDDING (STACK * 4 * 32 * 8 * 8) /* a quarter of it without detail */

static float image[IMAGE],
    weight_of[EMBEDDING]; /* loss = weight_of . embedding, so its gradient is weight_of */

/* ---- the cases ---- */

/* CASE_RESIZED: the file is of a larger image, so positions and global tables are resized. The last ones have
 * a depth branch; runs of 3 in a stack of 5 leave a shorter one. */
enum {
    CASE_PADDED_FIRST,
    CASE_PADDED_LAST,
    CASE_RESIZED,
    CASE_GLOBAL,
    CASE_DETAIL,
    CASE_VOLUME_LINE,
    CASE_VOLUME_GRID,
    CASE_RUNS_LINE,
    CASE_RUNS_GRID,
    CASE_DEPTH_ONE,
    CASES
};

static int32_t slices_of(int which)
{
    static const int32_t slices[CASES] = {1, 1, 2, 1, 2, 5, 4, 5, 5, 1};
    return slices[which];
}

static void set_depth(msa_config *c, int which)
{
    if (which < CASE_VOLUME_LINE) return;
    const bool runs = which == CASE_RUNS_LINE || which == CASE_RUNS_GRID;
    const bool line = which == CASE_VOLUME_LINE || which == CASE_RUNS_LINE || which == CASE_DEPTH_ONE;
    c->depth_grouping = runs ? MSA_DEPTH_RUNS : MSA_DEPTH_VOLUME;
    c->depth_fold = line ? MSA_DEPTH_LINE : MSA_DEPTH_GRID;
    c->depth_chunk = which == CASE_RUNS_GRID ? 3 : 0;
}

static msa_config config_of(int which)
{
    msa_config c = fixture_config();
    if (which == CASE_PADDED_LAST) {
        c.pad_order = MSA_NORM_THEN_PAD;
        c.adapters = false;
    }
    if (which == CASE_GLOBAL) {
        c.window = 0;
        c.n_global = 0;
        c.adapter_act = MSA_ACT_RELU;
        c.adapter_mlp_scale = 0.75f;
    }
    if (which == CASE_DETAIL || which == CASE_RUNS_LINE) c.detail = 8;
    set_depth(&c, which);
    return c;
}

static msa_model *model_of(void **state, int which)
{
    const msa_config c = config_of(which);
    msa_config stored = c;
    msa_model *m = NULL;
    msa_error err = {0};
    if (which == CASE_RESIZED) stored.image_size = 96;
    const char *path = fixture_path(state, "m");
    if (msa_model_write_random(path, &stored, 7 + (uint64_t)which, &err) != MSA_OK) fail_msg("%s", err.what);
    if (msa_model_open(&m, path, "", &c, &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static msa_params *params_of(const msa_model *m, msa_train_set set)
{
    msa_params *p = NULL;
    msa_error err = {0};
    if (msa_params_new(&p, msa_model_config(m), msa_model_weights(m), set, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return p;
}

static msa_encoder_pass *pass_of(msa_params *p, int32_t slices, bool recompute)
{
    msa_encoder_pass *pass = NULL;
    assert_int_equal(msa_encoder_pass_new_stack(&pass, p, slices, recompute, NULL), MSA_OK);
    return pass;
}

/* The loss is over as many slices as the pass fills; the others' embeddings stay zero. */
static double loss_of(msa_encoder_pass *pass)
{
    static float embedding[EMBEDDING];
    double sum = 0.0;
    msa_error err = {0};
    memset(embedding, 0, sizeof embedding);
    if (msa_encoder_pass_forward(pass, image, embedding, &err) != MSA_OK) fail_msg("%s", err.what);
    for (int i = 0; i < EMBEDDING; i++)
        sum += (double)embedding[i] * (double)weight_of[i];
    return sum;
}

static void gradients(msa_params *p, int which, bool recompute)
{
    MSA_AUTO(msa_encoder_pass) pass = pass_of(p, slices_of(which), recompute);
    msa_params_zero_grads(p);
    (void)loss_of(pass);
    msa_encoder_pass_backward(pass, weight_of);
}

static bool of_encoder(const msa_param *q)
{
    return strncmp(q->name, "image_encoder.", 14) == 0;
}

/* ---- forward ---- */

static void test_forward(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) m = model_of(state, which);
        MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
        MSA_AUTO(msa_predictor) predictor = NULL;
        static float wanted[EMBEDDING], got[EMBEDDING];
        const int32_t slices = slices_of(which);
        assert_int_equal(msa_predictor_new_stack(&predictor, m, STACK, NULL), MSA_OK);
        assert_int_equal(msa_predictor_encode_stack(predictor, slices, image, wanted, NULL), MSA_OK);
        for (int recompute = 0; recompute < 2; recompute++) {
            MSA_AUTO(msa_encoder_pass) pass = pass_of(all, slices, recompute != 0);
            assert_int_equal(msa_encoder_pass_forward(pass, image, got, NULL), MSA_OK);
            for (int i = 0; i < EMBEDDING / STACK * slices; i++)
                if (!(fabsf(wanted[i] - got[i]) <= 1e-5f))
                    fail_msg("case %d index %d: predictor %g, pass %g", which, i, (double)wanted[i],
                             (double)got[i]);
        }
    }
}

static void test_not_finite(void **state)
{
    MSA_AUTO(msa_model) m = model_of(state, CASE_PADDED_FIRST);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_encoder_pass) pass = pass_of(all, 1, false);
    static float embedding[EMBEDDING];
    msa_error err = {0};
    all->values[msa_params_find(all, "image_encoder.blocks.1.mlp.lin2.bias")->offset] = NAN;
    assert_int_equal(msa_encoder_pass_forward(pass, image, embedding, &err), MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "block 1"));
}

/* ---- gradients ---- */

static uint64_t coin;

static float sign(void)
{
    coin = coin * 6364136223846793005ull + 1442695040888963407ull;
    return (coin >> 63) != 0 ? 1.0f : -1.0f;
}

/*
 * All values of a tensor are moved at once, each up or down by the same step: the loss must change by the
 * gradient's part along that direction. In float the steps cannot be small; two of them, extrapolated, leave
 * an error of the fifth order.
 */
static double slope_along(msa_encoder_pass *pass, float *value, int64_t n, const float *direction,
                          double step)
{
    double difference[2];
    float *kept = malloc((size_t)n * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, value, (size_t)n * sizeof *kept);
    for (int s = 0; s < 2; s++) {
        const double h = step * (s + 1);
        for (int64_t i = 0; i < n; i++)
            value[i] = (float)((double)kept[i] + h * (double)direction[i]);
        const double above = loss_of(pass);
        for (int64_t i = 0; i < n; i++)
            value[i] = (float)((double)kept[i] - h * (double)direction[i]);
        difference[s] = (above - loss_of(pass)) / (2.0 * h);
    }
    memcpy(value, kept, (size_t)n * sizeof *kept);
    free(kept);
    return (4.0 * difference[0] - difference[1]) / 3.0;
}

static void check_tensor(msa_params *p, msa_encoder_pass *pass, const msa_param *q)
{
    const float *g = p->grads + q->offset;
    float *direction = malloc((size_t)q->numel * sizeof *direction);
    assert_non_null(direction);
    double norm = 0.0;
    int64_t top = 0;
    for (int64_t i = 0; i < q->numel; i++) {
        norm += (double)g[i] * (double)g[i];
        if (fabsf(g[i]) > fabsf(g[top])) top = i;
    }
    norm = sqrt(norm);
    if (!(norm > 1e-3)) fail_msg("%s: gradient of size %g", q->name, norm);
    for (int round = 0; round < 3; round++) {
        double along = 0.0, length = (double)q->numel;
        for (int64_t i = 0; i < q->numel; i++) {
            direction[i] = round < 2 ? sign() : i == top ? 1.0f : 0.0f;
            along += (double)direction[i] * (double)g[i];
        }
        if (round == 2) length = 1.0;
        const double step = 0.02 / sqrt(length);
        const double got = slope_along(pass, p->values + q->offset, q->numel, direction, step);
        const double tolerance = 0.004 * norm + 2e-5 / step;
        if (!(fabs(got - along) <= tolerance))
            fail_msg("%s: direction %d: loss changes by %g, gradient says %g, tolerance %.2g", q->name, round,
                     got, along, tolerance);
    }
    free(direction);
}

/*
 * A step that crosses a ReLU's kink is wrong by as much as the kink. Half of the hidden values are made
 * safely positive, half safely negative; GELU's slope would be off by 8 % there.
 */
static void leave_kinks(msa_params *p)
{
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        float *value = p->values + q->offset;
        if (strstr(q->name, "D_fc1.weight") != NULL)
            for (int64_t k = 0; k < q->numel; k++)
                value[k] *= 0.1f;
        if (strstr(q->name, "D_fc1.bias") != NULL)
            for (int64_t k = 0; k < q->numel; k++)
                value[k] = k % 2 == 0 ? 1.0f : -1.0f;
    }
}

static void test_gradients(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) m = model_of(state, which);
        MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
        MSA_AUTO(msa_encoder_pass) pass = pass_of(all, slices_of(which), false);
        if (all->config.adapter_act == MSA_ACT_RELU) leave_kinks(all);
        gradients(all, which, false);
        for (int32_t i = 0; i < all->n_list; i++)
            if (of_encoder(&all->list[i])) check_tensor(all, pass, &all->list[i]);
    }
}

/* A second image's gradients are added to the first's. */
static void test_sum(void **state)
{
    MSA_AUTO(msa_model) m = model_of(state, CASE_RESIZED);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_encoder_pass) pass = pass_of(all, slices_of(CASE_RESIZED), false);
    gradients(all, CASE_RESIZED, false);
    float *once = malloc((size_t)all->n_trained * sizeof *once);
    assert_non_null(once);
    memcpy(once, all->grads, (size_t)all->n_trained * sizeof *once);
    (void)loss_of(pass);
    msa_encoder_pass_backward(pass, weight_of);
    for (int64_t i = 0; i < all->n_trained; i++)
        assert_true(fabsf(all->grads[i] - 2.0f * once[i]) <= 1e-4f * (1.0f + fabsf(once[i])));
    free(once);
}

/* ---- the same bits ---- */

static void same_gradients(const msa_params *a, const msa_params *b)
{
    for (int32_t i = 0; i < a->n_list; i++) {
        const msa_param *p = &a->list[i], *q = &b->list[i];
        assert_string_equal(p->name, q->name);
        if (!p->trains || !q->trains || !of_encoder(p)) continue;
        if (memcmp(a->grads + p->offset, b->grads + q->offset, (size_t)p->numel * sizeof(float)) != 0)
            fail_msg("%s: gradients differ in bits", p->name);
    }
}

static void test_bits(void **state)
{
    for (int which = 0; which < CASES; which++) {
        MSA_AUTO(msa_model) m = model_of(state, which);
        MSA_AUTO(msa_params) one = params_of(m, MSA_TRAIN_ALL);
        MSA_AUTO(msa_params) other = params_of(m, MSA_TRAIN_ALL);
        gradients(one, which, false);
        gradients(other, which, true);
        same_gradients(one, other);
        for (int threads = 1; threads <= 5; threads += 2) {
            msa_threads_set(threads);
            gradients(other, which, threads == 3);
            same_gradients(one, other);
        }
        msa_threads_set(2);
        if (!config_of(which).adapters) continue;
        MSA_AUTO(msa_params) adapters = params_of(m, MSA_TRAIN_ADAPTERS);
        gradients(adapters, which, false);
        same_gradients(one, adapters);
        gradients(adapters, which, true);
        same_gradients(one, adapters);
    }
}

static void test_recompute_is_smaller(void **state)
{
    MSA_AUTO(msa_model) m = model_of(state, CASE_PADDED_FIRST);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) adapters = params_of(m, MSA_TRAIN_ADAPTERS);
    MSA_AUTO(msa_encoder_pass) kept = pass_of(all, 1, false);
    MSA_AUTO(msa_encoder_pass) again = pass_of(all, 1, true);
    MSA_AUTO(msa_encoder_pass) frozen = pass_of(adapters, 1, false);
    assert_true(msa_encoder_pass_bytes(again) < msa_encoder_pass_bytes(kept));
    assert_true(msa_encoder_pass_bytes(frozen) < msa_encoder_pass_bytes(kept));
}

/* ---- only some tensors train ---- */

typedef struct rebind {
    msa_params *p;
    const float *before; /* the values in their old order */
    int32_t next;
} rebind;

static msa_status rebind_one(void *ctx, const msa_weight_spec *spec, msa_error *err)
{
    (void)err;
    rebind *r = ctx;
    if (spec->optional) {
        *spec->to = NULL;
        return MSA_OK;
    }
    const msa_param *q = &r->p->list[r->next++];
    for (int32_t i = 0, n = 0; i < spec->rank; i++)
        if ((spec->free_axes >> i & 1u) != 0) *spec->size[n++] = (int32_t)q->shape[i];
    *spec->to = r->p->values + q->offset;
    return MSA_OK;
}

/* Trains the tensors alone whose names hold `part`. */
static void train_only(msa_params *p, const char *part)
{
    float *before = malloc((size_t)p->n_values * sizeof *before);
    int64_t at = 0;
    assert_non_null(before);
    memcpy(before, p->values, (size_t)p->n_values * sizeof *before);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < p->n_list; i++) {
            msa_param *q = &p->list[i];
            q->trains = strstr(q->name, part) != NULL;
            if (q->trains != (pass == 0)) continue;
            const msa_param old = *q;
            q->offset = -1 - at; /* read below: the old places are still needed */
            memcpy(p->values + at, before + old.offset, (size_t)q->numel * sizeof *before);
            at += (q->numel + 15) / 16 * 16;
        }
        if (pass == 0) p->n_trained = at;
    }
    for (int32_t i = 0; i < p->n_list; i++)
        p->list[i].offset = -1 - p->list[i].offset;
    rebind r = {p, before, 0};
    assert_int_equal(msa_weights_walk(&p->config, &p->weights, true, rebind_one, &r, NULL), MSA_OK);
    free(before);
}

/* What trains alone has the gradients that it has among all, and nothing else has any. */
static void one_trains(void **state, int which, const char *part)
{
    MSA_AUTO(msa_model) m = model_of(state, which);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    gradients(all, which, false);
    for (int recompute = 0; recompute < 2; recompute++) {
        MSA_AUTO(msa_params) some = params_of(m, MSA_TRAIN_ALL);
        const int64_t room = some->n_trained;
        train_only(some, part);
        assert_true(some->n_trained > 0 && some->n_trained < room / 2);
        gradients(some, which, recompute != 0);
        same_gradients(all, some);
        for (int64_t k = some->n_trained; k < room; k++)
            assert_true(some->grads[k] == 0.0f);
    }
}

static void test_frozen(void **state)
{
    static const char *const parts[] = {"blocks.2.MLP_Adapter.D_fc2",
                                        "blocks.2.Space_Adapter.D_fc1.weight",
                                        "blocks.1.attn.rel_pos_w",
                                        "blocks.1.Space_Adapter",
                                        "blocks.2.norm1.bias",
                                        "blocks.0.mlp.lin2.weight",
                                        "blocks.2.attn.qkv.weight",
                                        "blocks.1.attn.proj.weight",
                                        "blocks.2.norm2.weight",
                                        "neck.0.weight",
                                        "neck.2",
                                        "neck.3.bias",
                                        "patch_embed.proj.weight",
                                        "pos_embed",
                                        "blocks.0.attn.rel_pos_h"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        one_trains(state, CASE_RESIZED, parts[i]);
}

static void test_frozen_detail(void **state)
{
    static const char *const parts[] = {"detail.0.enter.weight", "detail.0.leave", "detail.1.mix.bias",
                                        "detail.1.enter",        "detail.2.leave", "detail."};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        one_trains(state, CASE_DETAIL, parts[i]);
}

static void test_frozen_depth(void **state)
{
    static const char *const parts[] = {"blocks.0.Depth_Adapter.D_fc1.weight",
                                        "blocks.1.Depth_Adapter.D_fc2",
                                        "blocks.2.Depth_Adapter",
                                        "blocks.0.attn.proj.weight",
                                        "blocks.1.attn.qkv.bias",
                                        "blocks.1.attn.rel_pos_h",
                                        "blocks.2.attn.rel_pos_w",
                                        "blocks.0.norm1",
                                        "blocks.1.Space_Adapter"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        one_trains(state, CASE_RUNS_GRID, parts[i]);
}

/* Nothing of the encoder trains: backward returns at once, whatever it is given. */
static void test_all_frozen(void **state)
{
    MSA_AUTO(msa_model) m = model_of(state, CASE_PADDED_FIRST);
    MSA_AUTO(msa_params) some = params_of(m, MSA_TRAIN_ALL);
    train_only(some, "mask_decoder.iou_token");
    gradients(some, CASE_PADDED_FIRST, false);
    for (int64_t k = 0; k < some->n_trained; k++)
        assert_true(some->grads[k] == 0.0f);
}

static void test_stack_limits(void **state)
{
    MSA_AUTO(msa_model) m = model_of(state, CASE_VOLUME_LINE);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_predictor) two = NULL;
    static float embedding[EMBEDDING];
    msa_error err = {0};
    msa_predictor *p = NULL;
    msa_encoder_pass *pass = NULL;
    assert_int_equal(msa_predictor_new_stack(&p, m, 0, NULL), MSA_E_INVALID);
    assert_int_equal(msa_predictor_new_stack(&p, m, MSA_STACK_MAX + 1, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "257"));
    assert_int_equal(msa_encoder_pass_new_stack(&pass, all, 0, false, NULL), MSA_E_INVALID);
    assert_int_equal(msa_predictor_new_stack(&two, m, 2, NULL), MSA_OK);
    err = (msa_error){0};
    assert_int_equal(msa_predictor_encode_stack(two, 3, image, embedding, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "1 to 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),       cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_gradients),     cmocka_unit_test(test_sum),
        cmocka_unit_test(test_bits),          cmocka_unit_test(test_recompute_is_smaller),
        cmocka_unit_test(test_frozen),        cmocka_unit_test(test_frozen_depth),
        cmocka_unit_test(test_frozen_detail), cmocka_unit_test(test_all_frozen),
        cmocka_unit_test(test_stack_limits),
    };
    msa_threads_set(2);
    fixture_fill(image, IMAGE, 3, 1.5f);
    fixture_fill(weight_of, EMBEDDING, 4, 1.0f);
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
