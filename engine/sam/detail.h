/**
 * The picture beside the tokens: what a patch of them cannot carry to the last pixel, and what convolutions
 * learn sooner than attention does. A pyramid of three levels: level 0 has the masks' resolution (a pixel of
 * it is patch / 4 of the picture), level 1 half of it, level 2 the tokens'. Level l has F 2^l channels:
 * `enter` (a convolution of patch / 4 from the picture, of 2 x 2 from the level before), GELU, `mix` (3 x 3),
 * GELU. What a level hands on is its `leave` (3 x 3): level 2 adds it to the tokens after their positions
 * (early convolutions help a transformer to learn, arXiv:2106.14881), level 1 to the first transposed
 * convolution of the up-scaling before its norm, level 0 to the second before its GELU (features of high
 * resolution beside the embedding, as in SAM 2, arXiv:2408.00714). The form is ours. It is computed once for
 * a picture; what the up-scaling sees lies behind the embedding in memory, level 0 first.
 */
#ifndef MSA_ENGINE_SAM_DETAIL_H
#define MSA_ENGINE_SAM_DETAIL_H

#include "engine/base/arena.h"
#include "engine/sam/weights.h"

/* For a grid of h x w tokens, level l has N = (4h >> l) (4w >> l) pixels and C = F 2^l channels. Without
 * backward seen_* lies where sum_* was, and all levels share spread and what is behind enter. */
typedef struct msa_detail_level_work {
    float *spread;                /* (N, K of enter) what enter looks at */
    float *sum_enter, *sum_mix;   /* (N, C) before the GELUs */
    float *seen_enter, *seen_mix; /* (N, C) after them */
    float *d_enter, *d_mix;       /* (N, C): backward */
} msa_detail_level_work;

typedef struct msa_detail_work {
    msa_detail_level_work level[MSA_DETAIL_LEVELS];
    float *rows; /* (chunk, 9 C) of the level that needs most; for backward a chunk is all N */
    int64_t chunk;
} msa_detail_work;

/* Floats behind an embedding of h x w tokens: levels 0 and 1, (4h, 4w, P / 8) and (2h, 2w, P / 4). */
size_t msa_detail_floats(const msa_config *c, int64_t tokens);
/* Where level 1 begins there. */
size_t msa_detail_level1(const msa_config *c, int64_t tokens);

/* To be run twice, as engine/base/arena.h says. Nothing is laid out for a model without. */
void msa_detail_layout(msa_detail_work *k, msa_arena *arena, const msa_config *c, int32_t h, int32_t w,
                       bool backward);
/* image (3, h * patch, w * patch); behind: msa_detail_floats(); tokens (h w, dim) is written, not added to.
 */
void msa_detail_forward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                        const float *image, msa_detail_work *k, float *behind, float *tokens);

/* Where the gradients of a layer's values are summed. */
typedef struct msa_detail_layer_grads {
    float *weight, *bias;
} msa_detail_layer_grads;

typedef struct msa_detail_grads {
    struct {
        msa_detail_layer_grads enter, mix, leave;
    } level[MSA_DETAIL_LEVELS];
} msa_detail_grads;

/* dbehind and dtokens as behind and tokens in forward, which came before with the same k, laid out for
 * backward; once for each forward, since spread is used up. Gradients are added to *g (NULL: frozen). */
void msa_detail_backward(const msa_config *c, const msa_detail_weights *d, int32_t h, int32_t w,
                         const float *dbehind, const float *dtokens, msa_detail_work *k,
                         const msa_detail_grads *g);

#endif
