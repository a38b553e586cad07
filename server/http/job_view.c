/* One job as JSON. Runs on the store thread. No patient attribute is read here (invariant 8). */
#include "server/http/internal.h"

#include <math.h>
#include <string.h>

static json_t *candidates_of(const msa_candidates *c)
{
    if (c->slice < 0) return json_null();
    json_t *iou = json_array();
    for (int32_t i = 0; i < c->n; i++)
        (void)json_array_append_new(iou, json_real((double)c->iou[i]));
    return json_pack("{s:i, s:o, s:i}", "slice", c->slice, "predicted_iou", iou, "chosen", c->chosen);
}

static void add_segment(void *ctx, const srv_segment *s)
{
    (void)json_array_append_new(
        ctx, json_pack("{s:i, s:o, s:I, s:o, s:i, s:i, s:o, s:o, s:o}", "number", s->number, "label",
                       srv_json_string(s->label), "voxels", (json_int_t)s->voxels, "volume_ml",
                       isfinite(s->volume_ml) ? json_real(s->volume_ml) : json_null(), "first_slice",
                       s->first_slice, "last_slice", s->last_slice, "mean_predicted_iou",
                       isfinite(s->mean_iou) ? json_real(s->mean_iou) : json_null(), "candidates",
                       candidates_of(&s->candidates), "note", srv_json_text(s->note)));
}

typedef struct with_job {
    json_t *array;
    const srv_job *job;
} with_job;

static void add_result(void *ctx, const srv_result *r)
{
    const with_job *to = ctx;
    char href[128];
    (void)snprintf(href, sizeof href, "/v1/jobs/%s/result?number=%d", to->job->public_id, r->number);
    (void)json_array_append_new(
        to->array,
        json_pack("{s:i, s:o, s:s, s:s, s:s, s:I, s:s, s:s}", "number", r->number, "form",
                  r->form[0] != 0 ? srv_json_string(r->form) : json_null(), "sop_class_uid", r->sop_class_uid,
                  "sop_instance_uid", r->sop_instance_uid, "series_instance_uid", r->series_uid, "size_bytes",
                  (json_int_t)r->size_bytes, "sha256", r->sha256, "href", href));
}

static void add_delivery(void *ctx, const srv_delivery *d)
{
    (void)json_array_append_new(ctx, srv_delivery_view(d));
}

/* The worker joins its sentences with "; ". */
static json_t *warnings_of(const char *text)
{
    json_t *array = json_array();
    while (array != NULL && *text != '\0') {
        const char *end = strstr(text, "; ");
        const size_t n = end == NULL ? strlen(text) : (size_t)(end - text);
        char one[sizeof((srv_job *)NULL)->warnings];
        (void)snprintf(one, sizeof one, "%.*s", (int)n, text);
        if (n > 0) (void)json_array_append_new(array, srv_json_string(one));
        text += n + (end == NULL ? 0 : 2);
    }
    return array;
}

static json_t *head_of(const srv_job *job)
{
    char preview[96] = "", slices[96] = "";
    if (job->preview_sha256[0] != '\0')
        (void)snprintf(preview, sizeof preview, "/v1/jobs/%s/preview.png", job->public_id);
    if (job->slices_sha256[0] != '\0')
        (void)snprintf(slices, sizeof slices, "/v1/jobs/%s/slices.png", job->public_id);
    json_t *model = job->model_name[0] == '\0'
                        ? json_null()
                        : json_pack("{s:o, s:o, s:o, s:b}", "name", srv_json_string(job->model_name),
                                    "version", srv_json_text(job->model_version), "hash",
                                    srv_json_text(job->model_hash), "untrained", job->untrained);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:{s:i, s:i}, s:o, s:o, "
        "s:I, s:o, s:o, s:o, s:o}",
        "id", job->public_id, "state", srv_job_state_name(job->state), "priority",
        srv_priority_name(job->priority), "series_instance_uid", job->series_uid, "study_instance_uid",
        srv_json_text(job->study_uid), "modality", srv_json_text(job->modality), "attempt", job->attempt,
        "max_attempts", job->max_attempts, "created_at", srv_json_time(job->created_ms), "queued_at",
        srv_json_time(job->queued_ms), "started_at", srv_json_time(job->started_ms), "finished_at",
        srv_json_time(job->finished_ms), "progress", "done", job->progress_done, "total", job->progress_total,
        "rule", srv_json_text(job->rule), "model", model, "prompts", (json_int_t)job->prompts, "warnings",
        warnings_of(job->warnings), "reason", srv_json_text(job->reason), "preview_href",
        srv_json_text(preview), "slices_href", srv_json_text(slices));
}

static msa_status add_lists(srv_store *store, const srv_job *job, json_t *json, msa_error *err)
{
    json_t *segments = json_array(), *results = json_array(), *deliveries = json_array();
    with_job to = {results, job};
    const int lost = json_object_set_new(json, "segments", segments) |
                     json_object_set_new(json, "results", results) |
                     json_object_set_new(json, "deliveries", deliveries);
    if (lost != 0) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(srv_store_job_segments(store, job->id, add_segment, segments, err));
    MSA_TRY(srv_store_job_results(store, job->id, add_result, &to, err));
    return srv_store_job_deliveries(store, job->id, add_delivery, deliveries, err);
}

static msa_status add_supersedes(srv_store *store, const srv_job *job, json_t *json, msa_error *err)
{
    srv_job older;
    older.public_id[0] = '\0';
    if (job->supersedes != 0) {
        const msa_status status = srv_store_job_get_id(store, job->supersedes, &older, NULL);
        if (status == MSA_E_NOT_FOUND)
            older.public_id[0] = '\0';
        else if (status != MSA_OK)
            return msa_fail(err, status, "the catalogue could not be read");
    }
    (void)json_object_set_new(json, "supersedes", srv_json_text(older.public_id));
    return MSA_OK;
}

msa_status srv_job_view(srv_store *store, const srv_job *job, json_t **out, msa_error *err)
{
    *out = NULL;
    json_t *json = head_of(job);
    if (json == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    msa_status status = add_lists(store, job, json, err);
    if (status == MSA_OK) status = add_supersedes(store, job, json, err);
    if (status != MSA_OK)
        json_decref(json);
    else
        *out = json;
    return status;
}
