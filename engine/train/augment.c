#include "engine/train/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/train/augment_filter.h"
#include "engine/train/synth_noise.h"

msa_augment msa_augment_draw(const msa_augment_options *options, uint64_t seed)
{
    msa_rng r = msa_rng_key(seed, 0xA6, 0);
    const float s = options->shape, v = options->intensity;
    msa_augment a = {.seed = msa_rng_u64(&r)};
    if (options->flips) {
        a.flip_x = msa_rng_chance(&r, 0.5F);
        a.flip_y = msa_rng_chance(&r, 0.5F);
        a.flip_z = msa_rng_chance(&r, 0.5F);
        a.quarter_turns = msa_rng_chance(&r, 0.4F) ? msa_rng_int(&r, 0, 3) : 0;
    }
    if (msa_rng_chance(&r, 0.5F * s)) a.angle = msa_rng_range(&r, -0.4F, 0.4F) * s;
    if (msa_rng_chance(&r, 0.3F * s)) {
        a.tilt_x = msa_rng_range(&r, -0.15F, 0.15F) * s;
        a.tilt_y = msa_rng_range(&r, -0.15F, 0.15F) * s;
    }
    if (msa_rng_chance(&r, 0.5F * s)) {
        const float both = msa_rng_range(&r, -0.2F, 0.2F) * s;
        a.log_scale_x = both + msa_rng_range(&r, -0.12F, 0.12F) * s;
        a.log_scale_y = both + msa_rng_range(&r, -0.12F, 0.12F) * s;
    }
    if (msa_rng_chance(&r, 0.35F * s)) {
        a.elastic = msa_rng_log(&r, 0.004F, 0.035F) * s;
        a.elastic_cells = msa_rng_log(&r, 1.5F, 7);
    }
    if (msa_rng_chance(&r, 0.25F * v)) a.coarse = msa_rng_log(&r, 0.2F, 2);
    if (msa_rng_chance(&r, 0.25F * v)) a.blur = msa_rng_range(&r, 0.3F, 1.2F);
    if (msa_rng_chance(&r, 0.4F * v)) a.noise = msa_rng_log(&r, 0.004F, 0.08F) * v;
    if (msa_rng_chance(&r, 0.5F * v)) a.log_contrast = msa_rng_range(&r, -0.5F, 0.4F) * v;
    if (msa_rng_chance(&r, 0.4F * v)) a.brightness = msa_rng_range(&r, -0.15F, 0.15F) * v;
    if (msa_rng_chance(&r, 0.4F * v)) a.log_gamma = msa_rng_range(&r, -0.5F, 0.5F) * v;
    a.inverted = msa_rng_chance(&r, 0.04F * v);
    return a;
}

/* ---- exact moves: flips and quarter turns ---- */

typedef struct shape3 {
    int32_t depth, rows, cols;
} shape3;

/* Where the pixel that comes to (d, y, x) of the new stack lies in the old one. */
static size_t move_from(const msa_augment *a, const shape3 *old, int32_t d, int32_t y, int32_t x)
{
    int32_t oy = y, ox = x;
    switch (a->quarter_turns & 3) {
    case 1: /* anticlockwise: the first row was the last column */
        oy = x;
        ox = old->cols - 1 - y;
        break;
    case 2:
        oy = old->rows - 1 - y;
        ox = old->cols - 1 - x;
        break;
    case 3:
        oy = old->rows - 1 - x;
        ox = y;
        break;
    default:
        break;
    }
    if (a->flip_x) ox = old->cols - 1 - ox;
    if (a->flip_y) oy = old->rows - 1 - oy;
    if (a->flip_z) d = old->depth - 1 - d;
    return ((size_t)d * (size_t)old->rows + (size_t)oy) * (size_t)old->cols + (size_t)ox;
}

static void move(const msa_augment *a, const shape3 *old, const shape3 *new, float *image, uint8_t *labels,
                 int32_t n_labels, float *image_was, uint8_t *labels_was)
{
    const size_t n = (size_t)old->depth * (size_t)old->rows * (size_t)old->cols;
    size_t to = 0;
    memcpy(image_was, image, n * sizeof *image);
    if (n_labels > 0) memcpy(labels_was, labels, (size_t)n_labels * n);
    for (int32_t d = 0; d < new->depth; d++)
        for (int32_t y = 0; y < new->rows; y++)
            for (int32_t x = 0; x < new->cols; x++, to++) {
                const size_t from = move_from(a, old, d, y, x);
                image[to] = image_was[from];
                for (size_t k = 0; k < (size_t)n_labels; k++)
                    labels[k * n + to] = labels_was[k * n + from];
            }
}

/* ---- one resampling for everything smooth ---- */

typedef struct warp {
    float m[9]; /* new minus centre to old minus centre, (x, y, z) */
    float shift[2];
    bool elastic;
    float amplitude, wave;
    synth_field field[3];
} warp;

/* Turns are about the middle; the inverse is built directly: out of the tilt, then the angle, then the scale.
 */
static warp warp_of(const msa_augment *a, const shape3 *s)
{
    const float ca = cosf(a->angle), sa = sinf(a->angle);
    const float ix = expf(-a->log_scale_x), iy = expf(-a->log_scale_y);
    const float side = (float)(s->rows > s->cols ? s->rows : s->cols);
    const bool stack = s->depth > 1;
    const float tx = stack ? tanf(a->tilt_x) : 0, ty = stack ? tanf(a->tilt_y) : 0;
    warp w = {.shift = {-a->shift_x * (float)s->cols, -a->shift_y * (float)s->rows}};
    const float m[9] = {ca * ix, sa * iy, 0, -sa * ix, ca * iy, 0, tx, ty, 1};
    memcpy(w.m, m, sizeof m);
    w.elastic = a->elastic != 0;
    w.amplitude = a->elastic * side;
    w.wave = a->elastic_cells / side;
    if (w.elastic) {
        msa_rng r = msa_rng_key(a->seed, 0xE1A, 0);
        synth_noise_init();
        for (int i = 0; i < 3; i++)
            w.field[i] = synth_field_make(&r, 1, 1, 1, 1);
    }
    return w;
}

static bool has_warp(const msa_augment *a, int32_t depth)
{
    return a->angle != 0 || a->log_scale_x != 0 || a->log_scale_y != 0 || a->shift_x != 0 ||
           a->shift_y != 0 || a->elastic != 0 || (depth > 1 && (a->tilt_x != 0 || a->tilt_y != 0));
}

static void warp_point(const warp *w, const shape3 *s, int32_t d, int32_t y, int32_t x, float p[3])
{
    const float cx = (float)(s->cols - 1) / 2, cy = (float)(s->rows - 1) / 2, cz = (float)(s->depth - 1) / 2;
    const float a = (float)x - cx + w->shift[0], b = (float)y - cy + w->shift[1], c = (float)d - cz;
    const float *m = w->m;
    p[0] = m[0] * a + m[1] * b + m[2] * c + cx;
    p[1] = m[3] * a + m[4] * b + m[5] * c + cy;
    p[2] = m[6] * a + m[7] * b + m[8] * c + cz;
    if (!w->elastic) return;
    const float u = p[0] * w->wave, v = p[1] * w->wave, k = p[2] * w->wave;
    p[0] += w->amplitude * synth_field_at(&w->field[0], u, v, k);
    p[1] += w->amplitude * synth_field_at(&w->field[1], u, v, k);
    if (s->depth > 1) p[2] += 0.2F * w->amplitude * synth_field_at(&w->field[2], u, v, k);
}

static float value_or_zero(const shape3 *s, const float *image, const uint8_t *labels, int32_t d, int32_t y,
                           int32_t x)
{
    if (x < 0 || y < 0 || d < 0 || x >= s->cols || y >= s->rows || d >= s->depth) return 0;
    const size_t i = ((size_t)d * (size_t)s->rows + (size_t)y) * (size_t)s->cols + (size_t)x;
    return image ? image[i] : (float)labels[i];
}

/* Trilinear; a single plane has no neighbours above and below it, and outside a stack is its last plane. */
static float linear_at(const shape3 *s, const float *image, const uint8_t *labels, const float p[3])
{
    const float z = s->depth == 1                  ? 0
                    : p[2] < 0                     ? 0
                    : p[2] > (float)(s->depth - 1) ? (float)(s->depth - 1)
                                                   : p[2];
    const int32_t x = (int32_t)floorf(p[0]), y = (int32_t)floorf(p[1]), d = (int32_t)floorf(z);
    const float u = p[0] - (float)x, v = p[1] - (float)y, w = z - (float)d;
    float plane[2] = {0, 0};
    for (int32_t k = 0; k < (w > 0 ? 2 : 1); k++) {
        const float a = value_or_zero(s, image, labels, d + k, y, x);
        const float b = value_or_zero(s, image, labels, d + k, y, x + 1);
        const float c = value_or_zero(s, image, labels, d + k, y + 1, x);
        const float e = value_or_zero(s, image, labels, d + k, y + 1, x + 1);
        plane[k] = (a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + e * u) * v;
    }
    return w > 0 ? plane[0] * (1 - w) + plane[1] * w : plane[0];
}

static uint8_t nearest_at(const shape3 *s, const uint8_t *labels, const float p[3])
{
    const int32_t x = (int32_t)floorf(p[0] + 0.5F), y = (int32_t)floorf(p[1] + 0.5F);
    int32_t d = s->depth == 1 ? 0 : (int32_t)floorf(p[2] + 0.5F);
    d = d < 0 ? 0 : d >= s->depth ? s->depth - 1 : d;
    return (uint8_t)value_or_zero(s, NULL, labels, d, y, x);
}

static void resample(const warp *w, const shape3 *s, float *image, uint8_t *labels, int32_t n_labels,
                     msa_label_sampling sampling, float *image_was, uint8_t *labels_was)
{
    const size_t n = (size_t)s->depth * (size_t)s->rows * (size_t)s->cols;
    size_t to = 0;
    memcpy(image_was, image, n * sizeof *image);
    if (n_labels > 0) memcpy(labels_was, labels, (size_t)n_labels * n);
    for (int32_t d = 0; d < s->depth; d++)
        for (int32_t y = 0; y < s->rows; y++)
            for (int32_t x = 0; x < s->cols; x++, to++) {
                float p[3];
                warp_point(w, s, d, y, x, p);
                image[to] = linear_at(s, image_was, NULL, p);
                for (size_t k = 0; k < (size_t)n_labels; k++)
                    labels[k * n + to] = sampling == MSA_LABELS_NEAREST
                                             ? nearest_at(s, labels_was + k * n, p)
                                             : linear_at(s, NULL, labels_was + k * n, p) >= 0.5F;
            }
}

/* ---- intensities ---- */

static void soften(const msa_augment *a, const shape3 *s, float *plane, float *scratch, float *line)
{
    if (a->coarse > 0) {
        const int32_t rows = (int32_t)fmaxf(1, (float)s->rows / (1 + a->coarse));
        const int32_t cols = (int32_t)fmaxf(1, (float)s->cols / (1 + a->coarse));
        msa_filter_shrink(plane, s->rows, s->cols, scratch, rows, cols);
        msa_filter_enlarge(scratch, rows, cols, plane, s->rows, s->cols, false);
    }
    msa_filter_blur(plane, s->rows, s->cols, a->blur, line);
}

static float clamp01(float v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static void recolour(const msa_augment *a, float *v, size_t n)
{
    const float contrast = expf(a->log_contrast), gamma = expf(a->log_gamma);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i];
    const float mean = (float)(sum / (double)n);
    msa_rng r = msa_rng_key(a->seed, 0x2015E, 0);
    for (size_t i = 0; i < n; i++) {
        float u = v[i];
        if (a->noise > 0) u += a->noise * msa_filter_normal(&r);
        if (a->log_contrast != 0 || a->brightness != 0) u = (u - mean) * contrast + mean + a->brightness;
        u = clamp01(u);
        if (a->log_gamma != 0) u = powf(u, gamma);
        v[i] = a->inverted ? 1 - u : u;
    }
}

msa_status msa_augment_apply(const msa_augment *a, int32_t depth, int32_t *rows, int32_t *cols, float *image,
                             uint8_t *labels, int32_t n_labels, msa_label_sampling sampling, msa_error *err)
{
    const shape3 old = {depth, *rows, *cols};
    const bool swapped = (a->quarter_turns & 1) != 0;
    const shape3 new = {depth, swapped ? old.cols : old.rows, swapped ? old.rows : old.cols};
    const size_t plane = (size_t)old.rows * (size_t)old.cols, n = (size_t)depth * plane;
    const size_t side = (size_t)(old.rows > old.cols ? old.rows : old.cols);
    MSA_AUTO_FREE float *image_was = malloc((n + side + 2 * MSA_FILTER_RADIUS) * sizeof *image_was);
    MSA_AUTO_FREE uint8_t *labels_was = malloc((size_t)(n_labels > 0 ? n_labels : 1) * n);
    if (!image_was || !labels_was) return msa_fail(err, MSA_E_NOMEM, "out of memory for augmentation");
    if (a->flip_x || a->flip_y || a->flip_z || (a->quarter_turns & 3) != 0)
        move(a, &old, &new, image, labels, n_labels, image_was, labels_was);
    *rows = new.rows;
    *cols = new.cols;
    if (has_warp(a, depth)) {
        const warp w = warp_of(a, &new);
        resample(&w, &new, image, labels, n_labels, sampling, image_was, labels_was);
    }
    for (int32_t d = 0; d < depth; d++)
        soften(a, &new, image + (size_t)d * plane, image_was, image_was + n);
    recolour(a, image, n);
    return MSA_OK;
}
