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
    const bool sam = strcmp(variant, "sam") == 0, esam = strncmp(variant, "msa2025", 7) == 0;
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
    config_of_variant(c, golden_meta(f, "variant"));
    config_of_depth(c, f);
    json_decref(j);
    return true;
}

uint64_t golden_seed(const golden_file *f)
{
    const char *seed = golden_meta(f, "seed");
    return seed == NULL ? 0 : strtoull(seed, NULL, 10);
}

/* ---- the model ---- */

static msa_status open_hashed(msa_model **m, const golden_file *f, const msa_config *c, msa_error *err)
{
    char folder[] = "/tmp/check_golden.XXXXXX", path[64];
    if (mkdtemp(folder) == NULL) return msa_fail(err, MSA_E_IO, "cannot make a temporary folder");
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    const int32_t pos_grid = strncmp(golden_meta(f, "variant"), "msa2025", 7) == 0 ? 64 : 0;
    msa_status status = msa_model_write_hashed(path, c, golden_seed(f), pos_grid, err);
    if (status == MSA_OK) status = msa_model_open(m, path, "", c, err);
    (void)unlink(path); /* the mapping stays */
    (void)rmdir(folder);
    return status;
}

msa_status golden_model(msa_model **m, const golden_file *f, const msa_config *c, msa_error *err)
{
    const char *weights = golden_meta(f, "weights_file");
    char path[4096];
    if (weights == NULL) return msa_fail(err, MSA_E_PARSE, "the metadata names no weights_file");
    if (strncmp(weights, "none", 4) == 0) return open_hashed(m, f, c, err);
    if (weights[0] == '(') return msa_model_open(m, golden_path(f), "w.", c, err);
    if (strchr(weights, '/') != NULL) return msa_fail(err, MSA_E_PARSE, "weights_file is not a plain name");
    char *copy = strdup(golden_path(f));
    if (copy == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory");
    (void)snprintf(path, sizeof path, "%s/%s", dirname(copy), weights);
    free(copy);
    return msa_model_open(m, path, "w.", c, err);
}
