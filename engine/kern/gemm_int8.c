#include "engine/kern/gemm_int8.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/kern/cpu.h"
#include "engine/kern/gemm_int8_table.h"

const msa_int8_table *msa_int8_table_at(int i)
{
#if defined(__x86_64__)
    const bool has[] = {true, msa_cpu_detected() >= MSA_CPU_AVX2, msa_cpu_has_vnni()};
    static const msa_int8_table *const tables[] = {&msa_int8_scalar, &msa_int8_avx2, &msa_int8_vnni};
#else
    const bool has[] = {true};
    static const msa_int8_table *const tables[] = {&msa_int8_scalar};
#endif
    for (int k = 0; k < (int)(sizeof has / sizeof *has); k++)
        if (has[k] && i-- == 0) return tables[k];
    return NULL;
}

static const msa_int8_table *choose(void)
{
#if defined(__x86_64__)
    const msa_cpu_level allowed = msa_cpu_allowed();
    if (allowed >= MSA_CPU_AVX512 && msa_cpu_has_vnni()) return &msa_int8_vnni;
    if (allowed >= MSA_CPU_AVX2) return &msa_int8_avx2;
#endif
    return &msa_int8_scalar;
}

const msa_int8_table *msa_int8_table_chosen(void)
{
    static const msa_int8_table *_Atomic chosen; /* who comes at the same time chooses the same */
    const msa_int8_table *t = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (t != NULL) return t;
    t = choose();
    atomic_store_explicit(&chosen, t, memory_order_relaxed);
    return t;
}

static int64_t groups_of(const msa_int8_table *t, int32_t K)
{
    return (K + t->group - 1) / t->group;
}

int64_t msa_int8_panels(int32_t N)
{
    return (N + MSA_INT8_PANEL - 1) / MSA_INT8_PANEL;
}

int64_t msa_int8_row_bytes(const msa_int8_table *t, int32_t K)
{
    return (groups_of(t, K) * t->group * t->row_bytes + 63) / 64 * 64;
}

int64_t msa_int8_panel_bytes(const msa_int8_table *t, int32_t K)
{
    return (t->panel_head + groups_of(t, K) * t->group * t->weight_bytes * MSA_INT8_PANEL + 63) / 64 * 64;
}

void msa_int8_quantise(const msa_int8_table *t, int32_t K, const float *x, void *row, float *scale)
{
    t->quantise(K, x, row, scale);
}

void msa_int8_pack(const msa_int8_table *t, int32_t N, int32_t K, const int8_t *q, int32_t panel, void *to)
{
    const int32_t first = panel * MSA_INT8_PANEL, left = N - first;
    t->pack(left < MSA_INT8_PANEL ? left : MSA_INT8_PANEL, K, q + (int64_t)first * K, to);
}

/* Groups of rows are nearly equal, so that none is too small to keep the multipliers busy. */
void msa_int8_multiply(const msa_int8_table *t, int32_t rows, int32_t panels, int32_t K, const void *a,
                       const void *b, int32_t *c, int64_t ldc)
{
    const int64_t lda = msa_int8_row_bytes(t, K), ldb = msa_int8_panel_bytes(t, K), groups = groups_of(t, K);
    const int32_t pieces = (rows + MSA_INT8_TILE_ROWS - 1) / MSA_INT8_TILE_ROWS;
    for (int32_t p = 0; p < panels; p += MSA_INT8_TILE_PANELS) {
        const int32_t wide = panels - p < MSA_INT8_TILE_PANELS ? panels - p : MSA_INT8_TILE_PANELS;
        for (int32_t i = 0; i < pieces; i++) {
            const int32_t first = rows * i / pieces, n = rows * (i + 1) / pieces - first;
            t->tile(n, wide, groups, (const char *)a + first * lda, lda, (const char *)b + p * ldb, ldb,
                    c + first * ldc + p * MSA_INT8_PANEL, ldc);
        }
    }
}

void msa_int8_restore(const msa_int8_table *t, int32_t n, const int32_t *c, float scale, const float *scales,
                      const float *bias, float *y)
{
    t->restore(n, c, scale, scales, bias, y);
}
