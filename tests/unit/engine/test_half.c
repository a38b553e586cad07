/* Half precision against its definition: every value of both formats, every border of rounding. And a model
 * in halves gives the numbers that its values, as floats, give, and is in memory once. */
#include "tests/unit/engine/cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/half.h"
#include "engine/io/safetensors.h"
#include "engine/predictor.h"
#include "engine/sam/internal.h"
#include "tests/unit/engine/fixture.h"

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE 754-2008 section 3.4, in double. */
static double defined(uint32_t sign, int exponent, uint32_t fraction, int fraction_bits, int exponent_max)
{
    const int bias = exponent_max / 2;
    const double part = ldexp((double)fraction, -fraction_bits);
    const double size = exponent == exponent_max ? INFINITY
                        : exponent == 0          ? ldexp(part, 1 - bias)
                                                 : ldexp(1 + part, exponent - bias);
    return sign != 0 ? -size : size;
}

static void every_half_is_exact_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = msa_half_to_float((uint16_t)h);
        const uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
        if (exponent == 31 && fraction != 0) {
            assert_true(isnan(f));
            assert_int_equal(bits_of(f), (h & 0x8000) << 16 | 0x7F800000 | fraction << 13);
            assert_int_equal(msa_float_to_half(f), h | 0x200); /* quiet */
            continue;
        }
        if ((double)f != defined(h >> 15, (int)exponent, fraction, 10, 31) || !!signbit(f) != (h >> 15))
            fail_msg("half %04x came as %a", h, (double)f);
        if (msa_float_to_half(f) != h) fail_msg("half %04x came back as %04x", h, msa_float_to_half(f));
    }
}

static void every_bfloat_is_exact(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < 0x10000; b++) {
        const float f = msa_bfloat_to_float((uint16_t)b);
        const uint32_t exponent = b >> 7 & 255, fraction = b & 127;
        assert_int_equal(bits_of(f), b << 16);
        if (exponent == 255 && fraction != 0)
            assert_true(isnan(f));
        else if ((double)f != defined(b >> 15, (int)exponent, fraction, 7, 255))
            fail_msg("bfloat %04x came as %a", b, (double)f);
    }
}

/* Between neighbours a < b: below the middle a, above it b, at it the even one; the same below zero. */
static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7C00; h++) {
        const double a = (double)msa_half_to_float((uint16_t)h);
        const double b = h == 0x7BFF ? 65536 : (double)msa_half_to_float((uint16_t)(h + 1));
        const float middle = (float)((a + b) / 2); /* exact: one bit more than a half has */
        assert_true((double)middle == (a + b) / 2);
        const uint32_t even = h % 2 == 0 ? h : h + 1;
        const float below = nextafterf(middle, 0), above = nextafterf(middle, INFINITY);
        if (msa_float_to_half(middle) != even || msa_float_to_half(below) != h ||
            msa_float_to_half(above) != h + 1)
            fail_msg("around %a: %04x %04x %04x", (double)middle, msa_float_to_half(below),
                     msa_float_to_half(middle), msa_float_to_half(above));
        assert_int_equal(msa_float_to_half(-middle), even | 0x8000);
    }
}

static void what_a_half_cannot_hold(void **state)
{
    (void)state;
    static const struct {
        float f;
        uint16_t half;
    } cases[] = {{0, 0},           {-0.0F, 0x8000},    {0x1p-149F, 0},       {-0x1p-149F, 0x8000},
                 {0x1p-25F, 0},    {65504, 0x7BFF},    {65519.996F, 0x7BFF}, {65520, 0x7C00},
                 {-3e38F, 0xFC00}, {INFINITY, 0x7C00}, {-INFINITY, 0xFC00}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (msa_float_to_half(cases[i].f) != cases[i].half)
            fail_msg("%a became %04x, not %04x", (double)cases[i].f, msa_float_to_half(cases[i].f),
                     cases[i].half);
    /* A NaN whose payload lies in the low bits must not become infinity. */
    assert_int_equal(msa_float_to_half(float_of(0x7F800001)), 0x7E00);
    assert_int_equal(msa_float_to_half(float_of(0xFFFFFFFF)), 0xFFFF);
    unsigned char out[4];
    assert_true(msa_half_write((const float[]){INFINITY, 65504}, 2, out));
    assert_memory_equal(out, "\x00\x7c\xff\x7b", 4);
    assert_false(msa_half_write((const float[]){65520, 1}, 2, out));
    float back[1];
    msa_half_read((const unsigned char *)"x\x00\xc0" + 1, 1, back); /* any alignment */
    assert_true(back[0] == -2);
    msa_bfloat_read((const unsigned char *)"x\x00\xc0" + 1, 1, back);
    assert_true(back[0] == -2);
}

/* Copies model file `from` with every tensor stored as told, its values rounded to halves in either case. */
static void copy_model(const char *from, const char *to, msa_stored stored)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    assert_int_equal(msa_safetensors_open(&f, from, NULL), MSA_OK);
    const int32_t n = msa_safetensors_count(f);
    MSA_AUTO_FREE msa_tensor *list = calloc((size_t)n, sizeof *list);
    int64_t total = 0;
    for (int32_t i = 0; i < n; i++)
        total += msa_safetensors_at(f, i)->count;
    MSA_AUTO_FREE float *values = malloc((size_t)total * sizeof *values);
    assert_non_null(list);
    assert_non_null(values);
    float *at = values;
    for (int32_t i = 0; i < n; i++) {
        list[i] = *msa_safetensors_at(f, i);
        for (int64_t k = 0; k < list[i].count; k++)
            at[k] = msa_half_to_float(msa_float_to_half(list[i].data[k]));
        list[i].data = at;
        list[i].stored = stored;
        at += list[i].count;
    }
    const msa_metadata config = {"config", msa_safetensors_metadata(f, "config")};
    assert_int_equal(msa_safetensors_write(to, list, n, &config, 1, NULL, NULL, NULL), MSA_OK);
}

static void embed(msa_model *m, float *out)
{
    MSA_AUTO(msa_predictor) p = NULL;
    const msa_config *c = msa_model_config(m);
    const int64_t n = 3 * (int64_t)c->image_size * c->image_size;
    MSA_AUTO_FREE float *image = malloc((size_t)n * sizeof *image);
    msa_error err = MSA_ERROR_INIT;
    assert_non_null(image);
    fixture_fill(image, n, 5, 1);
    assert_int_equal(msa_predictor_new(&p, m, &err), MSA_OK);
    assert_int_equal(msa_predictor_encode(p, image, out, &err), MSA_OK);
}

static void a_model_may_come_in_halves(void **state)
{
    const msa_config c = fixture_config();
    const int32_t g = c.image_size / c.patch;
    const size_t n = (size_t)(c.prompt_dim * g * g);
    MSA_AUTO_FREE float *wide = malloc(n * sizeof *wide);
    MSA_AUTO_FREE float *half = malloc(n * sizeof *half);
    MSA_AUTO(msa_model) a = NULL;
    MSA_AUTO(msa_model) b = NULL;
    msa_error err = MSA_ERROR_INIT;
    char m[256], m32[256], m16[256];
    (void)snprintf(m, sizeof m, "%s", fixture_path(state, "m"));
    (void)snprintf(m32, sizeof m32, "%s", fixture_path(state, "m32"));
    (void)snprintf(m16, sizeof m16, "%s", fixture_path(state, "m16"));
    assert_int_equal(msa_model_write_random(m, &c, 3, &err), MSA_OK);
    copy_model(m, m32, MSA_STORED_F32);
    copy_model(m, m16, MSA_STORED_F16);
    if (msa_model_load(&a, m32, &err) != MSA_OK || msa_model_load(&b, m16, &err) != MSA_OK)
        fail_msg("%s", err.what);
    assert_int_equal(msa_model_parameters(a), msa_model_parameters(b));
    char hash[MSA_SHA256_HEX];
    assert_int_equal(msa_sha256_file(m16, hash, &err), MSA_OK);
    assert_string_equal(msa_model_hash(b), hash); /* of the file, not of what it became */
    assert_non_null(wide);
    assert_non_null(half);
    embed(a, wide);
    embed(b, half);
    assert_memory_equal(wide, half, n * sizeof *wide);
}

/* ---- in memory once ---- */

static bool page_is_there(void *page, size_t size)
{
    unsigned char there = 0;
    assert_int_equal(mincore(page, size, &there), 0);
    return (there & 1) != 0;
}

/* An emulated system may keep what it is told to drop. */
static bool system_drops(size_t page)
{
    unsigned char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    *p = 1;
    assert_int_equal(madvise(p, page, MADV_DONTNEED), 0);
    const bool drops = !page_is_there(p, page);
    assert_int_equal(munmap(p, page), 0);
    return drops;
}

/* The first whole page of a layer's weight takes no memory. */
static void expect_gone(const float *weight)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
                    at = ((uintptr_t)weight + page - 1) / page * page;
    if (system_drops(page)) assert_false(page_is_there((void *)at, page));
}

static void values_come_and_go(void **state)
{
    const msa_config c = fixture_config();
    MSA_AUTO(msa_safetensors) all = NULL;
    MSA_AUTO(msa_safetensors) bare = NULL;
    char m[256], m16[256];
    (void)snprintf(m, sizeof m, "%s", fixture_path(state, "m"));
    (void)snprintf(m16, sizeof m16, "%s", fixture_path(state, "m16"));
    assert_int_equal(msa_model_write_random(m, &c, 3, NULL), MSA_OK);
    copy_model(m, m16, MSA_STORED_F16);
    assert_int_equal(msa_safetensors_open(&all, m16, NULL), MSA_OK);
    assert_int_equal(msa_safetensors_open_bare(&bare, m16, NULL), MSA_OK);
    for (int round = 0; round < 2; round++)
        for (int32_t i = 0; i < msa_safetensors_count(all); i++) {
            const msa_tensor *t = msa_safetensors_at(bare, i), *same = msa_safetensors_at(all, i);
            const bool large = t->count * (int64_t)sizeof(float) >= sysconf(_SC_PAGESIZE);
            assert_ptr_equal(msa_safetensors_holding(bare, t->data), t);
            if (large) expect_gone(t->data);
            assert_int_equal(msa_safetensors_want(bare, t, NULL), MSA_OK);
            assert_int_equal(msa_safetensors_want(bare, t, NULL), MSA_OK); /* twice is once */
            assert_memory_equal(t->data, same->data, (size_t)t->count * sizeof(float));
            msa_safetensors_leave(bare, t);
            if (large) expect_gone(t->data);
            if (!large) assert_memory_equal(t->data, same->data, (size_t)t->count * sizeof(float));
        }
}

/* Packed, it is in memory once; whole, it is the same; and in another precision and back, it computes the
 * same. */
static void packed_weights_are_there_once(void **state)
{
    enum { PLAIN, LOW_RANK, BOTH };
    for (int which = PLAIN; which < BOTH; which++) {
        msa_config c = fixture_config();
        c.adapters = which == PLAIN;
        c.lora_rank = which == LOW_RANK ? 2 : 0;
        c.lora_alpha = 1.0f;
        const int32_t g = c.image_size / c.patch;
        const size_t n = (size_t)(c.prompt_dim * g * g);
        MSA_AUTO_FREE float *before = malloc(n * sizeof *before);
        MSA_AUTO_FREE float *after = malloc(n * sizeof *after);
        MSA_AUTO(msa_model) a = NULL;
        MSA_AUTO(msa_model) b = NULL;
        const msa_weights *wide = NULL, *half = NULL;
        char m[256], m32[256], m16[256];
        (void)snprintf(m, sizeof m, "%s", fixture_path(state, "m"));
        (void)snprintf(m32, sizeof m32, "%s", fixture_path(state, "m32"));
        (void)snprintf(m16, sizeof m16, "%s", fixture_path(state, "m16"));
        assert_int_equal(msa_model_write_random(m, &c, 3, NULL), MSA_OK);
        copy_model(m, m32, MSA_STORED_F32);
        copy_model(m, m16, MSA_STORED_F16);
        assert_int_equal(msa_model_load(&a, m32, NULL), MSA_OK);
        assert_int_equal(msa_model_load(&b, m16, NULL), MSA_OK);
        assert_non_null(before);
        assert_non_null(after);
        embed(b, before);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(msa_model_set_precision(b, MSA_PRECISION_INT8, NULL), MSA_OK);
            expect_gone(msa_model_weights(b)->encoder.blocks[1].qkv.weight);
            expect_gone(msa_model_weights(b)->encoder.blocks[2].lin2.weight);
            assert_int_equal(msa_model_whole_weights(&half, b, NULL), MSA_OK);
            assert_int_equal(msa_model_whole_weights(&wide, a, NULL), MSA_OK);
            const msa_block_weights *x = &half->encoder.blocks[1], *y = &wide->encoder.blocks[1];
            assert_memory_equal(x->qkv.weight, y->qkv.weight, 3 * 32 * 32 * sizeof(float));
            assert_memory_equal(x->proj.weight, y->proj.weight, 32 * 32 * sizeof(float));
            assert_memory_equal(x->lin1.weight, y->lin1.weight, 64 * 32 * sizeof(float));
            assert_memory_equal(half->encoder.neck1.weight, wide->encoder.neck1.weight,
                                32 * 32 * sizeof(float));
            assert_int_equal(msa_model_set_precision(b, MSA_PRECISION_FP32, NULL), MSA_OK);
            expect_gone(msa_model_weights(b)->encoder.blocks[1].qkv.weight);
            embed(b, after);
            assert_memory_equal(before, after, n * sizeof *before);
        }
        embed(a, after);
        assert_memory_equal(before, after, n * sizeof *before);
    }
}

static void a_model_with_an_infinite_half_is_refused(void **state)
{
    static const float bad[1] = {INFINITY};
    const msa_config c = fixture_config();
    MSA_AUTO(msa_safetensors) f = NULL;
    MSA_AUTO(msa_model) model = NULL;
    msa_error err = MSA_ERROR_INIT;
    char m[256];
    (void)snprintf(m, sizeof m, "%s", fixture_path(state, "m"));
    assert_int_equal(msa_model_write_random(m, &c, 3, &err), MSA_OK);
    assert_int_equal(msa_safetensors_open(&f, m, NULL), MSA_OK);
    const int32_t n = msa_safetensors_count(f);
    MSA_AUTO_FREE msa_tensor *list = calloc((size_t)n, sizeof *list);
    assert_non_null(list);
    MSA_AUTO_FREE float *values = NULL;
    for (int32_t i = 0; i < n; i++) {
        list[i] = *msa_safetensors_at(f, i);
        list[i].stored = MSA_STORED_F16;
    }
    values = malloc((size_t)list[n / 2].count * sizeof *values);
    assert_non_null(values);
    memcpy(values, list[n / 2].data, (size_t)list[n / 2].count * sizeof *values);
    values[list[n / 2].count - 1] = bad[0];
    list[n / 2].data = values;
    const msa_metadata config = {"config", msa_safetensors_metadata(f, "config")};
    const char *path = fixture_path(state, "inf");
    assert_int_equal(msa_safetensors_write(path, list, n, &config, 1, NULL, NULL, &err), MSA_OK);
    assert_int_equal(msa_model_load(&model, path, &err), MSA_E_PARSE);
    assert_non_null(strstr(err.what, "not finite"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_exact_and_comes_back),
        cmocka_unit_test(every_bfloat_is_exact),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(what_a_half_cannot_hold),
        cmocka_unit_test(a_model_may_come_in_halves),
        cmocka_unit_test(values_come_and_go),
        cmocka_unit_test(packed_weights_are_there_once),
        cmocka_unit_test(a_model_with_an_infinite_half_is_refused),
    };
    return cmocka_run_group_tests(tests, fixture_folder, fixture_remove);
}
