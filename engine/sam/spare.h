/*
 * The predictor that was freed last, kept for whoever wants one of the same model next: its working memory is
 * touched already, and for a box on a slice that is known to touch it anew takes a third as long as to
 * decode. One in the process, so that many adapters do not keep many.
 */
#ifndef MSA_ENGINE_SAM_SPARE_H
#define MSA_ENGINE_SAM_SPARE_H

#include <stdint.h>

typedef void msa_spare_free_fn(void *thing);

/* Takes `thing`, which is owner's (msa_model_serial()); what was kept before is freed. Any thread. */
void msa_spare_put(uint64_t owner, void *thing, msa_spare_free_fn *free_thing);
/* What is kept, when it is owner's, and now is the caller's; else NULL. Any thread. */
void *msa_spare_take(uint64_t owner);
/* When owner is no more: frees what is kept of it. */
void msa_spare_drop(uint64_t owner);

#endif
