#include <math.h>
#include <stdlib.h>

#include "engine/base/cleanup.h"
#include "engine/volume/metrics.h"
#include "tests/golden/units.h"

/* Channels are classes: (items, channels, pixels) in, IoU of each channel and then Dice of each out. */
static void check_thresholds(const golden_file *f, golden_report *r, const char *metric, int32_t n_thresholds,
                             const float *thresholds, const char *out_name)
{
    const msa_tensor *logits = golden_findf(f, "in.%s.logits", metric);
    const msa_tensor *target = golden_findf(f, "in.%s.target", metric);
    if (!logits || !target) {
        golden_fail(r, "an input of the metrics is missing");
        return;
    }
    const int64_t items = logits->shape[0];
    const int64_t channels = logits->shape[1];
    const int64_t n = logits->count / items / channels;
    float got[8];
    MSA_AUTO_FREE float *p = units_floats(items * n);
    MSA_AUTO_FREE float *t = units_floats(items * n);
    for (int64_t c = 0; c < channels; c++) {
        double iou = 0;
        double dice = 0;
        for (int64_t i = 0; i < items; i++) {
            for (int64_t k = 0; k < n; k++) {
                const int64_t from = (i * channels + c) * n + k;
                p[i * n + k] = 1 / (1 + expf(-logits->data[from]));
                t[i * n + k] = target->data[from];
            }
        }
        msa_metric_thresholds(p, t, items, n, thresholds, n_thresholds, &iou, &dice);
        got[c] = (float)iou;
        got[channels + c] = (float)dice;
    }
    (void)golden_compare(r, out_name, got, 2 * channels);
}

static uint8_t *mask_of(const msa_tensor *t)
{
    uint8_t *mask = malloc((size_t)t->count);
    if (!mask) abort();
    for (int64_t i = 0; i < t->count; i++)
        mask[i] = t->data[i] != 0;
    return mask;
}

static void check_hausdorff(const golden_file *f, golden_report *r, const char *in, const char *out)
{
    static const double unit[3] = {1, 1, 1};
    const msa_tensor *ta = golden_findf(f, "in.%s.a", in);
    const msa_tensor *tb = golden_findf(f, "in.%s.b", in);
    if (!ta || !tb) {
        golden_fail(r, "an input of the Hausdorff distance is missing");
        return;
    }
    const int64_t *shape = ta->shape + ta->rank - 2;
    const int32_t D = ta->rank == 3 ? (int32_t)ta->shape[0] : 1;
    MSA_AUTO_FREE uint8_t *a = mask_of(ta);
    MSA_AUTO_FREE uint8_t *b = mask_of(tb);
    double p95 = 0;
    double most = 0;
    if (msa_metric_hausdorff(a, b, D, (int32_t)shape[0], (int32_t)shape[1], unit, 95, &p95, NULL) != MSA_OK ||
        msa_metric_hausdorff(a, b, D, (int32_t)shape[0], (int32_t)shape[1], unit, 100, &most, NULL) !=
            MSA_OK) {
        golden_fail(r, "the Hausdorff distance could not be taken");
        return;
    }
    const float got[2] = {(float)p95, (float)most};
    (void)golden_comparef(r, &got[0], 1, "%s.p95", out);
    (void)golden_comparef(r, &got[1], 1, "%s.pNone", out);
}

void units_check_scores(const golden_file *f, golden_report *r)
{
    static const float five[] = {0.1F, 0.3F, 0.5F, 0.7F, 0.9F};
    check_thresholds(f, r, "metric", 5, five, "out.metric.eval_seg_5thr");
    check_thresholds(f, r, "metric", 1, &five[2], "out.metric.eval_seg_0.5");
    check_thresholds(f, r, "metric2", 5, five, "out.metric2.eval_seg_5thr");
    check_hausdorff(f, r, "hd", "out.hd.2d");
    check_hausdorff(f, r, "hd3", "out.hd.3d");
}
