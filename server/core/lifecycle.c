/* From the first signal to the last: SIGTERM, SIGINT, SIGHUP, and what the service manager is told. */
#include "server/core/core.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/log.h"

#define DRAIN_MS 25000u /* then what still runs is ended; 30 s are promised, and systemd allows more */

static void stop_now(uv_timer_t *timer)
{
    srv_core *core = timer->data;
    msa_log(MSA_LOG_WARN, "core", "what=\"ending what still runs\"");
    srv_intake_stop(core->intake, true);
    srv_indexer_stop(core->indexer, true);
    srv_workers_stop(core->workers, true);
    srv_outbox_stop(core->outbox, true);
    srv_inquiry_stop(core->inquiry, true);
    srv_echo_tick(core, true);
}

static void begin_stop(srv_core *core, uint64_t drain_ms)
{
    if (!core->stopping) {
        core->stopping = true;
        msa_log(MSA_LOG_INFO, "core", "stopping");
        srv_notify_send(&core->notify, "STOPPING=1\nSTATUS=finishing what is in flight");
        if (!core->serving) { /* still waiting for a worker: there is nothing to finish */
            uv_stop(core->loop);
            return;
        }
        srv_intake_stop(core->intake, false);
        srv_indexer_stop(core->indexer, false);
        srv_workers_stop(core->workers, false);
        srv_outbox_stop(core->outbox, false);
    } else {
        drain_ms = 0; /* told twice */
    }
    if (!core->serving) return;
    (void)uv_timer_start(&core->stop_deadline, stop_now, drain_ms, 1000);
    srv_core_part_stopped(core);
}

static void on_stop_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    begin_stop(handle->data, DRAIN_MS);
}

void srv_core_fatal(srv_core *core, const char *why)
{
    if (core->exit_status == 0) msa_log(MSA_LOG_ERROR, "core", "fatal why=\"%s\"", why);
    core->exit_status = 1;
    begin_stop(core, 0);
}

void srv_core_part_stopped(srv_core *core)
{
    if (!core->stopping || core->ticking || !srv_intake_idle(core->intake) ||
        !srv_indexer_idle(core->indexer) || !srv_workers_idle(core->workers) ||
        !srv_outbox_idle(core->outbox) || !srv_inquiry_idle(core->inquiry) || !srv_disk_idle(core->disk) ||
        core->echoes != NULL || !srv_retainer_idle(core->retainer))
        return;
    uv_stop(core->loop);
}

/* ---- the service manager ---- */

static void tell_ready(const srv_core *core)
{
    char plain[32] = "", secure[32] = "";
    if (core->dicom_port >= 0) (void)snprintf(plain, sizeof plain, " port %d", core->dicom_port);
    if (core->dicom_tls_port >= 0)
        (void)snprintf(secure, sizeof secure, " port %d (TLS)", core->dicom_tls_port);
    srv_notify_send(&core->notify, "READY=1\nSTATUS=%s takes DICOM on %s%s%s%s, REST on %s port %d",
                    core->config->dicom_ae_title, core->config->dicom_bind, plain,
                    plain[0] != '\0' && secure[0] != '\0' ? " and" : "", secure, core->config->http_bind,
                    core->http_port);
}

static void on_reload_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    srv_core *core = handle->data;
    msa_error err = MSA_ERROR_INIT;
    if (!core->serving || core->stopping) return;
    srv_notify_reloading(&core->notify);
    if (srv_core_reload(core, &err) == MSA_OK) {
        msa_log(MSA_LOG_INFO, "core", "reloaded dicom=%s:%d destinations=%d", core->config->dicom_bind,
                core->dicom_port, core->config->n_destinations);
        tell_ready(core);
        return;
    }
    msa_log(MSA_LOG_ERROR, "core", "not_reloaded the settings stay as they were why=\"%s\"", err.what);
    srv_notify_send(&core->notify, "READY=1\nSTATUS=not reloaded: %s", err.what);
}

/* A sign of life needs both threads: the loop sends a task, and only its return is told. */
typedef struct pulse {
    srv_task task; /* first */
    srv_core *core;
} pulse;

static msa_status run_pulse(srv_task *task, srv_store *store, msa_error *err)
{
    (void)task;
    (void)store;
    (void)err;
    return MSA_OK;
}

static void done_pulse(srv_task *task)
{
    srv_core *core = ((pulse *)task)->core;
    core->pulsing = false;
    srv_notify_send(&core->notify, "WATCHDOG=1");
    free(task);
}

void srv_lifecycle_tick(srv_core *core)
{
    const uint64_t now = uv_now(core->loop);
    if (core->notify.watchdog_ms == 0 || core->pulsing || now < core->pulse_at_ms) return;
    pulse *p = calloc(1, sizeof *p);
    if (p == NULL) return;
    p->task.run = run_pulse;
    p->task.done = done_pulse;
    p->core = core;
    core->pulsing = true;
    core->pulse_at_ms = now + (uint64_t)core->notify.watchdog_ms / 4;
    srv_core_submit(core, &p->task);
}

/* ---- start and end ---- */

void srv_lifecycle_open(srv_core *core)
{
    srv_notify_open(&core->notify);
    (void)uv_timer_init(core->loop, &core->stop_deadline);
    (void)uv_signal_init(core->loop, &core->on_term);
    (void)uv_signal_init(core->loop, &core->on_int);
    (void)uv_signal_init(core->loop, &core->on_hup);
    core->stop_deadline.data = core->on_term.data = core->on_int.data = core->on_hup.data = core;
    (void)uv_signal_start(&core->on_term, on_stop_signal, SIGTERM);
    (void)uv_signal_start(&core->on_int, on_stop_signal, SIGINT);
    (void)uv_signal_start(&core->on_hup, on_reload_signal, SIGHUP);
}

void srv_lifecycle_ready(srv_core *core)
{
    core->serving = true;
    tell_ready(core);
}

void srv_lifecycle_close(srv_core *core)
{
    uv_close((uv_handle_t *)&core->stop_deadline, NULL);
    uv_close((uv_handle_t *)&core->on_term, NULL);
    uv_close((uv_handle_t *)&core->on_int, NULL);
    uv_close((uv_handle_t *)&core->on_hup, NULL);
    srv_notify_close(&core->notify);
}
