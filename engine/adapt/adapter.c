#include "engine/adapt/adapter.h"

#include "engine/kern/vec.h"

void msa_adapter_forward(const msa_adapter *a, msa_activation act, bool skip, int64_t T, const float *x,
                         float *hidden, float *y)
{
    msa_linear_forward(&a->down, T, x, a->down.K, hidden, a->down.N, msa_epilogue_of(act));
    msa_linear_forward(&a->up, T, hidden, a->up.K, y, a->up.N, MSA_EPILOGUE_NONE);
    if (skip) msa_add(T * a->up.N, x, y, y);
}
