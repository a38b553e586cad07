/* Configuration text: round trip, and what is refused. */
#include "tests/unit/engine/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/io/config_json.h"
#include "tests/unit/engine/fixture.h"

static void survives_a_round_trip(void **state)
{
    (void)state;
    msa_config c = fixture_config(), back;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE char *text = NULL;
    MSA_AUTO_FREE char *again = NULL;
    c.decoder_wiring = MSA_WIRING_ESAM;
    c.mask_select = MSA_SELECT_FIRST;
    c.classes = 3;
    c.input_norm = MSA_NORM_SAM_ON_UNIT;
    c.geometry = MSA_GEOMETRY_STRETCH;
    c.adapter_act = MSA_ACT_RELU;
    c.point_order_yx = c.untrained = true;
    c.adapter_mlp_scale = 0.3f;
    c.crop_margin = 0.25f;
    c.box_as_mask = true;
    assert_int_equal(msa_config_print(&text, &c, &err), MSA_OK);
    assert_int_equal(msa_config_parse(&back, text, &err), MSA_OK);
    assert_int_equal(msa_config_print(&again, &back, &err), MSA_OK);
    assert_string_equal(text, again);
    assert_int_equal(back.window, 5);
    assert_int_equal(back.global_blocks[0], 1);
    assert_int_equal(back.classes, 3);
    assert_int_equal(back.input_norm, MSA_NORM_SAM_ON_UNIT);
    assert_int_equal(back.decoder_wiring, MSA_WIRING_ESAM);
    assert_true(back.adapter_mlp_scale == 0.3f);
    assert_true(back.untrained && back.point_order_yx);
    assert_true(back.crop_margin == 0.25f && back.box_as_mask);
    assert_string_equal(back.name, "fixture");
}

/* What a model does not use is not in its file, and what it uses comes back. */
static void says_what_it_uses(void **state)
{
    (void)state;
    msa_config c = fixture_config(), back;
    MSA_AUTO_FREE char *plain = NULL;
    MSA_AUTO_FREE char *text = NULL;
    c.depth_fold = MSA_DEPTH_GRID;
    c.depth_chunk = 6;
    c.depth_slices = 12;
    c.lora_alpha = 2.0f;
    assert_int_equal(msa_config_print(&plain, &c, NULL), MSA_OK);
    assert_null(strstr(plain, "depth_"));
    assert_null(strstr(plain, "lora_"));
    assert_int_equal(msa_config_parse(&back, plain, NULL), MSA_OK);
    assert_int_equal(back.depth_grouping, MSA_DEPTH_NONE);
    assert_int_equal(back.depth_fold, MSA_DEPTH_LINE); /* of own models */
    assert_int_equal(back.lora_rank, 0);
    c.depth_grouping = MSA_DEPTH_RUNS;
    c.lora_rank = 3;
    assert_int_equal(msa_config_print(&text, &c, NULL), MSA_OK);
    assert_int_equal(msa_config_parse(&back, text, NULL), MSA_OK);
    assert_int_equal(back.depth_grouping, MSA_DEPTH_RUNS);
    assert_int_equal(back.depth_fold, MSA_DEPTH_GRID);
    assert_int_equal(back.depth_chunk, 6);
    assert_int_equal(back.depth_slices, 12);
    assert_int_equal(back.lora_rank, 3);
    assert_true(back.lora_alpha == 2.0f);
}

static const struct {
    const char *from, *to; /* one replacement in the printed text */
    msa_status status;
    const char *sentence;
} broken[] = {
    {"\"patch\":8", "\"patch\":8,\"pacth\":8", MSA_E_PARSE, "unknown key pacth"},
    {"\"patch\":8", "\"patch\":8,\"patch\":8", MSA_E_PARSE, "duplicate"},
    {"\"patch\":8", "\"patch\":8,\"crop_margin\":-1", MSA_E_UNSUPPORTED, "crop_margin is not in 0..10"},
    {"\"patch\":8", "\"patch\":8,\"depth_grouping\":\"slices\"", MSA_E_UNSUPPORTED, "no value slices"},
    {"\"patch\":8", "\"patch\":8,\"depth_chunk\":-1", MSA_E_UNSUPPORTED, "depth_chunk is -1"},
    {"\"adapters\":true", "\"adapters\":false,\"depth_grouping\":\"volume\"", MSA_E_UNSUPPORTED,
     "depth_grouping needs adapters"},
    {"\"patch\":8", "\"patch\":8,\"lora_rank\":2,\"lora_alpha\":0", MSA_E_UNSUPPORTED, "lora_alpha is zero"},
    {"\"patch\":8", "\"patch\":8,\"lora_rank\":5000", MSA_E_UNSUPPORTED, "lora_rank is 5000"},
    {"\"patch\":8,", "", MSA_E_PARSE, "patch is missing"},
    {"\"patch\":8", "\"patch\":\"8\"", MSA_E_PARSE, "patch must be a whole number"},
    {"\"patch\":8", "\"patch\":7", MSA_E_UNSUPPORTED, "not a multiple of patch"},
    {"\"patch\":8", "\"patch\":0", MSA_E_UNSUPPORTED, "patch is 0, not in 4..32"},
    {"\"dim\":32", "\"dim\":100000", MSA_E_UNSUPPORTED, "dim is 100000"},
    {"\"dim\":32", "\"dim\":4294967328", MSA_E_UNSUPPORTED, "dim is 2147483647"},
    {"\"dim\":32", "\"dim\":33", MSA_E_UNSUPPORTED, "dim is not a multiple of heads"},
    {"\"depth\":3", "\"depth\":65", MSA_E_UNSUPPORTED, "depth is 65"},
    {"\"depth\":3", "\"depth\":-1", MSA_E_UNSUPPORTED, "depth is -1"},
    {"[1]", "[3]", MSA_E_UNSUPPORTED, "a global block is not one of the blocks"},
    {"[1]", "[-1]", MSA_E_UNSUPPORTED, "a global block is not one of the blocks"},
    {"[1]", "1", MSA_E_PARSE, "global_blocks must be a list"},
    {"\"prompt_dim\":32", "\"prompt_dim\":36", MSA_E_UNSUPPORTED, "prompt_dim is not a multiple of 8"},
    {"\"decoder_heads\":4", "\"decoder_heads\":3", MSA_E_UNSUPPORTED, "decoder_heads"},
    {"\"sam\"", "\"swin\"", MSA_E_UNSUPPORTED, "no value swin"},
    {"\"adapters\":true", "\"adapters\":1", MSA_E_PARSE, "adapters must be true or false"},
    {"\"adapter_mlp_scale\":0.5", "\"adapter_mlp_scale\":1e30", MSA_E_UNSUPPORTED, "adapter_mlp_scale"},
    {"\"fixture\"", "\"a\\nb\"", MSA_E_PARSE, "control character"},
    {"\"version\":\"1\"", "\"version\":\"0123456789012345678901234567890123456789\"", MSA_E_UNSUPPORTED,
     "longer than"},
};

static void refuses_what_it_cannot_mean(void **state)
{
    (void)state;
    const msa_config good = fixture_config();
    MSA_AUTO_FREE char *text = NULL;
    assert_int_equal(msa_config_print(&text, &good, NULL), MSA_OK);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char bad[2048];
        msa_config c;
        msa_error err = MSA_ERROR_INIT;
        const char *at = strstr(text, broken[i].from);
        assert_non_null(at);
        (void)snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, broken[i].to,
                       at + strlen(broken[i].from));
        const msa_status status = msa_config_parse(&c, bad, &err);
        if (status != broken[i].status || strstr(err.what, broken[i].sentence) == NULL)
            fail_msg("%s: status %d, \"%s\" does not say \"%s\"", broken[i].to, (int)status, err.what,
                     broken[i].sentence);
    }
}

/* A model without decoder adapters does not mention them, so that older readers take it. */
static void decoder_adapters_are_told_where_there_are_some(void **state)
{
    (void)state;
    msa_config c = fixture_config(), back;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE char *without = NULL;
    MSA_AUTO_FREE char *with = NULL;
    assert_int_equal(msa_config_print(&without, &c, NULL), MSA_OK);
    assert_null(strstr(without, "decoder_adapter"));
    assert_int_equal(msa_config_parse(&back, without, NULL), MSA_OK);
    assert_int_equal(back.decoder_adapters, MSA_DECODER_ADAPTERS_NONE);
    c.decoder_adapters = MSA_DECODER_ADAPTERS_FIRST;
    c.decoder_adapter_mode = MSA_ADAPTER_HYPER;
    c.decoder_adapter_act = MSA_ACT_RELU;
    assert_int_equal(msa_config_print(&with, &c, NULL), MSA_OK);
    assert_int_equal(msa_config_parse(&back, with, NULL), MSA_OK);
    assert_int_equal(back.decoder_adapters, MSA_DECODER_ADAPTERS_FIRST);
    assert_int_equal(back.decoder_adapter_mode, MSA_ADAPTER_HYPER);
    assert_int_equal(back.decoder_adapter_act, MSA_ACT_RELU);
    char *value = strstr(with, "\"hyper\"");
    assert_non_null(value);
    memcpy(value, "\"other\"", 7);
    assert_int_equal(msa_config_parse(&back, with, &err), MSA_E_UNSUPPORTED);
    assert_non_null(strstr(err.what, "decoder_adapter_mode has no value other"));
}

static void refuses_what_is_not_an_object(void **state)
{
    (void)state;
    msa_config c;
    assert_int_equal(msa_config_parse(&c, "[]", NULL), MSA_E_PARSE);
    assert_int_equal(msa_config_parse(&c, "", NULL), MSA_E_PARSE);
    assert_int_equal(msa_config_parse(&c, "{}", NULL), MSA_E_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_round_trip),
        cmocka_unit_test(says_what_it_uses),
        cmocka_unit_test(refuses_what_it_cannot_mean),
        cmocka_unit_test(decoder_adapters_are_told_where_there_are_some),
        cmocka_unit_test(refuses_what_is_not_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
