/* The worker pool: N work roles that run jobs, their leases, deadlines and restarts. */
#include "server/core/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dicom/seg.h"
#include "engine/base/log.h"
#include "server/core/role.h"

#define LEASE_MS     60000
#define HEARTBEAT_MS 15000u
#define PROGRESS_MS  500u
#define RESTART_MS   1000u

typedef struct worker {
    srv_workers *pool;
    srv_role *role;
    int number;
    bool ready;
    bool retire;      /* it has done its share of jobs: replaced when idle */
    int jobs_done;
    int starts_failed; /* in a row */
    uint64_t restart_at_ms;
    /* the job it has; job.id 0: none */
    srv_job job;
    bool busy;        /* from claim to the end of bookkeeping */
    bool done_sent;   /* JOB_DONE has come: what follows is core's work */
    uint64_t deadline_ms, beat_at_ms;
    int32_t progress_done, progress_total, beaten_done;
    bool beating;
    srv_segment *segments;
    srv_ipc_result *results;
    size_t n_segments, n_results;
} worker;

#define SEGMENTS_MAX 256
#define RESULTS_MAX  DICOM_SEG_FILES_MAX

struct srv_workers {
    srv_core *core;
    worker *worker;
    int n, tasks; /* tasks under way */
    bool claiming, again, stopped;
};

/* ---- claiming and handing over ---- */

typedef struct claim_task {
    srv_task task; /* first */
    srv_workers *pool;
    srv_job job;
    srv_ipc_instance *instances; /* owned */
    dicom_prompt *prompts;       /* owned */
    size_t n_instances, n_prompts, cap_instances, cap_prompts;
    bool no_memory;
    int64_t now_ms;
} claim_task;

static void job_ended(worker *w);
static void fail_job(worker *w, const char *reason, bool final);

static bool grow(void **array, size_t *cap, size_t used, size_t item)
{
    if (used < *cap) return true;
    const size_t wanted = *cap == 0 ? 64 : *cap * 2;
    void *bigger = realloc(*array, wanted * item);
    if (bigger == NULL) return false;
    *array = bigger;
    *cap = wanted;
    return true;
}

static void claim_instance(void *ctx, const srv_instance *instance)
{
    claim_task *t = ctx;
    if (!grow((void **)&t->instances, &t->cap_instances, t->n_instances, sizeof *t->instances)) {
        t->no_memory = true;
        return;
    }
    memcpy(t->instances[t->n_instances++].sha256, instance->sha256, MSA_SHA256_HEX);
}

static void claim_prompt(void *ctx, const srv_prompt *prompt)
{
    claim_task *t = ctx;
    if (!grow((void **)&t->prompts, &t->cap_prompts, t->n_prompts, sizeof *t->prompts)) {
        t->no_memory = true;
        return;
    }
    t->prompts[t->n_prompts++] = prompt->prompt;
}

static msa_status run_claim(srv_task *task, srv_store *store, msa_error *err)
{
    claim_task *t = (claim_task *)task;
    MSA_TRY(srv_store_job_claim(store, t->now_ms, LEASE_MS, &t->job, err));
    MSA_TRY(srv_store_job_instances(store, t->job.id, claim_instance, t, err));
    MSA_TRY(srv_store_job_prompts(store, t->job.id, claim_prompt, t, err));
    return t->no_memory ? msa_fail(err, MSA_E_NOMEM, "out of memory") : MSA_OK;
}

static void job_dir(const worker *w, char path[SRV_PATH_MAX + 64])
{
    (void)snprintf(path, SRV_PATH_MAX + 64, "%s/jobs/%lld-%lld", w->pool->core->config->storage_path,
                   (long long)w->job.id, (long long)w->job.token);
}

static msa_status send_job(worker *w, const claim_task *t, msa_error *err)
{
    srv_ipc_job message = {.job_id = w->job.id, .token = w->job.token};
    char dir[SRV_PATH_MAX + 64];
    job_dir(w, dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return msa_fail(err, errno == ENOSPC ? MSA_E_BUSY : MSA_E_IO, "cannot make the job folder: %s", strerror(errno));
    memcpy(message.input_key, w->job.input_key, sizeof message.input_key);
    (void)snprintf(message.job_dir, sizeof message.job_dir, "%.*s", SRV_PATH_MAX - 1, dir);
    MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB, &message, sizeof message, err));
    for (size_t i = 0; i < t->n_instances; i++)
        MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB_INSTANCE, &t->instances[i], sizeof t->instances[i], err));
    for (size_t i = 0; i < t->n_prompts; i++)
        MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB_PROMPT, &t->prompts[i], sizeof t->prompts[i], err));
    return srv_role_send(w->role, SRV_IPC_JOB_GO, NULL, 0, err);
}

static worker *idle_worker(srv_workers *pool)
{
    for (int i = 0; i < pool->n; i++)
        if (pool->worker[i].ready && !pool->worker[i].busy && !pool->worker[i].retire) return &pool->worker[i];
    return NULL;
}

static void give_job(worker *w, claim_task *t)
{
    msa_error err = MSA_ERROR_INIT;
    srv_core *core = w->pool->core;
    w->job = t->job;
    w->busy = true;
    w->done_sent = false;
    w->n_segments = w->n_results = 0;
    w->progress_done = w->progress_total = w->beaten_done = 0;
    w->deadline_ms = uv_now(core->loop) + (uint64_t)core->config->work_timeout_s * 1000u;
    w->beat_at_ms = uv_now(core->loop) + HEARTBEAT_MS;
    msa_log(MSA_LOG_INFO, "job", "id=%s started attempt=%d worker=%d instances=%zu prompts=%zu", t->job.public_id,
            t->job.attempt, w->number, t->n_instances, t->n_prompts);
    srv_http_job_changed(core->http, t->job.public_id);
    if (send_job(w, t, &err) != MSA_OK) fail_job(w, err.what, false);
}

static void done_claim(srv_task *task)
{
    claim_task *t = (claim_task *)task;
    srv_workers *pool = t->pool;
    pool->claiming = false;
    pool->tasks--;
    if (task->status == MSA_OK) {
        worker *w = idle_worker(pool);
        /* The worker that was idle has ended meanwhile: the lease runs out and the job is claimed again. */
        if (w != NULL) give_job(w, t);
        pool->again = true; /* there may be another one, for another worker */
    } else if (task->status != MSA_E_NOT_FOUND) {
        msa_log(MSA_LOG_ERROR, "job", "claim what=\"%s\"", task->err.what);
    }
    free(t->instances);
    free(t->prompts);
    free(t);
    if (pool->again) srv_workers_kick(pool);
    srv_core_part_stopped(pool->core);
}

void srv_workers_kick(srv_workers *pool)
{
    if (pool->core->stopping) return;
    pool->again = true;
    if (pool->claiming || idle_worker(pool) == NULL) return;
    claim_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    t->task.run = run_claim;
    t->task.done = done_claim;
    t->pool = pool;
    t->now_ms = srv_now_ms();
    pool->again = false;
    pool->claiming = true;
    pool->tasks++;
    srv_core_submit(pool->core, &t->task);
}

/* ---- the end of a job ---- */

typedef struct end_task {
    srv_task task; /* first */
    worker *w;
    int64_t job_id, token, now_ms;
    bool final;
    char reason[MSA_ERROR_WHAT_MAX], warnings[512];
    char public_id[33], preview_sha256[MSA_SHA256_HEX];
    /* storing result files: on libuv's pool */
    uv_work_t work;
    srv_blobs *blobs;
    char dir[SRV_PATH_MAX + 64];
    srv_result results[RESULTS_MAX];
    srv_ipc_result names[RESULTS_MAX];
    size_t n_results, n_segments;
    srv_segment *segments; /* owned */
    msa_status stored;
    msa_error stored_err;
} end_task;

static end_task *new_end_task(worker *w, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                              void (*done)(srv_task *))
{
    end_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->w = w;
    t->job_id = w->job.id;
    t->token = w->job.token;
    t->now_ms = srv_now_ms();
    t->blobs = w->pool->core->blobs;
    memcpy(t->public_id, w->job.public_id, sizeof t->public_id);
    job_dir(w, t->dir);
    w->pool->tasks++;
    return t;
}

static void finish_end_task(end_task *t)
{
    worker *w = t->w;
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
    return srv_store_job_failed(store, t->job_id, t->token, t->reason, t->final, t->now_ms, err);
}

static void done_fail(srv_task *task)
{
    end_task *t = (end_task *)task;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "job", "id=%s not_recorded what=\"%s\"", t->public_id, task->err.what);
    finish_end_task(t);
}

static void fail_job(worker *w, const char *reason, bool final)
{
    msa_log(MSA_LOG_WARN, "job", "id=%s failed attempt=%d of=%d final=%d reason=\"%s\"", w->job.public_id,
            w->job.attempt, w->job.max_attempts, final, reason);
    end_task *t = new_end_task(w, run_fail, done_fail);
    if (t == NULL) { /* the lease runs out instead */
        job_ended(w);
        return;
    }
    t->final = final;
    (void)snprintf(t->reason, sizeof t->reason, "%s", reason);
    srv_core_submit(w->pool->core, &t->task);
}

static msa_status run_done(srv_task *task, srv_store *store, msa_error *err)
{
    end_task *t = (end_task *)task;
    const srv_config *config = t->w->pool->core->config;
    const char *destinations[SRV_DESTINATIONS_MAX];
    for (int32_t i = 0; i < config->n_destinations; i++) destinations[i] = config->destinations[i].name;
    return srv_store_job_done(store, t->job_id, t->token, t->results, t->n_results, t->segments, t->n_segments,
                              t->preview_sha256, t->warnings, destinations, (size_t)config->n_destinations,
                              t->now_ms, err);
}

static void done_done(srv_task *task)
{
    end_task *t = (end_task *)task;
    srv_core *core = t->w->pool->core;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "job", "id=%s not_recorded what=\"%s\"", t->public_id, task->err.what);
    else {
        core->live.jobs_done_total++;
        msa_log(MSA_LOG_INFO, "job", "id=%s done results=%zu segments=%zu", t->public_id, t->n_results, t->n_segments);
        srv_outbox_kick(core->outbox);
    }
    finish_end_task(t);
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
            t->stored = msa_fail(&t->stored_err, MSA_E_INTERNAL, "the worker named a result that is not there");
            return;
        }
        t->stored = srv_blob_put_file(t->blobs, path, r->sha256, &r->size_bytes, &t->stored_err);
        if (t->stored != MSA_OK) return;
    }
    (void)snprintf(path, sizeof path, "%s/preview.png", t->dir);
    int64_t size = 0;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
        t->stored = srv_blob_put_file(t->blobs, path, t->preview_sha256, &size, &t->stored_err);
}

static void results_stored(uv_work_t *work, int cancelled)
{
    end_task *t = work->data;
    worker *w = t->w;
    srv_core *core = w->pool->core;
    if (srv_blobs_bad(core->blobs)) srv_core_fatal(core, "a result could not be made durable (fsync failed)");
    if (cancelled != 0 || t->stored != MSA_OK) {
        char reason[MSA_ERROR_WHAT_MAX];
        (void)snprintf(reason, sizeof reason, "%s", cancelled != 0 ? "the service is stopping" : t->stored_err.what);
        w->pool->tasks--;
        free(t->segments);
        free(t);
        fail_job(w, reason, false);
        return;
    }
    srv_core_submit(core, &t->task);
}

/* A name is used as a path: only what our own writer produces. */
static bool is_result_name(const char *name)
{
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && strcmp(name + n, ".dcm") == 0;
}

static void keep_results(worker *w, const srv_ipc_job_done *m)
{
    end_task *t = new_end_task(w, run_done, done_done);
    srv_segment *segments = calloc(w->n_segments + 1, sizeof *segments);
    if (t == NULL || segments == NULL) {
        free(segments);
        if (t != NULL) w->pool->tasks--;
        free(t);
        fail_job(w, "out of memory", false);
        return;
    }
    memcpy(segments, w->segments, w->n_segments * sizeof *segments);
    t->segments = segments;
    t->n_segments = w->n_segments;
    t->n_results = w->n_results;
    memcpy(t->warnings, m->warnings, sizeof t->warnings);
    t->warnings[sizeof t->warnings - 1] = '\0';
    for (size_t i = 0; i < w->n_results; i++) {
        t->names[i] = w->results[i];
        srv_result *r = &t->results[i];
        r->job_id = w->job.id;
        r->number = (int32_t)i + 1;
        (void)snprintf(r->sop_class_uid, sizeof r->sop_class_uid, "1.2.840.10008.5.1.4.1.1.66.4");
        memcpy(r->sop_instance_uid, w->results[i].sop_instance_uid, sizeof r->sop_instance_uid);
        memcpy(r->series_uid, w->results[i].series_uid, sizeof r->series_uid);
    }
    t->work.data = t;
    if (uv_queue_work(w->pool->core->loop, &t->work, store_results, results_stored) != 0)
        results_stored(&t->work, UV_ECANCELED);
}

/* ---- messages ---- */

static void on_ready(worker *w, const srv_ipc_ready *m)
{
    srv_core *core = w->pool->core;
    w->ready = true;
    w->starts_failed = 0;
    if (!core->model_known) {
        core->model = *m;
        core->model.model_name[sizeof core->model.model_name - 1] = '\0';
        core->model.model_version[sizeof core->model.model_version - 1] = '\0';
        core->model.model_hash[sizeof core->model.model_hash - 1] = '\0';
        core->model_known = true;
    } else if (strncmp(core->model.model_hash, m->model_hash, sizeof m->model_hash) != 0) {
        msa_log(MSA_LOG_ERROR, "work", "worker=%d the model file changed while msad runs; restart msad to use it",
                w->number);
        w->ready = false;
        srv_role_kill(w->role);
        return;
    }
    srv_workers_kick(w->pool);
}

static void on_segment(worker *w, const srv_ipc_segment *m)
{
    if (w->n_segments >= SEGMENTS_MAX) {
        srv_role_kill(w->role);
        return;
    }
    srv_segment *s = &w->segments[w->n_segments++];
    *s = (srv_segment){.job_id = w->job.id,
                       .voxels = m->voxels,
                       .number = (int32_t)w->n_segments,
                       .first_slice = m->first_slice,
                       .last_slice = m->last_slice,
                       .volume_ml = m->volume_ml,
                       .mean_iou = m->mean_iou};
    memcpy(s->label, m->label, sizeof s->label);
    memcpy(s->note, m->note, sizeof s->note);
    s->label[sizeof s->label - 1] = '\0';
    s->note[sizeof s->note - 1] = '\0';
}

static void on_result(worker *w, const srv_ipc_result *m)
{
    srv_ipc_result r = *m;
    r.name[sizeof r.name - 1] = '\0';
    r.sop_instance_uid[sizeof r.sop_instance_uid - 1] = '\0';
    r.series_uid[sizeof r.series_uid - 1] = '\0';
    if (w->n_results >= RESULTS_MAX || !is_result_name(r.name)) {
        srv_role_kill(w->role);
        return;
    }
    w->results[w->n_results++] = r;
}

static void on_done(worker *w, const srv_ipc_job_done *m)
{
    srv_core *core = w->pool->core;
    w->done_sent = true;
    w->jobs_done++;
    if (core->config->work_jobs_per_worker > 0 && w->jobs_done >= core->config->work_jobs_per_worker) w->retire = true;
    if (m->slices > 0) core->live.engine_slices_total += m->slices;
    if (m->engine_seconds > 0) core->live.engine_seconds_total += m->engine_seconds;
    if (m->status == MSA_OK) {
        keep_results(w, m);
        return;
    }
    char what[MSA_ERROR_WHAT_MAX];
    (void)snprintf(what, sizeof what, "%.*s", (int)sizeof what - 1, m->what);
    /* What lies in the input comes out the same next time; what lies in the machine may not. */
    const bool final = m->status == MSA_E_PARSE || m->status == MSA_E_UNSUPPORTED || m->status == MSA_E_INVALID;
    fail_job(w, what, final);
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    worker *w = ctx;
    const bool working = w->busy && !w->done_sent;
    if (type == SRV_IPC_WORK_READY && !w->ready) on_ready(w, body);
    else if (type == SRV_IPC_JOB_PROGRESS && working) {
        const srv_ipc_progress *m = body;
        w->progress_done = m->done;
        w->progress_total = m->total;
    } else if (type == SRV_IPC_JOB_SEGMENT && working) on_segment(w, body);
    else if (type == SRV_IPC_JOB_RESULT && working) on_result(w, body);
    else if (type == SRV_IPC_JOB_DONE && working) on_done(w, body);
    else srv_role_kill(w->role);
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    worker *w = ctx;
    srv_core *core = w->pool->core;
    const bool expected = w->retire || core->stopping;
    w->role = NULL;
    if (!w->ready) w->starts_failed++;
    w->ready = w->retire = false;
    w->jobs_done = 0;
    w->restart_at_ms = uv_now(core->loop) + (expected ? 0 : RESTART_MS);
    if (!expected) {
        core->live.worker_crashes_total++;
        msa_log(MSA_LOG_WARN, "work", "worker=%d ended signal=%d status=%d", w->number, how->signal, how->status);
    }
    if (w->busy && !w->done_sent) {
        char reason[MSA_ERROR_WHAT_MAX];
        if (uv_now(core->loop) > w->deadline_ms)
            (void)snprintf(reason, sizeof reason, "the job took longer than work.timeout_s (%d s) and was stopped",
                           core->config->work_timeout_s);
        else if (how->signal != 0)
            (void)snprintf(reason, sizeof reason, "the worker process was ended by signal %d (%s)", how->signal,
                           strsignal(how->signal));
        else
            (void)snprintf(reason, sizeof reason, "the worker process ended early with status %d", how->status);
        w->done_sent = true;
        fail_job(w, reason, false);
    }
    srv_core_part_stopped(core);
}

/* ---- the pool ---- */

static msa_status start_worker(worker *w, msa_error *err)
{
    const srv_config *config = w->pool->core->config;
    const srv_role_events events = {.ctx = w, .message = on_message, .exited = on_exited};
    srv_ipc_work_start start = {.threads = config->work_threads,
                                .memory_mib = config->work_memory_mib,
                                .series_number = config->result_series_number};
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s", config->storage_path);
    (void)snprintf(start.model_path, sizeof start.model_path, "%s", config->model_path);
    (void)snprintf(start.series_description, sizeof start.series_description, "%s", config->result_series_description);
    (void)snprintf(start.log_level, sizeof start.log_level, "%s", config->log_level);
    MSA_TRY(srv_role_spawn(&w->role, w->pool->core->loop, "work", -1, &events, err));
    return srv_role_send(w->role, SRV_IPC_WORK_START, &start, sizeof start, err);
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

static void job_ended(worker *w)
{
    remove_work *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->work.data = r;
        job_dir(w, r->dir);
        if (uv_queue_work(w->pool->core->loop, &r->work, remove_dir, removed) != 0) free(r);
    }
    w->busy = false;
    w->job = (srv_job){0};
    if (w->role != NULL && (w->retire || w->pool->core->stopping)) srv_role_finish(w->role);
    srv_workers_kick(w->pool);
}

msa_status srv_workers_start(srv_core *core, msa_error *err)
{
    srv_workers *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    pool->core = core;
    core->workers = pool;
    pool->worker = calloc((size_t)core->config->work_workers, sizeof *pool->worker);
    if (pool->worker == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    pool->n = core->config->work_workers;
    for (int i = 0; i < pool->n; i++) {
        worker *w = &pool->worker[i];
        w->pool = pool;
        w->number = i + 1;
        w->segments = calloc(SEGMENTS_MAX, sizeof *w->segments);
        w->results = calloc(RESULTS_MAX, sizeof *w->results);
        if (w->segments == NULL || w->results == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        MSA_TRY(start_worker(w, err));
    }
    return MSA_OK;
}

typedef struct beat_task {
    srv_task task; /* first */
    worker *w;
    int64_t job_id, token, until_ms;
    int32_t done, total;
    char public_id[33];
} beat_task;

static msa_status run_beat(srv_task *task, srv_store *store, msa_error *err)
{
    beat_task *t = (beat_task *)task;
    return srv_store_job_heartbeat(store, t->job_id, t->token, t->until_ms, t->done, t->total, err);
}

static void done_beat(srv_task *task)
{
    beat_task *t = (beat_task *)task;
    worker *w = t->w;
    w->beating = false;
    w->pool->tasks--;
    if (task->status == MSA_E_INVALID && w->busy && !w->done_sent && w->job.id == t->job_id && w->job.token == t->token) {
        msa_log(MSA_LOG_WARN, "job", "id=%s lease_lost what=\"%s\"", t->public_id, task->err.what);
        if (w->role != NULL) srv_role_kill(w->role);
    } else if (task->status == MSA_OK) {
        srv_http_job_changed(w->pool->core->http, t->public_id);
    }
    free(t);
    srv_core_part_stopped(w->pool->core);
}

static void beat(worker *w)
{
    beat_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    t->task.run = run_beat;
    t->task.done = done_beat;
    t->w = w;
    t->job_id = w->job.id;
    t->token = w->job.token;
    t->until_ms = srv_now_ms() + LEASE_MS;
    t->done = w->progress_done;
    t->total = w->progress_total;
    memcpy(t->public_id, w->job.public_id, sizeof t->public_id);
    w->beating = true;
    w->beaten_done = w->progress_done;
    w->beat_at_ms = uv_now(w->pool->core->loop) + HEARTBEAT_MS;
    w->pool->tasks++;
    srv_core_submit(w->pool->core, &t->task);
}

static void tick_worker(worker *w, uint64_t now)
{
    msa_error err = MSA_ERROR_INIT;
    if (w->role == NULL && !w->busy && !w->pool->core->stopping && now >= w->restart_at_ms) {
        if (start_worker(w, &err) != MSA_OK) {
            msa_log(MSA_LOG_ERROR, "work", "worker=%d what=\"%s\"", w->number, err.what);
            w->restart_at_ms = now + RESTART_MS;
        }
        return;
    }
    if (!w->busy || w->done_sent) return;
    if (now > w->deadline_ms && w->role != NULL) srv_role_kill(w->role);
    const bool progressed = w->progress_done != w->beaten_done && now + HEARTBEAT_MS >= w->beat_at_ms + PROGRESS_MS;
    if (!w->beating && (now >= w->beat_at_ms || progressed)) beat(w);
}

void srv_workers_tick(srv_workers *pool)
{
    for (int i = 0; i < pool->n; i++) tick_worker(&pool->worker[i], uv_now(pool->core->loop));
    if (pool->again) srv_workers_kick(pool);
}

void srv_workers_stop(srv_workers *pool, bool now)
{
    for (int i = 0; i < pool->n; i++) {
        worker *w = &pool->worker[i];
        if (w->role == NULL) continue;
        if (now) srv_role_kill(w->role);
        else if (!w->busy) srv_role_finish(w->role);
    }
}

bool srv_workers_idle(const srv_workers *pool)
{
    if (pool == NULL) return true;
    for (int i = 0; i < pool->n; i++)
        if (pool->worker[i].role != NULL || pool->worker[i].busy) return false;
    return pool->tasks == 0;
}

void srv_workers_live(const srv_workers *pool, srv_http_live *live)
{
    int ready = 0, failing = 0;
    live->workers = live->workers_busy = 0;
    for (int i = 0; i < pool->n; i++) {
        ready += pool->worker[i].ready;
        failing += pool->worker[i].starts_failed >= 3;
        live->workers++;
        live->workers_busy += pool->worker[i].busy;
    }
    live->ready = ready > 0;
    (void)snprintf(live->not_ready_reason, sizeof live->not_ready_reason, "%s",
                   ready > 0 ? "" : failing > 0 ? "the workers cannot start; see the log" : "the workers are starting");
}

void srv_workers_free(srv_workers *pool)
{
    if (pool == NULL) return;
    for (int i = 0; i < pool->n; i++) {
        free(pool->worker[i].segments);
        free(pool->worker[i].results);
    }
    free(pool->worker);
    free(pool);
}
