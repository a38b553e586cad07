#include "server/segment/measure.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/cleanup.h"

typedef struct corner {
    double x, y; /* mm */
} corner;

/* Room for what is looked at of one slice. */
typedef struct outline {
    corner *corners, *hull;
    int32_t n, n_hull;
} outline;

typedef struct sums {
    int64_t n;
    double value, square, x, y, least, greatest;
} sums;

static double cross(corner o, corner a, corner b)
{
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
}

static int by_place(const void *a, const void *b)
{
    const corner *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return p->y == q->y ? 0 : p->y < q->y ? -1 : 1;
}

/* Monotone chain (Andrew 1979): the hull, counter-clockwise. */
static void find_hull(outline *o)
{
    int32_t k = 0;
    qsort(o->corners, (size_t)o->n, sizeof *o->corners, by_place);
    for (int32_t i = 0; i < o->n; i++) {
        while (k >= 2 && cross(o->hull[k - 2], o->hull[k - 1], o->corners[i]) <= 0)
            k--;
        o->hull[k++] = o->corners[i];
    }
    for (int32_t i = o->n - 2, lower = k + 1; i >= 0; i--) {
        while (k >= lower && cross(o->hull[k - 2], o->hull[k - 1], o->corners[i]) <= 0)
            k--;
        o->hull[k++] = o->corners[i];
    }
    o->n_hull = k - 1; /* the first one came again */
}

/* Of each row the outer corners of its first and last pixel: no other can lie on the hull. */
static void find_corners(outline *o, const uint8_t *plane, const dicom_volume_info *info)
{
    const double dx = info->spacing_mm[1], dy = info->spacing_mm[0];
    o->n = 0;
    for (int32_t y = 0; y < info->rows; y++) {
        const uint8_t *row = plane + (size_t)y * (size_t)info->cols;
        int32_t first = 0, last = info->cols - 1;
        while (first <= last && !row[first])
            first++;
        while (last > first && !row[last])
            last--;
        if (first > last) continue;
        for (int32_t k = 0; k < 2; k++) {
            o->corners[o->n++] = (corner){first * dx, (y + k) * dy};
            o->corners[o->n++] = (corner){(last + 1) * dx, (y + k) * dy};
        }
    }
}

/* The greatest distance of two corners, and the extent across it; longer than *long_axis or nothing. */
static void find_axes(const outline *o, double *long_axis, double *short_axis)
{
    corner along = {0, 0};
    double longest = *long_axis, low = INFINITY, high = -INFINITY;
    for (int32_t i = 0; i < o->n_hull; i++)
        for (int32_t k = i + 1; k < o->n_hull; k++) {
            const corner d = {o->hull[k].x - o->hull[i].x, o->hull[k].y - o->hull[i].y};
            const double length = hypot(d.x, d.y);
            if (length <= longest) continue;
            longest = length;
            along = d;
        }
    if (longest <= *long_axis) return;
    for (int32_t i = 0; i < o->n_hull; i++) {
        const double across = (o->hull[i].y * along.x - o->hull[i].x * along.y) / longest;
        low = fmin(low, across);
        high = fmax(high, across);
    }
    *long_axis = longest;
    *short_axis = high - low;
}

static void add_plane(sums *s, const uint8_t *plane, const float *voxels, const dicom_volume_info *info)
{
    for (int32_t y = 0; y < info->rows; y++)
        for (int32_t x = 0; x < info->cols; x++) {
            const size_t i = (size_t)y * (size_t)info->cols + (size_t)x;
            if (!plane[i]) continue;
            const double value = (double)voxels[i];
            s->n++;
            s->value += value;
            s->square += value * value;
            s->x += x;
            s->y += y;
            s->least = fmin(s->least, value);
            s->greatest = fmax(s->greatest, value);
        }
}

/* Image Position (Patient) is the centre of the first pixel: PS3.3 C.7.6.2.1.1. */
static void add_center(double center[3], const dicom_volume_info *info, int32_t slice, const sums *s)
{
    for (int32_t k = 0; k < 3; k++)
        center[k] += (double)s->n * info->slice[slice].origin_mm[k] +
                     info->row_dir[k] * s->x * info->spacing_mm[1] +
                     info->col_dir[k] * s->y * info->spacing_mm[0];
}

static void finish(dicom_measures *out, const dicom_volume_info *info, const sums *all)
{
    const double n = (double)all->n;
    out->volume_ml = n * info->spacing_mm[0] * info->spacing_mm[1] * info->step_mm / 1000;
    out->mean = all->value / n;
    out->deviation = sqrt(fmax(0, all->square / n - out->mean * out->mean));
    out->least = all->least;
    out->greatest = all->greatest;
    for (int32_t k = 0; k < 3; k++)
        out->center_mm[k] /= n;
}

msa_status srv_measure(dicom_measures *out, const dicom_series *series, const uint8_t *mask, int32_t first,
                       int32_t last, msa_error *err)
{
    const dicom_volume_info *info = dicom_series_info(series);
    const size_t pixels = (size_t)info->rows * (size_t)info->cols;
    MSA_AUTO_FREE corner *corners = calloc(4 * (size_t)info->rows, sizeof *corners);
    MSA_AUTO_FREE corner *hull = calloc(4 * (size_t)info->rows + 2, sizeof *hull);
    outline o = {.corners = corners, .hull = hull};
    sums all = {.least = INFINITY, .greatest = -INFINITY};
    *out = (dicom_measures){0};
    if (!corners || !hull) return msa_fail(err, MSA_E_NOMEM, "out of memory for the measurements");
    for (int32_t s = first; s <= last; s++) {
        const uint8_t *plane = mask + (size_t)s * pixels;
        sums one = {.least = INFINITY, .greatest = -INFINITY};
        add_plane(&one, plane, dicom_series_voxels(series) + (size_t)s * pixels, info);
        if (one.n == 0) continue;
        add_center(out->center_mm, info, s, &one);
        all.n += one.n;
        all.value += one.value;
        all.square += one.square;
        all.least = fmin(all.least, one.least);
        all.greatest = fmax(all.greatest, one.greatest);
        find_corners(&o, plane, info);
        find_hull(&o);
        find_axes(&o, &out->long_axis_mm, &out->short_axis_mm);
    }
    finish(out, info, &all);
    return MSA_OK;
}
