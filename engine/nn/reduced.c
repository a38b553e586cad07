#include "engine/nn/reduced.h"

#include "engine/nn/linear_half.h"
#include "engine/nn/linear_int8.h"

struct msa_reduced {
    msa_precision precision;
    msa_linear_half half; /* FP16, BF16 */
    msa_linear_int8 int8; /* INT8 */
    size_t bytes;
};

void msa_reduced_free(msa_reduced *r)
{
    if (r == NULL) return;
    msa_linear_half_release(&r->half);
    msa_linear_int8_release(&r->int8);
    free(r);
}

msa_status msa_reduced_new(msa_reduced **out, const msa_linear *l, msa_precision precision, msa_error *err)
{
    *out = NULL;
    MSA_AUTO(msa_reduced) r = calloc(1, sizeof *r);
    if (r == NULL) return msa_fail(err, MSA_E_NOMEM, "no memory for a layer's weights");
    r->precision = precision;
    if (precision == MSA_PRECISION_INT8) {
        MSA_TRY(msa_linear_int8_make(&r->int8, l, err));
        r->bytes = r->int8.bytes;
    } else {
        MSA_TRY(msa_linear_half_make(&r->half, l, precision == MSA_PRECISION_BF16, err));
        r->bytes = r->half.bytes;
    }
    *out = MSA_STEAL(r);
    return MSA_OK;
}

size_t msa_reduced_bytes(const msa_reduced *r)
{
    return r->bytes;
}

void msa_reduced_forward(const msa_linear *l, int64_t M, const float *x, int64_t ldx, float *y, int64_t ldy,
                         msa_epilogue epilogue)
{
    const msa_reduced *r = l->reduced;
    if (r->precision == MSA_PRECISION_INT8)
        msa_linear_int8_forward(l, &r->int8, M, x, ldx, y, ldy, epilogue);
    else
        msa_linear_half_forward(l, &r->half, M, x, ldx, y, ldy, epilogue);
}
