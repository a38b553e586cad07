/* A forward pass allocates nothing: what the engine asks of the allocator and of mmap is counted. */
#include "tests/unit/engine/cm.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/base/pool.h"
#include "engine/predictor.h"
#include "tests/unit/engine/fixture.h"

/* The linker sends the calls of what is linked in statically here (--wrap), and so all of ours. */
static atomic_int calls;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t n)
{
    atomic_fetch_add(&calls, 1);
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    atomic_fetch_add(&calls, 1);
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    atomic_fetch_add(&calls, 1);
    return __real_realloc(p, n);
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    atomic_fetch_add(&calls, 1);
    return __real_mmap(at, n, prot, flags, fd, offset);
}

enum { S = 64, G = 8, P = 32, SLICES = 3 };

static void run(msa_predictor *p, int32_t slices)
{
    static float images[SLICES * 3 * S * S], embeddings[SLICES * P * G * G], logits[4 * 16 * G * G], iou[4];
    const float box[4] = {5.0f, 9.0f, 50.0f, 41.0f};
    const msa_prompt_set prompt = {.box = box};
    msa_error err = MSA_ERROR_INIT;
    fixture_fill(images, SLICES * 3 * S * S, 21, 2.0f);
    assert_int_equal(msa_predictor_encode_stack(p, slices, images, embeddings, &err), MSA_OK);
    assert_int_equal(msa_predictor_decode(p, embeddings, &prompt, logits, iou, &err), MSA_OK);
}

static void count(void **state, const msa_config *c)
{
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(msa_model) m = NULL;
    MSA_AUTO(msa_predictor) p = NULL;
    const int32_t slices = c->depth_grouping == MSA_DEPTH_NONE ? 1 : SLICES;
    assert_int_equal(msa_model_write_random(fixture_path(state, "m"), c, 3, &err), MSA_OK);
    msa_threads_set(2);
    const int before = atomic_load(&calls);
    assert_int_equal(msa_model_load(&m, fixture_path(state, "m"), &err), MSA_OK);
    assert_int_equal(msa_predictor_new_stack(&p, m, slices, &err), MSA_OK);
    assert_true(atomic_load(&calls) > before); /* it does count */
    run(p, slices);
    const int warm = atomic_load(&calls);
    run(p, slices);
    assert_int_equal(atomic_load(&calls), warm);
    msa_threads_set(1);
}

static void plain(void **state)
{
    const msa_config c = fixture_config();
    count(state, &c);
}

static void adapted(void **state)
{
    msa_config c = fixture_config();
    c.adapters = true;
    c.pad_order = MSA_PAD_THEN_NORM;
    count(state, &c);
}

static void through_the_depth(void **state)
{
    msa_config c = fixture_config();
    c.adapters = true;
    c.pad_order = MSA_PAD_THEN_NORM;
    c.depth_grouping = MSA_DEPTH_VOLUME;
    count(state, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(adapted, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(through_the_depth, fixture_folder, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
