/* Invariant 6: every bit of a mask is where DICOM readers look for it, for any rows x columns. */
#include "dicom/seg/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const unsigned seed = 20240611;

/* The specification, a pixel at a time. */
static void naive_append(uint8_t *out, uint64_t at, const uint8_t *mask, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bit = at + i;
        const uint8_t one = (uint8_t)(1u << (bit % 8));
        out[bit / 8] = (uint8_t)(mask[i] ? out[bit / 8] | one : out[bit / 8] & ~one);
    }
}

static void fill_random(uint8_t *mask, size_t n, unsigned *state)
{
    for (size_t i = 0; i < n; i++)
        mask[i] = (uint8_t)((unsigned)rand_r(state) >> 7 & 1);
}

static void check_matrix(size_t rows, size_t cols, size_t frames)
{
    enum { guard = 16 };
    unsigned state = seed;
    const size_t pixels = rows * cols, bits = pixels * frames, size = (size_t)dicom_pack_size(bits);
    uint8_t *mask = malloc(bits), *got = malloc(size + guard), *want = calloc(size + guard, 1);
    assert_true(mask && got && want);
    fill_random(mask, bits, &state);
    memset(got, 0xa5, size + guard); /* earlier content must not shine through */
    uint64_t at = 0, naive_at = 0;
    for (size_t f = 0; f < frames; f++, naive_at += pixels) {
        at = dicom_pack_append(got, at, mask + f * pixels, pixels);
        naive_append(want, naive_at, mask + f * pixels, pixels);
    }
    assert_int_equal(at, bits);
    for (size_t i = 0; i < (bits + 7) / 8; i++)
        if (got[i] != want[i])
            fail_msg("%zu x %zu: byte %zu is %02x, wanted %02x (seed %u)", rows, cols, i, got[i], want[i],
                     seed);
    for (size_t i = (bits + 7) / 8; i < size + guard; i++)
        if (got[i] != 0xa5) fail_msg("%zu x %zu: byte %zu behind the last pixel was touched", rows, cols, i);
    free(mask);
    free(got);
    free(want);
}

static void any_matrix(void **unused)
{
    (void)unused;
    static const size_t sizes[][2] = {{3, 5},   {7, 9},     {8, 8},     {1, 1},     {1, 7},    {9, 7},
                                      {23, 38}, {100, 101}, {485, 485}, {511, 511}, {512, 512}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        check_matrix(sizes[k][0], sizes[k][1], 5);
    for (size_t n = 1; n < 200; n++)
        check_matrix(1, n, 9);
}

static void any_nonzero_byte_is_set(void **unused)
{
    (void)unused;
    uint8_t mask[256 + 3], out[40] = {0};
    uint64_t words[5];
    for (size_t i = 0; i < sizeof mask; i++)
        mask[i] = (uint8_t)i; /* only 0 and 256 are zero */
    assert_int_equal(dicom_pack_append(out, 0, mask, sizeof mask), sizeof mask);
    dicom_pack_words(words, mask, sizeof mask);
    for (size_t i = 0; i < sizeof mask; i++) {
        assert_int_equal(out[i / 8] >> (i % 8) & 1, mask[i] != 0);
        assert_int_equal(words[i / 64] >> (i % 64) & 1, mask[i] != 0);
    }
    assert_int_equal(words[4] >> 3, 0);
}

/* Every byte that is set lies within, and the ends are where bits may be packed from. */
static void ranges_hold_what_is_set(void **unused)
{
    (void)unused;
    enum { SIZE = 5000 };
    static uint8_t mask[SIZE];
    size_t first = 0, end = 0;
    for (size_t n = 1; n <= SIZE; n += n < 130 || n > 4990 ? 1 : 97) {
        memset(mask, 0, sizeof mask);
        assert_false(dicom_pack_range(mask, n, &first, &end));
        for (size_t a = 0; a < n; a += 1 + n / 7)
            for (size_t b = a; b < n; b += 1 + n / 5) {
                mask[a] = 1;
                mask[b] = 0x80;
                assert_true(dicom_pack_range(mask, n, &first, &end));
                assert_true(first <= a && b < end && end <= n);
                assert_int_equal(first % 64, 0);
                assert_true(end % 64 == 0 || end == n);
                assert_true(a - first < 1024 && end - b <= 1024);
                mask[a] = mask[b] = 0;
            }
        if (n == SIZE) continue;
        mask[n] = 1; /* what lies behind is not looked at */
        assert_false(dicom_pack_range(mask, n, &first, &end));
    }
}

static void sizes_are_even(void **unused)
{
    (void)unused;
    assert_int_equal(dicom_pack_size(0), 0);
    assert_int_equal(dicom_pack_size(1), 2);
    assert_int_equal(dicom_pack_size(16), 2);
    assert_int_equal(dicom_pack_size(17), 4);
    assert_int_equal(dicom_pack_size(5ULL * 511 * 511), (5ULL * 511 * 511 + 15) / 16 * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_matrix), cmocka_unit_test(any_nonzero_byte_is_set),
        cmocka_unit_test(ranges_hold_what_is_set), cmocka_unit_test(sizes_are_even)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
