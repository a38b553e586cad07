#include "server/segment/automatic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/lay.h"

/* A place and no anatomy: PS3.16 CID 7150, and DCM for the type. */
static const dicom_code category = {"309825002", "SCT", "Spatial and Relational Concept"};
static const dicom_code type = {"111099", "DCM", "Selected region"};

typedef struct found {
    const msa_volume *volume;
    size_t voxels;
    msa_auto_regions *regions;
    srv_objects *objects;
    msa_object_result *results;
    srv_laid *laid;                        /* its slices: the key images */
    uint8_t *layers[SRV_AUTOMATIC_LAYERS]; /* (D, H, W), as far as they were needed: what is taken */
} found;

static void found_clear(found *f)
{
    for (size_t i = 0; f->results && f->objects && i < f->objects->n; i++)
        free(f->results[i].mask);
    for (int i = 0; i < SRV_AUTOMATIC_LAYERS; i++)
        free(f->layers[i]);
    free(f->results);
    srv_objects_free(f->objects);
    msa_auto_regions_free(f->regions);
    srv_laid_free(f->laid);
}

/* Where there are key images, nothing lies on other slices. */
static void keep_key_images(const found *f, msa_object_result *r)
{
    const size_t pixels = (size_t)f->volume->H * (size_t)f->volume->W;
    const int32_t first = r->first_slice, last = r->last_slice;
    if (!f->laid->slices || r->voxels == 0) return;
    r->voxels = 0;
    r->first_slice = r->last_slice = -1;
    for (int32_t k = first; k <= last; k++) {
        uint8_t *plane = r->mask + (size_t)k * pixels;
        int64_t area = 0;
        if (!f->laid->slices[k]) memset(plane, 0, pixels);
        for (size_t i = 0; i < pixels; i++)
            area += plane[i];
        if (area == 0) continue;
        if (r->first_slice < 0) r->first_slice = k;
        r->last_slice = k;
        r->voxels += area;
    }
}

static bool overlaps(const found *f, const msa_object_result *r, const uint8_t *layer)
{
    const size_t pixels = (size_t)f->volume->H * (size_t)f->volume->W;
    for (size_t i = (size_t)r->first_slice * pixels; i < (size_t)(r->last_slice + 1) * pixels; i++)
        if (r->mask[i] && layer[i]) return true;
    return false;
}

/* The first layer where the region meets no other, as the SEG will have it. false: there is none. */
static msa_status take_layer(found *f, const msa_object_result *r, bool *taken, msa_error *err)
{
    const size_t pixels = (size_t)f->volume->H * (size_t)f->volume->W;
    int at = 0;
    while (at < SRV_AUTOMATIC_LAYERS && f->layers[at] && overlaps(f, r, f->layers[at]))
        at++;
    *taken = at < SRV_AUTOMATIC_LAYERS;
    if (!*taken) return MSA_OK;
    /* calloc: what is never written takes no memory */
    if (!f->layers[at] && !(f->layers[at] = calloc(f->voxels, 1)))
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
    for (size_t i = (size_t)r->first_slice * pixels; i < (size_t)(r->last_slice + 1) * pixels; i++)
        if (r->mask[i]) f->layers[at][i] = 1;
    return MSA_OK;
}

static void name_region(srv_objects *o)
{
    dicom_segment *s = &o->names[o->n];
    (void)snprintf(s->label, sizeof s->label, "Region %zu", o->n + 1);
    s->category = category;
    s->type = type;
    s->automatic = true;
}

static msa_status take_region(found *f, int32_t index, msa_error *err)
{
    msa_object_result *r = &f->results[f->objects->n];
    bool taken = false;
    r->mask = calloc(f->voxels, 1);
    if (!r->mask)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks of %zu regions", f->objects->n + 1);
    msa_auto_regions_get(f->regions, index, r);
    keep_key_images(f, r);
    if (r->voxels == 0) {
        free(r->mask);
        *r = (msa_object_result){0};
        return MSA_OK;
    }
    const msa_status status = take_layer(f, r, &taken, err);
    if (status == MSA_OK && taken) {
        name_region(f->objects);
        f->objects->names[f->objects->n].mask = r->mask;
        f->objects->n++;
        return MSA_OK;
    }
    free(r->mask);
    *r = (msa_object_result){0};
    f->objects->n_left_out++;
    return status;
}

static msa_status collect(found *f, int32_t n, msa_error *err)
{
    f->objects = calloc(1, sizeof *f->objects);
    f->results = calloc((size_t)n + 1, sizeof *f->results);
    if (!f->objects || !f->results) return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
    f->objects->objects = calloc((size_t)n + 1, sizeof *f->objects->objects);
    f->objects->names = calloc((size_t)n + 1, sizeof *f->objects->names);
    if (!f->objects->objects || !f->objects->names)
        return msa_fail(err, MSA_E_NOMEM, "out of memory for the regions");
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(take_region(f, i, err));
    return MSA_OK;
}

msa_status srv_automatic_find(srv_objects **objects, msa_object_result **results,
                              const srv_segment_request *request, const msa_volume *volume, msa_error *err)
{
    __attribute__((cleanup(found_clear)))
    found f = {.volume = volume, .voxels = (size_t)volume->D * (size_t)volume->H * (size_t)volume->W};
    msa_auto_options options = *request->automatic;
    const size_t room = SRV_AUTOMATIC_MASK_BYTES / (f.voxels ? f.voxels : 1);
    *objects = NULL;
    *results = NULL;
    MSA_TRY(srv_laid_new(&f.laid, request, err));
    if (room < (size_t)options.regions_max) options.regions_max = room > 1 ? (int32_t)room : 1;
    MSA_TRY(msa_segment_automatic(&f.regions, request->model, volume, &options, request->cache,
                                  request->cancel, request->progress, request->progress_ctx, err));
    MSA_TRY(collect(&f, msa_auto_regions_count(f.regions), err));
    f.objects->n_left_out += (size_t)msa_auto_regions_left_out(f.regions);
    *objects = MSA_STEAL(f.objects);
    *results = MSA_STEAL(f.results);
    return MSA_OK;
}
