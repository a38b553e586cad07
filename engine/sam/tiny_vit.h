/**
 * TinyViT as MobileSAM's image encoder: convolutions to a quarter of the side, four stages (the first of
 * convolutions, the others of window attention and MLPs), halving between them but before the last; the neck
 * is SAM's. Adapters as in the Medical SAM Adapter's form of it. Grids are channels-last.
 * Source: arXiv:2207.10666, arXiv:2306.14289.
 */
#ifndef MSA_ENGINE_SAM_TINY_VIT_H
#define MSA_ENGINE_SAM_TINY_VIT_H

#include "engine/base/arena.h"
#include "engine/base/error.h"
#include "engine/sam/tap.h"
#include "engine/sam/tiny_weights.h"

/* A convolution that has taken over its batch norm; a kernel of 3 x 3 lies as nn/conv.h or nn/depthwise.h
 * want it. */
typedef struct msa_tiny_conv {
    float *weight, *bias;
    float *packed; /* of a dense one, engine/nn/packed.h; NULL: not packed */
    int32_t N, K;
} msa_tiny_conv;

typedef struct msa_tiny_conv_block {
    msa_tiny_conv enter, each, leave;
} msa_tiny_conv_block;

/* What is made of the weights when a model is loaded. */
typedef struct msa_tiny_tables {
    msa_tiny_conv
        embed[2]; /* the first sees planes: (channel, row, column); the second (row, column, channel) */
    msa_tiny_conv_block convs[MSA_DEPTH_MAX], merge[MSA_STAGES - 1];
    msa_tiny_conv local[MSA_DEPTH_MAX];
    float *biases[MSA_DEPTH_MAX]; /* msa_bias_mirror() */
    float *zeros;                 /* as many as the widest depthwise convolution has channels */
} msa_tiny_tables;

/* To be run twice, as engine/base/arena.h says; then filled. */
void msa_tiny_tables_layout(msa_tiny_tables *t, msa_arena *arena, const msa_config *c);
void msa_tiny_tables_fill(msa_tiny_tables *t, const msa_config *c, const msa_tiny_weights *w);

/* Working memory of one grid size. `room` serves the convolutions, then each stage's attention. */
typedef struct msa_tiny_work {
    float *grid[2]; /* the stages' tokens, in turns; the last stage's lie in grid[1] */
    float *room;
    int32_t *row_of[MSA_STAGES]; /* of each window position; NULL where the grid is one window */
    float *attention;            /* per worker */
    int32_t workers;
} msa_tiny_work;

/* grid_h x grid_w: tokens of the last stage. To be run twice. */
void msa_tiny_work_layout(msa_tiny_work *k, msa_arena *arena, const msa_config *c, const msa_tiny_weights *w,
                          int32_t grid_h, int32_t grid_w, int32_t workers);

/**
 * image (3, 16 h, 16 w), h and w the grid; k->grid[1] (h * w, C of the last stage) out.
 * Errors: MSA_E_INTERNAL, with the number of the first stage that yields a non-finite value. Memory: none.
 */
MSA_NODISCARD msa_status msa_tiny_forward(const msa_config *c, const msa_tiny_weights *w,
                                          const msa_tiny_tables *t, msa_tiny_work *k, int32_t grid_h,
                                          int32_t grid_w, const float *image, const msa_tap *tap,
                                          msa_error *err);

/* ---- tiny_conv.c ---- */

/* Floats of `room` that these use. */
size_t msa_tiny_embed_floats(const msa_config *c, int32_t h, int32_t w);
/* Of a block `hidden` wide in its middle, with N outputs, on lines of w pixels. */
size_t msa_tiny_conv_floats(int32_t hidden, int32_t N, int32_t w);
/* image (3, 4 h, 4 w) to x (h, w, C of the first stage). */
void msa_tiny_embed(const msa_tiny_tables *t, const float *image, int32_t h, int32_t w, float *room,
                    float *x);
/* x (h, w, C): x = gelu(x + leave(gelu(each(gelu(enter(x)))))), in place. */
void msa_tiny_conv_forward(const msa_tiny_conv_block *b, const float *zeros, int32_t h, int32_t w,
                           float *room, float *x);
/* x (h, w, C) to y (side(h), side(w), N), as above without the sum and the last GELU; stride 1 or 2. */
void msa_tiny_merge_forward(const msa_tiny_conv_block *b, const float *zeros, int32_t h, int32_t w,
                            int32_t stride, const float *x, float *room, float *y);

#endif
