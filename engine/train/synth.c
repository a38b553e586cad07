#include "engine/train/synth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/arena.h"
#include "engine/train/synth_scene.h"

msa_status msa_synth_new(msa_synth **out, uint64_t seed, uint64_t index, msa_error *err)
{
    *out = NULL;
    msa_synth *s = calloc(1, sizeof *s);
    if (!s) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic scene");
    s->seed = seed;
    s->index = index;
    s->overview.right[0] = s->overview.down[1] = 1;
    synth_build(s);
    *out = s;
    return MSA_OK;
}

void msa_synth_free(msa_synth *s)
{
    free(s);
}

msa_synth_view msa_synth_overview(const msa_synth *s)
{
    return s->overview;
}

uint8_t msa_synth_parent(const msa_synth *s, uint8_t id)
{
    return s->parent[id];
}

const char *msa_synth_plan(const msa_synth *s)
{
    return s->plan;
}

static void layout(msa_arena *a, synth_canvas *c, float **scratch, size_t n, bool colour)
{
    c->x = msa_arena_floats(a, n);
    c->y = msa_arena_floats(a, n);
    c->z = msa_arena_floats(a, n);
    c->f = msa_arena_floats(a, n);
    for (int32_t k = 0; k < SYNTH_SLOTS; k++)
        c->slot[k] = msa_arena_floats(a, n);
    for (int32_t k = 0; colour && k < SYNTH_TEXTURES; k++)
        c->texture[k] = msa_arena_floats(a, n);
    *scratch = colour ? msa_arena_floats(a, 2 * n) : NULL;
}

static synth_vec normal_of(const msa_synth_view *v)
{
    return (synth_vec){v->right[1] * v->down[2] - v->right[2] * v->down[1],
                       v->right[2] * v->down[0] - v->right[0] * v->down[2],
                       v->right[0] * v->down[1] - v->right[1] * v->down[0]};
}

msa_status msa_synth_render(msa_synth *s, const msa_synth_view *view, int32_t depth, int32_t size,
                            float *image, uint8_t *labels, msa_error *err)
{
    if (size < 8 || size > MSA_SYNTH_SIZE_MAX || depth < 1 || !(view->half_x > 0) || !(view->half_y > 0))
        return msa_fail(err, MSA_E_INVALID, "a synthetic picture of %d x %d pixels, %d deep, cannot be made",
                        size, size, depth);
    const size_t n = (size_t)size * (size_t)size;
    synth_canvas c = {.size = size, .colour = image != NULL, .view = *view};
    float *scratch;
    msa_arena arena = {0};
    layout(&arena, &c, &scratch, n, c.colour);
    MSA_TRY(msa_arena_commit(&arena, err));
    layout(&arena, &c, &scratch, n, c.colour);
    c.pixel = (view->half_x + view->half_y) / (float)size;
    c.normal = normal_of(view);
    for (int32_t d = 0; d < depth; d++) {
        const float off = (float)(d - depth / 2) * view->step;
        c.origin = (synth_vec){view->origin[0] + off * c.normal.x, view->origin[1] + off * c.normal.y,
                               view->origin[2] + off * c.normal.z};
        c.labels = labels + (size_t)d * n;
        c.image = image ? image + (size_t)d * n : NULL;
        synth_paint(s, &c);
        if (image) synth_scan_apply(s, &c, d - depth / 2, c.image, scratch);
    }
    msa_arena_release(&arena);
    return MSA_OK;
}

/* ---- a picture and one object of it ---- */

static msa_synth_view around_target(const msa_synth_view *v, const msa_synth_target *t, int32_t size,
                                    msa_rng *r)
{
    msa_synth_view out = *v;
    const float scale = 2 / (float)size;
    const float w = (float)(t->x1 - t->x0) * scale * v->half_x,
                h = (float)(t->y1 - t->y0) * scale * v->half_y;
    const float side = fmaxf(w, h);
    /* Mostly as inference crops, else any other way: whole slices, several objects. */
    const bool usual = msa_rng_chance(r, 0.85F);
    const float margin = usual ? msa_rng_log(r, 0.25F, 0.36F) : msa_rng_log(r, 0.12F, 1.2F);
    const float shift = usual ? 0.06F : 0.35F;
    const float half = fmaxf(side * (0.5F + margin), 0.05F);
    const float spare_x = half - w / 2, spare_y = half - h / 2;
    const float a =
        ((float)(t->x0 + t->x1) / (float)size - 1) * v->half_x + msa_rng_range(r, -shift, shift) * spare_x;
    const float b =
        ((float)(t->y0 + t->y1) / (float)size - 1) * v->half_y + msa_rng_range(r, -shift, shift) * spare_y;
    for (int i = 0; i < 3; i++)
        out.origin[i] += a * v->right[i] + b * v->down[i];
    out.half_x = out.half_y = half;
    return out;
}

/* Cuts the picture off below or at the right, as padding does to slices that are not square. */
static void cut_off(int32_t size, msa_rng *r, int32_t *rows, int32_t *cols)
{
    *rows = *cols = size;
    if (!msa_rng_chance(r, 0.12F)) return;
    int32_t *side = msa_rng_chance(r, 0.5F) ? rows : cols;
    *side = (int32_t)((float)size * msa_rng_range(r, 0.55F, 1));
}

static void blank(float *image, uint8_t *labels, int32_t size, int32_t rows, int32_t cols)
{
    for (int32_t y = 0; y < size; y++)
        for (int32_t x = 0; x < size; x++)
            if (y >= rows || x >= cols) {
                image[y * size + x] = 0;
                labels[y * size + x] = 0;
            }
}

/* ---- what is to be found in it ---- */

static uint8_t *plane_of(const msa_synth_picture *p, int32_t target, int32_t d)
{
    return p->targets + ((size_t)target * (size_t)p->depth + (size_t)d) * (size_t)p->size * (size_t)p->size;
}

/* A piece on one plane may be several on the next: all count. */
static void mask_neighbours(const msa_synth *s, const msa_synth_picture *p, const uint8_t *labels,
                            const msa_synth_target *t, int32_t target)
{
    const size_t n = (size_t)p->size * (size_t)p->size;
    msa_synth_target all = *t;
    all.piece = false;
    for (int32_t d = 0; d < p->depth; d++)
        if (d != p->depth / 2)
            (void)msa_synth_mask(s, &all, labels + (size_t)d * n, p->size, 0, 0, plane_of(p, target, d));
}

/* A box as large as the picture says nothing about what is meant. */
static bool fills(const msa_synth_target *t, const msa_synth_picture *p)
{
    return (t->x1 - t->x0) * 20 >= p->cols * 19 && (t->y1 - t->y0) * 20 >= p->rows * 19;
}

static bool alike(const uint8_t *a, const uint8_t *b, int32_t n)
{
    int32_t both = 0, any = 0;
    for (int32_t i = 0; i < n; i++) {
        both += a[i] & b[i];
        any += a[i] | b[i];
    }
    return both * 10 >= any * 9;
}

/* Other objects of the picture, until it is full or three draws in a row bring nothing new. */
static msa_status find_more(const msa_synth *s, uint64_t salt, const uint8_t *labels, int32_t min_area,
                            msa_synth_picture *p, msa_error *err)
{
    const int32_t size = p->size, n = size * size, middle = p->depth / 2;
    const int32_t least = min_area > n / 400 ? min_area : n / 400;
    const uint8_t *shown = labels + (size_t)middle * (size_t)n;
    const float *image = p->image + (size_t)middle * (size_t)n;
    for (int32_t draw = 0, vain = 0; p->n_targets < p->targets_max && vain < 3; draw++) {
        uint8_t *mask = plane_of(p, p->n_targets, middle);
        msa_synth_target t;
        MSA_TRY(synth_pick_mask(s, salt + 2 + (uint64_t)draw, shown, image, size, least, &t, mask, err));
        if (t.id == 0) return MSA_OK; /* nothing else fits */
        vain++;
        if (fills(&t, p)) continue;
        bool fresh = true; /* and it is seen, or it would not have been picked */
        for (int32_t k = 0; fresh && k < p->n_targets; k++)
            fresh = !alike(plane_of(p, k, middle), mask, n);
        if (!fresh) continue;
        mask_neighbours(s, p, labels, &t, p->n_targets++);
        vain = 0;
    }
    return MSA_OK;
}

/* The object that the view was chosen around, or else any other. found: there is one. */
static msa_status find_first(const msa_synth *s, uint64_t salt, const uint8_t *labels, int32_t min_area,
                             msa_synth_target *t, bool beside, msa_synth_picture *p, msa_error *err)
{
    const size_t middle = (size_t)(p->depth / 2) * (size_t)p->size * (size_t)p->size;
    uint8_t *mask = plane_of(p, 0, p->depth / 2);
    int32_t area = 0;
    if (t->id != 0) area = msa_synth_mask(s, t, labels + middle, p->size, p->size / 2, p->size / 2, mask);
    if (beside || area < min_area || !synth_visible(mask, p->image + middle, p->size)) {
        MSA_TRY(msa_synth_pick(s, salt + 1, labels + middle, p->image + middle, p->size, min_area, t, err));
        area = t->id == 0 ? 0 : msa_synth_mask(s, t, labels + middle, p->size, t->x, t->y, mask);
    }
    if (area < 0) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic target");
    p->n_targets = area >= min_area ? 1 : 0;
    if (p->n_targets > 0) mask_neighbours(s, p, labels, t, 0);
    return MSA_OK;
}

/* n_targets stays 0 when the view shows nothing. labels (depth, size, size): working memory. */
static msa_status make_sample(msa_synth *s, uint64_t salt, uint8_t *labels, msa_synth_picture *p,
                              msa_error *err)
{
    enum { PREVIEW = 80 };
    const size_t n = (size_t)p->size * (size_t)p->size;
    const int32_t min_area = 10 + p->size * p->size / 4096;
    msa_rng r = msa_rng_key(s->seed, s->index, salt ^ 0x7A9E7);
    msa_synth_view view = s->overview;
    msa_synth_target t = {0};
    p->n_targets = 0;
    if (msa_rng_chance(&r, 0.95F)) { /* found on a quick view, then looked at closely */
        MSA_AUTO_FREE uint8_t *small = malloc((size_t)PREVIEW * PREVIEW);
        if (!small) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic picture");
        MSA_TRY(msa_synth_render(s, &view, 1, PREVIEW, NULL, small, err));
        MSA_TRY(msa_synth_pick(s, salt, small, NULL, PREVIEW, 6, &t, err));
        if (t.id != 0) view = around_target(&view, &t, PREVIEW, &r);
    }
    MSA_TRY(msa_synth_render(s, &view, p->depth, p->size, p->image, labels, err));
    cut_off(p->size, &r, &p->rows, &p->cols);
    for (int32_t d = 0; d < p->depth; d++)
        blank(p->image + (size_t)d * n, labels + (size_t)d * n, p->size, p->rows, p->cols);
    /* where only one fits: now and then not what the view is about, but something else in it */
    const bool beside = p->targets_max == 1 && msa_rng_chance(&r, 0.05F);
    MSA_TRY(find_first(s, salt, labels, min_area, &t, beside, p, err));
    return p->n_targets > 0 ? find_more(s, salt, labels, min_area, p, err) : MSA_OK;
}

msa_status msa_synth_sample(uint64_t seed, uint64_t index, msa_synth_picture *p, msa_error *err)
{
    if (p->depth < 1 || p->targets_max < 1)
        return msa_fail(err, MSA_E_INVALID, "a synthetic picture, %d deep, with %d targets cannot be made",
                        p->depth, p->targets_max);
    const size_t n = (size_t)p->depth * (size_t)p->size * (size_t)p->size;
    MSA_AUTO_FREE uint8_t *labels = malloc(n);
    if (!labels) return msa_fail(err, MSA_E_NOMEM, "out of memory for a synthetic picture");
    for (uint64_t attempt = 0; attempt < 32; attempt++) { /* a view may show nothing: the next scene then */
        MSA_AUTO(msa_synth) s = NULL;
        MSA_TRY(msa_synth_new(&s, seed, index ^ (attempt << 48), err));
        MSA_TRY(make_sample(s, attempt * 256, labels, p, err));
        if (p->n_targets > 0) return MSA_OK;
    }
    return msa_fail(err, MSA_E_INTERNAL, "no synthetic scene near number %llu shows an object",
                    (unsigned long long)index);
}
