#include "engine/io/checkpoint.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/base/hash.h"
#include "engine/io/checkpoint_parts.h"
#include "engine/io/half.h"
#include "engine/io/zip.h"
#include "engine/kern/vec.h"

enum { PIECE = 4096, HASHED_AT_A_TIME = 1 << 24 };

void msa_checkpoint_free(msa_checkpoint *c)
{
    if (c == NULL) return;
    for (int32_t i = 0; i < c->n_tensors; i++)
        free((char *)(uintptr_t)c->tensors[i].name);
    for (int32_t i = 0; i < c->n_metadata; i++) {
        free(c->metadata[i].key);
        free(c->metadata[i].value);
    }
    free(c->metadata);
    free(c->tensors);
    free(c->storages);
    if (c->mapped) (void)munmap((void *)(uintptr_t)c->bytes, c->size);
    free(c);
}

/* ---- opening ---- */

static msa_status map_file(msa_checkpoint *c, const char *path, msa_error *err)
{
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no file %.150s", path);
    if (fd < 0 || fstat(fd, &st) != 0)
        return msa_fail(err, MSA_E_IO, "cannot open %.150s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return msa_fail(err, MSA_E_PARSE, "%.150s is not a regular file", path);
    if (st.st_size == 0) return msa_fail(err, MSA_E_PARSE, "%.150s is empty", path);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return msa_fail(err, MSA_E_IO, "cannot map %.150s: %s", path, strerror(errno));
    c->bytes = map;
    c->size = (size_t)st.st_size;
    c->mapped = true;
    return MSA_OK;
}

static int by_name(const void *a, const void *b)
{
    const msa_checkpoint_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static msa_status read_format(msa_checkpoint *c, msa_error *err)
{
    static const char pickle[] = "\x80\x02}", tar[] = "ustar";
    if (c->size >= 4 && memcmp(c->bytes, "PK\x03\x04", 4) == 0) return msa_checkpoint_read_archive(c, err);
    if (msa_checkpoint_is_old(c->bytes, c->size)) return msa_checkpoint_read_old(c, err);
    if (c->size >= 10 && c->bytes[8] == '{') return msa_checkpoint_read_safetensors(c, err);
    if (c->size >= 265 && memcmp(c->bytes + 257, tar, 5) == 0)
        return msa_fail(
            err, MSA_E_UNSUPPORTED,
            "the file is a tar archive, as PyTorch before 0.2 wrote them: save it again with a later one");
    if (c->size >= 3 && memcmp(c->bytes, pickle, 2) == 0)
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the file is a plain pickle, not a checkpoint of torch.save()");
    return msa_fail(err, MSA_E_PARSE, "the file is neither a checkpoint of torch.save() nor safetensors");
}

static msa_status read_tensors(msa_checkpoint *c, msa_error *err)
{
    MSA_TRY(read_format(c, err));
    if (c->n_tensors == 0) return msa_fail(err, MSA_E_PARSE, "the file holds no tensors");
    qsort(c->tensors, (size_t)c->n_tensors, sizeof *c->tensors, by_name);
    for (int32_t i = 1; i < c->n_tensors; i++)
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return msa_fail(err, MSA_E_PARSE, "tensor %.100s is there twice", c->tensors[i].name);
    return MSA_OK;
}

msa_status msa_checkpoint_open(msa_checkpoint **out, const char *path, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_checkpoint) c = calloc(1, sizeof *c);
    if (c == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to open a checkpoint");
    MSA_TRY(map_file(c, path, err));
    MSA_TRY(read_tensors(c, err));
    *out = MSA_STEAL(c);
    return MSA_OK;
}

msa_status msa_checkpoint_of_bytes(msa_checkpoint **out, const unsigned char *bytes, size_t size,
                                   msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_checkpoint) c = calloc(1, sizeof *c);
    if (c == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory to open a checkpoint");
    c->bytes = bytes;
    c->size = size;
    MSA_TRY(read_tensors(c, err));
    *out = MSA_STEAL(c);
    return MSA_OK;
}

/* ---- filling in ---- */

msa_status msa_checkpoint_add_storage(msa_checkpoint *c, msa_checkpoint_storage s, int32_t *index,
                                      msa_error *err)
{
    if (c->n_storages == c->room_storages) {
        const int32_t room = c->room_storages == 0 ? 64 : 2 * c->room_storages;
        msa_checkpoint_storage *grown = realloc(c->storages, (size_t)room * sizeof *grown);
        if (grown == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the list of tensors");
        c->storages = grown;
        c->room_storages = room;
    }
    *index = c->n_storages;
    c->storages[c->n_storages++] = s;
    return MSA_OK;
}

/* The number of the last element that the tensor reaches; false when there is no such number. */
static bool reach(const msa_checkpoint_tensor *t, int64_t offset, int64_t *last)
{
    *last = offset;
    if (offset < 0) return false;
    for (int32_t i = 0; i < t->rank; i++) {
        int64_t far = 0;
        if (t->stride[i] < 0 || __builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &far) ||
            __builtin_add_overflow(*last, far, last))
            return false;
    }
    return true;
}

static msa_status check_place(msa_checkpoint_tensor *t, int64_t elements, int64_t offset, msa_error *err)
{
    int64_t last = 0;
    t->count = 1;
    for (int32_t i = 0; i < t->rank; i++)
        if (t->shape[i] <= 0 || __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return msa_fail(err, MSA_E_PARSE, "tensor %.100s has an impossible shape", t->name);
    if (!reach(t, offset, &last) || last >= elements)
        return msa_fail(err, MSA_E_PARSE, "tensor %.100s reaches beyond its bytes", t->name);
    if (t->count > elements)
        return msa_fail(err, MSA_E_UNSUPPORTED, "tensor %.100s is a view that repeats its elements", t->name);
    return MSA_OK;
}

msa_status msa_checkpoint_add(msa_checkpoint *c, msa_checkpoint_tensor t, int64_t offset, msa_error *err)
{
    const msa_checkpoint_storage *s = &c->storages[t.storage];
    const int64_t bytes = msa_element_bytes(t.element);
    if (c->n_tensors == MSA_CHECKPOINT_TENSORS_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the file holds more than %d tensors",
                        MSA_CHECKPOINT_TENSORS_MAX);
    MSA_TRY(check_place(&t, (int64_t)s->size / bytes, offset, err));
    t.first = s->bytes + offset * bytes;
    if (c->n_tensors == c->room_tensors) {
        const int32_t room = c->room_tensors == 0 ? 64 : 2 * c->room_tensors;
        msa_checkpoint_tensor *grown = realloc(c->tensors, (size_t)room * sizeof *grown);
        if (grown == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the list of tensors");
        c->tensors = grown;
        c->room_tensors = room;
    }
    t.name = strdup(t.name);
    if (t.name == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the list of tensors");
    c->tensors[c->n_tensors++] = t;
    return MSA_OK;
}

/* ---- asking ---- */

const char *msa_checkpoint_format(const msa_checkpoint *c)
{
    return c->format;
}

int32_t msa_checkpoint_count(const msa_checkpoint *c)
{
    return c->n_tensors;
}

const msa_checkpoint_tensor *msa_checkpoint_at(const msa_checkpoint *c, int32_t i)
{
    return &c->tensors[i];
}

const char *msa_checkpoint_metadata(const msa_checkpoint *c, const char *key)
{
    for (int32_t i = 0; i < c->n_metadata; i++)
        if (strcmp(c->metadata[i].key, key) == 0) return c->metadata[i].value;
    return NULL;
}

const char *msa_checkpoint_metadata_at(const msa_checkpoint *c, int32_t i, const char **value)
{
    if (i < 0 || i >= c->n_metadata) return NULL;
    *value = c->metadata[i].value;
    return c->metadata[i].key;
}

size_t msa_checkpoint_bytes(const msa_checkpoint *c)
{
    return c->size;
}

/* ---- values ---- */

static float double_at(const unsigned char *p)
{
    uint64_t bits = 0;
    double v = 0.0;
    memcpy(&bits, p, sizeof bits);
    bits = le64toh(bits);
    memcpy(&v, &bits, sizeof v);
    return (float)v;
}

static void read_run(msa_element e, const unsigned char *from, int64_t n, float *to)
{
    switch (e) {
    case MSA_ELEMENT_F32:
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    case MSA_ELEMENT_F16:
        msa_half_read(from, n, to);
        return;
    case MSA_ELEMENT_BF16:
        msa_bfloat_read(from, n, to);
        return;
    case MSA_ELEMENT_F64:
        for (int64_t i = 0; i < n; i++)
            to[i] = double_at(from + 8 * i);
        return;
    default:
        memset(to, 0, (size_t)n * sizeof *to);
    }
}

/* Trailing axes whose elements follow each other: how many elements they have. */
static int64_t run_length(const msa_checkpoint_tensor *t)
{
    int64_t run = 1;
    for (int32_t i = t->rank - 1; i >= 0 && (t->stride[i] == run || t->shape[i] == 1); i--)
        run *= t->shape[i];
    return run;
}

/* Where element number `n`, in row-major order, lies. */
static const unsigned char *place(const msa_checkpoint_tensor *t, int64_t n)
{
    int64_t at = 0;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        at += n % t->shape[i] * t->stride[i];
        n /= t->shape[i];
    }
    return t->first + at * msa_element_bytes(t->element);
}

void msa_checkpoint_read(const msa_checkpoint_tensor *t, int64_t first, int64_t n, float *to)
{
    const int64_t run = run_length(t);
    while (n > 0) {
        const int64_t left = run - first % run, some = left < n ? left : n;
        read_run(t->element, place(t, first), some, to);
        first += some;
        to += some;
        n -= some;
    }
}

static msa_status check_finite(const msa_checkpoint_tensor *t, msa_error *err)
{
    float piece[PIECE];
    for (int64_t first = 0; first < t->count; first += PIECE) {
        const int64_t n = t->count - first < PIECE ? t->count - first : PIECE;
        msa_checkpoint_read(t, first, n, piece);
        if (!msa_all_finite(n, piece))
            return msa_fail(err, MSA_E_PARSE, "tensor %.120s holds a value that is not finite", t->name);
    }
    return MSA_OK;
}

msa_status msa_checkpoint_check(msa_checkpoint *c, const msa_checkpoint_tensor *t, msa_error *err)
{
    msa_checkpoint_storage *s = &c->storages[t->storage];
    if (!s->checked && s->crc != 0 && msa_crc32(0, s->bytes, s->size) != s->crc)
        return msa_fail(err, MSA_E_PARSE, "the bytes of tensor %.100s are damaged: their checksum is another",
                        t->name);
    s->checked = true;
    return check_finite(t, err);
}

void msa_checkpoint_drop(const msa_checkpoint *c, const msa_checkpoint_tensor *t)
{
    const msa_checkpoint_storage *s = &c->storages[t->storage];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), start = (size_t)(s->bytes - c->bytes) / page * page;
    if (!c->mapped) return;
    (void)madvise((void *)(uintptr_t)(c->bytes + start), (size_t)(s->bytes + s->size - c->bytes) - start,
                  MADV_DONTNEED);
}

void msa_checkpoint_hash(const msa_checkpoint *c, char hex[65])
{
    msa_sha256 *h = msa_sha256_new();
    hex[0] = '\0';
    for (size_t at = 0; h != NULL && at < c->size; at += HASHED_AT_A_TIME) {
        const size_t n = c->size - at < HASHED_AT_A_TIME ? c->size - at : HASHED_AT_A_TIME;
        msa_sha256_update(h, c->bytes + at, n);
        if (c->mapped) (void)madvise((void *)(uintptr_t)(c->bytes + at), n, MADV_DONTNEED);
    }
    if (h != NULL) msa_sha256_hex(h, hex);
    msa_sha256_free(h);
}
