/* Group normalisation with one group: over all channels of all pixels, then scaled by channel. The moments
 * are gathered piece by piece, so that no piece has to see the others. */
#ifndef MSA_ENGINE_NN_GROUPNORM_H
#define MSA_ENGINE_NN_GROUPNORM_H

#include "engine/nn/layernorm.h"

#define MSA_EPS_GROUP 1e-5f

typedef struct msa_moments {
    double count, mean, distance; /* distance: sum of (x - mean)^2 */
} msa_moments;

/* Of n values, in two passes. n >= 1. */
msa_moments msa_moments_of(int64_t n, const float *x);
/* Of both together; the count of `a` may be 0. Joined in a fixed order, pieces give the same bits. */
msa_moments msa_moments_join(msa_moments a, msa_moments b);
/* x (rows, n->C) to y, which may be x; the variance is biased. */
void msa_group_norm_rows(const msa_norm *n, const msa_moments *all, float eps, int64_t rows, const float *x,
                         float *y);

#endif
