/* The reader against files that lie, the writer against the reader. */
#include "tests/unit/engine/cm.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/io/safetensors.h"
#include "tests/unit/engine/fixture.h"

/* Header padded to a multiple of 8, then `data` bytes of zeros. */
static void put_file(const char *path, const char *header, size_t data)
{
    static const char zeros[256];
    const size_t used = strlen(header), padded = (used + 7) / 8 * 8;
    const uint64_t length = htole64((uint64_t)padded);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&length, 1, 8, f), 8);
    assert_int_equal(fwrite(header, 1, used, f), used);
    for (size_t i = used; i < padded; i++)
        assert_int_not_equal(fputc(' ', f), EOF);
    assert_true(data <= sizeof zeros);
    assert_int_equal(fwrite(zeros, 1, data, f), data);
    assert_int_equal(fclose(f), 0);
}

#define H(dtype, shape, from, to)                                                                            \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
#define T(shape, from, to) H("F32", shape, from, to)

static const struct {
    const char *header;
    size_t data;
    msa_status status;
    const char *sentence; /* a part of it */
} broken[] = {
    {"{\"a\":" T("[2]", "0", "8") ",\"a\":" T("[2]", "8", "16") "}", 16, MSA_E_PARSE, "duplicate"},
    {"{\"a\":" T("[2]", "0", "8"), 8, MSA_E_PARSE, "not valid JSON"},
    {"[1]", 0, MSA_E_PARSE, "does not begin with {"},
    {" {}", 0, MSA_E_PARSE, "does not begin with {"},
    {"{\"a\":" T("[2]", "0", "8") "}", 4, MSA_E_PARSE, "outside the file"},
    {"{\"a\":" T("[2]", "0", "8") "}", 12, MSA_E_PARSE, "4 bytes at the end belong to no tensor"},
    {"{\"a\":" T("[2]", "4", "12") "}", 12, MSA_E_PARSE, "hole or overlaps"},
    {"{\"a\":" T("[2]", "0", "8") ",\"b\":" T("[2]", "4", "12") "}", 12, MSA_E_PARSE, "hole or overlaps"},
    {"{\"a\":" T("[1]", "0", "4") ",\"b\":" T("[1]", "8", "12") "}", 12, MSA_E_PARSE, "hole or overlaps"},
    {"{\"a\":" T("[3]", "0", "8") "}", 8, MSA_E_PARSE, "its shape asks for another number"},
    {"{\"a\":" T("[2]", "1", "9") "}", 9, MSA_E_PARSE, "not aligned"},
    {"{\"a\":" T("[2]", "8", "0") "}", 8, MSA_E_PARSE, "outside the file"},
    {"{\"a\":" T("[2]", "-8", "0") "}", 8, MSA_E_PARSE, "outside the file"},
    {"{\"a\":" T("[2,0]", "0", "0") "}", 0, MSA_E_PARSE, "is empty"},
    {"{\"a\":" T("[-2]", "0", "8") "}", 8, MSA_E_PARSE, "impossible shape"},
    {"{\"a\":" T("[2.5]", "0", "8") "}", 8, MSA_E_PARSE, "impossible shape"},
    {"{\"a\":" T("[4294967296,4294967296]", "0", "8") "}", 8, MSA_E_PARSE, "impossible shape"},
    {"{\"a\":" T("[4611686018427387904]", "0", "8") "}", 8, MSA_E_PARSE, "its shape asks for another number"},
    {"{\"a\":" T("[1,1,1,1,1,1,2]", "0", "8") "}", 8, MSA_E_PARSE, "rank 7"},
    {"{\"a\":" T("2", "0", "8") "}", 8, MSA_E_PARSE, "has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, MSA_E_PARSE, "is not {dtype, shape, data_offsets}"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, MSA_E_PARSE, "has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, MSA_E_PARSE,
     "is not {dtype"},
    {"{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, MSA_E_PARSE, "has no dtype"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, MSA_E_UNSUPPORTED,
     "is F64; only F32, F16 and BF16"},
    {"{\"a\":{\"dtype\":\"f16\",\"shape\":[4],\"data_offsets\":[0,8]}}", 8, MSA_E_UNSUPPORTED, "only F32"},
    {"{\"a\":" H("F16", "[2]", "0", "8") "}", 8, MSA_E_PARSE, "its shape asks for another number"},
    {"{\"a\":" H("F16", "[4]", "0", "4") "}", 4, MSA_E_PARSE, "its shape asks for another number"},
    {"{\"a\":" H("BF16", "[4]", "0", "8") "}", 6, MSA_E_PARSE, "outside the file"},
    {"{\"a\":" H("F16", "[1]", "0", "2") "}", 4, MSA_E_PARSE, "2 bytes at the end belong to no tensor"},
    {"{\"a\":" H("F16", "[1]", "1", "3") "}", 4, MSA_E_PARSE, "not aligned"},
    {"{\"a\":" H("F16", "[2]", "2", "6") "}", 6, MSA_E_PARSE, "hole or overlaps"},
    {"{\"a\":" H("F16", "[2]", "0", "4") ",\"b\":" H("BF16", "[2]", "2", "6") "}", 6, MSA_E_PARSE,
     "hole or overlaps"},
    {"{\"a\":" H("F16", "[1]", "0", "2") ",\"b\":" T("[1]", "2", "6") "}", 6, MSA_E_PARSE, "not aligned"},
    {"{\"a\":" H("F16", "[4611686018427387904]", "0", "8") "}", 8, MSA_E_PARSE,
     "its shape asks for another number"},
    {"{\"a\":" H("F16", "[9223372036854775807]", "0", "8") "}", 8, MSA_E_PARSE,
     "its shape asks for another number"},
    {"{\"a\":" H("BF16", "[4294967296,4294967296]", "0", "8") "}", 8, MSA_E_PARSE, "impossible shape"},
    {"{\"\":" T("[2]", "0", "8") "}", 8, MSA_E_PARSE, "name is empty"},
    {"{\"__metadata__\":[]}", 0, MSA_E_PARSE, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, MSA_E_PARSE, "metadata k is not a string"},
};

static void refuses_what_lies(void **state)
{
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        msa_error err = MSA_ERROR_INIT;
        msa_safetensors *f = (void *)&err;
        put_file(fixture_path(state, "broken"), broken[i].header, broken[i].data);
        const msa_status status = msa_safetensors_open(&f, fixture_path(state, "broken"), &err);
        if (status != broken[i].status || strstr(err.what, broken[i].sentence) == NULL)
            fail_msg("%s: status %d, \"%s\" does not say \"%s\"", broken[i].header, (int)status, err.what,
                     broken[i].sentence);
        assert_null(f);
    }
}

static void put_raw(const char *path, uint64_t length, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    const uint64_t le = htole64(length);
    assert_non_null(f);
    assert_int_equal(fwrite(&le, 1, 8, f), 8);
    for (size_t i = 0; i < bytes; i++)
        assert_int_not_equal(fputc('{', f), EOF);
    assert_int_equal(fclose(f), 0);
}

static void refuses_a_header_length_that_lies(void **state)
{
    static const struct {
        uint64_t length;
        size_t bytes;
        const char *sentence;
    } cases[] = {{UINT64_MAX, 8, "larger than"},
                 {(1u << 20) + 8, 8, "larger than"},
                 {16, 8, "does not fit"},
                 {0, 8, "does not fit"},
                 {6, 8, "unaligned"},
                 {8, 1, "too short"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        msa_error err = MSA_ERROR_INIT;
        msa_safetensors *f = NULL;
        put_raw(fixture_path(state, "raw"), cases[i].length, cases[i].bytes);
        assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "raw"), &err), MSA_E_PARSE);
        if (strstr(err.what, cases[i].sentence) == NULL) fail_msg("case %zu: %s", i, err.what);
    }
}

static void says_what_cannot_be_opened(void **state)
{
    msa_error err = MSA_ERROR_INIT;
    msa_safetensors *f = NULL;
    assert_int_equal(msa_safetensors_open(&f, fixture_path(state, "absent"), &err), MSA_E_NOT_FOUND);
    assert_non_null(strstr(err.what, "there is no file"));
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_safetensors_open(&f, *state, &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "not a regular file"));
}

static void count_up(void *ctx, const msa_tensor *t, int64_t first, int64_t n, float *to)
{
    (void)ctx;
    (void)t;
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)(first + i);
}

static void reads_what_it_wrote(void **state)
{
    static const float given[6] = {1, 2, 3, 4, 5, 6};
    const msa_tensor tensors[] = {{.name = "z.given", .data = given, .rank = 2, .shape = {2, 3}, .count = 6},
                                  {.name = "a.filled", .rank = 1, .shape = {40000}, .count = 40000},
                                  {.name = "scalar", .data = given, .rank = 0, .count = 1}};
    const msa_metadata metadata[] = {{"k", "v \"quoted\" \xc3\xa9"}};
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_safetensors) f = NULL;
    struct stat st;
    const char *path = fixture_path(state, "good");
    assert_int_equal(msa_safetensors_write(path, tensors, 3, metadata, 1, count_up, NULL, &err), MSA_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(msa_safetensors_open(&f, path, &err), MSA_OK);
    assert_int_equal(msa_safetensors_count(f), 3);
    assert_string_equal(msa_safetensors_at(f, 0)->name, "z.given");
    assert_string_equal(msa_safetensors_metadata(f, "k"), "v \"quoted\" \xc3\xa9");
    assert_null(msa_safetensors_metadata(f, "other"));
    assert_null(msa_safetensors_find(f, "a"));
    const msa_tensor *t = msa_safetensors_find(f, "a.filled");
    assert_non_null(t);
    for (int64_t i = 0; i < t->count; i++)
        assert_true(t->data[i] == (float)i);
    t = msa_safetensors_find(f, "z.given");
    assert_non_null(t);
    assert_memory_equal(t->data, given, sizeof given);
    assert_int_equal(t->shape[1], 3);
}

/* What fill() gives, as an F16 file holds it: whole numbers up to 2048 are exact, above every second one. */
static void halves_are_rounded_once(void **state)
{
    static const float given[3] = {1, -2.5F, 0x1p-24F}, later[2] = {0x1p-25F, 65519};
    const msa_tensor tensors[] = {
        {.name = "f", .data = given, .rank = 1, .shape = {3}, .count = 3},
        {.name = "filled", .rank = 1, .shape = {40000}, .count = 40000, .stored = MSA_STORED_F16},
        {.name = "h", .data = given, .rank = 1, .shape = {3}, .count = 3, .stored = MSA_STORED_F16},
        {.name = "later", .data = later, .rank = 1, .shape = {2}, .count = 2, .stored = MSA_STORED_F16}};
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_safetensors) f = NULL;
    const char *path = fixture_path(state, "half");
    size_t bytes = 0;
    assert_int_equal(msa_safetensors_write(path, tensors, 4, NULL, 0, count_up, NULL, &err), MSA_OK);
    assert_int_equal(msa_safetensors_open(&f, path, &err), MSA_OK);
    const msa_tensor *t = msa_safetensors_find(f, "filled");
    assert_non_null(t);
    assert_int_equal(t->stored, MSA_STORED_F16);
    for (int64_t i = 0; i < t->count; i++) {
        const float step = i < 2048 ? 1 : i < 4096 ? 2 : i < 8192 ? 4 : i < 16384 ? 8 : i < 32768 ? 16 : 32;
        assert_true(t->data[i] == rintf((float)i / step) * step);
    }
    assert_memory_equal(msa_safetensors_find(f, "f")->data, given, sizeof given);
    assert_memory_equal(msa_safetensors_find(f, "h")->data, given, sizeof given);
    assert_true(msa_safetensors_find(f, "later")->data[0] == 0);
    assert_true(msa_safetensors_find(f, "later")->data[1] == 65504);
    const unsigned char *end = (const unsigned char *)msa_safetensors_bytes(f, &bytes) + bytes;
    assert_memory_equal(end - 4, "\0\0\xff\x7b", 4); /* what is hashed is what the file holds */
}

static void says_which_halves_cannot_be_written(void **state)
{
    static const float big[2] = {0, 65520}, special[2] = {INFINITY, NAN};
    msa_tensor t[2] = {
        {.name = "a", .data = big, .rank = 1, .shape = {2}, .count = 2, .stored = MSA_STORED_F16},
        {.name = "b", .data = big, .rank = 1, .shape = {2}, .count = 2}};
    const char *path = fixture_path(state, "not");
    MSA_AUTO(msa_safetensors) f = NULL;
    msa_error err = MSA_ERROR_INIT;
    struct stat st;
    assert_int_equal(msa_safetensors_write(path, t, 1, NULL, 0, NULL, NULL, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "beyond what F16 can hold"));
    t[0].data = special; /* not finite already: nothing is lost */
    assert_int_equal(msa_safetensors_write(path, t, 1, NULL, 0, NULL, NULL, NULL), MSA_OK);
    assert_int_equal(msa_safetensors_open(&f, path, NULL), MSA_OK);
    assert_true(msa_safetensors_at(f, 0)->data[0] == INFINITY && isnan(msa_safetensors_at(f, 0)->data[1]));
    assert_int_equal(unlink(path), 0);
    t[0].shape[0] = t[0].count = 1;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_safetensors_write(path, t, 2, NULL, 0, NULL, NULL, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "not be aligned"));
    t[0].stored = MSA_STORED_BF16;
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_safetensors_write(path, t, 1, NULL, 0, NULL, NULL, &err), MSA_E_INVALID);
    assert_non_null(strstr(err.what, "F32 or F16"));
    assert_int_equal(stat(path, &st), -1);
}

static void writes_nothing_on_failure(void **state)
{
    static const float one[1] = {1};
    const msa_tensor bad[] = {{.name = "a", .data = one, .rank = 1, .shape = {2}, .count = 1}};
    const msa_tensor twice[] = {{.name = "a", .data = one, .rank = 1, .shape = {1}, .count = 1},
                                {.name = "a", .data = one, .rank = 1, .shape = {1}, .count = 1}};
    msa_error err = MSA_ERROR_INIT;
    struct stat st;
    assert_int_equal(msa_safetensors_write(fixture_path(state, "none"), bad, 1, NULL, 0, NULL, NULL, &err),
                     MSA_E_INVALID);
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_safetensors_write(fixture_path(state, "none"), twice, 2, NULL, 0, NULL, NULL, &err),
                     MSA_E_INVALID);
    assert_non_null(strstr(err.what, "given twice"));
    assert_int_equal(stat(fixture_path(state, "none"), &st), -1);
    err = (msa_error)MSA_ERROR_INIT;
    assert_int_equal(msa_safetensors_write("/nonexistent/x", twice, 1, NULL, 0, NULL, NULL, &err), MSA_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_lies),
        cmocka_unit_test(refuses_a_header_length_that_lies),
        cmocka_unit_test(says_what_cannot_be_opened),
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(writes_nothing_on_failure),
        cmocka_unit_test(halves_are_rounded_once),
        cmocka_unit_test(says_which_halves_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
