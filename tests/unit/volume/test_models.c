/* Which models a program loads, and which of them is for a series: by rules that name files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine/fixture.h"
#include "tests/unit/volume/cm.h"

#include "engine/sam/internal.h"
#include "engine/train/export.h"
#include "server/segment/models.h"

static char folder[] = "/tmp/msa-models-XXXXXX";
static char base[64], other[64], one[64], two[64], foreign[64], zoo[64];

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
    srv_rule r = {.body_part = "*", .label = "*", .prompts = "wait"};
    (void)snprintf(r.modality, sizeof r.modality, "%s", modality);
    (void)snprintf(r.adapter, sizeof r.adapter, "%s", adapter);
    return r;
}

static srv_rule rule_of(const char *modality, const char *body_part, const char *label, const char *adapter)
{
    srv_rule r = rule(modality, adapter);
    (void)snprintf(r.body_part, sizeof r.body_part, "%s", body_part);
    (void)snprintf(r.label, sizeof r.label, "%s", label);
    return r;
}

static msa_status load(srv_models **out, const char *path, const char *adapter, const char *dir,
                       const srv_rule *rules, int32_t n, msa_error *err)
{
    const srv_models_wanted wanted = {
        .path = path, .adapter = adapter, .adapters_dir = dir, .rules = rules, .n_rules = n};
    return srv_models_load(out, &wanted, err);
}

static const char *name_for(const srv_models *m, const char *modality)
{
    return msa_model_config(srv_models_for(m, modality, "", NULL))->name;
}

static void the_first_rule_that_fits_counts(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", one), rule("MR", two), rule("PT", ""), rule("*", one)};
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(load(&m, base, "", "", rules, 4, NULL), MSA_OK);
    const srv_model_table *t = srv_models_table(m);
    assert_int_equal(t->n_rules, 4);
    assert_int_equal(t->n_models, 3); /* one file, loaded once */
    assert_string_equal(name_for(m, "CT"), "fixture+one");
    assert_string_equal(name_for(m, "MR"), "fixture+two");
    assert_string_equal(name_for(m, "PT"), "fixture");
    assert_string_equal(name_for(m, "US"), "fixture+one");
    assert_string_equal(name_for(m, ""), "fixture+one");
    assert_ptr_equal(srv_models_for(m, "CT", "", NULL), srv_models_for(m, "US", "", NULL));
    assert_ptr_equal(srv_models_for(m, "PT", "", NULL), srv_models_base(m));
    assert_string_equal(t->rules[1].modality, "MR");
    assert_string_equal(t->models[t->rules[1].model].hash,
                        msa_model_hash(srv_models_at(m, t->rules[1].model)));
    assert_true(t->models[0].untrained);
}

/* The prompt's own word goes before what is for the whole series, when it stands before it. */
static void body_part_and_label_choose_too(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule_of("CT", "LIVER", "tumour", one), rule_of("*", "*", "SCT:64033007", two),
                              rule_of("CT", "LIVER", "*", two)};
    dicom_prompt tumour = {.label = "Tumour"},
                 kidney = {.label = "left", .type = {"64033007", "SCT", "Kidney"}};
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(load(&m, base, "", "", rules, 3, NULL), MSA_OK);
    const msa_model *first = srv_models_at(m, 1), *second = srv_models_at(m, 2), *plain = srv_models_base(m);
    assert_ptr_equal(srv_models_for(m, "CT", "LIVER", &tumour), first);
    assert_ptr_equal(srv_models_for(m, "CT", "liver", &tumour), first);
    assert_ptr_equal(srv_models_for(m, "CT", "HEAD", &tumour), plain);
    assert_ptr_equal(srv_models_for(m, "MR", "LIVER", &tumour), plain);
    assert_ptr_equal(srv_models_for(m, "MR", "HEAD", &kidney), second);
    assert_ptr_equal(srv_models_for(m, "CT", "LIVER", &kidney), second);
    assert_ptr_equal(srv_models_for(m, "CT", "LIVER", NULL), second);
    assert_ptr_equal(srv_models_for(m, "CT", "", NULL), plain);
    kidney.type.scheme[0] = 'X';
    assert_ptr_equal(srv_models_for(m, "MR", "HEAD", &kidney), plain);
}

static void without_a_rule_the_base_is_for_all(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", one)};
    MSA_AUTO(srv_models) m = NULL;
    MSA_AUTO(srv_models) none = NULL;
    assert_int_equal(load(&m, base, NULL, NULL, rules, 1, NULL), MSA_OK);
    assert_string_equal(name_for(m, "MR"), "fixture");
    assert_int_equal(load(&none, base, NULL, NULL, NULL, 0, NULL), MSA_OK);
    const srv_model_table *t = srv_models_table(none);
    assert_int_equal(t->n_models, 1);
    assert_int_equal(t->n_rules, 1);
    assert_string_equal(t->rules[0].modality, "*");
    assert_string_equal(t->models[0].hash, msa_model_hash(srv_models_base(none)));
    assert_string_equal(t->models[0].file_sha256, t->models[0].hash);
    assert_null(srv_models_at(none, 1));
    assert_null(srv_models_at(none, -1));
}

static void an_adapter_for_all_goes_before_the_rules(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", "/nowhere")};
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(load(&m, base, two, "", rules, 1, NULL), MSA_OK);
    assert_string_equal(name_for(m, "CT"), "fixture+two");
    assert_string_equal(name_for(m, "MR"), "fixture+two");
}

/* default-ct belongs to the bundled model: on another one it says nothing. */
static void bundled_adapters_are_for_the_bundled_model(void **state)
{
    (void)state;
    MSA_AUTO(srv_models) m = NULL;
    assert_int_equal(load(&m, base, "", "", srv_rules_built_in, srv_n_rules_built_in, NULL), MSA_OK);
    assert_string_equal(name_for(m, "CT"), "fixture");
    assert_true(srv_model_is_bundled("") && srv_model_is_bundled("default") &&
                srv_model_is_bundled("default-ct"));
    assert_false(srv_model_is_bundled("defaults") || srv_model_is_bundled("default.safetensors") ||
                 srv_model_is_bundled("default-ct/x") || srv_model_is_bundled("a/default"));
}

static void expect_refusal(const char *path, const char *adapter, const char *dir, const srv_rule *r,
                           msa_status wanted, const char *words)
{
    srv_models *m = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(load(&m, path, adapter, dir, r, r != NULL, &err), wanted);
    assert_null(m);
    if (strstr(err.what, words) == NULL) fail_msg("%s", err.what);
}

static void what_cannot_be_used_is_named(void **state)
{
    (void)state;
    const srv_rule missing = rule("CT", "/nowhere"), wrong = rule("CT", one), unknown = rule("CT", "spleen");
    expect_refusal("/nowhere", "", "", NULL, MSA_E_NOT_FOUND, "there is no readable model file /nowhere");
    expect_refusal(base, "/nowhere", "", NULL, MSA_E_NOT_FOUND, "there is no readable model file /nowhere");
    expect_refusal(base, "", "", &missing, MSA_E_NOT_FOUND,
                   "rule 1, for CT: there is no readable model file /nowhere");
    expect_refusal(other, "", "", &wrong, MSA_E_INVALID,
                   "cannot be used: the adapter was trained on another base");
    expect_refusal(one, "", "", NULL, MSA_E_PARSE, "is an adapter: name its base as the model");
    expect_refusal(base, base, "", NULL, MSA_E_PARSE, "the file is not an adapter of this program");
    expect_refusal(base, "", "/nowhere", NULL, MSA_E_NOT_FOUND,
                   "the folder of adapters /nowhere cannot be read");
    expect_refusal(base, "", folder, &unknown, MSA_E_NOT_FOUND,
                   "rule 1, for CT: there is no adapter spleen in the folder");
    expect_refusal(base, "spleen", folder, NULL, MSA_E_NOT_FOUND, "there is no adapter spleen in the folder");
}

/* ---- a folder of adapters ---- */

static char in_zoo[300];

static const char *zoo_path(const char *name)
{
    (void)snprintf(in_zoo, sizeof in_zoo, "%s/%s", zoo, name);
    return in_zoo;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(zoo_path(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void copy_part(const char *from, const char *name, size_t most)
{
    static char bytes[1 << 20];
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, most < sizeof bytes ? most : sizeof bytes, f);
    assert_int_equal(fclose(f), 0);
    f = fopen(zoo_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static const char *const zoo_files[] = {"brain.safetensors",   "brain.md",          "cut.safetensors",
                                        "liver.safetensors",   "CARD.md",           "notes.txt",
                                        ".hidden.safetensors", "wrong.safetensors", "base.safetensors"};

static void fill_zoo(void)
{
    assert_int_equal(mkdir(zoo, 0700), 0);
    copy_part(two, "brain.safetensors", SIZE_MAX);
    copy_part(one, "liver.safetensors", SIZE_MAX);
    copy_part(one, "cut.safetensors", 5000);
    copy_part(foreign, "wrong.safetensors", SIZE_MAX);
    copy_part(base, "base.safetensors", SIZE_MAX);
    write_text("brain.md", "<!-- a comment -->\n\n##  Brain, T1 \n\nText.\n# Later\n");
    write_text("CARD.md", "Just words\n");
    write_text("notes.txt", "none");
    write_text(".hidden.safetensors", "none");
}

static void empty_zoo(void)
{
    for (size_t i = 0; i < sizeof zoo_files / sizeof *zoo_files; i++)
        assert_int_equal(unlink(zoo_path(zoo_files[i])), 0);
    assert_int_equal(rmdir(zoo_path("folder.safetensors")), 0);
    assert_int_equal(rmdir(zoo), 0);
}

static void a_folder_is_listed_with_what_is_wrong(void **state)
{
    (void)state;
    const srv_rule rules[] = {rule("CT", "liver"), rule("MR", "cut"), rule("PT", "brain")};
    MSA_AUTO(srv_models) m = NULL;
    fill_zoo();
    assert_int_equal(mkdir(zoo_path("folder.safetensors"), 0700), 0);
    assert_int_equal(load(&m, base, "", zoo, rules, 2, NULL), MSA_OK);
    const srv_model_table *t = srv_models_table(m);
    static const struct {
        const char *adapter, *name, *error, *title;
    } wanted[] = {{"", "fixture", "", ""},
                  {"base", "fixture", "the file is not an adapter of this program", "Just words"},
                  {"brain", "fixture+two", "", "Brain, T1"},
                  {"cut", "", "", "Just words"},
                  {"folder", "", "it is not a file", "Just words"},
                  {"liver", "fixture+one", "", "Just words"},
                  {"wrong", "one", "the adapter was trained on another base", "Just words"}};
    assert_int_equal(t->n_models, 7);
    for (int32_t i = 0; i < t->n_models; i++) {
        const srv_model_info *info = &t->models[i];
        assert_string_equal(info->adapter, wanted[i].adapter);
        if (i != 3) assert_string_equal(info->name, wanted[i].name);
        if (strncmp(info->error, wanted[i].error, strlen(wanted[i].error)) != 0) fail_msg("%s", info->error);
        assert_string_equal(info->card_title, wanted[i].title);
        assert_true(i == 4 || info->size_bytes > 0 || info->error[0] != '\0');
        assert_true(i == 4 || strlen(info->file_sha256) == 64);
    }
    assert_true(t->models[3].error[0] != '\0');
    assert_true(t->models[2].error[0] == '\0' && t->models[5].error[0] == '\0');
    assert_string_equal(t->models[2].base_sha256, t->models[0].hash);
    assert_string_not_equal(t->models[6].base_sha256, t->models[0].hash);
    assert_true(t->models[2].parameters > 0 && t->models[2].parameters < t->models[0].parameters);
    assert_non_null(strstr(t->models[6].config, "\"image_size\":64"));
    assert_string_equal(t->models[5].card_path, zoo_path("CARD.md"));
    assert_string_equal(t->models[2].card_path, zoo_path("brain.md"));
    /* of those that no rule calls only the description stays */
    assert_null(srv_models_at(m, 2));
    assert_non_null(srv_models_at(m, 5));
    assert_int_equal(t->rules[0].model, 5);
    assert_int_equal(t->rules[1].model, -1);
    assert_string_equal(t->rules[1].adapter, "cut");
    assert_string_equal(name_for(m, "CT"), "fixture+one");
    assert_string_equal(name_for(m, "MR"), "fixture"); /* passed over */
    srv_models_free(m);
    m = NULL;
    assert_int_equal(load(&m, base, "brain", zoo, NULL, 0, NULL), MSA_OK);
    assert_string_equal(name_for(m, "CT"), "fixture+two");
    srv_models_free(m);
    m = NULL;
    expect_refusal(base, "cut", zoo, NULL, MSA_E_INVALID, "the adapter cut cannot be used");
    empty_zoo();
}

/* ---- the table by itself ---- */

static void several_models_are_named_as_one(void **state)
{
    (void)state;
    static srv_model_table t = {.n_models = 3,
                                .models = {{.name = "a", .version = "1", .hash = "aa"},
                                           {.name = "b", .version = "2", .hash = "bb", .untrained = 1},
                                           {.name = "c", .version = "3", .hash = "cc"}}};
    srv_model_info info;
    char hash[MSA_SHA256_HEX];
    bool used[SRV_MODELS_MAX] = {false, true};
    srv_model_join(&info, &t, used);
    assert_string_equal(info.name, "b");
    assert_string_equal(info.version, "2");
    assert_string_equal(info.hash, "bb");
    assert_int_equal(info.untrained, 1);
    used[1] = false;
    used[0] = used[2] = true;
    srv_model_join(&info, &t, used);
    msa_sha256_bytes("aacc", 4, NULL, hash);
    assert_string_equal(info.name, "a, c");
    assert_string_equal(info.version, "");
    assert_string_equal(info.hash, hash);
    assert_int_equal(info.untrained, 0);
}

/* A role may say anything: what core keeps can be used all the same. */
static void a_table_from_elsewhere_is_mended(void **state)
{
    (void)state;
    static srv_model_table t, same;
    t = (srv_model_table){.n_models = 2, .n_rules = 3};
    memset(t.models, 'x', sizeof t.models);
    memset(t.rules, 'y', sizeof t.rules);
    t.models[1].error[0] = 'e';
    t.rules[0].model = 1;
    t.rules[1].model = 99;
    t.rules[2].model = -7;
    srv_model_table_mend(&t);
    assert_int_equal(strlen(t.models[0].hash), sizeof t.models[0].hash - 1);
    assert_int_equal(t.rules[0].model, -1); /* a model that cannot be used */
    assert_int_equal(t.rules[1].model, -1);
    const srv_rule_subject any = {.modality = "CT", .body_part = "HEAD"};
    assert_ptr_equal(srv_model_rule_for(&t, &any, NULL), &t.rules[2]);
    assert_int_equal(t.rules[2].model, 0);
    same = t;
    assert_true(srv_model_table_same(&t, &same));
    same.rules[2].settle_ms = 1;
    assert_false(srv_model_table_same(&t, &same));
    same = t;
    same.models[1].hash[3] = 'z';
    assert_false(srv_model_table_same(&t, &same));
}

static int group_setup(void **state)
{
    (void)state;
    MSA_AUTO(msa_model) m = NULL;
    MSA_AUTO(msa_model) n = NULL;
    const msa_config plain = fixture_plain_config();
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(base, sizeof base, "%s/base", folder);
    (void)snprintf(other, sizeof other, "%s/other", folder);
    (void)snprintf(one, sizeof one, "%s/one", folder);
    (void)snprintf(two, sizeof two, "%s/two", folder);
    (void)snprintf(foreign, sizeof foreign, "%s/foreign", folder);
    (void)snprintf(zoo, sizeof zoo, "%s/zoo", folder);
    if (msa_model_write_random(base, &plain, 1, NULL) != MSA_OK ||
        msa_model_write_random(other, &plain, 2, NULL) != MSA_OK ||
        msa_model_load(&m, base, NULL) != MSA_OK || msa_model_load(&n, other, NULL) != MSA_OK)
        return -1;
    return write_adapter(m, "one", one) != 0 || write_adapter(m, "two", two) != 0
               ? -1
               : write_adapter(n, "one", foreign);
}

static int group_teardown(void **state)
{
    (void)state;
    for (const char *const *p = (const char *const[]){base, other, one, two, foreign, NULL}; *p; p++)
        (void)unlink(*p);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_fits_counts),
        cmocka_unit_test(body_part_and_label_choose_too),
        cmocka_unit_test(without_a_rule_the_base_is_for_all),
        cmocka_unit_test(an_adapter_for_all_goes_before_the_rules),
        cmocka_unit_test(bundled_adapters_are_for_the_bundled_model),
        cmocka_unit_test(what_cannot_be_used_is_named),
        cmocka_unit_test(a_folder_is_listed_with_what_is_wrong),
        cmocka_unit_test(several_models_are_named_as_one),
        cmocka_unit_test(a_table_from_elsewhere_is_mended),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
