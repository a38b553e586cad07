/* The zip reader against archives that lie; the archives are made here, byte by byte. */
#include "tests/unit/engine/cm.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/zip.h"

typedef struct archive {
    unsigned char bytes[4096];
    size_t n, local[8], central[8], end;
    int entries;
} archive;

static void put(archive *a, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        a->bytes[a->n++] = (unsigned char)(i < 8 ? value >> 8 * i : 0);
}

static void put_text(archive *a, const char *text)
{
    memcpy(a->bytes + a->n, text, strlen(text));
    a->n += strlen(text);
}

/* As torch writes: sizes in a descriptor behind the data, an extra field that aligns. */
static void add_local(archive *a, const char *name, const char *data)
{
    a->local[a->entries++] = a->n;
    put(a, 0x04034b50, 4);
    put(a, 0, 2);      /* version */
    put(a, 0x0808, 2); /* flags */
    put(a, 0, 18);     /* method, time, checksum, sizes: later */
    put(a, strlen(name), 2);
    put(a, 8, 2);
    put_text(a, name);
    put_text(a, "FB");
    put(a, 4, 2);
    put_text(a, "ZZZZ");
    put_text(a, data);
    put(a, 0x08074b50, 4);
    put(a, msa_crc32(0, (const unsigned char *)data, strlen(data)), 4);
    put(a, strlen(data), 4);
    put(a, strlen(data), 4);
}

static void add_central(archive *a, int i, const char *name, const char *data, int wide)
{
    a->central[i] = a->n;
    put(a, 0x02014b50, 4);
    put(a, 0, 4);
    put(a, 0x0808, 2);
    put(a, 0, 2); /* method */
    put(a, 0, 4);
    put(a, msa_crc32(0, (const unsigned char *)data, strlen(data)), 4);
    put(a, wide ? UINT32_MAX : strlen(data), 4);
    put(a, wide ? UINT32_MAX : strlen(data), 4);
    put(a, strlen(name), 2);
    put(a, wide ? 28 : 0, 2);
    put(a, 0, 10); /* comment, disk, attributes */
    put(a, wide ? UINT32_MAX : a->local[i], 4);
    put_text(a, name);
    if (!wide) return;
    put(a, 0x0001, 2);
    put(a, 24, 2);
    put(a, strlen(data), 8);
    put(a, strlen(data), 8);
    put(a, a->local[i], 8);
}

static archive make(int wide)
{
    archive a = {0};
    add_local(&a, "x/data.pkl", "hello");
    add_local(&a, "x/data/10", "ten");
    add_local(&a, "x/data/2", "");
    const size_t start = a.n;
    add_central(&a, 0, "x/data.pkl", "hello", wide);
    add_central(&a, 1, "x/data/10", "ten", wide);
    add_central(&a, 2, "x/data/2", "", 0);
    const size_t size = a.n - start, record = a.n;
    if (wide) {
        put(&a, 0x06064b50, 4);
        put(&a, 44, 8);
        put(&a, 0, 12);
        put(&a, 3, 8);
        put(&a, 3, 8);
        put(&a, size, 8);
        put(&a, start, 8);
        put(&a, 0x07064b50, 4);
        put(&a, 0, 4);
        put(&a, record, 8);
        put(&a, 1, 4);
    }
    a.end = a.n;
    put(&a, 0x06054b50, 4);
    put(&a, 0, 4);
    put(&a, wide ? UINT16_MAX : 3, 2);
    put(&a, wide ? UINT16_MAX : 3, 2);
    put(&a, wide ? UINT32_MAX : size, 4);
    put(&a, wide ? UINT32_MAX : start, 4);
    put(&a, 0, 2);
    return a;
}

static void reads(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        const archive a = make(wide);
        MSA_AUTO(msa_zip) z = NULL;
        msa_error err = MSA_ERROR_INIT;
        if (msa_zip_read(&z, a.bytes, a.n, &err) != MSA_OK) fail_msg("%d: %s", wide, err.what);
        assert_int_equal(z->n, 3);
        const msa_zip_entry *e = msa_zip_find(z, "x/data/10", 9);
        assert_non_null(e);
        assert_int_equal(e->size, 3);
        assert_memory_equal(a.bytes + e->offset, "ten", 3);
        assert_int_equal(msa_crc32(0, a.bytes + e->offset, 3), e->crc);
        assert_non_null(msa_zip_find(z, "x/data/2", 8));
        assert_null(msa_zip_find(z, "x/data/1", 8));
    }
}

/* One changed number each: where, relative to what, and what is said. */
static void refuses(void **state)
{
    (void)state;
    enum { LOCAL, CENTRAL, END };
    static const struct {
        int what, entry;
        size_t at;
        uint32_t value;
        size_t width;
        msa_status status;
        const char *sentence;
    } changes[] = {
        {CENTRAL, 0, 10, 8, 2, MSA_E_UNSUPPORTED, "is compressed"},
        {CENTRAL, 0, 8, 0x0809, 2, MSA_E_UNSUPPORTED, "is encrypted"},
        {CENTRAL, 0, 20, 4, 4, MSA_E_UNSUPPORTED, "is compressed"},
        {CENTRAL, 1, 0, 0, 4, MSA_E_PARSE, "directory is damaged"},
        {CENTRAL, 1, 28, 60000, 2, MSA_E_PARSE, "directory is damaged"},
        {CENTRAL, 1, 30, 60000, 2, MSA_E_PARSE, "directory is damaged"},
        {CENTRAL, 1, 42, 1, 4, MSA_E_PARSE, "not where its directory says"},
        {CENTRAL, 1, 42, 4000000000u, 4, MSA_E_PARSE, "not where its directory says"},
        {CENTRAL, 1, 42, 0, 4, MSA_E_PARSE, "not what its directory says"},
        {CENTRAL, 1, 46, 'y', 1, MSA_E_PARSE, "not what its directory says"},
        {LOCAL, 1, 26, 3, 2, MSA_E_PARSE, "not what its directory says"},
        {LOCAL, 1, 28, 60000, 2, MSA_E_PARSE, "not what its directory says"},
        {LOCAL, 0, 0, 0, 4, MSA_E_PARSE, "not where its directory says"},
        {END, 0, 10, 60, 2, MSA_E_PARSE, "does not lie in the file"},
        {END, 0, 10, 2, 2, MSA_E_PARSE, "longer than its entries"},
        {END, 0, 12, 1000000, 4, MSA_E_PARSE, "does not lie in the file"},
        {END, 0, 16, 1000000, 4, MSA_E_PARSE, "does not lie in the file"},
        {END, 0, 20, 1, 2, MSA_E_PARSE, "no valid end"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        archive a = make(0);
        MSA_AUTO(msa_zip) z = NULL;
        msa_error err = MSA_ERROR_INIT;
        const size_t base = changes[i].what == LOCAL     ? a.local[changes[i].entry]
                            : changes[i].what == CENTRAL ? a.central[changes[i].entry]
                                                         : a.end;
        const uint32_t little = htole32(changes[i].value);
        memcpy(a.bytes + base + changes[i].at, &little, changes[i].width);
        const msa_status status = msa_zip_read(&z, a.bytes, a.n, &err);
        if (status != changes[i].status || strstr(err.what, changes[i].sentence) == NULL)
            fail_msg("change %zu: %s: %s", i, msa_status_name(status), err.what);
        assert_null(z);
    }
}

/* Both kinds of directory, cut off anywhere; every copy has a block of its own for a sanitiser. */
static void cut_off(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        const archive a = make(wide);
        for (size_t n = 0; n < a.n; n++) {
            msa_zip *z = NULL;
            unsigned char *copy = malloc(n + 1);
            assert_non_null(copy);
            unsigned char *at_end = copy + 1; /* n bytes to the end of the block */
            memcpy(at_end, a.bytes, n);
            assert_int_equal(msa_zip_read(&z, at_end, n, NULL), MSA_E_PARSE);
            assert_null(z);
            free(copy);
        }
    }
}

static void two_of_one_name(void **state)
{
    (void)state;
    archive b = {0};
    MSA_AUTO(msa_zip) z = NULL;
    msa_error err = MSA_ERROR_INIT;
    add_local(&b, "n", "1");
    add_local(&b, "n", "2");
    const size_t start = b.n;
    add_central(&b, 0, "n", "1", 0);
    add_central(&b, 1, "n", "2", 0);
    const size_t size = b.n - start;
    put(&b, 0x06054b50, 4);
    put(&b, 0, 4);
    put(&b, 2, 2);
    put(&b, 2, 2);
    put(&b, size, 4);
    put(&b, start, 4);
    put(&b, 0, 2);
    assert_int_equal(msa_zip_read(&z, b.bytes, b.n, &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "two entries of one name"));
}

/* The check value of CRC-32, and any split of the bytes. */
static void checksum(void **state)
{
    (void)state;
    static const unsigned char digits[] = "123456789123456789";
    assert_int_equal(msa_crc32(0, digits, 9), 0xcbf43926u);
    assert_int_equal(msa_crc32(0, digits, 0), 0);
    const uint32_t whole = msa_crc32(0, digits, 18);
    for (size_t i = 0; i <= 18; i++)
        assert_int_equal(msa_crc32(msa_crc32(0, digits, i), digits + i, 18 - i), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads), cmocka_unit_test(refuses),
                                       cmocka_unit_test(cut_off), cmocka_unit_test(two_of_one_name),
                                       cmocka_unit_test(checksum)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
