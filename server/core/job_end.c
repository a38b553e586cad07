/* What follows a job: its files made durable, its outcome recorded, its folder removed. */
#include "server/core/workers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"

#define INNOCENT_PAUSE_MS 10000 /* until a try that was nobody's fault is repeated */

void srv_worker_job_dir(const srv_worker *w, char path[SRV_PATH_MAX + 64])
{
    (void)snprintf(path, SRV_PATH_MAX + 64, "%s/jobs/%lld-%lld", w->pool->core->config->storage_path,
                   (long long)w->job.id, (long long)w->job.token);
}

typedef struct remove_work {
    uv_work_t work;
    char dir[SRV_PATH_MAX + 64];
} remove_work;

static void remove_dir(uv_work_t *work)
{
    remove_work *r = work->data;
    uv_fs_t scan, unlink_req;
    if (uv_fs_scandir(NULL, &scan, r->dir, 0, NULL) >= 0) {
        uv_dirent_t entry;
        while (uv_fs_scandir_next(&scan, &entry) == 0) {
            char path[sizeof r->dir + 256];
            (void)snprintf(path, sizeof path, "%s/%s", r->dir, entry.name);
            (void)uv_fs_unlink(NULL, &unlink_req, path, NULL);
            uv_fs_req_cleanup(&unlink_req);
        }
    }
    uv_fs_req_cleanup(&scan);
    (void)rmdir(r->dir);
}

static void removed(uv_work_t *work, int status)
{
    (void)status;
    free(work->data);
}

static void job_ended(srv_worker *w)
{
    remove_work *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->work.data = r;
        srv_worker_job_dir(w, r->dir);
        if (uv_queue_work(w->pool->core->loop, &r->work, remove_dir, removed) != 0) free(r);
    }
    w->busy = false;
    w->job = (srv_job){0};
    if (w->role != NULL && (w->retire || w->pool->core->stopping)) srv_role_finish(w->role);
    srv_workers_kick(w->pool);
}

typedef struct end_task {
    srv_task task; /* first */
    srv_worker *w;
    int64_t job_id, token, now_ms;
    srv_failure failure;
    srv_targets targets;
    char reason[MSA_ERROR_WHAT_MAX], warnings[512];
    char public_id[33], preview_sha256[MSA_SHA256_HEX], slices_sha256[MSA_SHA256_HEX];
    /* storing result files: on libuv's pool */
    uv_work_t work;
    srv_blobs *blobs;
    char dir[SRV_PATH_MAX + 64];
    srv_result results[SRV_JOB_RESULTS_MAX];
    srv_ipc_result names[SRV_JOB_RESULTS_MAX];
    size_t n_results, n_segments;
    srv_segment *segments; /* owned */
    msa_status stored;
    msa_error stored_err;
} end_task;

static end_task *new_end_task(srv_worker *w, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                              void (*done)(srv_task *))
{
    end_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->w = w;
    t->job_id = w->job.id;
    t->token = w->job.token;
    t->targets = w->targets;
    t->now_ms = srv_now_ms();
    t->blobs = w->pool->core->blobs;
    memcpy(t->public_id, w->job.public_id, sizeof t->public_id);
    srv_worker_job_dir(w, t->dir);
    w->pool->tasks++;
    return t;
}

static void finish_end_task(end_task *t)
{
    srv_worker *w = t->w;
    srv_core *core = w->pool->core;
    srv_http_job_changed(core->http, t->public_id);
    w->pool->tasks--;
    free(t->segments);
    free(t);
    job_ended(w);
    srv_core_poke_jobs(core);
    srv_core_part_stopped(core);
}

static msa_status run_fail(srv_task *task, srv_store *store, msa_error *err)
{
    end_task *t = (end_task *)task;
    if (t->failure == SRV_FAILED_INNOCENT)
        return srv_store_job_put_back(store, t->job_id, t->token, t->reason, t->now_ms + INNOCENT_PAUSE_MS,
                                      t->now_ms, err);
    return srv_store_job_failed(store, t->job_id, t->token, t->reason, t->failure == SRV_FAILED_FOR_GOOD,
                                t->now_ms, err);
}

static void done_fail(srv_task *task)
{
    end_task *t = (end_task *)task;
    if (srv_core_try_later(t->w->pool->core, task)) return;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "job", "id=%s not_recorded what=\"%s\"", t->public_id, task->err.what);
    finish_end_task(t);
}

void srv_worker_fail_job(srv_worker *w, const char *reason, srv_failure failure)
{
    static const char *const names[] = {"counted", "final", "not_counted"};
    msa_log(MSA_LOG_WARN, "job", "id=%s failed attempt=%d of=%d failure=%s reason=\"%s\"", w->job.public_id,
            w->job.attempt, w->job.max_attempts, names[failure], reason);
    end_task *t = new_end_task(w, run_fail, done_fail);
    if (t == NULL) { /* the lease runs out instead */
        job_ended(w);
        return;
    }
    t->failure = failure;
    (void)snprintf(t->reason, sizeof t->reason, "%s", reason);
    srv_core_submit(w->pool->core, &t->task);
}

void srv_worker_drop_job(srv_worker *w)
{
    msa_log(MSA_LOG_INFO, "job", "id=%s cancelled", w->job.public_id);
    job_ended(w);
}

/* Not MSA_E_BUSY, which waits: the lease runs out, and it is made again. */
static msa_status check_kept(const end_task *t, msa_error *err)
{
    const char *kept[SRV_JOB_RESULTS_MAX + 2] = {t->preview_sha256, t->slices_sha256};
    for (size_t k = 0; k < t->n_results; k++)
        kept[2 + k] = t->results[k].sha256;
    for (size_t k = 0; k < 2 + t->n_results; k++) /* a job may be without pictures */
        if (kept[k][0] != '\0' && srv_core_has_blob(t->w->pool->core, kept[k], NULL) != MSA_OK)
            return msa_fail(err, MSA_E_INVALID, "the same result was just being forgotten");
    return MSA_OK;
}

static msa_status run_done(srv_task *task, srv_store *store, msa_error *err)
{
    end_task *t = (end_task *)task;
    const srv_targets *to = &t->targets;
    const char *destinations[SRV_DESTINATIONS_MAX];
    for (int32_t i = 0; i < to->n; i++) {
        destinations[i] = to->name[i];
        for (size_t k = 0; k < t->n_results; k++)
            if (t->names[k].form < 0 || t->names[k].form == to->form[i])
                t->results[k].destinations |= 1u << i;
    }
    MSA_TRY(check_kept(t, err));
    MSA_TRY(srv_store_job_slices(store, t->job_id, t->token, t->slices_sha256, err));
    return srv_store_job_done(store, t->job_id, t->token, t->results, t->n_results, t->segments,
                              t->n_segments, t->preview_sha256, t->warnings, destinations, (size_t)to->n,
                              t->now_ms, err);
}

static void done_done(srv_task *task)
{
    end_task *t = (end_task *)task;
    srv_core *core = t->w->pool->core;
    if (srv_core_try_later(core, task)) return;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "job", "id=%s not_recorded what=\"%s\"", t->public_id, task->err.what);
    else {
        core->live.jobs_done_total++;
        msa_log(MSA_LOG_INFO, "job", "id=%s done results=%zu segments=%zu", t->public_id, t->n_results,
                t->n_segments);
        srv_outbox_kick(core->outbox);
    }
    finish_end_task(t);
}

/* One of the pictures that a job may have. */
static msa_status store_picture(end_task *t, const char *name, char sha256[MSA_SHA256_HEX])
{
    char path[sizeof t->dir + 16];
    struct stat st;
    int64_t size = 0;
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, name);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) return MSA_OK;
    return srv_blob_put_file(t->blobs, path, sha256, &size, &t->stored_err);
}

/* libuv's pool: hashes, copies and syncs the files of one job. */
static void store_results(uv_work_t *work)
{
    end_task *t = work->data;
    char path[sizeof t->dir + sizeof t->names[0].name];
    struct stat st;
    for (size_t i = 0; i < t->n_results; i++) {
        srv_result *r = &t->results[i];
        (void)snprintf(path, sizeof path, "%s/%s", t->dir, t->names[i].name);
        if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
            t->stored =
                msa_fail(&t->stored_err, MSA_E_INTERNAL, "the worker named a result that is not there");
            return;
        }
        t->stored = srv_blob_put_file(t->blobs, path, r->sha256, &r->size_bytes, &t->stored_err);
        if (t->stored != MSA_OK) return;
    }
    t->stored = store_picture(t, "preview.png", t->preview_sha256);
    if (t->stored == MSA_OK) t->stored = store_picture(t, "slices.png", t->slices_sha256);
}

static void results_stored(uv_work_t *work, int cancelled)
{
    end_task *t = work->data;
    srv_worker *w = t->w;
    srv_core *core = w->pool->core;
    if (srv_blobs_bad(core->blobs)) srv_core_fatal(core, "a result could not be made durable (fsync failed)");
    if (cancelled != 0 || t->stored != MSA_OK) {
        char reason[MSA_ERROR_WHAT_MAX];
        const bool innocent = cancelled != 0 || t->stored == MSA_E_BUSY || srv_blobs_bad(core->blobs);
        (void)snprintf(reason, sizeof reason, "%s",
                       cancelled != 0 ? "the service is stopping" : t->stored_err.what);
        w->pool->tasks--;
        free(t->segments);
        free(t);
        srv_worker_fail_job(w, reason, innocent ? SRV_FAILED_INNOCENT : SRV_FAILED_TRY);
        return;
    }
    srv_core_submit(core, &t->task);
}

void srv_worker_keep_results(srv_worker *w, const srv_ipc_job_done *m)
{
    end_task *t = new_end_task(w, run_done, done_done);
    srv_segment *segments = calloc(w->n_segments + 1, sizeof *segments);
    if (t == NULL || segments == NULL) {
        free(segments);
        if (t != NULL) w->pool->tasks--;
        free(t);
        srv_worker_fail_job(w, "out of memory", SRV_FAILED_TRY);
        return;
    }
    memcpy(segments, w->segments, w->n_segments * sizeof *segments);
    t->segments = segments;
    t->n_segments = w->n_segments;
    t->n_results = w->n_results;
    memcpy(t->warnings, m->warnings, sizeof t->warnings);
    SRV_IPC_END(t->warnings);
    for (size_t i = 0; i < w->n_results; i++) {
        t->names[i] = w->results[i];
        srv_result *r = &t->results[i];
        r->job_id = w->job.id;
        r->number = (int32_t)i + 1;
        memcpy(r->sop_class_uid, w->results[i].sop_class_uid, sizeof r->sop_class_uid);
        memcpy(r->sop_instance_uid, w->results[i].sop_instance_uid, sizeof r->sop_instance_uid);
        memcpy(r->series_uid, w->results[i].series_uid, sizeof r->series_uid);
        memcpy(r->form, w->results[i].form_name, sizeof r->form);
    }
    t->work.data = t;
    if (uv_queue_work(w->pool->core->loop, &t->work, store_results, results_stored) != 0)
        results_stored(&t->work, UV_ECANCELED);
}
