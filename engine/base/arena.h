/* One aligned block, sized before it is taken: a model or a predictor owns one, kernels never allocate. */
#ifndef MSA_ENGINE_BASE_ARENA_H
#define MSA_ENGINE_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

/**
 * A layout function takes its pieces from the arena; it is run twice, first on a zeroed arena that only
 * measures (every piece is NULL), then, after msa_arena_commit(), on the real block:
 *
 *     msa_arena a = {0};
 *     layout(&a, ...);
 *     MSA_TRY(msa_arena_commit(&a, err));
 *     layout(&a, ...);
 */
typedef struct msa_arena {
    unsigned char *base; /* NULL while measuring */
    size_t size, used;
} msa_arena;

/* Zeroed, 64-byte aligned. A size that overflows makes msa_arena_commit() fail. */
void *msa_arena_take(msa_arena *a, size_t count, size_t element_bytes);
float *msa_arena_floats(msa_arena *a, size_t count);
/* Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_arena_commit(msa_arena *a, msa_error *err);
/* Gives the block back; the arena may then be used anew. */
void msa_arena_release(msa_arena *a);

#endif
