#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/nn/activation.h"
#include "engine/nn/depth_fold.h"
#include "engine/nn/layernorm.h"
#include "engine/nn/relpos.h"
#include "tests/golden/units.h"

static void check_activations(const golden_file *f, golden_report *r)
{
    static const struct {
        const char *name;
        void (*apply)(int64_t n, const float *x, float *y);
    } cases[] = {
        {"out.gelu.tanh", msa_gelu_tanh}, {"out.quickgelu", msa_quickgelu}, {"out.sigmoid", msa_sigmoid}};
    const msa_tensor *x = units_need(f, r, "in.gelu.x");
    if (!x) return;
    MSA_AUTO_FREE float *y = units_floats(x->count);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cases[i].apply(x->count, x->data, y);
        (void)golden_compare(r, cases[i].name, y, x->count);
    }
}

static void check_layernorm(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.layernorm.x");
    const msa_tensor *weight = units_need(f, r, "in.layernorm.weight");
    const msa_tensor *bias = units_need(f, r, "in.layernorm.bias");
    if (!x || !weight || !bias) return;
    const msa_norm n = {weight->data, bias->data, (int32_t)weight->count};
    MSA_AUTO_FREE float *y = units_floats(x->count);
    msa_norm_forward(&n, MSA_EPS_DECODER, x->count / n.C, x->data, y);
    (void)golden_compare(r, "out.layernorm.eps1e-05", y, x->count);
    msa_norm_forward(&n, MSA_EPS_ENCODER, x->count / n.C, x->data, y);
    (void)golden_compare(r, "out.layernorm.eps1e-06", y, x->count);
}

/* Per pixel over channels: both of the engine's forms, the one for planes and the one for rows. */
static void check_layernorm2d(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.layernorm2d.x");
    const msa_tensor *weight = units_need(f, r, "in.layernorm2d.weight");
    const msa_tensor *bias = units_need(f, r, "in.layernorm2d.bias");
    if (!x || !weight || !bias) return;
    const int64_t C = x->shape[1];
    const int64_t pixels = x->shape[2] * x->shape[3];
    const msa_norm n = {weight->data, bias->data, (int32_t)C};
    MSA_AUTO_FREE float *y = units_floats(x->count);
    for (int64_t i = 0; i < x->shape[0]; i++)
        msa_norm_planes(&n, MSA_EPS_ENCODER, pixels, x->data + i * C * pixels, y + i * C * pixels);
    (void)golden_compare(r, "out.layernorm2d", y, x->count);
    MSA_AUTO_FREE float *rows = units_to_channels_last(x->data, x->shape[0], C, pixels);
    msa_norm_forward(&n, MSA_EPS_ENCODER, x->shape[0] * pixels, rows, rows);
    MSA_AUTO_FREE float *planes = units_to_channels_first(rows, x->shape[0], C, pixels);
    (void)golden_compare(r, "out.layernorm2d", planes, x->count);
}

static void check_relpos(const golden_file *f, golden_report *r)
{
    static const int32_t sizes[][2] = {{1, 1}, {2, 2}, {2, 6}, {3, 3}, {3, 5}, {4, 2}, {5, 5}, {8, 8}};
    const msa_tensor *table = units_need(f, r, "in.rel_pos.table");
    if (!table) return;
    const int32_t d = (int32_t)table->shape[1];
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        const int32_t q = sizes[n][0];
        const int32_t k = sizes[n][1];
        MSA_AUTO_FREE float *resized = units_floats((int64_t)msa_relpos_rows(q, k) * d);
        MSA_AUTO_FREE float *out = units_floats((int64_t)q * k * d);
        msa_relpos_resize(table->data, (int32_t)table->shape[0], d, q, k, resized);
        for (int32_t i = 0; i < q; i++)
            for (int32_t j = 0; j < k; j++)
                for (int32_t c = 0; c < d; c++)
                    out[(i * k + j) * d + c] = resized[msa_relpos_row(i, j, q, k) * d + c];
        (void)golden_comparef(r, out, (int64_t)q * k * d, "out.rel_pos.q%dk%d", q, k);
    }
}

static void check_depth_fold(const golden_file *f, golden_report *r)
{
    const msa_tensor *n = units_need(f, r, "in.closest_numbers.n");
    if (!n) return;
    MSA_AUTO_FREE float *out = units_floats(2 * n->count);
    for (int64_t i = 0; i < n->count; i++) {
        int32_t rows = 0;
        int32_t cols = 0;
        msa_depth_fold((int32_t)n->data[i], &rows, &cols);
        out[2 * i] = (float)rows;
        out[2 * i + 1] = (float)cols;
    }
    (void)golden_compare(r, "out.closest_numbers", out, 2 * n->count);
}

void units_check_rows(const golden_file *f, golden_report *r)
{
    check_activations(f, r);
    check_layernorm(f, r);
    check_layernorm2d(f, r);
    check_relpos(f, r);
    check_depth_fold(f, r);
}
