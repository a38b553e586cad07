/* Checkpoints become models: every value, what is found in names and shapes, what is asked for, and refusals.
 */
#include "tests/unit/engine/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/convert.h"
#include "engine/convert/names.h"
#include "engine/io/config_json.h"
#include "engine/io/half.h"
#include "engine/model.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "tests/unit/engine/fixture.h"

static const char *path_of(const char *name)
{
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("MSAD_CHECKPOINTS");
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder != NULL ? folder : "tests/checkpoints", name);
    return path;
}

/* fixture_path() has one buffer. */
static const char *out_of(void **state, const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s", fixture_path(state, name));
    return path;
}

static const msa_convert_setting heads[] = {{"decoder_heads", "2"}};

static msa_convert_options with(const char *profile)
{
    return (msa_convert_options){.profile = profile, .settings = heads, .n_settings = 1};
}

static msa_convert_report convert(const char *in, const char *out, const msa_convert_options *o)
{
    msa_convert_report r;
    msa_error err = MSA_ERROR_INIT;
    if (msa_convert(in, out, o, &r, &err) != MSA_OK) fail_msg("%s: %s", in, err.what);
    return r;
}

/* Each tensor of the model is the checkpoint's, bit for bit, or what rounding to half makes of it. */
static void check_values(const char *model, const char *checkpoint, bool half)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_names names;
    assert_int_equal(msa_safetensors_open(&f, model, NULL), MSA_OK);
    assert_int_equal(msa_checkpoint_open(&c, checkpoint, NULL), MSA_OK);
    assert_int_equal(msa_names_make(&names, c, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_safetensors_count(f), names.n);
    for (int32_t i = 0; i < names.n; i++) {
        const msa_tensor *t = msa_safetensors_at(f, i);
        const msa_named *n = msa_names_find(&names, t->name);
        assert_non_null(n);
        assert_int_equal(t->count, n->tensor->count);
        float *v = malloc((size_t)t->count * sizeof *v);
        assert_non_null(v);
        msa_checkpoint_read(n->tensor, 0, t->count, v);
        for (int64_t k = 0; k < t->count && half; k++)
            v[k] = msa_half_to_float(msa_float_to_half(v[k]));
        assert_memory_equal(v, t->data, (size_t)t->count * sizeof *v);
        free(v);
    }
    msa_names_release(&names);
}

static msa_config load(const char *path)
{
    MSA_AUTO(msa_model) m = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_model_load(&m, path, &err) != MSA_OK) fail_msg("%s", err.what);
    return *msa_model_config(m);
}

static void sam(void **state)
{
    const msa_convert_options o = with("sam");
    const char *out = out_of(state, "sam");
    const msa_convert_report r = convert(path_of("sam.pth"), out, &o);
    assert_int_equal(r.tensors, 202);
    assert_int_equal(r.matched, 202);
    assert_int_equal(r.missing + r.unexpected + r.zero_tables, 0);
    check_values(out, path_of("sam.pth"), false);
    const msa_config c = load(out);
    assert_int_equal(c.dim, 8);
    assert_int_equal(c.depth, 4);
    assert_int_equal(c.heads, 2);
    assert_int_equal(c.patch, 4);
    assert_int_equal(c.image_size, 16);
    assert_int_equal(c.window, 3);
    assert_int_equal(c.n_global, 2);
    assert_int_equal(c.global_blocks[0], 1);
    assert_int_equal(c.global_blocks[1], 3);
    assert_int_equal(c.decoder_wiring, MSA_WIRING_SAM);
    assert_int_equal(c.pad_order, MSA_NORM_THEN_PAD);
    assert_int_equal(c.input_norm, MSA_NORM_SAM);
    assert_int_equal(c.geometry, MSA_GEOMETRY_LONGEST_SIDE);
    assert_false(c.adapters || c.point_order_yx || c.untrained);
    assert_string_equal(c.name, "sam");
}

static void medsam_half(void **state)
{
    msa_convert_options o = with("medsam");
    o.half = true;
    const char *out = out_of(state, "medsam");
    (void)convert(path_of("sam.pth"), out, &o);
    check_values(out, path_of("sam.pth"), true);
    const msa_config c = load(out);
    assert_int_equal(c.input_norm, MSA_NORM_MEDSAM);
    assert_int_equal(c.geometry, MSA_GEOMETRY_STRETCH);
}

static void eras(void **state)
{
    static const struct {
        const char *file, *profile;
        msa_input_norm norm;
        msa_decoder_wiring wiring;
        msa_mask_select select;
        msa_depth_grouping depth;
        bool yx;
    } known[] = {
        {"msa2023.pth", "msa2023", MSA_NORM_UNIT, MSA_WIRING_SAM, MSA_SELECT_SAM, MSA_DEPTH_NONE, true},
        {"msa2023.pth", "msa2023-3d", MSA_NORM_UNIT, MSA_WIRING_SAM, MSA_SELECT_SAM, MSA_DEPTH_RUNS, true},
        {"msa2023.pth", "sdtrans", MSA_NORM_UNIT, MSA_WIRING_SAM, MSA_SELECT_SAM, MSA_DEPTH_VOLUME, true},
        {"msa2025.pth", "msa2024", MSA_NORM_UNIT, MSA_WIRING_ESAM, MSA_SELECT_FIRST, MSA_DEPTH_NONE, true},
        {"msa2025.pth", "msa2025", MSA_NORM_SAM, MSA_WIRING_ESAM, MSA_SELECT_FIRST, MSA_DEPTH_NONE, false},
        {"msa2025.pth", "msa2025-3d", MSA_NORM_SAM_ON_UNIT, MSA_WIRING_ESAM, MSA_SELECT_FIRST, MSA_DEPTH_RUNS,
         true},
    };
    static const msa_convert_setting chunk[] = {{"decoder_heads", "2"}, {"depth_chunk", "6"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const msa_convert_options o = {.profile = known[i].profile, .settings = chunk, .n_settings = 2};
        const char *out = out_of(state, "era");
        const msa_convert_report r = convert(path_of(known[i].file), out, &o);
        assert_int_equal(r.matched, 250);
        check_values(out, path_of(known[i].file), false);
        const msa_config c = load(out);
        assert_true(c.adapters);
        assert_int_equal(c.image_size, 16); /* of 2025's tables; its positions are of another grid */
        assert_int_equal(c.pad_order, MSA_PAD_THEN_NORM);
        assert_int_equal(c.geometry, MSA_GEOMETRY_STRETCH);
        assert_int_equal(c.input_norm, known[i].norm);
        assert_int_equal(c.decoder_wiring, known[i].wiring);
        assert_int_equal(c.mask_select, known[i].select);
        assert_int_equal(c.depth_grouping, known[i].depth);
        assert_int_equal(c.point_order_yx, known[i].yx);
        if (c.depth_grouping == MSA_DEPTH_RUNS) assert_int_equal(c.depth_chunk, 6);
    }
}

static bool all_zero(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* SAM's weights at another image size: what upstream leaves at zero is interpolated. */
static void image_sizes(void **state)
{
    static const char *const sizes[] = {"16", "24", "32", "64"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const msa_convert_setting settings[] = {heads[0], {"image_size", sizes[i]}};
        const msa_convert_options o = {.profile = "msa2023", .settings = settings, .n_settings = 2};
        const char *out = out_of(state, "sized");
        MSA_AUTO(msa_model) m = NULL;
        (void)convert(path_of("sam.pth"), out, &o);
        assert_int_equal(msa_model_load(&m, out, NULL), MSA_OK);
        const msa_tables *t = msa_model_tables(m);
        const int32_t side = (int32_t)strtol(sizes[i], NULL, 10) / 4;
        assert_int_equal(t->h, side);
        assert_false(all_zero(t->pos_embed, (int64_t)side * side * 8));
        for (int32_t b = 0; b < 4; b++) {
            const int32_t rows = 2 * (b % 2 == 1 ? side : 3) - 1;
            assert_false(all_zero(t->rel_h[b], (int64_t)rows * 4));
            assert_false(all_zero(t->rel_w[b], (int64_t)rows * 4));
        }
    }
}

/* A file of adapters alone, completed by SAM, is what the whole file is but for unused depth adapters. */
static void merged(void **state)
{
    msa_convert_options o = with("msa2023");
    const char *whole = out_of(state, "whole"), *both = out_of(state, "both");
    MSA_AUTO(msa_safetensors) a = NULL;
    MSA_AUTO(msa_safetensors) b = NULL;
    (void)convert(path_of("msa2023.pth"), whole, &o);
    o.base = path_of("sam.pth");
    const msa_convert_report r = convert(path_of("msa-adapters.pth"), both, &o);
    assert_int_equal(r.matched, 32);
    assert_int_equal(r.missing, 202);
    assert_int_equal(r.unexpected, 0);
    assert_int_equal(r.written, 234);
    assert_int_equal(msa_safetensors_open(&a, whole, NULL), MSA_OK);
    assert_int_equal(msa_safetensors_open(&b, both, NULL), MSA_OK);
    for (int32_t i = 0; i < msa_safetensors_count(b); i++) {
        const msa_tensor *x = msa_safetensors_at(b, i), *y = msa_safetensors_find(a, x->name);
        assert_non_null(y);
        assert_memory_equal(x->data, y->data, (size_t)x->count * sizeof *x->data);
    }
    assert_non_null(msa_safetensors_metadata(b, "source_sha256"));
    assert_non_null(msa_safetensors_metadata(b, "completed_by_sha256"));
    (void)load(both);
}

/* MSA since 2024 has zeros where SAM has tables of relative positions; asked for, so have we. */
static void zero_tables(void **state)
{
    msa_convert_options o = with("msa2024");
    const char *out = out_of(state, "zero");
    MSA_AUTO(msa_safetensors) f = NULL;
    o.base = path_of("sam.pth");
    msa_convert_report r = convert(path_of("msa-adapters.pth"), out, &o);
    assert_true(r.base_decoder);
    assert_int_equal(r.zero_tables, 0);
    assert_int_equal(r.config.decoder_wiring, MSA_WIRING_SAM); /* which is the base's */
    assert_int_equal(r.config.mask_select, MSA_SELECT_FIRST);
    o.zero_tables = true;
    r = convert(path_of("msa-adapters.pth"), out, &o);
    assert_int_equal(r.zero_tables, 8);
    assert_int_equal(msa_safetensors_open(&f, out, NULL), MSA_OK);
    for (int32_t i = 0; i < msa_safetensors_count(f); i++) {
        const msa_tensor *t = msa_safetensors_at(f, i);
        assert_int_equal(all_zero(t->data, t->count), strstr(t->name, ".rel_pos_") != NULL);
    }
}

/* As an adapter file: small, and the same network with its base. */
static void as_an_adapter(void **state)
{
    msa_convert_options o = with("msa2023");
    const char *base = out_of(state, "base"), *adapter = out_of(state, "adapter");
    MSA_AUTO(msa_model) m = NULL;
    MSA_AUTO(msa_safetensors) f = NULL;
    msa_error err = MSA_ERROR_INIT;
    (void)convert(path_of("sam.pth"), base, &o);
    o.base = base;
    o.adapter = true;
    assert_int_equal(convert(path_of("msa-adapters.pth"), adapter, &o).written, 32);
    /* from the whole file the same: the rest is the base's, bit for bit */
    assert_int_equal(convert(path_of("msa2023.pth"), adapter, &o).written, 32);
    assert_int_equal(msa_safetensors_open(&f, adapter, NULL), MSA_OK);
    assert_null(msa_safetensors_find(f, "image_encoder.pos_embed"));
    if (msa_model_load_adapted(&m, base, adapter, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_true(msa_model_config(m)->adapters);
    assert_int_equal(msa_model_parameters(m), 8391);
}

/* A model of this program: its configuration and notes stay, its precision changes. */
static void own_models(void **state)
{
    msa_convert_options o = with("sam");
    const char *model = out_of(state, "model"), *half = out_of(state, "half");
    (void)convert(path_of("sam.pth"), model, &o);
    o = (msa_convert_options){.half = true};
    const msa_convert_report r = convert(model, half, &o);
    assert_string_equal(r.format, "safetensors");
    check_values(half, path_of("sam.pth"), true);
    assert_string_equal(load(half).name, "sam");
}

/* ---- networks ---- */

static msa_config decoder_adapter_config(void)
{
    msa_config c = fixture_config();
    c.decoder_adapters = MSA_DECODER_ADAPTERS_FIRST;
    c.decoder_adapter_mode = MSA_ADAPTER_HYPER;
    return c;
}

static msa_config lora_config(bool adaptive)
{
    msa_config c = fixture_plain_config();
    c.lora_rank = 2;
    c.lora_alpha = 1.0f;
    c.adalora = adaptive;
    return c;
}

static msa_config mobile_config(void)
{
    msa_config c = fixture_config();
    c.family = MSA_FAMILY_MOBILE_SAM;
    c.patch = 16;
    c.n_global = 0;
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        c.stage_dims[i] = 8 + 4 * i;
        c.stage_depths[i] = 1 + i % 2;
        c.stage_heads[i] = i == 0 ? 1 : 2;
        c.stage_windows[i] = i == 0 ? 1 : 3;
    }
    c.dim = 20;
    c.depth = 6;
    c.heads = 2;
    c.window = 3;
    c.mlp_dim = 40;
    return c;
}

static msa_config all_global_config(void)
{
    msa_config c = fixture_plain_config();
    c.window = c.n_global = 0;
    return c;
}

/* Everything that a foreign file would not say is taken away. */
static void strip_metadata(const char *path)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    assert_int_equal(msa_safetensors_open(&f, path, NULL), MSA_OK);
    const int32_t n = msa_safetensors_count(f);
    assert_int_equal(msa_safetensors_write(path, msa_safetensors_at(f, 0), n, NULL, 0, NULL, NULL, NULL),
                     MSA_OK);
}

/* A network of each kind, its configuration found again in its tensors and the profile. */
static void networks_come_back(void **state)
{
    const struct {
        msa_config c;
        const char *profile, *set[4];
    } known[] = {
        {fixture_plain_config(), "sam", {"4", "64", "5", "1"}},
        {all_global_config(), "sam", {"4", "64", NULL, NULL}},
        {lora_config(false), "sam", {"4", "64", "5", "1"}},
        {lora_config(true), "sam", {"4", "64", "5", "1"}},
        {decoder_adapter_config(), "msa2023", {"4", "64", "5", "1"}},
        {fixture_efficient_config(), "msa2025", {"4", "64", NULL, NULL}},
        {mobile_config(), "msa2023", {"4", "64", NULL, NULL}},
    };
    static const char *const keys[] = {"decoder_heads", "image_size", "window", "global_blocks"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        msa_convert_setting s[4];
        msa_convert_options o = {.profile = known[i].profile, .settings = s};
        const char *in = out_of(state, "foreign"), *out = out_of(state, "found");
        msa_config wanted = known[i].c;
        MSA_AUTO_FREE char *one = NULL;
        MSA_AUTO_FREE char *other = NULL;
        for (; o.n_settings < 4 && known[i].set[o.n_settings] != NULL; o.n_settings++)
            s[o.n_settings] = (msa_convert_setting){keys[o.n_settings], known[i].set[o.n_settings]};
        assert_int_equal(msa_model_write_random(in, &wanted, 9, NULL), MSA_OK);
        strip_metadata(in);
        const msa_convert_report r = convert(in, out, &o);
        check_values(out, in, false);
        wanted.input_norm = r.config.input_norm; /* these are the profile's */
        wanted.geometry = r.config.geometry;
        wanted.point_order_yx = r.config.point_order_yx;
        wanted.mask_select = r.config.mask_select;
        (void)snprintf(wanted.name, sizeof wanted.name, "foreign");
        wanted.version[0] = '\0';
        assert_int_equal(msa_config_print(&one, &wanted, NULL), MSA_OK);
        assert_int_equal(msa_config_print(&other, &r.config, NULL), MSA_OK);
        assert_string_equal(other, one);
        (void)load(out);
    }
}

/* What a model makes of one picture. */
enum { EMBEDDING = 32 * 8 * 8 };

static void encode(const msa_model *m, float *embedding)
{
    static float image[3 * 64 * 64];
    MSA_AUTO(msa_predictor) p = NULL;
    fixture_fill(image, 3 * 64 * 64, 1, 1.0f);
    assert_int_equal(msa_predictor_new(&p, m, NULL), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, embedding, NULL), MSA_OK);
}

/* EfficientSAM's weights are the same whoever computes with them, with an epsilon of 1e-6 as published or
 * 1e-5 as MSA does: an adapter goes on either and is computed with its own. */
static void epsilon_is_the_adapters(void **state)
{
    static const msa_convert_setting set[] = {
        {"decoder_heads", "4"}, {"image_size", "64"}, {"mask_select", "first"}, {"block_norm_eps", "1e-6"}};
    static float of_whole[EMBEDDING], of_both[EMBEDDING], of_other[EMBEDDING];
    msa_config c = fixture_efficient_config();
    const char *whole = out_of(state, "eps-whole"), *base = out_of(state, "eps-base");
    const char *one = out_of(state, "eps-one"), *adapter = out_of(state, "eps-adapter");
    assert_int_equal(msa_model_write_random(whole, &c, 9, NULL), MSA_OK); /* with adapters */
    strip_metadata(whole);
    c.adapters = false;
    assert_int_equal(msa_model_write_random(base, &c, 9, NULL), MSA_OK);
    strip_metadata(base);
    for (int own = 3; own <= 4; own++) { /* 1e-5 and 1e-6, on a base of 1e-5 */
        MSA_AUTO(msa_model) alone = NULL;
        MSA_AUTO(msa_model) both = NULL;
        msa_convert_options o = {.profile = "msa2025", .settings = set, .n_settings = 3};
        msa_error err = MSA_ERROR_INIT;
        const char *converted = out_of(state, "eps-converted");
        assert_true(convert(base, converted, &o).config.block_norm_eps == 1e-5f);
        o.n_settings = own;
        (void)convert(whole, one, &o);
        o.base = converted;
        o.adapter = true;
        (void)convert(whole, adapter, &o);
        assert_int_equal(msa_model_load(&alone, one, NULL), MSA_OK);
        if (msa_model_load_adapted(&both, converted, adapter, &err) != MSA_OK) fail_msg("%s", err.what);
        assert_true(msa_model_config(both)->block_norm_eps == (own == 3 ? 1e-5f : 1e-6f));
        encode(alone, of_whole);
        encode(both, of_both);
        assert_memory_equal(of_whole, of_both, sizeof of_whole);
        if (own == 4) assert_memory_not_equal(of_whole, of_other, sizeof of_whole);
        memcpy(of_other, of_whole, sizeof of_other);
    }
}

/* ---- refusals ---- */

static const struct {
    const char *in;
    msa_convert_options o;
    msa_status status;
    const char *sentence;
} refused[] = {
    {"sam.pth", {.settings = heads, .n_settings = 1}, MSA_E_INVALID, "which it is: sam, medsam"},
    {"msa2023.pth",
     {.settings = heads, .n_settings = 1},
     MSA_E_INVALID,
     "which it is: msa2023, msa2023-3d, sdtrans"},
    {"msa2025.pth",
     {.settings = heads, .n_settings = 1},
     MSA_E_INVALID,
     "msa2024, msa2024-3d, msa2025, msa2025-3d"},
    {"msa2023.pth", {.profile = "sam"}, MSA_E_INVALID, "does not fit: the file has adapters"},
    {"msa2023.pth", {.profile = "msa2025"}, MSA_E_INVALID, "the mask decoder is SAM's"},
    {"msa2025.pth", {.profile = "msa2023"}, MSA_E_INVALID, "the mask decoder is EfficientSAM's"},
    {"msa2025.pth", {.profile = "msa2024-01"}, MSA_E_INVALID, "names of another year"},
    {"sam.pth", {.profile = "msa2023-3d"}, MSA_E_INVALID, "no depth branch"},
    {"sam.pth", {.profile = "none"}, MSA_E_INVALID, "no profile none"},
    {"sam.pth", {.profile = "base"}, MSA_E_INVALID, "needs a --base"},
    {"sam.pth", {.profile = "sam"}, MSA_E_UNSUPPORTED, "half of prompt_dim"},
    {"sam.pth", {.profile = "sam", .prefix = "x."}, MSA_E_INVALID, "begins with x."},
    {"msa2023.pth",
     {.profile = "msa2023-3d", .settings = heads, .n_settings = 1},
     MSA_E_INVALID,
     "--depth-chunk"},
    {"msa-adapters.pth", {.profile = "msa2023"}, MSA_E_PARSE, "--base"},
    {"kinds.pth", {.profile = "sam"}, MSA_E_PARSE, "holds no image encoder"},
    {"make_checkpoints.py", {.profile = "sam"}, MSA_E_PARSE, "neither a checkpoint"},
    {"not-there.pth", {.profile = "sam"}, MSA_E_NOT_FOUND, "there is no file"},
};

static void refuses(void **state)
{
    const char *out = out_of(state, "refused");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        msa_convert_report r;
        msa_error err = MSA_ERROR_INIT;
        const msa_status status = msa_convert(path_of(refused[i].in), out, &refused[i].o, &r, &err);
        if (status != refused[i].status || strstr(err.what, refused[i].sentence) == NULL)
            fail_msg("%zu: %s: %s", i, msa_status_name(status), err.what);
        assert_int_not_equal(access(out, F_OK), 0);
    }
}

static void settings(void **state)
{
    (void)state;
    static const struct {
        msa_convert_setting s;
        const char *sentence; /* NULL: taken */
    } known[] = {
        {{"image_size", "256"}, NULL},
        {{"global_blocks", "2,5,8,11"}, NULL},
        {{"point_order_yx", "true"}, NULL},
        {{"input_norm", "medsam"}, NULL},
        {{"lora_alpha", "1"}, NULL},
        {{"name", "a \"name\""}, NULL},
        {{"image_size", "large"}, "image_size cannot be \"large\""},
        {{"image_size", "2.5"}, "a whole number"},
        {{"image_size", ""}, "cannot be \"\""},
        {{"input_norm", "SAM"}, "has no value SAM"},
        {{"global_blocks", "2;5"}, "cannot be \"2;5\""},
        {{"image-size", "256"}, "has no image-size"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        msa_error err = MSA_ERROR_INIT;
        const msa_status status = msa_convert_check_setting(&known[i].s, &err);
        assert_int_equal(status, known[i].sentence == NULL ? MSA_OK : MSA_E_INVALID);
        if (known[i].sentence != NULL && strstr(err.what, known[i].sentence) == NULL)
            fail_msg("%zu: %s", i, err.what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sam),
        cmocka_unit_test(medsam_half),
        cmocka_unit_test(eras),
        cmocka_unit_test(image_sizes),
        cmocka_unit_test(merged),
        cmocka_unit_test(as_an_adapter),
        cmocka_unit_test(own_models),
        cmocka_unit_test(zero_tables),
        cmocka_unit_test(networks_come_back),
        cmocka_unit_test(refuses),
        cmocka_unit_test(settings),
        cmocka_unit_test(epsilon_is_the_adapters),
    };
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
