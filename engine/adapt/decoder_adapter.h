/* Adapters of the mask decoder's layers: where the prompt conditions the trained part. Source:
 * arXiv:2304.12620.
 */
#ifndef MSA_ENGINE_ADAPT_DECODER_ADAPTER_H
#define MSA_ENGINE_ADAPT_DECODER_ADAPTER_H

#include "engine/adapt/adapter.h"
#include "engine/base/arena.h"
#include "engine/nn/layernorm.h"

/**
 * On the output a (T, P) of the attention from tokens to image; p (T, P) are the initial tokens, r the width.
 * mode add:   y = a + up(act(down(a) + prompt(p)))
 * mode hyper: y = a + up(act(LN(e W))), e = down(a), W (r, r) of each token = generate(prompt(p)), row =
 * input down.weight is NULL when the layer has none, generate.weight in mode add.
 */
typedef struct msa_prompt_adapter {
    msa_linear down, prompt, up; /* D_fc1 (r, P), P_fc1 (r, P), D_fc2 (P, r) */
    msa_linear generate;         /* M (r * r, r) */
    msa_norm norm;               /* (r), epsilon 1e-5 */
} msa_prompt_adapter;

/* The adapters of one layer; the other two are plain: beside the MLP, and on the keys before their norm. */
typedef struct msa_layer_adapters {
    msa_prompt_adapter prompt;
    msa_adapter mlp, image;
} msa_layer_adapters;

/* What forward computes on the way; backward reads it. e, condition, weights and product in mode hyper only.
 */
typedef struct msa_prompt_adapter_work {
    float *e, *condition;  /* (T, r): down(a) and prompt(p) */
    float *weights;        /* (T, r, r) */
    float *product;        /* (T, r): before the norm */
    float *before, *after; /* (T, r): the activation's input and output */
} msa_prompt_adapter_work;

/* To be run twice, as engine/base/arena.h says; nothing is taken for an adapter that is not there. */
void msa_prompt_adapter_layout(msa_prompt_adapter_work *k, msa_arena *arena, const msa_prompt_adapter *a,
                               int64_t T);
/* x is the `a` above; y (T, P) out, not x. Errors: none. Memory: allocates nothing. */
void msa_prompt_adapter_forward(const msa_prompt_adapter *a, msa_activation act, int64_t T, const float *x,
                                const float *p, msa_prompt_adapter_work *k, float *y);

/* The gradients of one dense layer; NULL: frozen. */
typedef struct msa_linear_grads {
    float *weight, *bias;
} msa_linear_grads;

typedef struct msa_prompt_adapter_grads {
    msa_linear_grads down, prompt, up, generate, norm;
} msa_prompt_adapter_grads;

/**
 * Backward of msa_prompt_adapter_forward(), whose x, p and k these are. dx (T, P), not dy, is written; dp
 * (T, P) is added to, NULL: not wanted. The gradients of parameters are added to.
 * scratch: msa_prompt_adapter_scratch() floats.
 */
size_t msa_prompt_adapter_scratch(const msa_prompt_adapter *a, int64_t T);
void msa_prompt_adapter_backward(const msa_prompt_adapter *a, msa_activation act, int64_t T, const float *x,
                                 const float *p, const msa_prompt_adapter_work *k,
                                 const msa_prompt_adapter_grads *g, const float *dy, float *scratch,
                                 float *dx, float *dp);

#endif
