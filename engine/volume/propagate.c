#include "engine/volume/propagate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

/* Pixels from here on that are set, or that are not; of a mask's row, eight at a time. */
static int32_t same_from(const uint8_t *at, int32_t n, bool set)
{
    const uint64_t eight = set ? UINT64_C(0x0101010101010101) : 0;
    int32_t i = 0;
    for (uint64_t next; i + 8 <= n; i += 8) {
        memcpy(&next, at + i, sizeof next);
        if (next != eight) break;
    }
    while (i < n && (at[i] != 0) == set)
        i++;
    return i;
}

static int32_t run_of(const uint8_t *at, int32_t n)
{
    return same_from(at, n, true);
}

static int32_t gap_of(const uint8_t *at, int32_t n)
{
    return same_from(at, n, false);
}

msa_mask_stats msa_mask_measure(const uint8_t *mask, int32_t cols, msa_region region)
{
    msa_mask_stats s = {0, {region.x1, region.y1, region.x0, region.y0}, 0, 0};
    int64_t twice_x = 0, twice_y = 0; /* of the centroid's sums, which are of halves */
    for (int32_t y = region.y0; y < region.y1; y++) {
        const uint8_t *row = mask + (size_t)y * (size_t)cols;
        int64_t area = 0;
        for (int32_t x = region.x0; x < region.x1;) {
            const int32_t run = run_of(row + x, region.x1 - x);
            if (run == 0) {
                x += gap_of(row + x, region.x1 - x);
                continue;
            }
            area += run;
            twice_x += (int64_t)run * (2 * x + run);
            if (x < s.box.x0) s.box.x0 = x;
            x += run;
            if (x > s.box.x1) s.box.x1 = x;
        }
        if (area == 0) continue;
        s.area += area;
        twice_y += area * (2 * y + 1);
        if (y < s.box.y0) s.box.y0 = y;
        s.box.y1 = y + 1;
    }
    if (s.area == 0) return (msa_mask_stats){0};
    s.cx = (double)twice_x / 2 / (double)s.area;
    s.cy = (double)twice_y / 2 / (double)s.area;
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

/* Squared distance from pixel (px, py) to the nearest one outside the mask; beyond the region nothing is. */
static double edge_distance(const uint8_t *mask, int32_t cols, msa_region r, int32_t px, int32_t py)
{
    const int32_t side = px - r.x0 < r.x1 - 1 - px ? px - r.x0 : r.x1 - 1 - px;
    const int32_t end = py - r.y0 < r.y1 - 1 - py ? py - r.y0 : r.y1 - 1 - py;
    double least = (side < end ? side : end) + 1;
    least *= least;
    for (int32_t y = r.y0; y < r.y1; y++)
        for (int32_t x = r.x0; x < r.x1; x++) {
            const double dx = x - px, dy = y - py;
            if (!mask[(size_t)y * (size_t)cols + (size_t)x]) least = fmin(least, dx * dx + dy * dy);
        }
    return least;
}

static void cut_disc(uint8_t *mask, int32_t cols, msa_region r, int32_t px, int32_t py, double squared)
{
    for (int32_t y = r.y0; y < r.y1; y++)
        for (int32_t x = r.x0; x < r.x1; x++) {
            const double dx = x - px, dy = y - py;
            if (dx * dx + dy * dy <= squared) mask[(size_t)y * (size_t)cols + (size_t)x] = 0;
        }
}

/* The far edge of the region is in its last pixel. */
static int32_t pixel_of(float at, int32_t end)
{
    const int32_t i = (int32_t)floorf(at);
    return i == end ? end - 1 : i;
}

/* How far a background point cuts, squared; less than 0: not at all, a positive point is in its place. */
static double cut_distance(const float *points, const bool *positive, int32_t n, int32_t of, double edge)
{
    double squared = edge;
    for (int32_t k = 0; k < n; k++) {
        const double dx = (double)(points[2 * k] - points[2 * of]);
        const double dy = (double)(points[2 * k + 1] - points[2 * of + 1]);
        const double apart = dx * dx + dy * dy;
        if (positive[k] && apart < 1) return -1;
        if (positive[k]) squared = fmin(squared, apart / 4);
    }
    return squared;
}

void msa_mask_cut(uint8_t *mask, int32_t cols, msa_region region, const float *points, const bool *positive,
                  int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (positive[i]) continue;
        const int32_t x = pixel_of(points[2 * i], region.x1), y = pixel_of(points[2 * i + 1], region.y1);
        const bool in = x >= region.x0 && x < region.x1 && y >= region.y0 && y < region.y1;
        if (!in || !mask[(size_t)y * (size_t)cols + (size_t)x]) continue;
        const double edge = edge_distance(mask, cols, region, x, y);
        cut_disc(mask, cols, region, x, y, cut_distance(points, positive, n, i, edge));
    }
}

msa_track msa_track_start(const msa_box *box, const msa_mask_stats *mask, const msa_signs *signs)
{
    return (msa_track){.prompted = box ? *box : msa_region_box(mask->box),
                       .anchor_area = mask->area,
                       .anchor = *signs,
                       .last = *mask};
}

msa_region msa_track_next(const msa_track *t, float carried_mm, const float spacing_mm[2], int32_t rows,
                          int32_t cols)
{
    const float x = spacing_mm[1] > 0 ? MSA_REACH_SLANT * carried_mm / spacing_mm[1] : 0;
    const float y = spacing_mm[0] > 0 ? MSA_REACH_SLANT * carried_mm / spacing_mm[0] : 0;
    msa_box reach = msa_box_grow(t->prompted, MSA_REACH_FRACTION, MSA_REACH_PIXELS);
    reach = (msa_box){reach.x0 - x, reach.y0 - y, reach.x1 + x, reach.y1 + y};
    const msa_box next = msa_box_grow(msa_region_box(t->last.box), MSA_NEXT_FRACTION, MSA_NEXT_PIXELS);
    return msa_box_region(msa_box_intersect(next, reach), rows, cols);
}

static const char *break_reason(const msa_track *t, const msa_mask_stats *mask, const msa_signs *signs)
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
    if (t->anchor.iou > 0 && signs->iou < MSA_IOU_END * t->anchor.iou)
        return "the model's own confidence fell";
    if (signs->agreement < MSA_AGREEMENT_END) return "the model sees no object where the last one goes on";
    if (signs->fit < MSA_FIT_END * t->anchor.fit) return "what goes on has other greys";
    return NULL;
}

const char *msa_track_step(msa_track *t, const msa_mask_stats *mask, const msa_signs *signs)
{
    const char *reason = break_reason(t, mask, signs);
    if (!reason) t->last = *mask;
    return reason;
}

float msa_track_extent_mm(msa_box box, const float spacing_mm[2])
{
    const float side = fmaxf((box.x1 - box.x0) * spacing_mm[1], (box.y1 - box.y0) * spacing_mm[0]);
    return fminf(fmaxf(MSA_EXTENT_SIDES * side, MSA_EXTENT_MIN_MM), MSA_EXTENT_MAX_MM);
}
