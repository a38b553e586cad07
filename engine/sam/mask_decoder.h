/* SAM's mask decoder: two-way transformer, up-scaling, hypernetworks, predicted IoU. */
#ifndef MSA_ENGINE_SAM_MASK_DECODER_H
#define MSA_ENGINE_SAM_MASK_DECODER_H

#include "engine/base/arena.h"
#include "engine/sam/tap.h"
#include "engine/sam/weights.h"

typedef struct msa_decoder_work {
    int32_t workers;
    int64_t tokens_max, pixels;
    float *tokens;            /* (T, P): the tokens, which also serve as their own positions */
    float *queries;           /* (T, P) */
    float *keys;              /* (n, P), n = h * w */
    float *token_in;          /* (T, P): queries plus positions */
    float *image_in;          /* (n, P): keys plus dense positions */
    float *q, *k, *v, *mixed; /* (max(T, n), P) */
    float *result;            /* (max(T, n), P) */
    float *hidden;            /* (T, decoder_mlp_dim) and the three-layer heads */
    float *attention;         /* per worker */
    /* Of the layers' adapters, where there are some. */
    msa_prompt_adapter_work adapters[MSA_DECODER_DEPTH_MAX];
    float *adapter_hidden;     /* (max(T, n), its width) */
    float *up_raw, *up1, *up2; /* up-scaling: (4n, P/4), then (16n, P/8) */
    float *hyper;              /* (mask_tokens, P / 8) */
} msa_decoder_work;

/* To be run twice, as engine/base/arena.h says. */
void msa_decoder_work_layout(msa_decoder_work *k, msa_arena *arena, const msa_config *c,
                             const msa_decoder_weights *w, int32_t grid_h, int32_t grid_w, int32_t workers);

/* engine/sam/two_way.c: k->queries and k->keys become the transformer's results; n_tokens rows of k->tokens.
 */
void msa_two_way_forward(const msa_config *c, const msa_decoder_weights *w, const float *dense_pe,
                         int64_t n_tokens, msa_decoder_work *k, const msa_tap *tap);

/**
 * One prompt row. embedding (P, h, w), and behind it the detail of a model that has some; dense_pe and dense
 * (h * w, P), channels-last; sparse (n_sparse, P). logits (mask_tokens, 4h, 4w) and iou (mask_tokens) out.
 * Errors: MSA_E_INTERNAL, naming the part that yields a non-finite value. Memory: none.
 */
MSA_NODISCARD msa_status msa_mask_decode(const msa_config *c, const msa_decoder_weights *w, int32_t grid_h,
                                         int32_t grid_w, const float *dense_pe, const float *embedding,
                                         const float *sparse, int32_t n_sparse, const float *dense,
                                         msa_decoder_work *k, float *logits, float *iou, const msa_tap *tap,
                                         msa_error *err);
#endif
