#include "engine/kern/blas.h"

#include <cblas.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

/* Exported by OpenBLAS when it is built for many CPUs (DYNAMIC_ARCH), as distributions do; absent otherwise.
 */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static const char *best_core(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell" : NULL;
}

static void choose_kernels(void)
{
    static const char *const outdated[] = {"Prescott",    "Core2",     "Nehalem",
                                           "Sandybridge", "Barcelona", "Bobcat"};
    const char *core = best_core(), *now = openblas_get_corename();
    if (core == NULL || gotoblas_dynamic_init == NULL || gotoblas_dynamic_quit == NULL) return;
    if (getenv("OPENBLAS_CORETYPE") != NULL) return;
    for (size_t i = 0; i < sizeof outdated / sizeof outdated[0]; i++) {
        if (strcmp(now, outdated[i]) != 0) continue;
        /* Nothing has been multiplied yet: the choice that the library made when it was loaded is made again.
         */
        if (setenv("OPENBLAS_CORETYPE", core, 1) != 0) return;
        gotoblas_dynamic_quit();
        gotoblas_dynamic_init();
        return;
    }
}
#else
static void choose_kernels(void) {}
#endif

static void start(void)
{
    choose_kernels();
    openblas_set_num_threads(1);
    msa_log(MSA_LOG_DEBUG, "engine", "blas=%s", openblas_get_corename());
}

void msa_blas_start(void)
{
    (void)pthread_once(&once, start);
}
