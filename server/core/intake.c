/* The DICOM listener: one receive role per connection, and the catalogue rows behind each Success. */
#include "server/core/core.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/core/doorstep.h"
#include "server/core/listeners.h"
#include "server/core/role.h"

/* Beyond the limit a few more roles only say "local limit exceeded"; beyond those the connection is closed
 * unanswered. */
#define BUSY_ROLES_MAX 16
#define GRACE_S        30 /* past the role's own deadline core ends it */

typedef struct connection {
    struct connection *next;
    srv_intake *in;
    srv_role *role; /* NULL once it is gone */
    int refs;       /* the role, and every task under way */
    bool busy;      /* only there to refuse */
    bool tls;       /* by the port that it came to */
    bool asked;     /* ADMIT has come */
    bool admitted;
    char sender[64];            /* the entry under senders that let it in */
    bool closed;                /* CLOSED has come */
    dicom_assoc_info info;      /* the address is core's own finding; the rest is there with ADMIT */
    uint64_t kill_at_ms;        /* loop time */
    struct intake_task *opened; /* owned; its status is the store thread's until the task is done */
    /* store thread only, from here: tasks run in order, so COMMIT finds what OPENED has set */
    int64_t association_id;
} connection;

struct srv_intake {
    srv_core *core;
    srv_listeners listeners;
    srv_doorstep *doorstep;
    connection *connections;
    int open, busy;
};

typedef struct intake_task {
    srv_task task; /* first */
    connection *c; /* NULL: of a peer that never got that far */
    srv_association association;
    srv_refusal refusal;
    srv_instance instance;
    srv_put outcome;
    uint64_t begun_ns; /* of a commit */
    char ended[16];
    int64_t now_ms;
} intake_task;

static void unref(connection *c)
{
    if (--c->refs > 0) return;
    srv_intake *in = c->in;
    for (connection **p = &in->connections; *p != NULL; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    free(c->opened);
    free(c);
    srv_core_part_stopped(in->core);
}

static intake_task *new_task(connection *c, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                             void (*done)(srv_task *))
{
    intake_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->c = c;
    t->now_ms = srv_now_ms();
    if (c != NULL) c->refs++;
    return t;
}

static void finish_task(intake_task *t)
{
    if (t->c != NULL) unref(t->c);
    free(t);
}

static void done_logged(srv_task *task)
{
    intake_task *t = (intake_task *)task;
    if (task->status != MSA_OK) msa_log(MSA_LOG_ERROR, "store", "what=\"%s\"", task->err.what);
    finish_task(t);
}

static msa_status run_opened(srv_task *task, srv_store *store, msa_error *err)
{
    intake_task *t = (intake_task *)task;
    return srv_store_association_open(store, &t->association, &t->c->association_id, err);
}

static void done_opened(srv_task *task)
{
    intake_task *t = (intake_task *)task;
    if (task->status != MSA_OK) msa_log(MSA_LOG_ERROR, "store", "what=\"%s\"", task->err.what);
    unref(t->c); /* the task itself lives as long as the connection */
}

/* Store thread. 0: it has none, also when its row was undone with its group: that id goes to another one. */
static int64_t association_of(const connection *c)
{
    return c->opened != NULL && c->opened->task.status == MSA_OK ? c->association_id : 0;
}

static msa_status run_refused(srv_task *task, srv_store *store, msa_error *err)
{
    intake_task *t = (intake_task *)task;
    return srv_store_refusal_put(store, &t->refusal, err);
}

static msa_status run_closed(srv_task *task, srv_store *store, msa_error *err)
{
    intake_task *t = (intake_task *)task;
    const int64_t id = association_of(t->c);
    if (id == 0) return MSA_OK; /* it was refused before it opened */
    return srv_store_association_close(store, id, t->ended, t->now_ms, err);
}

static void done_closed(srv_task *task)
{
    if (srv_core_try_later(((intake_task *)task)->c->in->core, task)) return;
    srv_core_poke_jobs(((intake_task *)task)->c->in->core); /* the end of an association is evidence */
    done_logged(task);
}

static msa_status run_commit(srv_task *task, srv_store *store, msa_error *err)
{
    intake_task *t = (intake_task *)task;
    int64_t id = 0;
    t->instance.association_id = association_of(t->c);
    MSA_TRY(srv_core_has_blob(t->c->in->core, t->instance.sha256, err));
    return srv_store_instance_put(store, &t->instance, &t->outcome, &id, err);
}

/* The row is durable (or is not): only now does the role answer its sender. Invariant 1. */
static void done_commit(srv_task *task)
{
    intake_task *t = (intake_task *)task;
    srv_core *core = t->c->in->core;
    srv_ipc_committed reply = {.status = task->status};
    srv_histogram_add(&core->live.commit_s, (double)(uv_hrtime() - t->begun_ns) * 1e-9);
    (void)snprintf(reply.what, sizeof reply.what, "%s", task->err.what);
    if (task->status == MSA_OK) {
        core->live.instances_stored_total++;
        core->live.bytes_stored_total += t->instance.size_bytes;
        if (t->outcome != SRV_PUT_SAME) srv_indexer_kick(core->indexer);
    } else {
        core->live.instances_failed_total++;
        msa_log(MSA_LOG_ERROR, "receive", "not_stored what=\"%s\"", task->err.what);
    }
    if (t->c->role != NULL) (void)srv_role_send(t->c->role, SRV_IPC_COMMITTED, &reply, sizeof reply, NULL);
    finish_task(t);
}

/* ---- who is let in ---- */

static int32_t admitted_of(const srv_intake *in, const char *sender)
{
    int32_t n = 0;
    for (const connection *c = in->connections; c != NULL; c = c->next)
        n += c->admitted && c->role != NULL && strcmp(c->sender, sender) == 0;
    return n;
}

static void judge(connection *c, const dicom_assoc_info *who, dicom_verdict *verdict)
{
    const srv_config *config = c->in->core->config;
    if (config->n_senders == 0) return;
    const srv_sender *s = srv_sender_find(config->senders, config->n_senders, who, verdict->why);
    if (s == NULL) {
        verdict->admission = DICOM_NOT_CALLING;
        return;
    }
    verdict->object_max_bytes = (int64_t)s->object_max_mib << 20;
    if (s->max_associations == 0 || admitted_of(c->in, s->name) < s->max_associations) {
        (void)snprintf(c->sender, sizeof c->sender, "%s", s->name);
        return;
    }
    verdict->admission = DICOM_NOT_NOW;
    (void)snprintf(
        verdict->why, sizeof verdict->why,
        "\"%s\" has as many associations as its senders entry %.40s allows at once (%d): it should try "
        "again later, or raise the entry's max_associations",
        who->calling_ae, s->name, s->max_associations);
}

/* Its address, and whether it came to the port of TLS, core has seen itself; the rest is the role's word,
 * which is taken once. */
static void on_admit(connection *c, const dicom_assoc_info *info)
{
    char peer[sizeof c->info.peer];
    dicom_verdict verdict = {.admission = DICOM_ADMITTED};
    if (c->asked || c->busy) {
        srv_role_kill(c->role);
        return;
    }
    c->asked = true;
    memcpy(peer, c->info.peer, sizeof peer);
    c->info = *info;
    memcpy(c->info.peer, peer, sizeof peer);
    SRV_IPC_END(c->info.calling_ae);
    SRV_IPC_END(c->info.called_ae);
    SRV_IPC_END(c->info.tls);
    SRV_IPC_END(c->info.certificate);
    SRV_IPC_END(c->info.subject);
    if (!c->tls) c->info.tls[0] = c->info.certificate[0] = c->info.subject[0] = '\0';
    judge(c, &c->info, &verdict);
    c->admitted = verdict.admission == DICOM_ADMITTED;
    (void)srv_role_send(c->role, SRV_IPC_ADMITTED, &verdict, sizeof verdict, NULL);
}

/* What is shown is what was judged: the message says it again. */
static void on_opened(connection *c)
{
    c->in->core->live.associations_total++;
    if (c->opened != NULL) return; /* said twice */
    intake_task *t = new_task(c, run_opened, done_opened);
    if (t == NULL) return;
    c->opened = t;
    t->association.opened_ms = t->now_ms;
    memcpy(t->association.calling_ae, c->info.calling_ae, sizeof t->association.calling_ae);
    memcpy(t->association.called_ae, c->info.called_ae, sizeof t->association.called_ae);
    memcpy(t->association.peer, c->info.peer, sizeof t->association.peer);
    memcpy(t->association.tls, c->info.tls, sizeof t->association.tls);
    memcpy(t->association.sender, c->sender, sizeof t->association.sender);
    srv_core_submit(c->in->core, &t->task);
}

static void on_refused(connection *c, const srv_ipc_refused *r)
{
    intake_task *t = new_task(c, run_refused, done_logged);
    if (t == NULL) return;
    t->refusal.at_ms = t->now_ms;
    c->in->core->live.refusals_total++;
    t->refusal.count = 1;
    memcpy(t->refusal.calling_ae, r->assoc.calling_ae, sizeof t->refusal.calling_ae);
    memcpy(t->refusal.peer, c->info.peer, sizeof t->refusal.peer);
    memcpy(t->refusal.what, r->what, sizeof t->refusal.what);
    memcpy(t->refusal.reason, r->reason, sizeof t->refusal.reason);
    SRV_IPC_END(t->refusal.calling_ae);
    SRV_IPC_END(t->refusal.what);
    SRV_IPC_END(t->refusal.reason);
    /* A stock sender proposes dozens of classes and uses one: the rows are for REST, the log is for what
     * ended an association. */
    const bool whole = strcmp(t->refusal.what, "association") == 0 || strcmp(t->refusal.what, "TLS") == 0;
    msa_log(whole ? MSA_LOG_WARN : MSA_LOG_DEBUG, "receive",
            "calling=\"%s\" peer=%s refused what=\"%s\" reason=\"%s\"", t->refusal.calling_ae,
            t->refusal.peer, t->refusal.what, t->refusal.reason);
    srv_core_submit(c->in->core, &t->task);
}

static void on_commit(connection *c, const srv_ipc_commit *m)
{
    intake_task *t = new_task(c, run_commit, done_commit);
    if (t == NULL) {
        const srv_ipc_committed reply = {.status = MSA_E_NOMEM, .what = "out of memory"};
        (void)srv_role_send(c->role, SRV_IPC_COMMITTED, &reply, sizeof reply, NULL);
        return;
    }
    t->begun_ns = uv_hrtime();
    t->instance.received_ms = t->now_ms;
    t->instance.size_bytes = m->size_bytes;
    memcpy(t->instance.sha256, m->sha256, sizeof t->instance.sha256);
    memcpy(t->instance.sop_instance_uid, m->info.sop_instance_uid, sizeof t->instance.sop_instance_uid);
    memcpy(t->instance.sop_class_uid, m->info.sop_class_uid, sizeof t->instance.sop_class_uid);
    memcpy(t->instance.transfer_syntax_uid, m->info.transfer_syntax_uid,
           sizeof t->instance.transfer_syntax_uid);
    SRV_IPC_END(t->instance.sha256);
    SRV_IPC_END(t->instance.sop_instance_uid);
    SRV_IPC_END(t->instance.sop_class_uid);
    SRV_IPC_END(t->instance.transfer_syntax_uid);
    srv_core_submit(c->in->core, &t->task);
}

static void close_association(connection *c, const char *ended)
{
    if (c->closed) return;
    c->closed = true;
    intake_task *t = new_task(c, run_closed, done_closed);
    if (t == NULL) return;
    (void)snprintf(t->ended, sizeof t->ended, "%s", ended);
    srv_core_submit(c->in->core, &t->task);
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size; /* role.c has checked it against the type */
    connection *c = ctx;
    if ((type == SRV_IPC_OPENED || type == SRV_IPC_COMMIT) && !c->admitted) {
        srv_role_kill(c->role);
        return;
    }
    switch ((int)type) {
    case SRV_IPC_ADMIT:
        on_admit(c, body);
        break;
    case SRV_IPC_OPENED:
        on_opened(c);
        break;
    case SRV_IPC_REFUSED:
        on_refused(c, body);
        break;
    case SRV_IPC_COMMIT:
        on_commit(c, body);
        break;
    case SRV_IPC_BAD_DISK:
        srv_core_fatal(c->in->core,
                       "a file could not be made durable (fsync failed): check the disk that holds "
                       "storage.path, then start msad again");
        break;
    case SRV_IPC_CLOSED: {
        dicom_receive_result r = *(const dicom_receive_result *)body;
        SRV_IPC_END(r.ended);
        msa_log(MSA_LOG_INFO, "receive", "calling=\"%s\" peer=%s stored=%d failed=%d echoed=%d ended=%s",
                c->info.calling_ae, c->info.peer, r.stored, r.failed, r.echoed, r.ended);
        close_association(c, r.ended);
        break;
    }
    default:
        srv_role_kill(c->role);
        break;
    }
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    connection *c = ctx;
    c->role = NULL;
    /* Room again at once: the rows that are still being written are no association. */
    if (c->busy)
        c->in->busy--;
    else
        c->in->open--;
    if (!c->closed) {
        char ended[SRV_ROLE_END_MAX];
        srv_role_end_text(how, ended, sizeof ended);
        msa_log(MSA_LOG_WARN, "receive", "calling=\"%s\" peer=%s lost what=\"the receiving process %s\"",
                c->info.calling_ae, c->info.peer, ended);
        close_association(c, "lost");
    }
    unref(c);
}

/* At the same time; a disk that fills up takes fewer, so that those which are there can end. */
static int associations_max(const srv_intake *in)
{
    const int all = in->core->config->dicom_max_associations;
    return srv_disk_level_now(in->core->disk) == SRV_DISK_SOFT ? (all + 3) / 4 : all;
}

/* A transient rejection: the sender comes again. */
static bool is_busy(const srv_intake *in)
{
    return in->open >= associations_max(in) || in->core->stopping ||
           srv_disk_level_now(in->core->disk) == SRV_DISK_HARD;
}

static msa_status start_role(srv_intake *in, const char *peer, int fd, bool tls, msa_error *err)
{
    const srv_config *config = in->core->config;
    connection *c = calloc(1, sizeof *c);
    if (c == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    c->in = in;
    (void)snprintf(c->info.peer, sizeof c->info.peer, "%s", peer);
    c->tls = tls;
    c->busy = is_busy(in);
    const srv_role_events events = {.ctx = c, .message = on_message, .exited = on_exited};
    const msa_status st = srv_role_spawn(&c->role, in->core->loop, "receive", fd, &events, err);
    if (st != MSA_OK) {
        free(c);
        return st;
    }
    c->refs = 1;
    c->next = in->connections;
    in->connections = c;
    if (c->busy)
        in->busy++;
    else
        in->open++;
    c->kill_at_ms = uv_now(in->core->loop) + ((uint64_t)config->dicom_association_max_s + GRACE_S) * 1000u;
    srv_ipc_receive_start start = {
        .accept_any_called = config->dicom_accept_any_called_ae,
        .busy = c->busy,
        .associate_timeout_s = config->dicom_associate_timeout_s,
        .idle_timeout_s = config->dicom_idle_timeout_s,
        .association_max_s = config->dicom_association_max_s,
        .object_max_bytes = (int64_t)config->dicom_object_max_mib << 20,
        .keep_free_bytes = srv_disk_keep_free(in->core->disk),
    };
    (void)snprintf(start.busy_why, sizeof start.busy_why, "%s", srv_disk_why(in->core->disk));
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s", config->storage_path);
    (void)snprintf(start.ae_title, sizeof start.ae_title, "%s", config->dicom_ae_title);
    if (tls) start.tls = in->listeners.tls;
    const msa_status told = srv_role_send(c->role, SRV_IPC_RECEIVE_START, &start, sizeof start, err);
    if (told != MSA_OK) srv_role_kill(c->role); /* it would wait for it as long as an association may last */
    return told;
}

static void on_turned_away(void *ctx, const char *peer, const char *why)
{
    srv_intake *in = ctx;
    if (why[0] == '\0') return; /* it looked whether the port is open */
    msa_log(MSA_LOG_DEBUG, "receive", "peer=%s turned_away why=\"%s\"", peer, why);
    intake_task *t = new_task(NULL, run_refused, done_logged);
    if (t == NULL) return;
    t->refusal.at_ms = t->now_ms;
    in->core->live.refusals_total++;
    t->refusal.count = 1;
    (void)snprintf(t->refusal.peer, sizeof t->refusal.peer, "%s", peer);
    (void)snprintf(t->refusal.what, sizeof t->refusal.what, "connection");
    (void)snprintf(t->refusal.reason, sizeof t->refusal.reason, "%s", why);
    srv_core_submit(in->core, &t->task);
}

static int32_t connections_from(const srv_intake *in, const char *peer)
{
    int32_t n = 0;
    for (const connection *c = in->connections; c != NULL; c = c->next)
        n += c->role != NULL && strcmp(c->info.peer, peer) == 0;
    return n;
}

/**
 * A refusal that needs no role, because it depends on the address alone. The A-ASSOCIATE-RJ (PS3.8
 * section 9.3.4) is one that every sender understands; with TLS there is nobody to tell it to. What was
 * received is taken first: a close with unread bytes would overtake it.
 */
static void reject(srv_intake *in, int fd, const char *peer, bool tls, bool for_now, const char *why)
{
    const unsigned char pdu[] = {3, 0, 0, 0, 0, 4, 0, for_now ? 2 : 1, for_now ? 3 : 1, for_now ? 2 : 3};
    char waste[4096];
    for (int i = 0; i < 32 && recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0; i++)
        continue;
    if (!tls) (void)!send(fd, pdu, sizeof pdu, MSG_DONTWAIT | MSG_NOSIGNAL);
    on_turned_away(in, peer, why);
}

/* From the doorstep: an association request is there. */
static void on_request(void *ctx, int fd, const char *peer, bool tls)
{
    srv_intake *in = ctx;
    const srv_config *config = in->core->config;
    const int32_t most = config->dicom_max_associations_per_address;
    msa_error err = MSA_ERROR_INIT;
    if (!srv_sender_knows_address(config->senders, config->n_senders, peer))
        reject(in, fd, peer, tls, false,
               "no entry under senders allows the peer's address: add it to the addresses of the entry that "
               "it belongs to");
    else if (most > 0 && connections_from(in, peer) >= most)
        reject(in, fd, peer, tls, true,
               "the peer's address has as many associations as dicom.max_associations_per_address allows");
    else if (is_busy(in) && in->busy >= BUSY_ROLES_MAX)
        reject(in, fd, peer, tls, true,
               "the service takes no more associations at the moment; set dicom.max_associations higher");
    else if (start_role(in, peer, fd, tls, &err) != MSA_OK)
        msa_log(MSA_LOG_ERROR, "receive", "peer=%s no_role what=\"%s\"", peer, err.what);
    (void)close(fd); /* the role holds its own copy */
}

static void on_accepted_closed(uv_handle_t *handle)
{
    free(handle);
}

/* The peer's address is known before anything is said, so that one who says nothing sensible has one in the
 * log. */
static void name_peer(const uv_tcp_t *tcp, char *out, size_t size)
{
    struct sockaddr_storage address;
    int n = sizeof address;
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&address, &n) != 0 ||
        uv_ip_name((const struct sockaddr *)&address, out, size) != 0)
        (void)snprintf(out, size, "unknown");
}

static void on_connection(uv_stream_t *stream, int status)
{
    srv_intake *in = stream->data;
    if (status < 0) {
        msa_log(MSA_LOG_WARN, "receive", "accept what=\"%s\"", uv_strerror(status));
        return;
    }
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    if (tcp == NULL || uv_tcp_init(in->core->loop, tcp) != 0) {
        free(tcp);
        return;
    }
    uv_os_fd_t fd = -1;
    char peer[48];
    if (uv_accept(stream, (uv_stream_t *)tcp) == 0 && uv_fileno((uv_handle_t *)tcp, &fd) == 0) {
        name_peer(tcp, peer, sizeof peer);
        const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (own >= 0)
            srv_doorstep_add(in->doorstep, own, peer, stream == (uv_stream_t *)in->listeners.secure);
        else
            on_turned_away(in, peer, "no descriptor is left for another connection");
    }
    uv_close((uv_handle_t *)tcp, on_accepted_closed);
}

msa_status srv_intake_reload(srv_intake *in, const srv_config *config, msa_error *err)
{
    MSA_TRY(srv_listeners_reload(&in->listeners, config, err));
    srv_doorstep_patience(in->doorstep, (uint64_t)config->dicom_associate_timeout_s * 1000u);
    return MSA_OK;
}

msa_status srv_intake_start(srv_core *core, msa_error *err)
{
    srv_intake *in = calloc(1, sizeof *in);
    if (in == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    in->core = core;
    core->intake = in;
    const srv_doorstep_events events = {.ctx = in, .ready = on_request, .turned_away = on_turned_away};
    MSA_TRY(srv_doorstep_new(&in->doorstep, core->loop,
                             (uint64_t)core->config->dicom_associate_timeout_s * 1000u, &events, err));
    in->listeners = (srv_listeners){.core = core, .on_connection = on_connection, .ctx = in};
    return srv_listeners_open(&in->listeners, core->config, err);
}

void srv_intake_stop(srv_intake *in, bool now)
{
    srv_listeners_close(&in->listeners);
    srv_doorstep_free(in->doorstep);
    in->doorstep = NULL;
    for (connection *c = in->connections; c != NULL; c = c->next) {
        if (c->role == NULL) continue;
        if (now)
            srv_role_kill(c->role);
        else
            (void)srv_role_send(c->role, SRV_IPC_RECEIVE_STOP, NULL, 0, NULL);
    }
}

void srv_intake_deadlines(srv_intake *in)
{
    srv_listeners_tick(&in->listeners);
    if (in->doorstep != NULL) srv_doorstep_tick(in->doorstep);
    for (connection *c = in->connections; c != NULL; c = c->next)
        if (c->role != NULL && uv_now(in->core->loop) > c->kill_at_ms) srv_role_kill(c->role);
    in->core->live.associations_open = in->open;
}

bool srv_intake_idle(const srv_intake *in)
{
    return in == NULL || in->connections == NULL;
}

void srv_intake_free(srv_intake *in)
{
    free(in);
}
