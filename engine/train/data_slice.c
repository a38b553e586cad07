/* One sample of a volume: a label on a slice, the picture around it as a viewer's user would box it, and
 * other labels that the picture shows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/augment.h"
#include "engine/train/data_volumes.h"
#include "engine/volume/crop.h"
#include "engine/volume/resize8.h"

/* ---- a slice and its labels ---- */

typedef struct slice {
    const msa_stock *from;
    int orientation;
    int32_t number;
    msa_plane_shape shape;
    msa_window window;
    uint16_t *labels; /* (layers, rows, cols) */
    uint32_t *marks;  /* (rows, cols): bit k, a pixel of target k */
    int32_t *queue;   /* (rows, cols) */
    const msa_track *targets[MSA_TARGETS_MAX];
    int32_t n_targets;
} slice;

static void slice_clear(slice *s)
{
    free(s->labels);
    free(s->marks);
    free(s->queue);
}

static msa_status slice_read(slice *s, msa_error *err)
{
    const msa_case *c = s->from->volume;
    const size_t n = (size_t)s->shape.rows * (size_t)s->shape.cols;
    size_t to = 0;
    s->labels = malloc((size_t)c->n_layers * n * sizeof *s->labels);
    s->marks = calloc(n, sizeof *s->marks);
    s->queue = malloc(n * sizeof *s->queue);
    if (!s->labels || !s->marks || !s->queue)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    for (int32_t layer = 0; layer < c->n_layers; layer++) {
        const uint16_t *from = msa_stock_labels(c, layer);
        for (int32_t y = 0; y < s->shape.rows; y++)
            for (int32_t x = 0; x < s->shape.cols; x++)
                s->labels[to++] = from[msa_stock_voxel(c, s->orientation, s->number, y, x)];
    }
    return MSA_OK;
}

static const uint16_t *labels_of(const slice *s, const msa_track *track)
{
    return s->labels + (size_t)track->layer * (size_t)s->shape.rows * (size_t)s->shape.cols;
}

/* Pixels of the label in a region; the pixel of that number among them goes to *at. */
static int32_t count_label(const slice *s, const msa_track *track, msa_region g, int32_t number, int32_t *at)
{
    const uint16_t *labels = labels_of(s, track);
    int32_t n = 0;
    for (int32_t y = g.y0; y < g.y1; y++)
        for (int32_t x = g.x0; x < g.x1; x++) {
            if (labels[y * s->shape.cols + x] != track->value) continue;
            if (n++ == number) *at = y * s->shape.cols + x;
        }
    return n;
}

/* Marks what hangs together with a pixel, corners too, as evaluation takes parts apart. Returns the area. */
static int32_t mark_part(slice *s, const uint16_t *labels, int32_t start, uint32_t bit)
{
    const int32_t rows = s->shape.rows, cols = s->shape.cols;
    int32_t n = 1;
    s->queue[0] = start;
    s->marks[start] |= bit;
    for (int32_t next = 0; next < n; next++) {
        const int32_t y = s->queue[next] / cols, x = s->queue[next] % cols;
        for (int32_t b = y - 1; b <= y + 1; b++)
            for (int32_t a = x - 1; a <= x + 1; a++) {
                const int32_t i = b * cols + a;
                if (b < 0 || a < 0 || b >= rows || a >= cols || (s->marks[i] & bit) != 0 ||
                    labels[i] != labels[start])
                    continue;
                s->marks[i] |= bit;
                s->queue[n++] = i;
            }
    }
    return n;
}

/**
 * Adds a label as a target: one connected part, as real boxes are mostly drawn, or all of it. The part is
 * that of a random pixel in the region, so large parts come more often; one below min_pixels is no target.
 */
static void add_target(slice *s, const msa_track *track, msa_region g, int32_t min_pixels, msa_rng *r)
{
    const uint16_t *labels = labels_of(s, track);
    const uint32_t bit = UINT32_C(1) << s->n_targets;
    const int32_t n = s->shape.rows * s->shape.cols;
    const bool part = msa_rng_chance(r, 0.5F);
    int32_t start = 0;
    const int32_t area = count_label(s, track, g, -1, &start);
    (void)count_label(s, track, g, msa_rng_below(r, area), &start);
    const bool small = mark_part(s, labels, start, bit) < min_pixels;
    for (int32_t i = 0; (!part || small) && i < n; i++)
        if (labels[i] == track->value) s->marks[i] |= bit;
    s->targets[s->n_targets++] = track;
}

/* ---- windows ---- */

static msa_window any_ct_window(msa_rng *r)
{
    const float which = msa_rng_unit(r);
    if (which < 0.6F) return msa_window_centered(40, 400); /* the usual one, as it is */
    if (which < 0.85F) return msa_window_centered(msa_rng_range(r, 10, 90), msa_rng_range(r, 250, 550));
    if (which < 0.9F) return msa_window_centered(msa_rng_range(r, -700, -400), msa_rng_range(r, 1000, 1800));
    if (which < 0.95F) return msa_window_centered(msa_rng_range(r, 200, 600), msa_rng_range(r, 1000, 2500));
    return msa_window_centered(msa_rng_range(r, -100, 200), msa_rng_range(r, 800, 2400));
}

/* A window in which the target is neither black nor white, mostly: nobody draws a box around what cannot be
 * seen. */
static msa_window ct_window(float target_hu, msa_rng *r)
{
    const msa_window w = any_ct_window(r);
    const bool hidden = target_hu <= w.lo || target_hu >= w.hi;
    return hidden && msa_rng_chance(r, 0.9F) ? msa_window_centered(40, 400) : w;
}

static msa_window any_window(const msa_stock *s, float target_hu, msa_rng *r)
{
    if (s->volume->ct) return ct_window(target_hu, r);
    msa_window w = {.lo = s->low[2], .hi = s->high[2], .keep_zero = true};
    if (msa_rng_chance(r, 0.4F)) return w; /* what inference uses */
    w.lo = s->low[msa_rng_below(r, MSA_WINDOW_CHOICES)];
    w.hi = s->high[msa_rng_below(r, MSA_WINDOW_CHOICES)] * msa_rng_range(r, 0.85F, 1.1F);
    if (!(w.lo < w.hi)) w = (msa_window){.lo = s->low[2], .hi = s->high[2], .keep_zero = true};
    return w;
}

/* Of the first target. */
static float target_mean(const slice *s)
{
    const msa_case *v = s->from->volume;
    double sum = 0, n = 0;
    for (int32_t y = 0; y < s->shape.rows; y++)
        for (int32_t x = 0; x < s->shape.cols; x++) {
            if ((s->marks[y * s->shape.cols + x] & 1) == 0) continue;
            sum += (double)v->voxels[msa_stock_voxel(v, s->orientation, s->number, y, x)];
            n++;
        }
    return (float)(sum / n);
}

/* ---- what is looked at ---- */

static msa_status choose(slice *s, const msa_volumes_options *o, msa_rng *r, msa_error *err)
{
    int usable[MSA_ORIENTATIONS + 1], n = 0;
    for (int k = 0; k < MSA_ORIENTATIONS; k++)
        if (s->from->n_tracks[k] > 0) {
            usable[n++] = k;
            if (k == 0) usable[n++] = k; /* the acquired slices count twice */
        }
    s->orientation = usable[msa_rng_below(r, n)];
    s->shape = msa_stock_plane(s->from->volume, s->orientation);
    const msa_track *t =
        &s->from->tracks[s->orientation][msa_rng_below(r, s->from->n_tracks[s->orientation])];
    s->number = t->slices[msa_rng_below(r, t->n)];
    MSA_TRY(slice_read(s, err));
    add_target(s, t, (msa_region){0, 0, s->shape.cols, s->shape.rows}, o->min_pixels, r);
    s->window = any_window(s->from, target_mean(s), r);
    return MSA_OK;
}

static msa_region target_box(const slice *s)
{
    msa_region b = {s->shape.cols, s->shape.rows, 0, 0};
    for (int32_t y = 0; y < s->shape.rows; y++)
        for (int32_t x = 0; x < s->shape.cols; x++) {
            if ((s->marks[y * s->shape.cols + x] & 1) == 0) continue;
            if (x < b.x0) b.x0 = x;
            if (y < b.y0) b.y0 = y;
            if (x >= b.x1) b.x1 = x + 1;
            if (y >= b.y1) b.y1 = y + 1;
        }
    return b;
}

#define USUAL_CHANCE 0.85F

/* One axis of the crop: `side` pixels that hold from..to with some shift, inside 0..n where they can be. */
static void place_axis(int32_t from, int32_t to, float side, float shift, int32_t n, msa_rng *r, int32_t *a,
                       int32_t *b)
{
    const float spare = side - (float)(to - from);
    float start = (float)(from + to) / 2 - side / 2 + 0.5F * spare * msa_rng_range(r, -shift, shift);
    if (start + side > (float)n) start = (float)n - side;
    if (start < 0) start = 0;
    const float end = fminf(start + side, (float)n);
    *a = (int32_t)fminf(floorf(start), (float)from);
    *b = (int32_t)fmaxf(ceilf(end), (float)to);
}

/* As many millimetres wide as high, around the target; or all of the slice. As engine/volume/crop.c has it at
 * inference, mostly; the margin and the shift vary, sometimes much. */
static msa_region choose_region(const slice *s, const msa_volumes_options *o, msa_rng *r)
{
    const msa_plane_shape *p = &s->shape;
    const msa_region box = target_box(s), all = {0, 0, p->cols, p->rows};
    const bool usual = msa_rng_chance(r, USUAL_CHANCE);
    const float margin = usual ? msa_rng_log(r, 0.25F, 0.36F) : msa_rng_log(r, o->margin_min, o->margin_max);
    const float shift = usual ? 0.06F : 0.35F;
    const float w = (float)(box.x1 - box.x0) * p->col_mm, h = (float)(box.y1 - box.y0) * p->row_mm;
    const float side = fmaxf(fmaxf(w, h) * (1 + 2 * margin), MSA_CROP_PIXELS * fmaxf(p->row_mm, p->col_mm));
    const float longer = fmaxf((float)p->cols * p->col_mm, (float)p->rows * p->row_mm);
    msa_region region;
    if (!msa_rng_chance(r, o->crop_chance) || side >= MSA_CROP_WHOLE * longer) return all;
    place_axis(box.x0, box.x1, side / p->col_mm, shift, p->cols, r, &region.x0, &region.x1);
    place_axis(box.y0, box.y1, side / p->row_mm, shift, p->rows, r, &region.y0, &region.y1);
    return region;
}

/* Other labels of the region, at random, up to `most` targets together. */
static msa_status add_others(slice *s, const msa_volumes_options *o, msa_region g, int32_t most, msa_rng *r,
                             msa_error *err)
{
    const int32_t n = s->from->n_tracks[s->orientation];
    MSA_AUTO_FREE const msa_track **list = malloc((size_t)n * sizeof *list);
    int32_t count = 0, unused = 0;
    if (!list) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    for (int32_t k = 0; k < n; k++) {
        const msa_track *t = &s->from->tracks[s->orientation][k];
        if (t != s->targets[0] && count_label(s, t, g, -1, &unused) >= 2 * o->min_pixels) list[count++] = t;
    }
    while (s->n_targets < most && count > 0) {
        const int32_t k = msa_rng_below(r, count);
        add_target(s, list[k], g, o->min_pixels, r);
        list[k] = list[--count];
    }
    return MSA_OK;
}

/* ---- the picture ---- */

/* What the region becomes: rows x cols of the sample, and the same with its surroundings. */
typedef struct layout {
    int32_t pad_y, pad_x;             /* pixels of the volume */
    int32_t rows, cols;               /* of the sample */
    int32_t around_rows, around_cols; /* with the surroundings */
} layout;

static layout lay_out(const msa_plane_shape *p, msa_region g, int32_t size, bool surroundings)
{
    const float spacing_mm[2] = {p->row_mm, p->col_mm};
    const msa_transform t = msa_transform_part(MSA_GEOMETRY_LONGEST_SIDE, g, spacing_mm, size);
    layout l = {.rows = t.in_rows, .cols = t.in_cols};
    l.around_rows = l.rows;
    l.around_cols = l.cols;
    if (!surroundings) return l;
    l.pad_y = (g.y1 - g.y0 + 4) / 5;
    l.pad_x = (g.x1 - g.x0 + 4) / 5;
    l.around_rows += 2 * (int32_t)((float)(l.pad_y * l.rows) / (float)(g.y1 - g.y0) + 0.5F);
    l.around_cols += 2 * (int32_t)((float)(l.pad_x * l.cols) / (float)(g.x1 - g.x0) + 0.5F);
    return l;
}

/* The region with its surroundings on one plane: -1: the picture, windowed to 8 bit; k: target k, 0 or 255.
 * Where the volume ends: 0. On planes beside the slice all of a label counts. */
static void cut_plane(const slice *s, int32_t number, msa_region g, const layout *l, int32_t target,
                      uint8_t *out)
{
    const msa_case *vol = s->from->volume;
    for (int32_t y = g.y0 - l->pad_y; y < g.y1 + l->pad_y; y++)
        for (int32_t x = g.x0 - l->pad_x; x < g.x1 + l->pad_x; x++, out++) {
            *out = 0;
            if (y < 0 || x < 0 || y >= s->shape.rows || x >= s->shape.cols) continue;
            const size_t i = msa_stock_voxel(vol, s->orientation, number, y, x);
            if (target < 0)
                msa_window_u8(&s->window, &vol->voxels[i], 1, out);
            else if (number == s->number)
                *out = (s->marks[y * s->shape.cols + x] >> target & 1) != 0 ? 255 : 0;
            else
                *out = msa_stock_labels(vol, s->targets[target]->layer)[i] == s->targets[target]->value ? 255
                                                                                                        : 0;
        }
}

/* All planes at the sample's resolution, with surroundings: image (depth, rows, cols) 0..1, masks (targets,
 * depth, rows, cols) 0 or 1. */
static msa_status cut_stack(const slice *s, msa_region g, const layout *l, int32_t depth, float *image,
                            uint8_t *masks, msa_error *err)
{
    const int32_t in_rows = g.y1 - g.y0 + 2 * l->pad_y, in_cols = g.x1 - g.x0 + 2 * l->pad_x;
    const size_t plane = (size_t)l->around_rows * (size_t)l->around_cols;
    MSA_AUTO_FREE uint8_t *cut = malloc((size_t)in_rows * (size_t)in_cols);
    MSA_AUTO_FREE uint8_t *resized = malloc(plane);
    if (!cut || !resized) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    for (int32_t k = -1; k < s->n_targets; k++)
        for (int32_t d = 0; d < depth; d++) {
            int32_t number = s->number + d - depth / 2;
            number = number < 0 ? 0 : number >= s->shape.slices ? s->shape.slices - 1 : number;
            cut_plane(s, number, g, l, k, cut);
            MSA_TRY(msa_resize8(cut, in_rows, in_cols, 1, resized, l->around_rows, l->around_cols, err));
            for (size_t i = 0; k < 0 && i < plane; i++)
                image[(size_t)d * plane + i] = (float)resized[i] / 255.0F;
            for (size_t i = 0; k >= 0 && i < plane; i++)
                masks[(size_t)(k * depth + d) * plane + i] = resized[i] >= 128;
        }
    return MSA_OK;
}

/* ---- to the sample ---- */

typedef struct stack {
    int32_t rows, cols; /* with what is cut off again */
    float *image;
    uint8_t *masks;
} stack;

/* The middle of one mask to the sample's top-left corner. Returns its area on the middle plane; full: its box
 * is the picture, which says nothing about what is meant. */
static int32_t deliver_mask(const stack *from, int32_t target, msa_sample *s, uint8_t *to, bool *full)
{
    const size_t plane = (size_t)from->rows * (size_t)from->cols, out = (size_t)s->size * (size_t)s->size;
    const int32_t top = (from->rows - s->rows) / 2, left = (from->cols - s->cols) / 2;
    int32_t area = 0, x0 = s->cols, x1 = -1, y0 = s->rows, y1 = -1;
    memset(to, 0, (size_t)s->depth * out);
    for (int32_t d = 0; d < s->depth; d++)
        for (int32_t y = 0; y < s->rows; y++) {
            const uint8_t *line = from->masks + (size_t)(target * s->depth + d) * plane +
                                  (size_t)(top + y) * (size_t)from->cols + left;
            memcpy(to + (size_t)d * out + (size_t)y * (size_t)s->size, line, (size_t)s->cols);
            for (int32_t x = 0; d == s->depth / 2 && x < s->cols; x++) {
                if (!line[x]) continue;
                area++;
                if (x < x0) x0 = x;
                if (x > x1) x1 = x;
                if (y < y0) y0 = y;
                y1 = y;
            }
        }
    *full = (x1 - x0 + 1) * 20 >= s->cols * 19 && (y1 - y0 + 1) * 20 >= s->rows * 19;
    return area;
}

static void deliver_image(const stack *from, msa_sample *s)
{
    const size_t plane = (size_t)from->rows * (size_t)from->cols, out = (size_t)s->size * (size_t)s->size;
    const int32_t top = (from->rows - s->rows) / 2, left = (from->cols - s->cols) / 2;
    memset(s->image, 0, (size_t)s->depth * out * sizeof *s->image);
    for (int32_t d = 0; d < s->depth; d++)
        for (int32_t y = 0; y < s->rows; y++)
            memcpy(s->image + (size_t)d * out + (size_t)y * (size_t)s->size,
                   from->image + (size_t)d * plane + (size_t)(top + y) * (size_t)from->cols + left,
                   (size_t)s->cols * sizeof *s->image);
}

/* Further targets that augmentation or resizing lost are left out. Returns the area of the first. */
static int32_t deliver(const stack *from, int32_t n_targets, int32_t min_pixels, msa_sample *s)
{
    const size_t room = (size_t)s->depth * (size_t)s->size * (size_t)s->size;
    bool full;
    deliver_image(from, s);
    const int32_t first = deliver_mask(from, 0, s, s->targets, &full);
    s->n_targets = 1;
    for (int32_t k = 1; k < n_targets; k++) {
        uint8_t *to = s->targets + (size_t)s->n_targets * room;
        if (deliver_mask(from, k, s, to, &full) >= min_pixels && !full) s->n_targets++;
    }
    return first;
}

static msa_status make(slice *c, const msa_volumes_options *o, bool augment, msa_rng *r, msa_sample *s,
                       int32_t *area, msa_error *err)
{
    MSA_TRY(choose(c, o, r, err));
    const msa_region g = choose_region(c, o, r);
    MSA_TRY(add_others(c, o, g, s->targets_max, r, err));
    const layout l = lay_out(&c->shape, g, s->size, augment);
    const size_t n = (size_t)s->depth * (size_t)l.around_rows * (size_t)l.around_cols;
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *masks = malloc((size_t)c->n_targets * n);
    stack made = {.rows = l.around_rows, .cols = l.around_cols, .image = image, .masks = masks};
    if (!image || !masks) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    MSA_TRY(cut_stack(c, g, &l, s->depth, image, masks, err));
    if (augment) {
        const msa_augment_options usual = {.shape = 1, .intensity = 1, .flips = true};
        const msa_augment a = msa_augment_draw(&usual, msa_rng_u64(r));
        MSA_TRY(msa_augment_apply(&a, s->depth, &made.rows, &made.cols, image, masks, c->n_targets,
                                  MSA_LABELS_SOFT, err));
    }
    const bool turned = made.rows != l.around_rows || made.cols != l.around_cols;
    s->rows = turned ? l.cols : l.rows;
    s->cols = turned ? l.rows : l.cols;
    *area = deliver(&made, c->n_targets, o->min_pixels, s);
    (void)snprintf(s->source, sizeof s->source, "%s", c->from->volume->name);
    (void)snprintf(s->label, sizeof s->label, "%s", c->targets[0]->label);
    return MSA_OK;
}

msa_status msa_slice_sample(const msa_stock *stock, const msa_volumes_options *options, bool augment,
                            msa_rng *r, msa_sample *s, int32_t *area, msa_error *err)
{
    slice c = {.from = stock};
    const msa_status status = make(&c, options, augment, r, s, area, err);
    slice_clear(&c);
    return status;
}
