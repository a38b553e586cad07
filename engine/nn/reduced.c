#include "engine/nn/reduced.h"

#include <assert.h>
#include <stddef.h>

void msa_reduced_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                         msa_epilogue epilogue)
{
    assert(false && l != NULL && M >= 0 && x != NULL && ldx >= 0 && y != NULL && ldy >= 0 && epilogue >= 0);
}
