/* Inside the image encoder's training pass: what is kept, what is scratch. Private to engine/train/. */
#ifndef MSA_ENGINE_TRAIN_ENCODER_PASS_H
#define MSA_ENGINE_TRAIN_ENCODER_PASS_H

#include "engine/base/arena.h"
#include "engine/nn/depth_groups.h"
#include "engine/nn/window.h"
#include "engine/sam/detail.h"
#include "engine/train/passes.h"

/**
 * What a block's backward needs beside its input. T tokens: those of the grid, slice after slice; R = T + 1
 * rows where windows are padded: the last one stands for all padding, since all padding tokens of a block are
 * the same vector. Pieces that only gradients of frozen weights would need are scratch of the pass.
 */
typedef struct block_keep {
    float *norm1;       /* (R, C); for the weight of qkv */
    float *qkv;         /* (R, 3 C) */
    float *mixed;       /* (T, C) attention's result; for the weight of proj */
    float *attn;        /* (T, C) after proj: the Space adapter's input */
    float *middle;      /* (T, C) after the first residual */
    float *norm2;       /* (T, C) */
    float *hidden;      /* (T, mlp) before the activation, as the next two */
    float *space, *mlp; /* (T, D) */
    /* Of the depth branch: attention's result, after proj, before the Depth adapter's activation. */
    float *depth_mixed, *depth_attn, *depth;
    float *lora[MSA_LORA_PLACES]; /* (R, rank) */
} block_keep;

/* One block: its windows, tables and whether its parts train. */
typedef struct block_state {
    msa_windows windows;
    const int32_t *row_of; /* NULL: rows are in window order already */
    int64_t rows;
    block_keep keep;
    float *rel_h, *rel_w; /* resized tables; NULL: the weights fit as they are */
    bool attention_trains, space_trains, depth_trains, rest_trains;
} block_state;

/* Which rows see each other along the depth axis; one for blocks with windows, one for global blocks. */
typedef struct depth_map {
    msa_depth_groups groups;
    int32_t *row_of;
} depth_map;

struct msa_encoder_pass {
    msa_params *params;
    bool recompute;
    int32_t workers, grid, slices;
    int64_t tokens;   /* of all slices */
    int32_t first;    /* lowest block with something that trains; depth: none */
    bool stem_trains; /* patch embedding or positions */
    bool neck_trains, detail_trains;
    int32_t fresh; /* recompute: the block whose values are in the shared block_keep; -1: none */
    msa_arena arena;

    float *x[MSA_DEPTH_MAX + 1]; /* (T, C) input of each block, then the neck's; shared up to `first` */
    block_state blocks[MSA_DEPTH_MAX];
    int32_t *row_of;
    depth_map depth[2];           /* when there is a depth branch: windowed, global */
    float *patches;               /* (T, 3 patch^2), when the patch embedding trains */
    float *pos;                   /* (T, C) resized positions; NULL: the table fits */
    float *neck0, *neck1, *neck2; /* (T, P) after conv, norm, conv */
    float *neck3x3, *dneck3x3;    /* (P, 9 P) */

    /* Scratch of both directions. */
    float *dx;               /* (T, C) gradient that travels down */
    float *a, *b;            /* (R, max(C, P)) */
    float *dqkv;             /* (R, 3 C) */
    float *dqkv_depth;       /* the same, of the depth branch */
    float *dz;               /* (R, rank) of low-rank updates */
    float *wide, *wide2;     /* (T, the widest row) */
    float *stats;            /* (2 T) */
    msa_detail_work *detail; /* (slices) */
    float *drel;             /* both gradients of the largest resized tables */
    float *attention;
};

/* engine/train/encoder_block_pass.c: from x[i] to x[i + 1], and of p->dx in place. */
void msa_encoder_block_forward(msa_encoder_pass *p, int32_t i);
void msa_encoder_block_backward(msa_encoder_pass *p, int32_t i);
/* engine/train/encoder_depth_pass.c: the depth branch of block i. Forward reads the block's qkv and adds to
 * its `middle`. Backward reads p->dx, uses p->a and p->b, and with `attention` adds to p->dqkv. */
void msa_encoder_depth_forward(msa_encoder_pass *p, int32_t i);
void msa_encoder_depth_backward(msa_encoder_pass *p, int32_t i, bool attention);
/* engine/train/encoder_neck_pass.c: p->dx is written, when a block or the stem wants it. */
void msa_encoder_neck_forward(msa_encoder_pass *p, float *embedding);
void msa_encoder_neck_backward(msa_encoder_pass *p, const float *dembedding);

/* engine/train/encoder_detail_pass.c: what lies behind each slice's embedding, and its gradient. */
void msa_encoder_detail_forward(msa_encoder_pass *p, const float *images, float *embedding);
void msa_encoder_detail_backward(msa_encoder_pass *p, const float *dembedding);

#endif
