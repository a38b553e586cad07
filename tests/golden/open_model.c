/* The model that a reference file speaks of: its configuration in the metadata, its weights here or
 * elsewhere. */
#include <jansson.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sam/internal.h"
#include "tests/golden/golden.h"

/* ---- metadata ---- */

static int32_t config_int(const json_t *j, const char *key, int32_t otherwise)
{
    const json_t *v = json_object_get(j, key);
    return json_is_integer(v) ? (int32_t)json_integer_value(v) : otherwise;
}

static void config_of_variant(msa_config *c, const char *variant)
{
    const bool efficient = strcmp(variant, "effsam") == 0;
    const bool sam = strcmp(variant, "sam") == 0 || strstr(variant, "lora") != NULL;
    const bool esam = strncmp(variant, "msa2025", 7) == 0 || efficient;
    if (efficient) c->family = MSA_FAMILY_EFFICIENTSAM;
    c->adapters = !sam;
    c->pad_order = sam ? MSA_NORM_THEN_PAD : MSA_PAD_THEN_NORM;
    c->decoder_wiring = esam ? MSA_WIRING_ESAM : MSA_WIRING_SAM;
    c->mask_select = esam ? MSA_SELECT_FIRST : MSA_SELECT_SAM;
    c->adapter_mlp_scale = 0.5f;
}

/* Files of volumes say how the published code ran ("chunk" is a number or None); the corrected form of the
 * depth branch is a variant of its own, laid out on the grid unless the caller says otherwise. */
static void config_of_depth(msa_config *c, const golden_file *f)
{
    const msa_tensor *image = golden_find(f, "in.image");
    const char *thd = golden_meta(f, "thd"), *chunk = golden_meta(f, "chunk");
    const bool stack = thd != NULL ? strcmp(thd, "True") == 0 : image != NULL && image->shape[0] > 1;
    if (strcmp(golden_meta(f, "variant"), "sdtrans_fixed") == 0)
        c->depth_grouping = MSA_DEPTH_VOLUME;
    else if (stack)
        c->depth_grouping = MSA_DEPTH_RUNS;
    else
        return;
    c->depth_fold = MSA_DEPTH_GRID;
    c->depth_chunk = chunk == NULL ? 0 : (int32_t)strtol(chunk, NULL, 10);
}

static void read_stages(const json_t *j, const char *key, int32_t to[MSA_STAGES])
{
    const json_t *list = json_object_get(j, key);
    for (size_t i = 0; i < MSA_STAGES && i < json_array_size(list); i++)
        to[i] = (int32_t)json_integer_value(json_array_get(list, i));
}

/* The file speaks of stages, and says nothing of the decoder. */
static void config_of_mobile(msa_config *c, const json_t *j)
{
    c->family = MSA_FAMILY_MOBILE_SAM;
    c->patch = 16;
    c->prompt_dim = config_int(j, "neck", 256);
    read_stages(j, "embed_dims", c->stage_dims);
    read_stages(j, "depths", c->stage_depths);
    read_stages(j, "heads", c->stage_heads);
    read_stages(j, "windows", c->stage_windows);
    c->dim = c->stage_dims[MSA_STAGES - 1];
    c->heads = c->stage_heads[MSA_STAGES - 1];
    c->window = c->stage_windows[MSA_STAGES - 1];
    c->mlp_dim = c->dim * config_int(j, "mlp_ratio", 4);
    for (int i = 0; i < MSA_STAGES; i++)
        c->depth += c->stage_depths[i];
}

static void config_of_updates(msa_config *c, const golden_file *f)
{
    if (strstr(golden_meta(f, "variant"), "lora") == NULL) return;
    c->lora_rank = (int32_t)strtol(golden_meta(f, "rank"), NULL, 10);
    c->lora_alpha = 1.0f;
    c->adalora = strcmp(golden_meta(f, "variant"), "adalora") == 0;
}

bool golden_config(msa_config *c, const golden_file *f)
{
    const char *text = golden_meta(f, "config");
    json_t *j = text == NULL ? NULL : json_loads(text, 0, NULL);
    const msa_tensor *tokens = golden_find(f, "w.mask_decoder.mask_tokens.weight");
    *c = (msa_config){0};
    if (j == NULL) return false;
    c->image_size = config_int(j, "img", 0);
    c->patch = config_int(j, "patch", 16);
    c->dim = config_int(j, "dim", 0);
    c->depth = config_int(j, "depth", 0);
    c->heads = config_int(j, "heads", 0);
    c->mlp_dim = config_int(j, "mlp", 4 * c->dim);
    c->window = config_int(j, "win", 0);
    c->prompt_dim = config_int(j, "pdim", 256);
    c->decoder_depth = config_int(j, "ddepth", 2);
    c->decoder_heads = config_int(j, "dheads", 8);
    c->decoder_mlp_dim = config_int(j, "dmlp", 2048);
    c->iou_hidden = config_int(j, "iouh", 256);
    c->mask_tokens = tokens == NULL ? 4 : (int32_t)tokens->shape[0];
    const json_t *blocks = json_object_get(j, "glob");
    for (size_t i = 0; i < json_array_size(blocks) && i < MSA_DEPTH_MAX; i++)
        c->global_blocks[c->n_global++] = (int32_t)json_integer_value(json_array_get(blocks, i));
    c->block_norm_eps = (float)json_number_value(json_object_get(j, "norm_eps_blocks"));
    config_of_variant(c, golden_meta(f, "variant"));
    if (strcmp(golden_meta(f, "variant"), "mobile") == 0)
        config_of_mobile(c, j);
    else
        config_of_depth(c, f);
    config_of_updates(c, f);
    json_decref(j);
    return true;
}

uint64_t golden_seed(const golden_file *f)
{
    const char *seed = golden_meta(f, "seed");
    return seed == NULL ? 0 : strtoull(seed, NULL, 10);
}

/* ---- the model ---- */

/* A model made up in a temporary folder; the mapping stays when the file is gone. */
static msa_status open_made(msa_model **m, const golden_file *f, const msa_config *c,
                            msa_status make(const char *path, const golden_file *f, const msa_config *c,
                                            msa_error *err),
                            msa_error *err)
{
    char folder[] = "/tmp/check_golden.XXXXXX", path[64];
    if (mkdtemp(folder) == NULL) return msa_fail(err, MSA_E_IO, "cannot make a temporary folder");
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    msa_status status = make(path, f, c, err);
    if (status == MSA_OK) status = msa_model_open(m, path, "", c, err);
    (void)unlink(path);
    (void)rmdir(folder);
    return status;
}

static msa_status make_hashed(const char *path, const golden_file *f, const msa_config *c, msa_error *err)
{
    const int32_t pos_grid = strncmp(golden_meta(f, "variant"), "msa2025", 7) == 0 ? 64 : 0;
    return msa_model_write_hashed(path, c, golden_seed(f), pos_grid, err);
}

/* The file's tensor of this name, under our name or what eras B to D call it. Blocks may stand alone. */
static const msa_tensor *weight_in(const golden_file *f, const char *name)
{
    const char *part = strstr(name, "rel_pos_"), *alone = "image_encoder.";
    const msa_tensor *t = golden_findf(f, "w.%s", name);
    if (t == NULL && strncmp(name, alone, strlen(alone)) == 0) {
        t = golden_findf(f, "w.%s", name + strlen(alone));
        if (t == NULL && part != NULL)
            t = golden_findf(f, "w.%.*srel_%s", (int)(part - name - (int)strlen(alone)), name + strlen(alone),
                             part + strlen("rel_pos_"));
    }
    if (t != NULL || part == NULL) return t;
    return golden_findf(f, "w.%.*srel_%s", (int)(part - name), name, part + strlen("rel_pos_"));
}

static void fill_zero(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to)
{
    (void)ctx, (void)t, (void)first;
    memset(to, 0, (size_t)n * sizeof *to);
}

/* The first block's input, where a file has that instead of an image: patches of zero, and it as positions.
 */
static void begin_with_blocks(const golden_file *f, msa_tensor *t)
{
    const msa_tensor *x = golden_find(f, "in.x");
    if (x == NULL) return;
    if (strcmp(t->name, "image_encoder.pos_embed") == 0 && t->count == x->count) t->data = x->data;
    if (strncmp(t->name, "image_encoder.patch_embed.", 26) == 0) t->data = NULL;
}

/* The file holds an encoder: what else makes a model is from the hash scheme, and says nothing. */
static msa_status make_completed(const char *path, const golden_file *f, const msa_config *c, msa_error *err)
{
    MSA_AUTO(msa_safetensors) whole = NULL;
    MSA_TRY(make_hashed(path, f, c, err));
    MSA_TRY(msa_safetensors_open(&whole, path, err));
    const int32_t n = msa_safetensors_count(whole);
    MSA_AUTO_FREE msa_tensor *list = calloc((size_t)n, sizeof *list);
    if (list == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    for (int32_t i = 0; i < n; i++) {
        const msa_tensor *made = msa_safetensors_at(whole, i), *own = weight_in(f, made->name);
        list[i] = own != NULL ? *own : *made;
        list[i].name = made->name;
        begin_with_blocks(f, &list[i]);
    }
    return msa_safetensors_write(path, list, n, NULL, 0, fill_zero, NULL, err);
}

msa_status golden_model(msa_model **m, const golden_file *f, const msa_config *c, msa_error *err)
{
    const char *weights = golden_meta(f, "weights_file");
    char path[4096];
    if (weights == NULL && c->family == MSA_FAMILY_EFFICIENTSAM)
        return msa_model_open(m, golden_path(f), "w.", c, err);
    if (weights == NULL && c->family == MSA_FAMILY_MOBILE_SAM) return open_made(m, f, c, make_hashed, err);
    if (weights == NULL &&
        (golden_find(f, "w.image_encoder.pos_embed") != NULL || golden_find(f, "in.x") != NULL))
        return open_made(m, f, c, make_completed, err);
    if (weights == NULL) return msa_fail(err, MSA_E_PARSE, "the metadata names no weights_file");
    if (strncmp(weights, "none", 4) == 0) return open_made(m, f, c, make_hashed, err);
    if (weights[0] == '(') return msa_model_open(m, golden_path(f), "w.", c, err);
    if (strchr(weights, '/') != NULL) return msa_fail(err, MSA_E_PARSE, "weights_file is not a plain name");
    char *copy = strdup(golden_path(f));
    if (copy == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    (void)snprintf(path, sizeof path, "%s/%s", dirname(copy), weights);
    free(copy);
    return msa_model_open(m, path, "w.", c, err);
}
