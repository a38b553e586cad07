#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/kern/vec.h"
#include "tests/golden/units.h"

static void check_gelu(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.gelu.x");
    if (!x) return;
    MSA_AUTO_FREE float *y = units_floats(x->count);
    msa_gelu(x->count, x->data, y);
    (void)golden_compare(r, "out.gelu.exact", y, x->count);
}

static void check_softmax(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.softmax.x");
    if (!x) return;
    MSA_AUTO_FREE float *y = units_floats(x->count);
    for (int64_t i = 0; i < x->count; i++)
        y[i] = x->data[i];
    for (int64_t row = 0; row < x->shape[0]; row++)
        msa_softmax(x->shape[1], y + row * x->shape[1]);
    (void)golden_compare(r, "out.softmax", y, x->count);
}

void units_check_kern(const golden_file *f, golden_report *r)
{
    check_gelu(f, r);
    check_softmax(f, r);
}
