#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/volume/geometry.h"
#include "engine/volume/prepare.h"
#include "engine/volume/resize8.h"
#include "engine/volume/window.h"
#include "tests/golden/units.h"

static float *floats_of(const uint8_t *u8, int64_t n)
{
    float *out = units_floats(n);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)u8[i];
    return out;
}

static void check_longest(const golden_file *f, golden_report *r)
{
    static const int32_t sizes[] = {64, 1024};
    const msa_tensor *hw = units_need(f, r, "in.longest.hw");
    const msa_tensor *coords = units_need(f, r, "in.longest.coords");
    if (!hw || !coords) return;
    MSA_AUTO_FREE float *out = units_floats(hw->count);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int64_t i = 0; i < hw->shape[0]; i++) {
            int32_t rows = 0;
            int32_t cols = 0;
            msa_longest_side((int32_t)hw->data[2 * i], (int32_t)hw->data[2 * i + 1], sizes[s], &rows, &cols);
            out[2 * i] = (float)rows;
            out[2 * i + 1] = (float)cols;
        }
        (void)golden_comparef(r, out, hw->count, "out.longest.hw_%d", sizes[s]);
    }
    /* The reference scales distances from the corner; ours come out half a pixel less, which the encoder
     * adds. */
    const msa_transform t = msa_transform_make(MSA_GEOMETRY_LONGEST_SIDE, 37, 53, 64);
    MSA_AUTO_FREE float *scaled = units_floats(coords->count);
    for (int64_t i = 0; i < coords->shape[0]; i++) {
        msa_transform_to_input(&t, coords->data[2 * i], coords->data[2 * i + 1], &scaled[2 * i],
                               &scaled[2 * i + 1]);
        scaled[2 * i] += 0.5F;
        scaled[2 * i + 1] += 0.5F;
    }
    (void)golden_compare(r, "out.longest.coords_37x53", scaled, coords->count);
}

/* The reference preprocesses the picture that was resized to longest side 64. */
static void check_pil(const golden_file *f, golden_report *r)
{
    static const int32_t sizes[] = {24, 64};
    const msa_tensor *x = units_need(f, r, "in.pil.u8_37x53");
    if (!x) return;
    const int32_t H = (int32_t)x->shape[0];
    const int32_t W = (int32_t)x->shape[1];
    MSA_AUTO_FREE uint8_t *u8 = malloc((size_t)x->count);
    MSA_AUTO_FREE uint8_t *resized = malloc((size_t)64 * 64 * 3);
    if (!u8 || !resized) abort();
    for (int64_t i = 0; i < x->count; i++)
        u8[i] = (uint8_t)x->data[i];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int32_t rows = 0;
        int32_t cols = 0;
        msa_longest_side(H, W, sizes[s], &rows, &cols);
        if (msa_resize8(u8, H, W, 3, resized, rows, cols, NULL) != MSA_OK) abort();
        const int64_t n = (int64_t)rows * cols * 3;
        MSA_AUTO_FREE float *got = floats_of(resized, n);
        (void)golden_comparef(r, got, n, "out.pil.longest%d", sizes[s]);
        if (sizes[s] != 64) continue;
        MSA_AUTO_FREE float *input = units_floats(3 * 64 * 64);
        msa_normalise_pad(resized, rows, cols, 3, MSA_NORM_SAM, 64, input);
        (void)golden_compare(r, "out.preprocess.norm_pad64", input, 3 * 64 * 64);
    }
}

static void compare_u8(golden_report *r, const char *name, const msa_window *w, const msa_tensor *x)
{
    MSA_AUTO_FREE uint8_t *u8 = malloc((size_t)x->count);
    if (!u8) abort();
    msa_window_u8(w, x->data, (size_t)x->count, u8);
    MSA_AUTO_FREE float *got = floats_of(u8, x->count);
    (void)golden_compare(r, name, got, x->count);
}

static void check_windowing(const golden_file *f, golden_report *r)
{
    const msa_tensor *hu = units_need(f, r, "in.window_ct.hu");
    const msa_tensor *mr = units_need(f, r, "in.window_mr.x");
    if (!hu || !mr) return;
    const msa_window abdomen = msa_window_centered(40, 400);
    const msa_window btcv = msa_window_centered(37.5F, 425);
    msa_window percentiles;
    MSA_AUTO_FREE float *unit = units_floats(hu->count);
    compare_u8(r, "out.window_ct.w400_l40_u8", &abdomen, hu);
    msa_window_unit(&btcv, hu->data, (size_t)hu->count, unit);
    (void)golden_compare(r, "out.window_ct.minus175_250_unit", unit, hu->count);
    if (msa_window_percentile(&percentiles, mr->data, (size_t)mr->count, 0.5, 99.5, NULL) != MSA_OK) abort();
    compare_u8(r, "out.window_mr.p05_995_u8", &percentiles, mr);
}

void units_check_images(const golden_file *f, golden_report *r)
{
    check_longest(f, r);
    check_pil(f, r);
    check_windowing(f, r);
}
