/* Deliveries: the outbox of each destination, one send role at a time, retry with backoff and jitter. */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/log.h"
#include "server/core/role.h"

#define POLL_MS     1000u
#define BREAK_AFTER 3 /* failures in a row */
#define EXPIRE_MS   60000u

typedef struct channel { /* one destination */
    struct channel *next;
    srv_outbox *outbox;
    dicom_destination to;
    bool dropped; /* not in the settings any more: nothing new is sent */
    srv_role *role;
    srv_delivery delivery; /* being sent; id 0: none */
    dicom_send_result result;
    bool answered; /* SENT has come */
    bool asking, again;
    uint64_t deadline_ms, poll_at_ms;
    /* The circuit breaker: a destination that fails is left alone, not tried with each of its deliveries. */
    int failures;          /* in a row */
    int64_t open_until_ms; /* wall clock: nothing is tried before */
    char failure[MSA_ERROR_WHAT_MAX];
    int64_t counts[3]; /* tries by dicom_delivery */
} channel;

struct srv_outbox {
    srv_core *core;
    channel *channels; /* in the order of the settings; those that were dropped stay */
    int tasks;
    uint64_t expire_at_ms;
};

typedef struct send_task {
    srv_task task; /* first */
    channel *ch;
    srv_delivery delivery;
    dicom_send_result result;
    char public_id[33], to[sizeof(((dicom_destination *)NULL)->name)];
    int64_t now_ms, retry_at_ms, give_up_ms;
} send_task;

static void ask(channel *ch);
static void sent(channel *ch);

typedef struct expire_task {
    srv_task task; /* first */
    srv_outbox *outbox;
    int64_t before_ms, now_ms;
    int32_t n;
} expire_task;

static send_task *new_task(channel *ch, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                           void (*done)(srv_task *))
{
    send_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->ch = ch;
    t->now_ms = srv_now_ms();
    memcpy(t->to, ch->to.name, sizeof t->to);
    ch->outbox->tasks++;
    return t;
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    channel *ch = ctx;
    if (type != SRV_IPC_SENT || ch->answered) {
        srv_role_kill(ch->role);
        return;
    }
    ch->result = *(const dicom_send_result *)body;
    SRV_IPC_END(ch->result.comment);
    ch->answered = true;
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    channel *ch = ctx;
    ch->role = NULL;
    if (!ch->answered) {
        char ended[SRV_ROLE_END_MAX];
        srv_role_end_text(how, ended, sizeof ended);
        ch->result = (dicom_send_result){.outcome = DICOM_RETRY, .dimse_status = -1};
        if (uv_now(ch->outbox->core->loop) > ch->deadline_ms)
            (void)snprintf(ch->result.comment, sizeof ch->result.comment,
                           "no answer in time (delivery.timeout_s is %d s)", ch->to.timeout_s);
        else if (ch->outbox->core->stopping)
            (void)snprintf(ch->result.comment, sizeof ch->result.comment,
                           "the service stopped before the destination had answered");
        else
            (void)snprintf(ch->result.comment, sizeof ch->result.comment,
                           "the sending process %s", ended);
    }
    sent(ch);
}

static msa_status start_role(channel *ch, msa_error *err)
{
    const srv_role_events events = {.ctx = ch, .message = on_message, .exited = on_exited};
    srv_ipc_send_start start = {.to = ch->to};
    MSA_TRY(srv_blob_path(ch->outbox->core->blobs, ch->delivery.result.sha256, start.path, sizeof start.path,
                          err));
    MSA_TRY(srv_role_spawn(&ch->role, ch->outbox->core->loop, "send", -1, &events, err));
    /* A role that cannot take its order exits, and its exit is the answer. */
    (void)srv_role_send(ch->role, SRV_IPC_SEND_START, &start, sizeof start, NULL);
    return MSA_OK;
}

/* Exponential with full jitter: between half and all of min * 2^(attempt - 1), at most max. */
static int64_t retry_pause_ms(const srv_config *config, int32_t attempt)
{
    int64_t pause = (int64_t)config->delivery_retry_min_s * 1000;
    const int64_t most = (int64_t)config->delivery_retry_max_s * 1000;
    for (int32_t i = 1; i < attempt && pause < most; i++)
        pause *= 2;
    if (pause > most) pause = most;
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) < 0) r = 0; /* the most even spread is not worth a failure */
    return pause / 2 + (int64_t)(r % (uint32_t)(pause / 2 + 1));
}

static msa_status run_hasten(srv_task *task, srv_store *store, msa_error *err)
{
    const send_task *t = (const send_task *)task;
    return srv_store_deliveries_hasten(store, t->to, t->now_ms, err);
}

static void done_hasten(srv_task *task)
{
    send_task *t = (send_task *)task;
    channel *ch = t->ch;
    if (task->status != MSA_OK) msa_log(MSA_LOG_WARN, "deliver", "hasten what=\"%s\"", task->err.what);
    ch->outbox->tasks--;
    free(t);
    ask(ch);
    srv_core_part_stopped(ch->outbox->core);
}

static void hasten(channel *ch)
{
    send_task *t = new_task(ch, run_hasten, done_hasten);
    if (t != NULL) srv_core_submit(ch->outbox->core, &t->task);
}

static msa_status run_sent(srv_task *task, srv_store *store, msa_error *err)
{
    send_task *t = (send_task *)task;
    MSA_TRY(srv_store_delivery_done(store, t->delivery.id, t->delivery.token, t->result.outcome,
                                    t->result.dimse_status, t->result.comment, t->retry_at_ms, t->give_up_ms,
                                    t->now_ms, err));
    srv_job job;
    if (srv_store_job_get_id(store, t->delivery.job_id, &job, NULL) == MSA_OK)
        memcpy(t->public_id, job.public_id, sizeof t->public_id);
    return MSA_OK;
}

static void done_sent(srv_task *task)
{
    send_task *t = (send_task *)task;
    channel *ch = t->ch;
    srv_core *core = ch->outbox->core;
    if (srv_core_try_later(core, task)) return;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "deliver", "not_recorded what=\"%s\"", task->err.what);
    else
        srv_http_job_changed(core->http, t->public_id);
    ch->outbox->tasks--;
    ch->delivery = (srv_delivery){0};
    free(t);
    ask(ch);
    srv_core_part_stopped(core);
}

/* A refusal of one object is an answer; what is to be tried again later says that the destination is not
 * well. When it is again, what has waited is sent in its order and at once. */
static void note_result(channel *ch)
{
    srv_core *core = ch->outbox->core;
    const dicom_send_result *r = &ch->result;
    if (r->outcome >= DICOM_DELIVERED && r->outcome <= DICOM_REFUSED) ch->counts[r->outcome]++;
    if (core->stopping) return;
    if (r->outcome != DICOM_RETRY) {
        if (ch->failures >= BREAK_AFTER) {
            msa_log(MSA_LOG_INFO, "deliver", "destination=%s circuit=closed failures=%d", ch->to.name,
                    ch->failures);
            hasten(ch);
        }
        ch->failures = 0;
        ch->open_until_ms = 0;
        return;
    }
    (void)snprintf(ch->failure, sizeof ch->failure, "%s", r->comment);
    if (++ch->failures < BREAK_AFTER) return;
    ch->open_until_ms = srv_now_ms() + retry_pause_ms(core->config, ch->failures - BREAK_AFTER + 1);
    if (ch->failures == BREAK_AFTER)
        msa_log(MSA_LOG_WARN, "deliver", "destination=%s circuit=open comment=\"%s\"", ch->to.name,
                ch->failure);
}

static void sent(channel *ch)
{
    srv_core *core = ch->outbox->core;
    const dicom_send_result *r = &ch->result;
    note_result(ch);
    if (r->outcome == DICOM_DELIVERED)
        core->live.deliveries_total++;
    else
        core->live.delivery_failures_total++;
    msa_log(r->outcome == DICOM_DELIVERED ? MSA_LOG_INFO : MSA_LOG_WARN, "deliver",
            "destination=%s attempt=%d outcome=%s status=0x%04x comment=\"%s\"", ch->to.name,
            ch->delivery.attempt,
            r->outcome == DICOM_DELIVERED ? "delivered"
            : r->outcome == DICOM_RETRY   ? "retry"
                                          : "refused",
            (unsigned)r->dimse_status & 0xffffu, r->comment);
    send_task *t = new_task(ch, run_sent, done_sent);
    if (t == NULL) { /* found again as "sending" at the next start */
        ch->delivery = (srv_delivery){0};
        return;
    }
    t->delivery = ch->delivery;
    t->result = *r;
    t->give_up_ms = (int64_t)core->config->delivery_give_up_h * 3600 * 1000;
    t->retry_at_ms = t->now_ms + retry_pause_ms(core->config, ch->delivery.attempt);
    srv_core_submit(core, &t->task);
}

static msa_status run_claim(srv_task *task, srv_store *store, msa_error *err)
{
    send_task *t = (send_task *)task;
    return srv_store_delivery_claim(store, t->to, t->now_ms, &t->delivery, err);
}

static void done_claim(srv_task *task)
{
    send_task *t = (send_task *)task;
    channel *ch = t->ch;
    srv_core *core = ch->outbox->core;
    msa_error err = MSA_ERROR_INIT;
    ch->asking = false;
    ch->outbox->tasks--;
    if (task->status == MSA_OK) {
        ch->delivery = t->delivery;
        ch->answered = false;
        ch->deadline_ms = uv_now(core->loop) + ((uint64_t)ch->to.timeout_s * 3u + 10u) * 1000u;
        if (start_role(ch, &err) != MSA_OK) {
            ch->result = (dicom_send_result){.outcome = DICOM_RETRY, .dimse_status = -1};
            (void)snprintf(ch->result.comment, sizeof ch->result.comment, "%s", err.what);
            sent(ch);
        }
    } else if (task->status != MSA_E_NOT_FOUND) {
        msa_log(MSA_LOG_ERROR, "deliver", "what=\"%s\"", task->err.what);
    } else if (ch->again) {
        ask(ch);
    }
    free(t);
    srv_core_part_stopped(core);
}

static void ask(channel *ch)
{
    ch->again = true;
    if (srv_now_ms() < ch->open_until_ms) return;
    if (ch->asking || ch->dropped || ch->delivery.id != 0 || ch->outbox->core->stopping) return;
    send_task *t = new_task(ch, run_claim, done_claim);
    if (t == NULL) return;
    ch->again = false;
    ch->asking = true;
    ch->poll_at_ms = uv_now(ch->outbox->core->loop) + POLL_MS;
    srv_core_submit(ch->outbox->core, &t->task);
}

static channel *find(const srv_outbox *o, const char *name)
{
    channel *ch = o->channels;
    while (ch != NULL && strcmp(ch->to.name, name) != 0)
        ch = ch->next;
    return ch;
}

msa_status srv_outbox_reload(srv_outbox *o, const srv_config *config, msa_error *err)
{
    channel **end = &o->channels;
    for (int32_t i = 0; i < config->n_destinations; i++) {
        if (find(o, config->destinations[i].name) != NULL) continue;
        channel *ch = calloc(1, sizeof *ch);
        if (ch == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        ch->outbox = o;
        ch->to = config->destinations[i];
        ch->dropped = true; /* until srv_outbox_reloaded() */
        while (*end != NULL)
            end = &(*end)->next;
        *end = ch;
    }
    return MSA_OK;
}

void srv_outbox_reloaded(srv_outbox *o, const srv_config *config)
{
    for (channel *ch = o->channels; ch != NULL; ch = ch->next)
        ch->dropped = true;
    for (int32_t i = 0; i < config->n_destinations; i++) {
        channel *ch = find(o, config->destinations[i].name);
        ch->open_until_ms = 0;            /* it may have been mended */
        ch->to = config->destinations[i]; /* a try under way has its own copy */
        ch->dropped = false;
    }
    srv_outbox_kick(o);
}

msa_status srv_outbox_start(srv_core *core, msa_error *err)
{
    srv_outbox *o = calloc(1, sizeof *o);
    if (o == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    o->core = core;
    core->outbox = o;
    MSA_TRY(srv_outbox_reload(o, core->config, err));
    srv_outbox_reloaded(o, core->config);
    return MSA_OK;
}

static msa_status run_expire(srv_task *task, srv_store *store, msa_error *err)
{
    expire_task *t = (expire_task *)task;
    return srv_store_deliveries_expire(store, t->before_ms, t->now_ms, &t->n, err);
}

static void done_expire(srv_task *task)
{
    expire_task *t = (expire_task *)task;
    srv_core *core = t->outbox->core;
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "deliver", "expire what=\"%s\"", task->err.what);
    else if (t->n > 0)
        msa_log(MSA_LOG_WARN, "deliver", "given_up deliveries=%d after_hours=%d", t->n,
                core->config->delivery_give_up_h);
    t->outbox->tasks--;
    free(t);
    srv_core_part_stopped(core);
}

/* Whoever waits behind an open circuit, or for a destination that is gone, waits no longer than the others.
 */
static void expire(srv_outbox *o, uint64_t now)
{
    if (now < o->expire_at_ms || o->core->stopping) return;
    o->expire_at_ms = now + EXPIRE_MS;
    expire_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    t->task.run = run_expire;
    t->task.done = done_expire;
    t->outbox = o;
    t->now_ms = srv_now_ms();
    t->before_ms = t->now_ms - (int64_t)o->core->config->delivery_give_up_h * 3600 * 1000;
    o->tasks++;
    srv_core_submit(o->core, &t->task);
}

void srv_outbox_retry(srv_outbox *o)
{
    for (channel *ch = o->channels; ch != NULL; ch = ch->next) {
        ch->open_until_ms = 0;
        if (ch->failures > 0)
            hasten(ch);
        else
            ask(ch);
    }
}

bool srv_outbox_circuit(const srv_outbox *o, const char *name, srv_http_circuit *out)
{
    const channel *ch = o == NULL ? NULL : find(o, name);
    if (ch == NULL) return false;
    const bool broken = ch->failures >= BREAK_AFTER, waits = broken && srv_now_ms() < ch->open_until_ms;
    *out = (srv_http_circuit){.state = waits    ? SRV_CIRCUIT_OPEN
                                       : broken ? SRV_CIRCUIT_TRYING
                                                : SRV_CIRCUIT_CLOSED,
                              .failures = ch->failures,
                              .next_try_ms = waits ? ch->open_until_ms : 0,
                              .delivered = ch->counts[DICOM_DELIVERED],
                              .retried = ch->counts[DICOM_RETRY],
                              .refused = ch->counts[DICOM_REFUSED]};
    if (ch->failures > 0) memcpy(out->comment, ch->failure, sizeof out->comment);
    return true;
}

void srv_outbox_kick(srv_outbox *o)
{
    for (channel *ch = o->channels; ch != NULL; ch = ch->next)
        ask(ch);
}

void srv_outbox_tick(srv_outbox *o)
{
    const uint64_t now = uv_now(o->core->loop);
    expire(o, now);
    for (channel *ch = o->channels; ch != NULL; ch = ch->next) {
        if (ch->role != NULL && now > ch->deadline_ms) srv_role_kill(ch->role);
        if (now >= ch->poll_at_ms) ask(ch); /* retries whose time has come */
    }
}

void srv_outbox_stop(srv_outbox *o, bool now)
{
    for (channel *ch = o->channels; now && ch != NULL; ch = ch->next)
        if (ch->role != NULL) srv_role_kill(ch->role);
}

bool srv_outbox_idle(const srv_outbox *o)
{
    if (o == NULL) return true;
    for (const channel *ch = o->channels; ch != NULL; ch = ch->next)
        if (ch->role != NULL || ch->delivery.id != 0) return false;
    return o->tasks == 0;
}

void srv_outbox_free(srv_outbox *o)
{
    if (o == NULL) return;
    for (channel *ch = o->channels, *next = NULL; ch != NULL; ch = next) {
        next = ch->next;
        free(ch);
    }
    free(o);
}
