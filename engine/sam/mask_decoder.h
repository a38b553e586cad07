/* SAM's mask decoder: two-way transformer, up-scaling, hypernetworks, predicted IoU. */
#ifndef MSA_ENGINE_SAM_MASK_DECODER_H
#define MSA_ENGINE_SAM_MASK_DECODER_H

#include "engine/base/arena.h"
#include "engine/base/pool.h"
#include "engine/nn/groupnorm.h"
#include "engine/sam/cross_attention.h"
#include "engine/sam/tap.h"
#include "engine/sam/weights.h"

/* What all prompts of an image share. */
typedef struct msa_decoder_image {
    int32_t grid_h, grid_w;
    const float *dense_pe; /* (h * w, P) */
    const float *pixels;   /* (h * w, P): the embedding, channels last */
    const float *detail;   /* what lies behind the embedding of a model that has some */
} msa_decoder_image;

/* One prompt, encoded. */
typedef struct msa_decoder_prompt {
    const float *sparse; /* (n_sparse, P) */
    int32_t n_sparse;
    const float *dense; /* (h * w, P), rows dense_step apart: P, or 0 where all pixels have the same row */
    int64_t dense_step;
} msa_decoder_prompt;

/* The up-scaling as two dense layers: a pixel's four results lie one behind the other, so that they are the
 * next layer's rows as they are. Made once for a model. */
typedef struct msa_upscale_weights {
    float *weight[2], *bias[2], *packed[2]; /* (4, up[0], P), (4, up[1], up[0]); (4, up): up_width */
    msa_linear layer[2];
} msa_upscale_weights;

/* To be run twice, as engine/base/arena.h says; then filled. */
void msa_upscale_weights_layout(msa_upscale_weights *u, msa_arena *arena, const msa_config *c,
                                const msa_decoder_weights *w);
void msa_upscale_weights_fill(msa_upscale_weights *u, const msa_config *c, const msa_decoder_weights *w);

/* One worker's room for a tile of pixels. */
typedef struct msa_decoder_tile {
    msa_cross_scratch cross;
    float *adapter_hidden, *adapted; /* (tile, its width), (tile, P) */
    float *up1, *up2, *logits;       /* (4 tile, up[0]), (16 tile, up[1]), (mask_tokens, 16 tile) */
    float *panel;                    /* some rows of up2, packed */
} msa_decoder_tile;

typedef struct msa_decoder_work {
    int32_t workers;
    int64_t tokens_max, pixels;
    float *tokens;            /* (T, P): the tokens, which also serve as their own positions */
    float *queries;           /* (T, P) */
    float *token_in;          /* (T, P): queries plus positions */
    float *q, *k, *v, *mixed; /* (T, P): self-attention */
    float *result;            /* (T, P) */
    float *hidden;            /* (T, decoder_mlp_dim) and the three-layer heads */
    float *attention;         /* per worker */
    float *keys;              /* (n, P), n = h * w */
    msa_look look;
    msa_take take;
    /* Of the layers' adapters, where there are some. */
    msa_prompt_adapter_work adapters[MSA_DECODER_DEPTH_MAX];
    float *adapter_hidden; /* (T, its width) */
    float *hyper;          /* (mask_tokens, up[1]) */
    float *hyper_packed;   /* the same, packed */
    float *upscaled;       /* (16n, up[1]), only where somebody watches; else NULL */
    /* Of EfficientSAM, whose norm sees all of it: the first up-scaling, and the moments of its tiles. */
    float *up1; /* (4n, up[0]) */
    msa_moments *moments;
    msa_decoder_tile tile[MSA_THREADS_MAX]; /* (workers) */
} msa_decoder_work;

/* What follows the layers inside MLPs and heads. */
static inline msa_epilogue msa_decoder_epilogue(const msa_config *c)
{
    return c->family == MSA_FAMILY_EFFICIENTSAM ? MSA_EPILOGUE_GELU : MSA_EPILOGUE_RELU;
}

/* To be run twice, as engine/base/arena.h says. */
void msa_decoder_work_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                             const msa_decoder_weights *w, int32_t grid_h, int32_t grid_w, bool watched,
                             int32_t workers);

/* engine/sam/two_way.c: k->queries and k->keys become the transformer's results; n_tokens rows of k->tokens.
 * False when a result is not finite. */
bool msa_two_way_forward(const msa_config *c, const msa_decoder_weights *w, const msa_decoder_image *image,
                         const msa_decoder_prompt *prompt, int64_t n_tokens, msa_decoder_work *k,
                         const msa_tap *tap);
/* engine/sam/upscale.c: k->keys and k->hyper to logits (mask_tokens, 4h, 4w). False when one is not finite.
 */
bool msa_upscale_forward(const msa_config *c, const msa_decoder_weights *w, const msa_upscale_weights *u,
                         const msa_decoder_image *image, msa_decoder_work *k, float *logits);

/**
 * One prompt row. logits (mask_tokens, 4h, 4w) and iou (mask_tokens) out. The bits depend on the image and
 * the prompt alone: tiles are fixed, and what they sum is added in their order.
 * Errors: MSA_E_INTERNAL, naming the part that yields a non-finite value. Memory: none.
 */
MSA_NODISCARD msa_status msa_mask_decode(const msa_config *c, const msa_decoder_weights *w,
                                         const msa_upscale_weights *u, const msa_decoder_image *image,
                                         const msa_decoder_prompt *prompt, msa_decoder_work *k, float *logits,
                                         float *iou, const msa_tap *tap, msa_error *err);
#endif
