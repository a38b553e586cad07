#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "engine/benchmark.h"
#include "engine/sam/weights.h"

typedef struct preset {
    const char *name;
    int32_t dim, depth, heads, global_step; /* every so many blocks, the last one first */
} preset;

bool msa_benchmark_preset(msa_config *out, const char *name, int32_t image_size, bool adapters)
{
    static const preset presets[] = {
        {"vit_b", 768, 12, 12, 3}, {"vit_l", 1024, 24, 16, 6}, {"vit_h", 1280, 32, 16, 8}};
    const preset *p = NULL;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(name, presets[i].name) == 0) p = &presets[i];
    if (p == NULL || image_size < 64 || image_size > 2048 || image_size % 16 != 0) return false;
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
                        .adapters = adapters,
                        .adapter_mlp_scale = 0.5f,
                        .pad_order = adapters ? MSA_PAD_THEN_NORM : MSA_NORM_THEN_PAD,
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

double msa_benchmark_encoder_gmac(const msa_config *c)
{
    const double side = (double)c->image_size / c->patch, tokens = side * side, P = c->prompt_dim;
    double mac =
        tokens * (3.0 * c->patch * c->patch * c->dim + P * c->dim + 9 * P * P) + detail_mac(c, tokens);
    for (int32_t i = 0; i < c->depth; i++) {
        bool global = c->window == 0;
        for (int32_t k = 0; k < c->n_global; k++)
            global = global || c->global_blocks[k] == i;
        mac += block_mac(c, tokens, global);
    }
    return mac * 1e-9;
}
