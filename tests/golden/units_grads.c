/* Gradients of single operators, with the engine's own backward functions, and the optimisers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/interp.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/linear.h"
#include "engine/nn/relpos.h"
#include "engine/train/loss.h"
#include "engine/train/optimizer.h"
#include "tests/golden/units.h"

/* ---- losses ---- */

typedef struct loss_inputs {
    const float *logits, *target;
    int64_t items, n;
} loss_inputs;

static void compare_loss(golden_report *r, const char *name, const loss_inputs *in, msa_loss_options o)
{
    MSA_AUTO_FREE float *d = units_floats(in->items * in->n);
    (void)msa_loss(&o, in->logits, in->target, in->items, in->n, 1, d);
    (void)golden_comparef(r, d, in->items * in->n, "grad.loss.%s", name);
}

static void check_losses(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.loss.logits");
    const msa_tensor *t = units_need(f, r, "in.loss.target");
    const msa_tensor *s = units_need(f, r, "in.loss.soft_target");
    if (!x || !t || !s) return;
    const int64_t items = x->shape[0] * x->shape[1], n = x->count / items;
    MSA_AUTO_FREE float *none = units_floats(x->count);
    const loss_inputs hard = {x->data, t->data, items, n}, soft = {x->data, s->data, items, n},
                      empty = {x->data, none, items, n};
    msa_loss_options bce = msa_loss_defaults(MSA_LOSS_BCE), plain = msa_loss_defaults(MSA_LOSS_DICE);
    compare_loss(r, "bce", &hard, bce);
    bce.positive_weight = 2;
    compare_loss(r, "bce_pw2", &hard, bce);
    compare_loss(r, "bce_pw2_soft", &soft, bce);
    plain.dice_plain = true;
    compare_loss(r, "dice_plain_v11", &hard, plain);
    compare_loss(r, "dice_sq_v11", &hard, msa_loss_defaults(MSA_LOSS_DICE));
    compare_loss(r, "dicece_sq_v11", &hard, msa_loss_defaults(MSA_LOSS_DICE));
    compare_loss(r, "dice_sq_v11_empty_target", &empty, msa_loss_defaults(MSA_LOSS_DICE));
    compare_loss(r, "dicece_sq_v13", &hard, msa_loss_defaults(MSA_LOSS_DICE_BCE));
    compare_loss(r, "dicece_sq_v13_empty_target", &empty, msa_loss_defaults(MSA_LOSS_DICE_BCE));
    MSA_AUTO_FREE float *focal = units_floats(x->count);
    msa_loss_focal_backward(x->data, t->data, items, n, 0.25, 2, 1, focal);
    (void)golden_compare(r, "grad.loss.focal_a025_g2", focal, x->count);
}

/* ---- rows ---- */

static void check_gelu(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.gelu.x");
    if (!x) return;
    MSA_AUTO_FREE float *d = units_floats(x->count);
    for (int64_t i = 0; i < x->count; i++)
        d[i] = 1;
    msa_epilogue_backward(MSA_EPILOGUE_GELU, x->count, x->data, d, d);
    (void)golden_compare(r, "grad.gelu.exact", d, x->count);
}

/* The reference takes rows 0, 1 and 4: the others are ill-conditioned. */
static void check_layernorm(const golden_file *f, golden_report *r)
{
    static const int32_t rows[3] = {0, 1, 4};
    const msa_tensor *x = units_need(f, r, "in.layernorm.x");
    const msa_tensor *weight = units_need(f, r, "in.layernorm.weight");
    const msa_tensor *dy = units_need(f, r, "in.layernorm.grad_out");
    if (!x || !weight || !dy || x->shape[0] < 5 || dy->shape[0] != 3) return;
    const int64_t C = weight->count;
    const msa_norm n = {weight->data, NULL, (int32_t)C};
    MSA_AUTO_FREE float *in = units_floats(3 * C);
    MSA_AUTO_FREE float *dx = units_floats(3 * C);
    MSA_AUTO_FREE float *params = units_floats(2 * C);
    float scratch[6];
    for (int i = 0; i < 3; i++)
        memcpy(in + i * C, x->data + rows[i] * C, (size_t)C * sizeof *in);
    msa_norm_backward(&n, MSA_EPS_ENCODER, 3, in, dy->data, dx, false, params, params + C, scratch);
    (void)golden_compare(r, "grad.layernorm.x", dx, 3 * C);
    (void)golden_compare(r, "grad.layernorm.weight", params, C);
    (void)golden_compare(r, "grad.layernorm.bias", params + C, C);
}

static void check_layernorm2d(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.layernorm2d.x");
    const msa_tensor *weight = units_need(f, r, "in.layernorm2d.weight");
    const msa_tensor *dy = units_need(f, r, "in.layernorm2d.grad_out");
    if (!x || !weight || !dy) return;
    const int64_t C = weight->count, pixels = x->shape[2] * x->shape[3], T = x->shape[0] * pixels;
    const msa_norm n = {weight->data, NULL, (int32_t)C};
    MSA_AUTO_FREE float *rows = units_to_channels_last(x->data, x->shape[0], C, pixels);
    MSA_AUTO_FREE float *drows = units_to_channels_last(dy->data, x->shape[0], C, pixels);
    MSA_AUTO_FREE float *dweight = units_floats(C);
    MSA_AUTO_FREE float *scratch = units_floats(2 * T);
    msa_norm_backward(&n, MSA_EPS_ENCODER, T, rows, drows, drows, false, dweight, NULL, scratch);
    MSA_AUTO_FREE float *dx = units_to_channels_first(drows, x->shape[0], C, pixels);
    (void)golden_compare(r, "grad.layernorm2d.x", dx, x->count);
    (void)golden_compare(r, "grad.layernorm2d.weight", dweight, C);
}

/* ---- grids ---- */

static void check_conv3x3(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.conv3x3.x");
    const msa_tensor *weight = units_need(f, r, "in.conv3x3.weight");
    const msa_tensor *dy = units_need(f, r, "in.conv3x3.grad_out");
    if (!x || !weight || !dy) return;
    const int32_t C = (int32_t)x->shape[1], h = (int32_t)x->shape[2], w = (int32_t)x->shape[3];
    const int64_t items = x->shape[0], pixels = (int64_t)h * w;
    MSA_AUTO_FREE float *ordered = units_floats(weight->count);
    MSA_AUTO_FREE float *dordered = units_floats(weight->count);
    MSA_AUTO_FREE float *dweight = units_floats(weight->count);
    const msa_linear l = {.weight = ordered, .N = (int32_t)weight->shape[0], .K = 9 * C};
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, items, C, pixels);
    MSA_AUTO_FREE float *dlast = units_to_channels_last(dy->data, items, l.N, pixels);
    MSA_AUTO_FREE float *rows = units_floats(pixels * l.K);
    MSA_AUTO_FREE float *dx = units_floats(x->count);
    msa_conv3x3_weight(weight->data, l.N, C, ordered);
    for (int64_t i = 0; i < items; i++) {
        const float *d = dlast + i * pixels * l.N;
        msa_conv3x3_rows(last + i * pixels * C, h, w, C, 0, pixels, rows);
        msa_linear_backward_params(&l, pixels, rows, l.K, d, l.N, dordered, NULL);
        msa_linear_backward_input(&l, pixels, d, l.N, rows, l.K, false);
        msa_conv3x3_rows_backward(rows, h, w, C, dx + i * pixels * C);
    }
    msa_conv3x3_weight_backward(dordered, l.N, C, dweight);
    MSA_AUTO_FREE float *planes = units_to_channels_first(dx, items, C, pixels);
    (void)golden_compare(r, "grad.conv3x3.x", planes, x->count);
    (void)golden_compare(r, "grad.conv3x3.weight", dweight, weight->count);
}

static void check_conv_transpose(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.convtranspose2x2s2.x");
    const msa_tensor *weight = units_need(f, r, "in.convtranspose2x2s2.weight");
    const msa_tensor *dy = units_need(f, r, "in.convtranspose2x2s2.grad_out");
    if (!x || !weight || !dy) return;
    const int32_t C = (int32_t)x->shape[1], N = (int32_t)weight->shape[1], h = (int32_t)x->shape[2],
                  w = (int32_t)x->shape[3];
    const int64_t items = x->shape[0], pixels = (int64_t)h * w;
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, items, C, pixels);
    MSA_AUTO_FREE float *dlast = units_to_channels_last(dy->data, items, N, 4 * pixels);
    MSA_AUTO_FREE float *scratch = units_floats(4 * pixels * N);
    MSA_AUTO_FREE float *dx = units_floats(x->count);
    MSA_AUTO_FREE float *dweight = units_floats(weight->count);
    MSA_AUTO_FREE float *dbias = units_floats(N);
    for (int64_t i = 0; i < items; i++)
        msa_conv_transpose2x2_backward(last + i * pixels * C, h, w, C, weight->data, N,
                                       dlast + i * 4 * pixels * N, scratch, dx + i * pixels * C, dweight,
                                       dbias);
    MSA_AUTO_FREE float *planes = units_to_channels_first(dx, items, C, pixels);
    (void)golden_compare(r, "grad.convtranspose2x2s2.x", planes, x->count);
    (void)golden_compare(r, "grad.convtranspose2x2s2.weight", dweight, weight->count);
    (void)golden_compare(r, "grad.convtranspose2x2s2.bias", dbias, N);
}

static void check_resizing(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.interp.x");
    const msa_tensor *dy = units_need(f, r, "in.bilinear.grad_out_13x11");
    if (!x || !dy) return;
    const int32_t C = (int32_t)x->shape[1], h = (int32_t)x->shape[2], w = (int32_t)x->shape[3];
    MSA_AUTO_FREE float *last = units_to_channels_last(dy->data, 1, C, 13 * 11);
    MSA_AUTO_FREE float *linear = units_floats(x->count);
    MSA_AUTO_FREE float *cubic = units_floats(x->count);
    msa_resize_bilinear_backward(last, 13, 11, C, linear, h, w);
    msa_resize_bicubic_backward(last, 13, 11, C, cubic, h, w);
    MSA_AUTO_FREE float *linear_planes = units_to_channels_first(linear, 1, C, (int64_t)h * w);
    MSA_AUTO_FREE float *cubic_planes = units_to_channels_first(cubic, 1, C, (int64_t)h * w);
    (void)golden_compare(r, "grad.bilinear.13x11", linear_planes, x->count);
    (void)golden_compare(r, "grad.bicubic.13x11", cubic_planes, x->count);
}

/* ---- attention with relative positions ---- */

typedef struct attention_grads {
    float *qkv_w, *qkv_b, *proj_w, *proj_b, *rel_h, *rel_w; /* summed over the items of a batch */
} attention_grads;

typedef struct attention_case {
    msa_linear qkv, proj;
    const msa_tensor *rel_h, *rel_w;
    int32_t C, d, h, w;
} attention_case;

static void attend_back(const attention_case *a, const float *x, const float *dy, attention_grads *g,
                        float *dx)
{
    const int32_t C = a->C, d = a->d, rows_h = msa_relpos_rows(a->h, a->h),
                  rows_w = msa_relpos_rows(a->w, a->w);
    const int64_t n = (int64_t)a->h * a->w;
    const msa_windows windows = msa_windows_make(a->h, a->w, 0);
    MSA_AUTO_FREE float *qkv = units_floats(n * 3 * C);
    MSA_AUTO_FREE float *dqkv = units_floats(n * 3 * C);
    MSA_AUTO_FREE float *mixed = units_floats(n * C);
    MSA_AUTO_FREE float *dmixed = units_floats(n * C);
    MSA_AUTO_FREE float *rel = units_floats((int64_t)(rows_h + rows_w) * d);
    MSA_AUTO_FREE float *drel = units_floats((int64_t)(rows_h + rows_w) * d);
    MSA_AUTO_FREE float *forward = units_floats((int64_t)msa_window_attention_scratch(&windows, d));
    MSA_AUTO_FREE float *backward =
        units_floats((int64_t)msa_window_attention_backward_scratch(&windows, C / d, d, 1));
    float *rel_w = rel + (int64_t)rows_h * d, *drel_w = drel + (int64_t)rows_h * d;
    msa_relpos_resize(a->rel_h->data, (int32_t)a->rel_h->shape[0], d, a->h, a->h, rel);
    msa_relpos_resize(a->rel_w->data, (int32_t)a->rel_w->shape[0], d, a->w, a->w, rel_w);
    msa_linear_forward(&a->qkv, n, x, C, qkv, 3 * C, MSA_EPILOGUE_NONE);
    const msa_window_attention job = {.windows = windows,
                                      .qkv = qkv,
                                      .rel_h = rel,
                                      .rel_w = rel_w,
                                      .pad_row = -1,
                                      .out = mixed,
                                      .heads = C / d,
                                      .d = d};
    msa_window_attention_forward(&job, forward, 1);
    msa_linear_backward_params(&a->proj, n, mixed, C, dy, C, g->proj_w, g->proj_b);
    msa_linear_backward_input(&a->proj, n, dy, C, dmixed, C, false);
    const msa_window_attention_grads grads = {.dout = dmixed, .dqkv = dqkv, .drel_h = drel, .drel_w = drel_w};
    msa_window_attention_backward(&job, &grads, backward, 1);
    msa_relpos_resize_backward(drel, a->h, a->h, d, g->rel_h, (int32_t)a->rel_h->shape[0]);
    msa_relpos_resize_backward(drel_w, a->w, a->w, d, g->rel_w, (int32_t)a->rel_w->shape[0]);
    msa_linear_backward_params(&a->qkv, n, x, C, dqkv, 3 * C, g->qkv_w, g->qkv_b);
    msa_linear_backward_input(&a->qkv, n, dqkv, 3 * C, dx, C, false);
}

/* With one row, the row positions add the same to every logit of a query, which a softmax does not see: what
 * is left is rounding, and small against the gradient of the columns, the same sums without the cancellation.
 */
static void check_zero(golden_report *r, const char *name, const float *got, int64_t n, const float *columns,
                       int64_t n_columns)
{
    float largest = 0;
    for (int64_t i = 0; i < n_columns; i++)
        largest = fmaxf(largest, fabsf(columns[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(got[i]) <= 1e-6f * largest))
            golden_fail(r, "a gradient that is zero by its formula is not small");
    golden_skip(r, name, "zero by its formula: the reference holds rounding (ours was checked to be small)");
}

static void check_attention_grid(const golden_file *f, golden_report *r, attention_case *a)
{
    const int64_t C = a->C, item = (int64_t)a->h * a->w * C;
    const msa_tensor *x = golden_findf(f, "in.attn.x_%dx%d", a->h, a->w);
    const msa_tensor *dy = golden_findf(f, "in.attn.grad_out_%dx%d", a->h, a->w);
    if (!x || !dy || x->count != dy->count) {
        golden_fail(r, "an input of the attention's gradient is missing");
        return;
    }
    const int64_t counts[6] = {3 * C * C, 3 * C, C * C, C, a->rel_h->count, a->rel_w->count};
    static const char *const names[6] = {"qkv.weight", "qkv.bias",  "proj.weight",
                                         "proj.bias",  "rel_pos_h", "rel_pos_w"};
    float *sums[6];
    for (int i = 0; i < 6; i++)
        sums[i] = units_floats(counts[i]);
    attention_grads g = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
    MSA_AUTO_FREE float *dx = units_floats(x->count);
    for (int64_t i = 0; i < x->count / item; i++)
        attend_back(a, x->data + i * item, dy->data + i * item, &g, dx + i * item);
    (void)golden_comparef(r, dx, x->count, "grad.attn.%dx%d.x", a->h, a->w);
    for (int i = 0; i < 6; i++) {
        if (i == 4 && a->h == 1)
            check_zero(r, "grad.attn.1x6.rel_pos_h", sums[4], counts[4], sums[5], counts[5]);
        else
            (void)golden_comparef(r, sums[i], counts[i], "grad.attn.%dx%d.%s", a->h, a->w, names[i]);
        free(sums[i]);
    }
}

static void check_attention(const golden_file *f, golden_report *r)
{
    static const int32_t grids[][2] = {{4, 3}, {2, 5}, {1, 6}};
    const msa_tensor *qkv_w = units_need(f, r, "w.attn.qkv.weight");
    const msa_tensor *qkv_b = units_need(f, r, "w.attn.qkv.bias");
    const msa_tensor *proj_w = units_need(f, r, "w.attn.proj.weight");
    const msa_tensor *proj_b = units_need(f, r, "w.attn.proj.bias");
    attention_case a = {.rel_h = units_need(f, r, "w.attn.rel_pos_h"),
                        .rel_w = units_need(f, r, "w.attn.rel_pos_w")};
    if (!qkv_w || !qkv_b || !proj_w || !proj_b || !a.rel_h || !a.rel_w) return;
    a.C = (int32_t)proj_w->shape[0];
    a.d = (int32_t)a.rel_h->shape[1];
    a.qkv = (msa_linear){.weight = qkv_w->data, .bias = qkv_b->data, .N = 3 * a.C, .K = a.C};
    a.proj = (msa_linear){.weight = proj_w->data, .bias = proj_b->data, .N = a.C, .K = a.C};
    for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
        a.h = grids[k][0];
        a.w = grids[k][1];
        check_attention_grid(f, r, &a);
    }
}

void units_check_grads(const golden_file *f, golden_report *r)
{
    check_losses(f, r);
    check_gelu(f, r);
    check_layernorm(f, r);
    check_layernorm2d(f, r);
    check_conv3x3(f, r);
    check_conv_transpose(f, r);
    check_resizing(f, r);
    check_attention(f, r);
}

/* ---- optimisers ---- */

static void check_optimizer(golden_report *r, const char *name, const msa_tensor *start,
                            const msa_tensor *grads, const msa_optimizer_options *o)
{
    const int64_t n = start->count, steps = grads->shape[0];
    msa_param list[1] = {{.name = "param", .numel = n, .trains = true}};
    MSA_AUTO_FREE float *values = units_floats(n);
    MSA_AUTO_FREE float *d = units_floats(n);
    MSA_AUTO_FREE float *after = units_floats(steps * n);
    msa_params params = {
        .values = values, .grads = d, .n_values = n, .n_trained = n, .list = list, .n_list = 1};
    MSA_AUTO(msa_optimizer) made = NULL;
    memcpy(values, start->data, (size_t)n * sizeof *values);
    if (msa_optimizer_new(&made, &params, o, NULL) != MSA_OK) abort();
    for (int64_t s = 0; s < steps; s++) {
        memcpy(d, grads->data + s * n, (size_t)n * sizeof *d);
        if (msa_optimizer_step(made, NULL) != MSA_OK) golden_fail(r, "an optimiser refused its gradient");
        memcpy(after + s * n, values, (size_t)n * sizeof *after);
    }
    (void)golden_comparef(r, after, steps * n, "out.opt.%s", name);
}

void units_check_optimizers(const golden_file *f, golden_report *r)
{
    const msa_tensor *start = units_need(f, r, "in.opt.param");
    const msa_tensor *grads = units_need(f, r, "in.opt.grads");
    if (!start || !grads || grads->shape[0] * start->count != grads->count) return;
    msa_optimizer_options o = msa_optimizer_defaults(1e-3);
    check_optimizer(r, "adam_lr1e-3", start, grads, &o);
    o.lr = 1e-4;
    check_optimizer(r, "adam_lr1e-4", start, grads, &o);
    o.lr = 1e-2;
    o.weight_decay = 1e-2;
    check_optimizer(r, "adam_lr1e-2_wd1e-2", start, grads, &o);
    o.decoupled = true;
    o.weight_decay = 1e-1;
    check_optimizer(r, "adamw_lr1e-2_wd1e-1", start, grads, &o);
    o = msa_optimizer_defaults(1e-2);
    o.schedule = MSA_SCHEDULE_STEP;
    o.step_every = 2;
    o.step_factor = 0.5;
    check_optimizer(r, "adam_steplr2_g05", start, grads, &o);
    o = msa_optimizer_defaults(1e-1);
    o.momentum_only = true;
    check_optimizer(r, "sgd_lr1e-1_m09", start, grads, &o);
}
