#include "engine/volume/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/kern/vec.h"

msa_window msa_window_centered(float center, float width)
{
    return (msa_window){.lo = center - width / 2, .hi = center + width / 2, .keep_zero = false};
}

/* Positive floats order like their bits, so two counting passes of 16 bits find any order statistic exactly,
 * without a sorted copy of a volume that may be larger than what memory is left. */
enum { HALF = 1 << 16 };

static uint32_t float_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static float kth_positive(const float *v, size_t n, const uint64_t *high_counts, uint64_t *low_counts,
                          uint64_t k)
{
    uint32_t high = 0;
    uint32_t low = 0;
    while (k >= high_counts[high])
        k -= high_counts[high++];
    memset(low_counts, 0, HALF * sizeof *low_counts);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = float_bits(v[i]);
        if (v[i] > 0 && bits >> 16 == high) low_counts[bits & 0xFFFF]++;
    }
    while (k >= low_counts[low])
        k -= low_counts[low++];
    const uint32_t bits = high << 16 | low;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float percentile(const float *v, size_t n, const uint64_t *high_counts, uint64_t *low_counts,
                        uint64_t positive, double pct)
{
    const double rank = pct / 100.0 * (double)(positive - 1);
    const uint64_t below = (uint64_t)rank;
    const uint64_t above = below + 1 < positive ? below + 1 : below;
    const double a = (double)kth_positive(v, n, high_counts, low_counts, below);
    const double b = (double)kth_positive(v, n, high_counts, low_counts, above);
    return (float)(a + (b - a) * (rank - (double)below));
}

msa_status msa_window_percentile(msa_window *out, const float *v, size_t n, double low_pct, double high_pct,
                                 msa_error *err)
{
    MSA_AUTO_FREE uint64_t *counts = calloc(2 * (size_t)HALF, sizeof *counts);
    uint64_t positive = 0;
    *out = (msa_window){.lo = 0, .hi = 1, .keep_zero = true};
    if (!counts) return msa_fail(err, MSA_E_NOMEM, "out of memory for the grey level counters");
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) return msa_fail(err, MSA_E_INVALID, "voxel %zu of the volume is not finite", i);
        if (v[i] <= 0) continue;
        counts[float_bits(v[i]) >> 16]++;
        positive++;
    }
    if (positive == 0) return MSA_OK;
    const float lo = percentile(v, n, counts, counts + HALF, positive, low_pct);
    const float hi = percentile(v, n, counts, counts + HALF, positive, high_pct);
    if (!(lo < hi)) return MSA_OK;
    out->lo = lo;
    out->hi = hi;
    return MSA_OK;
}

static float unit(const msa_window *w, float v)
{
    const float clipped = v < w->lo ? w->lo : v > w->hi ? w->hi : v;
    return w->keep_zero && v == 0 ? 0 : (clipped - w->lo) / (w->hi - w->lo);
}

void msa_window_u8(const msa_window *w, const float *v, size_t n, uint8_t *out)
{
    msa_grey((int64_t)n, v, w->lo, w->hi, w->keep_zero, out);
}

void msa_window_unit(const msa_window *w, const float *v, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = unit(w, v[i]);
}
