/* What the encoder and the decoder need of a grid size and of no image: made once, when a model is loaded. */
#ifndef MSA_ENGINE_SAM_TABLES_H
#define MSA_ENGINE_SAM_TABLES_H

#include "engine/base/arena.h"
#include "engine/sam/tiny_vit.h"
#include "engine/sam/weights.h"

typedef struct msa_tables {
    msa_arena arena;
    int32_t h, w;                /* token grid */
    float *pos_embed;            /* (h, w, C), resized bicubically */
    float *rel_h[MSA_DEPTH_MAX]; /* (2 * win_h - 1, d), resized linearly */
    float *rel_w[MSA_DEPTH_MAX];
    float *neck3x3;        /* (P, 3, 3, P), as msa_conv3x3_rows() wants it */
    float *neck3x3_packed; /* the same, engine/nn/packed.h; NULL where that is not done */
    float *dense_pe;       /* (h * w, P) */
    msa_tiny_tables tiny;  /* of MSA_FAMILY_MOBILE_SAM, instead of pos_embed and rel_* */
} msa_tables;

MSA_NODISCARD msa_status msa_tables_make(msa_tables *t, const msa_config *c, const msa_weights *w,
                                         int32_t grid_h, int32_t grid_w, msa_error *err);
void msa_tables_release(msa_tables *t);

#endif
