#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/benchmark.h"
#include "engine/kern/peak.h"
#include "engine/sam/weights.h"

typedef struct preset {
    const char *name;
    int32_t dim, depth, heads, global_step; /* every so many blocks, the last one first; 0: all, no windows */
    msa_family family;
} preset;

static void make_efficient(msa_config *c)
{
    c->family = MSA_FAMILY_EFFICIENTSAM;
    c->decoder_wiring = MSA_WIRING_ESAM;
    c->geometry = MSA_GEOMETRY_STRETCH;
    c->window = c->n_global = 0;
}

static void make_mobile(msa_config *c)
{
    static const int32_t dims[MSA_STAGES] = {64, 128, 160, 320}, depths[MSA_STAGES] = {2, 2, 6, 2},
                         heads[MSA_STAGES] = {2, 4, 5, 10}, windows[MSA_STAGES] = {7, 7, 14, 7};
    c->family = MSA_FAMILY_MOBILE_SAM;
    c->window = windows[MSA_STAGES - 1];
    c->n_global = 0;
    c->pad_order = MSA_PAD_THEN_NORM;
    memcpy(c->stage_dims, dims, sizeof dims);
    memcpy(c->stage_depths, depths, sizeof depths);
    memcpy(c->stage_heads, heads, sizeof heads);
    memcpy(c->stage_windows, windows, sizeof windows);
}

bool msa_benchmark_preset(msa_config *out, const char *name, int32_t image_size,
                          msa_benchmark_adapters adapters, int32_t slices)
{
    static const preset presets[] = {
        {"vit_b", 768, 12, 12, 3, MSA_FAMILY_SAM},
        {"vit_l", 1024, 24, 16, 6, MSA_FAMILY_SAM},
        {"vit_h", 1280, 32, 16, 8, MSA_FAMILY_SAM},
        {"vit_192", 192, 12, 3, 3, MSA_FAMILY_SAM},
        {"efficientsam_vit_t", 192, 12, 3, 0, MSA_FAMILY_EFFICIENTSAM},
        {"efficientsam_vit_s", 384, 12, 6, 0, MSA_FAMILY_EFFICIENTSAM},
        {"mobile_sam", 320, 12, 10, 0, MSA_FAMILY_MOBILE_SAM},
    };
    const bool adapted = adapters != MSA_BENCHMARK_PLAIN, deep = adapters == MSA_BENCHMARK_3D;
    const preset *p = NULL;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(name, presets[i].name) == 0) p = &presets[i];
    if (p == NULL || image_size < 64 || image_size > 2048 || image_size % 16 != 0) return false;
    if (deep && (slices < 1 || slices > MSA_STACK_MAX)) return false;
    *out = (msa_config){.image_size = image_size,
                        .patch = 16,
                        .dim = p->dim,
                        .depth = p->depth,
                        .heads = p->heads,
                        .mlp_dim = 4 * p->dim,
                        .window = 14,
                        .n_global = 4,
                        .prompt_dim = 256,
                        .decoder_depth = 2,
                        .decoder_heads = 8,
                        .decoder_mlp_dim = 2048,
                        .iou_hidden = 256,
                        .mask_tokens = 4,
                        .adapters = adapted,
                        .depth_grouping = deep ? MSA_DEPTH_VOLUME : MSA_DEPTH_NONE,
                        .depth_fold = MSA_DEPTH_LINE,
                        .depth_slices = deep ? slices : 0,
                        .adapter_mlp_scale = 0.5f,
                        .pad_order = adapted ? MSA_PAD_THEN_NORM : MSA_NORM_THEN_PAD,
                        .untrained = true,
                        .version = "1"};
    for (int32_t i = 0; i < out->n_global; i++)
        out->global_blocks[i] = (i + 1) * p->global_step - 1;
    if (p->family == MSA_FAMILY_EFFICIENTSAM) make_efficient(out);
    if (p->family == MSA_FAMILY_MOBILE_SAM) make_mobile(out);
    (void)snprintf(out->name, sizeof out->name, "%s-random", p->name);
    return true;
}

/* ---- what it costs ---- */

static double block_mac(const msa_config *c, double tokens, bool global)
{
    const double C = c->dim, window = c->window, side = (double)c->image_size / c->patch;
    const double keys = global ? tokens : window * window, sides = global ? 2 * side : 2 * window;
    const double linear = 4 * C * C + 2 * C * c->mlp_dim + (c->adapters ? C * C : 0); /* two of 2 C C / 4 */
    return tokens * (linear + 2 * keys * C + (2 * sides - 2) * C);
}

/* Depth branch of one slice in a block: attention to its own place in every slice, on the queries, keys and
 * values that are there already, the projection once more and an adapter of its own. */
static double depth_mac(const msa_config *c, double tokens, double slices)
{
    const double C = c->dim;
    if (c->depth_grouping == MSA_DEPTH_NONE) return 0.0;
    return tokens * (1.5 * C * C + 2 * slices * C + 2 * slices * C);
}

/* engine/sam/detail.h */
static double detail_mac(const msa_config *c, double tokens)
{
    const double side = c->patch / 4, out[MSA_DETAIL_LEVELS] = {c->prompt_dim / 8, c->prompt_dim / 4, c->dim};
    double mac = 0.0;
    for (int l = 0; l < MSA_DETAIL_LEVELS && c->detail > 0; l++) {
        const double C = c->detail << l, pixels = tokens * (16 >> 2 * l);
        mac += pixels * C * ((l == 0 ? 3 * side * side : 2 * C) + 9 * C + 9 * out[l]);
    }
    return mac;
}

/* engine/sam/tiny_vit.h, before the neck; tokens of the last stage. */
static double tiny_mac(const msa_config *c, double tokens)
{
    const double first = c->stage_dims[0], ratio = (double)c->mlp_dim / c->dim;
    double mac = 64 * tokens * 27 * first / 2 + 16 * tokens * 9 * first / 2 * first;
    mac += 16 * tokens * c->stage_depths[0] * ratio * first * (2 * first + 9);
    for (int32_t i = 1; i < MSA_STAGES; i++) {
        const double C = c->stage_dims[i], window = c->stage_windows[i], n = i == 1 ? 4 * tokens : tokens;
        const double before = i == 1 ? 16 * tokens : i == 2 ? 4 * tokens : tokens;
        const double linear = (4 + 2 * ratio + (c->adapters ? 1 : 0)) * C * C; /* adapters: as below */
        mac += before * c->stage_dims[i - 1] * C + n * C * (9 + C);
        mac += c->stage_depths[i] * n * (linear + 9 * C + 2 * window * window * C);
    }
    return mac;
}

double msa_benchmark_encoder_gmac(const msa_config *c, int32_t slices)
{
    const double side = (double)c->image_size / c->patch, tokens = side * side, P = c->prompt_dim;
    double mac = tokens * (P * c->dim + 9 * P * P) + detail_mac(c, tokens);
    if (c->family == MSA_FAMILY_MOBILE_SAM) return (mac + tiny_mac(c, tokens)) * slices * 1e-9;
    mac += tokens * 3.0 * c->patch * c->patch * c->dim;
    for (int32_t i = 0; i < c->depth; i++) {
        bool global = c->window == 0;
        for (int32_t k = 0; k < c->n_global; k++)
            global = global || c->global_blocks[k] == i;
        mac += block_mac(c, tokens, global) + depth_mac(c, tokens, slices);
    }
    return mac * slices * 1e-9;
}

double msa_benchmark_fma_peak(void)
{
    return msa_fma_peak_gflops(msa_threads_get());
}
