#include "engine/io/config_json.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

typedef enum field_kind {
    FIELD_SIZE,
    FIELD_BOOL,
    FIELD_ENUM,
    FIELD_FLOAT,
    FIELD_TEXT,
    FIELD_BLOCKS,
    FIELD_STAGES
} field_kind;

/* One row per key: where it goes, what it may be, and whether it may be missing. */
typedef struct field {
    const char *key;
    field_kind kind;
    size_t offset;
    int32_t min, max;         /* FIELD_SIZE, FIELD_STAGES; max is the room of FIELD_TEXT */
    const char *const *names; /* FIELD_ENUM */
    bool optional;
} field;

static const char *const family_names[] = {"sam", "efficientsam", "mobile_sam", NULL};
static const char *const wiring_names[] = {"sam", "esam", NULL};
static const char *const pad_names[] = {"norm_then_pad", "pad_then_norm", NULL};
static const char *const select_names[] = {"sam", "first", NULL};
static const char *const act_names[] = {"gelu", "relu", NULL};
static const char *const norm_names[] = {"sam", "unit", "medsam", "sam_on_unit", NULL};
static const char *const geometry_names[] = {"longest_side", "stretch", NULL};

static const char *const where_names[] = {"none", "first", "all", NULL};
static const char *const mode_names[] = {"add", "hyper", NULL};
static const char *const grouping_names[] = {"none", "volume", "runs", NULL};
static const char *const fold_names[] = {"line", "grid", NULL};

#define AT(member) offsetof(msa_config, member)
static const field fields[] = {
    {"name", FIELD_TEXT, AT(name), 0, sizeof((msa_config *)0)->name, NULL, true},
    {"version", FIELD_TEXT, AT(version), 0, sizeof((msa_config *)0)->version, NULL, true},
    {"family", FIELD_ENUM, AT(family), 0, 0, family_names, true},
    {"image_size", FIELD_SIZE, AT(image_size), 16, 2048, NULL, false},
    {"patch", FIELD_SIZE, AT(patch), 4, 32, NULL, false},
    {"dim", FIELD_SIZE, AT(dim), 1, 4096, NULL, false},
    {"depth", FIELD_SIZE, AT(depth), 1, MSA_DEPTH_MAX, NULL, false},
    {"heads", FIELD_SIZE, AT(heads), 1, 64, NULL, false},
    {"mlp_dim", FIELD_SIZE, AT(mlp_dim), 1, 16384, NULL, false},
    {"window", FIELD_SIZE, AT(window), 0, 64, NULL, false},
    {"global_blocks", FIELD_BLOCKS, AT(global_blocks), 0, MSA_DEPTH_MAX - 1, NULL, false},
    {"block_norm_eps", FIELD_FLOAT, AT(block_norm_eps), 0, 0, NULL, true},
    {"stage_dims", FIELD_STAGES, AT(stage_dims), 1, 4096, NULL, true},
    {"stage_depths", FIELD_STAGES, AT(stage_depths), 1, MSA_DEPTH_MAX, NULL, true},
    {"stage_heads", FIELD_STAGES, AT(stage_heads), 1, 64, NULL, true},
    {"stage_windows", FIELD_STAGES, AT(stage_windows), 1, 64, NULL, true},
    {"prompt_dim", FIELD_SIZE, AT(prompt_dim), 8, 1024, NULL, false},
    {"decoder_depth", FIELD_SIZE, AT(decoder_depth), 1, 8, NULL, false},
    {"decoder_heads", FIELD_SIZE, AT(decoder_heads), 1, 64, NULL, false},
    {"decoder_mlp_dim", FIELD_SIZE, AT(decoder_mlp_dim), 1, 16384, NULL, false},
    {"iou_hidden", FIELD_SIZE, AT(iou_hidden), 1, 4096, NULL, false},
    {"mask_tokens", FIELD_SIZE, AT(mask_tokens), 1, 64, NULL, false},
    {"adapters", FIELD_BOOL, AT(adapters), 0, 0, NULL, false},
    {"adapter_act", FIELD_ENUM, AT(adapter_act), 0, 0, act_names, true},
    {"adapter_mlp_scale", FIELD_FLOAT, AT(adapter_mlp_scale), 0, 0, NULL, true},
    {"decoder_adapters", FIELD_ENUM, AT(decoder_adapters), 0, 0, where_names, true},
    {"decoder_adapter_mode", FIELD_ENUM, AT(decoder_adapter_mode), 0, 0, mode_names, true},
    {"decoder_adapter_act", FIELD_ENUM, AT(decoder_adapter_act), 0, 0, act_names, true},
    {"depth_grouping", FIELD_ENUM, AT(depth_grouping), 0, 0, grouping_names, true},
    {"depth_fold", FIELD_ENUM, AT(depth_fold), 0, 0, fold_names, true},
    {"depth_chunk", FIELD_SIZE, AT(depth_chunk), 0, 1024, NULL, true},
    {"depth_slices", FIELD_SIZE, AT(depth_slices), 0, MSA_STACK_MAX, NULL, true},
    {"lora_rank", FIELD_SIZE, AT(lora_rank), 0, 1024, NULL, true},
    {"lora_alpha", FIELD_FLOAT, AT(lora_alpha), 0, 0, NULL, true},
    {"adalora", FIELD_BOOL, AT(adalora), 0, 0, NULL, true},
    {"decoder_wiring", FIELD_ENUM, AT(decoder_wiring), 0, 0, wiring_names, false},
    {"pad_order", FIELD_ENUM, AT(pad_order), 0, 0, pad_names, false},
    {"mask_select", FIELD_ENUM, AT(mask_select), 0, 0, select_names, false},
    {"classes", FIELD_SIZE, AT(classes), 0, 64, NULL, true},
    {"input_norm", FIELD_ENUM, AT(input_norm), 0, 0, norm_names, false},
    {"geometry", FIELD_ENUM, AT(geometry), 0, 0, geometry_names, false},
    {"crop_margin", FIELD_FLOAT, AT(crop_margin), 0, 0, NULL, true},
    {"box_as_mask", FIELD_BOOL, AT(box_as_mask), 0, 0, NULL, true},
    {"box_in_image", FIELD_BOOL, AT(box_in_image), 0, 0, NULL, true},
    {"detail", FIELD_SIZE, AT(detail), 0, 256, NULL, true},
    {"point_order_yx", FIELD_BOOL, AT(point_order_yx), 0, 0, NULL, true},
    {"untrained", FIELD_BOOL, AT(untrained), 0, 0, NULL, true},
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static inline void json_put(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_put))) json_t *

static const field *find_field(const char *key)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        if (strcmp(fields[i].key, key) == 0) return &fields[i];
    return NULL;
}

static msa_status wrong_type(const char *key, const char *wanted, msa_error *err)
{
    return msa_fail(err, MSA_E_PARSE, "configuration: %s must be %s", key, wanted);
}

/* An int that is out of int32 becomes one that is out of every range. */
static int32_t clamp_int(json_int_t v)
{
    return v < -1 ? -1 : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

static msa_status parse_blocks(msa_config *c, const json_t *value, msa_error *err)
{
    if (!json_is_array(value)) return wrong_type("global_blocks", "a list of numbers", err);
    if (json_array_size(value) > MSA_DEPTH_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: more than %d global_blocks", MSA_DEPTH_MAX);
    c->n_global = (int32_t)json_array_size(value);
    for (int32_t i = 0; i < c->n_global; i++) {
        const json_t *block = json_array_get(value, (size_t)i);
        if (!json_is_integer(block)) return wrong_type("global_blocks", "a list of numbers", err);
        c->global_blocks[i] = clamp_int(json_integer_value(block));
    }
    return MSA_OK;
}

static msa_status parse_stages(const field *f, int32_t *to, const json_t *value, msa_error *err)
{
    if (!json_is_array(value) || json_array_size(value) != MSA_STAGES)
        return wrong_type(f->key, "a list of four numbers", err);
    for (size_t i = 0; i < MSA_STAGES; i++) {
        const json_t *stage = json_array_get(value, i);
        if (!json_is_integer(stage)) return wrong_type(f->key, "a list of four numbers", err);
        to[i] = clamp_int(json_integer_value(stage));
    }
    return MSA_OK;
}

static msa_status parse_enum(const field *f, int *to, const json_t *value, msa_error *err)
{
    const char *name = json_string_value(value);
    for (int i = 0; name != NULL && f->names[i] != NULL; i++)
        if (strcmp(name, f->names[i]) == 0) {
            *to = i;
            return MSA_OK;
        }
    if (name == NULL) return wrong_type(f->key, "a name", err);
    return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: %s has no value %.40s", f->key, name);
}

static msa_status parse_text(const field *f, char *to, const json_t *value, msa_error *err)
{
    const char *text = json_string_value(value);
    if (text == NULL) return wrong_type(f->key, "a string", err);
    if (strlen(text) >= (size_t)f->max)
        return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: %s is longer than %d bytes", f->key,
                        f->max - 1);
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return msa_fail(err, MSA_E_PARSE, "configuration: %s holds a control character", f->key);
    memcpy(to, text, strlen(text) + 1);
    return MSA_OK;
}

static msa_status parse_field(const field *f, msa_config *c, const json_t *value, msa_error *err)
{
    void *to = (char *)c + f->offset;
    switch (f->kind) {
    case FIELD_SIZE:
        if (!json_is_integer(value)) return wrong_type(f->key, "a whole number", err);
        *(int32_t *)to = clamp_int(json_integer_value(value));
        return MSA_OK;
    case FIELD_BOOL:
        if (!json_is_boolean(value)) return wrong_type(f->key, "true or false", err);
        *(bool *)to = json_is_true(value);
        return MSA_OK;
    case FIELD_FLOAT:
        if (!json_is_number(value)) return wrong_type(f->key, "a number", err);
        *(float *)to = (float)json_number_value(value);
        return MSA_OK;
    case FIELD_ENUM:
        return parse_enum(f, to, value, err);
    case FIELD_TEXT:
        return parse_text(f, to, value, err);
    case FIELD_BLOCKS:
        return parse_blocks(c, value, err);
    case FIELD_STAGES:
        return parse_stages(f, to, value, err);
    }
    return MSA_OK;
}

static msa_status misfit(msa_error *err, const char *sentence)
{
    return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: %s", sentence);
}

static bool in_range(const field *f, const int32_t *v, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (v[i] < f->min || v[i] > f->max) return false;
    return true;
}

/* What TinyViT leaves open, and what it does not have. */
static msa_status check_stages(const msa_config *c, msa_error *err)
{
    const int32_t last = MSA_STAGES - 1;
    int32_t blocks = 0;
    for (size_t i = 0; i < N_FIELDS; i++) {
        const field *f = &fields[i];
        if (f->kind == FIELD_STAGES &&
            !in_range(f, (const int32_t *)(const void *)((const char *)c + f->offset), MSA_STAGES))
            return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: %s are not all in %d..%d", f->key, f->min,
                            f->max);
    }
    for (int32_t i = 0; i < MSA_STAGES; i++) {
        blocks += c->stage_depths[i];
        if (i > 0 && c->stage_dims[i] % c->stage_heads[i] != 0)
            return misfit(err, "a stage's width is not a multiple of its heads");
    }
    if (c->stage_dims[0] % 2 != 0) return misfit(err, "the first stage's width is odd");
    if (c->patch != 16) return misfit(err, "a TinyViT has a patch of 16");
    if (blocks != c->depth) return misfit(err, "depth is not the sum of stage_depths");
    if (c->dim != c->stage_dims[last] || c->heads != c->stage_heads[last] ||
        c->window != c->stage_windows[last] || c->n_global != 0)
        return misfit(err, "dim, heads, window and global_blocks are not those of the last stage");
    if (c->mlp_dim % c->dim != 0) return misfit(err, "mlp_dim is not a multiple of dim");
    if (c->pad_order != MSA_PAD_THEN_NORM) return misfit(err, "a TinyViT pads before its norm");
    if (c->lora_rank > 0 || c->detail > 0 || c->depth_grouping != MSA_DEPTH_NONE || c->block_norm_eps > 0)
        return misfit(err, "a TinyViT has no low-rank updates, detail, depth branch or block_norm_eps");
    return MSA_OK;
}

msa_status msa_config_check(const msa_config *c, msa_error *err)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        const field *f = &fields[i];
        if (f->kind != FIELD_SIZE) continue;
        const int32_t v = *(const int32_t *)(const void *)((const char *)c + f->offset);
        if (v < f->min || v > f->max)
            return msa_fail(err, MSA_E_UNSUPPORTED, "configuration: %s is %d, not in %d..%d", f->key, v,
                            f->min, f->max);
    }
    if (c->image_size % c->patch != 0) return misfit(err, "image_size is not a multiple of patch");
    if (c->dim % c->heads != 0) return misfit(err, "dim is not a multiple of heads");
    if (c->prompt_dim % 8 != 0) return misfit(err, "prompt_dim is not a multiple of 8");
    if (c->prompt_dim / 2 % c->decoder_heads != 0)
        return misfit(err, "half of prompt_dim is not a multiple of decoder_heads");
    if (c->classes > c->mask_tokens || (c->classes > 0 && c->mask_select != MSA_SELECT_FIRST))
        return misfit(err, "classes are more than mask_tokens, or mask_select is not first");
    if (c->n_global < 0 || c->n_global > MSA_DEPTH_MAX) return misfit(err, "too many global_blocks");
    for (int32_t i = 0; i < c->n_global; i++)
        if (c->global_blocks[i] < 0 || c->global_blocks[i] >= c->depth)
            return misfit(err, "a global block is not one of the blocks");
    if (!isfinite(c->adapter_mlp_scale) || fabsf(c->adapter_mlp_scale) > 100.0f)
        return misfit(err, "adapter_mlp_scale is not in -100..100");
    if (c->depth_grouping != MSA_DEPTH_NONE && !c->adapters)
        return misfit(err, "depth_grouping needs adapters");
    if (c->block_norm_eps != 0.0f && !(c->block_norm_eps >= 1e-7f && c->block_norm_eps <= 1e-4f))
        return misfit(err, "block_norm_eps is not in 1e-7..1e-4");
    if (c->family == MSA_FAMILY_MOBILE_SAM) MSA_TRY(check_stages(c, err));
    if (c->family == MSA_FAMILY_EFFICIENTSAM && (c->decoder_wiring != MSA_WIRING_ESAM || c->box_as_mask))
        return misfit(err, "EfficientSAM has decoder_wiring esam and takes no masks");
    if (c->adalora && c->lora_rank == 0) return misfit(err, "adalora needs a lora_rank");
    if (c->lora_rank > 0 && !(fabsf(c->lora_alpha) > 0.0f && fabsf(c->lora_alpha) <= 1e4f))
        return misfit(err, "lora_alpha is zero or not in -10000..10000");
    if (c->detail > 0 && c->patch % 4 != 0)
        return misfit(err, "detail needs a patch that is a multiple of 4");
    if (!(c->crop_margin >= 0.0f && c->crop_margin <= 10.0f))
        return misfit(err, "crop_margin is not in 0..10");
    return MSA_OK;
}

msa_status msa_config_parse(msa_config *out, const char *json, msa_error *err)
{
    json_error_t problem;
    const char *key = NULL;
    json_t *value = NULL;
    msa_config c = {.adapter_mlp_scale = 0.5f, .lora_alpha = 1.0f};
    AUTO_JSON root = json_loads(json, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL) return msa_fail(err, MSA_E_PARSE, "configuration is not valid JSON: %s", problem.text);
    if (!json_is_object(root)) return msa_fail(err, MSA_E_PARSE, "configuration is not a JSON object");
    json_object_foreach(root, key, value)
    {
        const field *f = find_field(key);
        if (f == NULL) return msa_fail(err, MSA_E_PARSE, "configuration: unknown key %.60s", key);
        MSA_TRY(parse_field(f, &c, value, err));
    }
    for (size_t i = 0; i < N_FIELDS; i++)
        if (!fields[i].optional && json_object_get(root, fields[i].key) == NULL)
            return msa_fail(err, MSA_E_PARSE, "configuration: %s is missing", fields[i].key);
    MSA_TRY(msa_config_check(&c, err));
    *out = c;
    return MSA_OK;
}

static json_t *print_field(const field *f, const msa_config *c)
{
    const void *from = (const char *)c + f->offset;
    switch (f->kind) {
    case FIELD_SIZE:
        return json_integer(*(const int32_t *)from);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)from);
    case FIELD_FLOAT:
        return json_real((double)*(const float *)from);
    case FIELD_ENUM:
        return json_string(f->names[*(const int *)from]);
    case FIELD_TEXT:
        return json_string(from);
    case FIELD_BLOCKS:
    case FIELD_STAGES:
        break;
    }
    const int32_t *values = from, n = f->kind == FIELD_STAGES ? MSA_STAGES : c->n_global;
    json_t *list = json_array();
    for (int32_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_integer(values[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* A model that does not use what came later says nothing of it: its file stays what it was, and older
 * readers, which refuse unknown keys, take it. */
static bool left_out(const field *f, const msa_config *c)
{
    if (f->offset == AT(family)) return c->family == MSA_FAMILY_SAM;
    if (f->kind == FIELD_STAGES) return c->family != MSA_FAMILY_MOBILE_SAM;
    if (f->offset == AT(block_norm_eps)) return c->block_norm_eps == 0.0f;
    if (f->offset == AT(adalora)) return !c->adalora;
    if (f->offset == AT(box_in_image)) return !c->box_in_image;
    if (f->offset == AT(detail)) return c->detail == 0;
    if (f->offset == AT(classes)) return c->classes == 0;
    if (f->offset == AT(crop_margin)) return c->crop_margin == 0.0f;
    if (f->offset == AT(box_as_mask)) return !c->box_as_mask;
    if (strncmp(f->key, "depth_", 6) == 0) return c->depth_grouping == MSA_DEPTH_NONE;
    if (strncmp(f->key, "lora_", 5) == 0) return c->lora_rank == 0;
    return c->decoder_adapters == MSA_DECODER_ADAPTERS_NONE && strncmp(f->key, "decoder_adapter", 15) == 0;
}

msa_status msa_config_print(char **out, const msa_config *config, msa_error *err)
{
    *out = NULL;
    AUTO_JSON root = json_object();
    for (size_t i = 0; i < N_FIELDS; i++)
        if (!left_out(&fields[i], config) &&
            json_object_set_new(root, fields[i].key, print_field(&fields[i], config)) != 0)
            return msa_fail(err, MSA_E_NOMEM, "no memory for the configuration, or its text is not UTF-8");
    *out = json_dumps(root, JSON_COMPACT);
    if (*out == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the configuration");
    return MSA_OK;
}

/* A person's text as the JSON value that a file would hold; NULL: it is none. */
static json_t *value_of(const field *f, const char *text)
{
    if (f->kind == FIELD_ENUM || f->kind == FIELD_TEXT) return json_string(text);
    if (f->kind != FIELD_BLOCKS && f->kind != FIELD_STAGES) return json_loads(text, JSON_DECODE_ANY, NULL);
    MSA_AUTO_FREE char *list = NULL;
    if (asprintf(&list, "[%s]", text) < 0) {
        list = NULL;
        return NULL;
    }
    return json_loads(list, 0, NULL);
}

msa_status msa_config_set(msa_config *config, const char *key, const char *text, msa_error *err)
{
    const field *f = find_field(key);
    msa_error why = MSA_ERROR_INIT;
    if (f == NULL) return msa_fail(err, MSA_E_INVALID, "a configuration has no %.60s", key);
    AUTO_JSON value = value_of(f, text);
    if (value == NULL) return msa_fail(err, MSA_E_INVALID, "%s cannot be \"%.40s\"", key, text);
    if (parse_field(f, config, value, &why) != MSA_OK) return msa_fail(err, MSA_E_INVALID, "%s", why.what);
    return MSA_OK;
}
