/* The tensors of a model under their checkpoint names: one list, used to load, to write and to count. */
#ifndef MSA_ENGINE_SAM_WEIGHTS_H
#define MSA_ENGINE_SAM_WEIGHTS_H

#include "engine/adapt/adapter.h"
#include "engine/adapt/decoder_adapter.h"
#include "engine/adapt/lora.h"
#include "engine/base/error.h"
#include "engine/config.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/linear.h"
#include "engine/sam/tiny_weights.h"

#define MSA_DECODER_DEPTH_MAX 8
#define MSA_MASK_TOKENS_MAX   64
#define MSA_MASK_CHANNELS     16 /* of the mask prompt, as in every published model */

/* Factors as published: those of qkv hold two updates, of the queries and of the values. NULL: no updates.
 * In the adaptive form there is one update of all of qkv, and each has weights of its ranks and how many of
 * these count. */
typedef struct msa_block_factors {
    const float *qkv_a, *qkv_b;           /* (2 rank, C), (2 C, rank); adaptive: (rank, C), (3 C, rank) */
    const float *lin1_a, *lin1_b;         /* (rank, C), (mlp, rank) */
    const float *lin2_a, *lin2_b;         /* (rank, mlp), (C, rank) */
    const float *qkv_e, *lin1_e, *lin2_e; /* (rank, 1) */
    const float *qkv_ranks, *lin1_ranks, *lin2_ranks; /* (1) */
} msa_block_factors;

typedef struct msa_block_weights {
    msa_norm norm1, norm2;
    msa_linear qkv, proj, lin1, lin2;
    const float *rel_h, *rel_w; /* NULL: an EfficientSAM without relative positions */
    int32_t rel_h_rows, rel_w_rows;
    msa_adapter space, mlp, depth; /* depth: also carried, unused, by models without a depth branch */
    msa_block_factors factors;
} msa_block_weights;

/* engine/sam/detail.h. Kernels of 3 x 3 as (N, 9 C), in (row, column, channel) order. */
enum { MSA_DETAIL_LEVELS = 3 };

typedef struct msa_detail_level_weights {
    msa_linear enter, mix, leave;
} msa_detail_level_weights;

typedef struct msa_detail_weights {
    msa_detail_level_weights level[MSA_DETAIL_LEVELS];
} msa_detail_weights;

typedef struct msa_encoder_weights {
    msa_linear patch; /* (C, 3 * patch * patch) */
    const float *pos_embed; /* (pos_h, pos_w, C); of EfficientSAM behind a row that nobody looks at */
    int32_t pos_h, pos_w;
    msa_block_weights blocks[MSA_DEPTH_MAX];
    msa_linear neck1;
    const float *neck3x3; /* (P, P, 3, 3) */
    msa_norm neck_norm1, neck_norm2;
    msa_detail_weights detail;
    msa_tiny_weights tiny; /* of MSA_FAMILY_MOBILE_SAM, instead of all above the neck */
} msa_encoder_weights;

typedef struct msa_prompt_weights {
    const float *gaussian;              /* (2, P / 2) */
    const float *point[4];              /* background, foreground, top-left corner, bottom-right corner */
    const float *not_a_point, *no_mask; /* EfficientSAM has no `background` and no `no_mask` */
    msa_linear conv1, conv2, conv3;
    msa_norm norm1, norm2;
} msa_prompt_weights;

typedef struct msa_decoder_attention {
    msa_linear q, k, v, out;
} msa_decoder_attention;

typedef struct msa_two_way_weights {
    msa_decoder_attention self_attn, token_to_image, image_to_token;
    msa_norm norm1, norm2, norm3, norm4;
    msa_linear lin1, lin2;
    msa_layer_adapters adapters; /* zero where the layer has none */
} msa_two_way_weights;

typedef struct msa_mlp3_weights {
    msa_linear layer[3];
} msa_mlp3_weights;

typedef struct msa_decoder_weights {
    const float *iou_token, *mask_tokens;
    msa_two_way_weights layers[MSA_DECODER_DEPTH_MAX];
    msa_decoder_attention final_attn;
    msa_norm norm_final;
    int32_t up_width[2]; /* P / 4, P / 8; EfficientSAM's file tells them */
    const float *up1_weight, *up1_bias, *up2_weight, *up2_bias; /* (P, up[0], 2, 2), (up[0], up[1], 2, 2) */
    msa_norm up_norm;
    msa_mlp3_weights hyper[MSA_MASK_TOKENS_MAX], iou;
} msa_decoder_weights;

typedef struct msa_weights {
    msa_encoder_weights encoder;
    msa_prompt_weights prompt;
    msa_decoder_weights decoder;
} msa_weights;

/* One tensor of the list. shape holds the size for a new model; axes with a bit in free_axes may differ in a
 * file. */
typedef struct msa_weight_spec {
    char name[192];
    const char *alias[2]; /* {part of the name, what eras B to D call it}; NULL when there is one name */
    int32_t rank;
    int64_t shape[4];
    unsigned free_axes;
    bool optional;    /* may be missing as a whole with the rest of its layer */
    const float **to; /* where the data pointer goes */
    int32_t *size[2]; /* where the sizes of the free axes go, in order; NULL when not wanted */
} msa_weight_spec;

/* Sets *spec->to and *spec->size[]; spec->to is NULL where nothing is to be kept. */
typedef msa_status msa_weight_visit(void *ctx, const msa_weight_spec *spec, msa_error *err);

/* The updates of a block's layers. */
typedef enum msa_lora_place {
    MSA_LORA_QUERY, /* of qkv */
    MSA_LORA_VALUE, /* of qkv */
    MSA_LORA_LIN1,
    MSA_LORA_LIN2,
    MSA_LORA_PLACES,
} msa_lora_place;
/* a is NULL when the model has no updates. */
msa_lora msa_block_lora(const msa_config *c, const msa_block_weights *b, msa_lora_place place);
/* Floats of the layers of a block that have updates. */
size_t msa_block_merged_floats(const msa_config *c);
/* Copies these layers to room, with their updates in them; b then has those and no factors. */
void msa_block_merge(const msa_config *c, msa_block_weights *b, float *room);

/**
 * Visits every tensor of the configuration in a fixed order and fills in the sizes that `w` holds. Stops at
 * the first failure. depth_adapters: also visit the adapters of the 3D branch of a model without that branch,
 * which it may carry unused.
 */
MSA_NODISCARD msa_status msa_weights_walk(const msa_config *c, msa_weights *w, bool depth_adapters,
                                          msa_weight_visit *visit, void *ctx, msa_error *err);

/* Block i attends to the whole grid. */
bool msa_block_is_global(const msa_config *c, int32_t i);

#endif
