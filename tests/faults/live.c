/* A life of the durable path: blob, catalogue row, promise; job, result, delivery. The order of core and its
 * roles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dicom/send.h"
#include "server/blob/blob.h"
#include "server/jobs/jobs.h"
#include "server/store/sqlite.h"
#include "server/store/store.h"
#include "tests/faults/durable.h"

#define IMAGES  3    /* of a series */
#define CONTENT 5000 /* bytes of an object: two pages, one of them not whole */

static const srv_model_table models = {.n_models = 1,
                                       .models = {{.name = "m", .version = "1", .hash = "abcd"}},
                                       .n_rules = 1,
                                       .rules = {{.modality = "*", .body_part = "*", .label = "*"}}};
static const srv_job_policy policy = {
    .max_attempts = 20, .settings = "1", .automatic = "1", .models = &models};

typedef struct life {
    srv_store *store;
    srv_blobs *blobs;
    int64_t now_ms;
    char uid[DICOM_UID_MAX], series[DICOM_UID_MAX], sha256[MSA_SHA256_HEX];
    srv_job job;
    int64_t instance_id;
} life;

static void promise(const char *what, const char *name, const char *sha256)
{
    char line[256];
    const int n = snprintf(line, sizeof line, "%s %s %s\n", what, name, sha256);
    if (write(STDOUT_FILENO, line, (size_t)n) != n) _exit(2);
}

/* Contents follow from the name, so that a job that runs again makes the same bytes. */
static msa_status put_blob(life *l, const char *name, char sha256[MSA_SHA256_HEX], int64_t *size,
                           msa_error *err)
{
    char bytes[CONTENT];
    MSA_AUTO(srv_blob_writer) w = NULL;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)((unsigned char)name[i % strlen(name)] + i / 256);
    MSA_TRY(srv_blob_writer_new(&w, l->blobs, err));
    MSA_TRY(srv_blob_writer_write(w, bytes, 4000, err));
    MSA_TRY(srv_blob_writer_write(w, bytes + 4000, sizeof bytes - 4000, err));
    return srv_blob_writer_commit(w, sha256, size, err);
}

/* As the store thread does it: a group of one. */
static msa_status grouped(life *l, msa_status (*step)(life *, msa_error *), msa_error *err)
{
    MSA_TRY(srv_store_begin(l->store, err));
    const msa_status status = step(l, err);
    if (status == MSA_OK) return srv_store_commit(l->store, err);
    srv_store_rollback(l->store);
    return status;
}

static msa_status put_row(life *l, msa_error *err)
{
    srv_instance in = {.received_ms = l->now_ms, .size_bytes = CONTENT};
    srv_put outcome;
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "%s", l->uid);
    memcpy(in.sha256, l->sha256, sizeof in.sha256);
    return srv_store_instance_put(l->store, &in, &outcome, &l->instance_id, err);
}

static msa_status index_it(life *l, msa_error *err)
{
    dicom_header h = {.kind = DICOM_KIND_IMAGE, .rows = 64, .cols = 64, .frames = 1, .modality = "CT"};
    memcpy(h.sop_instance_uid, l->uid, sizeof h.sop_instance_uid);
    memcpy(h.series_uid, l->series, sizeof h.series_uid);
    (void)snprintf(h.study_uid, sizeof h.study_uid, "1.9");
    return srv_store_instance_index(l->store, l->instance_id, &h, NULL, 0, l->now_ms, err);
}

static msa_status annotate(life *l, msa_error *err)
{
    srv_prompt p = {.created_ms = l->now_ms,
                    .prompt = {.kind = DICOM_PROMPT_BOX, .x1 = 9, .y1 = 9, .label = "liver"}};
    memcpy(p.group_id, l->series, sizeof p.group_id - 1);
    memcpy(p.prompt.series_uid, l->series, sizeof p.prompt.series_uid);
    return srv_store_prompts_put(l->store, &p, 1, err);
}

static msa_status tick(life *l, msa_error *err)
{
    int32_t queued = 0;
    int64_t due_ms = 0;
    return srv_jobs_tick(l->store, &policy, l->now_ms, &queued, &due_ms, err);
}

static msa_status claim(life *l, msa_error *err)
{
    return srv_store_job_claim(l->store, l->now_ms, 1000, &l->job, err);
}

static msa_status finish(life *l, msa_error *err)
{
    srv_result result = {.number = 1, .size_bytes = CONTENT, .sop_instance_uid = "2.25.1"};
    const srv_segment segment = {.number = 1, .voxels = 1, .label = "liver"};
    const char *to[] = {"pacs"};
    memcpy(result.sha256, l->sha256, sizeof result.sha256);
    return srv_store_job_done(l->store, l->job.id, l->job.token, &result, 1, &segment, 1, "", "", to, 1,
                              l->now_ms, err);
}

static msa_status deliver(life *l, msa_error *err)
{
    srv_delivery d;
    MSA_TRY(srv_store_delivery_claim(l->store, "pacs", l->now_ms, &d, err));
    MSA_TRY(srv_store_delivery_done(l->store, d.id, d.token, DICOM_DELIVERED, 0, "", 0, 0, l->now_ms, err));
    return srv_store_job_get_id(l->store, d.job_id, &l->job, err);
}

static msa_status store_object(life *l, msa_error *err)
{
    int64_t size = 0;
    MSA_TRY(put_blob(l, l->uid, l->sha256, &size, err));
    MSA_TRY(grouped(l, put_row, err));
    promise("stored", l->uid, l->sha256);
    return grouped(l, index_it, err);
}

/* Whatever is queued, also what an earlier life has left. */
static msa_status do_jobs(life *l, msa_error *err)
{
    int64_t size = 0;
    MSA_TRY(grouped(l, tick, err));
    for (;;) {
        l->now_ms += 100;
        const msa_status none = grouped(l, claim, err);
        if (none == MSA_E_NOT_FOUND) break;
        MSA_TRY(none);
        MSA_TRY(put_blob(l, l->job.input_key, l->sha256, &size, err));
        MSA_TRY(grouped(l, finish, err));
        promise("done", l->job.public_id, l->sha256);
    }
    *err = (msa_error)MSA_ERROR_INIT;
    for (;;) {
        const msa_status none = grouped(l, deliver, err);
        if (none == MSA_E_NOT_FOUND) break;
        MSA_TRY(none);
        promise("delivered", l->job.public_id, "");
    }
    *err = (msa_error)MSA_ERROR_INIT;
    return MSA_OK;
}

static msa_status open_all(life *l, const char *root, msa_error *err)
{
    char path[512];
    int32_t n = 0;
    MSA_TRY(srv_blobs_open(&l->blobs, root, err));
    MSA_TRY(srv_blobs_clean_incoming(l->blobs, &n, err));
    (void)snprintf(path, sizeof path, "%s/catalogue.sqlite", root);
    MSA_TRY(srv_store_open(&l->store, path, err));
    return srv_store_recover(l->store, l->now_ms, &n, err);
}

static void close_all(life *l)
{
    srv_store_free(l->store);
    srv_blobs_free(l->blobs);
    l->store = NULL;
    l->blobs = NULL;
}

/* One object, and what becomes possible with it. */
static msa_status step(life *l, int64_t number, msa_error *err)
{
    l->now_ms += 1000;
    (void)snprintf(l->series, sizeof l->series, "1.2.%lld", (long long)(number / IMAGES));
    (void)snprintf(l->uid, sizeof l->uid, "1.3.%lld.%d", (long long)number, (int)getpid() % 1000);
    MSA_TRY(store_object(l, err));
    if (number % IMAGES != IMAGES - 1) return MSA_OK;
    MSA_TRY(grouped(l, annotate, err));
    l->now_ms += 1000;
    return do_jobs(l, err);
}

/* A full disk or no memory costs the step at hand; a disk that fails ends the service (invariant 1). */
static bool goes_on(const life *l, msa_status status)
{
    if (srv_blobs_bad(l->blobs) || srv_store_failing(l->store)) return false;
    return status == MSA_OK || status == MSA_E_BUSY || status == MSA_E_NOMEM || status == MSA_E_IO;
}

int durable_live(const char *root, int objects)
{
    life l = {.now_ms = 1000};
    msa_error err = MSA_ERROR_INIT;
    int status = 0;
    if (open_all(&l, root, &err) != MSA_OK) {
        (void)fprintf(stderr, "not opened: %s\n", err.what);
        close_all(&l);
        return 3;
    }
    srv_store_counts counts = {0};
    if (srv_store_count(l.store, &counts, &err) != MSA_OK) status = 3;
    for (int k = 0; k < objects && status == 0; k++) {
        err = (msa_error)MSA_ERROR_INIT;
        const msa_status done = step(&l, counts.instances + k, &err);
        if (done != MSA_OK) (void)fprintf(stderr, "object %d: %s\n", k, err.what);
        if (!goes_on(&l, done)) status = done == MSA_E_INTERNAL || done == MSA_E_INVALID ? 2 : 3;
        if (k != objects / 2 || status != 0) continue;
        close_all(&l); /* a stop and a start: the log goes into the database */
        if (open_all(&l, root, &err) != MSA_OK) status = 3;
    }
    close_all(&l);
    return status;
}

int durable_put_blobs(const char *root, int objects)
{
    life l = {0};
    msa_error err = MSA_ERROR_INIT;
    int64_t size = 0;
    msa_status status = srv_blobs_open(&l.blobs, root, &err);
    for (int k = 0; k < objects && status == MSA_OK; k++) {
        (void)snprintf(l.uid, sizeof l.uid, "1.4.%d", k);
        status = put_blob(&l, l.uid, l.sha256, &size, &err);
        if (status == MSA_OK) promise("blob", l.sha256, "");
    }
    srv_blobs_free(l.blobs);
    return status == MSA_OK ? 0 : 3;
}
