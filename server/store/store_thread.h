/* The one thread that touches the catalogue. The loop hands it tasks; it answers on the loop. */
#ifndef SRV_STORE_STORE_THREAD_H
#define SRV_STORE_STORE_THREAD_H

#include <uv.h>

#include "server/store/store.h"

typedef struct srv_store_thread srv_store_thread;

/**
 * A task is embedded at the head of the caller's own struct. `run` is called on the store thread; `done`
 * later on the loop, and frees it. Tasks that wait together are run in one transaction (group commit) and
 * `done` is called only after that commit: status and err then say how it ended for this task (a failed
 * COMMIT fails all of the group).
 */
typedef struct srv_task {
    struct srv_task *next;
    msa_status (*run)(struct srv_task *task, srv_store *store, msa_error *err);
    void (*done)(struct srv_task *task);
    msa_status status;
    msa_error err;
} srv_task;

/* Takes the store. Errors: MSA_E_NOMEM, MSA_E_INTERNAL. */
MSA_NODISCARD msa_status srv_store_thread_start(srv_store_thread **out, uv_loop_t *loop, srv_store *store,
                                                msa_error *err);
/* Loop thread. Bounded: MSA_E_BUSY when 4,096 tasks wait (the task is not taken). */
MSA_NODISCARD msa_status srv_store_thread_submit(srv_store_thread *t, srv_task *task, msa_error *err);
/* Runs what is queued, joins, closes the store and the bell; call on the loop, then run the loop until it is
 * empty. */
void srv_store_thread_stop(srv_store_thread *t);
/* True after a commit failed for a reason that is not a full disk: core stops accepting and exits (invariant
 * 1). */
bool srv_store_thread_bad(const srv_store_thread *t);

#endif
