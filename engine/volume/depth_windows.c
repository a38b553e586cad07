#include "engine/volume/depth_windows.h"

#include <stdlib.h>

msa_depth_windows msa_depth_windows_make(const msa_config *c, int32_t slices)
{
    int32_t size = c->depth_slices > 0 ? c->depth_slices : MSA_DEPTH_SLICES;
    if (c->depth_grouping == MSA_DEPTH_NONE) size = 1;
    if (size > slices) size = slices;
    const int32_t step = size > 1 ? size / 2 : 1, last = slices - size;
    return (msa_depth_windows){.size = size, .step = step, .last = last, .n = 1 + (last + step - 1) / step};
}

int32_t msa_depth_windows_first(const msa_depth_windows *w, int32_t i)
{
    return i * w->step < w->last ? i * w->step : w->last;
}

int32_t msa_depth_windows_of(const msa_depth_windows *w, int32_t slice)
{
    int32_t best = 0, least = INT32_MAX;
    for (int32_t i = 0; i < w->n; i++) {
        const int32_t away = abs(2 * (slice - msa_depth_windows_first(w, i)) - (w->size - 1));
        if (away >= least) continue;
        least = away;
        best = i;
    }
    return best;
}
