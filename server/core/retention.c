/*
 * Forgets what the settings allow to be forgotten: rows first, in one transaction; then, once that is on the
 * disk, the files that no row names any more. Files go on the store thread, where rows are made: there a row
 * whose file has just gone is refused (srv_core_has_blob()), so a sender that brings the same bytes again at
 * that moment is not told that they are stored. A crash in between leaves a file without a row, which costs
 * room and nothing else.
 */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

#define PAUSE_MS   10000u /* between two looks when there was nothing to do */
#define SERIES_MAX 16     /* looked at in one task: rows of others are not to wait long */
#define FILES_MAX  16     /* removed in one task, for the same reason */

typedef struct hash_list {
    char (*at)[MSA_SHA256_HEX];
    size_t n, room;
} hash_list;

struct srv_retainer {
    srv_core *core;
    srv_retention_state state; /* store thread, while a task is under way */
    bool busy;
    uint64_t next_ms;
};

typedef struct forget_task {
    srv_task task; /* first */
    srv_retainer *keeper;
    srv_retention limits;
    hash_list hashes;
    size_t next; /* of the hashes, that is to be looked at */
    int64_t bytes;
    int32_t forgotten, files;
} forget_task;

static void add_hash(void *ctx, const char *sha256, int64_t size_bytes)
{
    forget_task *t = ctx;
    hash_list *l = &t->hashes;
    if (l->n == l->room) {
        const size_t room = l->room == 0 ? 256 : 2 * l->room;
        void *more = realloc(l->at, room * sizeof *l->at);
        if (more == NULL) return; /* the file stays, and costs room only */
        l->at = more;
        l->room = room;
    }
    (void)snprintf(l->at[l->n++], MSA_SHA256_HEX, "%s", sha256);
    t->bytes += size_bytes;
}

static msa_status run_forget(srv_task *task, srv_store *store, msa_error *err)
{
    forget_task *t = (forget_task *)task;
    srv_retention_state state = t->keeper->state;
    MSA_TRY(srv_store_forget(store, &t->limits, &state, add_hash, t, err));
    t->forgotten = state.forgotten;
    state.forgotten = 0;
    t->keeper->state = state;
    return MSA_OK;
}

static msa_status run_remove(srv_task *task, srv_store *store, msa_error *err)
{
    forget_task *t = (forget_task *)task;
    const size_t end = t->next + FILES_MAX < t->hashes.n ? t->next + FILES_MAX : t->hashes.n;
    for (; t->next < end; t->next++) {
        bool used = true;
        MSA_TRY(srv_store_blob_is_used(store, t->hashes.at[t->next], &used, err));
        if (used) continue;
        MSA_TRY(srv_blob_remove(t->keeper->core->blobs, t->hashes.at[t->next], err));
        t->files++;
    }
    return MSA_OK;
}

static void finish(forget_task *t)
{
    srv_retainer *k = t->keeper;
    k->busy = false;
    /* At once again while there is more to look at in this round. */
    k->next_ms = uv_now(k->core->loop) + (k->state.after_id == 0 || t->task.status != MSA_OK ? PAUSE_MS : 0);
    free(t->hashes.at);
    free(t);
    srv_core_part_stopped(k->core);
}

static void done_remove(srv_task *task)
{
    forget_task *t = (forget_task *)task;
    if (srv_core_try_later(t->keeper->core, task)) return;
    if (task->status == MSA_OK && t->next < t->hashes.n) {
        srv_core_submit(t->keeper->core, task);
        return;
    }
    if (task->status != MSA_OK) msa_log(MSA_LOG_WARN, "retention", "files_stay what=\"%s\"", task->err.what);
    msa_log(MSA_LOG_INFO, "retention", "forgotten series=%d files=%d mib=%lld", t->forgotten, t->files,
            (long long)(t->bytes >> 20));
    finish(t);
}

static void done_forget(srv_task *task)
{
    forget_task *t = (forget_task *)task;
    if (task->status != MSA_OK) {
        msa_log(MSA_LOG_WARN, "retention", "not_forgotten what=\"%s\"", task->err.what);
        t->keeper->state = (srv_retention_state){0};
    }
    if (task->status != MSA_OK || t->forgotten == 0) {
        finish(t);
        return;
    }
    t->task.run = run_remove; /* the rows are gone for good */
    t->task.done = done_remove;
    srv_core_submit(t->keeper->core, &t->task);
}

static int64_t before(int64_t now_ms, int32_t days)
{
    return days == 0 ? 0 : now_ms - (int64_t)days * 86400000;
}

msa_status srv_retainer_start(srv_core *core, msa_error *err)
{
    srv_retainer *k = calloc(1, sizeof *k);
    if (k == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    k->core = core;
    core->retainer = k;
    return MSA_OK;
}

void srv_retainer_tick(srv_retainer *k)
{
    const srv_config *c = k->core->config;
    if (c->retention_finished_days == 0 && c->retention_waiting_days == 0 && c->retention_max_mib == 0)
        return;
    if (k->busy || k->core->stopping || uv_now(k->core->loop) < k->next_ms) return;
    forget_task *t = calloc(1, sizeof *t);
    if (t == NULL) return;
    const int64_t now_ms = srv_now_ms();
    t->task.run = run_forget;
    t->task.done = done_forget;
    t->keeper = k;
    t->limits = (srv_retention){.finished_before_ms = before(now_ms, c->retention_finished_days),
                                .waiting_before_ms = before(now_ms, c->retention_waiting_days),
                                .bytes_max = (int64_t)c->retention_max_mib << 20,
                                .series_max = SERIES_MAX};
    k->busy = true;
    srv_core_submit(k->core, &t->task);
}

bool srv_retainer_idle(const srv_retainer *k)
{
    return k == NULL || !k->busy;
}

void srv_retainer_free(srv_retainer *k)
{
    free(k);
}

msa_status srv_core_has_blob(const srv_core *core, const char *sha256, msa_error *err)
{
    if (srv_blob_exists(core->blobs, sha256)) return MSA_OK;
    return msa_fail(err, MSA_E_BUSY, "the same object was just being forgotten; it has to come again");
}
