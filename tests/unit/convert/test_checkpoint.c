/* Real checkpoints of PyTorch, every kind of tensor bit for bit; and what is said about damaged ones. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/checkpoint.h"
#include "engine/io/zip.h"

static const char *path_of(const char *name)
{
    static char path[4096];
    const char *folder = getenv("MSAD_CHECKPOINTS");
    (void)snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "tests/checkpoints", name);
    return path;
}

/* What make_checkpoints.py gave element i of the tensor `name`. */
static float value(const char *name, int64_t i)
{
    const uint32_t crc = msa_crc32(0, (const unsigned char *)name, strlen(name));
    return (float)(int32_t)(((int64_t)crc + 37 * i) % 255 - 127) / 64.0f;
}

static const msa_checkpoint_tensor *find(const msa_checkpoint *c, const char *prefix, const char *name)
{
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "%s%s", prefix, name);
    for (int32_t i = 0; i < msa_checkpoint_count(c); i++)
        if (strcmp(msa_checkpoint_at(c, i)->name, wanted) == 0) return msa_checkpoint_at(c, i);
    return NULL;
}

/* Element i of a tensor that is a view of `of` (or that itself): its index there. */
typedef int64_t place_fn(int64_t i);
static int64_t itself(int64_t i)
{
    return i;
}
static int64_t turned(int64_t i)
{
    return i % 3 * 4 + i / 3;
}
static int64_t rows(int64_t i)
{
    return 8 + i;
}
static int64_t columns(int64_t i)
{
    return i / 2 * 4 + 1 + i % 2;
}
static int64_t steps(int64_t i)
{
    return i / 2 * 8 + i % 2 * 3;
}

static const struct {
    const char *name, *of;
    place_fn *place;
    msa_element element;
    int32_t rank;
    int64_t shape[2];
} wanted[] = {
    {"single", "single", itself, MSA_ELEMENT_F32, 2, {2, 3}},
    {"half", "half", itself, MSA_ELEMENT_F16, 1, {5}},
    {"bfloat", "bfloat", itself, MSA_ELEMENT_BF16, 1, {5}},
    {"double", "double", itself, MSA_ELEMENT_F64, 1, {4}},
    {"scalar", "scalar", itself, MSA_ELEMENT_F32, 0, {0}},
    {"parameter", "parameter", itself, MSA_ELEMENT_F32, 1, {3}},
    {"turned", "turned", turned, MSA_ELEMENT_F32, 2, {4, 3}},
    {"whole", "whole", itself, MSA_ELEMENT_F32, 2, {6, 4}},
    {"rows", "whole", rows, MSA_ELEMENT_F32, 2, {2, 4}},
    {"columns", "whole", columns, MSA_ELEMENT_F32, 2, {6, 2}},
    {"steps", "whole", steps, MSA_ELEMENT_F32, 2, {3, 2}},
};
enum { N_WANTED = sizeof wanted / sizeof wanted[0] };

/* In one piece and in pieces of every length. */
static void check_values(const msa_checkpoint_tensor *t, size_t w)
{
    float got[32];
    for (int64_t piece = 1; piece <= t->count; piece++) {
        for (int64_t first = 0; first < t->count; first += piece)
            msa_checkpoint_read(t, first, t->count - first < piece ? t->count - first : piece, got + first);
        for (int64_t i = 0; i < t->count; i++) {
            const float v = value(wanted[w].of, wanted[w].place(i));
            if (memcmp(&got[i], &v, sizeof v) != 0)
                fail_msg("%s[%lld]: wanted %g, got %g", t->name, (long long)i, (double)v, (double)got[i]);
        }
    }
}

static void check_kinds(const char *file, const char *format, const char *prefix)
{
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (msa_checkpoint_open(&c, path_of(file), &err) != MSA_OK) fail_msg("%s: %s", file, err.what);
    assert_string_equal(msa_checkpoint_format(c), format);
    for (size_t w = 0; w < N_WANTED; w++) {
        const msa_checkpoint_tensor *t = find(c, prefix, wanted[w].name);
        if (t == NULL) fail_msg("%s: no %s", file, wanted[w].name);
        assert_int_equal(t->element, wanted[w].element);
        assert_int_equal(t->rank, wanted[w].rank);
        for (int32_t i = 0; i < t->rank; i++)
            assert_int_equal(t->shape[i], wanted[w].shape[i]);
        check_values(t, w);
        assert_int_equal(msa_checkpoint_check(c, t, &err), MSA_OK);
    }
    assert_null(find(c, prefix, "empty"));
    assert_int_equal(find(c, prefix, "count")->element, MSA_ELEMENT_WHOLE64);
    assert_int_equal(find(c, prefix, "flags")->element, MSA_ELEMENT_WHOLE8);
    for (int32_t i = 0; i < msa_checkpoint_count(c); i++)
        assert_null(strstr(msa_checkpoint_at(c, i)->name, "optimizer"));
    /* those above, `count` and `flags`; and, but for safetensors, the loss beside the state_dict */
    assert_int_equal(msa_checkpoint_count(c), N_WANTED + 2 + (prefix[0] != '\0'));
}

static void archives(void **state)
{
    (void)state;
    check_kinds("kinds.pth", "torch archive", "state_dict.");
    check_kinds("kinds-protocol4.pth", "torch archive", "state_dict.");
}

static void old_files(void **state)
{
    (void)state;
    check_kinds("kinds-old.pth", "old torch file", "state_dict.");
}

static void safetensors(void **state)
{
    (void)state;
    check_kinds("kinds.safetensors", "safetensors", "");
}

static unsigned char *read_file(const char *name, size_t *size)
{
    FILE *f = fopen(path_of(name), "rb");
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(f);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, f);
    assert_int_equal(fclose(f), 0);
    return bytes;
}

/* An archive that lost its end, wherever, is refused with a sentence. Of an older file the same, but for what
 * lies behind the last storage. */
static void cut_off(void **state)
{
    (void)state;
    static const char *const files[] = {"kinds.pth", "kinds-old.pth", "kinds.safetensors"};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        size_t size = 0;
        unsigned char *bytes = read_file(files[f], &size);
        for (size_t n = 0; n < size; n++) {
            MSA_AUTO(msa_checkpoint) c = NULL;
            msa_error err = MSA_ERROR_INIT;
            unsigned char *copy = malloc(n + 1);
            assert_non_null(copy);
            memcpy(copy + 1, bytes, n); /* the block ends where the file does */
            const msa_status status = msa_checkpoint_of_bytes(&c, copy + 1, n, &err);
            if (status != MSA_E_PARSE && status != MSA_E_UNSUPPORTED)
                fail_msg("%s cut to %zu bytes: %s", files[f], n, msa_status_name(status));
            assert_int_not_equal(err.what[0], '\0');
            free(copy);
        }
        free(bytes);
    }
}

/* A changed byte of a tensor is told by the archive's checksum. */
static void damaged(void **state)
{
    (void)state;
    size_t size = 0;
    unsigned char *bytes = read_file("kinds.pth", &size);
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(msa_checkpoint_of_bytes(&c, bytes, size, &err), MSA_OK);
    const msa_checkpoint_tensor *t = find(c, "state_dict.", "single");
    bytes[t->first - bytes] ^= 1;
    assert_int_equal(msa_checkpoint_check(c, t, &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "state_dict.single"));
    assert_non_null(strstr(err.what, "checksum"));
    assert_int_equal(msa_checkpoint_check(c, find(c, "state_dict.", "half"), NULL), MSA_OK);
    free(bytes);
}

/* A NaN in a format without checksums. */
static void not_finite(void **state)
{
    (void)state;
    size_t size = 0;
    unsigned char *bytes = read_file("kinds.safetensors", &size);
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_error err = MSA_ERROR_INIT;
    const float nan = NAN;
    assert_int_equal(msa_checkpoint_of_bytes(&c, bytes, size, &err), MSA_OK);
    const msa_checkpoint_tensor *t = find(c, "", "single");
    memcpy(bytes + (t->first - bytes) + 20, &nan, sizeof nan);
    assert_int_equal(msa_checkpoint_check(c, t, &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "not finite"));
    free(bytes);
}

static void what_is_no_checkpoint(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *sentence;
    } others[] = {
        {"hello, world", 12, "neither a checkpoint"},
        {"PK\x03\x04", 4, "no valid end"},
        {"\x80\x02}q\x00.", 6, "a plain pickle"},
        {"\x02\0\0\0\0\0\0\0{}", 10, "holds no tensors"},
        {"\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10, "does not fit"},
        {"\x02\0\0\0\0\0\0\0{]", 10, "not a JSON object"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        MSA_AUTO(msa_checkpoint) c = NULL;
        msa_error err = MSA_ERROR_INIT;
        assert_int_not_equal(
            msa_checkpoint_of_bytes(&c, (const unsigned char *)others[i].bytes, others[i].size, &err),
            MSA_OK);
        if (strstr(err.what, others[i].sentence) == NULL) fail_msg("%zu: %s", i, err.what);
    }
    MSA_AUTO(msa_checkpoint) c = NULL;
    assert_int_equal(msa_checkpoint_open(&c, path_of("not-there.pth"), NULL), MSA_E_NOT_FOUND);
    assert_int_equal(msa_checkpoint_open(&c, path_of("."), NULL), MSA_E_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives),
        cmocka_unit_test(old_files),
        cmocka_unit_test(safetensors),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(what_is_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
