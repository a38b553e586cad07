/* Instances as they come: identity, order, rejection; associations and refusals. */
#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <string.h>

static void count_rows(void *ctx, const srv_instance *i)
{
    (void)i;
    ++*(int *)ctx;
}

static void same_bytes_again_are_no_new_work(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_put outcome = SRV_PUT_SAME;
    const int64_t a = fx_put(s, "1.2.3", "bytes", 0, 1000, &outcome);
    assert_int_equal(outcome, SRV_PUT_NEW);
    assert_int_equal(fx_put(s, "1.2.3", "bytes", 0, 2000, &outcome), a);
    assert_int_equal(outcome, SRV_PUT_SAME);
    const int64_t b = fx_put(s, "1.2.3", "other bytes", 0, 3000, &outcome);
    assert_int_equal(outcome, SRV_PUT_OTHER_BYTES);
    assert_int_not_equal(a, b);
    /* another object may hold the same bytes: the blob is shared, the row is not */
    (void)fx_put(s, "1.2.4", "bytes", 0, 4000, &outcome);
    assert_int_equal(outcome, SRV_PUT_NEW);
}

static void same_bytes_again_after_the_job_open_none(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_put outcome = SRV_PUT_NEW;
    srv_instance next;
    fx_series(s, "1.5", 2, 1000);
    fx_post(s, "g1", "1.5", 0, "liver", 1000);
    assert_int_equal(fx_tick(s, 40000), 1);
    (void)fx_put(s, "1.5.1", "1.5.1", 0, 41000, &outcome);
    assert_int_equal(outcome, SRV_PUT_SAME);
    assert_fails(MSA_E_NOT_FOUND, "no instance", srv_store_instance_next(s, 0, &next, &err));
    assert_int_equal(fx_tick(s, 99000), 0);
    assert_int_equal(fx_count_jobs(s, "1.5"), 1);
}

static void next_gives_the_oldest_and_counts_the_tries(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_instance in;
    const int64_t a = fx_put(s, "1.1", "a", 7, 1000, NULL), b = fx_put(s, "1.2", "b", 7, 1001, NULL);
    assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_int_equal(in.id, a);
    assert_int_equal(in.index_attempts, 1);
    assert_int_equal(in.association_id, 7);
    assert_int_equal(in.received_ms, 1000);
    assert_string_equal(in.sop_instance_uid, "1.1");
    assert_ok(srv_store_instance_next(s, a, &in, &err));
    assert_int_equal(in.id, b);
    assert_fails(MSA_E_NOT_FOUND, "no instance", srv_store_instance_next(s, b, &in, &err));
    assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_int_equal(in.index_attempts, 2);
}

static void what_cannot_be_read_is_rejected_with_its_reason(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_header header = fx_header("1.5", "1.1", 0);
    srv_instance in;
    srv_store_counts counts;
    int n = 0;
    const int64_t id = fx_put(s, "1.1", "a", 0, 1000, NULL);
    assert_ok(srv_store_instance_reject(s, id, "the file ends in the middle of an element", &err));
    assert_fails(MSA_E_NOT_FOUND, "no instance", srv_store_instance_next(s, 0, &in, &err));
    assert_fails(MSA_E_INVALID, "rejected", srv_store_instance_index(s, id, &header, NULL, 0, 2000, &err));
    assert_ok(srv_store_instances_rejected(s, 0, 10, count_rows, &n, &err));
    assert_int_equal(n, 1);
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.rejected, 1);
    assert_int_equal(counts.series, 0);
    assert_fails(MSA_E_NOT_FOUND, "no instance", srv_store_instance_reject(s, 4711, "x", &err));
    assert_fails(MSA_E_NOT_FOUND, "no instance",
                 srv_store_instance_index(s, 4711, &header, NULL, 0, 2000, &err));
}

static void what_was_rejected_and_comes_again_is_read_again(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_instance in;
    srv_put outcome;
    const int64_t id = fx_put(s, "1.1", "a", 0, 1000, NULL);
    for (int k = 0; k < 4; k++)
        assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_ok(srv_store_instance_reject(s, id, "the disk did not answer", &err));
    assert_int_equal(fx_put(s, "1.1", "a", 0, 2000, &outcome), id);
    assert_int_equal(outcome, SRV_PUT_NEW);
    assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_int_equal(in.id, id);
    assert_int_equal(in.index_attempts, 1);
    assert_int_equal(fx_put(s, "1.1", "a", 0, 3000, &outcome), id);
    assert_int_equal(outcome, SRV_PUT_SAME);
}

static void remember(void *ctx, const srv_instance *i)
{
    *(srv_instance *)ctx = *i;
}

static void a_dataset_that_claims_another_uid_is_rejected(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_header header = fx_header("1.5", "6.6.6", 0);
    srv_instance in = {0};
    const int64_t id = fx_put(s, "1.1", "a", 0, 1000, NULL);
    assert_ok(srv_store_instance_index(s, id, &header, NULL, 0, 2000, &err));
    assert_ok(srv_store_instances_rejected(s, 0, 10, remember, &in, &err));
    assert_int_equal(in.id, id);
    assert_non_null(strstr(in.reason, "SOP Instance UID"));
    assert_int_equal(fx_count_jobs(s, NULL), 0);
}

static void other_bytes_replace_once_they_can_be_read(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_series series;
    fx_series(s, "1.5", 3, 1000);
    const int64_t bad = fx_put(s, "1.5.2", "unreadable", 0, 2000, NULL);
    assert_ok(srv_store_instance_reject(s, bad, "not DICOM", &err));
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.instances, 3); /* the older version is still in use */
    const int64_t newer = fx_image(s, "1.5", "1.5.2", "new bytes", 10, 0, 3000);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.instances, 3);
    srv_instance last = {0};
    fx_post(s, "g", "1.5", 0, "x", 3000);
    assert_int_equal(fx_tick(s, 40000), 1);
    const srv_job job = fx_claim(s, 40000);
    assert_int_equal(fx_bound_instances(s, job.id), 3);
    /* by position: 5, 10, 15 mm */
    assert_ok(srv_store_job_instances(s, job.id, remember, &last, &err));
    assert_string_equal(last.sop_instance_uid, "1.5.3");
    assert_true(newer > 0);
}

static void versions_may_be_indexed_in_any_order(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_header header = fx_header("1.5", "1.5.1", 5);
    srv_series series;
    const int64_t older = fx_put(s, "1.5.1", "old", 0, 1000, NULL),
                  newer = fx_put(s, "1.5.1", "new", 0, 1001, NULL);
    assert_ok(srv_store_instance_index(s, newer, &header, NULL, 0, 2000, &err));
    assert_ok(srv_store_instance_index(s, older, &header, NULL, 0, 2001, &err));
    assert_ok(srv_store_instance_index(s, newer, &header, NULL, 0, 2002, &err)); /* a repeated answer */
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.instances, 1);
    srv_instance used = {0};
    fx_post(s, "g", "1.5", 0, "x", 3000);
    assert_int_equal(fx_tick(s, 40000), 1);
    assert_ok(srv_store_job_instances(s, fx_newest(s, "1.5").id, remember, &used, &err));
    assert_int_equal(used.id, newer);
}

static void an_image_resent_into_another_series_leaves_the_first(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_series series;
    fx_series(s, "1.5", 1, 1000);
    assert_int_equal(fx_tick(s, 40000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
    (void)fx_image(s, "1.6", "1.5.1", "edited", 5, 0, 50000);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.instances, 0);
    assert_true(series.open);
    assert_int_equal(fx_tick(s, 90000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_CANCELLED);
    assert_non_null(strstr(fx_newest(s, "1.5").reason, "another series"));
    assert_int_equal(fx_newest(s, "1.6").state, SRV_JOB_WAITING_PROMPT);
}

/* ---- associations, refusals ---- */

static void keep_association(void *ctx, const srv_association *a)
{
    *(srv_association *)ctx = *a;
}

static void associations_open_and_close(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_association a = {0};
    int64_t id = 0;
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "PACS", .called_ae = "MSAD", .peer = "10.0.0.1", .opened_ms = 1000}, &id, &err));
    (void)fx_put(s, "1.1", "a", id, 1001, NULL);
    (void)fx_put(s, "1.1", "a", id, 1002, NULL);
    assert_ok(srv_store_association_close(s, id, "released", 1500, &err));
    assert_ok(srv_store_association_close(s, id, "lost", 1600, &err)); /* the first end stands */
    assert_ok(srv_store_associations(s, 0, 5, keep_association, &a, &err));
    assert_int_equal(a.id, id);
    assert_int_equal(a.instances, 2);
    assert_int_equal(a.closed_ms, 1500);
    assert_string_equal(a.ended, "released");
    assert_string_equal(a.calling_ae, "PACS");
    assert_fails(MSA_E_NOT_FOUND, "association", srv_store_association_close(s, 99, "lost", 1600, &err));
}

static void keep_refusal(void *ctx, const srv_refusal *r)
{
    srv_refusal *out = ctx;
    if (!out->id) *out = *r;
    out[1].count++;
}

static void refusals_count_and_the_oldest_fall_off(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_refusal r = {
        .at_ms = 1000, .calling_ae = "X", .peer = "10.0.0.9", .what = "1.2.3", .reason = "unknown class"};
    srv_refusal seen[2] = {{0}};
    assert_ok(srv_store_refusal_put(s, &r, &err));
    r.at_ms = 2000;
    assert_ok(srv_store_refusal_put(s, &r, &err));
    assert_ok(srv_store_refusals(s, 10, keep_refusal, seen, &err));
    assert_int_equal(seen[0].count, 2);
    assert_int_equal(seen[0].at_ms, 2000);
    assert_int_equal(seen[1].count, 1);
    assert_ok(srv_store_begin(s, &err));
    for (int k = 0; k < 1005; k++) {
        r.at_ms = 3000 + k;
        (void)snprintf(r.what, sizeof r.what, "1.2.%d", k);
        assert_ok(srv_store_refusal_put(s, &r, &err));
    }
    assert_ok(srv_store_commit(s, &err));
    memset(seen, 0, sizeof seen);
    assert_ok(srv_store_refusals(s, 5000, keep_refusal, seen, &err));
    assert_int_equal(seen[1].count, 1000);
    assert_string_equal(seen[0].what, "1.2.1004");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(same_bytes_again_are_no_new_work),
        CASE(same_bytes_again_after_the_job_open_none),
        CASE(next_gives_the_oldest_and_counts_the_tries),
        CASE(what_cannot_be_read_is_rejected_with_its_reason),
        CASE(what_was_rejected_and_comes_again_is_read_again),
        CASE(a_dataset_that_claims_another_uid_is_rejected),
        CASE(other_bytes_replace_once_they_can_be_read),
        CASE(versions_may_be_indexed_in_any_order),
        CASE(an_image_resent_into_another_series_leaves_the_first),
        CASE(associations_open_and_close),
        CASE(refusals_count_and_the_oldest_fall_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
