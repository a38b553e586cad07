#include "engine/nn/linear_half.h"

#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/io/half.h"
#include "engine/kern/widen.h"
#include "engine/nn/packed.h"

msa_status msa_linear_half_make(msa_linear_half *h, const msa_linear *l, bool bfloat, msa_error *err)
{
    const size_t floats = msa_packed_floats(l->N, l->K);
    *h = (msa_linear_half){.bfloat = bfloat, .bytes = floats * sizeof *h->packed};
    if (floats == 0) return msa_fail(err, MSA_E_UNSUPPORTED, "a layer of %d inputs is too wide", l->K);
    MSA_AUTO_FREE float *wide = aligned_alloc(64, floats * sizeof *wide);
    h->packed = malloc(h->bytes);
    if (wide == NULL || h->packed == NULL) {
        msa_linear_half_release(h);
        return msa_fail(err, MSA_E_NOMEM, "no memory for a layer's weights");
    }
    const int64_t used = (int64_t)l->N * l->K; /* a last panel that is not full and what lies behind: zero */
    for (size_t i = (size_t)used; i < floats; i++)
        wide[i] = 0.0f;
    msa_pack_weight(l->N, l->K, l->weight, wide);
    if (bfloat) {
        msa_bfloat_round(wide, (int64_t)floats, h->packed);
    } else if (!msa_half_round(wide, (int64_t)floats, h->packed)) {
        msa_linear_half_release(h);
        return msa_fail(err, MSA_E_UNSUPPORTED, "a weight is beyond 65504, which fp16 cannot hold; use bf16");
    }
    return MSA_OK;
}

void msa_linear_half_release(msa_linear_half *h)
{
    free(h->packed);
    h->packed = NULL;
}

void msa_linear_half_forward(const msa_linear *l, const msa_linear_half *h, int64_t M, const float *x,
                             int64_t ldx, float *y, int64_t ldy, msa_epilogue epilogue)
{
    msa_packed_forward_16(l, h->packed, h->bfloat ? msa_widen_bfloat : msa_widen_half, M, x, ldx, y, ldy,
                          epilogue);
}
