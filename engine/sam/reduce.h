/* The image encoder's large layers in another precision than float32. */
#ifndef MSA_ENGINE_SAM_REDUCE_H
#define MSA_ENGINE_SAM_REDUCE_H

#include "engine/nn/reduced.h"
#include "engine/sam/weight_memory.h"

/* What a model owns of that. */
typedef struct msa_reduced_layers {
    msa_reduced *list[MSA_LARGE_LAYERS_MAX];
    int32_t n;
    size_t bytes;
} msa_reduced_layers;

/**
 * Gives the large layers of w their form in `precision` (FP32: takes it from them). Where a layer computes
 * with the weights of the same layer of base (NULL: none), it shares that one's form, if it has one. What
 * else there is, adapters, patches, convolutions, positions, prompts and masks, stays as it is: together a
 * few hundredths of the work. Errors: as msa_reduced_new(); w is then as before.
 */
MSA_NODISCARD msa_status msa_weights_reduce(msa_reduced_layers *own, const msa_config *c, msa_weights *w,
                                            const msa_weights *base, msa_precision precision,
                                            const msa_weight_memory *memory, msa_error *err);
void msa_reduced_layers_release(msa_reduced_layers *own);

#endif
