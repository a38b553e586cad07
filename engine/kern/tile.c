#include <stdatomic.h>
#include <stddef.h>

#include "engine/kern/tile_table.h"

/* Chosen by the first call; whoever comes at the same time chooses the same. */
static const msa_tile_table *_Atomic chosen;

const msa_tile_table *msa_tile_table_at(msa_cpu_level level)
{
    if (level == MSA_CPU_SCALAR) return &msa_tile_scalar;
#if defined(__x86_64__)
    if (level == MSA_CPU_AVX2) return &msa_tile_avx2;
    if (level == MSA_CPU_AVX512) return &msa_tile_avx512;
#elif defined(__aarch64__)
    if (level == MSA_CPU_NEON) return &msa_tile_neon;
#endif
    return NULL;
}

const msa_tile_table *msa_tiles(void)
{
    const msa_tile_table *t = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (t != NULL) return t;
    t = msa_tile_table_at(msa_cpu_allowed());
    atomic_store_explicit(&chosen, t, memory_order_relaxed);
    return t;
}
