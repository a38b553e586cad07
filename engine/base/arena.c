#include "engine/base/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/mman.h>

#define ALIGN 64u

void *msa_arena_take(msa_arena *a, size_t count, size_t element_bytes)
{
    size_t bytes = 0, end = 0;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) ||
        __builtin_add_overflow(bytes, ALIGN - 1u, &bytes) ||
        __builtin_add_overflow(a->used, bytes & ~(size_t)(ALIGN - 1u), &end)) {
        assert(a->base == NULL); /* measuring came first and commit has refused */
        a->used = SIZE_MAX & ~(size_t)(ALIGN - 1u);
        return NULL;
    }
    void *piece = a->base == NULL ? NULL : a->base + a->used;
    a->used = end;
    assert(a->base == NULL || a->used <= a->size);
    return piece;
}

float *msa_arena_floats(msa_arena *a, size_t count)
{
    return msa_arena_take(a, count, sizeof(float));
}

msa_status msa_arena_commit(msa_arena *a, msa_error *err)
{
    assert(a->base == NULL);
    const size_t size = a->used == 0 ? ALIGN : a->used;
    /* mmap: pages are zero, come when touched, and large blocks may use huge pages. */
    void *block = size > SIZE_MAX / 4
                      ? MAP_FAILED
                      : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a working block of %zu bytes", size);
    (void)madvise(block, size, MADV_HUGEPAGE);
    a->base = block;
    a->size = size;
    a->used = 0;
    return MSA_OK;
}

void msa_arena_release(msa_arena *a)
{
    if (a->base != NULL) (void)munmap(a->base, a->size);
    *a = (msa_arena){NULL, 0, 0};
}
