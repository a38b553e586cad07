#include "engine/volume/propagate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

msa_mask_stats msa_mask_measure(const uint8_t *mask, int32_t cols, msa_region region)
{
    msa_mask_stats s = {0, {region.x1, region.y1, region.x0, region.y0}, 0, 0};
    for (int32_t y = region.y0; y < region.y1; y++) {
        const uint8_t *row = mask + (size_t)y * (size_t)cols;
        for (int32_t x = region.x0; x < region.x1; x++) {
            if (!row[x]) continue;
            s.area++;
            s.cx += x + 0.5;
            s.cy += y + 0.5;
            if (x < s.box.x0) s.box.x0 = x;
            if (x >= s.box.x1) s.box.x1 = x + 1;
            if (y < s.box.y0) s.box.y0 = y;
            if (y >= s.box.y1) s.box.y1 = y + 1;
        }
    }
    if (s.area == 0) return (msa_mask_stats){0};
    s.cx /= (double)s.area;
    s.cy /= (double)s.area;
    return s;
}

/* Masks in here: 0 outside, 1 inside, 2 inside and reached from a point. */
enum { INSIDE = 1, REACHED = 2 };

static bool enter(uint8_t *mask, int32_t cols, msa_region r, int32_t x, int32_t y)
{
    if (x < r.x0 || x >= r.x1 || y < r.y0 || y >= r.y1) return false;
    uint8_t *at = mask + (size_t)y * (size_t)cols + (size_t)x;
    if (*at != INSIDE) return false;
    *at = REACHED;
    return true;
}

static void flood(uint8_t *mask, int32_t cols, msa_region r, int32_t x, int32_t y, int32_t (*stack)[2])
{
    size_t depth = 0;
    if (!enter(mask, cols, r, x, y)) return;
    stack[depth][0] = x;
    stack[depth++][1] = y;
    while (depth > 0) { /* a pixel is pushed once, so the stack holds at most the region */
        static const int32_t next[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
        depth--;
        const int32_t px = stack[depth][0];
        const int32_t py = stack[depth][1];
        for (int32_t k = 0; k < 4; k++) {
            const int32_t nx = px + next[k][0];
            const int32_t ny = py + next[k][1];
            if (!enter(mask, cols, r, nx, ny)) continue;
            stack[depth][0] = nx;
            stack[depth++][1] = ny;
        }
    }
}

msa_status msa_mask_keep_touched(uint8_t *mask, int32_t cols, msa_region region, const float *points,
                                 int32_t n, msa_error *err)
{
    const size_t pixels = (size_t)(region.x1 - region.x0) * (size_t)(region.y1 - region.y0);
    MSA_AUTO_FREE int32_t(*stack)[2] = malloc((pixels ? pixels : 1) * sizeof *stack);
    if (!stack) return msa_fail(err, MSA_E_NOMEM, "out of memory for a mask");
    for (int32_t i = 0; i < n; i++)
        flood(mask, cols, region, (int32_t)floorf(points[2 * i]), (int32_t)floorf(points[2 * i + 1]), stack);
    for (int32_t y = region.y0; y < region.y1; y++) {
        uint8_t *row = mask + (size_t)y * (size_t)cols;
        for (int32_t x = region.x0; x < region.x1; x++)
            row[x] = row[x] == REACHED;
    }
    return MSA_OK;
}

static msa_box box_of(msa_region r)
{
    return (msa_box){(float)r.x0, (float)r.y0, (float)r.x1, (float)r.y1};
}

msa_track msa_track_start(const msa_box *box, const msa_mask_stats *mask, float iou)
{
    const msa_box from = box ? *box : box_of(mask->box);
    return (msa_track){.reach = msa_box_grow(from, MSA_REACH_FRACTION, MSA_REACH_PIXELS),
                       .anchor_area = mask->area,
                       .anchor_iou = iou,
                       .last = *mask};
}

msa_box msa_track_next(const msa_track *t, int32_t rows, int32_t cols)
{
    const msa_box grown = msa_box_grow(box_of(t->last.box), MSA_NEXT_FRACTION, MSA_NEXT_PIXELS);
    return msa_box_clip(msa_box_intersect(grown, t->reach), rows, cols);
}

msa_region msa_track_clip(const msa_track *t, msa_box box, int32_t rows, int32_t cols)
{
    const msa_box grown = msa_box_grow(box, MSA_CLIP_FRACTION, MSA_CLIP_PIXELS);
    return msa_box_region(msa_box_intersect(grown, t->reach), rows, cols);
}

static const char *break_reason(const msa_track *t, const msa_mask_stats *mask, float iou)
{
    const double area = (double)mask->area;
    const double last = (double)t->last.area;
    const int32_t width = t->last.box.x1 - t->last.box.x0;
    const int32_t height = t->last.box.y1 - t->last.box.y0;
    const double allowed =
        fmax(MSA_CENTER_FRACTION * (double)(width > height ? width : height), MSA_CENTER_PIXELS);
    if (mask->area == 0) return "the object ended";
    if (area < MSA_AREA_END * (double)t->anchor_area) return "the object became too small";
    if (area < MSA_AREA_SHRINK * last || area > MSA_AREA_GROW * last)
        return "the area changed too much between two slices";
    if (hypot(mask->cx - t->last.cx, mask->cy - t->last.cy) > allowed)
        return "the position jumped between two slices";
    if (t->anchor_iou > 0 && iou < MSA_IOU_END * t->anchor_iou) return "the model's own confidence fell";
    return NULL;
}

const char *msa_track_step(msa_track *t, const msa_mask_stats *mask, float iou)
{
    const char *reason = break_reason(t, mask, iou);
    if (!reason) t->last = *mask;
    return reason;
}

float msa_track_extent_mm(msa_box box, const float spacing_mm[2])
{
    const float side = fmaxf((box.x1 - box.x0) * spacing_mm[1], (box.y1 - box.y0) * spacing_mm[0]);
    return fminf(fmaxf(MSA_EXTENT_SIDES * side, MSA_EXTENT_MIN_MM), MSA_EXTENT_MAX_MM);
}
