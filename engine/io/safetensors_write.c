#include "engine/io/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/io/half.h"

#define PIECE 16384 /* floats filled at a time */

static inline void json_put(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_put))) json_t *

static msa_status no_memory(msa_error *err)
{
    return msa_fail(err, MSA_E_NOMEM, "no memory for the header");
}

/* Bytes of a value; 0: not written. */
static int64_t width_of(const msa_tensor *t)
{
    return t->stored == MSA_STORED_F32 ? 4 : t->stored == MSA_STORED_F16 ? 2 : 0;
}

static msa_status describe_tensor(json_t *header, const msa_tensor *t, int64_t *offset, msa_error *err)
{
    int64_t count = 1, bytes = 0, end = 0;
    AUTO_JSON shape = json_array();
    if (t->rank < 0 || t->rank > MSA_TENSOR_RANK_MAX || strlen(t->name) > MSA_TENSOR_NAME_MAX)
        return msa_fail(err, MSA_E_INVALID, "tensor %.80s has a rank or a name that no file may hold",
                        t->name);
    for (int32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] <= 0 || __builtin_mul_overflow(count, t->shape[i], &count))
            return msa_fail(err, MSA_E_INVALID, "tensor %.80s has an impossible shape", t->name);
        if (json_array_append_new(shape, json_integer(t->shape[i])) != 0) return no_memory(err);
    }
    if (width_of(t) == 0)
        return msa_fail(err, MSA_E_INVALID, "tensor %.80s can only be written as F32 or F16", t->name);
    if (count != t->count || __builtin_mul_overflow(count, width_of(t), &bytes) ||
        __builtin_add_overflow(*offset, bytes, &end))
        return msa_fail(err, MSA_E_INVALID, "tensor %.80s has a count that is not its shape's", t->name);
    if (*offset % width_of(t) != 0)
        return msa_fail(err, MSA_E_INVALID, "tensor %.80s would not be aligned after an odd number of halves",
                        t->name);
    const char *dtype = t->stored == MSA_STORED_F16 ? "F16" : "F32";
    json_t *entry = json_pack("{s:s, s:O, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets",
                              (json_int_t)*offset, (json_int_t)end);
    if (entry == NULL) return no_memory(err);
    if (json_object_get(header, t->name) != NULL) {
        json_decref(entry);
        return msa_fail(err, MSA_E_INVALID, "tensor %.80s is given twice", t->name);
    }
    if (json_object_set_new(header, t->name, entry) != 0) return no_memory(err);
    *offset = end;
    return MSA_OK;
}

/* Compact, in the order given, padded with spaces so that the data is aligned. */
static msa_status make_header(char **text, size_t *length, const msa_tensor *tensors, int32_t n,
                              const msa_metadata *metadata, int32_t n_metadata, msa_error *err)
{
    int64_t offset = 0;
    AUTO_JSON header = json_object();
    AUTO_JSON strings = json_object();
    for (int32_t i = 0; i < n_metadata; i++)
        if (json_object_set_new(strings, metadata[i].key, json_string(metadata[i].value)) != 0)
            return no_memory(err);
    if (n_metadata > 0 && json_object_set(header, "__metadata__", strings) != 0) return no_memory(err);
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(describe_tensor(header, &tensors[i], &offset, err));
    MSA_AUTO_FREE char *json = json_dumps(header, JSON_COMPACT);
    if (json == NULL) return no_memory(err);
    const size_t used = strlen(json), padded = (used + 7) / 8 * 8;
    if (padded > MSA_SAFETENSORS_HEADER_MAX)
        return msa_fail(err, MSA_E_INVALID, "header of %zu bytes is larger than %u", padded,
                        MSA_SAFETENSORS_HEADER_MAX);
    char *grown = realloc(json, padded + 1);
    if (grown == NULL) return no_memory(err);
    json = NULL;
    memset(grown + used, ' ', padded - used);
    *text = grown;
    *length = padded;
    return MSA_OK;
}

static msa_status put(FILE *to, const void *data, size_t bytes, const char *path, msa_error *err)
{
    if (fwrite(data, 1, bytes, to) != bytes)
        return msa_fail(err, MSA_E_IO, "cannot write %s: %s", path, strerror(errno));
    return MSA_OK;
}

static msa_status put_values(FILE *to, const msa_tensor *t, const float *values, int64_t n, const char *path,
                             msa_error *err)
{
    unsigned char halves[2 * PIECE];
    if (t->stored == MSA_STORED_F32) return put(to, values, (size_t)n * sizeof *values, path, err);
    for (int64_t first = 0; first < n; first += PIECE) {
        const int64_t some = n - first < PIECE ? n - first : PIECE;
        if (!msa_half_write(values + first, some, halves))
            return msa_fail(err, MSA_E_INVALID, "tensor %.80s holds a value beyond what F16 can hold",
                            t->name);
        MSA_TRY(put(to, halves, 2 * (size_t)some, path, err));
    }
    return MSA_OK;
}

static msa_status put_tensor(FILE *to, const msa_tensor *t, msa_tensor_fill *fill, void *ctx,
                             const char *path, msa_error *err)
{
    if (t->data != NULL) return put_values(to, t, t->data, t->count, path, err);
    if (fill == NULL) return msa_fail(err, MSA_E_INVALID, "tensor %.80s has no data", t->name);
    MSA_AUTO_FREE float *piece = malloc(PIECE * sizeof *piece);
    if (piece == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to write a tensor");
    for (int64_t first = 0; first < t->count; first += PIECE) {
        const int64_t n = t->count - first < PIECE ? t->count - first : PIECE;
        fill(ctx, t, first, n, piece);
        MSA_TRY(put_values(to, t, piece, n, path, err));
    }
    return MSA_OK;
}

/* The name in its folder is only safe when the folder itself has been synced. */
static msa_status sync_folder(const char *path, msa_error *err)
{
    MSA_AUTO_FREE char *copy = strdup(path);
    if (copy == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a path");
    MSA_AUTO_FD int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return msa_fail(err, MSA_E_IO, "cannot sync the folder of %s: %s", path, strerror(errno));
    return MSA_OK;
}

typedef struct writing {
    const char *path, *header;
    size_t length;
    const msa_tensor *tensors;
    int32_t n;
    msa_tensor_fill *fill;
    void *ctx;
} writing;

static msa_status write_all(FILE *to, const writing *w, msa_error *err)
{
    const uint64_t length = htole64((uint64_t)w->length);
    MSA_TRY(put(to, &length, sizeof length, w->path, err));
    MSA_TRY(put(to, w->header, w->length, w->path, err));
    for (int32_t i = 0; i < w->n; i++)
        MSA_TRY(put_tensor(to, &w->tensors[i], w->fill, w->ctx, w->path, err));
    if (fflush(to) != 0 || fsync(fileno(to)) != 0)
        return msa_fail(err, MSA_E_IO, "cannot write %s: %s", w->path, strerror(errno));
    return MSA_OK;
}

/* mkostemp makes 0600; a model is for every role to read. */
static msa_status write_part(int fd, const writing *w, msa_error *err)
{
    FILE *to = fdopen(fd, "wb");
    if (to == NULL) {
        (void)close(fd);
        return msa_fail(err, MSA_E_NOMEM, "no memory to write %s", w->path);
    }
    msa_status status = write_all(to, w, err);
    if (status == MSA_OK && fchmod(fd, 0644) != 0)
        status = msa_fail(err, MSA_E_IO, "cannot set the mode of %s: %s", w->path, strerror(errno));
    if (fclose(to) != 0 && status == MSA_OK)
        status = msa_fail(err, MSA_E_IO, "cannot write %s: %s", w->path, strerror(errno));
    return status;
}

msa_status msa_safetensors_write(const char *path, const msa_tensor *tensors, int32_t n_tensors,
                                 const msa_metadata *metadata, int32_t n_metadata, msa_tensor_fill *fill,
                                 void *ctx, msa_error *err)
{
    MSA_AUTO_FREE char *header = NULL;
    MSA_AUTO_FREE char *part = NULL;
    writing w = {.path = path, .tensors = tensors, .n = n_tensors, .fill = fill, .ctx = ctx};
    MSA_TRY(make_header(&header, &w.length, tensors, n_tensors, metadata, n_metadata, err));
    w.header = header;
    if (asprintf(&part, "%s.XXXXXX", path) < 0) {
        part = NULL;
        return msa_fail(err, MSA_E_NOMEM, "no memory for a path");
    }
    const int fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot create %s: %s", part, strerror(errno));
    msa_status status = write_part(fd, &w, err);
    if (status == MSA_OK && rename(part, path) != 0)
        status = msa_fail(err, MSA_E_IO, "cannot put %s in place: %s", path, strerror(errno));
    if (status != MSA_OK) {
        (void)unlink(part);
        return status;
    }
    return sync_folder(path, err);
}
