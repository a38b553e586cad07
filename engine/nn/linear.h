/* Dense layers: y = act(x W^T + b), split into fixed tiles over the engine's threads. */
#ifndef MSA_ENGINE_NN_LINEAR_H
#define MSA_ENGINE_NN_LINEAR_H

#include <stdint.h>

#include "engine/config.h"

typedef enum msa_epilogue { MSA_EPILOGUE_NONE, MSA_EPILOGUE_GELU, MSA_EPILOGUE_RELU } msa_epilogue;

/* weight (N, K) row-major as checkpoints store it; bias (N) or NULL. Borrowed. */
typedef struct msa_linear {
    const float *weight, *bias;
    int32_t N, K;
} msa_linear;

msa_epilogue msa_epilogue_of(msa_activation act);

/**
 * x (M, K), rows ldx apart; y (M, N), rows ldy apart, not overlapping x.
 * The tiles depend on M and N alone, so the bits do not depend on the number of threads.
 */
void msa_linear_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                        msa_epilogue epilogue);
/* The same, y += scale * (x W^T + b); scratch (M, N). */
void msa_linear_add(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float scale, float *scratch,
                    float *y, int64_t ldy);

#endif
