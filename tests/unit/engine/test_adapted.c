/* An adapter file on its base, as a loaded model: the same numbers as both exported as one, and a name and a
 * hash of its own. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/io/config_json.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "engine/train/export.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/cm.h"

enum { S = 64, GRID = 8, P = 32, LOW = 32, TOKENS = 4 };

/* What a model says about one picture and one box. */
typedef struct answer {
    float embedding[P * GRID * GRID], logits[TOKENS * LOW * LOW], iou[TOKENS];
} answer;

static void ask(const msa_model *m, answer *a)
{
    static float image[3 * S * S];
    const float box[4] = {10, 12, 40, 50};
    const msa_prompt_set prompt = {.box = box};
    MSA_AUTO(msa_predictor) p = NULL;
    fixture_fill(image, 3 * S * S, 1, 1.0f);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, a->embedding, NULL), MSA_OK);
    assert_int_equal(msa_predictor_decode(p, a->embedding, &prompt, a->logits, a->iou, NULL), MSA_OK);
}

static msa_model *load(void **state, const char *name)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_load(&m, fixture_path(state, name), &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

static msa_model *adapt(void **state, const msa_model *base, const char *name)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_adapt(&m, base, fixture_path(state, name), &err) != MSA_OK) fail_msg("%s", err.what);
    return m;
}

/* "base", "wrong"; then "adapter" on the base with values of its own, and both as one: "full". */
static msa_model *write_base(void **state, uint64_t seed)
{
    msa_config c = fixture_config();
    c.adapters = false;
    assert_int_equal(msa_model_write_random(fixture_path(state, "wrong"), &c, seed + 1, NULL), MSA_OK);
    assert_int_equal(msa_model_write_random(fixture_path(state, "base"), &c, seed, NULL), MSA_OK);
    return load(state, "base");
}

static void write_adapter(void **state, const msa_model *base, msa_train_set set, const char *name,
                          msa_stored stored)
{
    const msa_params_start start = {.seed = 2, .adapter_width = 6};
    const msa_export_options how = {.stored = stored};
    msa_config c = *msa_model_config(base);
    msa_params *made = NULL;
    c.adapters = true;
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    assert_int_equal(msa_params_start_new(&made, &c, msa_model_weights(base), set, &start, NULL), MSA_OK);
    MSA_AUTO(msa_params) p = made;
    for (int64_t i = 0; i < p->n_trained; i++)
        p->values[i] += 0.05f * (float)msa_hash_unit(msa_hash_key("adapter", 5), i);
    assert_int_equal(msa_export_adapter(p, msa_model_hash(base), fixture_path(state, "adapter"), &how, NULL),
                     MSA_OK);
    assert_int_equal(msa_export_model(p, fixture_path(state, "full"), NULL, NULL), MSA_OK);
}

static void test_adapted_is_both_in_one(void **state)
{
    MSA_AUTO(msa_model) base = write_base(state, 3);
    for (int set = MSA_TRAIN_ADAPTERS; set <= MSA_TRAIN_ADAPTERS_DECODER; set++) {
        static answer of_base, of_full, of_adapted;
        write_adapter(state, base, (msa_train_set)set, "fixture-ct", MSA_STORED_F32);
        MSA_AUTO(msa_model) full = load(state, "full");
        MSA_AUTO(msa_model) adapted = adapt(state, base, "adapter");
        ask(base, &of_base);
        ask(full, &of_full);
        ask(adapted, &of_adapted);
        assert_memory_equal(&of_full, &of_adapted, sizeof of_full);
        assert_memory_not_equal(of_base.embedding, of_adapted.embedding, sizeof of_base.embedding);
        assert_int_equal(msa_model_parameters(adapted), msa_model_parameters(full));
        assert_true(msa_model_weights(adapted)->encoder.pos_embed ==
                    msa_model_weights(base)->encoder.pos_embed);
    }
}

/* The base stays as it is, and as many adapters as wanted share it. */
static void test_adapters_share_their_base(void **state)
{
    static answer before, after;
    MSA_AUTO(msa_model) base = write_base(state, 3);
    ask(base, &before);
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "one", MSA_STORED_F32);
    MSA_AUTO(msa_model) one = adapt(state, base, "adapter");
    write_adapter(state, base, MSA_TRAIN_ADAPTERS_DECODER, "two", MSA_STORED_F16);
    MSA_AUTO(msa_model) two = adapt(state, base, "adapter");
    ask(base, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_string_not_equal(msa_model_hash(one), msa_model_hash(two));
    assert_string_not_equal(msa_model_hash(one), msa_model_hash(base));
    assert_int_equal(strlen(msa_model_hash(one)), 64);
    assert_string_equal(msa_model_config(one)->name, "fixture+one");
    assert_string_equal(msa_model_config(two)->name, "fixture+two");
    assert_memory_equal(msa_model_config(two)->version, "1+", 2);
    assert_int_equal(strlen(msa_model_config(two)->version), 10); /* the adapter has no version of its own */
    assert_true(msa_model_config(two)->untrained);                /* as its base */
}

static void test_names_tell_both(void **state)
{
    MSA_AUTO(msa_model) base = write_base(state, 3);
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "fixture-ct", MSA_STORED_F32);
    MSA_AUTO(msa_model) longer = adapt(state, base, "adapter");
    assert_string_equal(msa_model_config(longer)->name, "fixture-ct");
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "fixture", MSA_STORED_F32);
    MSA_AUTO(msa_model) same = adapt(state, base, "adapter");
    assert_memory_equal(msa_model_config(same)->name, "fixture+", 8);
    assert_int_equal(strlen(msa_model_config(same)->name), 16);
}

static void test_from_two_files(void **state)
{
    static answer borrowed, owned;
    char base_path[512];
    MSA_AUTO(msa_model) base = write_base(state, 3);
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "a", MSA_STORED_F32);
    (void)snprintf(base_path, sizeof base_path, "%s", fixture_path(state, "base"));
    MSA_AUTO(msa_model) a = adapt(state, base, "adapter");
    msa_model *loaded = NULL;
    assert_int_equal(msa_model_load_adapted(&loaded, base_path, fixture_path(state, "adapter"), NULL),
                     MSA_OK);
    MSA_AUTO(msa_model) b = loaded;
    ask(a, &borrowed);
    ask(b, &owned);
    assert_memory_equal(&borrowed, &owned, sizeof owned);
    assert_string_equal(msa_model_hash(a), msa_model_hash(b));
    assert_int_equal(msa_model_load_adapted(&loaded, base_path, "", NULL), MSA_OK);
    MSA_AUTO(msa_model) alone = loaded;
    assert_string_equal(msa_model_hash(alone), msa_model_hash(base));
}

static void expect_refusal(void **state, const msa_model *base, const char *file, msa_status wanted,
                           const char *words)
{
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_model_adapt(&m, base, fixture_path(state, file), &err), wanted);
    assert_null(m);
    if (strstr(err.what, words) == NULL) fail_msg("%s", err.what);
}

static void test_refusals(void **state)
{
    MSA_AUTO(msa_model) base = write_base(state, 3);
    MSA_AUTO(msa_model) wrong = load(state, "wrong");
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "a", MSA_STORED_F32);
    expect_refusal(state, wrong, "adapter", MSA_E_INVALID,
                   "the adapter was trained on another base: it wants ");
    expect_refusal(state, base, "full", MSA_E_PARSE, "the file is not an adapter of this program");
    expect_refusal(state, base, "nowhere", MSA_E_NOT_FOUND, "there is no file");
    msa_model *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_model_load(&m, fixture_path(state, "adapter"), &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "is an adapter: name its base as the model"));
    assert_int_equal(chmod(fixture_path(state, "adapter"), 0666), 0);
    expect_refusal(state, base, "adapter", MSA_E_UNSUPPORTED, "can be written by everybody");
}

/* Rewrites "adapter" as "t" without its last tensor, or with one more. */
static void tamper(void **state, bool add)
{
    static const float one[1] = {1.0f};
    MSA_AUTO(msa_safetensors) f = NULL;
    msa_tensor list[64];
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "adapter"), NULL), MSA_OK);
    const int32_t n = msa_safetensors_count(f);
    assert_true(n > 1 && n < 64);
    for (int32_t i = 0; i < n; i++)
        list[i] = *msa_safetensors_at(f, i);
    list[n] = (msa_tensor){.name = "stranger", .data = one, .rank = 1, .shape = {1}, .count = 1};
    const msa_metadata metadata[] = {{"kind", msa_safetensors_metadata(f, "kind")},
                                     {"config", msa_safetensors_metadata(f, "config")},
                                     {"base_sha256", msa_safetensors_metadata(f, "base_sha256")}};
    assert_int_equal(msa_safetensors_write(fixture_path(state, "t"), list, add ? n + 1 : n - 1, metadata, 3,
                                           NULL, NULL, NULL),
                     MSA_OK);
}

static void test_a_file_that_lies_is_refused(void **state)
{
    MSA_AUTO(msa_model) base = write_base(state, 3);
    write_adapter(state, base, MSA_TRAIN_ADAPTERS, "a", MSA_STORED_F32);
    tamper(state, true);
    expect_refusal(state, base, "t", MSA_E_UNSUPPORTED, "tensor stranger is not part of the configuration");
    tamper(state, false);
    expect_refusal(state, base, "t", MSA_E_PARSE, "is missing");
}

/* A projection of a block with the update (2 / rank) B A, element by element. */
static void update(const msa_tensor *t, const float *a, const float *b, int64_t rank, int64_t first,
                   int64_t n, float *weight)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < t->shape[1]; k++) {
            double sum = 0;
            for (int64_t r = 0; r < rank; r++)
                sum += (double)b[i * rank + r] * (double)a[r * t->shape[1] + k];
            weight[(first + i) * t->shape[1] + k] += (float)(2.0 / (double)rank * sum);
        }
}

/* Factors for every block as an adapter, and a whole model in which they have been worked in. */
static void write_low_rank(void **state, const msa_model *base)
{
    static const char *const parts[] = {"attn.qkv", "mlp.lin1", "mlp.lin2"};
    enum { RANK = 2, BLOCKS = 3, FACTORS = BLOCKS * 6 };
    static float values[FACTORS][4096], weights[BLOCKS * 3][3 * 32 * 64];
    static char names[FACTORS][96];
    msa_tensor factors[FACTORS], all[256];
    msa_config c = *msa_model_config(base);
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO_FREE char *base_json = NULL;
    MSA_AUTO_FREE char *json = NULL;
    int32_t n = 0, w = 0;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "base"), NULL), MSA_OK);
    for (int32_t i = 0; i < msa_safetensors_count(f); i++)
        all[i] = *msa_safetensors_at(f, i);
    for (int32_t block = 0; block < BLOCKS; block++)
        for (int32_t part = 0; part < 3; part++, w++) {
            char name[96];
            (void)snprintf(name, sizeof name, "image_encoder.blocks.%d.%s.weight", block, parts[part]);
            const msa_tensor *t = msa_safetensors_find(f, name);
            assert_non_null(t);
            const bool qkv = part == 0;
            const int64_t N = qkv ? 2 * t->shape[1] : t->shape[0], K = t->shape[1], A = qkv ? 2 * RANK : RANK;
            float *a = values[n], *b = values[n + 1];
            fixture_fill(a, A * K, (uint64_t)n + 1, 0.2f);
            fixture_fill(b, N * RANK, (uint64_t)n + 2, 0.2f);
            for (int32_t k = 0; k < 2; k++)
                (void)snprintf(names[n + k], sizeof names[0], "image_encoder.blocks.%d.%s.lora_%c", block,
                               parts[part], "AB"[k]);
            factors[n] =
                (msa_tensor){.name = names[n], .data = a, .rank = 2, .shape = {A, K}, .count = A * K};
            factors[n + 1] = (msa_tensor){
                .name = names[n + 1], .data = b, .rank = 2, .shape = {N, RANK}, .count = N * RANK};
            n += 2;
            memcpy(weights[w], t->data, (size_t)t->count * sizeof(float));
            update(t, a, b, RANK, 0, qkv ? K : N, weights[w]);
            if (qkv) update(t, a + RANK * K, b + RANK * K, RANK, 2 * K, K, weights[w]);
            all[t - msa_safetensors_at(f, 0)].data = weights[w];
        }
    assert_int_equal(msa_config_print(&base_json, &c, NULL), MSA_OK);
    c.lora_rank = RANK;
    c.lora_alpha = 2;
    assert_int_equal(msa_config_print(&json, &c, NULL), MSA_OK);
    const msa_metadata of_adapter[] = {
        {"kind", "msa adapter 1"}, {"config", json}, {"base_sha256", msa_model_hash(base)}};
    const msa_metadata of_full[] = {{"config", base_json}};
    assert_int_equal(
        msa_safetensors_write(fixture_path(state, "adapter"), factors, n, of_adapter, 3, NULL, NULL, NULL),
        MSA_OK);
    assert_int_equal(msa_safetensors_write(fixture_path(state, "full"), all, msa_safetensors_count(f),
                                           of_full, 1, NULL, NULL, NULL),
                     MSA_OK);
}

static double furthest(const float *a, const float *b, int32_t n)
{
    double most = 0;
    for (int32_t i = 0; i < n; i++) {
        const double off = (double)a[i] - (double)b[i];
        most = off > most ? off : -off > most ? -off : most;
    }
    return most;
}

static void test_low_rank_updates_are_merged(void **state)
{
    static answer of_base, of_full, of_adapted;
    MSA_AUTO(msa_model) base = write_base(state, 3);
    write_low_rank(state, base);
    MSA_AUTO(msa_model) full = load(state, "full");
    MSA_AUTO(msa_model) adapted = adapt(state, base, "adapter");
    ask(base, &of_base);
    ask(full, &of_full);
    ask(adapted, &of_adapted);
    assert_int_equal(msa_model_config(adapted)->lora_rank, 0);
    assert_true(furthest(of_base.embedding, of_full.embedding, P * GRID * GRID) > 0.05);
    assert_true(furthest(of_adapted.embedding, of_full.embedding, P * GRID * GRID) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_adapted_is_both_in_one, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_adapters_share_their_base, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_names_tell_both, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_from_two_files, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_refusals, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_a_file_that_lies_is_refused, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(test_low_rank_updates_are_merged, fixture_folder, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
