#include "engine/kern/cpu.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
msa_cpu_level msa_cpu_detected(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return MSA_CPU_SCALAR;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? MSA_CPU_AVX512
               : MSA_CPU_AVX2;
}

bool msa_cpu_has_vnni(void)
{
    return msa_cpu_detected() >= MSA_CPU_AVX512 && __builtin_cpu_supports("avx512vnni");
}
#else
msa_cpu_level msa_cpu_detected(void)
{
#if defined(__aarch64__)
    return MSA_CPU_NEON;
#else
    return MSA_CPU_SCALAR;
#endif
}

bool msa_cpu_has_vnni(void)
{
    return false;
}
#endif

/* Of this architecture. */
static bool is_ours(msa_cpu_level level)
{
#if defined(__x86_64__)
    return level != MSA_CPU_NEON;
#else
    return level <= MSA_CPU_NEON;
#endif
}

const char *msa_cpu_level_name(msa_cpu_level level)
{
    static const char *const names[MSA_CPU_LEVELS] = {"scalar", "neon", "avx2", "avx512"};
    return names[level];
}

msa_cpu_level msa_cpu_level_named(const char *name)
{
    if (name == NULL) return MSA_CPU_AVX512;
    if (strcmp(name, "0") == 0) return MSA_CPU_SCALAR;
    for (int i = 0; i < MSA_CPU_LEVELS; i++)
        if (is_ours((msa_cpu_level)i) && strcmp(name, msa_cpu_level_name((msa_cpu_level)i)) == 0)
            return (msa_cpu_level)i;
    return MSA_CPU_AVX512;
}

msa_cpu_level msa_cpu_allowed(void)
{
    const msa_cpu_level mask = msa_cpu_level_named(getenv("MSA_CPU_MASK")), has = msa_cpu_detected();
    return has < mask ? has : mask;
}
