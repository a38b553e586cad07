#include "server/segment/default_box.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

#define BINS 64

static void range_of(const float *v, size_t n, float *lo, float *hi)
{
    *lo = *hi = v[0];
    for (size_t i = 1; i < n; i++) {
        if (v[i] < *lo) *lo = v[i];
        if (v[i] > *hi) *hi = v[i];
    }
}

/* N. Otsu, IEEE Trans. SMC 9 (1979): the cut with the largest variance between what lies below and above. */
static int best_cut(const int64_t bins[BINS], int64_t n)
{
    double sum = 0, below_sum = 0, best = -1;
    int64_t below = 0;
    int cut = 0;
    for (int b = 0; b < BINS; b++)
        sum += (double)b * (double)bins[b];
    for (int b = 0; b + 1 < BINS; b++) {
        below += bins[b];
        below_sum += (double)b * (double)bins[b];
        if (below == 0 || below == n) continue;
        const double apart = below_sum / (double)below - (sum - below_sum) / (double)(n - below);
        const double variance = (double)below * (double)(n - below) * apart * apart;
        if (variance > best) {
            best = variance;
            cut = b;
        }
    }
    return cut;
}

/* Values from here on are body. */
static float threshold_of(const float *v, size_t n, float lo, float hi)
{
    int64_t bins[BINS] = {0};
    const float scale = (float)BINS / (hi - lo);
    for (size_t i = 0; i < n; i++) {
        const int b = (int)((v[i] - lo) * scale);
        bins[b < BINS ? b : BINS - 1]++;
    }
    return lo + (float)(best_cut(bins, (int64_t)n) + 1) / scale;
}

/* Along one axis: where a hundredth of the body lies before, and where behind. */
static void span_of(const float *v, int32_t rows, int32_t cols, float from, bool along_rows, double *a,
                    double *b)
{
    const int32_t n = along_rows ? rows : cols, m = along_rows ? cols : rows;
    int64_t total = 0, seen = 0;
    *a = 0;
    *b = n;
    for (int64_t i = 0; i < (int64_t)rows * cols; i++)
        total += v[i] >= from;
    bool begun = false;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t k = 0; k < m; k++)
            seen += v[along_rows ? (int64_t)i * cols + k : (int64_t)k * cols + i] >= from;
        if (!begun && seen * 100 > total) {
            *a = i;
            begun = true;
        }
        if (seen * 100 >= total * 99) {
            *b = i + 1;
            return;
        }
    }
}

void srv_default_box_of(dicom_prompt *out, const float *v, int32_t rows, int32_t cols, int32_t percent)
{
    float lo = 0, hi = 0;
    double x0 = 0, y0 = 0, x1 = cols, y1 = rows;
    range_of(v, (size_t)rows * (size_t)cols, &lo, &hi);
    if (hi > lo && isfinite(hi - lo)) {
        const float from = threshold_of(v, (size_t)rows * (size_t)cols, lo, hi);
        span_of(v, rows, cols, from, false, &x0, &x1);
        span_of(v, rows, cols, from, true, &y0, &y1);
    }
    const double part = percent / 200.0;
    out->x0 = (x0 + x1) / 2 - (x1 - x0) * part;
    out->x1 = (x0 + x1) / 2 + (x1 - x0) * part;
    out->y0 = (y0 + y1) / 2 - (y1 - y0) * part;
    out->y1 = (y0 + y1) / 2 + (y1 - y0) * part;
}

/* Of all slices, or of those that are key images. */
static msa_status middle_slice(const dicom_series *series, const dicom_prompt *prompts, size_t n,
                               int32_t *out, msa_error *err)
{
    const int32_t slices = dicom_series_info(series)->slices;
    MSA_AUTO_FREE bool *is_key = calloc((size_t)slices + 1, sizeof *is_key);
    int32_t keys = 0;
    if (is_key == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (prompts[i].kind != DICOM_PROMPT_KEY_IMAGE) continue;
        const int32_t at = dicom_series_find(series, prompts[i].sop_instance_uid, prompts[i].frame);
        if (at < 0 || at >= slices || is_key[at]) continue;
        is_key[at] = true;
        keys++;
    }
    *out = (slices - 1) / 2;
    if (keys == 0) return MSA_OK;
    int32_t left = (keys - 1) / 2;
    for (*out = 0; !is_key[*out] || left-- > 0;)
        (*out)++;
    return MSA_OK;
}

msa_status srv_default_box(dicom_prompt *out, const dicom_series *series, const dicom_prompt *prompts,
                           size_t n, int32_t percent, msa_error *err)
{
    const dicom_volume_info *info = dicom_series_info(series);
    memset(out, 0, sizeof *out);
    if (percent < 1 || percent > 100)
        return msa_fail(err, MSA_E_INVALID, "a default box of %d percent is none", percent);
    out->kind = DICOM_PROMPT_BOX;
    out->frame = 1;
    out->positive = 1;
    MSA_TRY(middle_slice(series, prompts, n, &out->slice, err));
    srv_default_box_of(
        out, dicom_series_voxels(series) + (size_t)out->slice * (size_t)info->rows * (size_t)info->cols,
        info->rows, info->cols, percent);
    return MSA_OK;
}
