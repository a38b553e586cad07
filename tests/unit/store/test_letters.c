/* Deliveries that wait long are given up; dead ones are taken up again by a person. Fault F23 on a made-up
 * clock. */
#include "tests/unit/store/fixture.h"

#include <string.h>

#include "dicom/send.h"

#define HOUR_MS INT64_C(3600000)

static srv_job delivering(srv_store *s, const char *series_uid, const char *to, int64_t now_ms)
{
    char group[DICOM_UID_MAX + 4];
    (void)snprintf(group, sizeof group, "g%.38s", series_uid);
    fx_series(s, series_uid, 2, now_ms);
    fx_post(s, group, series_uid, 0, "liver", now_ms);
    assert_int_equal(fx_tick(s, now_ms + 2000), 1);
    const srv_job job = fx_claim(s, now_ms + 3000);
    fx_done(s, &job, to, NULL, now_ms + 4000);
    return job;
}

/* One try that ends so; returns the delivery. */
static srv_delivery try_one(srv_store *s, const char *to, int outcome, int64_t retry_ms, int64_t now_ms)
{
    srv_delivery d;
    assert_ok(srv_store_delivery_claim(s, to, now_ms, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, outcome, -1, "said so", retry_ms, 72 * HOUR_MS,
                                      now_ms, &err));
    return d;
}

static void who_waits_too_long_is_given_up_without_a_try(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    int32_t n = -1;
    const srv_job old = delivering(s, "1.5", "GONE", 1000), tried = delivering(s, "1.6", "PACS", 10000);
    const srv_job young = delivering(s, "1.7", "PACS", 20000);
    (void)try_one(s, "PACS", DICOM_RETRY, 99 * HOUR_MS, 15000);
    assert_ok(srv_store_deliveries_expire(s, 1000, 50 * HOUR_MS, &n, &err));
    assert_int_equal(n, 0);
    assert_ok(srv_store_deliveries_expire(s, 20000, 72 * HOUR_MS, &n, &err));
    assert_int_equal(n, 2);
    assert_int_equal(fx_job(s, old.id).state, SRV_JOB_FAILED);
    assert_string_equal(fx_job(s, old.id).reason, "not delivered to GONE");
    assert_int_equal(fx_job(s, tried.id).state, SRV_JOB_FAILED);
    assert_int_equal(fx_job(s, young.id).state, SRV_JOB_DELIVERING);
    assert_ok(srv_store_delivery_claim(s, "PACS", 72 * HOUR_MS, &d, &err));
    assert_int_equal(d.job_id, young.id);
}

static void keep_comment(void *ctx, const srv_delivery *d)
{
    (void)snprintf(ctx, 512, "%s", d->comment);
}

static void its_last_words_are_kept(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char comment[512] = "";
    int32_t n = 0;
    (void)delivering(s, "1.5", "PACS", 1000);
    (void)try_one(s, "PACS", DICOM_RETRY, HOUR_MS, 6000);
    assert_ok(srv_store_deliveries_expire(s, HOUR_MS, 73 * HOUR_MS, &n, &err));
    assert_ok(srv_store_deliveries(s, "dead", "PACS", 0, 10, keep_comment, comment, &err));
    assert_non_null(strstr(comment, "given up"));
    assert_non_null(strstr(comment, "said so"));
}

static void a_dead_one_is_taken_up_with_all_its_time(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    int32_t n = 0;
    const srv_job job = delivering(s, "1.5", "PACS", 1000);
    const int64_t later = 100 * HOUR_MS;
    (void)try_one(s, "PACS", DICOM_REFUSED, 7000, 6000);
    const int64_t id = try_one(s, "PACS", DICOM_REFUSED, 8000, 7000).id;
    assert_fails(MSA_E_NOT_FOUND, "no delivery", srv_store_delivery_requeue(s, id + 1, later, &d, &err));
    assert_ok(srv_store_delivery_requeue(s, id, later, &d, &err));
    assert_string_equal(d.state, "pending");
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_DELIVERING);
    assert_fails(MSA_E_INVALID, "is pending", srv_store_delivery_requeue(s, id, later, &d, &err));
    assert_ok(srv_store_deliveries_expire(s, later - 72 * HOUR_MS, later, &n, &err));
    assert_int_equal(n, 0);
    (void)try_one(s, "PACS", DICOM_REFUSED, later + 1, later); /* the refusals before it do not count */
    (void)try_one(s, "PACS", DICOM_DELIVERED, 0, later + 1);
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_SUCCEEDED);
    assert_string_equal(fx_job(s, job.id).reason, "");
}

static void an_older_result_does_not_follow_a_newer_one(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    int32_t n = -1;
    const srv_job first = delivering(s, "1.5", "PACS", 1000);
    (void)try_one(s, "PACS", DICOM_REFUSED, 7000, 6000);
    const int64_t id = try_one(s, "PACS", DICOM_REFUSED, 8000, 7000).id;
    fx_post(s, "g2", "1.5", 1, "spleen", 12000);
    assert_int_equal(fx_tick(s, 14000), 1);
    const srv_job second = fx_claim(s, 14000);
    fx_done(s, &second, "PACS", NULL, 15000);
    assert_fails(MSA_E_INVALID, "newer job", srv_store_delivery_requeue(s, id, 16000, &d, &err));
    assert_ok(srv_store_deliveries_requeue(s, "PACS", 16000, &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_FAILED);
}

static void when_the_peer_is_back_all_are_due_in_their_order(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    const srv_job a = delivering(s, "1.5", "PACS", 1000), b = delivering(s, "1.6", "PACS", 10000);
    (void)delivering(s, "1.7", "OTHER", 20000);
    (void)try_one(s, "PACS", DICOM_RETRY, 20 * HOUR_MS, 30000);
    (void)try_one(s, "PACS", DICOM_RETRY, 10 * HOUR_MS, 30000);
    (void)try_one(s, "OTHER", DICOM_RETRY, 10 * HOUR_MS, 30000);
    assert_fails(MSA_E_NOT_FOUND, "nothing", srv_store_delivery_claim(s, "PACS", HOUR_MS, &d, &err));
    assert_ok(srv_store_deliveries_hasten(s, "PACS", HOUR_MS, &err));
    assert_ok(srv_store_delivery_claim(s, "PACS", HOUR_MS, &d, &err));
    assert_int_equal(d.job_id, a.id);
    assert_ok(srv_store_delivery_claim(s, "PACS", HOUR_MS, &d, &err));
    assert_int_equal(d.job_id, b.id);
    assert_fails(MSA_E_NOT_FOUND, "nothing", srv_store_delivery_claim(s, "OTHER", HOUR_MS, &d, &err));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(who_waits_too_long_is_given_up_without_a_try),
        CASE(its_last_words_are_kept),
        CASE(a_dead_one_is_taken_up_with_all_its_time),
        CASE(an_older_result_does_not_follow_a_newer_one),
        CASE(when_the_peer_is_back_all_are_due_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
