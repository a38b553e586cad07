/* The decoder's training pass as a whole: the predictor's numbers, gradients against central differences of
 * the same decoder in double, nothing for what is frozen, and bits that do not depend on threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/sam/internal.h"
#include "engine/train/passes.h"
#include "tests/unit/engine/cm.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/train/central.h"
#include "tests/unit/train/decoder_double.h"

#define SAMPLES 16   /* values looked at of each tensor */
#define NEARLY  2e-4 /* of the largest difference quotient of the tensor */

enum {
    G = 3,
    P_DIM = 16,
    M_TOKENS = 3,
    PIXELS = 16 * G * G,
    LOGITS = M_TOKENS * PIXELS,
    PLANES = P_DIM * G * G,            /* an embedding without detail */
    LEVEL0 = PIXELS * (P_DIM / 8),     /* what lies behind it, */
    LEVEL1 = PIXELS / 4 * (P_DIM / 4), /* in this order */
    EMBED = PLANES + LEVEL0 + LEVEL1
};

static float embedding[EMBED], logits_factor[LOGITS], iou_factor[M_TOKENS];

/* ---- the cases ---- */

static const struct model_case {
    msa_decoder_wiring wiring;
    msa_decoder_adapters where;
    msa_decoder_adapter_mode mode;
    msa_activation act;
    int32_t detail;
} models[] = {
    {MSA_WIRING_SAM, MSA_DECODER_ADAPTERS_NONE, MSA_ADAPTER_ADD, MSA_ACT_GELU, 0},
    {MSA_WIRING_ESAM, MSA_DECODER_ADAPTERS_NONE, MSA_ADAPTER_ADD, MSA_ACT_GELU, 0},
    {MSA_WIRING_SAM, MSA_DECODER_ADAPTERS_ALL, MSA_ADAPTER_HYPER, MSA_ACT_GELU, 0},
    {MSA_WIRING_ESAM, MSA_DECODER_ADAPTERS_ALL, MSA_ADAPTER_ADD, MSA_ACT_RELU, 0},
    {MSA_WIRING_ESAM, MSA_DECODER_ADAPTERS_FIRST, MSA_ADAPTER_HYPER, MSA_ACT_RELU, 0},
    {MSA_WIRING_SAM, MSA_DECODER_ADAPTERS_NONE, MSA_ADAPTER_ADD, MSA_ACT_GELU, 4},
};
enum { MODELS = sizeof models / sizeof models[0], DETAILED = MODELS - 1, PROMPTS = 6, WITH_ALL_LABELS = 1 };

static float points[10], labels[5] = {1.0f, 0.0f, -1.0f, 2.0f, 3.0f}, box[4] = {3.0f, 4.0f, 17.5f, 20.0f},
                         mask[PIXELS];

static msa_prompt_set prompt_of(int which)
{
    const msa_prompt_set two = {.points = points, .labels = labels, .n_points = 2};
    msa_prompt_set p = {0};
    switch (which) {
    case 0:
        p.box = box;
        break;
    case WITH_ALL_LABELS:
        p = two;
        p.n_points = 5;
        break;
    case 2:
        p = two;
        p.box = box;
        break;
    case 3:
        p.mask = mask;
        break;
    case 4:
        p = two;
        p.mask = mask;
        break;
    default: /* none */
        break;
    }
    return p;
}

static msa_config config_of(const struct model_case *k)
{
    return (msa_config){.image_size = 8 * G,
                        .patch = 8,
                        .dim = 8,
                        .depth = 1,
                        .heads = 1,
                        .mlp_dim = 8,
                        .prompt_dim = P_DIM,
                        .decoder_depth = 3,
                        .decoder_heads = 2,
                        .decoder_mlp_dim = 12,
                        .iou_hidden = 6,
                        .mask_tokens = M_TOKENS,
                        .adapters = true,
                        .adapter_mlp_scale = 0.5f,
                        .decoder_adapters = k->where,
                        .decoder_adapter_mode = k->mode,
                        .decoder_adapter_act = k->act,
                        .decoder_wiring = k->wiring,
                        .detail = k->detail};
}

static msa_model *model_of(void **state, const msa_config *c)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    const char *path = fixture_path(state, "m");
    if (msa_model_write_random(path, c, 11, &err) != MSA_OK) fail_msg("%s", err.what);
    if (msa_model_load(&m, path, &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static msa_params *params_of(const msa_model *m, msa_train_set set)
{
    msa_params *p = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_params_new(&p, msa_model_config(m), msa_model_weights(m), set, &err) != MSA_OK)
        fail_msg("%s", err.what);
    return p;
}

/* A forward and, unless dembedding is NULL, a backward of a new pass. */
static void run_pass(msa_params *p, bool prompt_grads, const msa_prompt_set *prompt, float *logits,
                     float *iou, float *dembedding)
{
    MSA_AUTO(msa_decoder_pass) pass = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_decoder_pass_new(&pass, p, prompt_grads, &err), MSA_OK);
    if (msa_decoder_pass_forward(pass, embedding, prompt, logits, iou, &err) != MSA_OK)
        fail_msg("%s", err.what);
    if (dembedding != NULL) msa_decoder_pass_backward(pass, logits_factor, iou_factor, dembedding);
}

static bool of_encoder(const msa_param *q)
{
    return strncmp(q->name, "image_encoder.", 14) == 0;
}

static bool of_prompt(const msa_param *q)
{
    return strncmp(q->name, "prompt_encoder.", 15) == 0;
}

/* ---- forward ---- */

static void compare(const char *what, int which, int prompt, int64_t n, const float *got, const float *wanted,
                    const double *doubled)
{
    for (int64_t i = 0; i < n; i++) {
        if (!(fabsf(wanted[i] - got[i]) <= 5e-6f)) /* they sum in different orders */
            fail_msg("model %d, prompt %d: %s %d: predictor %.8g, pass %.8g", which, prompt, what, (int)i,
                     (double)wanted[i], (double)got[i]);
        if (!(fabs(doubled[i] - (double)got[i]) <= 2e-5))
            fail_msg("model %d, prompt %d: %s %d: in double %.8g, pass %.8g", which, prompt, what, (int)i,
                     doubled[i], (double)got[i]);
        if (!(fabs(doubled[i] - (double)wanted[i]) <= 2e-5))
            fail_msg("model %d, prompt %d: %s %d: in double %.8g, predictor %.8g", which, prompt, what,
                     (int)i, doubled[i], (double)wanted[i]);
    }
}

static void equals_the_predictor(void **state)
{
    for (int which = 0; which < MODELS; which++) {
        const msa_config c = config_of(&models[which]);
        MSA_AUTO(msa_model) m = model_of(state, &c);
        MSA_AUTO(msa_predictor) predictor = NULL;
        MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
        assert_int_equal(msa_predictor_new(&predictor, m, NULL), MSA_OK);
        for (int i = 0; i < 2 * PROMPTS; i++) {
            const msa_prompt_set prompt = prompt_of(i / 2);
            float wanted[LOGITS], got[LOGITS], wanted_iou[M_TOKENS], got_iou[M_TOKENS];
            decoder_double d = decoder_double_new(all, embedding, &prompt, logits_factor, iou_factor);
            (void)decoder_double_value(&d);
            assert_int_equal(msa_predictor_decode(predictor, embedding, &prompt, wanted, wanted_iou, NULL),
                             MSA_OK);
            run_pass(all, i % 2 == 0, &prompt, got, got_iou, NULL);
            compare("logit", which, i / 2, LOGITS, got, wanted, d.logits);
            compare("iou", which, i / 2, M_TOKENS, got_iou, wanted_iou, d.iou);
            decoder_double_free(&d);
        }
    }
}

/* ---- gradients ---- */

static bool all_zero(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* Some of the values, the one with the largest gradient among them: behind a ReLU most have none. */
static void check_sampled(decoder_double *d, const msa_param *q, const float *grad)
{
    const int64_t stride = q->numel / SAMPLES | 1;
    int64_t largest = 0;
    for (int64_t i = 1; i < q->numel; i++)
        if (fabsf(grad[i]) > fabsf(grad[largest])) largest = i;
    const int64_t first = largest % stride;
    central_check(q->name, decoder_double_value, d, d->values + q->offset + first, q->numel - first,
                  grad + first, stride, NEARLY);
}

/* A parameter without gradient must be one that the value does not depend on. */
static void check_unused(decoder_double *d, const msa_param *q)
{
    const double before = decoder_double_value(d);
    for (int64_t i = 0; i < q->numel; i++)
        d->values[q->offset + i] += 0.25;
    const double after = decoder_double_value(d);
    for (int64_t i = 0; i < q->numel; i++)
        d->values[q->offset + i] -= 0.25;
    if (before != after) fail_msg("%s has no gradient, but the value depends on it", q->name);
}

/* Softmax does not see a bias of the keys: its gradient is rounding. */
static void check_invariant(const msa_param *q, const float *grad)
{
    for (int64_t i = 0; i < q->numel; i++)
        if (!(fabsf(grad[i]) <= 1e-4f))
            fail_msg("%s: index %d is %g, not nearly zero", q->name, (int)i, (double)grad[i]);
}

/* Part by part, since a tolerance is of a part's largest gradient; a detail that is not there has none. */
static void check_embedding(decoder_double *d, const float *dembedding)
{
    static const struct part {
        const char *name;
        int64_t first, n;
    } parts[] = {{"embedding", 0, PLANES},
                 {"detail, level 0", PLANES, LEVEL0},
                 {"detail, level 1", PLANES + LEVEL0, LEVEL1}};
    const int32_t there = d->p->config.detail > 0 ? 3 : 1;
    for (int32_t i = 0; i < there; i++)
        central_check(parts[i].name, decoder_double_value, d, d->embedding + parts[i].first, parts[i].n,
                      dembedding + parts[i].first, 5, NEARLY);
    for (int64_t i = (int64_t)msa_embedding_floats(&d->p->config); i < EMBED; i++)
        assert_true(dembedding[i] == 0.0f);
}

/* Marks in seen (n_list) what had a gradient. */
static void check_gradients(msa_params *p, const msa_prompt_set *prompt, bool *seen)
{
    float logits[LOGITS], iou[M_TOKENS], dembedding[EMBED] = {0};
    decoder_double d = decoder_double_new(p, embedding, prompt, logits_factor, iou_factor);
    msa_params_zero_grads(p);
    run_pass(p, true, prompt, logits, iou, dembedding);
    check_embedding(&d, dembedding);
    for (int32_t i = 0; i < p->n_list; i++) {
        const msa_param *q = &p->list[i];
        const float *grad = p->grads + q->offset;
        if (!q->trains || of_encoder(q)) continue;
        if (strstr(q->name, "k_proj.bias") != NULL) {
            check_invariant(q, grad);
        } else if (all_zero(grad, q->numel)) {
            check_unused(&d, q);
            continue;
        } else {
            check_sampled(&d, q, grad);
        }
        seen[i] = true;
    }
    decoder_double_free(&d);
}

static void gradients_are_right(void **state)
{
    for (int which = 0; which < MODELS; which++) {
        const msa_config c = config_of(&models[which]);
        MSA_AUTO(msa_model) m = model_of(state, &c);
        MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
        bool seen[600] = {false};
        assert_true(all->n_list <= 600);
        for (int i = 0; i < PROMPTS; i++) {
            const msa_prompt_set prompt = prompt_of(i);
            /* Adapters make no difference to what comes before them: two prompts are enough there. */
            if (which < 2 || i == WITH_ALL_LABELS || i == 3) check_gradients(all, &prompt, seen);
        }
        for (int32_t i = 0; i < all->n_list; i++) {
            const msa_param *q = &all->list[i];
            const bool unused = which >= 2 && strstr(q->name, "no_mask") != NULL;
            if (q->trains && !of_encoder(q) && !seen[i] && !unused) fail_msg("%s was never checked", q->name);
        }
    }
}

/* ---- what is frozen, what is added ---- */

/* Where both sets train it, the gradient has the same bits; `without_prompt`: there it must be zero. */
static void compare_grads(const msa_params *all, const msa_params *some, bool without_prompt)
{
    for (int32_t i = 0; i < some->n_list; i++) {
        const msa_param *q = &some->list[i];
        const msa_param *twin_of = msa_params_find(all, q->name);
        if (!q->trains || of_encoder(q)) continue;
        assert_non_null(twin_of);
        const float *got = some->grads + q->offset, *wanted = all->grads + twin_of->offset;
        if (without_prompt && of_prompt(q))
            assert_true(all_zero(got, q->numel));
        else
            assert_memory_equal(got, wanted, (size_t)q->numel * sizeof *got);
    }
}

static void frozen_gets_nothing(void **state)
{
    const msa_config c = config_of(&models[2]);
    MSA_AUTO(msa_model) m = model_of(state, &c);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) again = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) decoder = params_of(m, MSA_TRAIN_ADAPTERS_DECODER);
    MSA_AUTO(msa_params) adapters = params_of(m, MSA_TRAIN_ADAPTERS);
    for (int i = 0; i < PROMPTS; i++) {
        const msa_prompt_set prompt = prompt_of(i);
        float logits[LOGITS], iou[M_TOKENS], d[4][EMBED] = {{0}};
        msa_params *const sets[4] = {all, again, decoder, adapters};
        for (int k = 0; k < 4; k++) {
            msa_params_zero_grads(sets[k]);
            run_pass(sets[k], k != 1, &prompt, logits, iou, d[k]);
            assert_memory_equal(d[0], d[k], sizeof d[0]);
        }
        compare_grads(all, again, true);
        compare_grads(all, decoder, false);
        compare_grads(all, adapters, false);
    }
}

static void stops_where_nothing_trains(void **state)
{
    const msa_config with = config_of(&models[4]), without = config_of(&models[DETAILED]);
    const msa_prompt_set prompt = prompt_of(4);
    for (int k = 0; k < 2; k++) { /* adapters in the first layer, or none at all */
        MSA_AUTO(msa_model) m = model_of(state, k == 0 ? &with : &without);
        MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
        MSA_AUTO(msa_params) adapters = params_of(m, MSA_TRAIN_ADAPTERS);
        MSA_AUTO(msa_decoder_pass) pass = NULL;
        float logits[LOGITS], iou[M_TOKENS], wanted[EMBED] = {0}, got[EMBED] = {0};
        run_pass(all, true, &prompt, logits, iou, wanted);
        run_pass(adapters, true, &prompt, logits, iou, got);
        assert_memory_equal(wanted, got, sizeof got);
        compare_grads(all, adapters, false);
        /* The same without the embedding's gradient, which lets the pass end sooner. */
        msa_params_zero_grads(adapters);
        assert_int_equal(msa_decoder_pass_new(&pass, adapters, true, NULL), MSA_OK);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &prompt, logits, iou, NULL), MSA_OK);
        msa_decoder_pass_backward(pass, logits_factor, iou_factor, NULL);
        compare_grads(all, adapters, false);
    }
}

static void gradients_add_up(void **state)
{
    msa_config c = config_of(&models[3]);
    const msa_prompt_set prompt = prompt_of(4);
    c.detail = 4;
    MSA_AUTO(msa_model) m = model_of(state, &c);
    MSA_AUTO(msa_params) once = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) twice = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_decoder_pass) pass = NULL;
    float logits[LOGITS], iou[M_TOKENS], d1[EMBED] = {0}, d2[EMBED] = {0};
    run_pass(once, true, &prompt, logits, iou, d1);
    assert_int_equal(msa_decoder_pass_new(&pass, twice, true, NULL), MSA_OK);
    for (int i = 0; i < 2; i++) {
        const msa_prompt_set other = prompt_of(WITH_ALL_LABELS); /* leaves nothing behind */
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &other, logits, iou, NULL), MSA_OK);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &prompt, logits, iou, NULL), MSA_OK);
        msa_decoder_pass_backward(pass, logits_factor, iou_factor, d2);
    }
    for (int i = 0; i < EMBED; i++)
        assert_true(fabsf(d2[i] - 2.0f * d1[i]) <= 1e-6f);
    for (int64_t i = 0; i < once->n_trained; i++)
        if (!(fabsf(twice->grads[i] - 2.0f * once->grads[i]) <= 1e-4f * (fabsf(once->grads[i]) + 0.1f)))
            fail_msg("gradient %d: %g, not twice %g", (int)i, (double)twice->grads[i],
                     (double)once->grads[i]);
}

/* Without a gradient for the predicted IoU its head learns nothing, and the rest is as if it were zero. */
static void iou_may_be_left_out(void **state)
{
    const msa_config c = config_of(&models[0]);
    const msa_prompt_set prompt = prompt_of(0);
    const float none[M_TOKENS] = {0};
    float logits[LOGITS], iou[M_TOKENS], d[2][EMBED] = {{0}};
    MSA_AUTO(msa_model) m = model_of(state, &c);
    MSA_AUTO(msa_params) zero = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) null = params_of(m, MSA_TRAIN_ALL);
    msa_params *const sets[2] = {zero, null};
    for (int i = 0; i < 2; i++) {
        MSA_AUTO(msa_decoder_pass) pass = NULL;
        assert_int_equal(msa_decoder_pass_new(&pass, sets[i], true, NULL), MSA_OK);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &prompt, logits, iou, NULL), MSA_OK);
        msa_decoder_pass_backward(pass, logits_factor, i == 0 ? none : NULL, d[i]);
    }
    assert_memory_equal(d[0], d[1], sizeof d[0]);
    for (int64_t i = 0; i < zero->n_trained; i++)
        assert_true(zero->grads[i] == null->grads[i]);
    const msa_param *head = msa_params_find(null, "mask_decoder.iou_prediction_head.layers.2.weight");
    assert_true(all_zero(null->grads + head->offset, head->numel));
}

/* ---- threads ---- */

enum {
    WIDE_G = 28,
    WIDE_P = 64,
    WIDE_EMBED = 4 * WIDE_P * WIDE_G * WIDE_G, /* with detail */
    WIDE_LOGITS = 4 * 16 * WIDE_G * WIDE_G
};

typedef struct wide_result {
    float logits[WIDE_LOGITS], iou[4], dembedding[WIDE_EMBED];
} wide_result;

static void run_wide(msa_params *p, int threads, const msa_prompt_set *prompt, const float *wide_embedding,
                     const float *wide_factor, wide_result *r)
{
    MSA_AUTO(msa_decoder_pass) pass = NULL;
    msa_threads_set(threads);
    memset(r, 0, sizeof *r);
    assert_int_equal(msa_decoder_pass_new(&pass, p, true, NULL), MSA_OK);
    assert_int_equal(msa_decoder_pass_forward(pass, wide_embedding, prompt, r->logits, r->iou, NULL), MSA_OK);
    msa_decoder_pass_backward(pass, wide_factor, r->iou, r->dembedding);
    msa_threads_set(1);
}

static void threads_change_no_bit(void **state)
{
    static float wide_embedding[WIDE_EMBED], wide_factor[WIDE_LOGITS], wide_mask[16 * WIDE_G * WIDE_G];
    static wide_result one, two;
    msa_config c = config_of(&models[2]);
    c.image_size = 8 * WIDE_G;
    c.prompt_dim = WIDE_P;
    c.decoder_mlp_dim = 300;
    c.mask_tokens = 4;
    c.detail = 4;
    assert_int_equal(msa_embedding_floats(&c), WIDE_EMBED);
    fixture_fill(wide_embedding, WIDE_EMBED, 21, 1.0f);
    fixture_fill(wide_factor, WIDE_LOGITS, 22, 0.01f);
    fixture_fill(wide_mask, 16 * WIDE_G * WIDE_G, 23, 4.0f);
    const msa_prompt_set prompt = {
        .box = box, .mask = wide_mask, .points = points, .labels = labels, .n_points = 3};
    MSA_AUTO(msa_model) m = model_of(state, &c);
    MSA_AUTO(msa_params) p1 = params_of(m, MSA_TRAIN_ALL);
    MSA_AUTO(msa_params) p2 = params_of(m, MSA_TRAIN_ALL);
    run_wide(p1, 1, &prompt, wide_embedding, wide_factor, &one);
    run_wide(p2, 2, &prompt, wide_embedding, wide_factor, &two);
    assert_memory_equal(&one, &two, sizeof one);
    assert_memory_equal(p1->grads, p2->grads, (size_t)p1->n_trained * sizeof *p1->grads);
    assert_false(all_zero(one.dembedding, WIDE_EMBED));
}

/* ---- refusals ---- */

static void refuses_what_is_not_finite(void **state)
{
    const msa_config c = config_of(&models[0]);
    static const float bad_box[4] = {0.0f, 0.0f, NAN, 1.0f};
    float logits[LOGITS], iou[M_TOKENS], bad_mask[PIXELS] = {0};
    MSA_AUTO(msa_model) m = model_of(state, &c);
    MSA_AUTO(msa_params) all = params_of(m, MSA_TRAIN_ALL);
    bad_mask[7] = INFINITY;
    for (int k = 0; k < 2; k++) {
        const msa_prompt_set nan_box = {.box = bad_box}, inf_mask = {.mask = bad_mask}, none = {0};
        MSA_AUTO(msa_decoder_pass) pass = NULL;
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(msa_decoder_pass_new(&pass, all, k == 0, NULL), MSA_OK);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &nan_box, logits, iou, NULL),
                         MSA_E_INVALID);
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &inf_mask, logits, iou, NULL),
                         MSA_E_INVALID);
        const msa_param *q = msa_params_find(all, "mask_decoder.output_upscaling.3.bias");
        const float kept = all->values[q->offset];
        all->values[q->offset] = NAN;
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &none, logits, iou, &err), MSA_E_INTERNAL);
        assert_non_null(strstr(err.what, "up-scaling"));
        all->values[q->offset] = kept;
        assert_int_equal(msa_decoder_pass_forward(pass, embedding, &none, logits, iou, NULL), MSA_OK);
    }
}

static int prepare(void **state)
{
    fixture_fill(embedding, EMBED, 1, 1.0f);
    fixture_fill(logits_factor, LOGITS, 2, 0.3f);
    fixture_fill(iou_factor, M_TOKENS, 3, 1.0f);
    fixture_fill(mask, PIXELS, 4, 5.0f);
    fixture_fill(points, 10, 5, 11.0f);
    for (int i = 0; i < 10; i++)
        points[i] += 12.0f;
    return fixture_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_predictor),  cmocka_unit_test(gradients_are_right),
        cmocka_unit_test(frozen_gets_nothing),   cmocka_unit_test(stops_where_nothing_trains),
        cmocka_unit_test(gradients_add_up),      cmocka_unit_test(iou_may_be_left_out),
        cmocka_unit_test(threads_change_no_bit), cmocka_unit_test(refuses_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, prepare, fixture_remove);
}
