#include "engine/convert/detect.h"

#include <string.h>

#define BLOCK "image_encoder.blocks.%d."

static int32_t axis(const msa_names *names, const char *name, int32_t i)
{
    return msa_names_axis(msa_names_find(names, name), i);
}

static bool has(const msa_names *names, const char *name)
{
    return msa_names_find(names, name) != NULL;
}

/* The side of a square of n; 0: it is none. */
static int32_t square_root(int32_t n)
{
    int32_t side = 0;
    while ((side + 1) * (int64_t)(side + 1) <= n)
        side++;
    return side * side == n ? side : 0;
}

/* ---- image encoder: ViT ---- */

static int32_t table_rows(const msa_names *names, int32_t block)
{
    return msa_names_axis(msa_names_findf(names, BLOCK "attn.rel_pos_h", block), 0);
}

/* Every published SAM looks at everything in four blocks, the last of each quarter. */
static bool is_published(const msa_config *c)
{
    static const int32_t known[][2] = {{768, 12}, {1024, 24}, {1280, 32}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (c->dim == known[i][0] && c->depth == known[i][1]) return true;
    return false;
}

static void set_published_blocks(msa_config *c)
{
    c->n_global = 4;
    for (int32_t i = 0; i < 4; i++)
        c->global_blocks[i] = (i + 1) * c->depth / 4 - 1;
}

/* Tables of a windowed block have 2 window - 1 rows, those of a global one belong to the grid that it was
 * trained on. The last block is global in every known network. */
static void find_windows(msa_config *c, const msa_names *names)
{
    const int32_t last = table_rows(names, c->depth - 1), first = table_rows(names, 0);
    c->n_global = 0;
    if (is_published(c) && first > 0) {
        set_published_blocks(c);
        c->window = (first + 1) / 2;
        return;
    }
    for (int32_t i = 0; i < c->depth; i++) {
        const int32_t rows = table_rows(names, i);
        if (rows == last)
            c->global_blocks[c->n_global++] = i;
        else
            c->window = (rows + 1) / 2;
    }
    if (c->n_global < c->depth) return;
    c->window = 0;
    /* one size only: all global, or all as large as a window, which is the same, unless the grid is another
     */
    c->n_global = last == 2 * (c->image_size / c->patch) - 1 ? 0 : -1;
}

/* Upstream keeps the table of positions of SAM and makes global tables anew for each image size (eras B to
 * D), so these tell; low-rank models keep SAM's tables, and plain SAM has no others. */
static void find_image_size(msa_config *c, const msa_names *names)
{
    const msa_named *pos = msa_names_find(names, "image_encoder.pos_embed");
    const int32_t grid = msa_names_axis(pos, 1) == msa_names_axis(pos, 2) ? msa_names_axis(pos, 1) : 0;
    const int32_t rows = table_rows(names, c->depth - 1);
    const bool sized_tables = c->decoder_wiring == MSA_WIRING_ESAM && c->lora_rank == 0 && rows > 0;
    const int64_t side = sized_tables ? (rows + 1) / 2 : grid, size = side * c->patch;
    c->image_size = size <= 4096 ? (int32_t)size : 0;
}

static void find_updates(msa_config *c, const msa_names *names)
{
    c->lora_rank = axis(names, "image_encoder.blocks.0.mlp.lin1.lora_A", 0);
    c->adalora = has(names, "image_encoder.blocks.0.mlp.lin1.lora_E");
    c->lora_alpha = 1.0f;
}

static msa_status find_vit(msa_config *c, const msa_names *names, msa_seen *seen, msa_error *err)
{
    const msa_named *stem = msa_names_find(names, "image_encoder.patch_embed.proj.weight");
    const msa_named *table = msa_names_find(names, "image_encoder.blocks.0.attn.rel_pos_h");
    c->dim = msa_names_axis(stem, 0);
    c->patch = msa_names_axis(stem, 2);
    c->depth = 0;
    while (c->depth <= MSA_DEPTH_MAX && msa_names_findf(names, BLOCK "norm1.weight", c->depth) != NULL)
        c->depth++;
    c->mlp_dim = axis(names, "image_encoder.blocks.0.mlp.lin1.weight", 0);
    if (c->dim < 1 || c->patch < 1 || c->depth < 1)
        return msa_fail(err, MSA_E_PARSE,
                        "the image encoder is not complete: there are no blocks, or no stem");
    c->heads = c->dim / (table != NULL && msa_names_axis(table, 1) > 0 ? msa_names_axis(table, 1) : 64);
    if (c->heads < 1) c->heads = 1;
    seen->own_tables = table != NULL && !table->of_base;
    seen->old_tables = table != NULL && !table->renamed;
    find_updates(c, names);
    if (c->family == MSA_FAMILY_EFFICIENTSAM) { /* its positions say nothing about its images */
        c->n_global = c->window = 0;
        c->image_size = 1024;
        return MSA_OK;
    }
    find_image_size(c, names);
    find_windows(c, names);
    return MSA_OK;
}

/* ---- image encoder: TinyViT ---- */

static void find_stage(msa_config *c, const msa_names *names, int32_t stage)
{
    const msa_named *biases =
        msa_names_findf(names, "image_encoder.layers.%d.blocks.0.attn.attention_biases", stage);
    int32_t depth = 0;
    while (depth <= MSA_DEPTH_MAX &&
           msa_names_findf(names, "image_encoder.layers.%d.blocks.%d.mlp.fc1.weight", stage, depth) != NULL)
        depth++;
    c->stage_depths[stage] = depth;
    c->stage_dims[stage] =
        msa_names_axis(msa_names_findf(names, "image_encoder.layers.%d.blocks.0.attn.qkv.weight", stage), 1);
    c->stage_heads[stage] = msa_names_axis(biases, 0);
    c->stage_windows[stage] = square_root(msa_names_axis(biases, 1));
}

static msa_status find_tiny(msa_config *c, const msa_names *names, msa_error *err)
{
    static const char first[] = "image_encoder.layers.0.blocks.%d.conv1.c.weight";
    const int32_t last = MSA_STAGES - 1;
    c->family = MSA_FAMILY_MOBILE_SAM;
    c->patch = 16;
    c->stage_heads[0] = 1; /* the first stage has convolutions alone */
    c->stage_windows[0] = 1;
    c->stage_dims[0] = axis(names, "image_encoder.layers.0.blocks.0.conv1.c.weight", 1);
    for (c->stage_depths[0] = 0; c->stage_depths[0] <= MSA_DEPTH_MAX;)
        if (msa_names_findf(names, first, c->stage_depths[0]) != NULL)
            c->stage_depths[0]++;
        else
            break;
    c->depth = c->stage_depths[0];
    for (int32_t i = 1; i < MSA_STAGES; i++) {
        find_stage(c, names, i);
        c->depth += c->stage_depths[i];
    }
    const int32_t ratio_dim = c->stage_dims[1],
                  hidden = axis(names, "image_encoder.layers.1.blocks.0.mlp.fc1.weight", 0);
    if (ratio_dim < 1 || hidden < ratio_dim || c->stage_dims[0] < 1 || hidden / ratio_dim > 16)
        return msa_fail(err, MSA_E_PARSE, "the image encoder, a TinyViT, is not complete");
    c->dim = c->stage_dims[last];
    c->heads = c->stage_heads[last];
    c->window = c->stage_windows[last];
    c->mlp_dim = c->dim * (hidden / ratio_dim);
    c->n_global = 0;
    c->image_size = 1024;
    return MSA_OK;
}

/* ---- the rest ---- */

static void find_adapters(msa_config *c, const msa_names *names)
{
    static const char layer[] = "mask_decoder.transformer.layers.%d.MLP_Adapter.D_fc1.weight";
    const char *encoder = c->family == MSA_FAMILY_MOBILE_SAM
                              ? "image_encoder.layers.1.blocks.0.MLP_Adapter.D_fc1.weight"
                              : "image_encoder.blocks.0.MLP_Adapter.D_fc1.weight";
    c->adapters = has(names, encoder);
    c->decoder_adapters = MSA_DECODER_ADAPTERS_NONE;
    if (msa_names_findf(names, layer, 0) == NULL) return;
    c->decoder_adapters =
        msa_names_findf(names, layer, 1) != NULL ? MSA_DECODER_ADAPTERS_ALL : MSA_DECODER_ADAPTERS_FIRST;
    c->decoder_adapter_mode = has(names, "mask_decoder.transformer.layers.0.HyP_Adapter.D_fc1.weight")
                                  ? MSA_ADAPTER_HYPER
                                  : MSA_ADAPTER_ADD;
}

static void find_decoder(msa_config *c, const msa_names *names)
{
    const msa_named *mlp = msa_names_find(names, "mask_decoder.transformer.layers.0.mlp.lin1.weight");
    c->prompt_dim = axis(names, "mask_decoder.iou_token.weight", 1);
    c->mask_tokens = axis(names, "mask_decoder.mask_tokens.weight", 0);
    c->decoder_mlp_dim = msa_names_axis(mlp, 0);
    c->decoder_wiring = (mlp != NULL && mlp->renamed) || c->family == MSA_FAMILY_EFFICIENTSAM
                            ? MSA_WIRING_ESAM
                            : MSA_WIRING_SAM;
    c->iou_hidden =
        axis(names,
             c->family == MSA_FAMILY_EFFICIENTSAM ? "mask_decoder.iou_prediction_head.layers.0.0.weight"
                                                  : "mask_decoder.iou_prediction_head.layers.0.weight",
             0);
    c->decoder_depth = 0;
    while (c->decoder_depth <= 8 && msa_names_findf(names, "mask_decoder.transformer.layers.%d.norm1.weight",
                                                    c->decoder_depth) != NULL)
        c->decoder_depth++;
    c->mask_select = c->mask_tokens > 4 ? MSA_SELECT_FIRST : c->mask_select;
}

/* The parts, and what to do about one that is not there. */
static msa_status check_parts(const msa_names *names, bool *tiny, msa_error *err)
{
    static const char advice[] = "the file holds no %s: name the model that it was trained on with --base";
    *tiny = has(names, "image_encoder.patch_embed.seq.0.c.weight");
    if (has(names, "image_encoder.cls_token") || has(names, "image_encoder.patch_embed.projection.weight"))
        return msa_fail(err, MSA_E_UNSUPPORTED, "the image encoder is another ViT than SAM's");
    if (has(names, "image_encoder.patch_embed.proj.weight") &&
        msa_names_find(names, "image_encoder.patch_embed.proj.weight")->tensor->rank != 4)
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the image encoder takes volumes, not pictures: it is not handled");
    if (!*tiny && !has(names, "image_encoder.patch_embed.proj.weight"))
        return msa_fail(err, MSA_E_PARSE, advice, "image encoder");
    if (!has(names, "mask_decoder.iou_token.weight"))
        return msa_fail(err, MSA_E_PARSE, advice, "mask decoder");
    if (!has(names, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"))
        return msa_fail(err, MSA_E_PARSE, advice, "prompt encoder");
    return MSA_OK;
}

msa_status msa_detect(msa_config *c, const msa_names *names, msa_seen *seen, msa_error *err)
{
    bool tiny = false;
    *seen = (msa_seen){0};
    MSA_TRY(check_parts(names, &tiny, err));
    c->family = has(names, "prompt_encoder.invalid_points.weight") ? MSA_FAMILY_EFFICIENTSAM : MSA_FAMILY_SAM;
    find_decoder(c, names);
    seen->own_decoder = !msa_names_find(names, "mask_decoder.iou_token.weight")->of_base;
    if (tiny)
        MSA_TRY(find_tiny(c, names, err));
    else
        MSA_TRY(find_vit(c, names, seen, err));
    find_adapters(c, names);
    c->detail = axis(names, "image_encoder.detail.0.enter.weight", 0);
    c->pad_order = c->adapters || tiny ? MSA_PAD_THEN_NORM : MSA_NORM_THEN_PAD;
    return MSA_OK;
}
