#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/nn/attention.h"
#include "engine/nn/conv.h"
#include "engine/nn/depthwise.h"
#include "engine/nn/interp.h"
#include "engine/nn/linear.h"
#include "engine/nn/relpos.h"
#include "engine/nn/resample.h"
#include "engine/nn/window.h"
#include "tests/golden/units.h"

/* A convolution as the engine does it: rows of patches times the weight. y (pixels, N) back to planes. */
static void compare_rows(golden_report *r, const char *name, const float *rows, int64_t items, int64_t pixels,
                         const msa_linear *l)
{
    MSA_AUTO_FREE float *y = units_floats(items * pixels * l->N);
    msa_linear_forward(l, items * pixels, rows, l->K, y, l->N, MSA_EPILOGUE_NONE);
    MSA_AUTO_FREE float *planes = units_to_channels_first(y, items, l->N, pixels);
    (void)golden_compare(r, name, planes, items * pixels * l->N);
}

static void check_patches(const golden_file *f, golden_report *r, const char *x_name, const char *weight_name,
                          const char *bias_name, const char *out_name)
{
    const msa_tensor *x = units_need(f, r, x_name);
    const msa_tensor *weight = units_need(f, r, weight_name);
    const msa_tensor *bias = bias_name ? units_need(f, r, bias_name) : NULL;
    if (!x || !weight || (bias_name && !bias)) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t H = (int32_t)x->shape[2];
    const int32_t W = (int32_t)x->shape[3];
    const int32_t p = (int32_t)weight->shape[2];
    const int64_t patches = (int64_t)(H / p) * (W / p);
    const msa_linear l = {.weight = weight->data,
                          .bias = bias ? bias->data : NULL,
                          .N = (int32_t)weight->shape[0],
                          .K = C * p * p};
    MSA_AUTO_FREE float *rows = units_floats(x->shape[0] * patches * l.K);
    for (int64_t i = 0; i < x->shape[0]; i++)
        msa_patch_rows(x->data + i * C * H * W, C, H, W, p, 0, patches, rows + i * patches * l.K);
    compare_rows(r, out_name, rows, x->shape[0], patches, &l);
}

static void check_conv3x3(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.conv3x3.x");
    const msa_tensor *weight = units_need(f, r, "in.conv3x3.weight");
    if (!x || !weight) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t h = (int32_t)x->shape[2];
    const int32_t w = (int32_t)x->shape[3];
    const int64_t pixels = (int64_t)h * w;
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, x->shape[0], C, pixels);
    MSA_AUTO_FREE float *ordered = units_floats(weight->count);
    MSA_AUTO_FREE float *rows = units_floats(x->shape[0] * pixels * 9 * C);
    const msa_linear l = {.weight = ordered, .N = (int32_t)weight->shape[0], .K = 9 * C};
    msa_conv3x3_weight(weight->data, l.N, C, ordered);
    for (int64_t i = 0; i < x->shape[0]; i++)
        msa_conv3x3_rows(last + i * pixels * C, h, w, C, 0, pixels, rows + i * pixels * l.K);
    compare_rows(r, "out.conv3x3", rows, x->shape[0], pixels, &l);
}

static void check_conv_transpose(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.convtranspose2x2s2.x");
    const msa_tensor *weight = units_need(f, r, "in.convtranspose2x2s2.weight");
    const msa_tensor *bias = units_need(f, r, "in.convtranspose2x2s2.bias");
    if (!x || !weight || !bias) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t N = (int32_t)weight->shape[1];
    const int32_t h = (int32_t)x->shape[2];
    const int32_t w = (int32_t)x->shape[3];
    const int64_t pixels = (int64_t)h * w;
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, x->shape[0], C, pixels);
    MSA_AUTO_FREE float *scratch = units_floats(pixels * 4 * N);
    MSA_AUTO_FREE float *y = units_floats(x->shape[0] * pixels * 4 * N);
    for (int64_t i = 0; i < x->shape[0]; i++)
        msa_conv_transpose2x2(last + i * pixels * C, h, w, C, weight->data, bias->data, N, scratch,
                              y + i * pixels * 4 * N);
    MSA_AUTO_FREE float *planes = units_to_channels_first(y, x->shape[0], N, pixels * 4);
    (void)golden_compare(r, "out.convtranspose2x2s2", planes, x->shape[0] * pixels * 4 * N);
}

static void check_depthwise(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.depthwise3x3.x");
    const msa_tensor *weight = units_need(f, r, "in.depthwise3x3.weight");
    if (!x || !weight) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t h = (int32_t)x->shape[2];
    const int32_t w = (int32_t)x->shape[3];
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, 1, C, (int64_t)h * w);
    MSA_AUTO_FREE float *y = units_floats(x->count);
    MSA_AUTO_FREE float *taps = units_floats(9 * (int64_t)C);
    MSA_AUTO_FREE float *zeros = units_floats(C);
    msa_depthwise3x3_weight(weight->data, C, taps);
    for (int32_t stride = 1; stride <= 2; stride++) {
        const int64_t pixels = (int64_t)msa_depthwise3x3_side(h, stride) * msa_depthwise3x3_side(w, stride);
        msa_depthwise3x3(last, h, w, C, taps, zeros, zeros, stride, y);
        MSA_AUTO_FREE float *planes = units_to_channels_first(y, 1, C, pixels);
        (void)golden_comparef(r, planes, pixels * C, "out.depthwise3x3_s%d", stride);
    }
}

static void check_windows(const golden_file *f, golden_report *r)
{
    const msa_tensor *x = units_need(f, r, "in.window.x");
    if (!x) return;
    const int32_t C = (int32_t)x->shape[3];
    const int64_t grid = x->shape[1] * x->shape[2] * C;
    const msa_windows p = msa_windows_make((int32_t)x->shape[1], (int32_t)x->shape[2], 3);
    const int64_t tokens = msa_windows_tokens(&p) * C;
    const float padded[2] = {(float)(p.rows * p.win_h), (float)(p.cols * p.win_w)};
    MSA_AUTO_FREE float *parts = units_floats(x->shape[0] * tokens);
    MSA_AUTO_FREE float *merged = units_floats(x->count);
    for (int64_t i = 0; i < x->shape[0]; i++) {
        msa_windows_split(&p, C, x->data + i * grid, parts + i * tokens);
        msa_windows_merge(&p, C, parts + i * tokens, merged + i * grid);
    }
    (void)golden_compare(r, "out.window.padded_hw", padded, 2);
    (void)golden_compare(r, "out.window.part3", parts, x->shape[0] * tokens);
    (void)golden_compare(r, "out.window.unpart3", merged, x->count);
}

/* ---- attention with relative positions ---- */

typedef struct attention_weights {
    const msa_tensor *qkv_w, *qkv_b, *proj_w, *proj_b, *rel_h, *rel_w;
} attention_weights;

static void attend(const attention_weights *a, const float *x, int32_t h, int32_t w, float *out)
{
    const int32_t C = (int32_t)a->proj_w->shape[0];
    const int32_t d = (int32_t)a->rel_h->shape[1];
    const int64_t n = (int64_t)h * w;
    const msa_linear qkv_layer = {.weight = a->qkv_w->data, .bias = a->qkv_b->data, .N = 3 * C, .K = C};
    const msa_linear proj_layer = {.weight = a->proj_w->data, .bias = a->proj_b->data, .N = C, .K = C};
    const msa_windows windows = msa_windows_make(h, w, 0);
    MSA_AUTO_FREE float *qkv = units_floats(n * 3 * C);
    MSA_AUTO_FREE float *mixed = units_floats(n * C);
    MSA_AUTO_FREE float *rel_h = units_floats((int64_t)msa_relpos_rows(h, h) * d);
    MSA_AUTO_FREE float *rel_w = units_floats((int64_t)msa_relpos_rows(w, w) * d);
    MSA_AUTO_FREE float *scratch = units_floats((int64_t)msa_window_attention_scratch(&windows, d));
    msa_linear_forward(&qkv_layer, n, x, C, qkv, 3 * C, MSA_EPILOGUE_NONE);
    msa_relpos_resize(a->rel_h->data, (int32_t)a->rel_h->shape[0], d, h, h, rel_h);
    msa_relpos_resize(a->rel_w->data, (int32_t)a->rel_w->shape[0], d, w, w, rel_w);
    const msa_window_attention job = {.windows = windows,
                                      .qkv = qkv,
                                      .rel_h = rel_h,
                                      .rel_w = rel_w,
                                      .pad_row = -1,
                                      .out = mixed,
                                      .heads = C / d,
                                      .d = d};
    msa_window_attention_forward(&job, scratch, 1);
    msa_linear_forward(&proj_layer, n, mixed, C, out, C, MSA_EPILOGUE_NONE);
}

static void check_attention(const golden_file *f, golden_report *r)
{
    static const int32_t grids[][2] = {{4, 3}, {2, 5}, {1, 6}};
    const attention_weights a = {
        units_need(f, r, "w.attn.qkv.weight"),  units_need(f, r, "w.attn.qkv.bias"),
        units_need(f, r, "w.attn.proj.weight"), units_need(f, r, "w.attn.proj.bias"),
        units_need(f, r, "w.attn.rel_pos_h"),   units_need(f, r, "w.attn.rel_pos_w")};
    if (!a.qkv_w || !a.qkv_b || !a.proj_w || !a.proj_b || !a.rel_h || !a.rel_w) return;
    for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
        const msa_tensor *x = golden_findf(f, "in.attn.x_%dx%d", grids[k][0], grids[k][1]);
        if (!x) {
            golden_fail(r, "an input of the attention is missing");
            return;
        }
        const int64_t item = x->count / x->shape[0];
        MSA_AUTO_FREE float *y = units_floats(x->count);
        for (int64_t i = 0; i < x->shape[0]; i++)
            attend(&a, x->data + i * item, grids[k][0], grids[k][1], y + i * item);
        (void)golden_comparef(r, y, x->count, "out.attn.%dx%d", grids[k][0], grids[k][1]);
    }
}

/* ---- resizing ---- */

static void resize_antialias(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh,
                             int32_t ow)
{
    if (msa_resize_antialias(src, h, w, C, dst, oh, ow, NULL) != MSA_OK) abort();
}

static void check_resizing(const golden_file *f, golden_report *r)
{
    static const struct {
        const char *name;
        void (*resize)(const float *src, int32_t h, int32_t w, int32_t C, float *dst, int32_t oh, int32_t ow);
    } kinds[] = {{"out.bilinear.%dx%d", msa_resize_bilinear},
                 {"out.bicubic.%dx%d", msa_resize_bicubic},
                 {"out.nearest.%dx%d", msa_resize_nearest},
                 {"out.bilinear_antialias.%dx%d", resize_antialias},
                 {"out.tvresize.%dx%d", msa_resize_bilinear}};
    static const int32_t sizes[][2] = {{1, 1},   {3, 4},   {5, 7},   {8, 5},
                                       {10, 14}, {13, 11}, {16, 16}, {20, 28}};
    const msa_tensor *x = units_need(f, r, "in.interp.x");
    if (!x) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t h = (int32_t)x->shape[2];
    const int32_t w = (int32_t)x->shape[3];
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, 1, C, (int64_t)h * w);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const int32_t oh = sizes[s][0];
            const int32_t ow = sizes[s][1];
            if (!golden_findf(f, kinds[k].name, oh, ow)) continue; /* tvresize has two sizes only */
            MSA_AUTO_FREE float *y = units_floats((int64_t)oh * ow * C);
            kinds[k].resize(last, h, w, C, y, oh, ow);
            MSA_AUTO_FREE float *planes = units_to_channels_first(y, 1, C, (int64_t)oh * ow);
            (void)golden_comparef(r, planes, (int64_t)oh * ow * C, kinds[k].name, oh, ow);
        }
}

static void check_linear1d(const golden_file *f, golden_report *r)
{
    static const int32_t sizes[] = {1, 3, 5, 7, 11, 13, 27, 31, 127};
    const msa_tensor *x = units_need(f, r, "in.linear1d.x");
    if (!x) return;
    const int32_t C = (int32_t)x->shape[1];
    const int32_t n = (int32_t)x->shape[2];
    MSA_AUTO_FREE float *last = units_to_channels_last(x->data, 1, C, n);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        MSA_AUTO_FREE float *y = units_floats((int64_t)sizes[s] * C);
        msa_resize_linear(last, n, C, y, sizes[s]);
        MSA_AUTO_FREE float *planes = units_to_channels_first(y, 1, C, sizes[s]);
        (void)golden_comparef(r, planes, (int64_t)sizes[s] * C, "out.linear1d.%d", sizes[s]);
    }
}

void units_check_grids(const golden_file *f, golden_report *r)
{
    check_patches(f, r, "in.conv3x3.x", "in.conv2x2s2.weight", "in.conv2x2s2.bias", "out.conv2x2s2");
    check_patches(f, r, "in.patch8.x", "in.patch8.weight", NULL, "out.patch8");
    check_conv3x3(f, r);
    check_conv_transpose(f, r);
    check_depthwise(f, r);
    check_windows(f, r);
    check_attention(f, r);
    check_resizing(f, r);
    check_linear1d(f, r);
}
