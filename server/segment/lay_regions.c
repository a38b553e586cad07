/* Areas that annotations draw, on the slices of the series. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/labels.h"
#include "engine/evaluation.h"
#include "server/segment/lay.h"

typedef struct region_file {
    const char *path;
    dicom_masks *masks; /* NULL: it cannot be used, and why */
    msa_error err;
} region_file;

struct srv_region_files {
    region_file *items;
    size_t n;
};

void srv_region_files_free(srv_region_files *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->n; i++)
        dicom_masks_free(f->items[i].masks);
    free(f->items);
    free(f);
}

static msa_status open_file(srv_region_files **files, const dicom_series *series, const char *path,
                            const region_file **out, msa_error *err)
{
    if (!*files) *files = calloc(1, sizeof **files);
    if (!*files) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    srv_region_files *f = *files;
    for (size_t i = 0; i < f->n; i++) {
        *out = &f->items[i];
        if (strcmp(f->items[i].path, path) == 0) return MSA_OK;
    }
    region_file *grown = realloc(f->items, (f->n + 1) * sizeof *grown);
    if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the prompts");
    f->items = grown;
    region_file *file = &f->items[f->n];
    *file = (region_file){.path = path, .err = MSA_ERROR_INIT};
    const msa_status status = dicom_masks_read(&file->masks, series, path, &file->err);
    if (status == MSA_E_NOMEM) return msa_fail(err, status, "%s", file->err.what);
    f->n++;
    *out = file;
    return MSA_OK;
}

static size_t find_region(const dicom_masks *masks, int32_t number)
{
    size_t i = 0;
    while (i < dicom_masks_count(masks) && dicom_masks_at(masks, i)->number != number)
        i++;
    return i;
}

/* Takes the plane. The box around it is for pictures. */
static msa_status add_mask(srv_laid *l, int32_t slice, uint8_t *plane, const int32_t size[3], msa_error *err)
{
    msa_prompt p = {.kind = MSA_PROMPT_MASK, .slice = slice, .positive = true, .mask = plane};
    MSA_AUTO_FREE msa_prompt *box = NULL;
    int32_t n = 0;
    const msa_status status = msa_eval_prompts(&box, &n, plane, size, MSA_EVAL_BOX, true, 0, 0, err);
    if (status != MSA_OK || n == 0) {
        free(plane);
        return status;
    }
    p.x0 = box->x0, p.y0 = box->y0, p.x1 = box->x1, p.y1 = box->y1;
    if (l->n_masks == l->masks_room) {
        const size_t room = l->masks_room ? 2 * l->masks_room : 16;
        uint8_t **grown = realloc(l->masks, room * sizeof *grown);
        if (!grown) {
            free(plane);
            return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks of the prompts");
        }
        l->masks = grown;
        l->masks_room = room;
    }
    l->masks[l->n_masks++] = plane;
    return srv_laid_add(l, &p, err);
}

static msa_status add_boxes(srv_laid *l, int32_t slice, const uint8_t *plane, const int32_t size[3],
                            msa_error *err)
{
    MSA_AUTO_FREE msa_prompt *boxes = NULL;
    int32_t n = 0;
    MSA_TRY(msa_eval_prompts(&boxes, &n, plane, size, MSA_EVAL_BOX, false, 0, 0, err));
    for (int32_t k = 0; k < n; k++) {
        boxes[k].slice = slice;
        MSA_TRY(srv_laid_add(l, &boxes[k], err));
    }
    return MSA_OK;
}

/* Slice by slice, so that no more than the area's own masks are in memory. */
static msa_status add_slices(srv_laid *l, const dicom_volume_info *info, const dicom_masks *masks, size_t m,
                             bool as_mask, msa_error *err)
{
    const dicom_mask *about = dicom_masks_at(masks, m);
    const size_t pixels = (size_t)info->rows * (size_t)info->cols;
    const int32_t size[3] = {1, info->rows, info->cols};
    MSA_AUTO_FREE uint8_t *plane = NULL;
    for (int32_t k = about->first_slice; k >= 0 && k <= about->last_slice; k++) {
        int64_t found = 0;
        if (!plane) plane = malloc(pixels);
        if (!plane) return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks of the prompts");
        MSA_TRY(dicom_masks_fill_slice(masks, m, k, plane, &found, err));
        if (found == 0) continue;
        MSA_TRY(as_mask ? add_mask(l, k, MSA_STEAL(plane), size, err) : add_boxes(l, k, plane, size, err));
    }
    return MSA_OK;
}

msa_status srv_laid_add_region(srv_laid *l, const srv_segment_request *request, size_t i,
                               srv_region_files **files, char why[160], msa_error *err)
{
    const char *path = request->prompt_files ? request->prompt_files[i] : NULL;
    const region_file *file = NULL;
    const size_t before = l->n;
    if (!path) {
        (void)snprintf(why, 160, "an area came without the object that draws it");
        return MSA_OK;
    }
    MSA_TRY(open_file(files, request->series, path, &file, err));
    if (!file->masks) {
        (void)snprintf(why, 160, "an area cannot be used: %.120s", file->err.what);
        return MSA_OK;
    }
    const size_t m = find_region(file->masks, request->prompts[i].region);
    if (m == dicom_masks_count(file->masks)) {
        (void)snprintf(why, 160, "an area is not in the object that should draw it");
        return MSA_OK;
    }
    msa_error failed = MSA_ERROR_INIT;
    const srv_rule *rule = request->prompt_rules ? request->prompt_rules[i] : NULL;
    const bool as_mask = rule && strcmp(rule->regions, "mask") == 0;
    const msa_status status =
        add_slices(l, dicom_series_info(request->series), file->masks, m, as_mask, &failed);
    if (status == MSA_E_NOMEM) return msa_fail(err, status, "%s", failed.what);
    if (status != MSA_OK) {
        l->n = before; /* masks stay until the end, which is soon */
        (void)snprintf(why, 160, "an area cannot be used: %.120s", failed.what);
    } else if (l->n == before) {
        (void)snprintf(why, 160, "an area lies on no slice of the series");
    }
    return MSA_OK;
}
