/* Which instruction sets the kernels may use: what the CPU has, and what MSA_CPU_MASK allows. */
#ifndef MSA_ENGINE_KERN_CPU_H
#define MSA_ENGINE_KERN_CPU_H

#include <stdbool.h>

/* In order: each level includes those before it that the architecture has; NEON is the other's. */
typedef enum msa_cpu_level {
    MSA_CPU_SCALAR,
    MSA_CPU_NEON,
    MSA_CPU_AVX2,
    MSA_CPU_AVX512,
    MSA_CPU_LEVELS
} msa_cpu_level;

/* The highest that this CPU and operating system run: AVX2 with FMA; AVX-512 with F, BW, DQ and VL; on
 * aarch64 always NEON. */
msa_cpu_level msa_cpu_detected(void);
/* scalar, neon, avx2, avx512 */
const char *msa_cpu_level_name(msa_cpu_level level);
/* The level of a name, 0 being scalar as well; anything else (NULL, a typing error, another architecture's)
 * allows every level, since a word not understood must not make a server ten times slower. */
msa_cpu_level msa_cpu_level_named(const char *name);
/* AVX-512 and its products of bytes (VNNI) as well: what kern/gemm_int8.h runs at the avx512 level. */
bool msa_cpu_has_vnni(void);
/* The lower of the two, the name taken from the environment variable MSA_CPU_MASK. */
msa_cpu_level msa_cpu_allowed(void);

#endif
