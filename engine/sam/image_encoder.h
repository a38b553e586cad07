/* SAM's image encoder: patches, blocks with adapters, neck. Any token grid, also non-square. */
#ifndef MSA_ENGINE_SAM_IMAGE_ENCODER_H
#define MSA_ENGINE_SAM_IMAGE_ENCODER_H

#include "engine/base/arena.h"
#include "engine/nn/depth_groups.h"
#include "engine/nn/window.h"
#include "engine/sam/detail.h"
#include "engine/sam/tables.h"
#include "engine/sam/tap.h"
#include "engine/sam/tiny_vit.h"
#include "engine/sam/weights.h"

/**
 * Working memory of one grid size. `full` keeps a row for every padding token, as the published code does, so
 * that a tap can see them; otherwise one row stands for all padding of a block: the same numbers for a third
 * of the work at image 256, since all padding tokens of a block are the same vector.
 */
typedef struct msa_encoder_work {
    msa_detail_work detail;
    int64_t rows;    /* token rows, padding included */
    int32_t workers; /* the attention's scratch is for that many */
    bool full;
    msa_windows windows; /* of the windowed blocks */
    int32_t *row_of;     /* (tokens of all windows): row of each position; the last row is the padding */
    float *x;            /* (h * w, C) */
    float *a, *b;        /* (rows, C) */
    float *qkv;          /* (rows, 3 C) */
    float *hidden;       /* rows of a chunk at its widest */
    float *attention;    /* per worker */
    float *spare;        /* (rows, C); part of qkv, except with a depth branch, which needs all of that */
    int64_t chunk;       /* rows that go through the wide layers together */
    int32_t slices;      /* of the largest stack; set before the layout, 0 means 1 */
    /* With a depth branch: all slices' x, qkv and depth attention, and what a tap sees of that. */
    float *stack_x, *stack_qkv, *stack_out, *stack_seen[2];
    int32_t *depth_row_of;
    float *depth;
    msa_tiny_work tiny; /* of MSA_FAMILY_MOBILE_SAM, which has x, a, b, hidden and chunk of the rest */
} msa_encoder_work;

/* To be run twice, as engine/base/arena.h says; k->slices is looked at. */
void msa_encoder_work_layout(msa_encoder_work *k, msa_arena *arena, const msa_config *c, const msa_weights *w,
                             int32_t grid_h, int32_t grid_w, bool full, int32_t workers);

/**
 * image (3, h * patch, w * patch), h and w the grid of `t`; embedding (P, h, w) out, and behind it
 * msa_detail_floats() of a model with detail.
 * Errors: MSA_E_INTERNAL, with the name of the first block that yields a non-finite value. Memory: none.
 */
MSA_NODISCARD msa_status msa_image_encode(const msa_config *c, const msa_encoder_weights *w,
                                          const msa_tables *t, msa_encoder_work *k, const float *image,
                                          float *embedding, const msa_tap *tap, msa_error *err);

/**
 * n slices of a volume, in order, 1 .. k->slices; images (n, 3, h * patch, w * patch), n embeddings, each as
 * above, one behind the other. Without a depth branch the slices have nothing to do with each other.
 * msa_image_encode() is a stack of one.
 */
MSA_NODISCARD msa_status msa_stack_encode(const msa_config *c, const msa_encoder_weights *w,
                                          const msa_tables *t, msa_encoder_work *k, int32_t n,
                                          const float *images, float *embeddings, const msa_tap *tap,
                                          msa_error *err);

/* engine/sam/block.c: block i, in place on k->x. */
void msa_block_forward(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                       msa_encoder_work *k, int32_t i, const msa_tap *tap);
/* The same on n slices with a depth branch, in place on k->stack_x. */
void msa_block_stack_forward(const msa_config *c, const msa_encoder_weights *w, const msa_tables *t,
                             msa_encoder_work *k, int32_t i, int32_t n, const msa_tap *tap);

#endif
