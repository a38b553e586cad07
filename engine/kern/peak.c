#include "engine/kern/peak.h"

#include <time.h>

#include "engine/base/pool.h"
#include "engine/kern/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define CHAINS  12 /* independent sums: more than latency times units of any CPU, and registers for all */
#define RUN_MS  4.0
#define RUNS    10
#define SMALL   0.000977f
#define NEAR_1  0.999f
#define FIRST_N 20000

/* Every step of every chain is one multiply-add of a whole register. The result is returned so that no
 * compiler may leave the work out. */
typedef float work_fn(int64_t steps);

#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define START(i)       __typeof__(b) x##i = b * (float)(i);
#define STEP(i)        x##i = FMA(x##i, a, b);
#define SUM(i)         sum += x##i;

/* The loop alone; the compilers' vectors start and end it. */
#define WORK                                                                                                 \
    EACH_CHAIN(START)                                                                                        \
    for (int64_t n = 0; n < steps; n++) {                                                                    \
        EACH_CHAIN(STEP)                                                                                     \
    }                                                                                                        \
    __typeof__(b) sum = b;                                                                                   \
    EACH_CHAIN(SUM)                                                                                          \
    return sum[0];

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float work_avx512(int64_t steps)
{
#define FMA _mm512_fmadd_ps
    __m512 a = _mm512_set1_ps(NEAR_1), b = _mm512_set1_ps(SMALL);
    WORK
#undef FMA
}

__attribute__((target("avx2,fma"))) static float work_avx2(int64_t steps)
{
#define FMA _mm256_fmadd_ps
    __m256 a = _mm256_set1_ps(NEAR_1), b = _mm256_set1_ps(SMALL);
    WORK
#undef FMA
}

/* What every CPU of the architecture has: no fused one. */
static float work_four(int64_t steps)
{
#define FMA(x, y, z) _mm_add_ps(_mm_mul_ps(x, y), z)
    __m128 a = _mm_set1_ps(NEAR_1), b = _mm_set1_ps(SMALL);
    WORK
#undef FMA
}
#elif defined(__aarch64__)
static float work_four(int64_t steps)
{
#define FMA(x, y, z) vfmaq_f32(z, x, y)
    float32x4_t a = vdupq_n_f32(NEAR_1), b = vdupq_n_f32(SMALL);
    WORK
#undef FMA
}
#else
typedef float four __attribute__((vector_size(16)));

static float work_four(int64_t steps)
{
#define FMA(x, y, z) ((x) * (y) + (z))
    four a = {NEAR_1, NEAR_1, NEAR_1, NEAR_1}, b = {SMALL, SMALL, SMALL, SMALL};
    WORK
#undef FMA
}
#endif

typedef struct level {
    work_fn *work;
    int32_t lanes;
} level;

static level widest(void)
{
#if defined(__x86_64__)
    if (msa_cpu_detected() >= MSA_CPU_AVX512) return (level){work_avx512, 16};
    if (msa_cpu_detected() >= MSA_CPU_AVX2) return (level){work_avx2, 8};
#endif
    return (level){work_four, 4};
}

/* ---- measuring ---- */

typedef struct run {
    work_fn *work;
    int64_t steps;
    float kept[MSA_THREADS_MAX];
} run;

static void run_item(void *ctx, int32_t item, int32_t worker)
{
    run *r = ctx;
    (void)worker;
    r->kept[item] = r->work(r->steps);
}

static double run_ms(run *r, int32_t threads)
{
    struct timespec began, ended;
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    msa_pool_run(run_item, r, threads, threads);
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    return (double)(ended.tv_sec - began.tv_sec) * 1e3 + (double)(ended.tv_nsec - began.tv_nsec) * 1e-6;
}

double msa_fma_peak_gflops(int32_t threads)
{
    const level l = widest();
    run r = {.work = l.work, .steps = FIRST_N};
    double best = 0.0;
    if (threads < 1) threads = 1;
    if (threads > msa_threads_get()) threads = msa_threads_get();
    while (run_ms(&r, threads) < RUN_MS)
        r.steps *= 2;
    for (int i = 0; i < RUNS; i++) {
        const double rate = 2e-6 * CHAINS * l.lanes * (double)r.steps * (double)threads / run_ms(&r, threads);
        if (rate > best) best = rate;
    }
    return best;
}
