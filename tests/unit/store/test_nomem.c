/* One run makes the n-th allocation of SQLite fail, for every n: each call fails cleanly or succeeds, and
 * nothing is half done. */
#include "tests/unit/store/fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3_mem_methods real;
static long fail_at; /* 0: never */
static long stride = 23;

static bool now_is_the_time(void)
{
    return fail_at > 0 && --fail_at == 0;
}
static void *failing_malloc(int n)
{
    return now_is_the_time() ? NULL : real.xMalloc(n);
}
static void *failing_realloc(void *p, int n)
{
    return now_is_the_time() ? NULL : real.xRealloc(p, n);
}

/* An image, its prompt, the tick: MSA_OK, or the first failure. */
static msa_status story(srv_store *s, msa_error *err)
{
    const srv_instance in = {
        .sop_instance_uid = "1.5.1", .sha256 = "ab", .received_ms = 1000, .size_bytes = 1};
    const dicom_header header = fx_header("1.5", "1.5.1", 0);
    srv_prompt prompt = {.created_ms = 1000, .group_id = "g", .prompt = fx_box("", "x")};
    memcpy(prompt.prompt.series_uid, "1.5", 4);
    srv_put outcome;
    srv_job job;
    int64_t id = 0, due = 0;
    int32_t queued = 0;
    MSA_TRY(srv_store_instance_put(s, &in, &outcome, &id, err));
    MSA_TRY(srv_store_instance_index(s, id, &header, NULL, 0, 1000, err));
    MSA_TRY(srv_store_prompts_put(s, &prompt, 1, err));
    MSA_TRY(srv_jobs_tick(s, &fx_policy, 60000, &queued, &due, err));
    MSA_TRY(srv_store_job_claim(s, 60000, 1000, &job, err));
    return srv_store_job_done(s, job.id, job.token, NULL, 0, NULL, 0, "", "", NULL, 0, 60001, err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    long tried = 0, failures = 0;
    bool more = true;
    for (long n = 1; more; n += stride, tried++) {
        void *own = NULL;
        msa_error why = MSA_ERROR_INIT;
        fail_at = 0;
        assert_int_equal(fixture_setup(&own), 0);
        fixture *f = own;
        fail_at = n;
        const msa_status status = story(f->store, &why);
        more = fail_at == 0; /* it came to the n-th */
        fail_at = 0;
        if (status != MSA_OK) {
            failures++;
            assert_true(status == MSA_E_NOMEM || status == MSA_E_IO);
            assert_true(why.what[0] != '\0');
        }
        /* whatever stands now is whole: the rest of the story goes on from it after a restart */
        int32_t requeued = 0;
        assert_ok(srv_store_recover(f->store, 70000, &requeued, &err));
        fixture_reopen(f);
        if (fx_newest(f->store, "1.5").state != SRV_JOB_SUCCEEDED_EMPTY) {
            msa_error e = MSA_ERROR_INIT;
            const srv_job job = fx_newest(f->store, "1.5");
            if (job.state != SRV_JOB_QUEUED && story(f->store, &e) != MSA_OK)
                fail_msg("n = %ld: job %s: %s", n, srv_job_state_name(job.state), e.what);
        }
        assert_int_equal(fixture_teardown(&own), 0);
    }
    print_message("%ld failing allocations, %ld failed calls\n", tried - 1, failures);
    assert_true(failures > 100);
}

int main(int argc, char **argv)
{
    if (argc > 1 && atol(argv[1]) > 0) stride = atol(argv[1]);
    /* no lookaside and no page cache of SQLite's own: each allocation is seen */
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK) return 1;
    sqlite3_mem_methods failing = real;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) != SQLITE_OK) return 1;
    if (sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
