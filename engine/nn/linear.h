/* Dense layers: y = act(x W^T + b), split into fixed tiles over the engine's threads. */
#ifndef MSA_ENGINE_NN_LINEAR_H
#define MSA_ENGINE_NN_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/config.h"

typedef enum msa_epilogue { MSA_EPILOGUE_NONE, MSA_EPILOGUE_GELU, MSA_EPILOGUE_RELU } msa_epilogue;

typedef struct msa_reduced msa_reduced; /* engine/nn/reduced.h */

/* weight (N, K) row-major as checkpoints store it; bias (N) or NULL. Borrowed. */
typedef struct msa_linear {
    const float *weight, *bias;
    int32_t N, K;
    const msa_reduced *reduced; /* NULL; else forward multiplies with this form of the weight */
    const float *packed;        /* NULL; else the weight as engine/nn/packed.h has it, for the forward */
} msa_linear;

msa_epilogue msa_epilogue_of(msa_activation act);

/**
 * x (M, K), rows ldx apart; y (M, N), rows ldy apart, not overlapping x.
 * The tiles depend on M and N alone, so the bits do not depend on the number of threads.
 */
void msa_linear_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                        msa_epilogue epilogue);

/* y (M, N), rows N apart, += x W^T + b. room (M, N): for a layer whose form cannot add by itself. */
void msa_linear_add(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, float *room);

/* ---- backward ---- */

/* dx (M, K), rows lddx apart, not overlapping dy: dy W, added to dx when `add`. */
void msa_linear_backward_input(const msa_linear *l, int64_t M, const float *dy, int64_t lddy, float *dx,
                               int64_t lddx, bool add);
/**
 * Adds to dweight (N, K) and dbias (N), of which either may be NULL: then nothing is computed for it. x is
 * the forward's input. Each tile of dweight sums over all rows, so the bits do not depend on the threads.
 */
void msa_linear_backward_params(const msa_linear *l, int64_t M, const float *x, int64_t ldx, const float *dy,
                                int64_t lddy, float *dweight, float *dbias);

/* The activation by itself, over the threads: y = act(x); y may be x. NONE copies. */
void msa_epilogue_forward(msa_epilogue e, int64_t n, const float *x, float *y);
/* y += s * x, over the threads. */
void msa_accumulate(int64_t n, float s, const float *x, float *y);
/* dx = dy * act'(x), x the value before the activation; dx may be dy. */
void msa_epilogue_backward(msa_epilogue e, int64_t n, const float *x, const float *dy, float *dx);

#endif
