/* Headers are read by a work role of their own, so that a long job never delays the catalogue. One instance
 * at a time. */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/core/role.h"

#define ATTEMPTS_MAX      3
#define INDEX_DEADLINE_MS 60000u
#define RESTART_MS        1000u
#define PROMPTS_MAX       4096
#define LOOKS_MAX         16

/* A file whose header somebody asks for. */
typedef struct look {
    struct look *next;
    srv_header_fn *done;
    void *ctx;
    srv_ipc_look message;
} look;

struct srv_indexer {
    srv_core *core;
    srv_role *role;      /* NULL: not running */
    bool ready, asking;  /* a task is on its way */
    bool again;          /* kicked meanwhile */
    int64_t instance_id; /* being read; 0: none */
    uint64_t deadline_ms, restart_at_ms;
    look *looks, *looking; /* those that wait, in order; the one being read */
    int n_looks;           /* of both */
    dicom_prompt *prompts; /* PROMPTS_MAX, of the instance being read */
    size_t n_prompts;
    int64_t failed_id; /* the last that could not be read, and why */
    char failed[MSA_ERROR_WHAT_MAX];
};

typedef struct index_task {
    srv_task task; /* first */
    srv_indexer *ix;
    srv_instance instance;
    srv_ipc_indexed indexed;
    dicom_prompt *prompts; /* owned */
    size_t n_prompts;
    int64_t now_ms;
} index_task;

static void ask_next(srv_indexer *ix);

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size);
static void on_exited(void *ctx, const srv_role_exit *how);

static msa_status start_role(srv_indexer *ix, msa_error *err)
{
    ix->deadline_ms = uv_now(ix->core->loop) + INDEX_DEADLINE_MS; /* to say that it is ready */
    const srv_role_events events = {.ctx = ix, .message = on_message, .exited = on_exited};
    const srv_config *config = ix->core->config;
    srv_ipc_work_start start = {.index_only = 1, .threads = 1, .memory_mib = config->work_memory_mib};
    (void)snprintf(start.storage_path, sizeof start.storage_path, "%s", config->storage_path);
    (void)snprintf(start.log_level, sizeof start.log_level, "%s", config->log_level);
    MSA_TRY(srv_role_spawn(&ix->role, ix->core->loop, "work", -1, &events, err));
    return srv_role_send(ix->role, SRV_IPC_WORK_START, &start, sizeof start, err);
}

static void finish_step(index_task *t)
{
    srv_indexer *ix = t->ix;
    free(t->prompts);
    free(t);
    ix->asking = false;
    ask_next(ix);
    srv_core_part_stopped(ix->core);
}

static index_task *new_task(srv_indexer *ix, msa_status (*run)(srv_task *, srv_store *, msa_error *),
                            void (*done)(srv_task *))
{
    index_task *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->task.run = run;
    t->task.done = done;
    t->ix = ix;
    t->now_ms = srv_now_ms();
    ix->asking = true;
    return t;
}

static msa_status run_reject(srv_task *task, srv_store *store, msa_error *err)
{
    index_task *t = (index_task *)task;
    return srv_store_instance_reject(store, t->indexed.instance_id, t->indexed.what, err);
}

static msa_status run_index(srv_task *task, srv_store *store, msa_error *err)
{
    index_task *t = (index_task *)task;
    if (t->indexed.note[0] != '\0')
        MSA_TRY(srv_store_instance_note(store, t->indexed.instance_id, t->indexed.note, err));
    return srv_store_instance_index(store, t->indexed.instance_id, &t->indexed.header, t->prompts,
                                    t->n_prompts, t->now_ms, err);
}

static void done_filed(srv_task *task)
{
    index_task *t = (index_task *)task;
    if (srv_core_try_later(t->ix->core, task)) return; /* the reading is not to blame */
    if (task->status != MSA_OK)
        msa_log(MSA_LOG_ERROR, "index", "instance=%lld what=\"%s\"", (long long)t->indexed.instance_id,
                task->err.what);
    srv_core_poke_jobs(t->ix->core);
    finish_step(t);
}

static void reject(srv_indexer *ix, int64_t instance_id, const char *reason)
{
    index_task *t = new_task(ix, run_reject, done_filed);
    if (t == NULL) return;
    t->indexed.instance_id = instance_id;
    (void)snprintf(t->indexed.what, sizeof t->indexed.what, "%s", reason);
    msa_log(MSA_LOG_WARN, "index", "instance=%lld rejected reason=\"%s\"", (long long)instance_id, reason);
    srv_core_submit(ix->core, &t->task);
}

static msa_status run_next(srv_task *task, srv_store *store, msa_error *err)
{
    return srv_store_instance_next(store, 0, &((index_task *)task)->instance, err);
}

static void done_next(srv_task *task)
{
    index_task *t = (index_task *)task;
    srv_indexer *ix = t->ix;
    const srv_instance instance = t->instance;
    const msa_status status = task->status;
    if (status != MSA_OK && status != MSA_E_NOT_FOUND) {
        msa_log(MSA_LOG_ERROR, "index", "what=\"%s\"", task->err.what);
        ix->again = true; /* the next tick tries again */
    }
    free(t);
    ix->asking = false;
    if (status != MSA_OK || ix->role == NULL) {
        if (ix->looks != NULL || (status == MSA_E_NOT_FOUND && ix->again)) ask_next(ix);
        srv_core_part_stopped(ix->core);
        return;
    }
    if (instance.index_attempts > ATTEMPTS_MAX) {
        reject(ix, instance.id,
               ix->failed_id == instance.id
                   ? ix->failed
                   : "its header could not be read: the reading process ended three times");
        return;
    }
    srv_ipc_index message = {.instance_id = instance.id};
    memcpy(message.sha256, instance.sha256, sizeof message.sha256);
    if (srv_role_send(ix->role, SRV_IPC_INDEX, &message, sizeof message, NULL) != MSA_OK) return;
    ix->instance_id = instance.id;
    ix->n_prompts = 0;
    ix->deadline_ms = uv_now(ix->core->loop) + INDEX_DEADLINE_MS;
}

/* ---- looks ---- */

static void end_look(srv_indexer *ix, look *l, const dicom_header *header, const msa_error *err)
{
    ix->n_looks--;
    l->done(l->ctx, header, err);
    free(l);
}

static void fail_looks(srv_indexer *ix, look **list, const char *why)
{
    msa_error err = MSA_ERROR_INIT;
    (void)!msa_fail(&err, MSA_E_BUSY, "%s", why);
    for (look *l = *list, *next = NULL; l != NULL; l = next) {
        next = l->next;
        end_look(ix, l, NULL, &err);
    }
    *list = NULL;
}

/* Nothing else is being read. True: one is on its way. */
static bool send_look(srv_indexer *ix)
{
    look *l = ix->looks;
    if (l == NULL) return false;
    ix->looks = l->next;
    l->next = NULL;
    ix->looking = l;
    ix->deadline_ms = uv_now(ix->core->loop) + INDEX_DEADLINE_MS;
    if (srv_role_send(ix->role, SRV_IPC_LOOK, &l->message, sizeof l->message, NULL) != MSA_OK)
        srv_role_kill(ix->role); /* its end answers */
    return true;
}

static void on_looked(srv_indexer *ix, const srv_ipc_indexed *m)
{
    look *l = ix->looking;
    msa_error err = MSA_ERROR_INIT;
    if (l == NULL) {
        srv_role_kill(ix->role);
        return;
    }
    ix->looking = NULL;
    dicom_header header = m->header;
    srv_ipc_end_header(&header);
    if (m->status != MSA_OK)
        (void)!msa_fail(&err, (msa_status)m->status, "%.*s", (int)sizeof m->what - 1, m->what);
    end_look(ix, l, m->status == MSA_OK ? &header : NULL, &err);
    ask_next(ix);
}

msa_status srv_indexer_look(srv_indexer *ix, const char *path, srv_header_fn *done, void *ctx, msa_error *err)
{
    if (ix->n_looks >= LOOKS_MAX)
        return msa_fail(err, MSA_E_BUSY, "%d headers wait to be read already", ix->n_looks);
    look *l = calloc(1, sizeof *l);
    if (l == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    l->done = done;
    l->ctx = ctx;
    (void)snprintf(l->message.path, sizeof l->message.path, "%s", path);
    look **end = &ix->looks;
    while (*end != NULL)
        end = &(*end)->next;
    *end = l;
    ix->n_looks++;
    ask_next(ix);
    return MSA_OK;
}

static void ask_next(srv_indexer *ix)
{
    if (ix->asking || ix->instance_id != 0 || ix->looking != NULL || !ix->ready || ix->core->stopping) return;
    if (send_look(ix)) return;
    index_task *t = new_task(ix, run_next, done_next);
    if (t == NULL) return;
    ix->again = false;
    srv_core_submit(ix->core, &t->task);
}

/* The machine's fault, not the file's: read again by a later tick, until the attempts are used up. */
static bool is_passing(int32_t status)
{
    return status == MSA_E_IO || status == MSA_E_NOMEM || status == MSA_E_BUSY;
}

static void on_indexed(srv_indexer *ix, const srv_ipc_indexed *m)
{
    if (m->instance_id != ix->instance_id || ix->instance_id == 0) {
        srv_role_kill(ix->role);
        return;
    }
    ix->instance_id = 0;
    if (is_passing(m->status)) {
        ix->failed_id = m->instance_id;
        (void)snprintf(ix->failed, sizeof ix->failed, "%.*s", (int)sizeof ix->failed - 1, m->what);
        msa_log(MSA_LOG_WARN, "index", "instance=%lld read_later reason=\"%s\"", (long long)m->instance_id,
                ix->failed);
        ix->again = true;
        return;
    }
    index_task *t = new_task(ix, m->status == MSA_OK ? run_index : run_reject, done_filed);
    if (t == NULL) return;
    t->indexed = *m;
    SRV_IPC_END(t->indexed.what);
    SRV_IPC_END(t->indexed.note);
    srv_ipc_end_header(&t->indexed.header);
    if (m->status != MSA_OK)
        msa_log(MSA_LOG_WARN, "index", "instance=%lld rejected reason=\"%s\"", (long long)m->instance_id,
                t->indexed.what);
    if (ix->n_prompts > 0) {
        t->prompts = malloc(ix->n_prompts * sizeof *t->prompts);
        if (t->prompts ==
            NULL) { /* it stays RECEIVED and is read again: better late than without its prompts */
            free(t);
            ix->asking = false;
            ix->again = true;
            return;
        }
        memcpy(t->prompts, ix->prompts, ix->n_prompts * sizeof *t->prompts);
        t->n_prompts = ix->n_prompts;
    }
    srv_core_submit(ix->core, &t->task);
}

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    srv_indexer *ix = ctx;
    if (type == SRV_IPC_WORK_READY) {
        ix->ready = true;
        ask_next(ix);
    } else if (type == SRV_IPC_INDEX_PROMPT && ix->instance_id != 0 && ix->n_prompts < PROMPTS_MAX) {
        ix->prompts[ix->n_prompts] = *(const dicom_prompt *)body;
        srv_ipc_end_prompt(&ix->prompts[ix->n_prompts++]);
    } else if (type == SRV_IPC_INDEXED) {
        on_indexed(ix, body);
    } else if (type == SRV_IPC_LOOKED) {
        on_looked(ix, body);
    } else {
        srv_role_kill(ix->role);
    }
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    srv_indexer *ix = ctx;
    ix->role = NULL;
    ix->ready = false;
    if (ix->instance_id != 0) {
        /* The attempt is counted; the instance is still RECEIVED and is tried again by the next role. */
        char ended[SRV_ROLE_END_MAX];
        srv_role_end_text(how, ended, sizeof ended);
        msa_log(MSA_LOG_WARN, "index", "instance=%lld what=\"the process that read the header %s\"",
                (long long)ix->instance_id, ended);
        ix->instance_id = 0;
    }
    fail_looks(ix, &ix->looking, "the process that read the header has ended");
    if (ix->core->stopping) fail_looks(ix, &ix->looks, "the service is stopping");
    ix->restart_at_ms = uv_now(ix->core->loop) + RESTART_MS;
    srv_core_part_stopped(ix->core);
}

msa_status srv_indexer_start(srv_core *core, msa_error *err)
{
    srv_indexer *ix = calloc(1, sizeof *ix);
    if (ix == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    ix->core = core;
    core->indexer = ix;
    ix->prompts = malloc(PROMPTS_MAX * sizeof *ix->prompts);
    if (ix->prompts == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    return start_role(ix, err);
}

void srv_indexer_kick(srv_indexer *ix)
{
    ix->again = true;
    ask_next(ix);
}

void srv_indexer_tick(srv_indexer *ix)
{
    msa_error err = MSA_ERROR_INIT;
    const uint64_t now = uv_now(ix->core->loop);
    if (ix->role != NULL && (ix->instance_id != 0 || ix->looking != NULL || !ix->ready) &&
        now > ix->deadline_ms)
        srv_role_kill(ix->role);
    if (ix->again || ix->looks != NULL) ask_next(ix);
    if (ix->role == NULL && !ix->core->stopping && now >= ix->restart_at_ms &&
        start_role(ix, &err) != MSA_OK) {
        msa_log(MSA_LOG_ERROR, "index", "what=\"%s\"", err.what);
        ix->restart_at_ms = now + RESTART_MS;
    }
}

void srv_indexer_stop(srv_indexer *ix, bool now)
{
    if (ix->role == NULL) return;
    if (now)
        srv_role_kill(ix->role);
    else
        srv_role_finish(ix->role);
}

bool srv_indexer_idle(const srv_indexer *ix)
{
    return ix == NULL || (ix->role == NULL && !ix->asking);
}

void srv_indexer_free(srv_indexer *ix)
{
    if (ix == NULL) return;
    fail_looks(ix, &ix->looking, "the service has stopped");
    fail_looks(ix, &ix->looks, "the service has stopped");
    free(ix->prompts);
    free(ix);
}
