/* What may be forgotten, and what never: invariant 1 for results that have not arrived, and for all that a
 * job needs. */
#include "tests/unit/store/fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "dicom/send.h"
#include "server/store/sqlite.h"

typedef struct told {
    int n;
    char last[MSA_SHA256_HEX];
} told;

static void tell(void *ctx, const char *sha256, int64_t size_bytes)
{
    told *t = ctx;
    (void)size_bytes;
    t->n++;
    (void)snprintf(t->last, sizeof t->last, "%s", sha256);
}

/* Whole rounds; returns how many series went. */
static int forget(srv_store *s, const srv_retention *limits, told *t)
{
    srv_retention_state state = {0};
    *t = (told){0};
    do
        assert_ok(srv_store_forget(s, limits, &state, tell, t, &err));
    while (state.after_id != 0);
    return state.forgotten;
}

static int64_t count(srv_store *s, const char *table)
{
    char sql[64];
    sqlite3_stmt *q = NULL;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_prepare_v2(s->db, sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    const int64_t n = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    return n;
}

/* A job of a series with one box, up to and with its result for `destination` (NULL: for nobody). */
static srv_job run_job(srv_store *s, const char *series, const char *destination, int64_t now_ms)
{
    fx_series(s, series, 3, now_ms);
    fx_post(s, series, series, 1, "liver", now_ms);
    (void)fx_tick(s, now_ms + 40000);
    const srv_job job = fx_claim(s, now_ms + 41000);
    fx_done(s, &job, destination, NULL, now_ms + 42000);
    return fx_job(s, job.id);
}

static void deliver(srv_store *s, const char *destination, int outcome, int64_t now_ms)
{
    srv_delivery d;
    assert_ok(srv_store_delivery_claim(s, destination, now_ms, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, outcome, 0, "", now_ms + 1, 1, now_ms, &err));
}

#define ALL                                                                                                  \
    ((srv_retention){.finished_before_ms = INT64_MAX, .waiting_before_ms = INT64_MAX, .series_max = 2})

static void what_is_delivered_goes_with_all_that_is_its_own(void **state)
{
    fixture *f = *state;
    told t;
    (void)run_job(f->store, "1.5", "pacs", 1000);
    deliver(f->store, "pacs", DICOM_DELIVERED, 50000);
    const srv_retention early = {.finished_before_ms = 49999, .series_max = 5};
    assert_int_equal(forget(f->store, &early, &t), 0);
    assert_int_equal(forget(f->store, &ALL, &t), 1);
    assert_int_equal(t.n, 3 + 1); /* images and the result */
    static const char *const tables[] = {"series",     "instance", "prompt",  "job",     "job_instance",
                                         "job_prompt", "result",   "segment", "delivery"};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        if (count(f->store, tables[k]) != 0) fail_msg("rows are left in %s", tables[k]);
    bool used = true;
    assert_ok(srv_store_blob_is_used(f->store, t.last, &used, &err));
    assert_false(used);
    /* Sent again, it is new, and comes to the same */
    (void)run_job(f->store, "1.5", "pacs", 100000);
}

static void what_has_not_arrived_stays(void **state)
{
    fixture *f = *state;
    told t;
    (void)run_job(f->store, "1.5", "pacs", 1000); /* pending */
    assert_int_equal(forget(f->store, &ALL, &t), 0);
    deliver(f->store, "pacs", DICOM_RETRY, 50000); /* given up: dead */
    char states[64];
    fx_delivery_states(f->store, 1, states, sizeof states);
    assert_string_equal(states, "dead");
    assert_int_equal(fx_job(f->store, 1).state, SRV_JOB_FAILED);
    assert_int_equal(forget(f->store, &ALL, &t), 0);
    const srv_retention tight = {.bytes_max = 1, .series_max = 100};
    assert_int_equal(forget(f->store, &tight, &t), 0);
    assert_int_equal(t.n, 0);
}

static void a_job_in_flight_keeps_what_it_needs(void **state)
{
    fixture *f = *state;
    told t;
    (void)run_job(f->store, "1.5", NULL, 1000); /* a first result, for nobody: finished */
    fx_post(f->store, "again", "1.5", 2, "spleen", 60000);
    assert_int_equal(forget(f->store, &ALL, &t), 0); /* waits to be bound */
    (void)fx_tick(f->store, 100000);
    assert_int_equal(forget(f->store, &ALL, &t), 0); /* queued */
    const srv_job job = fx_claim(f->store, 101000);
    assert_int_equal(forget(f->store, &ALL, &t), 0); /* running */
    fx_done(f->store, &job, NULL, NULL, 102000);
    assert_int_equal(forget(f->store, &ALL, &t), 1);
}

static void an_annotation_stays_while_it_prompts_another_series(void **state)
{
    fixture *f = *state;
    told t;
    fx_series(f->store, "1.5", 2, 1000);
    fx_series(f->store, "1.6", 2, 1000);
    const dicom_prompt boxes[] = {fx_box("1.5.1", "liver"), fx_box("1.6.1", "liver")};
    const int64_t id = fx_annotation(f->store, "1.7.1", "both", boxes, 2, 2000);
    (void)fx_tick(f->store, 60000);
    srv_job job = fx_claim(f->store, 61000);
    fx_done(f->store, &job, NULL, NULL, 62000);
    assert_int_equal(forget(f->store, &ALL, &t), 1); /* the other is queued */
    srv_instance in;
    assert_ok(srv_store_instance_find(f->store, "1.7.1", &in, &err));
    assert_int_equal(in.id, id);
    job = fx_claim(f->store, 63000);
    assert_int_equal(fx_bound_prompts(f->store, job.id), 1);
    fx_done(f->store, &job, NULL, NULL, 64000);
    assert_int_equal(forget(f->store, &ALL, &t), 1);
    assert_int_equal(srv_store_instance_find(f->store, "1.7.1", &in, NULL), MSA_E_NOT_FOUND);
    assert_int_equal(count(f->store, "instance"), 0);
}

static void what_waits_for_an_annotation_goes_by_its_own_setting(void **state)
{
    fixture *f = *state;
    told t;
    fx_series(f->store, "1.5", 2, 1000);
    const srv_retention waiting = {.waiting_before_ms = 1000, .series_max = 10},
                        finished = {.finished_before_ms = INT64_MAX, .series_max = 10};
    assert_int_equal(forget(f->store, &waiting, &t), 0); /* still open */
    (void)fx_tick(f->store, 60000);
    assert_int_equal(fx_newest(f->store, "1.5").state, SRV_JOB_WAITING_PROMPT);
    assert_int_equal(forget(f->store, &finished, &t), 0);
    assert_ok(srv_store_series_hold(f->store, "1.5", true, &err));
    assert_int_equal(forget(f->store, &waiting, &t), 0);
    assert_ok(srv_store_series_hold(f->store, "1.5", false, &err));
    (void)fx_tick(f->store, 61000);
    assert_int_equal(forget(f->store, &waiting, &t), 1);
    assert_int_equal(count(f->store, "instance"), 0);
}

static void too_much_goes_the_oldest_first_and_no_further(void **state)
{
    fixture *f = *state;
    told t;
    static const char *const series[] = {"1.51", "1.52", "1.53"};
    for (int k = 0; k < 3; k++)
        (void)run_job(f->store, series[k], NULL, 1000 + 100000 * k);
    int64_t bytes = 0;
    assert_ok(srv_sql_value(
        f->store, "SELECT (SELECT sum(size_bytes) FROM instance) + (SELECT sum(size_bytes) FROM result)",
        NULL, 0, &bytes, &err));
    const srv_retention one_less = {.bytes_max = bytes - 1, .series_max = 10};
    assert_int_equal(forget(f->store, &one_less, &t), 1);
    srv_series found;
    assert_int_equal(srv_store_series_get(f->store, "1.51", &found, NULL), MSA_E_NOT_FOUND);
    assert_ok(srv_store_series_get(f->store, "1.52", &found, &err));
    assert_int_equal(forget(f->store, &one_less, &t), 0);
}

/* SQLite looks for what refers to each row that goes: a whole table read for each image would hold up the
 * rest. */
static void no_table_is_read_whole_for_an_image(void **state)
{
    fixture *f = *state;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_prepare_v2(f->store->db, "EXPLAIN QUERY PLAN DELETE FROM instance WHERE id = 1",
                                        -1, &q, NULL),
                     SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW)
        assert_null(strstr((const char *)sqlite3_column_text(q, 3), "SCAN"));
    (void)sqlite3_finalize(q);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_delivered_goes_with_all_that_is_its_own),
        CASE(what_has_not_arrived_stays),
        CASE(a_job_in_flight_keeps_what_it_needs),
        CASE(an_annotation_stays_while_it_prompts_another_series),
        CASE(what_waits_for_an_annotation_goes_by_its_own_setting),
        CASE(too_much_goes_the_oldest_first_and_no_further),
        CASE(no_table_is_read_whole_for_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
