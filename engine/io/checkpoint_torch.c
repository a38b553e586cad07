#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/checkpoint_parts.h"
#include "engine/io/zip.h"

/* state_dict inside a wrapper inside another; and enough visits for any of them. */
enum { NESTED_MAX = 4, VISITS_MAX = 1 << 20 };

typedef struct reading {
    msa_checkpoint *c;
    const msa_pickle *p;
    const msa_zip *zip; /* NULL: the older format */
    const char *stem;   /* "archive/", of which the archive's names begin */
    size_t stem_length;
    /* Number of a storage in c, plus 1; 0: not yet there. By entry of the archive, in the older format by
     * value. */
    int32_t *storage_of;
    int32_t visits;
    char name[MSA_TENSOR_NAME_MAX + 1]; /* of what is being read */
    msa_error *err;
} reading;

static const msa_pickle_value *value_at(const reading *r, uint32_t v)
{
    return &r->p->values[v];
}

/* ---- storages ---- */

/* The bytes of a storage of an archive lie in the entry STEM/data/KEY. */
static msa_status find_storage(reading *r, uint32_t v, int32_t *index)
{
    const msa_pickle_value *s = value_at(r, v), *key = value_at(r, s->storage.key);
    char name[512], shown[64];
    int64_t bytes = 0;
    if (r->zip == NULL && r->storage_of[v] != 0) {
        *index = r->storage_of[v] - 1;
        return MSA_OK;
    }
    (void)msa_printable(shown, sizeof shown, key->text.at, key->text.length);
    const size_t length = r->stem_length + 5 + key->text.length;
    if (length > sizeof name || r->zip == NULL)
        return msa_fail(r->err, MSA_E_PARSE, "the checkpoint lacks the bytes of storage %s", shown);
    memcpy(name, r->stem, r->stem_length);
    memcpy(name + r->stem_length, "data/", 5);
    memcpy(name + r->stem_length + 5, key->text.at, key->text.length);
    const msa_zip_entry *e = msa_zip_find(r->zip, name, length);
    if (e == NULL)
        return msa_fail(r->err, MSA_E_PARSE, "the checkpoint lacks the bytes of storage %s", shown);
    if (__builtin_mul_overflow(s->storage.count, msa_element_bytes(s->storage.element), &bytes) ||
        (uint64_t)bytes != e->size)
        return msa_fail(r->err, MSA_E_PARSE, "storage %s has %llu bytes, which is not what its elements need",
                        shown, (unsigned long long)e->size);
    int32_t *known = &r->storage_of[e - r->zip->entries]; /* many tensors may be views of one storage */
    const msa_checkpoint_storage found = {.bytes = r->c->bytes + e->offset, .size = e->size, .crc = e->crc};
    if (*known == 0) {
        MSA_TRY(msa_checkpoint_add_storage(r->c, found, index, r->err));
        *known = *index + 1;
    }
    *index = *known - 1;
    return MSA_OK;
}

/* ---- tensors ---- */

/* The numbers of a tuple; false when it holds something else. */
static bool read_sides(const reading *r, uint32_t tuple, int64_t *sides)
{
    uint32_t item = value_at(r, tuple)->items.first;
    for (int32_t i = 0; item != 0; item = r->p->items[item].next, i++) {
        const msa_pickle_value *side = value_at(r, r->p->items[item].value);
        if (side->kind != MSA_PICKLE_INT) return false;
        sides[i] = side->number;
    }
    return true;
}

static msa_status add_tensor(reading *r, const msa_pickle_value *v)
{
    const uint32_t rank = value_at(r, v->tensor.size)->items.n;
    msa_checkpoint_tensor t = {.name = r->name, .rank = (int32_t)rank};
    if (rank > MSA_TENSOR_RANK_MAX) return MSA_OK;
    if (value_at(r, v->tensor.stride)->items.n != rank || !read_sides(r, v->tensor.size, t.shape) ||
        !read_sides(r, v->tensor.stride, t.stride))
        return msa_fail(r->err, MSA_E_PARSE, "tensor %.100s has no proper shape", r->name);
    for (uint32_t i = 0; i < rank; i++)
        if (t.shape[i] == 0) return MSA_OK;
    t.element = value_at(r, v->tensor.storage)->storage.element;
    MSA_TRY(find_storage(r, v->tensor.storage, &t.storage));
    return msa_checkpoint_add(r->c, t, v->tensor.offset, r->err);
}

/* ---- dicts ---- */

/* What training keeps for itself. */
static bool is_skipped(const char *key, size_t length)
{
    static const char *const begins[] = {"optim", "sched", "lr_sched", "scaler"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        if (length >= strlen(begins[i]) && memcmp(key, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

/* A name may be printed and compared as a string. */
static msa_status check_key(const reading *r, const char *key, size_t length, size_t so_far)
{
    if (length == 0 || so_far + length > MSA_TENSOR_NAME_MAX)
        return msa_fail(r->err, MSA_E_PARSE, "a tensor's name is empty or longer than %d",
                        MSA_TENSOR_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if (key[i] < 0x20 || key[i] == 0x7f)
            return msa_fail(r->err, MSA_E_PARSE, "a tensor's name holds what is not printable ASCII");
    return MSA_OK;
}

static msa_status add_dict(reading *r, uint32_t dict, size_t so_far, int depth);

/* Where it stands in the name is `so_far`. */
static msa_status add_entry(reading *r, uint32_t key, uint32_t value, size_t so_far, int depth)
{
    const msa_pickle_value *k = value_at(r, key), *v = value_at(r, value);
    if (k->kind != MSA_PICKLE_TEXT || (v->kind != MSA_PICKLE_TENSOR && v->kind != MSA_PICKLE_DICT))
        return MSA_OK;
    if (is_skipped(k->text.at, k->text.length)) return MSA_OK;
    MSA_TRY(check_key(r, k->text.at, k->text.length, so_far));
    memcpy(r->name + so_far, k->text.at, k->text.length);
    so_far += k->text.length;
    r->name[so_far] = '\0';
    if (v->kind == MSA_PICKLE_TENSOR) return add_tensor(r, v);
    if (depth == NESTED_MAX || so_far == MSA_TENSOR_NAME_MAX) return MSA_OK;
    r->name[so_far++] = '.';
    return add_dict(r, value, so_far, depth + 1);
}

static msa_status add_dict(reading *r, uint32_t dict, size_t so_far, int depth)
{
    const msa_pickle_item *items = r->p->items;
    for (uint32_t item = value_at(r, dict)->items.first; item != 0;) {
        const uint32_t key = item, value = items[item].next;
        if (++r->visits > VISITS_MAX)
            return msa_fail(r->err, MSA_E_UNSUPPORTED, "the checkpoint's dicts are nested without end");
        MSA_TRY(add_entry(r, items[key].value, items[value].value, so_far, depth));
        item = items[value].next;
    }
    return MSA_OK;
}

static msa_status add_all(reading *r)
{
    if (value_at(r, r->p->root)->kind != MSA_PICKLE_DICT)
        return msa_fail(r->err, MSA_E_UNSUPPORTED,
                        "the checkpoint is not a dict of tensors; save its state_dict()");
    return add_dict(r, r->p->root, 0, 0);
}

/* ---- archives ---- */

/* The entry STEM/data.pkl, and STEM/ with it; TorchScript has the same container. */
static msa_status find_pickle(const msa_zip *z, const msa_zip_entry **found, size_t *stem_length,
                              msa_error *err)
{
    static const char wanted[] = "data.pkl", script[] = "constants.pkl";
    for (int32_t i = 0; i < z->n; i++) {
        const msa_zip_entry *e = &z->entries[i];
        const char *slash = memchr(e->name, '/', e->name_length);
        const size_t stem = slash == NULL ? 0 : (size_t)(slash - e->name) + 1, rest = e->name_length - stem;
        if (rest == strlen(script) && memcmp(e->name + stem, script, rest) == 0)
            return msa_fail(err, MSA_E_UNSUPPORTED,
                            "the file is a TorchScript program, not weights; save the model's state_dict()");
        if (rest != strlen(wanted) || memcmp(e->name + stem, wanted, rest) != 0) continue;
        if (*found != NULL) return msa_fail(err, MSA_E_PARSE, "the archive holds more than one checkpoint");
        *found = e;
        *stem_length = stem;
    }
    if (*found == NULL)
        return msa_fail(err, MSA_E_PARSE,
                        "the archive holds no data.pkl: it is not a checkpoint of torch.save()");
    return MSA_OK;
}

static msa_status check_byte_order(const reading *r)
{
    static const char entry[] = "byteorder";
    char name[512];
    if (r->stem_length + sizeof entry > sizeof name)
        return msa_fail(r->err, MSA_E_PARSE, "a name in the archive is too long");
    memcpy(name, r->stem, r->stem_length);
    memcpy(name + r->stem_length, entry, sizeof entry - 1);
    const msa_zip_entry *e = msa_zip_find(r->zip, name, r->stem_length + sizeof entry - 1);
    if (e == NULL || (e->size == 6 && memcmp(r->c->bytes + e->offset, "little", 6) == 0)) return MSA_OK;
    return msa_fail(r->err, MSA_E_UNSUPPORTED, "the checkpoint was written on a big-endian machine");
}

static msa_status add_entries(reading *r)
{
    MSA_AUTO_FREE int32_t *numbers = calloc((size_t)r->zip->n, sizeof *numbers);
    if (numbers == NULL) return msa_fail(r->err, MSA_E_NOMEM, "no memory for the list of tensors");
    r->storage_of = numbers;
    return add_all(r);
}

msa_status msa_checkpoint_read_archive(msa_checkpoint *c, msa_error *err)
{
    MSA_AUTO(msa_zip) zip = NULL;
    MSA_AUTO(msa_pickle) p = NULL;
    const msa_zip_entry *e = NULL;
    reading r = {.c = c, .err = err};
    c->format = "torch archive";
    MSA_TRY(msa_zip_read(&zip, c->bytes, c->size, err));
    MSA_TRY(find_pickle(zip, &e, &r.stem_length, err));
    if (e->crc != 0 && msa_crc32(0, c->bytes + e->offset, e->size) != e->crc)
        return msa_fail(err, MSA_E_PARSE,
                        "the checkpoint's list of tensors is damaged: its checksum is another");
    r.zip = zip;
    r.stem = e->name;
    MSA_TRY(check_byte_order(&r));
    MSA_TRY(msa_pickle_read(&p, c->bytes + e->offset, e->size, err));
    r.p = p;
    return add_entries(&r);
}

/* ---- the older format: three pickles of numbers, the object, the storages' keys, and then their bytes ----
 */

/* Protocol 2, LONG1 of ten bytes 0x1950a86a20f9469cfc6c, STOP. */
static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                      0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};

bool msa_checkpoint_is_old(const unsigned char *bytes, size_t size)
{
    return size > sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

static msa_status read_next(msa_pickle **p, const msa_checkpoint *c, size_t *at, msa_error *err)
{
    MSA_TRY(msa_pickle_read(p, c->bytes + *at, c->size - *at, err));
    *at += (*p)->used;
    return MSA_OK;
}

typedef struct keyed {
    const char *at;
    size_t length;
    uint32_t value; /* the storage */
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    const int order = memcmp(x->at, y->at, x->length < y->length ? x->length : y->length);
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

/* One storage: its count as a number of 8 bytes, and its elements. All values that name it get its number. */
static msa_status read_storage(reading *r, const keyed *list, size_t n, const msa_pickle_value *key,
                               size_t *at)
{
    const keyed wanted = {.at = key->text.at, .length = key->text.length};
    const keyed *found = bsearch(&wanted, list, n, sizeof *list, by_key);
    uint64_t count = 0;
    int64_t bytes = 0;
    int32_t index = 0;
    if (found == NULL || r->c->size - *at < sizeof count)
        return msa_fail(r->err, MSA_E_PARSE, "the checkpoint is damaged after its list of storages");
    const msa_element element = value_at(r, found->value)->storage.element;
    memcpy(&count, r->c->bytes + *at, sizeof count);
    *at += sizeof count;
    if (le64toh(count) > INT64_MAX ||
        __builtin_mul_overflow((int64_t)le64toh(count), msa_element_bytes(element), &bytes) ||
        (uint64_t)bytes > r->c->size - *at)
        return msa_fail(r->err, MSA_E_PARSE, "the checkpoint is cut off: a storage lies beyond its end");
    const msa_checkpoint_storage s = {.bytes = r->c->bytes + *at, .size = (size_t)bytes};
    MSA_TRY(msa_checkpoint_add_storage(r->c, s, &index, r->err));
    *at += (size_t)bytes;
    while (found > list && by_key(found - 1, &wanted) == 0)
        found--;
    for (; found < list + n && by_key(found, &wanted) == 0; found++) {
        if (value_at(r, found->value)->storage.element != element || r->storage_of[found->value] != 0)
            return msa_fail(r->err, MSA_E_PARSE,
                            "a storage of the checkpoint has two types, or is there twice");
        r->storage_of[found->value] = index + 1;
    }
    return MSA_OK;
}

static msa_status read_storages(reading *r, const msa_pickle *keys, size_t at)
{
    const msa_pickle_value *root = &keys->values[keys->root];
    MSA_AUTO_FREE keyed *list = calloc((size_t)r->p->n_values + 1, sizeof *list);
    size_t n = 0;
    if (list == NULL) return msa_fail(r->err, MSA_E_NOMEM, "no memory for the list of tensors");
    if (root->kind != MSA_PICKLE_LIST)
        return msa_fail(r->err, MSA_E_PARSE, "the checkpoint has no list of storages");
    for (uint32_t v = 0; v < r->p->n_values; v++) {
        if (value_at(r, v)->kind != MSA_PICKLE_STORAGE) continue;
        const msa_pickle_value *key = value_at(r, value_at(r, v)->storage.key);
        list[n++] = (keyed){key->text.at, key->text.length, v};
    }
    qsort(list, n, sizeof *list, by_key);
    for (uint32_t item = root->items.first; item != 0; item = keys->items[item].next) {
        const msa_pickle_value *key = &keys->values[keys->items[item].value];
        if (key->kind != MSA_PICKLE_TEXT)
            return msa_fail(r->err, MSA_E_PARSE, "the checkpoint has no list of storages");
        MSA_TRY(read_storage(r, list, n, key, &at));
    }
    return MSA_OK;
}

static msa_status read_old_parts(reading *r, const msa_pickle *keys, size_t at)
{
    MSA_AUTO_FREE int32_t *numbers = calloc((size_t)r->p->n_values + 1, sizeof *numbers);
    if (numbers == NULL) return msa_fail(r->err, MSA_E_NOMEM, "no memory for the list of tensors");
    r->storage_of = numbers;
    MSA_TRY(read_storages(r, keys, at));
    return add_all(r);
}

msa_status msa_checkpoint_read_old(msa_checkpoint *c, msa_error *err)
{
    size_t at = sizeof magic;
    reading r = {.c = c, .err = err};
    c->format = "old torch file";
    for (int i = 0; i < 2; i++) { /* the format's version, and the sizes of C types */
        MSA_AUTO(msa_pickle) unused = NULL;
        MSA_TRY(read_next(&unused, c, &at, err));
    }
    MSA_AUTO(msa_pickle) p = NULL;
    MSA_AUTO(msa_pickle) keys = NULL;
    MSA_TRY(read_next(&p, c, &at, err));
    MSA_TRY(read_next(&keys, c, &at, err));
    r.p = p;
    return read_old_parts(&r, keys, at);
}
