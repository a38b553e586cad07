/* What a scanner and a window make of a picture. */
#include <math.h>
#include <string.h>

#include "engine/train/augment_filter.h"
#include "engine/train/synth_scene.h"

static void ct_window(synth_scan *scan, msa_rng *r)
{
    float centre = msa_rng_range(r, 15, 90);
    float width = msa_rng_range(r, 260, 520); /* soft tissue */
    if (msa_rng_chance(r, 0.5F)) {            /* as inference has it */
        centre = 40;
        width = 400;
    }
    const float which = msa_rng_unit(r);
    if (which > 0.93F) { /* lung */
        centre = msa_rng_range(r, -650, -400);
        width = msa_rng_range(r, 1000, 1800);
    } else if (which > 0.83F) { /* bone */
        centre = msa_rng_range(r, 200, 600);
        width = msa_rng_range(r, 900, 2500);
    } else if (which > 0.73F) { /* wide: everything */
        centre = msa_rng_range(r, -100, 200);
        width = msa_rng_range(r, 800, 2600);
    } else if (which > 0.65F) { /* narrow */
        centre = msa_rng_range(r, 30, 60);
        width = msa_rng_range(r, 90, 220);
    }
    scan->lo = centre - width / 2;
    scan->hi = centre + width / 2;
}

static void resolution(synth_scan *scan, msa_rng *r)
{
    scan->coarse_x = scan->coarse_y = 1;
    if (msa_rng_chance(r, 0.7F)) { /* 0.8 to 6 mm, where a body is 350 mm wide */
        scan->voxel_x = scan->voxel_y = msa_rng_log(r, 0.0045F, 0.035F);
        if (msa_rng_chance(r, 0.25F)) scan->voxel_y *= msa_rng_log(r, 1, 4);
    }
    if (msa_rng_chance(r, 0.25F)) {
        scan->coarse_x = scan->coarse_y = msa_rng_log(r, 1, 5);
        if (msa_rng_chance(r, 0.35F)) scan->coarse_y = msa_rng_log(r, 1, 6);
    }
    scan->nearest = msa_rng_chance(r, 0.06F);
    scan->blur = msa_rng_chance(r, 0.6F) ? msa_rng_range(r, 0.2F, 1) : 0;
}

/* Voxels along one axis of the picture. */
static int32_t voxels(int32_t size, float coarse, float voxel, float half)
{
    const float pixels =
        fmaxf(1 + (coarse - 1) * fmaxf((float)size / 128, 1), voxel * (float)size / (2 * half));
    const int32_t n = (int32_t)((float)size / pixels);
    return n < 9 ? 9 : n < size ? n : size; /* fewer than nine would show nothing */
}

synth_scan synth_scan_make(const synth_law *law, msa_rng *r)
{
    synth_scan scan = {.gamma = 1};
    float range = 1;
    resolution(&scan, r);
    if (law->kind == SYNTH_LAW_CT) {
        ct_window(&scan, r);
        range = fminf(scan.hi - scan.lo, 700);
        scan.streaks = msa_rng_chance(r, 0.15F) ? msa_rng_int(r, 1, 14) : 0;
        scan.streak = range * msa_rng_log(r, 0.02F, 0.3F);
        scan.bias = 0;
    } else {
        scan.lo = msa_rng_range(r, 0, 2);
        scan.hi = msa_rng_range(r, 98, 99.9F);
        scan.percentile = true;
        scan.bias = msa_rng_chance(r, 0.7F) ? msa_rng_log(r, 0.03F, 0.6F) : 0;
        scan.rician = msa_rng_chance(r, 0.8F);
        scan.ghost = msa_rng_chance(r, 0.1F) ? msa_rng_range(r, 0.02F, 0.15F) : 0;
        scan.ghost_shift = msa_rng_range(r, 0.1F, 0.6F);
        scan.gamma = msa_rng_chance(r, 0.4F) ? msa_rng_log(r, 0.6F, 1.6F) : 1;
    }
    scan.bias_field = synth_field_make(r, msa_rng_log(r, 0.3F, 1.2F), 1, 1, 1);
    scan.noise = msa_rng_chance(r, 0.9F) ? range * msa_rng_log(r, 0.003F, 0.06F) : 0;
    scan.grain = msa_rng_chance(r, 0.5F) ? msa_rng_range(r, 0.4F, 1.2F) : 0;
    scan.inverted = msa_rng_chance(r, 0.05F);
    return scan;
}

/* ---- defects ---- */

static void add_noise(const synth_scan *k, float *v, int32_t rows, int32_t cols, float *field, float *line,
                      msa_rng *r)
{
    const int32_t n = rows * cols;
    /* a blurred field is weaker; roughly put right, the level is random anyway */
    const float level = k->noise * (1 + 1.6F * k->grain);
    if (k->noise <= 0) return;
    for (int32_t i = 0; i < n; i++)
        field[i] = level * msa_filter_normal(r);
    msa_filter_blur(field, rows, cols, k->grain, line);
    for (int32_t i = 0; i < n; i++) {
        v[i] += field[i];
        if (k->rician) v[i] = hypotf(v[i], k->noise * msa_filter_normal(r));
    }
}

/* Lines through a point, bright and dark, as metal and bone leave them. */
static void add_streaks(const synth_scan *k, float *v, int32_t size, msa_rng *r)
{
    const float cx = msa_rng_range(r, 0.1F, 0.9F) * (float)size,
                cy = msa_rng_range(r, 0.1F, 0.9F) * (float)size;
    for (int32_t s = 0; s < k->streaks; s++) {
        const float angle = msa_rng_range(r, 0, 3.14159F), ca = cosf(angle), sa = sinf(angle);
        const float width = msa_rng_log(r, 0.5F, 3), height = k->streak * msa_rng_range(r, -1, 1);
        for (int32_t y = 0; y < size; y++)
            for (int32_t x = 0; x < size; x++) {
                const float d = (((float)x - cx) * sa - ((float)y - cy) * ca) / width;
                if (d > -3 && d < 3) v[y * size + x] += height * expf(-d * d);
            }
    }
}

static void add_bias(const synth_scan *k, const synth_canvas *c, float *v)
{
    for (int32_t i = 0; i < c->size * c->size; i++)
        v[i] *= expf(k->bias * synth_field_at(&k->bias_field, c->x[i], c->y[i], c->z[i]));
}

static void add_ghost(const synth_scan *k, float *v, int32_t size, float *scratch)
{
    const int32_t by = (int32_t)(k->ghost_shift * (float)size);
    memcpy(scratch, v, (size_t)size * (size_t)size * sizeof *v);
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++)
            v[y * size + x] += k->ghost * scratch[((y + by) % size) * size + x];
}

/* lo, hi from percentiles of the positive pixels, by counting. */
static void percentile_window(const synth_scan *k, const float *v, int32_t n, float *lo, float *hi)
{
    enum { BINS = 512 };
    int32_t count[BINS] = {0}, positive = 0, below = 0;
    float top = 1e-6F;
    for (int32_t i = 0; i < n; i++)
        top = fmaxf(top, v[i]);
    for (int32_t i = 0; i < n; i++)
        if (v[i] > 0) {
            count[(int32_t)(v[i] / top * (BINS - 1))]++;
            positive++;
        }
    *lo = 0;
    *hi = top;
    for (int32_t b = 0; b < BINS; b++) {
        const float before = (float)below * 100 / (float)(positive + 1);
        below += count[b];
        const float after = (float)below * 100 / (float)(positive + 1);
        if (before <= k->lo && after > k->lo) *lo = top * (float)b / BINS;
        if (before <= k->hi && after > k->hi) *hi = top * (float)(b + 1) / BINS;
    }
}

static void apply_window(const synth_scan *k, float *v, int32_t n)
{
    float lo = k->lo, hi = k->hi;
    if (k->percentile) percentile_window(k, v, n, &lo, &hi);
    const float scale = 1 / fmaxf(hi - lo, 1e-6F);
    for (int32_t i = 0; i < n; i++) {
        float u = (v[i] - lo) * scale;
        u = u < 0 ? 0 : u > 1 ? 1 : u;
        if (k->gamma != 1) u = powf(u, k->gamma);
        v[i] = k->inverted ? 1 - u : u;
    }
}

void synth_scan_apply(const msa_synth *s, const synth_canvas *c, int32_t plane, float *picture,
                      float *scratch)
{
    const synth_scan *k = &s->scan;
    const int32_t size = c->size, n = size * size;
    const int32_t rows = voxels(size, k->coarse_y, k->voxel_y, c->view.half_y);
    const int32_t cols = voxels(size, k->coarse_x, k->voxel_x, c->view.half_x);
    const float wide = fminf((float)size / (float)(rows < cols ? cols : rows), 6); /* pixels of a voxel */
    float line[MSA_SYNTH_SIZE_MAX + 2 * MSA_FILTER_RADIUS];
    msa_rng r = msa_rng_key(s->seed, s->index, 0x4E01 + (uint64_t)plane);
    if (k->bias > 0) add_bias(k, c, picture);
    if (k->ghost > 0) add_ghost(k, picture, size, scratch);
    msa_filter_blur(picture, size, size, k->blur * fmaxf(0.6F * wide, 1), line);
    if (k->streaks > 0) { /* the same on every plane, as metal is */
        msa_rng lines = msa_rng_key(s->seed, s->index, 0x57);
        add_streaks(k, picture, size, &lines);
    }
    if (rows < size || cols < size) {
        msa_filter_shrink(picture, size, size, scratch, rows, cols);
        add_noise(k, scratch, rows, cols, scratch + n, line, &r);
        msa_filter_enlarge(scratch, rows, cols, picture, size, size, k->nearest);
    } else {
        add_noise(k, picture, size, size, scratch, line, &r);
    }
    apply_window(k, picture, n);
}
