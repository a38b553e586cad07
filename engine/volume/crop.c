#include "engine/volume/crop.h"

#include <math.h>

/* So that 20 pixels that came to 20.00001 on their way through millimetres stay 20. */
#define ROUNDING 1e-3

msa_crop_rule msa_crop_rule_make(const msa_config *config, int32_t rows, int32_t cols,
                                 const float spacing_mm[2])
{
    msa_crop_rule rule = {.geometry = config->geometry,
                          .margin = config->crop_margin,
                          .rows = rows,
                          .cols = cols,
                          .size = config->image_size,
                          .spacing_mm = {1, 1}};
    const bool known =
        isfinite(spacing_mm[0]) && isfinite(spacing_mm[1]) && spacing_mm[0] > 0 && spacing_mm[1] > 0;
    if (known) rule.spacing_mm[0] = spacing_mm[0];
    if (known) rule.spacing_mm[1] = spacing_mm[1];
    return rule;
}

msa_transform msa_crop_whole(const msa_crop_rule *rule)
{
    const msa_region all = {0, 0, rule->cols, rule->rows};
    if (!(rule->margin > 0)) return msa_transform_make(rule->geometry, rule->rows, rule->cols, rule->size);
    return msa_transform_part(rule->geometry, all, rule->spacing_mm, rule->size);
}

/* One axis: `wanted` pixels, or as many as hold from..to, with that in the middle, inside 0..n. */
static void place(float from, float to, double wanted, int32_t n, int32_t *first, int32_t *end)
{
    const int32_t low = (int32_t)floorf(from);
    const int32_t high = (int32_t)ceilf(to);
    const int32_t width = (int32_t)ceil(fmin(wanted - ROUNDING, (double)n));
    const int32_t side = width > high - low ? width : high - low;
    int32_t start = (int32_t)floor(((double)from + (double)to - (double)side + 1) / 2);
    if (start > low) start = low;
    if (start + side < high) start = high - side;
    if (start + side > n) start = n - side;
    *first = start > 0 ? start : 0;
    *end = *first + side;
}

static void widen(float at, int32_t n, int32_t *first, int32_t *end)
{
    const int32_t pixel = at < (float)n ? (int32_t)floorf(at) : n - 1; /* the far edge is in the last one */
    if (at < (float)*first) *first = pixel;
    if (at > (float)*end) *end = pixel + 1;
}

msa_transform msa_crop_around(const msa_crop_rule *rule, msa_box box, const float *points,
                              const bool *positive, int32_t n)
{
    const double row_mm = (double)rule->spacing_mm[0];
    const double col_mm = (double)rule->spacing_mm[1];
    const double longer = fmax((double)(box.x1 - box.x0) * col_mm, (double)(box.y1 - box.y0) * row_mm);
    const double side = fmax(longer * (1 + 2 * (double)rule->margin), MSA_CROP_PIXELS * fmax(row_mm, col_mm));
    msa_region part;
    if (!(rule->margin > 0) ||
        side >= (double)MSA_CROP_WHOLE * fmax(rule->rows * row_mm, rule->cols * col_mm))
        return msa_crop_whole(rule);
    place(box.x0, box.x1, side / col_mm, rule->cols, &part.x0, &part.x1);
    place(box.y0, box.y1, side / row_mm, rule->rows, &part.y0, &part.y1);
    for (int32_t i = 0; i < n; i++) {
        if (!positive[i]) continue;
        widen(points[2 * i], rule->cols, &part.x0, &part.x1);
        widen(points[2 * i + 1], rule->rows, &part.y0, &part.y1);
    }
    return msa_transform_part(rule->geometry, part, rule->spacing_mm, rule->size);
}
