#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/train/loss.h"
#include "tests/golden/units.h"

static void compare_one(golden_report *r, const char *name, double value)
{
    const float got = (float)value;
    (void)golden_compare(r, name, &got, 1);
}

void units_check_losses(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.loss.logits");
    const msa_tensor *t = units_need(f, r, "in.loss.target");
    const msa_tensor *soft = units_need(f, r, "in.loss.soft_target");
    if (!x || !t || !soft) return;
    const int64_t items = x->shape[0] * x->shape[1];
    const int64_t n = x->count / items;
    MSA_AUTO_FREE float *none = units_floats(x->count);
    const double bce = msa_loss_bce(x->data, t->data, items, n, 1);
    const double dice = msa_loss_dice(x->data, t->data, items, n, true);
    const double dice_none = msa_loss_dice(x->data, none, items, n, true);
    compare_one(r, "out.loss.bce", bce);
    compare_one(r, "out.loss.bce_pw2", msa_loss_bce(x->data, t->data, items, n, 2));
    compare_one(r, "out.loss.bce_pw2_soft", msa_loss_bce(x->data, soft->data, items, n, 2));
    compare_one(r, "out.loss.dice_plain_v11", msa_loss_dice(x->data, t->data, items, n, false));
    compare_one(r, "out.loss.dice_sq_v11", dice);
    compare_one(r, "out.loss.dice_sq_v11_empty_target", dice_none);
    compare_one(r, "out.loss.dicece_sq_v11", dice); /* its cross-entropy over one channel is exactly zero */
    compare_one(r, "out.loss.dicece_sq_v13", dice + bce);
    compare_one(r, "out.loss.dicece_sq_v13_empty_target",
                dice_none + msa_loss_bce(x->data, none, items, n, 1));
    compare_one(r, "out.loss.focal_a025_g2", msa_loss_focal(x->data, t->data, items, n, 0.25, 2));
}
