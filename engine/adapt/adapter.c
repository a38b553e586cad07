#include "engine/adapt/adapter.h"

#include <stddef.h>

#include "engine/kern/vec.h"

void msa_adapter_forward(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                         float *hidden, float *y)
{
    msa_linear_forward(&a->down, T, x, a->down.K, hidden, a->down.N, msa_epilogue_of(act));
    msa_linear_forward(&a->up, T, hidden, a->up.K, y, a->up.N, MSA_EPILOGUE_NONE);
    if (skip) msa_add(T * a->up.N, x, y, y);
}

void msa_adapter_forward_kept(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                              float *pre, float *hidden, float *y)
{
    msa_linear_forward(&a->down, T, x, a->down.K, pre, a->down.N, MSA_EPILOGUE_NONE);
    msa_epilogue_forward(msa_epilogue_of(act), T * a->down.N, pre, hidden);
    msa_linear_forward(&a->up, T, hidden, a->up.K, y, a->up.N, MSA_EPILOGUE_NONE);
    if (skip) msa_add(T * a->up.N, x, y, y);
}

void msa_adapter_backward(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                          const float *pre, const float *dy, float *dx, bool add, const msa_adapter_grads *g,
                          float *hidden, float *dhidden)
{
    const int64_t C = a->up.N, D = a->up.K;
    if (g->up_weight != NULL) msa_epilogue_forward(msa_epilogue_of(act), T * D, pre, hidden);
    if (g->up_weight != NULL || g->up_bias != NULL)
        msa_linear_backward_params(&a->up, T, hidden, D, dy, C, g->up_weight, g->up_bias);
    const bool down = g->down_weight != NULL || g->down_bias != NULL;
    if (down || dx != NULL) {
        msa_linear_backward_input(&a->up, T, dy, C, dhidden, D, false);
        msa_epilogue_backward(msa_epilogue_of(act), T * D, pre, dhidden, dhidden);
    }
    if (down) msa_linear_backward_params(&a->down, T, x, C, dhidden, D, g->down_weight, g->down_bias);
    if (dx == NULL) return;
    msa_linear_backward_input(&a->down, T, dhidden, D, dx, C, add);
    if (skip) msa_add(T * C, dx, dy, dx);
}
