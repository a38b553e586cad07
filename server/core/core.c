#include "server/core/core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/core/role.h"
#include "server/roles/sandbox.h"

#define TICK_MS       250u
#define MODEL_WAIT_MS 120000u

void srv_core_submit(srv_core *core, srv_task *task)
{
    task->err = (msa_error)MSA_ERROR_INIT;
    const msa_status st = srv_store_thread_submit(core->store, task, &task->err);
    if (st == MSA_OK) return;
    task->status = st;
    task->done(task);
}

bool srv_core_try_later(srv_core *core, srv_task *task)
{
    if (task->status != MSA_E_BUSY || core->stopping) return false;
    if (core->later == NULL) msa_log(MSA_LOG_WARN, "core", "recorded_later what=\"%s\"", task->err.what);
    task->next = core->later;
    core->later = task;
    return true;
}

static void submit_later(srv_core *core)
{
    srv_task *task = core->later;
    core->later = NULL;
    for (srv_task *next = NULL; task != NULL; task = next) {
        next = task->next;
        srv_core_submit(core, task);
    }
}

/* ---- completeness ---- */

typedef struct tick_task {
    srv_task task; /* first */
    srv_core *core;
    srv_job_policy policy;
    int64_t now_ms, next_due_ms;
    int32_t queued;
} tick_task;

static msa_status run_tick(srv_task *task, srv_store *store, msa_error *err)
{
    tick_task *t = (tick_task *)task;
    return srv_jobs_tick(store, &t->policy, t->now_ms, &t->queued, &t->next_due_ms, err);
}

static void done_tick(srv_task *task)
{
    tick_task *t = (tick_task *)task;
    srv_core *core = t->core;
    core->ticking = false;
    if (task->status != MSA_OK) msa_log(MSA_LOG_ERROR, "jobs", "what=\"%s\"", task->err.what);
    if (t->queued > 0) srv_workers_kick(core->workers);
    free(t);
    srv_core_part_stopped(core);
}

srv_job_policy srv_core_policy(const srv_core *core)
{
    const srv_config *config = core->config;
    return (srv_job_policy){
        .settle_ms = config->completeness_settle_ms,
        .quiet_ms = config->completeness_quiet_ms,
        .prompt_settle_ms = config->completeness_prompt_settle_ms,
        .max_attempts = config->work_attempts,
        .settings = core->settings_key,
        .automatic = core->automatic_key,
        .models = &core->models,
    };
}

void srv_core_poke_jobs(srv_core *core)
{
    if (core->ticking || core->stopping || !core->model_known) return;
    tick_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    t->task.run = run_tick;
    t->task.done = done_tick;
    t->core = core;
    t->now_ms = srv_now_ms();
    t->policy = srv_core_policy(core);
    core->ticking = true;
    srv_core_submit(core, &t->task);
}

static void on_tick(uv_timer_t *timer)
{
    srv_core *core = timer->data;
    if (srv_store_thread_bad(core->store))
        srv_core_fatal(
            core, "the catalogue could not be made durable (a write or fsync failed): check the disk that "
                  "holds storage.path, then start msad again");
    if (srv_blobs_bad(core->blobs)) /* of an upload */
        srv_core_fatal(core, "a file could not be made durable (fsync failed): check the disk that holds "
                             "storage.path, then start msad again");
    submit_later(core); /* before leases are looked at, so that what was held up does not run out */
    srv_disk_tick(core->disk);
    srv_retainer_tick(core->retainer);
    srv_intake_deadlines(core->intake);
    srv_indexer_tick(core->indexer);
    srv_workers_tick(core->workers);
    srv_outbox_tick(core->outbox);
    srv_lifecycle_tick(core);
    srv_inquiry_tick(core->inquiry);
    srv_echo_tick(core, false);
    srv_core_poke_jobs(core);
    /* Retries of jobs whose pause is over, once a second; an idle worker asks the queue, which is one indexed
     * read. */
    static unsigned ticks;
    if (++ticks % (1000u / TICK_MS) == 0) srv_workers_kick(core->workers);
}

static void live(void *ctx, srv_http_live *out)
{
    srv_core *core = ctx;
    *out = core->live;
    srv_workers_live(core->workers, out);
    srv_disk_live(core->disk, out);
    if (core->stopping) {
        out->ready = false;
        (void)snprintf(out->not_ready_reason, sizeof out->not_ready_reason, "the service is stopping");
    }
}

static void prompts_changed(void *ctx)
{
    srv_core *core = ctx;
    srv_indexer_kick(core->indexer); /* it may have come as a file */
    srv_core_poke_jobs(core);
}

static void job_cancelled(void *ctx, const char *public_id)
{
    srv_core *core = ctx;
    srv_workers_cancel(core->workers, public_id);
}

static bool circuit(void *ctx, const char *destination, srv_http_circuit *out)
{
    return srv_outbox_circuit(((srv_core *)ctx)->outbox, destination, out);
}

static void deliveries_changed(void *ctx)
{
    srv_outbox_retry(((srv_core *)ctx)->outbox);
}

static msa_status echo(void *ctx, const dicom_destination *to, srv_echo_fn *done, void *done_ctx, msa_error *err)
{
    return srv_echo_begin(ctx, to, done, done_ctx, err);
}

static msa_status look(void *ctx, const char *path, srv_header_fn *done, void *done_ctx, msa_error *err)
{
    srv_core *core = ctx;
    if (core->stopping) return msa_fail(err, MSA_E_BUSY, "the service is stopping");
    return srv_indexer_look(core->indexer, path, done, done_ctx, err);
}

/* ---- starting ---- */

static msa_status make_dir(const char *path, msa_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return MSA_OK;
    return msa_fail(err, MSA_E_IO,
                    "cannot make the folder %s: %s; set storage.path to a place that msad may write", path,
                    strerror(errno));
}

/* One msad for one storage folder: two would both believe they own the queue. */
static msa_status lock_storage(const char *root, int *fd, msa_error *err)
{
    char path[SRV_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/lock", root);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return msa_fail(err, MSA_E_IO,
                        "cannot open %s: %s; storage.path must be a folder that msad may write", path,
                        strerror(errno));
    /* A core that was killed leaves roles that end within moments; they hold no lock, so there is nothing to
     * wait for. */
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return msa_fail(err, MSA_E_BUSY, "another msad already uses %s; stop it, or set storage.path", root);
    return MSA_OK;
}

static void remove_job_leftovers(const char *root)
{
    char jobs[SRV_PATH_MAX + 16];
    uv_fs_t outer, inner, req;
    uv_dirent_t job, file;
    (void)snprintf(jobs, sizeof jobs, "%s/jobs", root);
    if (uv_fs_scandir(NULL, &outer, jobs, 0, NULL) >= 0) {
        while (uv_fs_scandir_next(&outer, &job) == 0) {
            char dir[sizeof jobs + 256], path[sizeof dir + 256];
            (void)snprintf(dir, sizeof dir, "%s/%s", jobs, job.name);
            if (uv_fs_scandir(NULL, &inner, dir, 0, NULL) >= 0)
                while (uv_fs_scandir_next(&inner, &file) == 0) {
                    (void)snprintf(path, sizeof path, "%s/%s", dir, file.name);
                    (void)uv_fs_unlink(NULL, &req, path, NULL);
                    uv_fs_req_cleanup(&req);
                }
            uv_fs_req_cleanup(&inner);
            (void)rmdir(dir);
        }
    }
    uv_fs_req_cleanup(&outer);
}

static msa_status open_storage(srv_core *core, int *lock_fd, msa_error *err)
{
    const char *root = core->config->storage_path;
    char path[SRV_PATH_MAX + 32];
    MSA_TRY(make_dir(root, err));
    MSA_TRY(lock_storage(root, lock_fd, err));
    (void)snprintf(path, sizeof path, "%s/jobs", root);
    MSA_TRY(make_dir(path, err));
    remove_job_leftovers(root);
    MSA_TRY(srv_blobs_open(&core->blobs, root, err));
    int32_t removed = 0, requeued = 0;
    MSA_TRY(srv_blobs_clean_incoming(core->blobs, &removed, err));
    MSA_AUTO(srv_store) store = NULL;
    (void)snprintf(path, sizeof path, "%s/catalogue.sqlite", root);
    MSA_TRY(srv_store_open(&store, path, err));
    MSA_TRY(srv_store_recover(store, srv_now_ms(), &requeued, err));
    if (removed > 0 || requeued > 0)
        msa_log(MSA_LOG_INFO, "core", "recovered unfinished_files=%d requeued_jobs=%d", removed, requeued);
    return srv_store_thread_start(&core->store, core->loop, MSA_STEAL(store), err);
}

static void model_timeout(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void model_poll(uv_timer_t *timer)
{
    srv_core *core = timer->data;
    srv_http_live state = {0};
    srv_workers_live(core->workers, &state);
    srv_workers_tick(core->workers);
    if (core->model_known || strstr(state.not_ready_reason, "cannot") != NULL) uv_stop(core->loop);
}

/* Series that waited under other rules may need no prompt under these. In the store's own order: before any
 * tick. */
typedef struct rules_task {
    srv_task task; /* first */
    char hash[MSA_SHA256_HEX];
    bool changed;
} rules_task;

static msa_status run_rules(srv_task *task, srv_store *store, msa_error *err)
{
    rules_task *t = (rules_task *)task;
    return srv_store_rules_known(store, t->hash, &t->changed, err);
}

static void done_rules(srv_task *task)
{
    rules_task *t = (rules_task *)task;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_ERROR, "core", "rules_not_recorded what=\"%s\"", task->err.what);
    else if (t->changed)
        msa_log(MSA_LOG_INFO, "core", "rules_changed series that wait for prompts are looked at again");
    free(t);
}

static msa_status tell_rules(srv_core *core, msa_error *err)
{
    rules_task *t = calloc(1, sizeof *t);
    if (t == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    t->task.run = run_rules;
    t->task.done = done_rules;
    msa_sha256_bytes(core->models.rules, (size_t)core->models.n_rules * sizeof *core->models.rules, NULL,
                     t->hash);
    srv_core_submit(core, &t->task);
    return MSA_OK;
}

/* The first worker says which model it loaded: name and hash are part of every job from the first one on. */
static msa_status wait_for_model(srv_core *core, msa_error *err)
{
    uv_timer_t *timer = &core->tick;
    timer->data = core;
    (void)uv_timer_start(timer, model_poll, 10, 10);
    (void)uv_timer_start(&core->stop_deadline, model_timeout, MODEL_WAIT_MS, 0);
    (void)uv_run(core->loop, UV_RUN_DEFAULT);
    (void)uv_timer_stop(timer);
    (void)uv_timer_stop(&core->stop_deadline);
    if (core->stopping) return msa_fail(err, MSA_E_CANCELED, "told to stop before a worker was ready");
    if (!core->model_known)
        return msa_fail(err, MSA_E_INVALID, "no worker could start; its own line above says why");
    return MSA_OK;
}

static msa_status start_http(srv_core *core, msa_error *err)
{
    const srv_http_env env = {
        .loop = core->loop,
        .config = core->config,
        .store = core->store,
        .blobs = core->blobs,
        .models = &core->models,
        .live = live,
        .circuit = circuit,
        .deliveries_changed = deliveries_changed,
        .prompts_changed = prompts_changed,
        .job_cancelled = job_cancelled,
        .look = look,
        .echo = echo,
        .ctx = core,
    };
    return srv_http_start(&core->http, &env, &core->http_port, err);
}

/* The settings that a result depends on, as texts of the input key. */
static void settle_keys(srv_core *core)
{
    const srv_config *c = core->config;
    msa_auto_options *o = &core->automatic;
    *o = msa_auto_defaults();
    o->points_per_side = c->automatic_points_per_side;
    o->regions_max = c->automatic_regions_max;
    o->area_min_mm2 = (float)c->automatic_area_min_mm2;
    o->iou_min = (float)c->automatic_iou_percent / 100;
    o->stability_min = (float)c->automatic_stability_percent / 100;
    o->link_iou = (float)c->automatic_link_percent / 100;
    (void)snprintf(core->automatic_key, sizeof core->automatic_key,
                   "points=%d regions=%d area=%d iou=%d stability=%d link=%d", c->automatic_points_per_side,
                   c->automatic_regions_max, c->automatic_area_min_mm2, c->automatic_iou_percent,
                   c->automatic_stability_percent, c->automatic_link_percent);
    (void)snprintf(core->settings_key, sizeof core->settings_key,
                   "version=%s series_number=%d series_description=%s", MSAD_VERSION, c->result_series_number,
                   c->result_series_description);
}

static msa_status start(srv_core *core, int *lock_fd, msa_error *err)
{
    settle_keys(core);
    MSA_TRY(open_storage(core, lock_fd, err));
    MSA_TRY(srv_disk_start(core, err));
    MSA_TRY(srv_retainer_start(core, err));
    MSA_TRY(srv_workers_start(core, err));
    MSA_TRY(wait_for_model(core, err));
    MSA_TRY(tell_rules(core, err));
    MSA_TRY(start_http(core, err));
    MSA_TRY(srv_indexer_start(core, err));
    MSA_TRY(srv_outbox_start(core, err));
    MSA_TRY(srv_inquiry_start(core, err));
    return srv_intake_start(core, err);
}

static void close_walked(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* After uv_stop: everything that had work under way has ended. */
static void finish(srv_core *core)
{
    srv_http_stop(core->http);
    core->http = NULL; /* tasks that the store thread still finishes may want to tell it */
    if (core->store != NULL) srv_store_thread_stop(core->store);
    uv_close((uv_handle_t *)&core->tick, NULL);
    srv_lifecycle_close(core);
    /* uv_stop() may be called once more by the last of the roles: run until nothing is left. */
    for (int i = 0; i < 8 && uv_run(core->loop, UV_RUN_DEFAULT) != 0; i++)
        continue;
    uv_walk(core->loop, close_walked, NULL); /* a start that failed half way */
    for (int i = 0; i < 8 && uv_run(core->loop, UV_RUN_DEFAULT) != 0; i++)
        continue;
    srv_intake_free(core->intake);
    srv_indexer_free(core->indexer);
    srv_workers_free(core->workers);
    srv_outbox_free(core->outbox);
    srv_inquiry_free(core->inquiry);
    srv_disk_free(core->disk);
    srv_retainer_free(core->retainer);
    srv_blobs_free(core->blobs);
}

/* Which models there are and what for; what cannot be used does not stop the service, but is said. */
static void log_models(const srv_model_table *t)
{
    for (int32_t i = 0; i < t->n_models; i++) {
        const srv_model_info *m = &t->models[i];
        if (m->error[0] != '\0')
            msa_log(MSA_LOG_WARN, "core", "adapter=%s cannot_be_used what=\"%s\"", m->adapter, m->error);
        else
            msa_log(MSA_LOG_INFO, "core", "model=%s version=%s adapter=%s hash=%.12s untrained=%d", m->name,
                    m->version, m->adapter, m->hash, m->untrained);
    }
    for (int32_t i = 0; i < t->n_rules; i++) {
        const srv_rule *r = &t->rules[i];
        char title[64];
        srv_rule_title(r, title);
        msa_log(r->model < 0 ? MSA_LOG_WARN : MSA_LOG_INFO, "core",
                "rule=%s modality=%s body_part=%s label=%s prompts=%s model=%s", title, r->modality,
                r->body_part, r->label, srv_policy_name(srv_rule_policy(r)),
                r->model < 0 ? "passed_over" : t->models[r->model].name);
    }
}

static void serve(srv_core *core)
{
    const srv_model_info *any = srv_model_any(&core->models);
    log_models(&core->models);
    msa_log(MSA_LOG_INFO, "core",
            "ready version=%s ae=%s dicom=%s:%d http=%s:%d workers=%d threads=%d model=%s untrained=%d "
            "destinations=%d",
            MSAD_VERSION, core->config->dicom_ae_title, core->config->dicom_bind, core->dicom_port,
            core->config->http_bind, core->http_port, core->config->work_workers, core->config->work_threads,
            any->name, any->untrained, core->config->n_destinations);
    (void)uv_timer_start(&core->tick, on_tick, TICK_MS, TICK_MS);
    srv_indexer_kick(core->indexer);
    srv_workers_kick(core->workers);
    srv_lifecycle_ready(core);
    (void)uv_run(core->loop, UV_RUN_DEFAULT);
}

static void look_at_sandbox(const srv_config *config)
{
    const char *missing = srv_sandbox_missing();
    if (!config->security_sandbox) srv_role_spawn_unconfined();
    if (!config->security_sandbox || missing != NULL)
        msa_log(MSA_LOG_WARN, "core",
                "NO SANDBOX: a hostile file or peer can do whatever this service may. why=\"%s\"",
                missing != NULL ? missing : "security.sandbox is false");
}

int srv_core_run(const srv_config *config, const char *config_path)
{
    srv_core core = {.config = config, .config_path = config_path, .loop = uv_default_loop()};
    msa_error err = MSA_ERROR_INIT;
    int lock_fd = -1;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)uv_timer_init(core.loop, &core.tick);
    core.tick.data = &core;
    srv_lifecycle_open(&core);
    look_at_sandbox(config);
    const msa_status status = start(&core, &lock_fd, &err);
    if (status == MSA_OK) {
        serve(&core);
    } else {
        if (!core.stopping) {
            msa_log(MSA_LOG_ERROR, "core", "cannot_start why=\"%s\"", err.what);
            core.exit_status = 1;
        }
        core.stopping = true;
        if (core.workers != NULL) srv_workers_stop(core.workers, true);
        if (core.indexer != NULL) srv_indexer_stop(core.indexer, true);
    }
    finish(&core);
    if (lock_fd >= 0) (void)close(lock_fd);
    srv_reload_free(&core);
    msa_log(MSA_LOG_INFO, "core", "stopped status=%d", core.exit_status);
    return core.exit_status;
}
