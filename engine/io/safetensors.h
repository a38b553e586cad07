/* Safetensors files: read by a strict memory-mapped reader, written atomically. */
#ifndef MSA_ENGINE_IO_SAFETENSORS_H
#define MSA_ENGINE_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

#define MSA_TENSOR_RANK_MAX        6
#define MSA_TENSOR_NAME_MAX        200
#define MSA_SAFETENSORS_HEADER_MAX (1u << 20)

/* One float32 tensor, C-contiguous. `data` and `name` belong to the file it came from. */
typedef struct msa_tensor {
    const char *name;
    const float *data;
    int32_t rank;
    int64_t shape[MSA_TENSOR_RANK_MAX];
    int64_t count; /* product of shape; never 0 */
} msa_tensor;

typedef struct msa_safetensors msa_safetensors;

/**
 * Maps the file (MAP_PRIVATE, PROT_READ) and checks all of its header: at most 1 MiB, a JSON object without
 * duplicate keys, known dtype, rank at most 6, no empty tensor, byte ranges that equal the shapes, follow
 * each other without hole or overlap and cover the file exactly. Only F32 is handled.
 *
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (malformed), MSA_E_UNSUPPORTED (another dtype), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_safetensors_open(msa_safetensors **out, const char *path, msa_error *err);
void msa_safetensors_free(msa_safetensors *f);
MSA_DEFINE_AUTO(msa_safetensors, msa_safetensors_free);

/* Tensors in the order of their bytes in the file. */
int32_t msa_safetensors_count(const msa_safetensors *f);
const msa_tensor *msa_safetensors_at(const msa_safetensors *f, int32_t i);
/* NULL when there is none of that name. */
const msa_tensor *msa_safetensors_find(const msa_safetensors *f, const char *name);
/* A string of `__metadata__`; NULL when absent. */
const char *msa_safetensors_metadata(const msa_safetensors *f, const char *key);
/* The mapped bytes, for hashing what is really used. */
const void *msa_safetensors_bytes(const msa_safetensors *f, size_t *size);

typedef struct msa_metadata {
    const char *key, *value;
} msa_metadata;

/* Writes elements first .. first + n - 1 of tensor `t` to `to`, for tensors given without data. */
typedef void msa_tensor_fill(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to);

/**
 * Writes a file beside `path`, syncs it and renames it into place: readers see the old file or the new one.
 * Tensors whose data is NULL are filled in pieces by `fill`, so that a large model needs no memory.
 *
 * Errors: MSA_E_INVALID (a shape out of bounds), MSA_E_IO, MSA_E_NOMEM. Nothing is left behind on failure.
 */
MSA_NODISCARD msa_status msa_safetensors_write(const char *path, const msa_tensor *tensors, int32_t n_tensors,
                                               const msa_metadata *metadata, int32_t n_metadata,
                                               msa_tensor_fill *fill, void *ctx, msa_error *err);
#endif
