#include "engine/nn/groupnorm.h"

#include <math.h>

#include "engine/kern/vec.h"

#define RUN 1024 /* values summed in float before double takes over */

msa_moments msa_moments_of(int64_t n, const float *x)
{
    msa_moments m = {.count = (double)n};
    for (int64_t i = 0; i < n; i += RUN)
        m.mean += (double)msa_sum(n - i < RUN ? n - i : RUN, x + i);
    /* The distances are those from a mean that a float holds, corrected for what it lost. */
    const float mean = (float)(m.mean / m.count);
    m.mean /= m.count;
    for (int64_t i = 0; i < n; i += RUN)
        m.distance += (double)msa_squared_distance(n - i < RUN ? n - i : RUN, x + i, mean);
    m.distance -= m.count * (m.mean - (double)mean) * (m.mean - (double)mean);
    if (m.distance < 0.0) m.distance = 0.0;
    return m;
}

msa_moments msa_moments_join(msa_moments a, msa_moments b)
{
    const double count = a.count + b.count, apart = b.mean - a.mean;
    return (msa_moments){.count = count,
                         .mean = a.mean + apart * (b.count / count),
                         .distance = a.distance + b.distance + apart * apart * (a.count * b.count / count)};
}

void msa_group_norm_rows(const msa_norm *n, const msa_moments *all, float eps, int64_t rows, const float *x,
                         float *y)
{
    const float mean = (float)all->mean;
    const float scale = (float)(1.0 / sqrt(all->distance / all->count + (double)eps));
    for (int64_t i = 0; i < rows; i++)
        msa_normalise(n->C, x + i * n->C, mean, scale, n->weight, n->bias, y + i * n->C);
}
