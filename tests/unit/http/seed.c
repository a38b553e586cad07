#include "tests/unit/http/seed.h"

#include <stdio.h>
#include <string.h>

#include "dicom/send.h"

#define CT_CLASS "1.2.840.10008.5.1.4.1.1.2"
#define NOW      INT64_C(1700000000000)

static char result_sha[MSA_SHA256_HEX], preview_sha[MSA_SHA256_HEX];
static int64_t result_size;

static const srv_model_table tiny = {
    .n_models = 1,
    .models = {{.name = "tiny", .version = "1", .hash = "ab12", .untrained = true}},
    .n_rules = 1,
    .rules = {{.modality = "*", .body_part = "*", .label = "*"}}};
static const srv_job_policy policy = {.settle_ms = 1,
                                      .quiet_ms = 1,
                                      .prompt_settle_ms = 1,
                                      .max_attempts = 1,
                                      .settings = "test",
                                      .automatic = "",
                                      .models = &tiny};

static msa_status put_blob(srv_blobs *blobs, const char *start, size_t size, char sha[MSA_SHA256_HEX],
                           int64_t *written, msa_error *err)
{
    MSA_AUTO(srv_blob_writer) w = NULL;
    char block[1000];
    MSA_TRY(srv_blob_writer_new(&w, blobs, err));
    MSA_TRY(srv_blob_writer_write(w, start, strlen(start), err));
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7);
    for (size_t done = strlen(start); done < size; done += sizeof block)
        MSA_TRY(srv_blob_writer_write(w, block, sizeof block, err));
    return srv_blob_writer_commit(w, sha, written, err);
}

static msa_status put_image(srv_store *s, int64_t association, int series, int n, bool reject, msa_error *err)
{
    srv_instance in = {.association_id = association, .received_ms = NOW, .size_bytes = 1000};
    dicom_header h = {.kind = DICOM_KIND_IMAGE, .rows = 8, .cols = 8, .frames = 1, .has_plane = true};
    srv_put outcome;
    int64_t id = 0;
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, SEED_SERIES ".%d.%d", series, n);
    (void)snprintf(in.sop_class_uid, sizeof in.sop_class_uid, CT_CLASS);
    (void)snprintf(in.transfer_syntax_uid, sizeof in.transfer_syntax_uid, "1.2.840.10008.1.2.1");
    msa_sha256_bytes(in.sop_instance_uid, strlen(in.sop_instance_uid), NULL, in.sha256);
    MSA_TRY(srv_store_instance_put(s, &in, &outcome, &id, err));
    if (reject) return srv_store_instance_reject(s, id, "the pixel data is shorter than rows x columns", err);
    memcpy(h.sop_instance_uid, in.sop_instance_uid, sizeof h.sop_instance_uid);
    memcpy(h.sop_class_uid, in.sop_class_uid, sizeof h.sop_class_uid);
    (void)snprintf(h.series_uid, sizeof h.series_uid, SEED_SERIES ".%d", series);
    (void)snprintf(h.study_uid, sizeof h.study_uid, "1.2.3");
    (void)snprintf(h.modality, sizeof h.modality, "CT");
    h.position_mm = 5.0 * n;
    return srv_store_instance_index(s, id, &h, NULL, 0, NOW, err);
}

/* An annotation that draws nothing. */
static msa_status put_noted(srv_store *s, msa_error *err)
{
    srv_instance in = {.sop_instance_uid = SEED_SERIES ".98.1", .received_ms = NOW, .size_bytes = 500};
    dicom_header h = {
        .kind = DICOM_KIND_ANNOTATION, .sop_instance_uid = SEED_SERIES ".98.1", .study_uid = "1.2.3"};
    srv_put outcome;
    int64_t id = 0;
    msa_sha256_bytes(in.sop_instance_uid, strlen(in.sop_instance_uid), NULL, in.sha256);
    MSA_TRY(srv_store_instance_put(s, &in, &outcome, &id, err));
    MSA_TRY(srv_store_instance_note(s, id, "it draws nothing", err));
    return srv_store_instance_index(s, id, &h, NULL, 0, NOW, err);
}

static msa_status put_box(srv_store *s, int series, msa_error *err)
{
    srv_prompt p = {.created_ms = NOW};
    p.prompt.kind = DICOM_PROMPT_BOX;
    p.prompt.frame = p.prompt.positive = 1;
    p.prompt.x1 = p.prompt.y1 = 5.5;
    (void)snprintf(p.group_id, sizeof p.group_id, "seed%d", series);
    (void)snprintf(p.prompt.series_uid, sizeof p.prompt.series_uid, SEED_SERIES ".%d", series);
    (void)snprintf(p.prompt.label, sizeof p.prompt.label, "liver");
    return srv_store_prompts_put(s, &p, 1, err);
}

typedef struct newest {
    int64_t id;
    char public_id[33];
} newest;

static void keep(void *ctx, const srv_job *job)
{
    newest *n = ctx;
    n->id = job->id;
    memcpy(n->public_id, job->public_id, sizeof n->public_id);
}

static msa_status make_series(srv_store *s, int64_t association, int series, bool prompt, bool close,
                              const char *name, msa_error *err)
{
    char uid[DICOM_UID_MAX];
    srv_series row;
    newest job = {0, ""};
    srv_job_state state;
    (void)snprintf(uid, sizeof uid, SEED_SERIES ".%d", series);
    for (int n = 1; n <= 3; n++)
        MSA_TRY(put_image(s, association, series, n, false, err));
    if (prompt) MSA_TRY(put_box(s, series, err));
    MSA_TRY(srv_store_series_get(s, uid, &row, err));
    MSA_TRY(srv_store_jobs(s, -1, uid, 0, 1, keep, &job, err));
    (void)printf("%s %s\n", name, job.public_id);
    if (!close) return MSA_OK;
    MSA_TRY(srv_store_series_close(s, row.id, "quiet", NOW, err));
    return srv_store_job_bind(s, job.id, &policy, NOW, &state, err);
}

static msa_status end_job(srv_store *s, const srv_job *job, const char *how, bool deliver, msa_error *err)
{
    srv_result r = {.job_id = job->id, .size_bytes = result_size, .number = 1};
    srv_segment seg = {.job_id = job->id, .voxels = 1234, .number = 1, .first_slice = 0, .last_slice = 2};
    const char *to[] = {"pacs"};
    if (strcmp(how, "fail") == 0)
        return srv_store_job_failed(s, job->id, job->token, "the series has a gap of 10 mm", true, NOW + 3000,
                                    err);
    seg.volume_ml = 0.1;
    seg.mean_iou = 0.875;
    seg.candidates = (msa_candidates){.slice = 1, .n = 4, .chosen = 3, .iou = {0.5F, 0.25F, 0.75F, 0.875F}};
    (void)snprintf(seg.label, sizeof seg.label, "liver");
    (void)snprintf(r.sha256, sizeof r.sha256, "%s", result_sha);
    (void)snprintf(r.sop_class_uid, sizeof r.sop_class_uid, "1.2.840.10008.5.1.4.1.1.66.4");
    (void)snprintf(r.sop_instance_uid, sizeof r.sop_instance_uid, "2.25.1%d", (int)job->id);
    (void)snprintf(r.series_uid, sizeof r.series_uid, "2.25.2%d", (int)job->id);
    const bool empty = strcmp(how, "empty") == 0;
    if (!empty) MSA_TRY(srv_store_job_slices(s, job->id, job->token, preview_sha, err));
    return srv_store_job_done(s, job->id, job->token, &r, empty ? 0 : 1, &seg, empty ? 0 : 1,
                              empty ? "" : preview_sha,
                              empty ? "" : "slice spacing varies by 1%; one box lies outside", to,
                              deliver ? 1 : 0, NOW + 4000, err);
}

msa_status seed_finish(srv_store *store, const char *how, char public_id[33], msa_error *err)
{
    srv_job job;
    MSA_TRY(srv_store_job_claim(store, NOW + 1000, 60000, &job, err));
    memcpy(public_id, job.public_id, sizeof job.public_id);
    return end_job(store, &job, how, false, err);
}

msa_status seed_claim(srv_store *store, srv_job *job, msa_error *err)
{
    return srv_store_job_claim(store, NOW + 1000, 60000, job, err);
}

msa_status seed_end(srv_store *store, const srv_job *job, msa_error *err)
{
    return end_job(store, job, "done", true, err);
}

static msa_status deliver(srv_store *s, msa_error *err)
{
    srv_delivery d;
    MSA_TRY(srv_store_delivery_claim(s, "pacs", NOW + 5000, &d, err));
    return srv_store_delivery_done(s, d.id, d.token, DICOM_DELIVERED, 0, "stored", 0, 1000000, NOW + 6000,
                                   err);
}

static msa_status seed_ended(srv_store *s, int64_t association, msa_error *err)
{
    static const char *const names[] = {"succeeded", "empty", "failed"}, *const how[] = {"done", "empty",
                                                                                         "fail"};
    for (int i = 0; i < 3; i++) {
        srv_job job;
        MSA_TRY(make_series(s, association, i + 1, true, true, names[i], err));
        MSA_TRY(srv_store_job_claim(s, NOW + 1000, 60000, &job, err));
        MSA_TRY(srv_store_job_heartbeat(s, job.id, job.token, NOW + 60000, 2, 3, err));
        MSA_TRY(end_job(s, &job, how[i], true, err));
        if (i == 0) MSA_TRY(deliver(s, err));
    }
    return MSA_OK;
}

msa_status seed_all(srv_store *s, srv_blobs *blobs, msa_error *err)
{
    int64_t association = 0, preview_size = 0;
    srv_refusal refusal = {.at_ms = NOW,
                           .count = 1,
                           .calling_ae = "OLDPACS",
                           .peer = "192.0.2.7",
                           .what = "association",
                           .reason = "the called AE title is not ours"};
    MSA_TRY(put_blob(blobs, "DICM result", 3000000, result_sha, &result_size, err));
    MSA_TRY(put_blob(blobs, "\x89PNG\r\n", 2000, preview_sha, &preview_size, err));
    MSA_TRY(srv_store_association_open(s, &(srv_association){.calling_ae = "PACS", .called_ae = "MSAD", .peer = "127.0.0.1", .opened_ms = NOW}, &association, err));
    MSA_TRY(seed_ended(s, association, err));
    MSA_TRY(make_series(s, association, 4, false, true, "waiting", err));
    MSA_TRY(make_series(s, association, 5, false, false, "receiving", err));
    for (int i = 0; i < SEED_QUEUED; i++)
        MSA_TRY(make_series(s, association, 6 + i, true, true, "queued", err));
    MSA_TRY(put_image(s, association, 99, 1, true, err));
    MSA_TRY(put_noted(s, err));
    MSA_TRY(srv_store_association_close(s, association, "released", NOW + 500, err));
    return srv_store_refusal_put(s, &refusal, err);
}
