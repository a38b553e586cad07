/**
 * Image embeddings kept by content: in memory, then on disk. The key is made of everything that an embedding
 * depends on (msa_embedding_key_make()), so what is found is what would be computed, bit for bit, whatever
 * job or process it comes from; and slices that look alike, as those that hold nothing but air, share one.
 */
#ifndef MSA_ENGINE_EMBEDDING_CACHE_H
#define MSA_ENGINE_EMBEDDING_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct msa_embedding_cache msa_embedding_cache;

typedef struct msa_embedding_cache_options {
    size_t memory_bytes; /* the one used last always stays, so that 0 is enough to work with */
    const char *folder;  /* made when it is not there; NULL or "": nothing on disk */
    /* The files of all processes that share the folder, as far as each has counted them: one that writes
     * counts again whenever it has written a sixteenth of this. */
    uint64_t disk_bytes;
} msa_embedding_cache_options;

typedef struct msa_embedding_cache_stats {
    int64_t from_memory, from_disk, encoded;
    int64_t damaged; /* files that were not what they said; removed */
} msa_embedding_cache_stats;

typedef struct msa_embedding_key {
    uint8_t digest[MSA_SHA256_SIZE];
} msa_embedding_key;

/**
 * options are copied. A folder that cannot be made or written is no error: a cache is never worth a failed
 * job; it is logged once and the cache is without. Errors: MSA_E_NOMEM. Threads: one at a time; any number of
 * processes may share a folder.
 */
MSA_NODISCARD msa_status msa_embedding_cache_new(msa_embedding_cache **out,
                                                 const msa_embedding_cache_options *options, msa_error *err);
void msa_embedding_cache_free(msa_embedding_cache *c);
MSA_DEFINE_AUTO(msa_embedding_cache, msa_embedding_cache_free);

msa_embedding_cache_stats msa_embedding_cache_stats_get(const msa_embedding_cache *c);

/**
 * SHA-256 of the model's hash (which tells base, adapter and precision), of what else decides the bits (this
 * program's bytes and the kernels it chooses on this CPU), and of the pictures that see each other, of which
 * this is number `index`: (n, MSA_SHA256_SIZE), each the SHA-256 of all that makes a network input.
 */
msa_embedding_key msa_embedding_key_make(const msa_embedding_cache *c, const char *model_hash,
                                         const uint8_t *pictures, int32_t n, int32_t index);

/* The embedding (floats) of a key, valid until the next call that is given this cache; NULL: there is none.
 */
const float *msa_embedding_cache_find(msa_embedding_cache *c, const msa_embedding_key *key, size_t floats);
/* Keeps a copy of what has been encoded; the one used longest ago makes room. Returns the copy, valid as
 * above, or `embedding` itself where there is no memory for one. */
const float *msa_embedding_cache_keep(msa_embedding_cache *c, const msa_embedding_key *key,
                                      const float *embedding, size_t floats);

#ifdef __cplusplus
}
#endif
#endif
