/* Files of weights that others made: torch checkpoints and safetensors of any dtype, read tensor by tensor.
 */
#ifndef MSA_ENGINE_IO_CHECKPOINT_H
#define MSA_ENGINE_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/io/pickle.h"
#include "engine/io/safetensors.h"

typedef struct msa_checkpoint_tensor {
    const char *name; /* with the keys of the dicts that it lies in: "state_dict.image_encoder.pos_embed" */
    msa_element element;
    int32_t rank;
    int64_t shape[MSA_TENSOR_RANK_MAX], stride[MSA_TENSOR_RANK_MAX]; /* in elements */
    int64_t count;                                                   /* product of shape */
    const unsigned char *first; /* element 0, ..., 0 in the mapped file */
    int32_t storage;            /* what its bytes lie in */
} msa_checkpoint_tensor;

/* Bytes that tensors lie in; several may share them. */
typedef struct msa_checkpoint_storage {
    const unsigned char *bytes;
    size_t size;
    uint32_t crc; /* 0: not recorded */
    bool checked;
} msa_checkpoint_storage;

typedef struct msa_checkpoint msa_checkpoint;

/**
 * Maps `path` and reads what tensors it holds, not their values. Known are:
 * - zip archives of torch.save() (PyTorch 1.6 and later) and its older format of pickles one after another;
 *   engine/io/zip.h and engine/io/pickle.h say what is refused. Nested dicts give names with dots between
 * their keys; what lies under a key that begins with "optim", "sched" or "scaler" is skipped and its bytes
 * are never looked at.
 * - safetensors of any dtype.
 * Every tensor listed lies inside its bytes. Empty tensors, and those of more axes than MSA_TENSOR_RANK_MAX,
 * are left out.
 *
 * Memory: 200 bytes for a tensor, and the pickle's. Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE,
 * MSA_E_UNSUPPORTED, MSA_E_NOMEM. Threads: one at a time.
 */
MSA_NODISCARD msa_status msa_checkpoint_open(msa_checkpoint **out, const char *path, msa_error *err);
/* The same for bytes in memory, which are borrowed. */
MSA_NODISCARD msa_status msa_checkpoint_of_bytes(msa_checkpoint **out, const unsigned char *bytes,
                                                 size_t size, msa_error *err);
void msa_checkpoint_free(msa_checkpoint *c);
MSA_DEFINE_AUTO(msa_checkpoint, msa_checkpoint_free);

/* "torch archive", "old torch file" or "safetensors". */
const char *msa_checkpoint_format(const msa_checkpoint *c);
int32_t msa_checkpoint_count(const msa_checkpoint *c);
const msa_checkpoint_tensor *msa_checkpoint_at(const msa_checkpoint *c, int32_t i);
/* A string of a safetensors file's `__metadata__`; NULL when absent. */
const char *msa_checkpoint_metadata(const msa_checkpoint *c, const char *key);
/* The i-th of them: its key, or NULL after the last. */
const char *msa_checkpoint_metadata_at(const msa_checkpoint *c, int32_t i, const char **value);
size_t msa_checkpoint_bytes(const msa_checkpoint *c);

/* Elements first .. first + n - 1 in row-major order as float32; doubles are rounded, whole numbers are not
 * read (zeros). */
void msa_checkpoint_read(const msa_checkpoint_tensor *t, int64_t first, int64_t n, float *to);
/* Reads a tensor once: its bytes are those whose checksum the archive carries, and every value is finite.
 * Errors: MSA_E_PARSE. */
MSA_NODISCARD msa_status msa_checkpoint_check(msa_checkpoint *c, const msa_checkpoint_tensor *t,
                                              msa_error *err);
/* The tensor's pages will not be needed soon: they no longer count as this process's memory. */
void msa_checkpoint_drop(const msa_checkpoint *c, const msa_checkpoint_tensor *t);
/* SHA-256 of the whole file, 64 hex digits. */
void msa_checkpoint_hash(const msa_checkpoint *c, char hex[65]);

#endif
