/* A case and where in it labels can be targets. */
#include "engine/train/data_volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- planes of a volume ---- */

msa_plane_shape msa_stock_plane(const msa_case *c, int orientation)
{
    switch (orientation) {
    case 1:
        return (msa_plane_shape){c->rows, c->depth, c->cols, c->spacing_mm[0], c->spacing_mm[2]};
    case 2:
        return (msa_plane_shape){c->cols, c->depth, c->rows, c->spacing_mm[0], c->spacing_mm[1]};
    default:
        return (msa_plane_shape){c->depth, c->rows, c->cols, c->spacing_mm[1], c->spacing_mm[2]};
    }
}

size_t msa_stock_voxel(const msa_case *c, int orientation, int32_t slice, int32_t y, int32_t x)
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

void msa_stock_clear(msa_stock *s)
{
    for (int o = 0; o < MSA_ORIENTATIONS; o++) {
        for (int32_t k = 0; s->tracks[o] && k < s->n_tracks[o]; k++)
            free(s->tracks[o][k].slices);
        free(s->tracks[o]);
    }
    msa_case_free(s->volume);
    *s = (msa_stock){0};
}

static const msa_label_name *name_of(const msa_case *c, int32_t layer, uint16_t value)
{
    for (int32_t k = 0; k < c->n_names; k++)
        if (c->names[k].value == value && c->names[k].layer == layer) return &c->names[k];
    return NULL;
}

/* Values of a layer that may be targets. */
typedef struct values {
    int32_t layer, n;
    int32_t *index; /* index[value]: 1, 2, ... n; 0: not a target */
} values;

static void index_values(const msa_case *c, values *v)
{
    const size_t n = (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
    const uint16_t *labels = msa_stock_labels(c, v->layer);
    memset(v->index, 0, ((size_t)UINT16_MAX + 1) * sizeof *v->index);
    v->n = 0;
    for (size_t i = 0; i < n; i++)
        v->index[labels[i]] = 1;
    v->index[0] = 0;
    for (int32_t k = 1; k <= UINT16_MAX; k++) {
        if (v->index[k] == 0) continue;
        const msa_label_name *name = name_of(c, v->layer, (uint16_t)k);
        const bool wanted = c->n_names == 0 || (name && !name->held_out);
        v->index[k] = wanted ? ++v->n : 0;
    }
}

/* area (slices, v->n). The track's memory is taken to fit. */
static msa_status add_track(msa_stock *s, int o, const values *v, uint16_t value, const int32_t *area,
                            int32_t min_pixels, msa_error *err)
{
    const int32_t slices = msa_stock_plane(s->volume, o).slices;
    const msa_label_name *name = name_of(s->volume, v->layer, value);
    msa_track t = {.value = value, .layer = (uint16_t)v->layer};
    t.slices = malloc((size_t)slices * sizeof *t.slices);
    if (!t.slices) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of slices");
    for (int32_t k = 0; k < slices; k++)
        if (area[(size_t)k * (size_t)v->n + (size_t)(v->index[value] - 1)] >= min_pixels) t.slices[t.n++] = k;
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

static msa_status list_tracks(msa_stock *s, int o, const values *v, int32_t min_pixels, msa_error *err)
{
    const msa_plane_shape p = msa_stock_plane(s->volume, o);
    const uint16_t *labels = msa_stock_labels(s->volume, v->layer);
    MSA_AUTO_FREE int32_t *area = calloc((size_t)p.slices * (size_t)v->n, sizeof *area);
    msa_track *grown = realloc(s->tracks[o], (size_t)(s->n_tracks[o] + v->n) * sizeof *s->tracks[o]);
    if (grown) s->tracks[o] = grown;
    if (!area || !grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of slices");
    for (int32_t k = 0; k < p.slices; k++)
        for (int32_t y = 0; y < p.rows; y++)
            for (int32_t x = 0; x < p.cols; x++) {
                const int32_t i = v->index[labels[msa_stock_voxel(s->volume, o, k, y, x)]];
                if (i > 0) area[(size_t)k * (size_t)v->n + (size_t)(i - 1)]++;
            }
    for (int32_t k = 1; k <= UINT16_MAX; k++)
        if (v->index[k] > 0) MSA_TRY(add_track(s, o, v, (uint16_t)k, area, min_pixels, err));
    return MSA_OK;
}

static msa_status measure_windows(msa_stock *s, msa_error *err)
{
    static const double low[MSA_WINDOW_CHOICES] = {0, 0.25, 0.5, 1, 2},
                        high[MSA_WINDOW_CHOICES] = {98, 99, 99.5, 99.8, 100};
    const msa_case *c = s->volume;
    const size_t n = (size_t)c->depth * (size_t)c->rows * (size_t)c->cols;
    if (c->ct) return MSA_OK;
    for (int k = 0; k < MSA_WINDOW_CHOICES; k++) {
        msa_window w;
        MSA_TRY(msa_window_percentile(&w, c->voxels, n, low[k], high[k], err));
        s->low[k] = w.lo;
        s->high[k] = w.hi;
    }
    return MSA_OK;
}

msa_status msa_stock_fill(msa_stock *s, msa_case *volume, const msa_volumes_options *options, msa_error *err)
{
    *s = (msa_stock){.volume = volume};
    MSA_AUTO_FREE int32_t *index = malloc(((size_t)UINT16_MAX + 1) * sizeof *index);
    if (!index) return msa_fail(err, MSA_E_NOMEM, "out of memory for a list of labels");
    values v = {.index = index};
    for (; v.layer < volume->n_layers; v.layer++) {
        index_values(volume, &v);
        for (int o = 0; v.n > 0 && o < (options->all_orientations ? MSA_ORIENTATIONS : 1); o++)
            MSA_TRY(list_tracks(s, o, &v, options->min_pixels, err));
    }
    return measure_windows(s, err);
}

bool msa_stock_is_empty(const msa_stock *s)
{
    return s->n_tracks[0] + s->n_tracks[1] + s->n_tracks[2] == 0;
}
