#include "engine/io/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/room.h"
#include "engine/kern/widen.h"

struct msa_safetensors {
    unsigned char *map;
    size_t size;
    json_t *header; /* owns the names and the metadata */
    msa_room wide;  /* for tensors that the file holds in half precision */
    msa_tensor *tensors;
    const unsigned char **stored; /* where the file has each */
    bool *wanted;                 /* its data holds the values */
    const msa_tensor **by_name;
    int32_t count;
};

void msa_safetensors_free(msa_safetensors *f)
{
    if (f == NULL) return;
    if (f->map != NULL) (void)munmap(f->map, f->size);
    json_decref(f->header);
    msa_room_release(&f->wide);
    free(f->tensors);
    free(f->stored);
    free(f->wanted);
    free(f->by_name);
    free(f);
}

static msa_status map_file(msa_safetensors *f, const char *path, msa_error *err)
{
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no file %s", path);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0) return msa_fail(err, MSA_E_IO, "cannot examine %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return msa_fail(err, MSA_E_PARSE, "%s is not a regular file", path);
    if (st.st_size < 10)
        return msa_fail(err, MSA_E_PARSE, "too short for a safetensors file: %lld bytes",
                        (long long)st.st_size);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return msa_fail(err, MSA_E_IO, "cannot map %s: %s", path, strerror(errno));
    f->map = map;
    f->size = (size_t)st.st_size;
    return MSA_OK;
}

/* The JSON text lies in bytes 8 .. 8 + length - 1. */
static msa_status read_header(msa_safetensors *f, size_t *length, msa_error *err)
{
    uint64_t n = 0;
    memcpy(&n, f->map, sizeof n);
    n = le64toh(n);
    if (n > MSA_SAFETENSORS_HEADER_MAX)
        return msa_fail(err, MSA_E_PARSE, "header of %llu bytes is larger than %u", (unsigned long long)n,
                        MSA_SAFETENSORS_HEADER_MAX);
    if (n < 2 || n > f->size - 8)
        return msa_fail(err, MSA_E_PARSE, "header of %llu bytes does not fit the file",
                        (unsigned long long)n);
    if (n % sizeof(float) != 0)
        return msa_fail(err, MSA_E_PARSE, "header length %llu leaves the data unaligned",
                        (unsigned long long)n);
    if (f->map[8] != '{') return msa_fail(err, MSA_E_PARSE, "header does not begin with {");
    json_error_t problem;
    f->header = json_loadb((const char *)f->map + 8, (size_t)n, JSON_REJECT_DUPLICATES, &problem);
    if (f->header == NULL) {
        if (json_error_code(&problem) == json_error_out_of_memory)
            return msa_fail(err, MSA_E_NOMEM, "no memory for the header");
        return msa_fail(err, MSA_E_PARSE, "header is not valid JSON: %s", problem.text);
    }
    *length = (size_t)n;
    return MSA_OK;
}

static msa_status check_metadata(const json_t *metadata, msa_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (metadata == NULL) return MSA_OK;
    if (!json_is_object(metadata)) return msa_fail(err, MSA_E_PARSE, "__metadata__ is not an object");
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value)) return msa_fail(err, MSA_E_PARSE, "metadata %.40s is not a string", key);
    }
    return MSA_OK;
}

static msa_status read_shape(msa_tensor *t, const json_t *shape, msa_error *err)
{
    if (!json_is_array(shape)) return msa_fail(err, MSA_E_PARSE, "tensor %.80s has no shape", t->name);
    if (json_array_size(shape) > MSA_TENSOR_RANK_MAX)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s has rank %zu, more than %d", t->name,
                        json_array_size(shape), MSA_TENSOR_RANK_MAX);
    t->rank = (int32_t)json_array_size(shape);
    t->count = 1;
    for (int32_t i = 0; i < t->rank; i++) {
        const json_t *side = json_array_get(shape, (size_t)i);
        t->shape[i] = json_is_integer(side) ? (int64_t)json_integer_value(side) : -1;
        if (t->shape[i] == 0) return msa_fail(err, MSA_E_PARSE, "tensor %.80s is empty", t->name);
        if (t->shape[i] < 0 || __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return msa_fail(err, MSA_E_PARSE, "tensor %.80s has an impossible shape", t->name);
    }
    return MSA_OK;
}

static msa_status read_stored(msa_tensor *t, const json_t *dtype, msa_error *err)
{
    static const char *const names[] = {
        [MSA_STORED_F32] = "F32", [MSA_STORED_F16] = "F16", [MSA_STORED_BF16] = "BF16"};
    const char *name = json_string_value(dtype);
    if (name == NULL) return msa_fail(err, MSA_E_PARSE, "tensor %.80s has no dtype", t->name);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        t->stored = (msa_stored)i;
        if (strcmp(name, names[i]) == 0) return MSA_OK;
    }
    return msa_fail(err, MSA_E_UNSUPPORTED, "tensor %.80s is %.8s; only F32, F16 and BF16 are handled",
                    t->name, name);
}

static int64_t width_of(const msa_tensor *t)
{
    return t->stored == MSA_STORED_F32 ? 4 : 2;
}

static msa_status read_tensor(msa_safetensors *f, size_t start, const char *name, const json_t *entry,
                              msa_error *err)
{
    msa_tensor *t = &f->tensors[f->count];
    t->name = name;
    if (name[0] == '\0' || strlen(name) > MSA_TENSOR_NAME_MAX)
        return msa_fail(err, MSA_E_PARSE, "a tensor's name is empty or longer than %d", MSA_TENSOR_NAME_MAX);
    if (!json_is_object(entry) || json_object_size(entry) != 3)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s is not {dtype, shape, data_offsets}", name);
    MSA_TRY(read_stored(t, json_object_get(entry, "dtype"), err));
    MSA_TRY(read_shape(t, json_object_get(entry, "shape"), err));
    const json_t *range = json_object_get(entry, "data_offsets");
    const json_t *from = json_array_get(range, 0), *to = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s has no data_offsets", name);
    const int64_t first = (int64_t)json_integer_value(from), last = (int64_t)json_integer_value(to);
    int64_t bytes = 0;
    if (first < 0 || last < first || (uint64_t)last > f->size - start)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s lies outside the file", name);
    if (__builtin_mul_overflow(t->count, width_of(t), &bytes) || bytes != last - first)
        return msa_fail(err, MSA_E_PARSE, "tensor %.80s has %lld bytes, its shape asks for another number",
                        name, (long long)(last - first));
    if (first % width_of(t) != 0) return msa_fail(err, MSA_E_PARSE, "tensor %.80s is not aligned", name);
    /* of a half: where its bytes lie, until place() has been there */
    t->data = (const float *)(const void *)(f->map + start + first);
    f->count++;
    return MSA_OK;
}

static int by_data(const void *a, const void *b)
{
    const msa_tensor *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int by_name(const void *a, const void *b)
{
    const msa_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* In the order of their bytes, tensors must follow each other and end where the file ends. */
static msa_status check_cover(const msa_safetensors *f, size_t start, msa_error *err)
{
    const unsigned char *end = f->map + start;
    for (int32_t i = 0; i < f->count; i++) {
        const msa_tensor *t = &f->tensors[i];
        if ((const unsigned char *)t->data != end)
            return msa_fail(err, MSA_E_PARSE, "tensor %.80s leaves a hole or overlaps the one before it",
                            t->name);
        end += t->count * width_of(t);
    }
    if (end != f->map + f->size)
        return msa_fail(err, MSA_E_PARSE, "%zu bytes at the end belong to no tensor",
                        (size_t)(f->map + f->size - end));
    return MSA_OK;
}

/* ---- values ---- */

static size_t wide_bytes(const msa_tensor *t)
{
    return (size_t)t->count * sizeof *t->data;
}

/* Pieces of a room are pages: what is smaller lies together and stays, else a file of many tensors would take
 * far more than its own size. */
static bool is_small(const msa_tensor *t)
{
    return wide_bytes(t) < (size_t)sysconf(_SC_PAGESIZE);
}

static void widen(const msa_safetensors *f, const msa_tensor *t)
{
    const uint16_t *from = (const void *)f->stored[t - f->tensors];
    float *to = (float *)(uintptr_t)t->data;
    if (t->stored == MSA_STORED_F16)
        msa_widen_half(from, t->count, to);
    else
        msa_widen_bfloat(from, t->count, to);
}

/* The room's size: first what is small, then pieces; and where in it each is, once the room is there. */
static size_t layout(msa_safetensors *f, size_t *small)
{
    size_t at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < f->count; i++) {
            msa_tensor *t = &f->tensors[i];
            if (t->stored == MSA_STORED_F32 || is_small(t) != (pass == 0)) continue;
            if (f->wide.base != NULL) t->data = (const float *)(const void *)(f->wide.base + at);
            at += pass == 0 ? wide_bytes(t) : msa_room_piece(wide_bytes(t));
        }
        if (pass == 0) *small = at = msa_room_piece(at);
    }
    return at;
}

/* Of a size that the file's own bounds: every half has its two bytes there. */
static msa_status place(msa_safetensors *f, msa_error *err)
{
    size_t small = 0;
    for (int32_t i = 0; i < f->count; i++)
        f->stored[i] = (const unsigned char *)f->tensors[i].data;
    MSA_TRY(msa_room_reserve(&f->wide, layout(f, &small), err));
    if (small > 0) MSA_TRY(msa_room_open(f->wide.base, small, err));
    (void)layout(f, &small);
    for (int32_t i = 0; i < f->count; i++) {
        const msa_tensor *t = &f->tensors[i];
        f->wanted[i] = t->stored == MSA_STORED_F32 || is_small(t);
        if (f->wanted[i] && t->stored != MSA_STORED_F32) widen(f, t);
    }
    return MSA_OK;
}

/* The system may have whole pages of these bytes of the file back. */
static void drop(const unsigned char *bytes, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes;
    const uintptr_t first = (from + page - 1) / page * page, last = (from + n) / page * page;
    if (first < last) (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

msa_status msa_safetensors_want(msa_safetensors *f, const msa_tensor *t, msa_error *err)
{
    const int32_t i = (int32_t)(t - f->tensors);
    if (f->wanted[i]) return MSA_OK;
    MSA_TRY(msa_room_open((void *)(uintptr_t)t->data, wide_bytes(t), err));
    widen(f, t);
    drop(f->stored[i], (size_t)(t->count * width_of(t)));
    f->wanted[i] = true;
    return MSA_OK;
}

void msa_safetensors_leave(msa_safetensors *f, const msa_tensor *t)
{
    const int32_t i = (int32_t)(t - f->tensors);
    if (t->stored == MSA_STORED_F32) {
        drop(f->stored[i], wide_bytes(t));
    } else if (!is_small(t) && f->wanted[i]) {
        msa_room_shut((void *)(uintptr_t)t->data, wide_bytes(t));
        f->wanted[i] = false;
    }
}

const msa_tensor *msa_safetensors_holding(const msa_safetensors *f, const float *data)
{
    for (int32_t i = 0; i < f->count; i++)
        if (f->tensors[i].data == data) return &f->tensors[i];
    return NULL;
}

static msa_status read_tensors(msa_safetensors *f, size_t start, msa_error *err)
{
    const char *name = NULL;
    json_t *entry = NULL;
    const size_t n = json_object_size(f->header) + 1;
    f->tensors = calloc(n, sizeof *f->tensors);
    f->by_name = calloc(n, sizeof *f->by_name);
    f->stored = calloc(n, sizeof *f->stored);
    f->wanted = calloc(n, sizeof *f->wanted);
    if (f->tensors == NULL || f->by_name == NULL || f->stored == NULL || f->wanted == NULL)
        return msa_fail(err, MSA_E_NOMEM, "no memory for the tensor list");
    json_object_foreach(f->header, name, entry)
    {
        if (strcmp(name, "__metadata__") != 0) MSA_TRY(read_tensor(f, start, name, entry, err));
    }
    qsort(f->tensors, (size_t)f->count, sizeof *f->tensors, by_data);
    MSA_TRY(check_cover(f, start, err));
    MSA_TRY(place(f, err));
    for (int32_t i = 0; i < f->count; i++)
        f->by_name[i] = &f->tensors[i];
    qsort(f->by_name, (size_t)f->count, sizeof *f->by_name, by_name);
    return MSA_OK;
}

msa_status msa_safetensors_open_bare(msa_safetensors **out, const char *path, msa_error *err)
{
    size_t length = 0;
    *out = NULL;
    MSA_AUTO(msa_safetensors) f = calloc(1, sizeof *f);
    if (f == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to open a model");
    MSA_TRY(map_file(f, path, err));
    MSA_TRY(read_header(f, &length, err));
    MSA_TRY(check_metadata(json_object_get(f->header, "__metadata__"), err));
    MSA_TRY(read_tensors(f, 8 + length, err));
    *out = MSA_STEAL(f);
    return MSA_OK;
}

msa_status msa_safetensors_open(msa_safetensors **out, const char *path, msa_error *err)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    *out = NULL;
    MSA_TRY(msa_safetensors_open_bare(&f, path, err));
    for (int32_t i = 0; i < f->count; i++)
        MSA_TRY(msa_safetensors_want(f, &f->tensors[i], err));
    *out = MSA_STEAL(f);
    return MSA_OK;
}

int32_t msa_safetensors_count(const msa_safetensors *f)
{
    return f->count;
}

const msa_tensor *msa_safetensors_at(const msa_safetensors *f, int32_t i)
{
    return i >= 0 && i < f->count ? &f->tensors[i] : NULL;
}

const msa_tensor *msa_safetensors_find(const msa_safetensors *f, const char *name)
{
    const msa_tensor wanted = {.name = name}, *key = &wanted;
    const msa_tensor **found = bsearch(&key, f->by_name, (size_t)f->count, sizeof *f->by_name, by_name);
    return found == NULL ? NULL : *found;
}

const char *msa_safetensors_metadata(const msa_safetensors *f, const char *key)
{
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}

const void *msa_safetensors_bytes(const msa_safetensors *f, size_t *size)
{
    *size = f->size;
    return f->map;
}

msa_status msa_safetensors_hash(const msa_safetensors *f, char hex[MSA_SHA256_HEX], msa_error *err)
{
    const size_t piece = (size_t)1 << 23;
    msa_sha256 *h = msa_sha256_new();
    if (h == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to hash a model");
    for (size_t at = 0; at < f->size; at += piece) {
        const size_t n = f->size - at < piece ? f->size - at : piece;
        msa_sha256_update(h, f->map + at, n);
        drop(f->map + at, n);
    }
    msa_sha256_hex(h, hex);
    msa_sha256_free(h);
    return MSA_OK;
}
