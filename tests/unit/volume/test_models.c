/* Which models a program loads, and which of them is for a series: by rules that name files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/volume/cm.h"

#include "engine/sam/internal.h"
#include "engine/train/export.h"
#include "server/segment/models.h"

static char folder[] = "/tmp/msa-models-XXXXXX";
static char base[64], other[64], one[64], two[64];

static const msa_config tiny = {.image_size = 64,
                                .patch = 16,
                                .dim = 32,
                                .depth = 2,
                                .heads = 2,
                                .mlp_dim = 64,
                                .window = 3,
                                .n_global = 1,
                                .global_blocks = {1},
                                .prompt_dim = 32,
                                .decoder_depth = 2,
                                .decoder_heads = 4,
                                .decoder_mlp_dim = 64,
                                .iou_hidden = 32,
                                .mask_tokens = 4,
                                .adapter_mlp_scale = 0.5F,
                                .name = "tiny",
                                .version = "1"};

static int write_adapter(const msa_model *on, const char *name, const char *path)
{
    msa_config c = *msa_model_config(on);
    const msa_params_start start = {.seed = 1};
    MSA_AUTO(msa_params) p = NULL;
    c.adapters = true;
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    if (msa_params_start_new(&p, &c, msa_model_weights(on), MSA_TRAIN_ADAPTERS, &start, NULL) != MSA_OK)
        return -1;
    return msa_export_adapter(p, msa_model_hash(on), path, NULL, NULL) == MSA_OK ? 0 : -1;
}

static srv_rule rule(const char *modality, const char *adapter)
{
    srv_rule r = {0};
    (void)snprintf(r.modality, sizeof r.modality, "%s", modality);
    (void)snprintf(r.adapter, sizeof r.adapter, "%s", adapter);
    return r;
}

static const char *name_for(const srv_models *m, const char *modality)
{
    return msa_model_config(srv_models_for(m, modality))->name;
}

static void the_first_rule_that_fits_counts(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", one), rule("MR", two), rule("PT", ""), rule("*", one)};
    const srv_model_info *list = NULL;
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(srv_models_load(&m, base, "", rules, 4, NULL), MSA_OK);
    assert_int_equal(srv_models_list(m, &list), 4);
    assert_string_equal(name_for(m, "CT"), "tiny+one");
    assert_string_equal(name_for(m, "MR"), "tiny+two");
    assert_string_equal(name_for(m, "PT"), "tiny");
    assert_string_equal(name_for(m, "US"), "tiny+one");
    assert_string_equal(name_for(m, ""), "tiny+one");
    assert_ptr_equal(srv_models_at(m, 0), srv_models_at(m, 3)); /* one file, loaded once */
    assert_ptr_equal(srv_models_for(m, "PT"), srv_models_base(m));
    assert_string_equal(list[1].modality, "MR");
    assert_string_equal(list[1].hash, msa_model_hash(srv_models_at(m, 1)));
    assert_true(list[1].untrained);
}

static void without_a_rule_the_base_is_for_all(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", one)};
    const srv_model_info *list = NULL;
    MSA_AUTO(srv_models) m = NULL;
    MSA_AUTO(srv_models) none = NULL;
    assert_int_equal(srv_models_load(&m, base, NULL, rules, 1, NULL), MSA_OK);
    assert_string_equal(name_for(m, "MR"), "tiny");
    assert_int_equal(srv_models_load(&none, base, NULL, NULL, 0, NULL), MSA_OK);
    assert_int_equal(srv_models_list(none, &list), 1);
    assert_string_equal(list[0].modality, "*");
    assert_string_equal(list[0].hash, msa_model_hash(srv_models_base(none)));
    assert_null(srv_models_at(none, 1));
    assert_null(srv_models_at(none, -1));
}

static void an_adapter_for_all_goes_before_the_rules(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", "/nowhere")};
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(srv_models_load(&m, base, two, rules, 1, NULL), MSA_OK);
    assert_string_equal(name_for(m, "CT"), "tiny+two");
    assert_string_equal(name_for(m, "MR"), "tiny+two");
}

/* default-ct belongs to the bundled model: on another one it says nothing. */
static void bundled_adapters_are_for_the_bundled_model(void **state)
{
    (void)state;
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(srv_models_load(&m, base, "", srv_rules_built_in, srv_n_rules_built_in, NULL), MSA_OK);
    assert_string_equal(name_for(m, "CT"), "tiny");
    assert_true(srv_model_is_bundled("") && srv_model_is_bundled("default") &&
                srv_model_is_bundled("default-ct"));
    assert_false(srv_model_is_bundled("defaults") || srv_model_is_bundled("default.safetensors") ||
                 srv_model_is_bundled("default-ct/x") || srv_model_is_bundled("a/default"));
}

static void expect_refusal(const char *path, const char *adapter, const srv_rule *r, msa_status wanted,
                           const char *words)
{
    srv_models *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(srv_models_load(&m, path, adapter, r, r != NULL, &err), wanted);
    assert_null(m);
    if (strstr(err.what, words) == NULL) fail_msg("%s", err.what);
}

static void what_cannot_be_used_is_named(void **state)
{
    (void)state;
    const srv_rule missing = rule("CT", "/nowhere"), wrong = rule("CT", one);
    expect_refusal("/nowhere", "", NULL, MSA_E_NOT_FOUND, "there is no readable model file /nowhere");
    expect_refusal(base, "/nowhere", NULL, MSA_E_NOT_FOUND, "there is no readable model file /nowhere");
    expect_refusal(base, "", &missing, MSA_E_NOT_FOUND,
                   "the rule for CT: there is no readable model file /nowhere");
    expect_refusal(other, "", &wrong, MSA_E_INVALID,
                   "cannot be used: the adapter was trained on another base");
    expect_refusal(one, "", NULL, MSA_E_PARSE, "is an adapter: name its base as the model");
    expect_refusal(base, base, NULL, MSA_E_PARSE, "the file is not an adapter of this program");
}

static int group_setup(void **state)
{
    (void)state;
    MSA_AUTO(msa_model) m = NULL;
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(base, sizeof base, "%s/base", folder);
    (void)snprintf(other, sizeof other, "%s/other", folder);
    (void)snprintf(one, sizeof one, "%s/one", folder);
    (void)snprintf(two, sizeof two, "%s/two", folder);
    if (msa_model_write_random(base, &tiny, 1, NULL) != MSA_OK ||
        msa_model_write_random(other, &tiny, 2, NULL) != MSA_OK || msa_model_load(&m, base, NULL) != MSA_OK)
        return -1;
    return write_adapter(m, "one", one) == 0 ? write_adapter(m, "two", two) : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    for (const char *const *p = (const char *const[]){base, other, one, two, NULL}; *p; p++)
        (void)unlink(*p);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_fits_counts),
        cmocka_unit_test(without_a_rule_the_base_is_for_all),
        cmocka_unit_test(an_adapter_for_all_goes_before_the_rules),
        cmocka_unit_test(bundled_adapters_are_for_the_bundled_model),
        cmocka_unit_test(what_cannot_be_used_is_named),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
