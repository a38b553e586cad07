/* EfficientSAM, MobileSAM and AdaLoRA: configuration, loading, what they refuse, the bits on more threads. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/io/config_json.h"
#include "engine/io/safetensors.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "engine/train/params.h"
#include "tests/unit/engine/fixture.h"

/* Stages on grids of 16, 8, 4 and 4: windows with padding, without, one that is the grid, one larger than it.
 */
static msa_config mobile_config(void)
{
    msa_config c = fixture_config();
    c.family = MSA_FAMILY_MOBILE_SAM;
    c.patch = 16;
    c.n_global = 0;
    const msa_config stages = {.stage_dims = {8, 12, 16, 24},
                               .stage_depths = {2, 1, 2, 1},
                               .stage_heads = {1, 2, 2, 3},
                               .stage_windows = {1, 4, 4, 5}};
    memcpy(c.stage_dims, stages.stage_dims, sizeof c.stage_dims);
    memcpy(c.stage_depths, stages.stage_depths, sizeof c.stage_depths);
    memcpy(c.stage_heads, stages.stage_heads, sizeof c.stage_heads);
    memcpy(c.stage_windows, stages.stage_windows, sizeof c.stage_windows);
    c.dim = 24;
    c.depth = 6;
    c.heads = 3;
    c.window = 5;
    c.mlp_dim = 48;
    return c;
}

static msa_model *load_random(void **state, const msa_config *c)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_write_random(fixture_path(state, "m"), c, 3, &err) != MSA_OK ||
        msa_model_load(&m, fixture_path(state, "m"), &err) != MSA_OK)
        fail_msg("%s", err.what);
    return m;
}

static float *made(int64_t n, uint64_t seed, float scale)
{
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    fixture_fill(x, n, seed, scale);
    return x;
}

/* ---- configuration ---- */

static void configurations_come_back(void **state)
{
    (void)state;
    const msa_config all[] = {fixture_efficient_config(), mobile_config()};
    for (size_t i = 0; i < 2; i++) {
        msa_config back;
        MSA_AUTO_FREE char *text = NULL;
        MSA_AUTO_FREE char *again = NULL;
        assert_int_equal(msa_config_print(&text, &all[i], NULL), MSA_OK);
        assert_int_equal(msa_config_parse(&back, text, NULL), MSA_OK);
        assert_int_equal(msa_config_print(&again, &back, NULL), MSA_OK);
        assert_string_equal(text, again);
        assert_int_equal(back.family, all[i].family);
        assert_memory_equal(back.stage_windows, all[i].stage_windows, sizeof back.stage_windows);
        assert_true(back.block_norm_eps == all[i].block_norm_eps);
    }
    MSA_AUTO_FREE char *plain = NULL; /* which says nothing of families */
    msa_config c = fixture_config();
    assert_int_equal(msa_config_print(&plain, &c, NULL), MSA_OK);
    assert_null(strstr(plain, "family"));
    assert_null(strstr(plain, "stage_"));
    assert_null(strstr(plain, "eps"));
    assert_null(strstr(plain, "adalora"));
}

static void refuse(msa_config c, const char *sentence)
{
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_config_check(&c, &err), MSA_E_UNSUPPORTED);
    if (strstr(err.what, sentence) == NULL) fail_msg("\"%s\" is not \"%s\"", err.what, sentence);
}

static void misfits_are_refused(void **state)
{
    (void)state;
    const msa_config mobile = mobile_config(), efficient = fixture_efficient_config();
    msa_config c = mobile;
    assert_int_equal(msa_config_check(&c, NULL), MSA_OK);
    c.stage_heads[2] = 0;
    refuse(c, "stage_heads are not all in 1..64");
    c.stage_heads[2] = 3;
    refuse(c, "not a multiple of its heads");
    c = mobile;
    c.stage_depths[0] = 1;
    refuse(c, "depth is not the sum of stage_depths");
    c = mobile;
    c.window = 4;
    refuse(c, "are not those of the last stage");
    c = mobile;
    c.stage_dims[0] = 7;
    refuse(c, "the first stage's width is odd");
    c = mobile;
    c.patch = 8;
    refuse(c, "a patch of 16");
    c = mobile;
    c.mlp_dim = 50;
    refuse(c, "mlp_dim is not a multiple of dim");
    c = mobile;
    c.pad_order = MSA_NORM_THEN_PAD;
    refuse(c, "pads before its norm");
    c = mobile;
    c.lora_rank = 2;
    c.lora_alpha = 1.0f;
    refuse(c, "no low-rank updates");
    c = efficient;
    c.decoder_wiring = MSA_WIRING_SAM;
    refuse(c, "decoder_wiring esam");
    c = efficient;
    c.box_as_mask = true;
    refuse(c, "takes no masks");
    c = efficient;
    c.block_norm_eps = 1.0f;
    refuse(c, "block_norm_eps is not in");
    c = efficient;
    c.adalora = true;
    refuse(c, "adalora needs a lora_rank");
}

static void stages_must_be_four_numbers(void **state)
{
    (void)state;
    const msa_config c = mobile_config();
    static const char *const bad[] = {"[8,12,16]", "[8,12,16,24,24]", "[8,12,16,\"24\"]", "8",
                                      "[8,12,16,1e9]"};
    MSA_AUTO_FREE char *text = NULL;
    assert_int_equal(msa_config_print(&text, &c, NULL), MSA_OK);
    char *at = strstr(text, "[8,12,16,24]");
    assert_non_null(at);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char changed[2048];
        msa_config back;
        msa_error err = MSA_ERROR_INIT;
        (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, bad[i], at + 12);
        assert_int_not_equal(msa_config_parse(&back, changed, &err), MSA_OK);
        assert_non_null(strstr(err.what, "stage_dims"));
    }
}

/* ---- the same bits ---- */

static void run_once(const msa_model *m, int threads, const float *image, float *embedding, float *logits,
                     float *iou)
{
    static const float box[4] = {9, 12, 40, 50}, points[4] = {20, 30, 44, 10}, labels[2] = {1, -1};
    const msa_prompt_set prompt = {.points = points, .labels = labels, .n_points = 2, .box = box};
    MSA_AUTO(msa_predictor) p = NULL;
    msa_error err = MSA_ERROR_INIT;
    msa_threads_set(threads);
    if (msa_predictor_new(&p, m, &err) != MSA_OK ||
        msa_predictor_encode(p, image, embedding, &err) != MSA_OK ||
        msa_predictor_decode(p, embedding, &prompt, logits, iou, &err) != MSA_OK)
        fail_msg("%s", err.what);
    msa_threads_set(1);
}

static void threads_do_not_matter(void **state)
{
    msa_config all[] = {fixture_efficient_config(), mobile_config(), mobile_config()};
    all[2].adapters = false;
    all[2].image_size = 208; /* 13 x 13 tokens: no window fits */
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const int64_t S = all[i].image_size, g = S / all[i].patch, n = 16 * g * g * 4;
        MSA_AUTO(msa_model) m = load_random(state, &all[i]);
        MSA_AUTO_FREE float *image = made(3 * S * S, 1, 2.0f);
        MSA_AUTO_FREE float *first = made(g * g * 32, 2, 1.0f), *second = made(g * g * 32, 3, 1.0f);
        MSA_AUTO_FREE float *logits = made(n, 4, 1.0f), *again = made(n, 5, 1.0f);
        float iou[2][4];
        run_once(m, 1, image, first, logits, iou[0]);
        run_once(m, 3, image, second, again, iou[1]);
        assert_memory_equal(first, second, (size_t)(g * g * 32) * sizeof *first);
        assert_memory_equal(logits, again, (size_t)n * sizeof *logits);
        assert_memory_equal(iou[0], iou[1], sizeof iou[0]);
        assert_true(fabsf(first[5] - first[6]) > 0.0f && fabsf(logits[5] - logits[6]) > 0.0f);
    }
}

/* ---- refusals ---- */

static void expect_decode(const msa_model *m, const msa_prompt_set *prompt, const char *sentence)
{
    MSA_AUTO(msa_predictor) p = NULL;
    MSA_AUTO_FREE float *embedding = made(8 * 8 * 32, 1, 1.0f), *logits = made(4 * 32 * 32, 2, 1.0f);
    float iou[4];
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
    const msa_status status = msa_predictor_decode(p, embedding, prompt, logits, iou, &err);
    assert_int_equal(status, sentence == NULL ? MSA_OK : MSA_E_INVALID);
    if (sentence != NULL && strstr(err.what, sentence) == NULL)
        fail_msg("\"%s\" is not \"%s\"", err.what, sentence);
}

static void efficientsam_takes_six_points(void **state)
{
    const msa_config c = fixture_efficient_config();
    MSA_AUTO(msa_model) m = load_random(state, &c);
    MSA_AUTO_FREE float *points = made(14, 1, 30.0f), *mask = made(32 * 32, 2, 1.0f);
    const float labels[7] = {1, 1, 1, 1, 1, 1, 1}, outside[2] = {1, 0}, box[4] = {1, 2, 3, 4};
    msa_prompt_set s = {.points = points, .labels = labels, .n_points = 6};
    expect_decode(m, &s, NULL);
    s.box = box;
    expect_decode(m, &s, "at most 6 points, a box counts for two");
    s.n_points = 4;
    expect_decode(m, &s, NULL);
    s = (msa_prompt_set){.points = points, .labels = labels, .n_points = 7};
    expect_decode(m, &s, "at most 6 points");
    s = (msa_prompt_set){.points = points, .labels = outside, .n_points = 2};
    expect_decode(m, &s, "no background points");
    s = (msa_prompt_set){.box = box, .mask = mask};
    expect_decode(m, &s, "no mask");
    expect_decode(m, &(msa_prompt_set){0}, NULL);
}

static void families_are_not_trained(void **state)
{
    const msa_config all[] = {fixture_efficient_config(), mobile_config()};
    static const char *const names[] = {"EfficientSAM models are used here, not trained",
                                        "MobileSAM models are used here, not trained"};
    for (size_t i = 0; i < 2; i++) {
        MSA_AUTO(msa_model) m = load_random(state, &all[i]);
        MSA_AUTO(msa_params) p = NULL;
        msa_error err = MSA_ERROR_INIT;
        assert_int_equal(msa_params_new(&p, &all[i], msa_model_weights(m), MSA_TRAIN_ADAPTERS, &err),
                         MSA_E_UNSUPPORTED);
        assert_string_equal(err.what, names[i]);
    }
}

static void a_stage_is_named(void **state)
{
    const msa_config c = mobile_config();
    MSA_AUTO(msa_predictor) p = NULL;
    MSA_AUTO_FREE float *image = made(3 * 64 * 64, 1, 1.0f), *embedding = made(4 * 4 * 32, 2, 1.0f);
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_model) good = load_random(state, &c);
    fixture_tamper(state, NULL, NULL, "image_encoder.layers.1.blocks.0.attn.proj.bias", 3e38f);
    MSA_AUTO(msa_model) m = NULL;
    assert_int_equal(msa_model_load(&m, fixture_path(state, "t"), NULL), MSA_OK);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_E_INTERNAL);
    assert_string_equal(err.what, "image encoder: stage 1 yields a non-finite value");
    msa_predictor_free(p);
    p = NULL;
    image[77] = NAN;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_predictor_new(&p, good, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, &err), MSA_E_INTERNAL);
    assert_non_null(strstr(err.what, "the input image holds a non-finite value"));
}

static void a_batch_norm_must_be_whole(void **state)
{
    const msa_config c = mobile_config();
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    msa_model_free(load_random(state, &c));
    fixture_tamper(state, "image_encoder.layers.0.downsample.conv2.bn.running_var", NULL, NULL, 0);
    assert_int_equal(msa_model_load(&m, fixture_path(state, "t"), &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "running_var is missing"));
}

/* ---- other forms of a file ---- */

/* Copies model "m" to "t": without relative positions, MLPs by their published names, positions of `rows`. */
static void as_published(void **state, int32_t rows)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO_FREE float *positions = made(rows * 32, 9, 1.0f);
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "m"), NULL), MSA_OK);
    msa_tensor list[400];
    char names[400][200];
    int32_t n = 0;
    for (int32_t i = 0; i < msa_safetensors_count(f) && n < 400; i++) {
        const msa_tensor *t = msa_safetensors_at(f, i);
        const char *part = strncmp(t->name, "image_encoder.", 14) == 0 ? strstr(t->name, "mlp.lin") : NULL;
        if (strstr(t->name, "rel_pos") != NULL) continue;
        list[n] = *t;
        if (part != NULL) {
            (void)snprintf(names[n], sizeof names[n], "%.*smlp.fc%s", (int)(part - t->name), t->name,
                           part + 7);
            list[n].name = names[n];
        }
        if (strcmp(t->name, "image_encoder.pos_embed") == 0)
            list[n] = (msa_tensor){.name = t->name,
                                   .data = positions,
                                   .rank = 3,
                                   .shape = {1, rows, 32},
                                   .count = 32 * (int64_t)rows};
        n++;
    }
    const msa_metadata metadata[] = {{"config", msa_safetensors_metadata(f, "config")}};
    assert_int_equal(msa_safetensors_write(fixture_path(state, "t"), list, n, metadata, 1, NULL, NULL, NULL),
                     MSA_OK);
}

static void published_files_of_efficientsam_load(void **state)
{
    const msa_config c = fixture_efficient_config();
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE float *image = made(3 * 64 * 64, 1, 2.0f), *embedding = made(8 * 8 * 32, 2, 1.0f),
                        *logits = made(4 * 32 * 32, 3, 1.0f);
    float iou[4];
    msa_model_free(load_random(state, &c));
    as_published(state, 1 + 5 * 5);
    if (msa_model_load(&m, fixture_path(state, "t"), &err) != MSA_OK) fail_msg("%s", err.what);
    assert_null(msa_model_weights(m)->encoder.blocks[0].rel_h);
    assert_int_equal(msa_model_weights(m)->encoder.pos_w, 5);
    run_once(m, 1, image, embedding, logits, iou);
    msa_model_free(m);
    m = NULL;
    as_published(state, 5 * 5);
    assert_int_equal(msa_model_load(&m, fixture_path(state, "t"), &err), MSA_E_PARSE);
    assert_string_equal(err.what, "pos_embed has 25 rows, not one more than a square");
}

/* The adapters of model "m" alone, as an adapter of a base with this hash, to "a". */
static void cut_adapter(void **state, const char *base_hash)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    msa_tensor list[200];
    int32_t n = 0;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "m"), NULL), MSA_OK);
    for (int32_t i = 0; i < msa_safetensors_count(f) && n < 200; i++)
        if (strstr(msa_safetensors_at(f, i)->name, "Adapter") != NULL) list[n++] = *msa_safetensors_at(f, i);
    const msa_metadata metadata[] = {{"kind", "msa adapter 1"},
                                     {"config", msa_safetensors_metadata(f, "config")},
                                     {"base_sha256", base_hash}};
    assert_int_equal(msa_safetensors_write(fixture_path(state, "a"), list, n, metadata, 3, NULL, NULL, NULL),
                     MSA_OK);
}

/* The same seed gives a base and a model with adapters the same weights: so base and adapters are that model.
 */
static void adapters_go_on_a_base(void **state)
{
    msa_config all[] = {fixture_efficient_config(), mobile_config()};
    for (size_t i = 0; i < 2; i++) {
        const int64_t g = all[i].image_size / all[i].patch, n = 16 * g * g * 4;
        MSA_AUTO_FREE float *image = made(3 * 64 * 64, 1, 2.0f);
        MSA_AUTO_FREE float *first = made(g * g * 32, 2, 1.0f), *second = made(g * g * 32, 3, 1.0f);
        MSA_AUTO_FREE float *logits = made(n, 4, 1.0f), *again = made(n, 5, 1.0f);
        float iou[4];
        msa_config plain = all[i];
        plain.adapters = false;
        MSA_AUTO(msa_model) base = load_random(state, &plain);
        MSA_AUTO(msa_model) whole = load_random(state, &all[i]);
        MSA_AUTO(msa_model) adapted = NULL;
        msa_error err = MSA_ERROR_INIT;
        cut_adapter(state, msa_model_hash(base));
        if (msa_model_adapt(&adapted, base, fixture_path(state, "a"), &err) != MSA_OK)
            fail_msg("%s", err.what);
        run_once(whole, 1, image, first, logits, iou);
        run_once(adapted, 1, image, second, again, iou);
        assert_memory_equal(first, second, (size_t)(g * g * 32) * sizeof *first);
        assert_memory_equal(logits, again, (size_t)n * sizeof *logits);
        run_once(base, 1, image, second, again, iou);
        assert_memory_not_equal(first, second, (size_t)(g * g * 32) * sizeof *first);
    }
}

/* Eight bits are near float32, and told apart by the hash. */
static void stages_come_in_eight_bits(void **state)
{
    const msa_config c = mobile_config();
    MSA_AUTO_FREE float *image = made(3 * 64 * 64, 1, 2.0f), *logits = made(4 * 256, 2, 1.0f);
    MSA_AUTO_FREE float *first = made(16 * 32, 2, 1.0f), *second = made(16 * 32, 3, 1.0f);
    float iou[4], worst = 0.0f;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_model) m = load_random(state, &c);
    run_once(m, 1, image, first, logits, iou);
    if (msa_model_set_precision(m, MSA_PRECISION_INT8, &err) != MSA_OK) fail_msg("%s", err.what);
    run_once(m, 1, image, second, logits, iou);
    for (int i = 0; i < 16 * 32; i++)
        worst = fmaxf(worst, fabsf(first[i] - second[i]));
    assert_true(worst > 0.0f && worst < 0.3f); /* values are around 1 */
}

/* Updates without weights of their ranks change nothing, and a merged model is a plain one. */
static void adalora_is_merged(void **state)
{
    msa_config c = fixture_config();
    c.adapters = false;
    c.lora_rank = 3;
    c.lora_alpha = 2.0f;
    c.adalora = true;
    MSA_AUTO(msa_model) m = load_random(state, &c);
    assert_int_equal(msa_model_config(m)->lora_rank, 0);
    assert_false(msa_model_config(m)->adalora);
    MSA_AUTO(msa_safetensors) f = NULL;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "m"), NULL), MSA_OK);
    const char *layer = "image_encoder.blocks.1.mlp.lin1.";
    const char *const parts[] = {"weight", "lora_A", "lora_E", "lora_B", "ranknum"};
    const float *x[5];
    for (int i = 0; i < 5; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s", layer, parts[i]);
        const msa_tensor *t = msa_safetensors_find(f, name);
        assert_non_null(t);
        x[i] = t->data;
    }
    const msa_weights *whole = NULL;
    assert_int_equal(msa_model_whole_weights(&whole, m, NULL), MSA_OK);
    const float *merged = whole->encoder.blocks[1].lin1.weight;
    for (int n = 0; n < 64; n++)
        for (int k = 0; k < 32; k++) {
            double wanted = (double)x[0][n * 32 + k];
            for (int r = 0; r < 3; r++)
                wanted += 2.0 / ((double)*x[4] + 1e-5) * (double)x[3][n * 3 + r] * (double)x[2][r] *
                          (double)x[1][r * 32 + k];
            assert_true(fabs((double)merged[n * 32 + k] - wanted) < 1e-6);
        }
    c.adalora = true;
    MSA_AUTO(msa_params) p = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_params_new(&p, &c, msa_model_weights(m), MSA_TRAIN_LORA, &err), MSA_E_UNSUPPORTED);
    assert_string_equal(err.what, "AdaLoRA's updates are merged here, not trained");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_come_back),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(stages_must_be_four_numbers),
        cmocka_unit_test_setup_teardown(threads_do_not_matter, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(efficientsam_takes_six_points, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(families_are_not_trained, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(a_stage_is_named, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(a_batch_norm_must_be_whole, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(published_files_of_efficientsam_load, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(adapters_go_on_a_base, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(stages_come_in_eight_bits, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(adalora_is_merged, fixture_folder, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
