#include "engine/kern/widen.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/io/half.h"
#include "engine/kern/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* All CPUs with AVX2 convert halves (F16C), but a virtual machine may hide one of the two. */
static bool has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

/* 0: not asked yet. Who comes at the same time finds the same. */
static bool is_wide(void)
{
    static _Atomic int answer;
    int a = atomic_load_explicit(&answer, memory_order_relaxed);
    if (a == 0) {
        a = msa_cpu_allowed() >= MSA_CPU_AVX2 && has_f16c() ? 1 : -1;
        atomic_store_explicit(&answer, a, memory_order_relaxed);
    }
    return a > 0;
}

__attribute__((target("avx2,f16c"))) static int64_t half_by_8(const uint16_t *from, int64_t n, float *to)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + i))));
    return i;
}

__attribute__((target("avx2"))) static int64_t bfloat_by_8(const uint16_t *from, int64_t n, float *to)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
    }
    return i;
}
#endif

void msa_widen_half(const uint16_t *from, int64_t n, float *to)
{
    int64_t i = 0;
#if defined(__x86_64__)
    if (is_wide()) i = half_by_8(from, n, to);
#endif
    for (; i < n; i++)
        to[i] = msa_half_to_float(from[i]);
}

void msa_widen_bfloat(const uint16_t *from, int64_t n, float *to)
{
    int64_t i = 0;
#if defined(__x86_64__)
    if (is_wide()) i = bfloat_by_8(from, n, to);
#endif
    for (; i < n; i++)
        to[i] = msa_bfloat_to_float(from[i]);
}
