#include "engine/adapt/decoder_adapter.h"

#include <string.h>

#include "engine/kern/vec.h"

static bool is_hyper(const msa_prompt_adapter *a)
{
    return a->generate.weight != NULL;
}

void msa_prompt_adapter_layout(msa_prompt_adapter_work *k, msa_arena *arena, const msa_prompt_adapter *a,
                               int64_t T)
{
    if (a->down.weight == NULL) return;
    const size_t rows = (size_t)T, r = (size_t)a->down.N;
    k->condition = msa_arena_floats(arena, rows * r);
    k->before = msa_arena_floats(arena, rows * r);
    k->after = msa_arena_floats(arena, rows * r);
    if (!is_hyper(a)) return;
    k->e = msa_arena_floats(arena, rows * r);
    k->weights = msa_arena_floats(arena, rows * r * r);
    k->product = msa_arena_floats(arena, rows * r);
}

static void dense(const msa_linear *l, int64_t T, const float *x, float *y)
{
    msa_linear_forward(l, T, x, l->K, y, l->N, MSA_EPILOGUE_NONE);
}

/* Every token's own matrix times its vector: product = e W. */
static void apply_weights(int64_t T, int64_t r, msa_prompt_adapter_work *k)
{
    memset(k->product, 0, (size_t)(T * r) * sizeof *k->product);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < r; i++)
            msa_axpy(r, k->e[t * r + i], k->weights + (t * r + i) * r, k->product + t * r);
}

void msa_prompt_adapter_forward(const msa_prompt_adapter *a, msa_activation act, int64_t T, const float *x,
                                const float *p, msa_prompt_adapter_work *k, float *y)
{
    const int64_t r = a->down.N;
    dense(&a->prompt, T, p, k->condition);
    if (is_hyper(a)) {
        dense(&a->down, T, x, k->e);
        dense(&a->generate, T, k->condition, k->weights);
        apply_weights(T, r, k);
        msa_norm_forward(&a->norm, MSA_EPS_DECODER, T, k->product, k->before);
    } else {
        dense(&a->down, T, x, k->before);
        msa_add(T * r, k->before, k->condition, k->before);
    }
    msa_epilogue_forward(msa_epilogue_of(act), T * r, k->before, k->after);
    dense(&a->up, T, k->after, y);
    msa_add(T * a->up.N, y, x, y);
}

/* ---- backward ---- */

size_t msa_prompt_adapter_scratch(const msa_prompt_adapter *a, int64_t T)
{
    if (a->down.weight == NULL) return 0;
    const size_t rows = (size_t)T, r = (size_t)a->down.N;
    return rows * (3 * r + 2) + (is_hyper(a) ? rows * r * r : 0);
}

static void params(const msa_linear *l, const msa_linear_grads *g, int64_t T, const float *x, const float *dy)
{
    msa_linear_backward_params(l, T, x, l->K, dy, l->N, g->weight, g->bias);
}

static void input(const msa_linear *l, int64_t T, const float *dy, float *dx, bool add)
{
    msa_linear_backward_input(l, T, dy, l->N, dx, l->K, add);
}

/* From the gradient of e W: that of e, and that of every token's W. */
static void apply_weights_backward(int64_t T, int64_t r, const msa_prompt_adapter_work *k,
                                   const float *dproduct, float *de, float *dweights)
{
    memset(dweights, 0, (size_t)(T * r * r) * sizeof *dweights);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = t * r; i < (t + 1) * r; i++) {
            de[i] = msa_dot(r, k->weights + i * r, dproduct + t * r);
            msa_axpy(r, k->e[i], dproduct + t * r, dweights + i * r);
        }
}

void msa_prompt_adapter_backward(const msa_prompt_adapter *a, msa_activation act, int64_t T, const float *x,
                                 const float *p, const msa_prompt_adapter_work *k,
                                 const msa_prompt_adapter_grads *g, const float *dy, float *scratch,
                                 float *dx, float *dp)
{
    const int64_t r = a->down.N;
    float *dz = scratch, *de = scratch + T * r, *dcondition = scratch + 2 * T * r;
    float *norm_scratch = scratch + 3 * T * r, *dweights = norm_scratch + 2 * T;
    memcpy(dx, dy, (size_t)(T * a->up.N) * sizeof *dx);
    params(&a->up, &g->up, T, k->after, dy);
    input(&a->up, T, dy, dz, false);
    msa_epilogue_backward(msa_epilogue_of(act), T * r, k->before, dz, dz);
    if (is_hyper(a)) {
        msa_norm_backward(&a->norm, MSA_EPS_DECODER, T, k->product, dz, dz, false, g->norm.weight,
                          g->norm.bias, norm_scratch);
        apply_weights_backward(T, r, k, dz, de, dweights);
        params(&a->generate, &g->generate, T, k->condition, dweights);
        input(&a->generate, T, dweights, dcondition, false);
    } else { /* the sum hands its gradient to both */
        de = dz;
        dcondition = dz;
    }
    params(&a->down, &g->down, T, x, de);
    input(&a->down, T, de, dx, true);
    params(&a->prompt, &g->prompt, T, p, dcondition);
    if (dp != NULL) input(&a->prompt, T, dcondition, dp, true);
}
