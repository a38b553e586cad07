#include "engine/io/zip.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of the fixed parts of records, APPNOTE.TXT 4.3. */
enum {
    LOCAL = 30,
    CENTRAL = 46,
    END = 22,
    END64 = 56,
    LOCATOR64 = 20,
    ENTRIES_MAX = 1 << 18,
};
enum { LOCAL_MARK = 0x04034b50, CENTRAL_MARK = 0x02014b50, END_MARK = 0x06054b50 };
enum { END64_MARK = 0x06064b50, LOCATOR64_MARK = 0x07064b50, EXTRA64 = 0x0001, ENCRYPTED = 1 };

static uint16_t u16(const unsigned char *p)
{
    uint16_t v = 0;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static uint32_t u32(const unsigned char *p)
{
    uint32_t v = 0;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static uint64_t u64(const unsigned char *p)
{
    uint64_t v = 0;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

void msa_zip_free(msa_zip *z)
{
    if (z == NULL) return;
    free(z->entries);
    free(z->by_name);
    free(z);
}

/* ---- where the directory lies ---- */

typedef struct directory {
    uint64_t entries, size, offset;
    uint64_t end; /* of the directory and all before it */
} directory;

static msa_status cut_off(msa_error *err)
{
    return msa_fail(err, MSA_E_PARSE, "the archive has no valid end: it is damaged or was cut off");
}

/* The last record: its comment must end where the file ends. */
static msa_status find_end(size_t *at, const unsigned char *bytes, size_t size, msa_error *err)
{
    const size_t longest = END + 65535, least = size > longest ? size - longest : 0;
    for (size_t i = size < END ? 0 : size - END + 1; i > least; i--) {
        const unsigned char *p = bytes + i - 1;
        if (u32(p) == END_MARK && i - 1 + END + u16(p + 20) == size) {
            *at = i - 1;
            return MSA_OK;
        }
    }
    return cut_off(err);
}

static msa_status find_directory(directory *d, const unsigned char *bytes, size_t size, msa_error *err)
{
    size_t end = 0;
    MSA_TRY(find_end(&end, bytes, size, err));
    *d = (directory){u16(bytes + end + 10), u32(bytes + end + 12), u32(bytes + end + 16), end};
    if (end >= LOCATOR64 && u32(bytes + end - LOCATOR64) == LOCATOR64_MARK) {
        const uint64_t at = u64(bytes + end - LOCATOR64 + 8);
        if (end < LOCATOR64 + END64 || at > end - LOCATOR64 - END64 || u32(bytes + at) != END64_MARK)
            return cut_off(err);
        *d = (directory){u64(bytes + at + 32), u64(bytes + at + 40), u64(bytes + at + 48), at};
    }
    if (d->offset > d->end || d->size > d->end - d->offset || d->entries > d->size / CENTRAL)
        return msa_fail(err, MSA_E_PARSE, "the archive's directory does not lie in the file");
    if (d->entries > ENTRIES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the archive has more than %d entries", ENTRIES_MAX);
    return MSA_OK;
}

/* ---- one entry ---- */

/* What does not fit 32 bits stands in an extra field, in this order; APPNOTE.TXT 4.5.3. */
static bool widen(const unsigned char *extra, size_t n, uint64_t *size, uint64_t *stored, uint64_t *offset)
{
    uint64_t *const wanted[] = {size, stored, offset};
    size_t at = 0;
    while (n - at >= 4 && u16(extra + at) != EXTRA64) {
        const size_t skip = 4 + (size_t)u16(extra + at + 2);
        if (skip > n - at) return false;
        at += skip;
    }
    const unsigned char *p = n - at >= 4 ? extra + at + 4 : NULL;
    size_t left = p != NULL ? u16(extra + at + 2) : 0;
    if (p != NULL && left > n - at - 4) return false;
    for (int i = 0; i < 3; i++) {
        if (*wanted[i] != UINT32_MAX) continue;
        if (left < 8) return false;
        *wanted[i] = u64(p);
        p += 8;
        left -= 8;
    }
    return true;
}

/* Directory entry at p, `left` bytes before the directory's end; *used: its length. */
static msa_status read_entry(msa_zip_entry *e, const unsigned char *bytes, const directory *d,
                             const unsigned char *p, size_t left, size_t *used, msa_error *err)
{
    if (left < CENTRAL || u32(p) != CENTRAL_MARK)
        return msa_fail(err, MSA_E_PARSE, "the archive's directory is damaged");
    const size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
    uint64_t stored = u32(p + 20), local = u32(p + 42);
    *e = (msa_zip_entry){(const char *)p + CENTRAL, name, 0, u32(p + 24), u32(p + 16)};
    *used = CENTRAL + name + extra + comment;
    if (*used > left || name == 0 || !widen(p + CENTRAL + name, extra, &e->size, &stored, &local))
        return msa_fail(err, MSA_E_PARSE, "the archive's directory is damaged");
    if ((u16(p + 8) & ENCRYPTED) != 0)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the archive is encrypted: not a checkpoint of PyTorch");
    if (u16(p + 10) != 0 || stored != e->size)
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the archive is compressed: PyTorch stores its entries as they are");
    if (local > d->offset || d->offset - local < LOCAL || u32(bytes + local) != LOCAL_MARK)
        return msa_fail(err, MSA_E_PARSE, "an entry of the archive is not where its directory says");
    const uint64_t name_at = local + LOCAL, at = name_at + u16(bytes + local + 26) + u16(bytes + local + 28);
    if (u16(bytes + local + 26) != name || at > d->offset || e->size > d->offset - at ||
        memcmp(bytes + name_at, e->name, name) != 0)
        return msa_fail(err, MSA_E_PARSE, "an entry of the archive is not what its directory says");
    e->offset = at;
    return MSA_OK;
}

/* ---- all of them ---- */

static int by_offset(const void *a, const void *b)
{
    const msa_zip_entry *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb)
{
    const int order = memcmp(a, b, na < nb ? na : nb);
    return order != 0 ? order : (na > nb) - (na < nb);
}

static int by_name(const void *a, const void *b)
{
    const msa_zip_entry *const *x = a, *const *y = b;
    return compare_names((*x)->name, (*x)->name_length, (*y)->name, (*y)->name_length);
}

/* Local headers lie between the entries, so overlapping bytes would mean a directory that lies. */
static msa_status check_order(msa_zip *z, msa_error *err)
{
    qsort(z->entries, (size_t)z->n, sizeof *z->entries, by_offset);
    for (int32_t i = 0; i < z->n; i++) {
        const msa_zip_entry *e = &z->entries[i];
        if (i > 0 && e->offset < e[-1].offset + e[-1].size + LOCAL)
            return msa_fail(err, MSA_E_PARSE, "entries of the archive overlap");
        z->by_name[i] = e;
    }
    qsort(z->by_name, (size_t)z->n, sizeof(const msa_zip_entry *), by_name);
    for (int32_t i = 1; i < z->n; i++)
        if (by_name(&z->by_name[i - 1], &z->by_name[i]) == 0)
            return msa_fail(err, MSA_E_PARSE, "the archive has two entries of one name");
    return MSA_OK;
}

msa_status msa_zip_read(msa_zip **out, const unsigned char *bytes, size_t size, msa_error *err)
{
    directory d;
    *out = NULL;
    MSA_TRY(find_directory(&d, bytes, size, err));
    MSA_AUTO(msa_zip) z = calloc(1, sizeof *z);
    if (z == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for the archive's directory");
    z->entries = calloc((size_t)d.entries + 1, sizeof *z->entries);
    z->by_name = calloc((size_t)d.entries + 1, sizeof *z->by_name);
    if (z->entries == NULL || z->by_name == NULL)
        return msa_fail(err, MSA_E_NOMEM, "no memory for the archive's directory");
    const unsigned char *p = bytes + d.offset;
    size_t left = (size_t)d.size;
    for (; (uint64_t)z->n < d.entries; z->n++) {
        size_t used = 0;
        MSA_TRY(read_entry(&z->entries[z->n], bytes, &d, p, left, &used, err));
        p += used;
        left -= used;
    }
    if (left != 0) return msa_fail(err, MSA_E_PARSE, "the archive's directory is longer than its entries");
    MSA_TRY(check_order(z, err));
    *out = MSA_STEAL(z);
    return MSA_OK;
}

const msa_zip_entry *msa_zip_find(const msa_zip *z, const char *name, size_t length)
{
    const msa_zip_entry wanted = {.name = name, .name_length = length}, *key = &wanted;
    const msa_zip_entry **found =
        bsearch(&key, z->by_name, (size_t)z->n, sizeof(const msa_zip_entry *), by_name);
    return found == NULL ? NULL : *found;
}

/* Eight bytes at a time, one table for each place: about 1.5 GB/s, so a checkpoint's bytes can all be looked
 * at. */
uint32_t msa_crc32(uint32_t crc, const unsigned char *bytes, size_t n)
{
    uint32_t table[8][256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (0xedb88320u & -(c & 1u));
        table[0][i] = c;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
    crc = ~crc;
    for (; n >= 8; n -= 8, bytes += 8) {
        const uint32_t a = crc ^ u32(bytes), b = u32(bytes + 4);
        crc = table[7][a & 0xff] ^ table[6][a >> 8 & 0xff] ^ table[5][a >> 16 & 0xff] ^ table[4][a >> 24] ^
              table[3][b & 0xff] ^ table[2][b >> 8 & 0xff] ^ table[1][b >> 16 & 0xff] ^ table[0][b >> 24];
    }
    for (; n > 0; n--)
        crc = (crc >> 8) ^ table[0][(crc ^ *bytes++) & 0xff];
    return ~crc;
}
