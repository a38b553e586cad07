/*
 * Where the weights of the encoder's large layers come from, and that they are in memory once: packed, as
 * products read them, or in their reduced form. What they were made from, the pages of a file, halves that
 * were widened, low-rank updates that were merged, is there while a layer is packed and then no more.
 */
#ifndef MSA_ENGINE_SAM_WEIGHT_MEMORY_H
#define MSA_ENGINE_SAM_WEIGHT_MEMORY_H

#include "engine/base/room.h"
#include "engine/io/safetensors.h"
#include "engine/sam/weights.h"

#define MSA_LARGE_LAYERS_MAX (4 * MSA_DEPTH_MAX + 1)

/* A layer whose weight is another's with an update in it. */
typedef struct msa_merged_layer {
    float *to; /* a piece of the room */
    msa_linear from;
    msa_lora update[2];
    bool held;
} msa_merged_layer;

/* Of one model. */
typedef struct msa_weight_memory {
    msa_safetensors *file;                /* borrowed */
    const struct msa_weight_memory *base; /* of the model under it; NULL */
    msa_merged_layer *merged;             /* NULL: none */
    int32_t n_merged;
    msa_room room;
} msa_weight_memory;

void msa_weight_memory_release(msa_weight_memory *m);

/* Pointers to qkv, proj, lin1 and lin2 of every block and the neck's 1 x 1, in a fixed order: how many. Their
 * weights are read by what packs or reduces them alone. */
int32_t msa_large_layers(const msa_config *c, msa_weights *w, msa_linear *list[MSA_LARGE_LAYERS_MAX]);
bool msa_is_large_layer(const msa_config *c, msa_weights *w, const msa_linear *l);

/* The blocks of w get weights with their low-rank updates in them, and have none. Nothing is computed before
 * it is wanted. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_weight_memory_merge(msa_weight_memory *m, const msa_config *c, msa_weights *w,
                                                 msa_error *err);
/* l->weight of a large layer can be read, until leave(). One thread at a time. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_weight_want(const msa_weight_memory *m, const msa_linear *l, msa_error *err);
void msa_weight_leave(const msa_weight_memory *m, const msa_linear *l);
/* Pages of the file that any layer's weight lies in: they are read again should anybody look. */
void msa_weight_leave_pages(const msa_weight_memory *m, const msa_linear *l);

#endif
