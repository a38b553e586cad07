/* The engine's own threads. BLAS runs single-threaded inside them: its own threading is slower at our shapes.
 */
#ifndef MSA_ENGINE_BASE_POOL_H
#define MSA_ENGINE_BASE_POOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSA_THREADS_MAX 64

/**
 * The one place where threads are set: n in 1 .. MSA_THREADS_MAX (clamped), counting the caller. 1 until
 * called. Call it before predictors are made, while nothing is running. Threads start at the first parallel
 * call.
 */
void msa_threads_set(int n);
int msa_threads_get(void);

/* One piece of work. worker: 0 .. max_workers - 1, for private scratch memory. */
typedef void msa_pool_fn(void *ctx, int32_t item, int32_t worker);

/**
 * Runs fn for items 0 .. n_items - 1 on the caller and at most max_workers - 1 other threads; returns when
 * all are done. Which thread takes an item changes from run to run, so an item must depend on nothing but its
 * number: then the result is the same, bit for bit, for any number of threads. While the pool serves another
 * caller, or when called from an item, the caller does all the work itself.
 */
void msa_pool_run(msa_pool_fn *fn, void *ctx, int32_t n_items, int32_t max_workers);

#ifdef __cplusplus
}
#endif
#endif
