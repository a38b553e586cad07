/**
 * What the service does all day must not cost more when much lies in the catalogue: SQLite's own count of the
 * virtual machine's steps is compared between a small and an eight times larger backlog. Steps, not seconds:
 * the same everywhere.
 */
#include "tests/unit/store/fixture.h"

#include <stdio.h>

#include "server/store/sqlite.h"

/* The steps of all statements since the last call. */
static int64_t steps(srv_store *s)
{
    int64_t n = 0;
    for (size_t k = 0; k < SRV_SQL_SLOTS; k++) {
        if (s->slots[k].stmt) n += sqlite3_stmt_status(s->slots[k].stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    return n;
}

/* `n` series each: waiting for a prompt, queued, delivering, done, rejected; and associations and refusals.
 */
static void backlog(srv_store *s, int n)
{
    int64_t association = 0, id = 0;
    srv_delivery d;
    assert_ok(srv_store_begin(s, &err));
    for (int k = 0; k < 4 * n; k++) {
        char series[32], group[32];
        (void)snprintf(series, sizeof series, "1.8.%d", k);
        (void)snprintf(group, sizeof group, "g%d", k);
        fx_series(s, series, 2, 1000);
        if (k >= n) fx_post(s, group, series, 0, "liver", 1000);
        if (k < n) {
            assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "A", .called_ae = "MSAD", .peer = "h", .opened_ms = 1000}, &association, &err));
            id = fx_put(s, group, "unreadable", association, 1000, NULL);
            assert_ok(srv_store_instance_reject(s, id, "unreadable", &err));
            assert_ok(srv_store_association_close(s, association, "released", 2000, &err));
        }
    }
    assert_int_equal(fx_tick(s, 100000), 3 * n);
    for (int k = 0; k < 2 * n; k++) {
        const srv_job job = fx_claim(s, 100000);
        fx_done(s, &job, k % 2 ? "SLOW" : NULL, NULL, 100000);
    }
    if (srv_store_delivery_claim(s, "SLOW", 100000, &d, NULL) == MSA_OK)
        assert_ok(
            srv_store_delivery_done(s, d.id, d.token, 1, -1, "refused", 999999999, 9999999999, 100000, &err));
    assert_ok(srv_store_commit(s, &err));
}

enum { TICK, ARRIVE, PROMPT, CLAIM, HEARTBEAT, DONE, DELIVER, RECOVER, LIST, KINDS };
static const char *const names[KINDS] = {"idle tick", "arrive",  "prompt and bind", "claim",    "heartbeat",
                                         "done",      "deliver", "recover",         "list jobs"};

static void a_day(srv_store *s, int64_t out[KINDS])
{
    srv_delivery d;
    int32_t requeued = 0;
    int64_t association = 0;
    (void)steps(s);
    assert_int_equal(fx_tick(s, 200000), 0);
    out[TICK] = steps(s);
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "A", .called_ae = "MSAD", .peer = "h", .opened_ms = 200000}, &association, &err));
    for (int k = 0; k < 5; k++) {
        char uid[32];
        (void)snprintf(uid, sizeof uid, "1.5.%d", k);
        (void)fx_image(s, "1.5", uid, uid, k, association, 200000);
        assert_int_equal(fx_tick(s, 200001), 0);
    }
    assert_ok(srv_store_association_close(s, association, "released", 200002, &err));
    out[ARRIVE] = steps(s);
    fx_post(s, "today", "1.5", 0, "liver", 200002);
    assert_int_equal(fx_tick(s, 203000), 1);
    out[PROMPT] = steps(s);
    const srv_job job = fx_claim(s, 203000);
    out[CLAIM] = steps(s);
    assert_ok(srv_store_job_heartbeat(s, job.id, job.token, 999999, 1, 2, &err));
    out[HEARTBEAT] = steps(s);
    fx_done(s, &job, "QUICK", NULL, 204000);
    out[DONE] = steps(s);
    assert_ok(srv_store_delivery_claim(s, "QUICK", 204000, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, 0, 0, "", 0, 1000000, 204001, &err));
    out[DELIVER] = steps(s);
    assert_ok(srv_store_recover(s, 205000, &requeued, &err));
    out[RECOVER] = steps(s);
    (void)fx_newest(s, NULL);
    (void)fx_newest(s, "1.5");
    out[LIST] = steps(s);
}

static void work_costs_the_same_whatever_lies_there(void **state)
{
    void *large = NULL;
    int64_t few[KINDS], many[KINDS];
    backlog(((fixture *)*state)->store, 50);
    a_day(((fixture *)*state)->store, few);
    assert_int_equal(fixture_setup(&large), 0);
    backlog(((fixture *)large)->store, 400);
    a_day(((fixture *)large)->store, many);
    assert_int_equal(fixture_teardown(&large), 0);
    for (int k = 0; k < KINDS; k++) {
        print_message("%-16s %6lld steps, %6lld with 8 times the backlog\n", names[k], (long long)few[k],
                      (long long)many[k]);
        if (many[k] > few[k] + few[k] / 4 + 100) fail_msg("%s grows with the backlog", names[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        work_costs_the_same_whatever_lies_there, fixture_setup, fixture_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
