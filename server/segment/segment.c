#include "server/segment/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/segment/automatic.h"
#include "server/segment/capture.h"
#include "server/segment/classes.h"
#include "server/segment/groups.h"
#include "server/segment/measure.h"
#include "server/segment/naming.h"
#include "server/segment/objects.h"
#include "server/segment/preview.h"
#include "server/segment/text.h"
#include "server/segment/volume.h"

enum { DESCRIPTION_MAX = 64 }; /* characters of a Long String (LO) */

typedef struct run {
    const srv_segment_request *request;
    const dicom_volume_info *info;
    srv_objects *objects;
    msa_object_result *results;
    const msa_model **models; /* of each object */
    const msa_model *model;   /* of all of them; NULL: they differ */
    srv_volume v;
    dicom_seg_place *places; /* of each object */
} run;

static void run_clear(run *r)
{
    for (size_t i = 0; r->objects && r->results && i < r->objects->n; i++) {
        free(r->results[i].mask);
        free(r->results[i].probability);
    }
    free(r->results);
    free(r->models);
    free(r->places);
    srv_volume_clear(&r->v);
    srv_objects_free(r->objects);
}

static bool wants_probability(const srv_segment_request *q)
{
    bool wanted = false;
    for (int32_t k = 0; k < q->n_forms; k++)
        wanted = wanted || q->forms[k].format == DICOM_SEG_FRACTIONAL;
    return wanted;
}

static msa_status prepare_results(run *r, msa_error *err)
{
    const size_t voxels = (size_t)r->info->slices * (size_t)r->info->rows * (size_t)r->info->cols;
    const bool probability = wants_probability(r->request);
    r->results = calloc(r->objects->n, sizeof *r->results);
    if (!r->results) return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks");
    for (size_t i = 0; i < r->objects->n; i++) {
        r->results[i].mask = malloc(voxels);
        if (probability) r->results[i].probability = calloc(voxels, 1);
        if (!r->results[i].mask || (probability && !r->results[i].probability))
            return msa_fail(err, MSA_E_NOMEM, "out of memory for the masks of %zu objects", r->objects->n);
        r->objects->names[i].mask = r->results[i].mask;
        r->objects->names[i].probability = r->results[i].probability;
    }
    return MSA_OK;
}

static void fill_note(const run *r, size_t i, char *note, size_t size)
{
    const msa_object_result *result = &r->results[i];
    if (r->request->automatic)
        (void)snprintf(note, size, "found without a prompt, on %d slices", result->n_prompted);
    else if (result->voxels == 0)
        (void)snprintf(note, size, "nothing found: %s",
                       result->stop_reason[0] ? result->stop_reason : "the model found nothing in a prompt");
    else if (result->n_propagated > 0)
        (void)snprintf(note, size, "%d prompted, %d carried%s%s", result->n_prompted, result->n_propagated,
                       result->stop_reason[0] ? "; " : "", result->stop_reason);
    else
        (void)snprintf(note, size, "%d prompted", result->n_prompted);
    const size_t n = strlen(note);
    if (!r->model) (void)snprintf(note + n, size - n, "; by %s", msa_model_config(r->models[i])->name);
}

static msa_status fill_stats(const run *r, srv_segment_outcome *outcome, msa_error *err)
{
    outcome->n_stats = r->objects->n;
    for (size_t i = 0; i < r->objects->n; i++) {
        const msa_object_result *result = &r->results[i];
        srv_segment_stat *stat = &outcome->stats[i];
        memcpy(stat->label, r->objects->names[i].label, sizeof stat->label);
        stat->voxels = result->voxels;
        stat->mean_iou = (double)result->mean_iou;
        stat->first_slice = result->first_slice;
        stat->last_slice = result->last_slice;
        stat->candidates = result->candidates;
        fill_note(r, i, stat->note, sizeof stat->note);
        if (result->voxels > 0)
            MSA_TRY(srv_measure(&stat->measures, r->request->series, result->mask, result->first_slice,
                                result->last_slice, err));
    }
    return MSA_OK;
}

static void fill_warnings(const run *r, srv_segment_outcome *outcome)
{
    char text[256];
    srv_text_join(outcome->warnings, sizeof outcome->warnings, r->info->issue_text);
    srv_text_join(outcome->warnings, sizeof outcome->warnings, r->v.window_note);
    if (r->request->automatic && r->objects->n_left_out > 0) {
        (void)snprintf(text, sizeof text, "%zu more regions, all smaller, were found and left out",
                       r->objects->n_left_out);
        srv_text_join(outcome->warnings, sizeof outcome->warnings, text);
    } else if (r->objects->n_left_out > 0) {
        (void)snprintf(text, sizeof text, "%zu prompt%s could not be used: %s", r->objects->n_left_out,
                       r->objects->n_left_out == 1 ? "" : "s", r->objects->why);
        srv_text_join(outcome->warnings, sizeof outcome->warnings, text);
    }
    if (r->request->by_itself && !r->request->automatic)
        srv_text_join(outcome->warnings, sizeof outcome->warnings,
                      "nobody annotated the series: a box in its middle was the prompt, as its rule says");
    for (size_t i = 0; i < r->objects->n; i++) {
        if (r->results[i].voxels > 0) continue;
        (void)snprintf(text, sizeof text, "nothing was found for object %zu", i + 1);
        srv_text_join(outcome->warnings, sizeof outcome->warnings, text);
    }
}

/* How the masks came about, for Content Description: at most 64 characters. */
static const char *content_description(const run *r)
{
    bool carried = false;
    bool several = false;
    if (r->request->automatic) return "Regions found automatically, nothing was prompted";
    for (size_t i = 0; i < r->objects->n; i++) {
        carried = carried || r->results[i].n_propagated > 0;
        several = several || r->results[i].n_prompted > 1;
    }
    if (carried && several) return "Prompts interpolated, masks carried to neighbouring slices";
    if (carried) return "Mask carried from the prompted slice to its neighbours";
    return several ? "Prompted slices, boxes between them interpolated" : "Prompted slice only";
}

static bool is_untrained(const run *r)
{
    bool untrained = false;
    for (size_t i = 0; i < r->objects->n; i++)
        untrained = untrained || msa_model_config(r->models[i])->untrained;
    return untrained;
}

/* Which model made which object: each segment names its own. */
static msa_status name_models(run *r, msa_error *err)
{
    r->models = calloc(r->objects->n + 1, sizeof *r->models);
    if (!r->models) return msa_fail(err, MSA_E_NOMEM, "out of memory for the objects");
    srv_groups_choose(r->models, r->request, r->objects);
    r->model = r->objects->n > 0 ? r->models[0] : r->request->model;
    for (size_t i = 0; i < r->objects->n; i++) {
        const msa_config *config = msa_model_config(r->models[i]);
        r->objects->names[i].model_name = config->name;
        r->objects->names[i].model_version = config->version;
        r->objects->names[i].model_hash = msa_model_hash(r->models[i]);
        if (r->models[i] != r->models[0]) r->model = NULL;
    }
    return MSA_OK;
}

static dicom_seg_options options_of(const run *r, const char *description)
{
    const srv_segment_request *q = r->request;
    return (dicom_seg_options){.key = q->key,
                               .series_description = description,
                               .content_description = content_description(r),
                               .model_name = r->model ? msa_model_config(r->model)->name : "several",
                               .model_version = r->model ? msa_model_config(r->model)->version : "models",
                               .model_hash = r->model ? msa_model_hash(r->model) : NULL,
                               .software_version = "msad " MSAD_VERSION,
                               .series_number = q->series_number,
                               .prompts = q->prompts,
                               .n_prompts = q->n_prompts};
}

/* Where each mask lies: the engine knows, so nobody need look elsewhere. */
static void tell_extents(run *r)
{
    for (size_t i = 0; i < r->objects->n; i++) {
        const msa_object_result *m = &r->results[i];
        if (m->voxels > 0)
            r->objects->names[i].extent =
                (dicom_extent){m->first_slice, m->last_slice + 1, m->first_row, m->last_row + 1};
    }
}

/* In each form that is wanted: the first as seg.dcm, the next as form2.dcm. */
static msa_status write_forms(const run *r, dicom_seg_options options, srv_segment_outcome *outcome,
                              msa_error *err)
{
    static const dicom_seg_form usual = {0};
    const srv_segment_request *q = r->request;
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    for (int32_t k = 0; k < (q->n_forms > 0 ? q->n_forms : 1); k++) {
        char name[16] = "seg";
        size_t n = 0;
        if (k > 0) (void)snprintf(name, sizeof name, "form%d", k + 1);
        options.form = q->n_forms > 0 ? q->forms[k] : usual;
        options.file_name = name;
        options.places = k == 0 ? r->places : NULL; /* the report names the segments of the first form */
        MSA_TRY(dicom_seg_write(q->series, r->objects->names, r->objects->n, &options, q->out_dir, files, &n,
                                err));
        if (n > SRV_FILES_MAX - outcome->n_files)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the result needs more than %d segmentations",
                            SRV_FILES_MAX);
        for (size_t i = 0; i < n; i++) {
            outcome->form[outcome->n_files] = k;
            outcome->files[outcome->n_files++] = files[i];
        }
    }
    return MSA_OK;
}

static msa_status write_seg(run *r, dicom_seg_options options, srv_segment_outcome *outcome, msa_error *err)
{
    int64_t voxels = 0;
    r->places = calloc(r->objects->n + 1, sizeof *r->places);
    if (!r->places) return msa_fail(err, MSA_E_NOMEM, "out of memory for the result");
    for (size_t i = 0; i < r->objects->n; i++)
        voxels += r->results[i].voxels;
    if (voxels == 0) return MSA_OK;
    tell_extents(r);
    return write_forms(r, options, outcome, err);
}

typedef char beside_description[4 * DESCRIPTION_MAX + 1];

/* What goes beside the SEG is a series of its own, whose number follows. text: where its description lies. */
static void series_beside(beside_description text, dicom_seg_options *options, const char *suffix,
                          int32_t further)
{
    srv_text_suffix(text, sizeof(beside_description), options->series_description, suffix, DESCRIPTION_MAX);
    options->series_description = text;
    options->series_number += further;
}

static msa_status write_report(const run *r, dicom_seg_options options, srv_segment_outcome *outcome,
                               msa_error *err)
{
    MSA_AUTO_FREE dicom_finding *findings = calloc(r->objects->n + 1, sizeof *findings);
    if (!findings) return msa_fail(err, MSA_E_NOMEM, "out of memory for the report");
    for (size_t i = 0; i < r->objects->n; i++) {
        const srv_segment_stat *stat = &outcome->stats[i];
        findings[i] = (dicom_finding){.segment = &r->objects->names[i]};
        if (stat->voxels == 0) continue;
        findings[i].number = r->places[i].number;
        findings[i].file = &outcome->files[r->places[i].file];
        findings[i].first_slice = stat->first_slice;
        findings[i].last_slice = stat->last_slice;
        findings[i].measures = stat->measures;
    }
    beside_description description;
    series_beside(description, &options, ", measured", 1);
    return dicom_report_write(r->request->series, findings, r->objects->n, &options, r->request->out_dir,
                              &outcome->report, err);
}

static msa_status write_contours(const run *r, dicom_seg_options options, srv_segment_outcome *outcome,
                                 msa_error *err)
{
    beside_description description;
    series_beside(description, &options, ", contours", 2);
    return dicom_structure_set_write(r->request->series, r->objects->names, r->objects->n, &options,
                                     r->request->out_dir, &outcome->contours, err);
}

static msa_status fill_picture(srv_picture *out, const run *r, const srv_segment_outcome *outcome,
                               msa_error *err)
{
    *out = (srv_picture){.info = r->info,
                         .voxels = r->v.volume.voxels,
                         .objects = r->objects,
                         .results = r->results,
                         .stats = outcome->stats,
                         .model_name = r->model ? msa_model_config(r->model)->name : "several models",
                         .untrained = is_untrained(r)};
    return msa_volume_window(&r->v.volume, &out->lo, &out->hi, err);
}

static msa_status write_captures(const run *r, dicom_seg_options options, srv_segment_outcome *outcome,
                                 msa_error *err)
{
    beside_description description;
    srv_picture picture;
    series_beside(description, &options, ", drawn", 3);
    MSA_TRY(fill_picture(&picture, r, outcome, err));
    return srv_captures_write(&picture, r->request->series, &options, r->request->out_dir, outcome, err);
}

static msa_status write_objects(run *r, srv_segment_outcome *outcome, msa_error *err)
{
    char description[4 * DESCRIPTION_MAX + 1];
    const char *given = r->request->series_description;
    srv_text_suffix(description, sizeof description, given && given[0] ? given : "Segmentation",
                    is_untrained(r) ? " (untrained model)" : "", DESCRIPTION_MAX);
    const dicom_seg_options options = options_of(r, description);
    MSA_TRY(write_seg(r, options, outcome, err));
    if (r->request->report) MSA_TRY(write_report(r, options, outcome, err));
    if (outcome->n_files == 0) return MSA_OK;
    if (r->request->contours) MSA_TRY(write_contours(r, options, outcome, err));
    return r->request->captures ? write_captures(r, options, outcome, err) : MSA_OK;
}

static msa_status write_pictures(const run *r, const srv_segment_outcome *outcome, msa_error *err)
{
    srv_picture picture;
    char path[4096], sheet[4096];
    const int n = snprintf(path, sizeof path, "%s/preview.png", r->request->out_dir);
    const int m = snprintf(sheet, sizeof sheet, "%s/slices.png", r->request->out_dir);
    if (n < 0 || (size_t)n >= sizeof path || m < 0 || (size_t)m >= sizeof sheet)
        return msa_fail(err, MSA_E_INVALID, "the path of the output folder is too long");
    MSA_TRY(fill_picture(&picture, r, outcome, err));
    MSA_TRY(srv_preview_write(&picture, path, err));
    if (r->request->slice_sheet) MSA_TRY(srv_slice_sheet_write(&picture, sheet, err));
    return r->request->overlays ? srv_overlays_write(&picture, r->request->out_dir, err) : MSA_OK;
}

static msa_status find_prompted(run *r, msa_error *err)
{
    const srv_segment_request *q = r->request;
    MSA_TRY(srv_objects_new(&r->objects, q, err));
    srv_objects_take_rules(r->objects, q);
    MSA_TRY(srv_classes_expand(r->objects, q, err));
    MSA_TRY(srv_volume_fill(&r->v, q->series, err));
    MSA_TRY(prepare_results(r, err));
    MSA_TRY(name_models(r, err));
    return srv_groups_segment(q, &r->v.volume, r->objects, r->models, r->results, err);
}

static msa_status find_automatically(run *r, msa_error *err)
{
    MSA_TRY(srv_volume_fill(&r->v, r->request->series, err));
    MSA_TRY(srv_automatic_find(&r->objects, &r->results, r->request, &r->v.volume, err));
    return name_models(r, err);
}

msa_status srv_segment_run(const srv_segment_request *request, srv_segment_outcome *outcome, msa_error *err)
{
    __attribute__((cleanup(run_clear)))
    run r = {.request = request, .info = dicom_series_info(request->series)};
    memset(outcome, 0, sizeof *outcome);
    MSA_TRY(request->automatic ? find_automatically(&r, err) : find_prompted(&r, err));
    MSA_TRY(fill_stats(&r, outcome, err));
    fill_warnings(&r, outcome);
    MSA_TRY(write_objects(&r, outcome, err));
    return write_pictures(&r, outcome, err);
}
