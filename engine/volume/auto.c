#include "engine/automatic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/volume/auto_link.h"
#include "engine/volume/auto_slice.h"
#include "engine/volume/embeddings.h"

msa_auto_options msa_auto_defaults(void)
{
    return (msa_auto_options){.points_per_side = 32,
                              .iou_min = 0.88F,
                              .stability_min = 0.95F,
                              .stability_offset = 1,
                              .box_nms = 0.7F,
                              .area_min_mm2 = 50,
                              .link_iou = 0.5F,
                              .slices_min = 2,
                              .regions_max = 64};
}

static msa_status check_part(const char *name, float value, msa_error *err)
{
    if (value >= 0 && value <= 1) return MSA_OK;
    return msa_fail(err, MSA_E_INVALID, "%s is %g, not in 0..1", name, (double)value);
}

static msa_status check_count(const char *name, int32_t value, int32_t most, msa_error *err)
{
    if (value >= 1 && value <= most) return MSA_OK;
    return msa_fail(err, MSA_E_INVALID, "%s is %d, not in 1..%d", name, value, most);
}

msa_status msa_auto_check(const msa_auto_options *o, msa_error *err)
{
    MSA_TRY(check_count("the number of points per side", o->points_per_side, MSA_AUTO_POINTS_MAX, err));
    MSA_TRY(check_count("the number of regions", o->regions_max, MSA_AUTO_REGIONS_MAX, err));
    MSA_TRY(check_count("the least number of slices", o->slices_min, INT32_MAX, err));
    MSA_TRY(check_part("the least stability", o->stability_min, err));
    MSA_TRY(check_part("the overlap of boxes", o->box_nms, err));
    MSA_TRY(check_part("the overlap of slices", o->link_iou, err));
    if (!isfinite(o->iou_min)) return msa_fail(err, MSA_E_INVALID, "the least predicted IoU is not finite");
    if (!(o->stability_offset >= 0 && isfinite(o->stability_offset)))
        return msa_fail(err, MSA_E_INVALID, "the offset of the stability is not 0 or more");
    if (!(o->area_min_mm2 >= 0 && o->area_min_mm2 <= 1e6F))
        return msa_fail(err, MSA_E_INVALID, "the least area is not in 0..1000000 mm2");
    return MSA_OK;
}

/* ---- regions: chains of masks ---- */

typedef struct region {
    msa_auto_mask *masks; /* (n): of slices first, first + 1, ... */
    int32_t n, room, first;
    int64_t voxels, number; /* number: in order of appearance, so that no two are equal */
} region;

struct msa_auto_regions {
    region *items; /* of regions_max when it is done */
    int32_t n, room;
    int32_t H, W;
    int64_t left_out;
};

static void region_clear(region *r)
{
    for (int32_t i = 0; i < r->n; i++)
        msa_bits_clear(&r->masks[i].bits);
    free(r->masks);
}

/* Takes the mask's bits, on success. */
static msa_status region_grow(region *r, msa_auto_mask *mask, msa_error *err)
{
    if (r->n == r->room) {
        const int32_t room = r->room ? 2 * r->room : 4;
        msa_auto_mask *grown = realloc(r->masks, (size_t)room * sizeof *grown);
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
        r->masks = grown;
        r->room = room;
    }
    r->voxels += mask->bits.area;
    r->masks[r->n++] = *mask;
    mask->bits = (msa_bits){0};
    return MSA_OK;
}

static int by_size(const void *a, const void *b)
{
    const region *p = a, *q = b;
    if (p->voxels != q->voxels) return p->voxels < q->voxels ? 1 : -1;
    return (p->number > q->number) - (p->number < q->number);
}

void msa_auto_regions_free(msa_auto_regions *r)
{
    if (!r) return;
    for (int32_t i = 0; i < r->n; i++)
        region_clear(&r->items[i]);
    free(r->items);
    free(r);
}

static msa_status add_item(msa_auto_regions *r, const region *item, msa_error *err)
{
    if (r->n == r->room) {
        const int32_t room = r->room ? 2 * r->room : 64;
        region *grown = realloc(r->items, (size_t)room * sizeof *grown);
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
        r->items = grown;
        r->room = room;
    }
    r->items[r->n++] = *item;
    return MSA_OK;
}

/* Drops all but the largest. */
static void keep_largest(msa_auto_regions *r, int32_t most)
{
    if (r->n > 0) qsort(r->items, (size_t)r->n, sizeof *r->items, by_size);
    for (; r->n > most; r->n--) {
        region_clear(&r->items[r->n - 1]);
        r->left_out++;
    }
}

/* ---- through the slices ---- */

typedef struct job {
    const msa_volume *volume;
    const msa_auto_options *options;
    msa_auto_slicer *slicer;
    msa_auto_regions *ended;
    region open[MSA_AUTO_MASKS_MAX]; /* those with a mask on the slice before */
    int32_t n_open;
    msa_auto_mask found[MSA_AUTO_MASKS_MAX];
    int32_t n_found;
    int64_t number;
} job;

static void job_free(job *j)
{
    if (!j) return;
    for (int32_t i = 0; i < j->n_open; i++)
        region_clear(&j->open[i]);
    for (int32_t i = 0; i < MSA_AUTO_MASKS_MAX; i++)
        msa_bits_clear(&j->found[i].bits);
    msa_auto_slicer_free(j->slicer);
    msa_auto_regions_free(j->ended);
    free(j);
}
MSA_DEFINE_AUTO(job, job_free);

/* Takes what `r` owns, whatever happens. */
static msa_status end_region(job *j, region *r, msa_error *err)
{
    const int32_t D = j->volume->D, least = j->options->slices_min < D ? j->options->slices_min : D;
    const region last = *r;
    *r = (region){0};
    if (last.n >= least && add_item(j->ended, &last, err) == MSA_OK) {
        /* now and then, so that memory is bound by what may be kept, not by what was found */
        if (j->ended->n >= 2 * MSA_AUTO_REGIONS_MAX) keep_largest(j->ended, j->options->regions_max);
        return MSA_OK;
    }
    region_clear((region *)&last);
    return last.n >= least ? MSA_E_NOMEM : MSA_OK;
}

/* Every mask that was found continues a region or begins one; regions without a mask here have ended. */
static msa_status link_slice(job *j, int32_t slice, msa_error *err)
{
    const msa_bits *below[MSA_AUTO_MASKS_MAX], *above[MSA_AUTO_MASKS_MAX];
    int32_t from[MSA_AUTO_MASKS_MAX];
    MSA_AUTO_FREE region *next = calloc(MSA_AUTO_MASKS_MAX, sizeof *next);
    if (!next) return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
    for (int32_t i = 0; i < j->n_open; i++)
        below[i] = &j->open[i].masks[j->open[i].n - 1].bits;
    for (int32_t i = 0; i < j->n_found; i++)
        above[i] = &j->found[i].bits;
    MSA_TRY(msa_link(below, j->n_open, above, j->n_found, j->options->link_iou, from, err));
    for (int32_t i = 0; i < j->n_found; i++) {
        region *r = from[i] >= 0 ? &j->open[from[i]] : &(region){.first = slice, .number = j->number};
        j->number += from[i] < 0;
        const msa_status status = region_grow(r, &j->found[i], err);
        next[i] = *r;
        *r = (region){0};
        if (status != MSA_OK) {
            for (int32_t k = 0; k <= i; k++)
                region_clear(&next[k]);
            return status;
        }
    }
    msa_status status = MSA_OK;
    for (int32_t i = 0; i < j->n_open; i++) {
        const msa_status one = j->open[i].n > 0 ? end_region(j, &j->open[i], err) : MSA_OK;
        if (status == MSA_OK) status = one;
    }
    memcpy(j->open, next, (size_t)j->n_found * sizeof *next);
    j->n_open = j->n_found;
    j->n_found = 0;
    return status;
}

static msa_status through_slices(job *j, const atomic_bool *cancel, msa_progress_fn *progress,
                                 void *progress_ctx, msa_error *err)
{
    const int32_t D = j->volume->D;
    if (progress) progress(progress_ctx, 0, D);
    for (int32_t slice = 0; slice < D; slice++) {
        if (cancel && atomic_load(cancel)) return msa_fail(err, MSA_E_CANCELED, "the job was cancelled");
        MSA_TRY(msa_auto_slice(j->slicer, slice, j->found, &j->n_found, err));
        MSA_TRY(link_slice(j, slice, err));
        if (progress) progress(progress_ctx, slice + 1, D);
    }
    return link_slice(j, D, err); /* nothing is found there: all that is open ends */
}

msa_status msa_segment_automatic(msa_auto_regions **out, const msa_model *model, const msa_volume *volume,
                                 const msa_auto_options *options, msa_embedding_cache *cache,
                                 const atomic_bool *cancel, msa_progress_fn *progress, void *progress_ctx,
                                 msa_error *err)
{
    MSA_AUTO(job) j = calloc(1, sizeof *j);
    msa_window window;
    float lo = 0, hi = 0;
    *out = NULL;
    if (!j) return msa_fail(err, MSA_E_NOMEM, "out of memory for the automatic mode");
    MSA_TRY(msa_auto_check(options, err));
    MSA_TRY(msa_volume_window(volume, &lo, &hi, err)); /* checks the volume */
    MSA_TRY(msa_volume_window_make(&window, volume, err));
    j->volume = volume;
    j->options = options;
    j->ended = calloc(1, sizeof *j->ended);
    if (!j->ended) return msa_fail(err, MSA_E_NOMEM, "out of memory for the automatic mode");
    j->ended->H = volume->H;
    j->ended->W = volume->W;
    MSA_TRY(msa_auto_slicer_new(&j->slicer, model, volume, &window, options, cache, cancel, err));
    MSA_TRY(through_slices(j, cancel, progress, progress_ctx, err));
    keep_largest(j->ended, options->regions_max);
    *out = MSA_STEAL(j->ended);
    return MSA_OK;
}

/* ---- asking ---- */

int32_t msa_auto_regions_count(const msa_auto_regions *r)
{
    return r->n;
}

int64_t msa_auto_regions_left_out(const msa_auto_regions *r)
{
    return r->left_out;
}

void msa_auto_regions_get(const msa_auto_regions *r, int32_t i, msa_object_result *result)
{
    const region *from = &r->items[i];
    double iou = 0;
    int32_t first_row = r->H, last_row = -1;
    for (int32_t k = 0; k < from->n; k++) {
        const size_t slice = (size_t)(from->first + k);
        const msa_region box = from->masks[k].bits.box;
        if (box.y0 < first_row) first_row = box.y0;
        if (box.y1 > last_row + 1) last_row = box.y1 - 1;
        msa_bits_unpack(&from->masks[k].bits, r->W, result->mask + slice * (size_t)r->H * (size_t)r->W);
        iou += (double)from->masks[k].iou;
    }
    *result = (msa_object_result){.mask = result->mask,
                                  .voxels = from->voxels,
                                  .first_slice = from->first,
                                  .last_slice = from->first + from->n - 1,
                                  .first_row = first_row,
                                  .last_row = last_row,
                                  .mean_iou = (float)(iou / from->n),
                                  .n_prompted = from->n,
                                  .candidates = {.slice = -1},
                                  .stop_reason = ""};
}
