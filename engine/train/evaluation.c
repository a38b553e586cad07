#include "engine/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/sampling.h"
#include "engine/volume/metrics.h"

#define PURPOSE UINT64_C(0x6576616C) /* a stream of its own: training never draws these */

/* ---- prompts ---- */

bool msa_eval_prompt_named(const char *name, msa_eval_prompt *out)
{
    static const char *const names[] = {"box", "point1", "point3", "box0.75", "box0.5", "middle-box"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *out = (msa_eval_prompt)i;
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

static int32_t middle_slice(const uint8_t *reference, const int32_t size[3])
{
    const int64_t pixels = (int64_t)size[1] * size[2];
    int32_t first = -1, last = -1, best = -1;
    for (int32_t k = 0; k < size[0]; k++) {
        if (memchr(reference + k * pixels, 1, (size_t)pixels) == NULL) continue;
        if (first < 0) first = k;
        last = k;
    }
    for (int32_t k = first; k >= 0 && k <= last; k++) {
        if (memchr(reference + k * pixels, 1, (size_t)pixels) == NULL) continue;
        if (best < 0 || abs(2 * k - first - last) < abs(2 * best - first - last)) best = k;
    }
    return best;
}

/* ---- connected parts ---- */

typedef struct parts {
    msa_box box[MSA_EVAL_PARTS + 1];
    int32_t n;
    uint8_t *seen;  /* (rows, cols) */
    int32_t *queue; /* (rows, cols) */
} parts;

/* The box of what hangs together with pixel `start`. */
static msa_box grow(const parts *p, const uint8_t *mask, int32_t rows, int32_t cols, int32_t start)
{
    msa_box box = {(float)cols, (float)rows, 0, 0};
    int32_t n = 1;
    p->queue[0] = start;
    p->seen[start] = 1;
    for (int32_t next = 0; next < n; next++) {
        const int32_t y = p->queue[next] / cols, x = p->queue[next] % cols;
        box = (msa_box){fminf(box.x0, (float)x), fminf(box.y0, (float)y), fmaxf(box.x1, (float)(x + 1)),
                        fmaxf(box.y1, (float)(y + 1))};
        for (int32_t ny = y - 1; ny <= y + 1; ny++)
            for (int32_t nx = x - 1; nx <= x + 1; nx++) {
                if (ny < 0 || nx < 0 || ny >= rows || nx >= cols) continue;
                const int32_t i = ny * cols + nx;
                if (!mask[i] || p->seen[i]) continue;
                p->seen[i] = 1;
                p->queue[n++] = i;
            }
    }
    return box;
}

static void find_parts(parts *p, const uint8_t *mask, int32_t rows, int32_t cols)
{
    p->n = 0;
    memset(p->seen, 0, (size_t)rows * (size_t)cols);
    for (int32_t i = 0; i < rows * cols; i++) {
        if (!mask[i] || p->seen[i]) continue;
        const msa_box box = grow(p, mask, rows, cols, i);
        if (p->n <= MSA_EVAL_PARTS)
            p->box[p->n++] = box;
        else
            p->box[MSA_EVAL_PARTS] = msa_box_union(p->box[MSA_EVAL_PARTS], box);
    }
}

/* ---- drawing ---- */

typedef struct drawing {
    msa_eval_prompt kind;
    bool whole;
    msa_random random;
    const uint8_t *mask; /* of the slice */
    int32_t slice, rows, cols;
    parts parts;
    msa_prompt *list;
    int32_t n, room;
} drawing;

static void drawing_clear(drawing *d)
{
    free(d->parts.seen);
    free(d->parts.queue);
    free(d->list);
}

static msa_status add(drawing *d, msa_prompt p, msa_error *err)
{
    if (d->n == d->room) {
        const int32_t room = d->room > 0 ? 2 * d->room : 64;
        msa_prompt *grown = realloc(d->list, (size_t)room * sizeof *grown);
        if (grown == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory for prompts");
        d->list = grown;
        d->room = room;
    }
    p.slice = d->slice;
    p.positive = true;
    d->list[d->n++] = p;
    return MSA_OK;
}

static msa_status add_points(drawing *d, int32_t n, msa_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        const msa_click c = msa_sample_click(&d->random, d->mask, d->rows, d->cols);
        const float x = (float)c.col + 0.5F, y = (float)c.row + 0.5F;
        MSA_TRY(add(d, (msa_prompt){.kind = MSA_PROMPT_POINT, .x0 = x, .y0 = y}, err));
    }
    return MSA_OK;
}

static msa_status add_boxes(drawing *d, double iou, msa_error *err)
{
    parts *p = &d->parts;
    if (d->whole || d->kind == MSA_EVAL_MIDDLE_BOX)
        p->n = msa_mask_box(d->mask, d->rows, d->cols, &p->box[0]);
    else
        find_parts(p, d->mask, d->rows, d->cols);
    for (int32_t i = 0; i < p->n; i++) {
        const msa_box b =
            iou < 1 ? msa_sample_box_of_iou(&d->random, p->box[i], iou, d->rows, d->cols) : p->box[i];
        const msa_prompt box = {.kind = MSA_PROMPT_BOX, .x0 = b.x0, .y0 = b.y0, .x1 = b.x1, .y1 = b.y1};
        MSA_TRY(add(d, box, err));
    }
    return MSA_OK;
}

static msa_status draw_slice(drawing *d, msa_error *err)
{
    switch (d->kind) {
    case MSA_EVAL_POINT1:
        return add_points(d, 1, err);
    case MSA_EVAL_POINT3:
        return add_points(d, 3, err);
    case MSA_EVAL_BOX75:
        return add_boxes(d, 0.75, err);
    case MSA_EVAL_BOX50:
        return add_boxes(d, 0.5, err);
    default:
        return add_boxes(d, 1, err);
    }
}

msa_status msa_eval_prompts(msa_prompt **out, int32_t *n, const uint8_t *reference, const int32_t size[3],
                            msa_eval_prompt kind, bool whole, uint64_t seed, uint64_t item, msa_error *err)
{
    const size_t pixels = (size_t)size[1] * (size_t)size[2];
    const int32_t only = kind == MSA_EVAL_MIDDLE_BOX ? middle_slice(reference, size) : -1;
    __attribute__((cleanup(drawing_clear)))
    drawing d = {.kind = kind, .whole = whole, .rows = size[1], .cols = size[2]};
    *out = NULL;
    *n = 0;
    d.parts.seen = malloc(pixels);
    d.parts.queue = malloc(pixels * sizeof *d.parts.queue);
    if (d.parts.seen == NULL || d.parts.queue == NULL)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for prompts");
    for (int32_t k = 0; k < size[0]; k++) {
        d.mask = reference + (size_t)k * pixels;
        if ((only >= 0 && k != only) || memchr(d.mask, 1, pixels) == NULL) continue;
        d.slice = k;
        d.random = msa_random_at(seed, PURPOSE, item, (uint64_t)k);
        MSA_TRY(draw_slice(&d, err));
    }
    *n = d.n;
    *out = MSA_STEAL(d.list);
    return MSA_OK;
}

void msa_eval_keep_prompted(uint8_t *mask, const int32_t size[3], const msa_prompt *prompts, int32_t n)
{
    const size_t pixels = (size_t)size[1] * (size_t)size[2];
    int32_t next = 0; /* prompts come in the order of slices */
    for (int32_t k = 0; k < size[0]; k++) {
        while (next < n && prompts[next].slice < k)
            next++;
        if (next == n || prompts[next].slice != k) memset(mask + (size_t)k * pixels, 0, pixels);
    }
}

/* ---- methods without a model ---- */

enum { BINS = 256 };

typedef struct part { /* of one slice */
    const float *values;
    uint8_t *mask;
    int32_t cols;
    msa_region at;
} part;

static msa_status value_range(const part *p, float *low, float *high, msa_error *err)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int32_t y = p->at.y0; y < p->at.y1; y++)
        for (int32_t x = p->at.x0; x < p->at.x1; x++) {
            const float v = p->values[(int64_t)y * p->cols + x];
            if (!isfinite(v)) return msa_fail(err, MSA_E_INVALID, "a voxel is not finite");
            *low = fminf(*low, v);
            *high = fmaxf(*high, v);
        }
    return MSA_OK;
}

static int32_t bin_of(float v, float low, float high)
{
    const int32_t bin = (int32_t)((v - low) / (high - low) * BINS);
    return bin < BINS ? bin : BINS - 1;
}

/* Otsu (1979): the first bin of the upper class, where the variance between the classes is greatest. */
static int32_t otsu(const int64_t counts[BINS], int64_t n)
{
    double total = 0, below = 0, best = -1;
    int64_t n_below = 0;
    int32_t at = 0;
    for (int32_t i = 0; i < BINS; i++)
        total += (double)counts[i] * i;
    for (int32_t i = 1; i < BINS; i++) {
        n_below += counts[i - 1];
        below += (double)counts[i - 1] * (i - 1);
        if (n_below == 0 || n_below == n) continue;
        const double gap = below / (double)n_below - (total - below) / (double)(n - n_below);
        const double between = gap * gap * (double)n_below * (double)(n - n_below);
        if (between <= best) continue;
        best = between;
        at = i;
    }
    return at;
}

static msa_status draw_otsu(const part *p, msa_error *err)
{
    int64_t counts[BINS] = {0}, upper = 0, seen = 0;
    float low = 0, high = 0;
    MSA_TRY(value_range(p, &low, &high, err));
    const msa_region r = p->at;
    const int32_t rows = r.y1 - r.y0, cols = r.x1 - r.x0;
    for (int32_t y = r.y0; y < r.y1 && low < high; y++)
        for (int32_t x = r.x0; x < r.x1; x++)
            counts[bin_of(p->values[(int64_t)y * p->cols + x], low, high)]++;
    const int32_t threshold = low < high ? otsu(counts, (int64_t)rows * cols) : 0; /* flat: all of it */
    for (int pass = 0; pass < 2; pass++)
        for (int32_t y = r.y0; y < r.y1; y++)
            for (int32_t x = r.x0; x < r.x1; x++) {
                const int64_t i = (int64_t)y * p->cols + x;
                const bool above = low >= high || bin_of(p->values[i], low, high) >= threshold;
                const bool inner = 4 * (y - r.y0) + 2 >= rows && 4 * (r.y1 - y) - 2 >= rows &&
                                   4 * (x - r.x0) + 2 >= cols && 4 * (r.x1 - x) - 2 >= cols;
                if (pass == 0) {
                    seen += inner;
                    upper += inner && above;
                } else if (above == (2 * upper >= seen)) {
                    p->mask[i] = 1;
                }
            }
    return MSA_OK;
}

msa_status msa_eval_draw(msa_eval_baseline method, const msa_volume *volume, const msa_prompt *prompts,
                         int32_t n, uint8_t *mask, msa_error *err)
{
    const int64_t pixels = (int64_t)volume->H * volume->W;
    memset(mask, 0, (size_t)(pixels * volume->D));
    for (int32_t i = 0; i < n; i++) {
        if (prompts[i].kind != MSA_PROMPT_BOX) continue;
        const msa_box box = {prompts[i].x0, prompts[i].y0, prompts[i].x1, prompts[i].y1};
        const part p = {.values = volume->voxels + prompts[i].slice * pixels,
                        .mask = mask + prompts[i].slice * pixels,
                        .cols = volume->W,
                        .at = msa_box_region(box, volume->H, volume->W)};
        if (method == MSA_EVAL_OTSU) {
            MSA_TRY(draw_otsu(&p, err));
            continue;
        }
        for (int32_t y = p.at.y0; y < p.at.y1; y++)
            memset(p.mask + (int64_t)y * p.cols + p.at.x0, 1, (size_t)(p.at.x1 - p.at.x0));
    }
    return MSA_OK;
}

/* ---- scores ---- */

/* What holds both masks: first[a] .. end[a] - 1 along each axis. False when both are empty. */
static bool extent(const uint8_t *a, const uint8_t *b, const int32_t size[3], int32_t first[3],
                   int32_t end[3])
{
    int64_t i = 0;
    for (int axis = 0; axis < 3; axis++) {
        first[axis] = size[axis];
        end[axis] = 0;
    }
    for (int32_t z = 0; z < size[0]; z++)
        for (int32_t y = 0; y < size[1]; y++)
            for (int32_t x = 0; x < size[2]; x++, i++) {
                const int32_t at[3] = {z, y, x};
                if (!a[i] && !b[i]) continue;
                for (int axis = 0; axis < 3; axis++) {
                    if (at[axis] < first[axis]) first[axis] = at[axis];
                    if (at[axis] >= end[axis]) end[axis] = at[axis] + 1;
                }
            }
    return end[0] > 0;
}

/* Only where the masks are: beyond, both are background, which is what the border counts as. But one slice
 * alone is a picture without a surface above and below, so a part of a volume keeps two. */
static msa_status hausdorff(double *out, const uint8_t *a, const uint8_t *b, const int32_t size[3],
                            const double spacing_mm[3], msa_error *err)
{
    int32_t first[3], end[3];
    *out = 0;
    if (!extent(a, b, size, first, end)) return MSA_OK;
    if (end[0] - first[0] == 1 && size[0] > 1) {
        if (end[0] < size[0])
            end[0]++;
        else
            first[0]--;
    }
    const int32_t D = end[0] - first[0], H = end[1] - first[1], W = end[2] - first[2];
    const size_t n = (size_t)D * (size_t)H * (size_t)W;
    MSA_AUTO_FREE uint8_t *crops = malloc(2 * n);
    if (crops == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory to compare masks");
    for (int32_t z = 0; z < D; z++)
        for (int32_t y = 0; y < H; y++) {
            const int64_t from = ((int64_t)(first[0] + z) * size[1] + first[1] + y) * size[2] + first[2];
            const size_t to = ((size_t)z * (size_t)H + (size_t)y) * (size_t)W;
            memcpy(crops + to, a + from, (size_t)W);
            memcpy(crops + n + to, b + from, (size_t)W);
        }
    return msa_metric_hausdorff(crops, crops + n, D, H, W, spacing_mm, 95, out, err);
}

static int64_t count(const uint8_t *mask, int64_t n)
{
    int64_t set = 0;
    for (int64_t i = 0; i < n; i++)
        set += mask[i] != 0;
    return set;
}

msa_status msa_eval_compare(msa_eval_score *out, const uint8_t *result, const uint8_t *reference,
                            const int32_t size[3], const double spacing_mm[3], msa_error *err)
{
    const int64_t pixels = (int64_t)size[1] * size[2], n = pixels * size[0];
    int32_t slices = 0;
    *out = (msa_eval_score){.voxels = count(reference, n),
                            .found = count(result, n),
                            .dice = msa_metric_dice(result, reference, n),
                            .iou = msa_metric_iou(result, reference, n),
                            .hd95_mm = NAN};
    for (int32_t k = 0; k < size[0]; k++) {
        const uint8_t *a = result + k * pixels, *b = reference + k * pixels;
        if (count(a, pixels) + count(b, pixels) == 0) continue;
        out->slice_dice += msa_metric_dice(a, b, pixels);
        slices++;
    }
    out->slice_dice = slices > 0 ? out->slice_dice / slices : 1;
    if ((out->voxels == 0) != (out->found == 0)) return MSA_OK;
    return hausdorff(&out->hd95_mm, result, reference, size, spacing_mm, err);
}
