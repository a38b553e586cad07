/* Adapter bottleneck: y = [x +] up(act(down(x))). Source: arXiv:2304.12620. */
#ifndef MSA_ENGINE_ADAPT_ADAPTER_H
#define MSA_ENGINE_ADAPT_ADAPTER_H

#include "engine/nn/linear.h"

/* down.weight is NULL when the model has none. down (D, C), up (C, D); D is read from the file. */
typedef struct msa_adapter {
    msa_linear down, up;
} msa_adapter;

/**
 * x (T, C), hidden (T, D) scratch, y (T, C) out, not x. skip: adds x (the Space adapter does, the MLP one
 * does not). Errors: none; shapes are checked when the model is loaded. Memory: allocates nothing.
 */
void msa_adapter_forward(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                         float *hidden, float *y);

/* ---- training ---- */

/* The same, keeping the values before the activation in pre (T, D); hidden (T, D) is scratch. */
void msa_adapter_forward_kept(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                              float *pre, float *hidden, float *y);

/* Added to; each may be NULL: frozen. */
typedef struct msa_adapter_grads {
    float *down_weight, *down_bias, *up_weight, *up_bias;
} msa_adapter_grads;

/**
 * x and pre as forward had and left them; dy (T, C). dx (T, C), not dy, is added to when `add`; NULL: not
 * wanted. hidden, dhidden (T, D): scratch.
 */
void msa_adapter_backward(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                          const float *pre, const float *dy, float *dx, bool add, const msa_adapter_grads *g,
                          float *hidden, float *dhidden);

#endif
