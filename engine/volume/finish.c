#include "engine/volume/finish.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    float *row;          /* (cols) */
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
    f->narrow = calloc((size_t)low * (size_t)t->cols, sizeof *f->narrow);
    f->row = calloc((size_t)t->cols, sizeof *f->row);
    if (!f->across || !f->down || !f->narrow || !f->row)
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
    free(f->row);
    free(f);
}

static msa_status narrow_rows(msa_finish *f, const float *logits, msa_region region, msa_error *err)
{
    const size_t cols = (size_t)f->cols;
    for (int32_t y = 0; y < f->low; y++) {
        const float *from = logits + (size_t)y * (size_t)f->low;
        for (int32_t x = 0; x < f->low; x++)
            if (!isfinite(from[x]))
                return msa_fail(err, MSA_E_INTERNAL, "the mask decoder gave a logit that is not finite");
        for (int32_t x = region.x0 - f->t.x0; x < region.x1 - f->t.x0; x++) {
            const tap4 *tap = &f->across[x];
            float sum = 0;
            for (int32_t k = 0; k < TAPS; k++)
                sum += tap->weight[k] * from[tap->index[k]];
            f->narrow[(size_t)y * cols + (size_t)x] = sum;
        }
    }
    return MSA_OK;
}

static void finish_row(const msa_finish *f, int32_t y, msa_region region, float *out)
{
    const size_t cols = (size_t)f->cols;
    const tap4 *tap = &f->down[y - f->t.y0];
    for (int32_t x = region.x0; x < region.x1; x++) {
        float sum = 0;
        for (int32_t k = 0; k < TAPS; k++)
            sum += tap->weight[k] * f->narrow[(size_t)tap->index[k] * cols + (size_t)(x - f->t.x0)];
        out[x - region.x0] = sum;
    }
}

msa_status msa_finish_logits(msa_finish *f, const float *logits, msa_region region, float *out,
                             msa_error *err)
{
    MSA_TRY(narrow_rows(f, logits, region, err));
    for (int32_t y = region.y0; y < region.y1; y++, out += region.x1 - region.x0)
        finish_row(f, y, region, out);
    return MSA_OK;
}

msa_status msa_finish_mask(msa_finish *f, const float *logits, msa_region region, uint8_t *mask,
                           msa_error *err)
{
    MSA_TRY(narrow_rows(f, logits, region, err));
    for (int32_t y = region.y0; y < region.y1; y++) {
        uint8_t *to = mask + (size_t)y * (size_t)f->cols;
        finish_row(f, y, region, f->row);
        for (int32_t x = region.x0; x < region.x1; x++)
            to[x] = f->row[x - region.x0] > 0;
    }
    return MSA_OK;
}
