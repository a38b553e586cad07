#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/benchmark.h"
#include "engine/kern/peak.h"
#include "engine/sam/weights.h"

typedef struct preset {
    const char *name;
    int32_t dim, depth, heads, global_step; /* every so many blocks, the last one first */
} preset;

bool msa_benchmark_preset(msa_config *out, const char *name, int32_t image_size,
                          msa_benchmark_adapters adapters, int32_t slices)
{
    static const preset presets[] = {{"vit_b", 768, 12, 12, 3},
                                     {"vit_l", 1024, 24, 16, 6},
                                     {"vit_h", 1280, 32, 16, 8},
                                     {"vit_192", 192, 12, 3, 3}};
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

double msa_benchmark_encoder_gmac(const msa_config *c, int32_t slices)
{
    if (c->family == MSA_FAMILY_MOBILE_SAM) return (double)NAN;
    const double side = (double)c->image_size / c->patch, tokens = side * side, P = c->prompt_dim;
    double mac =
        tokens * (3.0 * c->patch * c->patch * c->dim + P * c->dim + 9 * P * P) + detail_mac(c, tokens);
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
