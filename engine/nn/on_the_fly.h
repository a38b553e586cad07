/*
 * Dense products with a weight that changes from step to step, as in training: it is packed part by part
 * while it is used. Layers that keep theirs: engine/nn/packed.h.
 */
#ifndef MSA_ENGINE_NN_ON_THE_FLY_H
#define MSA_ENGINE_NN_ON_THE_FLY_H

#include "engine/nn/linear.h"

/* Fewer rows of x do not pay for the packing. */
#define MSA_ON_THE_FLY_ROWS 32

typedef struct msa_changing_weight {
    const float *w;
    int64_t ld;
    bool turned; /* (K, N), rows ld apart; else (N, K) */
} msa_changing_weight;

/**
 * y (M, N), rows ldy apart, = act(x (M, K) times the weight + bias), bias (N) or NULL, or added to what y
 * holds when `add`, without bias then. y does not overlap x. Over the engine's threads; every element is one
 * sum in the order of K, so its bits depend neither on their number nor on M and N. Allocates nothing.
 */
void msa_product_on_the_fly(int64_t M, int64_t N, int64_t K, const float *x, int64_t ldx,
                            msa_changing_weight w, const float *bias, msa_epilogue epilogue, bool add,
                            float *y, int64_t ldy);

#endif
