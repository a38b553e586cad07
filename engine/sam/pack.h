/* The dense layers of the image encoder and the mask decoder, packed when a model is loaded:
 * engine/nn/packed.h. */
#ifndef MSA_ENGINE_SAM_PACK_H
#define MSA_ENGINE_SAM_PACK_H

#include "engine/base/arena.h"
#include "engine/sam/weight_memory.h"

/**
 * Packs the layers of w into `own`, an arena that is empty; where a layer computes with the weight of the
 * same layer of base (NULL: none), it shares that one's. l->weight stays the address it is; what lies there
 * is left, large layers' for good: engine/sam/weight_memory.h. Errors: MSA_E_NOMEM; nothing is packed then.
 */
MSA_NODISCARD msa_status msa_weights_pack(msa_arena *own, const msa_config *c, msa_weights *w,
                                          const msa_weights *base, const msa_weight_memory *memory,
                                          msa_error *err);
/* The same layer of base, when it has the same weight; else, and without a base, NULL. l is one of w's. */
const msa_linear *msa_shared_layer(const msa_weights *base, const msa_weights *w, const msa_linear *l);
/* Takes it from them. */
void msa_weights_unpack(msa_arena *own, const msa_config *c, msa_weights *w);

#endif
