#include "server/store/store_thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/store/sqlite.h"

#define WAITING_MAX 4096
#define GROUP_MAX   256 /* bounds how long the first of a group waits for the last */

typedef struct task_list {
    srv_task *head, **tail;
    size_t n;
} task_list;

struct srv_store_thread {
    srv_store *store;
    uv_thread_t thread;
    uv_mutex_t lock; /* guards waiting, finished, stopping */
    uv_cond_t more;
    task_list waiting, finished;
    bool stopping;
    atomic_bool bad;
    uv_async_t bell;
};

static void list_init(task_list *list)
{
    *list = (task_list){NULL, &list->head, 0};
}

static void list_push(task_list *list, srv_task *task)
{
    task->next = NULL;
    *list->tail = task;
    list->tail = &task->next;
    list->n++;
}

/* Takes up to `max` (at least 1) from the front; the rest stays. */
static srv_task *list_take(task_list *list, size_t max)
{
    srv_task *first = list->head, **end = &list->head;
    size_t n = 0;
    for (; n < max && *end; n++)
        end = &(*end)->next;
    list->head = *end;
    *end = NULL;
    list->n -= n;
    if (!list->head) list->tail = &list->head;
    return first;
}

/* ---- the store thread ---- */

static void fail_task(srv_task *task, msa_status status, const msa_error *why)
{
    task->status = status;
    task->err = *why;
}

/* A task that fails is undone by its own savepoint; the others of the group stand. */
static void run_task(srv_task *task, srv_store *store)
{
    task->status = srv_tx_begin(store, &task->err);
    if (task->status != MSA_OK) return;
    task->status = task->run(task, store, &task->err);
    task->status = srv_tx_end(store, task->status, &task->err);
}

/*
 * One transaction and one fsync for all tasks that wait. A commit that failed for another reason than a full
 * disk is never tried again: after a failed fsync the kernel may have dropped the pages, and a second one
 * would lie.
 */
static void run_group(srv_store_thread *t, srv_task *group)
{
    msa_error err = MSA_ERROR_INIT;
    msa_status status = MSA_OK;
    if (atomic_load(&t->bad))
        status = msa_fail(&err, MSA_E_IO, "the catalogue's disk failed; the service must be restarted");
    else
        status = srv_store_begin(t->store, &err);
    if (status != MSA_OK) {
        for (srv_task *task = group; task; task = task->next)
            fail_task(task, status, &err);
        return;
    }
    for (srv_task *task = group; task; task = task->next)
        run_task(task, t->store);
    status = srv_store_commit(t->store, &err);
    if (srv_store_failing(t->store)) atomic_store(&t->bad, true);
    if (status == MSA_OK) return;
    for (srv_task *task = group; task; task = task->next) {
        if (task->status == MSA_OK) fail_task(task, status, &err);
    }
}

static void store_main(void *arg)
{
    srv_store_thread *t = arg;
    uv_mutex_lock(&t->lock);
    for (;;) {
        while (!t->waiting.head && !t->stopping)
            uv_cond_wait(&t->more, &t->lock);
        srv_task *group = list_take(&t->waiting, GROUP_MAX);
        if (!group) break; /* stopping, and all is run */
        uv_mutex_unlock(&t->lock);
        run_group(t, group);
        uv_mutex_lock(&t->lock);
        for (srv_task *next = NULL; group; group = next) {
            next = group->next;
            list_push(&t->finished, group);
        }
        (void)uv_async_send(&t->bell);
    }
    uv_mutex_unlock(&t->lock);
}

/* ---- the loop thread ---- */

static void deliver(srv_store_thread *t)
{
    uv_mutex_lock(&t->lock);
    srv_task *task = list_take(&t->finished, SIZE_MAX);
    uv_mutex_unlock(&t->lock);
    for (srv_task *next = NULL; task; task = next) {
        next = task->next; /* done frees the task */
        task->done(task);
    }
}

static void on_bell(uv_async_t *bell)
{
    deliver(bell->data);
}

static void release(srv_store_thread *t)
{
    uv_cond_destroy(&t->more);
    uv_mutex_destroy(&t->lock);
    srv_store_free(t->store);
    free(t);
}

/* What finished after the last ring is delivered here, so every task that was taken comes back. */
static void on_closed(uv_handle_t *bell)
{
    srv_store_thread *t = bell->data;
    deliver(t);
    release(t);
}

static void on_closed_unstarted(uv_handle_t *bell)
{
    release(bell->data);
}

msa_status srv_store_thread_start(srv_store_thread **out, uv_loop_t *loop, srv_store *store, msa_error *err)
{
    *out = NULL;
    srv_store_thread *t = calloc(1, sizeof *t);
    if (!t) {
        srv_store_free(store);
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    }
    t->store = store;
    list_init(&t->waiting);
    list_init(&t->finished);
    if (uv_mutex_init(&t->lock) != 0 || uv_cond_init(&t->more) != 0 ||
        uv_async_init(loop, &t->bell, on_bell) != 0) {
        srv_store_free(store); /* the system is out of handles: a leaked mutex is the least of it */
        free(t);
        return msa_fail(err, MSA_E_INTERNAL, "the store thread cannot be set up");
    }
    t->bell.data = t;
    if (uv_thread_create(&t->thread, store_main, t) != 0) {
        uv_close((uv_handle_t *)&t->bell, on_closed_unstarted);
        return msa_fail(err, MSA_E_INTERNAL, "the store thread cannot be started");
    }
    *out = t;
    return MSA_OK;
}

msa_status srv_store_thread_submit(srv_store_thread *t, srv_task *task, msa_error *err)
{
    msa_status status = MSA_OK;
    task->status = MSA_OK;
    task->err = (msa_error)MSA_ERROR_INIT;
    uv_mutex_lock(&t->lock);
    if (t->stopping) {
        status = msa_fail(err, MSA_E_CANCELED, "the service is stopping");
    } else if (t->waiting.n >= WAITING_MAX) {
        status = msa_fail(err, MSA_E_BUSY, "the catalogue has too much to do; try again later");
    } else {
        list_push(&t->waiting, task);
        uv_cond_signal(&t->more);
    }
    uv_mutex_unlock(&t->lock);
    return status;
}

void srv_store_thread_stop(srv_store_thread *t)
{
    if (!t) return;
    uv_mutex_lock(&t->lock);
    t->stopping = true;
    uv_cond_signal(&t->more);
    uv_mutex_unlock(&t->lock);
    (void)uv_thread_join(&t->thread);
    uv_close((uv_handle_t *)&t->bell, on_closed);
}

bool srv_store_thread_bad(const srv_store_thread *t)
{
    return atomic_load(&((srv_store_thread *)t)->bad);
}
