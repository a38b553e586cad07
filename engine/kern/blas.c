#include "engine/kern/blas.h"

#include <cblas.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/kern/cpu.h"

/* Exported by OpenBLAS when it is built for many CPUs (DYNAMIC_ARCH), as distributions do; absent otherwise.
 */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *best_core(void)
{
    static const char *const cores[MSA_CPU_LEVELS] = {NULL, NULL, "Haswell", "SkylakeX"};
    return cores[msa_cpu_detected()];
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

static void start(void)
{
    choose_kernels();
    openblas_set_num_threads(1);
    msa_log(MSA_LOG_DEBUG, "engine", "blas=%s kernels=%s", openblas_get_corename(),
            msa_cpu_level_name(msa_cpu_allowed()));
}

void msa_blas_start(void)
{
    (void)pthread_once(&once, start);
}
