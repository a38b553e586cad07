#include "engine/volume/finish.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/kern/vec.h"

enum { TAPS = 4 };

typedef struct tap4 {
    int32_t index[TAPS];
    float weight[TAPS];
} tap4;

struct msa_finish {
    msa_transform t; /* the part aimed at */
    int32_t low;
    int32_t cols;        /* of the slice: room for any part */
    tap4 *across, *down; /* (cols), (rows): from the part's first column and row on */
    float *narrow;       /* (low, cols): after the horizontal pass */
};

/* Sample o of an axis resized from `in` to `out`: between `first` and `second`, `weight` of the second. */
static void bilinear_tap(int32_t o, int32_t in, int32_t out, int32_t *first, int32_t *second, float *weight)
{
    const float source = ((float)o + 0.5F) * ((float)in / (float)out) - 0.5F;
    const float s = source > 0 ? source : 0;
    const int32_t i = (int32_t)s < in - 1 ? (int32_t)s : in - 1;
    *first = i;
    *second = i + 1 < in ? i + 1 : i;
    *weight = s - (float)i;
}

static void taps_fold(tap4 *taps, int32_t out, int32_t inner, int32_t size, int32_t low)
{
    for (int32_t o = 0; o < out; o++) {
        int32_t at[2];
        float w = 0;
        bilinear_tap(o, inner, out, &at[0], &at[1], &w);
        for (int32_t k = 0; k < 2; k++) {
            const float part = k ? w : 1 - w;
            float v = 0;
            bilinear_tap(at[k], low, size, &taps[o].index[2 * k], &taps[o].index[2 * k + 1], &v);
            taps[o].weight[2 * k] = part * (1 - v);
            taps[o].weight[2 * k + 1] = part * v;
        }
    }
}

msa_status msa_finish_new(msa_finish **out, const msa_transform *t, int32_t low, msa_error *err)
{
    MSA_AUTO(msa_finish) f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f) return msa_fail(err, MSA_E_NOMEM, "out of memory for post-processing");
    f->low = low;
    f->cols = t->cols;
    f->across = calloc((size_t)t->cols, sizeof *f->across);
    f->down = calloc((size_t)t->rows, sizeof *f->down);
    f->narrow = malloc((size_t)low * (size_t)t->cols * sizeof *f->narrow);
    if (!f->across || !f->down || !f->narrow)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for post-processing");
    msa_finish_aim(f, t);
    *out = MSA_STEAL(f);
    return MSA_OK;
}

void msa_finish_aim(msa_finish *f, const msa_transform *t)
{
    if (memcmp(&f->t, t, sizeof *t) == 0) return;
    taps_fold(f->across, t->cols, t->in_cols, t->size, f->low);
    taps_fold(f->down, t->rows, t->in_rows, t->size, f->low);
    f->t = *t;
}

void msa_finish_free(msa_finish *f)
{
    if (!f) return;
    free(f->across);
    free(f->down);
    free(f->narrow);
    free(f);
}

/* ---- in bands over the threads ---- */

enum { BAND = 16, CHUNK = 256 }; /* rows of an item; pixels of a row that are looked at together */

typedef struct band_job {
    msa_finish *f;
    const float *logits;
    msa_region region; /* in the part's own pixels */
    int32_t from, to;  /* rows of the logits that the region needs */
    float *out;        /* (region rows, region cols); NULL: to the mask */
    uint8_t *mask;     /* of the region's first pixel, rows f->cols apart */
} band_job;

static void narrow_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const band_job *j = ctx;
    msa_finish *f = j->f;
    const int32_t first = j->from + item * BAND, last = first + BAND < j->to ? first + BAND : j->to;
    for (int32_t y = first; y < last; y++) {
        const float *from = j->logits + (size_t)y * (size_t)f->low;
        float *to = f->narrow + (size_t)y * (size_t)f->cols;
        for (int32_t x = j->region.x0; x < j->region.x1; x++) {
            const tap4 *tap = &f->across[x];
            float sum = 0;
            for (int32_t k = 0; k < TAPS; k++)
                sum += tap->weight[k] * from[tap->index[k]];
            to[x] = sum;
        }
    }
}

/* n pixels of a row, from x on. */
static void finish_pixels(const msa_finish *f, int32_t y, int32_t x, int32_t n, float *out)
{
    const tap4 *tap = &f->down[y];
    const float *rows[TAPS];
    for (int32_t k = 0; k < TAPS; k++)
        rows[k] = f->narrow + (size_t)tap->index[k] * (size_t)f->cols + (size_t)x;
    msa_mix4(n, rows, tap->weight, out);
}

static void mask_row(const msa_finish *f, int32_t y, int32_t x0, int32_t x1, uint8_t *to)
{
    float row[CHUNK];
    for (int32_t x = x0; x < x1; x += CHUNK, to += CHUNK) {
        const int32_t n = x1 - x < CHUNK ? x1 - x : CHUNK;
        finish_pixels(f, y, x, n, row);
        for (int32_t i = 0; i < n; i++)
            to[i] = row[i] > 0;
    }
}

static void finish_item(void *ctx, int32_t item, int32_t worker)
{
    (void)worker;
    const band_job *j = ctx;
    const msa_region r = j->region;
    const int32_t first = r.y0 + item * BAND, last = first + BAND < r.y1 ? first + BAND : r.y1;
    for (int32_t y = first; y < last; y++) {
        const size_t row = (size_t)(y - r.y0);
        if (j->out)
            finish_pixels(j->f, y, r.x0, r.x1 - r.x0, j->out + row * (size_t)(r.x1 - r.x0));
        else
            mask_row(j->f, y, r.x0, r.x1, j->mask + row * (size_t)j->f->cols);
    }
}

static void run_bands(msa_pool_fn *fn, band_job *j, int32_t rows)
{
    msa_pool_run(fn, j, (rows + BAND - 1) / BAND, MSA_THREADS_MAX);
}

static msa_status finish(band_job *j, msa_region region, msa_error *err)
{
    msa_finish *f = j->f;
    if (!msa_all_finite((int64_t)f->low * f->low, j->logits))
        return msa_fail(err, MSA_E_INTERNAL, "the mask decoder gave a logit that is not finite");
    if (msa_region_empty(region)) return MSA_OK;
    j->region =
        (msa_region){region.x0 - f->t.x0, region.y0 - f->t.y0, region.x1 - f->t.x0, region.y1 - f->t.y0};
    j->from =
        f->down[j->region.y0].index[0]; /* indices never fall, neither along the taps nor along the rows */
    j->to = f->down[j->region.y1 - 1].index[TAPS - 1] + 1;
    run_bands(narrow_item, j, j->to - j->from);
    run_bands(finish_item, j, j->region.y1 - j->region.y0);
    return MSA_OK;
}

msa_status msa_finish_logits(msa_finish *f, const float *logits, msa_region region, float *out,
                             msa_error *err)
{
    band_job j = {.f = f, .logits = logits, .out = out};
    return finish(&j, region, err);
}

msa_status msa_finish_mask(msa_finish *f, const float *logits, msa_region region, uint8_t *mask,
                           msa_error *err)
{
    band_job j = {
        .f = f, .logits = logits, .mask = mask + (size_t)region.y0 * (size_t)f->cols + (size_t)region.x0};
    return finish(&j, region, err);
}
