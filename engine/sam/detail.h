/**
 * The picture itself for the up-scaling of masks: what a patch of tokens cannot carry to the last pixel. A
 * convolution of patch / 4 to the masks' resolution, GELU, 3 x 3, GELU, 3 x 3; its P / 8 channels are added
 * to those of the second transposed convolution before its GELU. The idea of features of high resolution
 * beside the embedding is that of SAM 2 (arXiv:2408.00714); the form is ours. It is computed once for a
 * picture and lies behind the embedding in memory.
 */
#ifndef MSA_ENGINE_SAM_DETAIL_H
#define MSA_ENGINE_SAM_DETAIL_H

#include "engine/base/arena.h"
#include "engine/sam/weights.h"

/* For a grid of h x w tokens: N = 16 h w pixels of the masks, F = config.detail channels. */
typedef struct msa_detail_work {
    float *patches;       /* (N, 3 (patch / 4)^2) */
    float *sum1, *sum2;   /* (N, F) before the GELUs */
    float *seen1, *seen2; /* (N, F) after them */
    float *rows;          /* (chunk, 9 F); all N of them for backward */
    float *d1, *d2;       /* (N, F): backward */
    int64_t chunk;
} msa_detail_work;

/* To be run twice, as engine/base/arena.h says. Nothing is laid out for a model without. */
void msa_detail_layout(msa_detail_work *k, msa_arena *arena, const msa_config *c, int32_t h, int32_t w,
                       bool backward);
/* image (3, h * patch, w * patch); out (N, P / 8). */
void msa_detail_forward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                        const float *image, msa_detail_work *k, float *out);

/* Where the gradients of a layer's values are summed. */
typedef struct msa_detail_grads {
    float *stem_weight, *stem_bias, *mix_weight, *mix_bias, *last_weight, *last_bias;
} msa_detail_grads;

/* dout (N, P / 8). Follows a forward of the same picture. */
void msa_detail_backward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                         const float *dout, msa_detail_work *k, const msa_detail_grads *g);

#endif
