/**
 * Content-addressed files: a blob's name is the SHA-256 of its bytes, so it never changes and a second put is
 * no work. Names from the network never become paths. The interface has one backend, a local folder:
 *
 *   ROOT/incoming/<random>.part   being written; removed at start-up
 *   ROOT/blobs/<hh>/<sha256>      durable: fdatasync, close, rename and its folder synced, each checked
 *
 * A failed fsync is final (invariant 1): the store marks itself bad, refuses every later put, and the caller
 * stops accepting; it is never retried, because the kernel forgets dirty pages after reporting once.
 */
#ifndef SRV_BLOB_BLOB_H
#define SRV_BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"

typedef struct srv_blobs srv_blobs;
typedef struct srv_blob_writer srv_blob_writer;

/* Makes the folders when absent (mode 0700). Errors: MSA_E_IO. Threads: one per process. */
MSA_NODISCARD msa_status srv_blobs_open(srv_blobs **out, const char *root, msa_error *err);
/* For roles: the folders are there and durable, because core has opened them. Makes and syncs nothing. */
MSA_NODISCARD msa_status srv_blobs_attach(srv_blobs **out, const char *root, msa_error *err);
void srv_blobs_free(srv_blobs *b);
MSA_DEFINE_AUTO(srv_blobs, srv_blobs_free);

/* From now on writers fail with MSA_E_BUSY where fewer bytes than these would be left on the volume; 0:
 * never. */
void srv_blobs_keep_free(srv_blobs *b, int64_t bytes);

/* Removes incoming leftovers. Core only, before any role runs. */
MSA_NODISCARD msa_status srv_blobs_clean_incoming(srv_blobs *b, int32_t *removed, msa_error *err);

/**
 * Streaming put: write() pieces, then commit(). size and hash are of all bytes written.
 * Errors: MSA_E_BUSY when the disk is full or over quota (ENOSPC, EDQUOT), MSA_E_IO otherwise; after a failed
 * fsync srv_blobs_bad() is true. Free without commit drops the part file.
 */
MSA_NODISCARD msa_status srv_blob_writer_new(srv_blob_writer **out, srv_blobs *b, msa_error *err);
MSA_NODISCARD msa_status srv_blob_writer_write(srv_blob_writer *w, const void *bytes, size_t size,
                                               msa_error *err);
MSA_NODISCARD msa_status srv_blob_writer_commit(srv_blob_writer *w, char sha256[MSA_SHA256_HEX],
                                                int64_t *size_bytes, msa_error *err);
/* Where the bytes written so far lie, until commit or free. */
MSA_NODISCARD msa_status srv_blob_writer_path(const srv_blob_writer *w, char *path, size_t path_size,
                                              msa_error *err);
void srv_blob_writer_free(srv_blob_writer *w);
MSA_DEFINE_AUTO(srv_blob_writer, srv_blob_writer_free);

/* Copies a file in (a worker's result). Same durability. */
MSA_NODISCARD msa_status srv_blob_put_file(srv_blobs *b, const char *path, char sha256[MSA_SHA256_HEX],
                                           int64_t *size_bytes, msa_error *err);
/* Of the file system: what we may still write, and all there is. False: it does not say. May wait for the
 * disk. */
bool srv_blobs_space(const srv_blobs *b, int64_t *free_bytes, int64_t *size_bytes);
/* Path of a blob for reading. Errors: MSA_E_INVALID when sha256 is not 64 lower-case hex digits,
 * MSA_E_INVALID when too long. */
MSA_NODISCARD msa_status srv_blob_path(const srv_blobs *b, const char *sha256, char *path, size_t path_size,
                                       msa_error *err);
/* The catalogue does not name it any more; what is not there is no error. Not synced: should it come back after a
 * power cut, nobody names it. */
MSA_NODISCARD msa_status srv_blob_remove(srv_blobs *b, const char *sha256, msa_error *err);
bool srv_blob_exists(const srv_blobs *b, const char *sha256);
bool srv_blobs_bad(const srv_blobs *b);
#endif
