/* The store thread: group commit, a failed task undone alone, the bound, stopping, a bad disk. */
#include "tests/unit/store/fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite.h"
#include "server/store/store_thread.h"

typedef struct test_task {
    srv_task task;
    int number;
    bool fail;
    int *done_count; /* loop thread */
    msa_status *status;
    uv_sem_t *gate; /* the store thread waits here */
} test_task;

static atomic_int commits;
static int count_commit(void *refuse)
{
    atomic_fetch_add(&commits, 1);
    return refuse != NULL;
}

static msa_status run_put(srv_task *task, srv_store *store, msa_error *err)
{
    const test_task *t = (test_task *)task;
    srv_instance in = {.received_ms = 1, .size_bytes = 1};
    srv_put outcome;
    int64_t id = 0;
    if (t->gate) uv_sem_wait(t->gate);
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "1.2.%d", t->number);
    (void)snprintf(in.sha256, sizeof in.sha256, "%064d", t->number);
    MSA_TRY(srv_store_instance_put(store, &in, &outcome, &id, err));
    return t->fail ? msa_fail(err, MSA_E_INVALID, "task %d fails after it has written", t->number) : MSA_OK;
}

static void done(srv_task *task)
{
    test_task *t = (test_task *)task;
    ++*t->done_count;
    if (t->status) *t->status = task->status;
    if (task->status != MSA_OK) assert_true(strlen(task->err.what) > 0);
    free(t);
}

static test_task *new_task(int number, int *done_count, msa_status *status)
{
    test_task *t = calloc(1, sizeof *t);
    assert_non_null(t);
    *t = (test_task){
        .task = {.run = run_put, .done = done}, .number = number, .done_count = done_count, .status = status};
    return t;
}

static srv_store_thread *start(fixture *f, uv_loop_t *loop)
{
    srv_store_thread *t = NULL;
    assert_int_equal(uv_loop_init(loop), 0);
    assert_ok(srv_store_thread_start(&t, loop, f->store, &err));
    f->store = NULL; /* taken */
    return t;
}

static void stop(srv_store_thread *t, uv_loop_t *loop)
{
    srv_store_thread_stop(t);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static int64_t stored(fixture *f)
{
    srv_store_counts counts;
    assert_ok(srv_store_open(&f->store, f->path, &err));
    assert_ok(srv_store_count(f->store, &counts, &err));
    return counts.instances;
}

/* Holds the store thread in the first task while the others queue up; they then share one commit. */
static void tasks_that_wait_share_a_commit(void **state)
{
    enum { N = 100 };
    fixture *f = *state;
    uv_loop_t loop;
    uv_sem_t gate;
    int finished = 0;
    msa_status status[N];
    (void)sqlite3_commit_hook(f->store->db, count_commit, NULL);
    atomic_store(&commits, 0);
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    srv_store_thread *t = start(f, &loop);
    for (int k = 0; k < N; k++) {
        test_task *task = new_task(k, &finished, &status[k]);
        if (k == 0) task->gate = &gate;
        task->fail = k % 10 == 3;
        assert_ok(srv_store_thread_submit(t, &task->task, &err));
    }
    assert_int_equal(finished, 0);
    uv_sem_post(&gate);
    while (finished < N)
        (void)uv_run(&loop, UV_RUN_ONCE);
    assert_in_range(atomic_load(&commits), 1, 2); /* the first alone or with some, then the rest */
    for (int k = 0; k < N; k++)
        assert_int_equal(status[k], k % 10 == 3 ? MSA_E_INVALID : MSA_OK);
    assert_false(srv_store_thread_bad(t));
    stop(t, &loop);
    uv_sem_destroy(&gate);
    assert_int_equal(stored(f), N - N / 10);
}

static void the_queue_is_bounded(void **state)
{
    fixture *f = *state;
    uv_loop_t loop;
    uv_sem_t gate;
    int finished = 0, taken = 0;
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    srv_store_thread *t = start(f, &loop);
    for (;; taken++) {
        test_task *task = new_task(taken, &finished, NULL);
        msa_error e = MSA_ERROR_INIT;
        if (taken == 0) task->gate = &gate;
        if (srv_store_thread_submit(t, &task->task, &e) == MSA_OK) continue;
        assert_int_equal(e.status, MSA_E_BUSY);
        free(task);
        break;
    }
    assert_in_range(taken, 4096, 4096 + 256); /* those of the running group are no longer waiting */
    uv_sem_post(&gate);
    stop(t, &loop); /* runs what is queued, and every task comes back */
    assert_int_equal(finished, taken);
    uv_sem_destroy(&gate);
    assert_int_equal(stored(f), taken);
}

typedef struct again_task {
    srv_task task;
    srv_store_thread *thread;
    msa_status *second;
} again_task;

static msa_status run_nothing(srv_task *task, srv_store *store, msa_error *err)
{
    (void)task;
    (void)store;
    (void)err;
    return MSA_OK;
}

static void submit_again(srv_task *task)
{
    again_task *t = (again_task *)task;
    msa_error e = MSA_ERROR_INIT;
    *t->second = srv_store_thread_submit(t->thread, task, &e);
    free(t);
}

static void nothing_is_taken_while_stopping(void **state)
{
    fixture *f = *state;
    uv_loop_t loop;
    msa_status second = MSA_OK;
    srv_store_thread *t = start(f, &loop);
    again_task *task = calloc(1, sizeof *task);
    assert_non_null(task);
    *task = (again_task){.task = {.run = run_nothing, .done = submit_again}, .thread = t, .second = &second};
    assert_ok(srv_store_thread_submit(t, &task->task, &err));
    stop(t, &loop);
    assert_int_equal(second, MSA_E_CANCELED);
}

/* A commit that the hook refuses stands for one whose fsync failed. */
static void a_failed_commit_fails_the_group_and_ends_the_service(void **state)
{
    fixture *f = *state;
    uv_loop_t loop;
    uv_sem_t gate;
    int finished = 0;
    msa_status status[6] = {MSA_OK, MSA_OK, MSA_OK, MSA_OK, MSA_OK, MSA_OK};
    static int refuse;
    (void)sqlite3_commit_hook(f->store->db, count_commit, &refuse);
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    srv_store_thread *t = start(f, &loop);
    for (int k = 0; k < 5; k++) {
        test_task *task = new_task(k, &finished, &status[k]);
        if (k == 0) task->gate = &gate;
        assert_ok(srv_store_thread_submit(t, &task->task, &err));
    }
    uv_sem_post(&gate);
    while (finished < 5)
        (void)uv_run(&loop, UV_RUN_ONCE);
    for (int k = 0; k < 5; k++)
        assert_int_not_equal(status[k], MSA_OK);
    assert_true(srv_store_thread_bad(t));
    test_task *late = new_task(99, &finished, &status[5]);
    assert_ok(srv_store_thread_submit(t, &late->task, &err));
    stop(t, &loop);
    assert_int_equal(finished, 6);
    assert_int_equal(status[5], MSA_E_IO); /* not tried: after a failed fsync a second one would lie */
    uv_sem_destroy(&gate);
    assert_int_equal(stored(f), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(tasks_that_wait_share_a_commit),
        CASE(the_queue_is_bounded),
        CASE(nothing_is_taken_while_stopping),
        CASE(a_failed_commit_fails_the_group_and_ends_the_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
