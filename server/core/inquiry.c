/* Questions to the sources of series: how many images are there? One at a time, by a send role (C-FIND). */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/core/role.h"

#define PAUSE_MS 200u /* between looks for something to ask */

struct srv_inquiry {
    srv_core *core;
    srv_role *role;
    int32_t next;      /* the source whose series are looked for next */
    int64_t series_id; /* asked for; 0: none */
    dicom_destination source;
    dicom_find_result result;
    bool answered;
    int tasks; /* under way */
    uint64_t look_at_ms, deadline_ms;
};

typedef struct ask_task {
    srv_task task; /* first */
    srv_inquiry *q;
    dicom_destination source;
    srv_series series;
    int64_t now_ms;
    int32_t images;
} ask_task;

static ask_task *new_task(srv_inquiry *q, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                          void (*done)(srv_task *))
{
    ask_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->q = q;
    t->source = q->source;
    t->now_ms = srv_now_ms();
    q->tasks++;
    return t;
}

static msa_status run_found(srv_task *task, srv_store *store, msa_error *err)
{
    const ask_task *t = (const ask_task *)task;
    return srv_store_series_found(store, t->series.id, t->images, err);
}

static void done_found(srv_task *task)
{
    ask_task *t = (ask_task *)task;
    srv_core *core = t->q->core;
    if (srv_core_try_later(core, task)) return;
    if (task->status != MSA_OK) msa_log(MSA_LOG_WARN, "inquiry", "not_recorded what=\"%s\"", task->err.what);
    t->q->tasks--;
    free(t);
    srv_core_poke_jobs(core);
    srv_core_part_stopped(core);
}

/* The answer, or that there is none: either lets completeness go on. */
static void conclude(srv_inquiry *q)
{
    const dicom_find_result *r = &q->result;
    const bool known = r->said.outcome == DICOM_DELIVERED;
    msa_log(known ? MSA_LOG_INFO : MSA_LOG_WARN, "inquiry",
            "source=\"%s\" series=%lld images=%d comment=\"%s\"", q->source.ae_title, (long long)q->series_id,
            r->images, r->said.comment);
    ask_task *t = new_task(q, run_found, done_found);
    if (t != NULL) { /* else the quiet time decides */
        t->series.id = q->series_id;
        t->images = known && r->images > 0 ? r->images : 0;
    }
    q->series_id = 0;
    if (t != NULL) srv_core_submit(q->core, &t->task);
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    srv_inquiry *q = ctx;
    if (type != SRV_IPC_FOUND || q->answered) {
        srv_role_kill(q->role);
        return;
    }
    q->result = *(const dicom_find_result *)body;
    SRV_IPC_END(q->result.said.comment);
    q->answered = true;
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    srv_inquiry *q = ctx;
    q->role = NULL;
    if (!q->answered) {
        q->result = (dicom_find_result){.said = {.outcome = DICOM_RETRY, .dimse_status = -1}};
        char ended[SRV_ROLE_END_MAX];
        srv_role_end_text(how, ended, sizeof ended);
        (void)snprintf(q->result.said.comment, sizeof q->result.said.comment, "the asking process %s", ended);
    }
    conclude(q);
    srv_core_part_stopped(q->core);
}

static msa_status start_role(srv_inquiry *q, const srv_series *series, msa_error *err)
{
    const srv_role_events events = {.ctx = q, .message = on_message, .exited = on_exited};
    srv_ipc_find_start start = {.source = q->source};
    memcpy(start.study_uid, series->study_uid, sizeof start.study_uid);
    memcpy(start.series_uid, series->series_uid, sizeof start.series_uid);
    q->answered = false;
    q->deadline_ms = uv_now(q->core->loop) + ((uint64_t)q->source.timeout_s * 5u + 10u) * 1000u;
    MSA_TRY(srv_role_spawn(&q->role, q->core->loop, "send", -1, &events, err));
    /* A role that cannot take its order exits, and its exit is the answer. */
    (void)srv_role_send(q->role, SRV_IPC_FIND_START, &start, sizeof start, NULL);
    return MSA_OK;
}

static msa_status run_ask(srv_task *task, srv_store *store, msa_error *err)
{
    ask_task *t = (ask_task *)task;
    return srv_store_series_ask(store, t->source.ae_title, t->now_ms, &t->series, err);
}

static void done_ask(srv_task *task)
{
    ask_task *t = (ask_task *)task;
    srv_inquiry *q = t->q;
    msa_error err = MSA_ERROR_INIT;
    q->tasks--;
    if (task->status == MSA_OK) {
        q->series_id = t->series.id;
        q->source = t->source;
        q->look_at_ms = 0; /* there may be another one */
        if (q->core->stopping || start_role(q, &t->series, &err) != MSA_OK) {
            q->result = (dicom_find_result){.said = {.outcome = DICOM_RETRY, .dimse_status = -1}};
            (void)snprintf(q->result.said.comment, sizeof q->result.said.comment, "%s",
                           q->core->stopping ? "the service is stopping" : err.what);
            conclude(q);
        }
    } else if (task->status != MSA_E_NOT_FOUND) {
        msa_log(MSA_LOG_ERROR, "inquiry", "what=\"%s\"", task->err.what);
    }
    free(t);
    srv_core_part_stopped(q->core);
}

void srv_inquiry_tick(srv_inquiry *q)
{
    const srv_config *config = q->core->config;
    const uint64_t now = uv_now(q->core->loop);
    if (q->role != NULL && now > q->deadline_ms) srv_role_kill(q->role);
    if (config->n_sources == 0 || q->series_id != 0 || q->tasks > 0 || q->core->stopping ||
        now < q->look_at_ms)
        return;
    q->next = (q->next + 1) % config->n_sources;
    q->source = config->sources[q->next];
    ask_task *t = new_task(q, run_ask, done_ask);
    if (t == NULL) return;
    q->look_at_ms = now + (q->next == config->n_sources - 1 ? PAUSE_MS : 0);
    srv_core_submit(q->core, &t->task);
}

msa_status srv_inquiry_start(srv_core *core, msa_error *err)
{
    srv_inquiry *q = calloc(1, sizeof *q);
    if (q == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    q->core = core;
    core->inquiry = q;
    return MSA_OK;
}

void srv_inquiry_stop(srv_inquiry *q, bool now)
{
    if (now && q != NULL && q->role != NULL) srv_role_kill(q->role);
}

bool srv_inquiry_idle(const srv_inquiry *q)
{
    return q == NULL || (q->role == NULL && q->tasks == 0);
}

void srv_inquiry_free(srv_inquiry *q)
{
    free(q);
}
