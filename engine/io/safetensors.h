/* Safetensors files: read by a strict memory-mapped reader, written atomically. */
#ifndef MSA_ENGINE_IO_SAFETENSORS_H
#define MSA_ENGINE_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"

#define MSA_TENSOR_RANK_MAX        6
#define MSA_TENSOR_NAME_MAX        200
#define MSA_SAFETENSORS_HEADER_MAX (1u << 20)

/* How a file holds a tensor; in memory all are float32. */
typedef enum msa_stored {
    MSA_STORED_F32,
    MSA_STORED_F16,
    MSA_STORED_BF16, /* read only */
} msa_stored;

/* One float32 tensor, C-contiguous. `data` and `name` belong to the file it came from. */
typedef struct msa_tensor {
    const char *name;
    const float *data;
    int32_t rank;
    int64_t shape[MSA_TENSOR_RANK_MAX];
    int64_t count; /* product of shape; never 0 */
    msa_stored stored;
} msa_tensor;

typedef struct msa_safetensors msa_safetensors;

/**
 * Maps the file (MAP_PRIVATE, PROT_READ) and checks all of its header: at most 1 MiB, a JSON object without
 * duplicate keys, known dtype, rank at most 6, no empty tensor, byte ranges that equal the shapes, follow
 * each other without hole or overlap and cover the file exactly. F32 is used where it lies; F16 and BF16 are
 * widened, exactly, into memory of this process: twice the bytes that they have in the file.
 *
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (malformed), MSA_E_UNSUPPORTED (another dtype), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_safetensors_open(msa_safetensors **out, const char *path, msa_error *err);
/* The same, but no half is widened before msa_safetensors_want(). */
MSA_NODISCARD msa_status msa_safetensors_open_bare(msa_safetensors **out, const char *path, msa_error *err);
void msa_safetensors_free(msa_safetensors *f);
MSA_DEFINE_AUTO(msa_safetensors, msa_safetensors_free);

/**
 * t->data, which stays where it is, holds the values from want() until leave(), which gives the memory back:
 * who reads it without is ended by a signal. Of F32, leave() lets the system have the pages of the file,
 * which it reads again should anybody look. One thread at a time; others may read other tensors. Errors:
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_safetensors_want(msa_safetensors *f, const msa_tensor *t, msa_error *err);
void msa_safetensors_leave(msa_safetensors *f, const msa_tensor *t);
/* The tensor whose data begins there; NULL when there is none. */
const msa_tensor *msa_safetensors_holding(const msa_safetensors *f, const float *data);

/* Tensors in the order of their bytes in the file. */
int32_t msa_safetensors_count(const msa_safetensors *f);
const msa_tensor *msa_safetensors_at(const msa_safetensors *f, int32_t i);
/* NULL when there is none of that name. */
const msa_tensor *msa_safetensors_find(const msa_safetensors *f, const char *name);
/* A string of `__metadata__`; NULL when absent. */
const char *msa_safetensors_metadata(const msa_safetensors *f, const char *key);
/* The mapped bytes, as the file has them. */
const void *msa_safetensors_bytes(const msa_safetensors *f, size_t *size);
/* Their hash: of what is really used. Pages that were read for it are left to the system. Errors:
 * MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_safetensors_hash(const msa_safetensors *f, char hex[MSA_SHA256_HEX],
                                              msa_error *err);

typedef struct msa_metadata {
    const char *key, *value;
} msa_metadata;

/* Writes elements first .. first + n - 1 of tensor `t` to `to`, for tensors given without data. */
typedef void msa_tensor_fill(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to);

/**
 * Writes a file beside `path`, syncs it and renames it into place: readers see the old file or the new one.
 * Tensors whose data is NULL are filled in pieces by `fill`, so that a large model needs no memory. `stored`
 * F16 rounds to the nearest, ties to even. Order: an F32 tensor must begin at a multiple of four bytes, so
 * F16 ones of odd count go last.
 *
 * Errors: MSA_E_INVALID (a shape out of bounds, BF16, an F32 tensor after an odd number of halves, a finite
 * value beyond what F16 holds), MSA_E_IO, MSA_E_NOMEM. Nothing is left behind on failure.
 */
MSA_NODISCARD msa_status msa_safetensors_write(const char *path, const msa_tensor *tensors, int32_t n_tensors,
                                               const msa_metadata *metadata, int32_t n_metadata,
                                               msa_tensor_fill *fill, void *ctx, msa_error *err);
#endif
