/* The tensors of a TinyViT as a checkpoint has them: batch norms apart from their convolutions. */
#ifndef MSA_ENGINE_SAM_TINY_WEIGHTS_H
#define MSA_ENGINE_SAM_TINY_WEIGHTS_H

#include "engine/adapt/adapter.h"
#include "engine/config.h"
#include "engine/nn/batchnorm.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/linear.h"

/* 1 x 1, 3 x 3 on every channel by itself, 1 x 1: a block of the first stage, and what lies between stages.
 */
typedef struct msa_tiny_conv_weights {
    msa_bn_conv enter, each, leave;
} msa_tiny_conv_weights;

/* A block of a later stage. */
typedef struct msa_tiny_block_weights {
    msa_norm attn_norm, mlp_norm;
    msa_linear qkv, proj, fc1, fc2; /* rows of qkv: head after head, its queries, keys and values */
    const float *biases;            /* (heads, window * window), by distance down and across */
    msa_bn_conv local;              /* 3 x 3 on every channel by itself */
    msa_adapter space, mlp;
} msa_tiny_block_weights;

typedef struct msa_tiny_weights {
    msa_bn_conv embed[2]; /* 3 x 3, stride 2 */
    msa_tiny_conv_weights convs[MSA_DEPTH_MAX], merge[MSA_STAGES - 1];
    msa_tiny_block_weights blocks[MSA_DEPTH_MAX]; /* of all later stages, one behind the other */
} msa_tiny_weights;

#endif
