/* The part of an embedding cache that lies on disk: one file an embedding, named by its key. */
#ifndef MSA_ENGINE_VOLUME_EMBEDDING_DISK_H
#define MSA_ENGINE_VOLUME_EMBEDDING_DISK_H

#include <stdbool.h>

#include "engine/embedding_cache.h"

typedef struct msa_embedding_disk {
    int folder_fd;              /* -1: none */
    uint64_t limit, used, news; /* bytes; used: when last counted, and news: written by us since then */
    uint64_t serial;            /* of the next file that is being written */
    bool complained;
} msa_embedding_disk;

typedef enum msa_disk_found { MSA_DISK_ABSENT, MSA_DISK_FOUND, MSA_DISK_DAMAGED } msa_disk_found;

/* Logs what is in the way and leaves folder_fd at -1. The folder is ours alone: mode 0700. */
void msa_embedding_disk_open(msa_embedding_disk *d, const char *folder, uint64_t limit);
void msa_embedding_disk_close(msa_embedding_disk *d);

/* A file that is not whole, or of other bytes than its header says, is removed. */
msa_disk_found msa_embedding_disk_read(msa_embedding_disk *d, const msa_embedding_key *key, float *to,
                                       size_t floats);
/* Written beside it and renamed, so that no reader sees half a file; the files read longest ago make room. */
void msa_embedding_disk_write(msa_embedding_disk *d, const msa_embedding_key *key, const float *from,
                              size_t floats);

#endif
