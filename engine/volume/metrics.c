#include "engine/volume/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/base/cleanup.h"

static void overlap(const uint8_t *a, const uint8_t *b, int64_t n, int64_t *both, int64_t *in_a,
                    int64_t *in_b)
{
    *both = *in_a = *in_b = 0;
    for (int64_t i = 0; i < n; i++) {
        *in_a += a[i] != 0;
        *in_b += b[i] != 0;
        *both += a[i] && b[i];
    }
}

double msa_metric_dice(const uint8_t *a, const uint8_t *b, int64_t n)
{
    int64_t both = 0, in_a = 0, in_b = 0;
    overlap(a, b, n, &both, &in_a, &in_b);
    return in_a + in_b ? 2 * (double)both / (double)(in_a + in_b) : 1;
}

double msa_metric_iou(const uint8_t *a, const uint8_t *b, int64_t n)
{
    int64_t both = 0, in_a = 0, in_b = 0;
    overlap(a, b, n, &both, &in_a, &in_b);
    return in_a + in_b ? (double)both / (double)(in_a + in_b - both) : 1;
}

static void add_item(const float *probability, const float *target, int64_t n, float threshold, double *iou,
                     double *dice)
{
    int64_t both = 0, in_a = 0, in_b = 0;
    for (int64_t i = 0; i < n; i++) {
        const bool a = probability[i] > threshold;
        const bool b = target[i] > threshold;
        in_a += a;
        in_b += b;
        both += a && b;
    }
    *iou += ((double)both + 1e-6) / ((double)(in_a + in_b - both) + 1e-6);
    *dice += (2 * (double)both + 1e-4) / ((double)(in_a + in_b) + 1e-4);
}

void msa_metric_thresholds(const float *probability, const float *target, int64_t items, int64_t n,
                           const float *thresholds, int32_t n_thresholds, double *iou, double *dice)
{
    *iou = *dice = 0;
    for (int32_t k = 0; k < n_thresholds; k++)
        for (int64_t i = 0; i < items; i++)
            add_item(probability + i * n, target + i * n, n, thresholds[k], iou, dice);
    *iou /= (double)(items * n_thresholds);
    *dice /= (double)(items * n_thresholds);
}

/* ---- Hausdorff ---- */

typedef struct grid {
    int32_t size[3]; /* D, H, W */
    double spacing[3];
    int64_t n;
} grid;

static bool set_at(const grid *g, const uint8_t *mask, int32_t z, int32_t y, int32_t x)
{
    const bool inside = z >= 0 && z < g->size[0] && y >= 0 && y < g->size[1] && x >= 0 && x < g->size[2];
    return inside && mask[((int64_t)z * g->size[1] + y) * g->size[2] + x];
}

static bool on_surface(const grid *g, const uint8_t *mask, int32_t z, int32_t y, int32_t x)
{
    if (!set_at(g, mask, z, y, x)) return false;
    /* A single slice is a picture: it has no surface above and below. */
    const bool across = g->size[0] == 1 || (set_at(g, mask, z - 1, y, x) && set_at(g, mask, z + 1, y, x));
    return !(across && set_at(g, mask, z, y - 1, x) && set_at(g, mask, z, y + 1, x) &&
             set_at(g, mask, z, y, x - 1) && set_at(g, mask, z, y, x + 1));
}

static int64_t mark_surface(const grid *g, const uint8_t *mask, uint8_t *surface)
{
    int64_t i = 0;
    int64_t found = 0;
    for (int32_t z = 0; z < g->size[0]; z++)
        for (int32_t y = 0; y < g->size[1]; y++)
            for (int32_t x = 0; x < g->size[2]; x++, i++) {
                surface[i] = on_surface(g, mask, z, y, x);
                found += surface[i];
            }
    return found;
}

typedef struct parabolas { /* scratch of one line */
    int32_t *at;
    double *from, *height, *out;
} parabolas;

/* Where the parabola of `b` gets below that of `a`, a < b. */
static double crossing(const parabolas *s, int32_t a, int32_t b, double step)
{
    const double pa = a * step;
    const double pb = b * step;
    return (s->height[b] + pb * pb - s->height[a] - pa * pa) / (2 * (pb - pa));
}

/* Lower envelope of parabolas (Felzenszwalb and Huttenlocher): squared distances along one line, in place. */
static void transform_line(const parabolas *s, double *line, int64_t stride, int32_t n, double step)
{
    int32_t k = -1;
    for (int32_t i = 0; i < n; i++) {
        s->height[i] = line[i * stride];
        if (isinf(s->height[i])) continue;
        while (k >= 0 && crossing(s, s->at[k], i, step) <= s->from[k])
            k--;
        k++;
        s->at[k] = i;
        s->from[k] = k > 0 ? crossing(s, s->at[k - 1], i, step) : -INFINITY;
    }
    if (k < 0) return; /* nothing on this line: it stays infinite */
    const int32_t last = k;
    k = 0;
    for (int32_t i = 0; i < n; i++) {
        while (k < last && s->from[k + 1] < i * step)
            k++;
        const double d = (i - s->at[k]) * step;
        s->out[i] = d * d + s->height[s->at[k]];
    }
    for (int32_t i = 0; i < n; i++)
        line[i * stride] = s->out[i];
}

/* Squared distance of every voxel to the nearest marked one. */
static void distance_transform(const grid *g, const uint8_t *surface, double *out, const parabolas *scratch)
{
    const int64_t strides[3] = {(int64_t)g->size[1] * g->size[2], g->size[2], 1};
    for (int64_t i = 0; i < g->n; i++)
        out[i] = surface[i] ? 0 : INFINITY;
    for (int axis = 2; axis >= 0; axis--)
        for (int64_t i = 0; i < g->n; i++) /* every voxel that begins a line */
            if (i / strides[axis] % g->size[axis] == 0)
                transform_line(scratch, out + i, strides[axis], g->size[axis], g->spacing[axis]);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the distances at the marked voxels. `distance` is used up. */
static double percentile_at(const grid *g, const uint8_t *surface, double *distance, double percentile)
{
    int64_t n = 0;
    for (int64_t i = 0; i < g->n; i++)
        if (surface[i]) distance[n++] = sqrt(distance[i]);
    qsort(distance, (size_t)n, sizeof *distance, by_value);
    const double rank = percentile / 100 * (double)(n - 1);
    const int64_t below = (int64_t)rank;
    const int64_t above = below + 1 < n ? below + 1 : below;
    return distance[below] + (distance[above] - distance[below]) * (rank - (double)below);
}

msa_status msa_metric_hausdorff(const uint8_t *a, const uint8_t *b, int32_t D, int32_t H, int32_t W,
                                const double spacing_mm[3], double percentile, double *out, msa_error *err)
{
    const grid g = {{D, H, W}, {spacing_mm[0], spacing_mm[1], spacing_mm[2]}, (int64_t)D * H * W};
    const size_t longest = (size_t)(D > H ? D > W ? D : W : H > W ? H : W);
    MSA_AUTO_FREE uint8_t *surfaces = malloc(2 * (size_t)g.n);
    MSA_AUTO_FREE double *distance = malloc((size_t)g.n * sizeof *distance);
    MSA_AUTO_FREE double *lines = malloc(3 * longest * sizeof *lines);
    MSA_AUTO_FREE int32_t *at = malloc(longest * sizeof *at);
    *out = 0;
    if (!surfaces || !distance || !lines || !at)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the distance between two masks");
    uint8_t *of_b = surfaces + g.n;
    const parabolas scratch = {at, lines, lines + longest, lines + 2 * longest};
    const int64_t n_a = mark_surface(&g, a, surfaces);
    const int64_t n_b = mark_surface(&g, b, of_b);
    if (n_a == 0 && n_b == 0) return MSA_OK;
    if (n_a == 0 || n_b == 0)
        return msa_fail(err, MSA_E_INVALID, "one of the masks is empty, so they have no distance");
    distance_transform(&g, of_b, distance, &scratch);
    const double a_to_b = percentile_at(&g, surfaces, distance, percentile);
    distance_transform(&g, surfaces, distance, &scratch);
    *out = fmax(a_to_b, percentile_at(&g, of_b, distance, percentile));
    return MSA_OK;
}
