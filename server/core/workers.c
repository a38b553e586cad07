/* The worker pool: N work roles that run jobs, their leases, deadlines and restarts. */
#include "server/core/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/log.h"

#define LEASE_MS     60000
#define HEARTBEAT_MS 15000u
#define PROGRESS_MS  500u
#define RESTART_MS   1000u
#define START_MS     120000u /* to load the model: the largest takes seconds */

/* ---- claiming and handing over ---- */

typedef struct claim_task {
    srv_task task; /* first */
    srv_workers *pool;
    srv_job job;
    srv_rule_subject subject;
    srv_job_policy policy;
    srv_ipc_instance *instances; /* owned */
    srv_ipc_prompt *prompts;     /* owned */
    size_t n_instances, n_prompts, cap_instances, cap_prompts;
    bool no_memory;
    int64_t now_ms;
} claim_task;

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
    const srv_rule *rule = srv_model_rule_for(t->policy.models, &t->subject, &prompt->prompt);
    t->prompts[t->n_prompts++] = (srv_ipc_prompt){prompt->prompt, (int32_t)(rule - t->policy.models->rules)};
}

static msa_status run_claim(srv_task *task, srv_store *store, msa_error *err)
{
    claim_task *t = (claim_task *)task;
    MSA_TRY(srv_store_job_claim(store, t->now_ms, LEASE_MS, &t->job, err));
    MSA_TRY(srv_store_job_rebind(store, &t->job, &t->policy, err));
    MSA_TRY(srv_store_job_subject(store, t->job.id, &t->subject, err));
    MSA_TRY(srv_store_job_instances(store, t->job.id, claim_instance, t, err));
    MSA_TRY(srv_store_job_prompts(store, t->job.id, claim_prompt, t, err));
    return t->no_memory ? msa_fail(err, MSA_E_NOMEM, "out of memory") : MSA_OK;
}

static msa_status send_job(srv_worker *w, const claim_task *t, msa_error *err)
{
    srv_ipc_job message = {
        .job_id = w->job.id, .token = w->job.token, .rule = (int32_t)(w->rule - w->pool->core->models.rules)};
    char dir[SRV_PATH_MAX + 64];
    srv_worker_job_dir(w, dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return msa_fail(err, errno == ENOSPC ? MSA_E_BUSY : MSA_E_IO, "cannot make the job folder: %s",
                        strerror(errno));
    memcpy(message.input_key, w->job.input_key, sizeof message.input_key);
    (void)snprintf(message.job_dir, sizeof message.job_dir, "%.*s", SRV_PATH_MAX - 1, dir);
    srv_forms_wanted(&message.forms, w->pool->core->config, w->rule);
    MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB, &message, sizeof message, err));
    for (size_t i = 0; i < t->n_instances; i++)
        MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB_INSTANCE, &t->instances[i], sizeof t->instances[i], err));
    for (size_t i = 0; i < t->n_prompts; i++)
        MSA_TRY(srv_role_send(w->role, SRV_IPC_JOB_PROMPT, &t->prompts[i], sizeof t->prompts[i], err));
    return srv_role_send(w->role, SRV_IPC_JOB_GO, NULL, 0, err);
}

static srv_worker *idle_worker(srv_workers *pool)
{
    for (int i = 0; i < pool->n; i++)
        if (pool->worker[i].ready && !pool->worker[i].busy && !pool->worker[i].retire)
            return &pool->worker[i];
    return NULL;
}

static void give_job(srv_worker *w, claim_task *t)
{
    msa_error err = MSA_ERROR_INIT;
    srv_core *core = w->pool->core;
    w->job = t->job;
    w->rule = srv_model_rule_for(&core->models, &t->subject, NULL);
    srv_targets_of(&w->targets, core->config, w->rule);
    w->busy = true;
    w->done_sent = w->cancelled = false;
    w->n_segments = w->n_results = 0;
    w->progress_done = w->progress_total = w->beaten_done = 0;
    w->deadline_ms = uv_now(core->loop) + (uint64_t)core->config->work_timeout_s * 1000u;
    w->beat_at_ms = uv_now(core->loop) + HEARTBEAT_MS;
    msa_log(MSA_LOG_INFO, "job", "id=%s started attempt=%d worker=%d instances=%zu prompts=%zu rule=%s",
            t->job.public_id, t->job.attempt, w->number, t->n_instances, t->n_prompts, t->job.rule);
    srv_http_job_changed(core->http, t->job.public_id);
    const msa_status sent = send_job(w, t, &err);
    if (sent != MSA_OK)
        srv_worker_fail_job(w, err.what, sent == MSA_E_BUSY ? SRV_FAILED_INNOCENT : SRV_FAILED_TRY);
}

static void end_claim(claim_task *t)
{
    srv_workers *pool = t->pool;
    pool->claiming = false;
    pool->tasks--;
    free(t->instances);
    free(t->prompts);
    free(t);
    if (pool->again) srv_workers_kick(pool);
    srv_core_part_stopped(pool->core);
}

static msa_status run_put_back(srv_task *task, srv_store *store, msa_error *err)
{
    const claim_task *t = (claim_task *)task;
    return srv_store_job_put_back(store, t->job.id, t->job.token, "the worker ended before the job began",
                                  t->now_ms, t->now_ms, err);
}

static void done_put_back(srv_task *task)
{
    claim_task *t = (claim_task *)task;
    if (srv_core_try_later(t->pool->core, task)) return;
    if (task->status != MSA_OK) msa_log(MSA_LOG_WARN, "job", "put_back what=\"%s\"", task->err.what);
    end_claim(t);
}

static void done_claim(srv_task *task)
{
    claim_task *t = (claim_task *)task;
    srv_workers *pool = t->pool;
    if (task->status == MSA_OK) {
        srv_worker *w = pool->core->stopping ? NULL : idle_worker(pool);
        pool->again = true; /* there may be another one, for another worker */
        if (w == NULL) {    /* the worker that was idle has ended meanwhile */
            task->run = run_put_back;
            task->done = done_put_back;
            srv_core_submit(pool->core, task);
            return;
        }
        give_job(w, t);
    } else if (task->status != MSA_E_NOT_FOUND) {
        msa_log(MSA_LOG_ERROR, "job", "claim what=\"%s\"", task->err.what);
    }
    end_claim(t);
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
    t->policy = srv_core_policy(pool->core);
    t->now_ms = srv_now_ms();
    pool->again = false;
    pool->claiming = true;
    pool->tasks++;
    srv_core_submit(pool->core, &t->task);
}

/* ---- messages ---- */

static void on_model(srv_worker *w, const srv_model_info *m)
{
    if (w->told->n_models == SRV_MODELS_MAX)
        srv_role_kill(w->role);
    else
        w->told->models[w->told->n_models++] = *m;
}

static void on_rule(srv_worker *w, const srv_rule *m)
{
    if (w->told->n_rules == SRV_RULES_MAX + 1)
        srv_role_kill(w->role);
    else
        w->told->rules[w->told->n_rules++] = *m;
}

static void on_ready(srv_worker *w, const srv_ipc_ready *m)
{
    srv_core *core = w->pool->core;
    srv_model_table *told = w->told;
    if (m->n_models < 1 || m->n_rules < 1 || m->n_models != told->n_models || m->n_rules != told->n_rules) {
        srv_role_kill(w->role);
        return;
    }
    srv_model_table_mend(told);
    if (!core->model_known) {
        core->models = *told;
        core->model_known = true;
    } else if (!srv_model_table_same(&core->models, told)) {
        msa_log(MSA_LOG_ERROR, "work",
                "worker=%d the model file changed while msad runs; restart msad to use it", w->number);
        w->pool->model_changed = true;
        srv_role_kill(w->role);
        return;
    }
    w->ready = true;
    w->starts_failed = 0;
    w->pool->model_changed = false;
    srv_workers_kick(w->pool);
}

static void on_segment(srv_worker *w, const srv_ipc_segment *m)
{
    if (w->n_segments >= SRV_JOB_SEGMENTS_MAX) {
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
                       .mean_iou = m->mean_iou,
                       .candidates = m->candidates}; /* checked where they become text */
    memcpy(s->label, m->label, sizeof s->label);
    memcpy(s->note, m->note, sizeof s->note);
    SRV_IPC_END(s->label);
    SRV_IPC_END(s->note);
}

/* A name is used as a path: only what our own writer produces. */
static bool is_result_name(const char *name)
{
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && strcmp(name + n, ".dcm") == 0;
}

static void on_result(srv_worker *w, const srv_ipc_result *m)
{
    srv_ipc_result r = *m;
    SRV_IPC_END(r.name);
    SRV_IPC_END(r.form_name);
    SRV_IPC_END(r.sop_class_uid);
    SRV_IPC_END(r.sop_instance_uid);
    SRV_IPC_END(r.series_uid);
    if (w->n_results >= SRV_JOB_RESULTS_MAX || !is_result_name(r.name)) {
        srv_role_kill(w->role);
        return;
    }
    w->results[w->n_results++] = r;
}

static void on_done(srv_worker *w, const srv_ipc_job_done *m)
{
    srv_core *core = w->pool->core;
    w->done_sent = true;
    w->jobs_done++;
    if (core->config->work_jobs_per_worker > 0 && w->jobs_done >= core->config->work_jobs_per_worker)
        w->retire = true;
    if (m->slices > 0) core->live.engine_slices_total += m->slices;
    if (m->engine_seconds > 0) core->live.engine_seconds_total += m->engine_seconds;
    if (m->slices > 0 && m->engine_seconds > 0)
        srv_histogram_add(&core->live.slice_s, m->engine_seconds / (double)m->slices);
    if (m->status == MSA_OK) {
        srv_worker_keep_results(w, m);
        return;
    }
    char what[MSA_ERROR_WHAT_MAX];
    if (m->status == MSA_E_NOMEM)
        (void)snprintf(what, sizeof what,
                       "the job needs more memory than a worker may have (work.memory_mib is %d)",
                       core->config->work_memory_mib);
    else
        (void)snprintf(what, sizeof what, "%.*s", (int)sizeof what - 1, m->what);
    /* What lies in the input comes out the same next time; what lies in the machine may not. */
    const bool final =
        m->status == MSA_E_PARSE || m->status == MSA_E_UNSUPPORTED || m->status == MSA_E_INVALID;
    srv_worker_fail_job(w, what,
                        final                     ? SRV_FAILED_FOR_GOOD
                        : m->status == MSA_E_BUSY ? SRV_FAILED_INNOCENT
                                                  : SRV_FAILED_TRY);
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    srv_worker *w = ctx;
    const bool working = w->busy && !w->done_sent;
    if (type == SRV_IPC_WORK_READY && !w->ready)
        on_ready(w, body);
    else if (type == SRV_IPC_WORK_MODEL && !w->ready)
        on_model(w, body);
    else if (type == SRV_IPC_WORK_RULE_KNOWN && !w->ready)
        on_rule(w, body);
    else if (type == SRV_IPC_JOB_PROGRESS && working) {
        const srv_ipc_progress *m = body;
        w->progress_done = m->done;
        w->progress_total = m->total;
    } else if (type == SRV_IPC_JOB_SEGMENT && working)
        on_segment(w, body);
    else if (type == SRV_IPC_JOB_RESULT && working)
        on_result(w, body);
    else if (type == SRV_IPC_JOB_DONE && working)
        on_done(w, body);
    else
        srv_role_kill(w->role);
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    srv_worker *w = ctx;
    srv_core *core = w->pool->core;
    const bool expected = w->retire || w->cancelled || core->stopping;
    char ended[SRV_ROLE_END_MAX];
    srv_role_end_text(how, ended, sizeof ended);
    w->role = NULL;
    if (!w->ready) w->starts_failed++;
    w->ready = w->retire = false;
    w->jobs_done = 0;
    const int doublings =
        w->starts_failed > 2 ? w->starts_failed - 2 : 0; /* the first three tries are quick */
    w->restart_at_ms = uv_now(core->loop) + (expected ? 0 : RESTART_MS << (doublings < 6 ? doublings : 6));
    if (!expected) {
        core->live.worker_crashes_total++;
        msa_log(MSA_LOG_WARN, "work", "worker=%d ended signal=%d status=%d what=\"%s\"", w->number,
                how->signal, how->status, ended);
    }
    if (w->cancelled && w->busy && !w->done_sent) {
        w->done_sent = true;
        w->cancelled = false;
        srv_worker_drop_job(w);
    } else if (w->busy && !w->done_sent) {
        char reason[MSA_ERROR_WHAT_MAX];
        if (core->stopping)
            (void)snprintf(reason, sizeof reason, "the service stopped while the job ran");
        else if (uv_now(core->loop) > w->deadline_ms)
            (void)snprintf(reason, sizeof reason,
                           "the job took longer than work.timeout_s (%d s) and was stopped",
                           core->config->work_timeout_s);
        else
            (void)snprintf(reason, sizeof reason, "the worker process %s", ended);
        w->done_sent = true;
        srv_worker_fail_job(w, reason, core->stopping ? SRV_FAILED_INNOCENT : SRV_FAILED_TRY);
    }
    srv_core_part_stopped(core);
}

/* A job that computes looks at no message, so its process ends; the next one starts at once. */
void srv_workers_cancel(srv_workers *pool, const char *public_id)
{
    for (int i = 0; i < pool->n; i++) {
        srv_worker *w = &pool->worker[i];
        if (!w->busy || w->done_sent || w->role == NULL || strcmp(w->job.public_id, public_id) != 0) continue;
        w->cancelled = true;
        srv_role_kill(w->role);
    }
}

/* ---- the pool ---- */

static msa_status start_worker(srv_worker *w, msa_error *err)
{
    const srv_config *config = w->pool->core->config;
    const srv_role_events events = {.ctx = w, .message = on_message, .exited = on_exited};
    srv_ipc_work_start start = {.threads = config->work_threads,
                                .memory_mib = config->work_memory_mib,
                                .cache_memory_mib = config->cache_memory_mib,
                                .cache_disk_mib = config->cache_disk_mib,
                                .series_number = config->result_series_number};
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s", config->storage_path);
    (void)snprintf(start.model_path, sizeof start.model_path, "%s", config->model_path);
    (void)snprintf(start.model_adapter, sizeof start.model_adapter, "%s", config->model_adapter);
    (void)snprintf(start.model_precision, sizeof start.model_precision, "%s", config->model_precision);
    (void)snprintf(start.model_adapters_dir, sizeof start.model_adapters_dir, "%s",
                   config->model_adapters_dir);
    start.automatic = w->pool->core->automatic;
    start.n_rules = config->n_rules;
    start.report = config->result_report;
    (void)snprintf(start.series_description, sizeof start.series_description, "%s",
                   config->result_series_description);
    (void)snprintf(start.log_level, sizeof start.log_level, "%s", config->log_level);
    w->ready_by_ms = uv_now(w->pool->core->loop) + START_MS;
    w->told->n_models = w->told->n_rules = 0;
    MSA_TRY(srv_role_spawn(&w->role, w->pool->core->loop, "work", -1, &events, err));
    MSA_TRY(srv_role_send(w->role, SRV_IPC_WORK_START, &start, sizeof start, err));
    for (int32_t i = 0; i < config->n_rules; i++)
        MSA_TRY(srv_role_send(w->role, SRV_IPC_WORK_RULE, &config->rules[i], sizeof config->rules[i], err));
    return MSA_OK;
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
        srv_worker *w = &pool->worker[i];
        w->pool = pool;
        w->number = i + 1;
        w->segments = calloc(SRV_JOB_SEGMENTS_MAX, sizeof *w->segments);
        w->results = calloc(SRV_JOB_RESULTS_MAX, sizeof *w->results);
        w->told = calloc(1, sizeof *w->told);
        if (w->segments == NULL || w->results == NULL || w->told == NULL)
            return msa_fail(err, MSA_E_NOMEM, "out of memory");
        MSA_TRY(start_worker(w, err));
    }
    return MSA_OK;
}

typedef struct beat_task {
    srv_task task; /* first */
    srv_worker *w;
    int64_t job_id, token;
    int32_t done, total;
    char public_id[33];
} beat_task;

static msa_status run_beat(srv_task *task, srv_store *store, msa_error *err)
{
    beat_task *t = (beat_task *)task;
    return srv_store_job_heartbeat(store, t->job_id, t->token, srv_now_ms() + LEASE_MS, t->done, t->total,
                                   err);
}

static void done_beat(srv_task *task)
{
    beat_task *t = (beat_task *)task;
    srv_worker *w = t->w;
    if (srv_core_try_later(w->pool->core, task)) return; /* a full disk must not cost the lease */
    w->beating = false;
    w->pool->tasks--;
    if (task->status == MSA_E_INVALID && w->busy && !w->done_sent && w->job.id == t->job_id &&
        w->job.token == t->token) {
        msa_log(MSA_LOG_WARN, "job", "id=%s lease_lost what=\"%s\"", t->public_id, task->err.what);
        if (w->role != NULL) srv_role_kill(w->role);
    } else if (task->status == MSA_OK) {
        srv_http_job_changed(w->pool->core->http, t->public_id);
    }
    free(t);
    srv_core_part_stopped(w->pool->core);
}

static void beat(srv_worker *w)
{
    beat_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    t->task.run = run_beat;
    t->task.done = done_beat;
    t->w = w;
    t->job_id = w->job.id;
    t->token = w->job.token;
    t->done = w->progress_done;
    t->total = w->progress_total;
    memcpy(t->public_id, w->job.public_id, sizeof t->public_id);
    w->beating = true;
    w->beaten_done = w->progress_done;
    w->beat_at_ms = uv_now(w->pool->core->loop) + HEARTBEAT_MS;
    w->pool->tasks++;
    srv_core_submit(w->pool->core, &t->task);
}

static void tick_worker(srv_worker *w, uint64_t now)
{
    msa_error err = MSA_ERROR_INIT;
    if (w->role == NULL && !w->busy && !w->pool->core->stopping && now >= w->restart_at_ms) {
        if (start_worker(w, &err) != MSA_OK) {
            msa_log(MSA_LOG_ERROR, "work", "worker=%d what=\"%s\"", w->number, err.what);
            w->restart_at_ms = now + RESTART_MS;
        }
        return;
    }
    if (w->role != NULL && !w->ready && now > w->ready_by_ms) srv_role_kill(w->role);
    if (!w->busy || w->done_sent) return;
    if (now > w->deadline_ms && w->role != NULL) srv_role_kill(w->role);
    const bool progressed =
        w->progress_done != w->beaten_done && now + HEARTBEAT_MS >= w->beat_at_ms + PROGRESS_MS;
    if (!w->beating && (now >= w->beat_at_ms || progressed)) beat(w);
}

void srv_workers_tick(srv_workers *pool)
{
    for (int i = 0; i < pool->n; i++)
        tick_worker(&pool->worker[i], uv_now(pool->core->loop));
    if (pool->again) srv_workers_kick(pool);
}

void srv_workers_stop(srv_workers *pool, bool now)
{
    for (int i = 0; i < pool->n; i++) {
        srv_worker *w = &pool->worker[i];
        if (w->role == NULL) continue;
        if (now)
            srv_role_kill(w->role);
        else if (!w->busy)
            srv_role_finish(w->role);
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
    (void)snprintf(
        live->not_ready_reason, sizeof live->not_ready_reason, "%s",
        ready > 0 ? ""
        : pool->model_changed
            ? "the workers cannot start: the model file changed while msad runs; restart msad to use it"
        : failing > 0 ? "the workers cannot start; see the log"
                      : "the workers are starting");
}

void srv_workers_free(srv_workers *pool)
{
    if (pool == NULL) return;
    for (int i = 0; i < pool->n; i++) {
        free(pool->worker[i].segments);
        free(pool->worker[i].results);
        free(pool->worker[i].told);
    }
    free(pool->worker);
    free(pool);
}
