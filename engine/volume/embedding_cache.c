#include "engine/embedding_cache.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/blas.h"
#include "engine/kern/cpu.h"
#include "engine/volume/embedding_disk.h"

typedef struct entry {
    msa_embedding_key key;
    size_t floats;
    uint64_t used;
    float *values;
} entry;

struct msa_embedding_cache {
    size_t memory_bytes, bytes;
    entry *entries;
    size_t n, room;
    uint64_t clock;
    msa_embedding_disk disk;
    uint8_t family[MSA_SHA256_SIZE]; /* zero where nothing is on disk: one process is one family */
    float *loaded;                   /* what came from disk and could not be kept in memory */
    msa_embedding_cache_stats stats;
};

/* What decides the bits of an embedding beside its picture and its model. False: it is not known. */
static bool find_family(uint8_t family[MSA_SHA256_SIZE])
{
    char program[MSA_SHA256_HEX];
    bool ok = false;
    msa_sha256 *h = msa_sha256_new();
    msa_blas_start();
    if (h != NULL && msa_sha256_file("/proc/self/exe", program, NULL) == MSA_OK) {
        const char *parts[] = {program, openblas_get_config(), openblas_get_corename(),
                               msa_cpu_level_name(msa_cpu_allowed()), msa_cpu_has_vnni() ? "vnni" : ""};
        char hex[MSA_SHA256_HEX];
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            msa_sha256_update(h, parts[i], strlen(parts[i]) + 1);
        msa_sha256_hex(h, hex);
        msa_sha256_bytes(hex, sizeof hex, family, NULL);
        ok = true;
    }
    msa_sha256_free(h);
    return ok;
}

msa_status msa_embedding_cache_new(msa_embedding_cache **out, const msa_embedding_cache_options *options,
                                   msa_error *err)
{
    MSA_AUTO(msa_embedding_cache) c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for the image embeddings");
    c->memory_bytes = options->memory_bytes;
    msa_embedding_disk_open(&c->disk, options->folder, options->disk_bytes);
    if (c->disk.folder_fd >= 0 && !find_family(c->family)) msa_embedding_disk_close(&c->disk);
    *out = MSA_STEAL(c);
    return MSA_OK;
}

void msa_embedding_cache_free(msa_embedding_cache *c)
{
    if (c == NULL) return;
    for (size_t i = 0; i < c->n; i++)
        free(c->entries[i].values);
    free(c->entries);
    free(c->loaded);
    msa_embedding_disk_close(&c->disk);
    free(c);
}

msa_embedding_cache_stats msa_embedding_cache_stats_get(const msa_embedding_cache *c)
{
    return c->stats;
}

msa_embedding_key msa_embedding_key_make(const msa_embedding_cache *c, const char *model_hash,
                                         const uint8_t *pictures, int32_t n, int32_t index)
{
    /* Hashes of hashes, each of a fixed size: no two inputs make the same bytes. */
    uint8_t parts[4][MSA_SHA256_SIZE] = {0};
    msa_embedding_key key;
    const int32_t place[2] = {n, index};
    memcpy(parts[0], c->family, sizeof parts[0]);
    msa_sha256_bytes(model_hash, strlen(model_hash), parts[1], NULL);
    msa_sha256_bytes(pictures, (size_t)n * MSA_SHA256_SIZE, parts[2], NULL);
    memcpy(parts[3], place, sizeof place);
    msa_sha256_bytes(parts, sizeof parts, key.digest, NULL);
    return key;
}

/* ---- memory ---- */

static entry *find(msa_embedding_cache *c, const msa_embedding_key *key, size_t floats)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entries[i].floats == floats && memcmp(&c->entries[i].key, key, sizeof *key) == 0)
            return &c->entries[i];
    return NULL;
}

static void drop_oldest(msa_embedding_cache *c)
{
    entry *oldest = &c->entries[0];
    for (size_t i = 1; i < c->n; i++)
        if (c->entries[i].used < oldest->used) oldest = &c->entries[i];
    c->bytes -= oldest->floats * sizeof *oldest->values;
    free(oldest->values);
    *oldest = c->entries[--c->n];
}

/* A new entry of this size, the one used longest ago making room for it; NULL: no memory for it at all. */
static entry *add(msa_embedding_cache *c, const msa_embedding_key *key, size_t floats)
{
    const size_t size = floats * sizeof(float);
    while (c->n > 0 && c->bytes + size > c->memory_bytes)
        drop_oldest(c);
    if (c->n == c->room) {
        const size_t room = c->room > 0 ? 2 * c->room : 16;
        entry *grown = realloc(c->entries, room * sizeof *grown);
        if (grown == NULL) return NULL;
        c->entries = grown;
        c->room = room;
    }
    float *values = malloc(size);
    if (values == NULL) return NULL;
    c->bytes += size;
    c->entries[c->n] = (entry){*key, floats, ++c->clock, values};
    return &c->entries[c->n++];
}

/* ---- both ---- */

static const float *load(msa_embedding_cache *c, const msa_embedding_key *key, size_t floats)
{
    float *room = c->disk.folder_fd < 0 ? NULL : realloc(c->loaded, floats * sizeof *room);
    if (room == NULL) return NULL;
    c->loaded = room;
    const msa_disk_found found = msa_embedding_disk_read(&c->disk, key, room, floats);
    c->stats.damaged += found == MSA_DISK_DAMAGED;
    if (found != MSA_DISK_FOUND) return NULL;
    c->stats.from_disk++;
    entry *e = add(c, key, floats);
    if (e == NULL) return room;
    memcpy(e->values, room, floats * sizeof *room);
    return e->values;
}

const float *msa_embedding_cache_find(msa_embedding_cache *c, const msa_embedding_key *key, size_t floats)
{
    entry *e = find(c, key, floats);
    if (e == NULL) return load(c, key, floats);
    e->used = ++c->clock;
    c->stats.from_memory++;
    return e->values;
}

const float *msa_embedding_cache_keep(msa_embedding_cache *c, const msa_embedding_key *key,
                                      const float *embedding, size_t floats)
{
    c->stats.encoded++;
    entry *e = find(c, key, floats);
    if (e == NULL && (e = add(c, key, floats)) != NULL)
        memcpy(e->values, embedding, floats * sizeof *embedding);
    if (e != NULL) e->used = ++c->clock;
    msa_embedding_disk_write(&c->disk, key, embedding, floats);
    return e != NULL ? e->values : embedding;
}
