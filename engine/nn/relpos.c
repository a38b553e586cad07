#include "engine/nn/relpos.h"

#include <string.h>

#include "engine/kern/vec.h"
#include "engine/nn/interp.h"

int32_t msa_relpos_rows(int32_t q, int32_t k)
{
    return 2 * (q > k ? q : k) - 1;
}

void msa_relpos_resize(const float *table, int32_t rows, int32_t d, int32_t q, int32_t k, float *out)
{
    const int32_t wanted = msa_relpos_rows(q, k);
    if (wanted == rows)
        memcpy(out, table, (size_t)rows * (size_t)d * sizeof *out);
    else
        msa_resize_linear(table, rows, d, out, wanted);
}

void msa_relpos_resize_backward(const float *dout, int32_t q, int32_t k, int32_t d, float *dtable,
                                int32_t rows)
{
    const int32_t wanted = msa_relpos_rows(q, k);
    if (wanted == rows)
        msa_add((int64_t)rows * d, dtable, dout, dtable);
    else
        msa_resize_linear_backward(dout, wanted, d, dtable, rows);
}

int32_t msa_relpos_row(int32_t i, int32_t j, int32_t q, int32_t k)
{
    const double qs = k > q ? (double)k / (double)q : 1.0, ks = q > k ? (double)q / (double)k : 1.0;
    return (int32_t)((double)i * qs - (double)j * ks + (double)(k - 1) * ks);
}
