/* The dense layers of the image encoder and the mask decoder, packed when a model is loaded:
 * engine/nn/packed.h. */
#ifndef MSA_ENGINE_SAM_PACK_H
#define MSA_ENGINE_SAM_PACK_H

#include "engine/base/arena.h"
#include "engine/sam/weights.h"

/**
 * Packs the layers of w into `own`, an arena that is empty; where a layer computes with the weight of the
 * same layer of base (NULL: none), it shares that one's. l->weight stays what it is; where it lies in
 * the mapped file, its pages are left to the system, which reads them again should anybody look: so a weight
 * is in memory once. Errors: MSA_E_NOMEM; w is then as before.
 */
MSA_NODISCARD msa_status msa_weights_pack(msa_arena *own, const msa_config *c, msa_weights *w,
                                          const msa_weights *base, const void *file, size_t file_bytes,
                                          msa_error *err);
/* The same layer of base, when it has the same weight; else, and without a base, NULL. l is one of w's. */
const msa_linear *msa_shared_layer(const msa_weights *base, const msa_weights *w, const msa_linear *l);
/* The system may have the pages of l->weight back, when they are of the mapped file: other memory would lose
 * what is in it. */
void msa_leave_pages(const msa_linear *l, const void *file, size_t file_bytes);
/* Takes it from them. */
void msa_weights_unpack(msa_arena *own, const msa_config *c, msa_weights *w);

#endif
