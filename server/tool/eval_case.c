/* One case: its volume and its labels, wherever they come from. */
#include <stdlib.h>
#include <string.h>

#include "server/tool/cases.h"

void srv_case_close(srv_case *c)
{
    for (size_t i = 0; i < c->n_masks; i++)
        dicom_masks_free(c->masks[i]);
    free(c->masks);
    free(c->labels);
    srv_volume_clear(&c->series_volume);
    dicom_series_free(c->series);
    msa_labelled_free(c->labelled);
    *c = (srv_case){0};
}

msa_status srv_place_read(msa_case **out, const srv_place *place, msa_error *err)
{
    const msa_case_files files = {.name = place->name,
                                  .image = place->image,
                                  .label = place->label,
                                  .channel = place->channel,
                                  .names = place->names,
                                  .modality = place->modality};
    return place->folder ? msa_case_load(out, place->folder, err) : msa_case_read(out, &files, err);
}

static msa_status open_nifti(srv_case *c, const srv_place *place, msa_error *err)
{
    msa_case *read;
    MSA_TRY(srv_place_read(&read, place, err));
    MSA_TRY(msa_labelled_of(&c->labelled, read, err));
    const msa_labelled *l = c->labelled;
    c->volume = l->volume;
    (void)snprintf(c->modality, sizeof c->modality, "%s", l->ct ? "CT" : "MR");
    memcpy(c->spacing_mm, l->spacing_mm, sizeof c->spacing_mm);
    c->labels = calloc((size_t)l->n_names + 1, sizeof *c->labels);
    if (!c->labels) return msa_fail(err, MSA_E_NOMEM, "out of memory for the labels");
    for (int32_t i = 0; i < l->n_names; i++) {
        (void)snprintf(c->labels[i].name, sizeof c->labels[i].name, "%s", l->names[i].name);
        c->labels[i].value = l->names[i].value;
    }
    c->n = (size_t)l->n_names;
    return MSA_OK;
}

/* Two segments of one object may share a name (lesions); the same name in another object is the same thing.
 */
static bool named_already(const srv_case *c, const dicom_masks *own, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->labels[i].masks != own && strcmp(c->labels[i].name, name) == 0) return true;
    return false;
}

static msa_status take_labels(srv_case *c, const dicom_masks *m, const char *path, msa_error *err)
{
    const size_t more = dicom_masks_count(m);
    srv_case_label *grown = realloc(c->labels, (c->n + more + 1) * sizeof *grown);
    if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the labels");
    c->labels = grown;
    if (*dicom_masks_note(m)) (void)fprintf(stderr, "msa: %s: %s\n", path, dicom_masks_note(m));
    for (size_t i = 0; i < more; i++) {
        const dicom_mask *from = dicom_masks_at(m, i);
        if (from->planes == 0) continue;
        if (named_already(c, m, from->name)) {
            (void)fprintf(stderr, "msa: %s: label %d is left out, another object has one of that name\n",
                          path, from->number);
            continue;
        }
        srv_case_label *to = &c->labels[c->n++];
        *to = (srv_case_label){.masks = m, .index = i};
        memcpy(to->name, from->name, sizeof to->name);
    }
    return MSA_OK;
}

static msa_status take_objects(srv_case *c, const srv_paths *paths, msa_error *err)
{
    for (size_t i = 0; i < paths->n; i++) {
        MSA_AUTO(dicom_masks) m = NULL;
        msa_error why = MSA_ERROR_INIT;
        const msa_status status = dicom_masks_read(&m, c->series, paths->list[i], &why);
        if (status == MSA_E_NOT_FOUND) continue;
        if (status == MSA_E_UNSUPPORTED) {
            (void)fprintf(stderr, "msa: %s: %s\n", paths->list[i], why.what);
            continue;
        }
        if (status != MSA_OK) return msa_fail(err, status, "%.90s: %.120s", paths->list[i], why.what);
        dicom_masks **grown = realloc(c->masks, (c->n_masks + 1) * sizeof(*grown));
        if (!grown) return msa_fail(err, MSA_E_NOMEM, "out of memory for the labels");
        c->masks = grown;
        c->masks[c->n_masks++] = MSA_STEAL(m);
        MSA_TRY(take_labels(c, c->masks[c->n_masks - 1], paths->list[i], err));
    }
    return MSA_OK;
}

static msa_status open_series(srv_case *c, const srv_place *place, const srv_places *places, msa_error *err)
{
    MSA_TRY(
        dicom_series_load(&c->series, (const char *const *)place->images.list, place->images.n, NULL, err));
    MSA_TRY(srv_volume_fill(&c->series_volume, c->series, err));
    c->volume = c->series_volume.volume;
    const dicom_volume_info *info = dicom_series_info(c->series);
    (void)snprintf(c->modality, sizeof c->modality, "%s", info->modality);
    c->spacing_mm[0] = info->step_mm;
    c->spacing_mm[1] = info->spacing_mm[0];
    c->spacing_mm[2] = info->spacing_mm[1];
    MSA_TRY(take_objects(c, &places->segs, err));
    return c->n > 0 ? MSA_OK : take_objects(c, &places->rtstructs, err);
}

msa_status srv_case_open(srv_case *c, const srv_place *place, const srv_places *places, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    *c = (srv_case){0};
    memcpy(c->name, place->name, sizeof c->name);
    const msa_status status =
        srv_place_is_nifti(place) ? open_nifti(c, place, &why) : open_series(c, place, places, &why);
    return status == MSA_OK ? MSA_OK : msa_fail(err, status, "case %.60s: %.150s", place->name, why.what);
}

msa_status srv_case_mask(const srv_case *c, size_t label, uint8_t *mask, int64_t *voxels, msa_error *err)
{
    const srv_case_label *l = &c->labels[label];
    const size_t n = (size_t)c->volume.D * (size_t)c->volume.H * (size_t)c->volume.W;
    if (l->masks) return dicom_masks_fill(l->masks, l->index, mask, voxels, err);
    *voxels = 0;
    for (size_t i = 0; i < n; i++) {
        mask[i] = c->labelled->labels[i] == l->value;
        *voxels += mask[i];
    }
    return MSA_OK;
}
