/* Samples from volumes: a label on a slice, the picture around it, as a viewer's user would box it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/train/augment.h"
#include "engine/train/data_random.h"
#include "engine/train/data_source.h"
#include "engine/volume/geometry.h"
#include "engine/volume/resize8.h"

enum { ORIENTATIONS = 3, PERCENTILES = 5 };

/* Slices on which one label can be a target. */
typedef struct track {
    char label[64];
    uint16_t value;
    int32_t n;
    int32_t *slices;
} track;

typedef struct stock {
    msa_case *volume;
    int32_t n_tracks[ORIENTATIONS];
    track *tracks[ORIENTATIONS];
    float low[PERCENTILES], high[PERCENTILES]; /* MR windows to draw between */
} stock;

typedef struct volumes {
    msa_source source;
    msa_volumes_options options;
    int32_t n;
    stock *stocks;
} volumes;

msa_volumes_options msa_volumes_defaults(uint64_t seed)
{
    return (msa_volumes_options){.seed = seed,
                                 .min_pixels = 12,
                                 .crop_chance = 0.8F,
                                 .margin_min = 0.15F,
                                 .margin_max = 1.5F,
                                 .augment_chance = 0.9F};
}

/* ---- planes of a volume ---- */

/* Slices along D are seen as they lie; those along H and W with the head above. */
typedef struct plane_shape {
    int32_t slices, rows, cols;
    float row_mm, col_mm;
} plane_shape;

static plane_shape plane_of(const msa_case *c, int orientation)
{
    switch (orientation) {
    case 1:
        return (plane_shape){c->rows, c->depth, c->cols, c->spacing_mm[0], c->spacing_mm[2]};
    case 2:
        return (plane_shape){c->cols, c->depth, c->rows, c->spacing_mm[0], c->spacing_mm[1]};
    default:
        return (plane_shape){c->depth, c->rows, c->cols, c->spacing_mm[1], c->spacing_mm[2]};
    }
}

static size_t voxel_at(const msa_case *c, int orientation, int32_t slice, int32_t y, int32_t x)
{
    int32_t d = slice, h = y, w = x;
    if (orientation == 1) {
        d = c->depth - 1 - y;
        h = slice;
    } else if (orientation == 2) {
        d = c->depth - 1 - y;
        h = x;
        w = slice;
    }
    return ((size_t)d * (size_t)c->rows + (size_t)h) * (size_t)c->cols + (size_t)w;
}

/* ---- what there is ---- */

static void stock_clear(stock *s)
{
    for (int o = 0; o < ORIENTATIONS; o++) {
        for (int32_t k = 0; s->tracks[o] && k < s->n_tracks[o]; k++)
            free(s->tracks[o][k].slices);
        free(s->tracks[o]);
    }
    msa_case_free(s->volume);
}

static const msa_label_name *name_of(const msa_case *c, uint16_t value)
{
    for (int32_t k = 0; k < c->n_names; k++)
        if (c->names[k].value == value) return &c->names[k];
    return NULL;
}

/* Values that may be targets: index[value] is 1, 2, ...; 0: not a target. Returns how many. */
static int32_t index_values(const msa_case *c, int32_t *index)
{
    const size_t n = (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
    int32_t count = 0;
    for (size_t i = 0; i < n; i++)
        index[c->labels[i]] = 1;
    index[0] = 0;
    for (int32_t v = 1; v <= UINT16_MAX; v++) {
        if (index[v] == 0) continue;
        const msa_label_name *name = name_of(c, (uint16_t)v);
        const bool wanted = c->n_names == 0 || (name && !name->held_out);
        index[v] = wanted ? ++count : 0;
    }
    return count;
}

static msa_status add_track(stock *s, int o, uint16_t value, const int32_t *area, int32_t n_values,
                            int32_t which, int32_t min_pixels, msa_error *err)
{
    const int32_t slices = plane_of(s->volume, o).slices;
    const msa_label_name *name = name_of(s->volume, value);
    track t = {.value = value};
    t.slices = malloc((size_t)slices * sizeof *t.slices);
    if (!t.slices) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of slices");
    for (int32_t k = 0; k < slices; k++)
        if (area[(size_t)k * (size_t)n_values + (size_t)which] >= min_pixels) t.slices[t.n++] = k;
    if (t.n == 0) {
        free(t.slices);
        return MSA_OK;
    }
    if (name)
        (void)snprintf(t.label, sizeof t.label, "%s", name->name);
    else
        (void)snprintf(t.label, sizeof t.label, "label %d", value);
    s->tracks[o][s->n_tracks[o]++] = t;
    return MSA_OK;
}

static msa_status list_tracks(stock *s, int o, int32_t *index, int32_t n_values, int32_t min_pixels,
                              msa_error *err)
{
    const plane_shape p = plane_of(s->volume, o);
    MSA_AUTO_FREE int32_t *area = calloc((size_t)p.slices * (size_t)n_values, sizeof *area);
    s->tracks[o] = calloc((size_t)n_values, sizeof *s->tracks[o]);
    if (!area || !s->tracks[o]) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of slices");
    for (int32_t k = 0; k < p.slices; k++)
        for (int32_t y = 0; y < p.rows; y++)
            for (int32_t x = 0; x < p.cols; x++) {
                const int32_t i = index[s->volume->labels[voxel_at(s->volume, o, k, y, x)]];
                if (i > 0) area[(size_t)k * (size_t)n_values + (size_t)(i - 1)]++;
            }
    for (int32_t v = 1; v <= UINT16_MAX; v++)
        if (index[v] > 0)
            MSA_TRY(add_track(s, o, (uint16_t)v, area, n_values, index[v] - 1, min_pixels, err));
    return MSA_OK;
}

static msa_status measure_windows(stock *s, msa_error *err)
{
    static const double low[PERCENTILES] = {0, 0.25, 0.5, 1, 2},
                        high[PERCENTILES] = {98, 99, 99.5, 99.8, 100};
    const msa_case *c = s->volume;
    const size_t n = (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
    if (c->ct) return MSA_OK;
    for (int k = 0; k < PERCENTILES; k++) {
        msa_window w;
        MSA_TRY(msa_window_percentile(&w, c->voxels, n, low[k], high[k], err));
        s->low[k] = w.lo;
        s->high[k] = w.hi;
    }
    return MSA_OK;
}

static msa_status take_stock(stock *s, const msa_volumes_options *options, msa_error *err)
{
    MSA_AUTO_FREE int32_t *index = calloc((size_t)UINT16_MAX + 1, sizeof *index);
    if (!index) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of labels");
    const int32_t n_values = index_values(s->volume, index);
    for (int o = 0; n_values > 0 && o < (options->all_orientations ? ORIENTATIONS : 1); o++)
        MSA_TRY(list_tracks(s, o, index, n_values, options->min_pixels, err));
    if (s->n_tracks[0] + s->n_tracks[1] + s->n_tracks[2] == 0)
        return msa_fail(err, MSA_E_INVALID, "case %s has no label that can be a target", s->volume->name);
    return measure_windows(s, err);
}

/* ---- one sample ---- */

typedef struct choice {
    const stock *from;
    const track *target;
    int orientation;
    int32_t slice;
    msa_window window;
} choice;

static msa_window any_ct_window(msa_rng *r)
{
    const float which = msa_rng_unit(r);
    if (which < 0.3F) return msa_window_centered(40, 400); /* the usual one, as it is */
    if (which < 0.75F) return msa_window_centered(msa_rng_range(r, 10, 90), msa_rng_range(r, 250, 550));
    if (which < 0.83F) return msa_window_centered(msa_rng_range(r, -700, -400), msa_rng_range(r, 1000, 1800));
    if (which < 0.92F) return msa_window_centered(msa_rng_range(r, 200, 600), msa_rng_range(r, 1000, 2500));
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

static msa_window any_window(const stock *s, float target_hu, msa_rng *r)
{
    if (s->volume->ct) return ct_window(target_hu, r);
    msa_window w = {.lo = s->low[2], .hi = s->high[2], .keep_zero = true};
    if (msa_rng_chance(r, 0.4F)) return w; /* what inference uses */
    w.lo = s->low[msa_rng_below(r, PERCENTILES)];
    w.hi = s->high[msa_rng_below(r, PERCENTILES)] * msa_rng_range(r, 0.85F, 1.1F);
    if (!(w.lo < w.hi)) w = (msa_window){.lo = s->low[2], .hi = s->high[2], .keep_zero = true};
    return w;
}

static float target_mean(const choice *c)
{
    const msa_case *v = c->from->volume;
    const plane_shape p = plane_of(v, c->orientation);
    double sum = 0, n = 0;
    for (int32_t y = 0; y < p.rows; y++)
        for (int32_t x = 0; x < p.cols; x++) {
            const size_t i = voxel_at(v, c->orientation, c->slice, y, x);
            if (v->labels[i] != c->target->value) continue;
            sum += (double)v->voxels[i];
            n++;
        }
    return (float)(sum / n);
}

static choice choose(const volumes *v, msa_rng *r)
{
    choice c = {.from = &v->stocks[msa_rng_below(r, v->n)]};
    int usable[ORIENTATIONS + 1], n = 0;
    for (int o = 0; o < ORIENTATIONS; o++)
        if (c.from->n_tracks[o] > 0) {
            usable[n++] = o;
            if (o == 0) usable[n++] = o; /* the acquired slices count twice */
        }
    c.orientation = usable[msa_rng_below(r, n)];
    c.target = &c.from->tracks[c.orientation][msa_rng_below(r, c.from->n_tracks[c.orientation])];
    c.slice = c.target->slices[msa_rng_below(r, c.target->n)];
    c.window = any_window(c.from, target_mean(&c), r);
    return c;
}

static msa_region target_box(const choice *c, const plane_shape *p)
{
    msa_region b = {p->cols, p->rows, 0, 0};
    for (int32_t y = 0; y < p->rows; y++)
        for (int32_t x = 0; x < p->cols; x++) {
            if (c->from->volume->labels[voxel_at(c->from->volume, c->orientation, c->slice, y, x)] !=
                c->target->value)
                continue;
            if (x < b.x0) b.x0 = x;
            if (y < b.y0) b.y0 = y;
            if (x >= b.x1) b.x1 = x + 1;
            if (y >= b.y1) b.y1 = y + 1;
        }
    return b;
}

/* One axis of the crop: `side` pixels that hold from..to with some shift, inside 0..n where they can be. */
static void place_axis(int32_t from, int32_t to, float side, int32_t n, msa_rng *r, int32_t *a, int32_t *b)
{
    const float spare = side - (float)(to - from);
    float start = (float)(from + to) / 2 - side / 2 + 0.5F * spare * msa_rng_range(r, -0.6F, 0.6F);
    if (start + side > (float)n) start = (float)n - side;
    if (start < 0) start = 0;
    const float end = fminf(start + side, (float)n);
    *a = (int32_t)fminf(floorf(start), (float)from);
    *b = (int32_t)fmaxf(ceilf(end), (float)to);
}

/* As many millimetres wide as high, around the target; or all of the slice. */
static msa_region choose_region(const volumes *v, const choice *c, const plane_shape *p, msa_rng *r)
{
    msa_region region = {0, 0, p->cols, p->rows};
    const msa_region box = target_box(c, p);
    const float margin = msa_rng_log(r, v->options.margin_min, v->options.margin_max);
    const float w = (float)(box.x1 - box.x0) * p->col_mm, h = (float)(box.y1 - box.y0) * p->row_mm;
    const float side = fmaxf(w, h) * (1 + 2 * margin);
    if (!msa_rng_chance(r, v->options.crop_chance)) return region;
    place_axis(box.x0, box.x1, fmaxf(side / p->col_mm, 8), p->cols, r, &region.x0, &region.x1);
    place_axis(box.y0, box.y1, fmaxf(side / p->row_mm, 8), p->rows, r, &region.y0, &region.y1);
    return region;
}

/* A plane's region with `pad` pixels around it (0 where the volume ends), windowed to 8 bit, and the target.
 */
static void cut_plane(const choice *c, const plane_shape *p, int32_t slice, msa_region g, int32_t pad_y,
                      int32_t pad_x, uint8_t *grey, uint8_t *mask)
{
    const msa_case *vol = c->from->volume;
    size_t to = 0;
    for (int32_t y = g.y0 - pad_y; y < g.y1 + pad_y; y++)
        for (int32_t x = g.x0 - pad_x; x < g.x1 + pad_x; x++, to++) {
            grey[to] = mask[to] = 0;
            if (y < 0 || x < 0 || y >= p->rows || x >= p->cols) continue;
            const size_t i = voxel_at(vol, c->orientation, slice, y, x);
            msa_window_u8(&c->window, &vol->voxels[i], 1, &grey[to]);
            mask[to] = vol->labels[i] == c->target->value ? 255 : 0;
        }
}

/* What the region becomes: rows x cols of the sample, and the same with its surroundings. */
typedef struct layout {
    int32_t pad_y, pad_x;             /* pixels of the volume */
    int32_t rows, cols;               /* of the sample */
    int32_t around_rows, around_cols; /* with the surroundings */
} layout;

static layout lay_out(const plane_shape *p, msa_region g, int32_t size, bool surroundings)
{
    layout l = {0};
    const float h = (float)(g.y1 - g.y0) * p->row_mm, w = (float)(g.x1 - g.x0) * p->col_mm;
    const float scale = (float)size / fmaxf(h, w);
    l.rows = (int32_t)fminf(fmaxf(h * scale + 0.5F, 1), (float)size);
    l.cols = (int32_t)fminf(fmaxf(w * scale + 0.5F, 1), (float)size);
    if (p->row_mm == p->col_mm) /* as at inference, to the pixel */
        msa_longest_side(g.y1 - g.y0, g.x1 - g.x0, size, &l.rows, &l.cols);
    if (l.rows < 1) l.rows = 1;
    if (l.cols < 1) l.cols = 1;
    l.around_rows = l.rows;
    l.around_cols = l.cols;
    if (!surroundings) return l;
    l.pad_y = (g.y1 - g.y0 + 4) / 5;
    l.pad_x = (g.x1 - g.x0 + 4) / 5;
    l.around_rows += 2 * (int32_t)((float)(l.pad_y * l.rows) / (float)(g.y1 - g.y0) + 0.5F);
    l.around_cols += 2 * (int32_t)((float)(l.pad_x * l.cols) / (float)(g.x1 - g.x0) + 0.5F);
    return l;
}

/* All planes of the sample at its resolution, with surroundings: image 0..1, mask 0 or 1. */
static msa_status cut_stack(const choice *c, const plane_shape *p, msa_region g, const layout *l,
                            int32_t depth, float *image, uint8_t *mask, msa_error *err)
{
    const int32_t in_rows = g.y1 - g.y0 + 2 * l->pad_y, in_cols = g.x1 - g.x0 + 2 * l->pad_x;
    const size_t in = (size_t)in_rows * (size_t)in_cols;
    const size_t plane = (size_t)l->around_rows * (size_t)l->around_cols;
    MSA_AUTO_FREE uint8_t *grey = malloc(2 * in);
    MSA_AUTO_FREE uint8_t *resized = malloc(plane);
    if (!grey || !resized) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    for (int32_t d = 0; d < depth; d++) {
        int32_t slice = c->slice + d - depth / 2;
        slice = slice < 0 ? 0 : slice >= p->slices ? p->slices - 1 : slice;
        cut_plane(c, p, slice, g, l->pad_y, l->pad_x, grey, grey + in);
        MSA_TRY(msa_resize8(grey, in_rows, in_cols, 1, resized, l->around_rows, l->around_cols, err));
        for (size_t i = 0; i < plane; i++)
            image[(size_t)d * plane + i] = (float)resized[i] / 255.0F;
        MSA_TRY(msa_resize8(grey + in, in_rows, in_cols, 1, resized, l->around_rows, l->around_cols, err));
        for (size_t i = 0; i < plane; i++)
            mask[(size_t)d * plane + i] = resized[i] >= 128;
    }
    return MSA_OK;
}

/* The middle of a stack to the sample's top-left corner; the rest of the sample is 0. Returns the middle
 * plane's area. */
static int32_t deliver(const float *image, const uint8_t *mask, int32_t around_rows, int32_t around_cols,
                       int32_t rows, int32_t cols, msa_sample *s)
{
    const size_t out = (size_t)s->size * (size_t)s->size, in = (size_t)around_rows * (size_t)around_cols;
    const int32_t y0 = (around_rows - rows) / 2, x0 = (around_cols - cols) / 2;
    int32_t area = 0;
    memset(s->image, 0, (size_t)s->depth * out * sizeof *s->image);
    memset(s->target, 0, (size_t)s->depth * out);
    s->rows = rows;
    s->cols = cols;
    for (int32_t d = 0; d < s->depth; d++)
        for (int32_t y = 0; y < rows; y++) {
            const size_t from = (size_t)d * in + (size_t)(y0 + y) * (size_t)around_cols + (size_t)x0;
            const size_t to = (size_t)d * out + (size_t)y * (size_t)s->size;
            memcpy(s->image + to, image + from, (size_t)cols * sizeof *image);
            memcpy(s->target + to, mask + from, (size_t)cols);
            for (int32_t x = 0; d == s->depth / 2 && x < cols; x++)
                area += s->target[to + (size_t)x];
        }
    return area;
}

static msa_status try_sample(const volumes *v, msa_rng *r, bool augment, msa_sample *s, int32_t *area,
                             msa_error *err)
{
    const choice c = choose(v, r);
    const plane_shape p = plane_of(c.from->volume, c.orientation);
    const msa_region g = choose_region(v, &c, &p, r);
    const layout l = lay_out(&p, g, s->size, augment);
    const size_t n = (size_t)s->depth * (size_t)l.around_rows * (size_t)l.around_cols;
    int32_t rows = l.around_rows, cols = l.around_cols;
    MSA_AUTO_FREE float *image = malloc(n * sizeof *image);
    MSA_AUTO_FREE uint8_t *mask = malloc(n);
    if (!image || !mask) return msa_fail(err, MSA_E_NOMEM, "out of memory for a training sample");
    MSA_TRY(cut_stack(&c, &p, g, &l, s->depth, image, mask, err));
    if (augment) {
        const msa_augment_options usual = {.shape = 1, .intensity = 1, .flips = true};
        const msa_augment a = msa_augment_draw(&usual, msa_rng_u64(r));
        MSA_TRY(msa_augment_apply(&a, s->depth, &rows, &cols, image, mask, MSA_LABELS_SOFT, err));
    }
    const bool turned = rows != l.around_rows || cols != l.around_cols;
    *area = deliver(image, mask, rows, cols, turned ? l.cols : l.rows, turned ? l.rows : l.cols, s);
    (void)snprintf(s->source, sizeof s->source, "%s", c.from->volume->name);
    (void)snprintf(s->label, sizeof s->label, "%s", c.target->label);
    return MSA_OK;
}

static msa_status volumes_next(const msa_source *source, uint64_t step, int32_t item, msa_sample *sample,
                               msa_error *err)
{
    const volumes *v = (const volumes *)source;
    enum { ATTEMPTS = 6 };
    for (uint64_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        msa_rng r = msa_rng_key(v->options.seed + attempt, step, (uint64_t)item);
        const bool augment = msa_rng_chance(&r, v->options.augment_chance) && attempt + 1 < ATTEMPTS;
        int32_t area = 0;
        MSA_TRY(try_sample(v, &r, augment, sample, &area, err));
        /* turned out of the picture, or (a thin one, shrunk) resized to nothing: another one then */
        if (area >= v->options.min_pixels || (attempt + 1 == ATTEMPTS && area > 0)) return MSA_OK;
    }
    return msa_fail(err, MSA_E_INVALID,
                    "targets of case %s vanish at %d x %d pixels: ask for more pixels of a target",
                    sample->source, sample->size, sample->size);
}

static void volumes_free(msa_source *source)
{
    volumes *v = (volumes *)source;
    for (int32_t k = 0; v->stocks && k < v->n; k++)
        stock_clear(&v->stocks[k]);
    free(v->stocks);
    free(v);
}

static bool options_good(const msa_volumes_options *o)
{
    return o->min_pixels >= 1 && o->crop_chance >= 0 && o->crop_chance <= 1 && o->margin_min > 0 &&
           o->margin_max >= o->margin_min && o->margin_max < 100 && o->augment_chance >= 0 &&
           o->augment_chance <= 1;
}

msa_status msa_source_volumes(msa_source **out, msa_case **cases, int32_t n_cases,
                              const msa_volumes_options *options, msa_error *err)
{
    *out = NULL;
    volumes *v = calloc(1, sizeof *v);
    stock *stocks = n_cases > 0 ? calloc((size_t)n_cases, sizeof *stocks) : NULL;
    if (!v || !stocks) {
        for (int32_t k = 0; k < n_cases; k++)
            msa_case_free(cases[k]);
        free(v);
        free(stocks);
        if (n_cases < 1) return msa_fail(err, MSA_E_INVALID, "no case to take samples from");
        return msa_fail(err, MSA_E_NOMEM, "out of memory for a source of samples");
    }
    *v = (volumes){
        .source = {volumes_next, volumes_free}, .options = *options, .n = n_cases, .stocks = stocks};
    for (int32_t k = 0; k < n_cases; k++)
        stocks[k].volume = cases[k];
    MSA_AUTO(msa_source) owned = &v->source;
    if (!options_good(options))
        return msa_fail(err, MSA_E_INVALID, "an option of the volumes is out of range");
    for (int32_t k = 0; k < n_cases; k++)
        MSA_TRY(take_stock(&stocks[k], options, err));
    *out = MSA_STEAL(owned);
    return MSA_OK;
}
