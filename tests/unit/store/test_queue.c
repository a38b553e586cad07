/* The queue and the outbox: claims, leases, fencing, recovery, retries, delivery. */
#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <string.h>

#include "dicom/send.h"

#define HOUR_MS 3600000LL

/* One queued job for a series of two images. */
static srv_job queue_one(srv_store *s, const char *series_uid, int64_t now_ms)
{
    char group[DICOM_UID_MAX + 4];
    (void)snprintf(group, sizeof group, "g%.38s", series_uid);
    fx_series(s, series_uid, 2, now_ms);
    fx_post(s, group, series_uid, 0, "liver", now_ms);
    assert_int_equal(fx_tick(s, now_ms + 2000), 1);
    return fx_newest(s, series_uid);
}

static void a_claim_counts_the_attempt_and_raises_the_token(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_job job;
    assert_fails(MSA_E_NOT_FOUND, "no job", srv_store_job_claim(s, 5000, 60000, &job, &err));
    const srv_job queued = queue_one(s, "1.5", 1000);
    assert_fails(MSA_E_NOT_FOUND, "no job", srv_store_job_claim(s, 2999, 60000, &job, &err));
    job = fx_claim(s, 5000);
    assert_int_equal(job.id, queued.id);
    assert_int_equal(job.attempt, 1);
    assert_int_equal(job.token, queued.token + 1);
    assert_int_equal(job.lease_until_ms, 65000);
    assert_int_equal(job.started_ms, 5000);
    assert_fails(MSA_E_NOT_FOUND, "no job", srv_store_job_claim(s, 5000, 60000, &job, &err));
}

static int64_t sender(srv_store *s, const char *ae)
{
    srv_association a = {.called_ae = "MSAD", .peer = "192.0.2.1", .opened_ms = 1000};
    int64_t id = 0;
    (void)snprintf(a.calling_ae, sizeof a.calling_ae, "%s", ae);
    assert_ok(srv_store_association_open(s, &a, &id, &err));
    return id;
}

static void queue_from(srv_store *s, int64_t association, const char *series, int64_t now_ms)
{
    char uid[DICOM_UID_MAX];
    (void)snprintf(uid, sizeof uid, "%s.1", series);
    (void)fx_image(s, series, uid, uid, 0, association, now_ms);
    fx_post(s, series, series, 0, "liver", now_ms);
}

/* A sender with much to do does not keep another waiting, of the same priority; an urgent job goes before
 * all. */
static void senders_take_turns(void **state)
{
    fixture *f = *state;
    static const char *const many[] = {"1.10", "1.11", "1.12", "1.13"}, *const few[] = {"1.20", "1.21"};
    const int64_t a = sender(f->store, "BATCH"), b = sender(f->store, "CLINIC");
    for (int k = 0; k < 4; k++)
        queue_from(f->store, a, many[k], 1000 + k);
    for (int k = 0; k < 2; k++)
        queue_from(f->store, b, few[k], 3000 + k);
    assert_ok(srv_store_association_close(f->store, a, "released", 4000, &err));
    assert_ok(srv_store_association_close(f->store, b, "released", 4000, &err));
    assert_int_equal(fx_tick(f->store, 60000), 6);
    const srv_job urgent = fx_newest(f->store, "1.13");
    assert_ok(srv_store_job_prioritise(f->store, urgent.public_id, SRV_PRIORITY_URGENT, &err));
    /* the urgent one was BATCH's turn */
    static const char *const order[] = {"1.13", "1.20", "1.10", "1.21", "1.11", "1.12"};
    for (int k = 0; k < 6; k++)
        assert_string_equal(fx_claim(f->store, 70000).series_uid, order[k]);
}

static void the_oldest_goes_first(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const srv_job a = queue_one(s, "1.5", 1000), b = queue_one(s, "1.6", 5000);
    srv_job job = fx_claim(s, 9000);
    assert_int_equal(job.id, a.id);
    /* a pause lets the next one pass, then the older goes first again */
    assert_ok(srv_store_job_failed(s, job.id, job.token, "x", false, 9000, &err));
    job = fx_claim(s, 9000);
    assert_int_equal(job.id, b.id);
    assert_ok(srv_store_job_failed(s, job.id, job.token, "x", false, 9000, &err));
    assert_int_equal(fx_claim(s, 11000).id, a.id);
}

static void whoever_lost_the_lease_writes_nothing(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    int32_t requeued = 0;
    (void)queue_one(s, "1.5", 1000);
    const srv_job old = fx_claim(s, 5000);
    assert_ok(srv_store_job_heartbeat(s, old.id, old.token, 70000, 3, 10, &err));
    assert_int_equal(fx_job(s, old.id).progress_done, 3);
    assert_int_equal(fx_job(s, old.id).progress_total, 10);
    assert_ok(srv_store_reap(s, 69999, &requeued, &err));
    assert_int_equal(requeued, 0);
    assert_ok(srv_store_reap(s, 70000, &requeued, &err));
    assert_int_equal(requeued, 1);
    assert_int_equal(fx_job(s, old.id).state, SRV_JOB_QUEUED);
    assert_non_null(strstr(fx_job(s, old.id).reason, "did not answer"));
    const srv_job now = fx_claim(s, 70000);
    assert_int_equal(now.id, old.id);
    assert_int_equal(now.attempt, 2);
    assert_int_equal(now.progress_done, 0);
    assert_fails(MSA_E_INVALID, "lease was lost",
                 srv_store_job_heartbeat(s, old.id, old.token, 99999, 4, 10, &err));
    assert_fails(MSA_E_INVALID, "lease was lost",
                 srv_store_job_failed(s, old.id, old.token, "x", true, 71000, &err));
    const srv_result result = {.number = 1, .sop_instance_uid = "2.25.1"};
    assert_fails(MSA_E_INVALID, "lease was lost",
                 srv_store_job_done(s, old.id, old.token, &result, 1, NULL, 0, "", "", NULL, 0, 71000, &err));
    fx_done(s, &now, NULL, NULL, 72000);
    assert_fails(MSA_E_INVALID, "lease was lost",
                 srv_store_job_done(s, now.id, now.token, &result, 1, NULL, 0, "", "", NULL, 0, 71000, &err));
    assert_fails(MSA_E_INVALID, "lease was lost", srv_store_job_heartbeat(s, 12345, 1, 99999, 4, 10, &err));
}

static void a_failed_try_pauses_and_the_third_is_the_last(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const srv_job queued = queue_one(s, "1.5", 1000);
    srv_job job = fx_claim(s, 10000);
    assert_ok(srv_store_job_failed(s, job.id, job.token, "worker died (signal 9)", false, 11000, &err));
    assert_int_equal(fx_job(s, queued.id).run_at_ms, 13000);
    assert_fails(MSA_E_NOT_FOUND, "no job", srv_store_job_claim(s, 12999, 60000, &job, &err));
    job = fx_claim(s, 13000);
    assert_ok(srv_store_job_failed(s, job.id, job.token, "worker died (signal 9)", false, 14000, &err));
    assert_int_equal(fx_job(s, queued.id).run_at_ms, 22000);
    job = fx_claim(s, 22000);
    assert_string_equal(job.reason, "");
    assert_ok(srv_store_job_failed(s, job.id, job.token, "worker died (signal 9)", false, 23000, &err));
    job = fx_job(s, queued.id);
    assert_int_equal(job.state, SRV_JOB_FAILED);
    assert_int_equal(job.attempt, 3);
    assert_int_equal(job.finished_ms, 23000);
    assert_string_equal(job.reason, "worker died (signal 9)");
}

static void a_final_failure_is_not_tried_again(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    assert_ok(
        srv_store_job_failed(s, job.id, job.token, "the series has two orientations", true, 11000, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_FAILED);
}

/* A job that takes the whole service down must not do so for ever. */
static void a_job_that_kills_core_is_given_up_after_three(void **state)
{
    fixture *f = *state;
    int32_t requeued = 0;
    const srv_job queued = queue_one(f->store, "1.5", 1000);
    for (int k = 1; k <= 3; k++) {
        const srv_job job = fx_claim(f->store, 10000 * k);
        assert_int_equal(job.attempt, k);
        fixture_reopen(f);
        assert_ok(srv_store_recover(f->store, 10000 * k + 5000, &requeued, &err));
        assert_int_equal(requeued, k < 3);
    }
    const srv_job job = fx_job(f->store, queued.id);
    assert_int_equal(job.state, SRV_JOB_FAILED);
    assert_non_null(strstr(job.reason, "service stopped"));
    assert_non_null(strstr(job.reason, "attempt 3 of 3"));
}

static void keep_association(void *ctx, const srv_association *a)
{
    *(srv_association *)ctx = *a;
}

static void recovery_takes_up_what_was_under_way(void **state)
{
    fixture *f = *state;
    srv_delivery d;
    int64_t association = 0;
    int32_t requeued = -1;
    srv_association a = {0};
    (void)queue_one(f->store, "1.5", 1000);
    srv_job job = fx_claim(f->store, 10000);
    fx_done(f->store, &job, "PACS", NULL, 11000);
    assert_ok(srv_store_delivery_claim(f->store, "PACS", 12000, &d, &err));
    assert_ok(srv_store_association_open(f->store, &(srv_association){.calling_ae = "A", .called_ae = "MSAD", .peer = "h", .opened_ms = 12000}, &association, &err));
    (void)fx_put(f->store, "1.6.1", "acknowledged, not indexed", association, 12001, NULL);
    fixture_reopen(f);
    assert_ok(srv_store_recover(f->store, 20000, &requeued, &err));
    assert_int_equal(requeued, 0);
    srv_instance in;
    assert_ok(srv_store_instance_next(f->store, 0, &in, &err));
    assert_string_equal(in.sop_instance_uid, "1.6.1");
    assert_fails(
        MSA_E_INVALID, "not this sender's",
        srv_store_delivery_done(f->store, d.id, d.token, DICOM_DELIVERED, 0, "", 0, HOUR_MS, 21000, &err));
    assert_ok(srv_store_delivery_claim(f->store, "PACS", 20000, &d, &err));
    assert_int_equal(d.attempt, 2);
    assert_ok(srv_store_associations(f->store, 0, 1, keep_association, &a, &err));
    assert_string_equal(a.ended, "lost");
    assert_int_equal(a.closed_ms, 20000);
}

static void keep_segment(void *ctx, const srv_segment *g)
{
    *(srv_segment *)ctx = *g;
}

static void an_empty_result_is_a_success(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const char *to[] = {"PACS"};
    const srv_segment none = {.number = 1,
                              .label = "liver",
                              .note = "nothing found in the box",
                              .mean_iou = 0.0 / 0.0,
                              .candidates = {.slice = 3, .n = 2, .iou = {0.5F, 0.0F / 0.0F}}};
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    assert_ok(srv_store_job_done(s, job.id, job.token, NULL, 0, &none, 1, "", "slice 3 is dark", to, 1, 11000,
                                 &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_SUCCEEDED_EMPTY);
    assert_string_equal(fx_job(s, job.id).warnings, "slice 3 is dark");
    srv_segment segment = {0};
    assert_ok(srv_store_job_segments(s, job.id, keep_segment, &segment, &err));
    assert_int_equal(segment.candidates.slice, -1); /* a number that is none is not told */
}

/* ---- delivery ---- */

static void keep_result(void *ctx, const srv_result *r)
{
    *(srv_result *)ctx = *r;
}

/* The report that says so is delivered first. */
static void nothing_found_is_reported_and_empty(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const char *to[] = {"PACS"};
    const srv_segment none = {.number = 1, .label = "liver", .candidates = {.slice = -1}};
    const srv_result report = {.number = 1,
                               .size_bytes = 10,
                               .sha256 = "ab",
                               .sop_class_uid = "1.2.840.10008.5.1.4.1.1.88.34",
                               .sop_instance_uid = "2.25.1",
                               .series_uid = "2.25.2"};
    srv_delivery d;
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    assert_ok(srv_store_job_done(s, job.id, job.token, &report, 1, &none, 1, "", "", to, 1, 11000, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_DELIVERING);
    assert_ok(srv_store_delivery_claim(s, "PACS", 12000, &d, &err));
    assert_string_equal(d.result.sop_class_uid, report.sop_class_uid);
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_DELIVERED, 0, "", 0, HOUR_MS, 12500, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_SUCCEEDED_EMPTY);
}

static void a_delivered_job_has_succeeded(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    srv_result result = {0};
    srv_segment segment = {0};
    char states[64];
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    fx_done(s, &job, "PACS", "VIEWER", 11000);
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_DELIVERING);
    assert_fails(MSA_E_NOT_FOUND, "nothing is due", srv_store_delivery_claim(s, "OTHER", 12000, &d, &err));
    assert_ok(srv_store_delivery_claim(s, "PACS", 12000, &d, &err));
    assert_string_equal(d.destination, "PACS");
    assert_int_equal(d.job_id, job.id);
    assert_int_equal(d.attempt, 1);
    assert_int_equal(d.result.size_bytes, 100);
    assert_string_equal(d.state, "sending");
    assert_fails(MSA_E_NOT_FOUND, "nothing is due", srv_store_delivery_claim(s, "PACS", 12000, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_DELIVERED, 0xB000, "coerced", 0, HOUR_MS, 12500,
                                      &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_DELIVERING);
    assert_ok(srv_store_delivery_claim(s, "VIEWER", 12600, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_DELIVERED, 0, "", 0, HOUR_MS, 12700, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_SUCCEEDED);
    assert_int_equal(fx_job(s, job.id).finished_ms, 12700);
    fx_delivery_states(s, job.id, states, sizeof states);
    assert_string_equal(states, "delivered delivered");
    assert_ok(srv_store_job_results(s, job.id, keep_result, &result, &err));
    assert_string_equal(result.sha256, d.result.sha256);
    assert_ok(srv_store_job_segments(s, job.id, keep_segment, &segment, &err));
    assert_string_equal(segment.label, "liver");
    assert_true(segment.volume_ml == 0.5);
    assert_int_equal(segment.candidates.slice, 7);
    assert_int_equal(segment.candidates.n, 4);
    assert_int_equal(segment.candidates.chosen, 2);
    assert_true(segment.candidates.iou[2] == 0.875F && segment.candidates.iou[3] == 1.25F);
}

static void a_delivery_is_tried_again_until_it_is_given_up(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    int64_t due = 0;
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    fx_done(s, &job, "PACS", NULL, 11000);
    assert_ok(srv_store_delivery_claim(s, "PACS", 11000, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_RETRY, -1, "connection refused", 16000, HOUR_MS,
                                      11100, &err));
    assert_fails(MSA_E_NOT_FOUND, "nothing is due", srv_store_delivery_claim(s, "PACS", 15999, &d, &err));
    assert_ok(srv_store_next_due(s, 11100, &due, &err));
    assert_int_equal(due, 16000);
    assert_ok(srv_store_delivery_claim(s, "PACS", 16000, &d, &err));
    assert_int_equal(d.attempt, 2);
    assert_string_equal(d.comment, "connection refused");
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_RETRY, 0xA700, "busy", 11000 + HOUR_MS, HOUR_MS,
                                      16100, &err));
    assert_ok(srv_store_delivery_claim(s, "PACS", 11000 + HOUR_MS, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_RETRY, 0xA700, "busy", 99 * HOUR_MS, HOUR_MS,
                                      11000 + HOUR_MS, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_FAILED);
    assert_string_equal(fx_job(s, job.id).reason, "not delivered to PACS");
    srv_store_counts counts;
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.deliveries_dead, 1);
    assert_int_equal(counts.deliveries_pending, 0);
}

static void a_refusal_is_final_the_second_time(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    char states[64];
    (void)queue_one(s, "1.5", 1000);
    const srv_job job = fx_claim(s, 10000);
    fx_done(s, &job, "A", "B", 11000);
    /* network errors before it do not count as refusals */
    const int outcomes[] = {DICOM_RETRY, DICOM_RETRY, DICOM_REFUSED, DICOM_REFUSED};
    for (size_t k = 0; k < 4; k++) {
        fx_delivery_states(s, job.id, states, sizeof states);
        assert_string_equal(states, "pending pending");
        assert_ok(srv_store_delivery_claim(s, "A", 12000 + 1000 * (int64_t)k, &d, &err));
        assert_ok(srv_store_delivery_done(s, d.id, d.token, outcomes[k], 0xC000, "cannot understand",
                                          13000 + 1000 * (int64_t)k, HOUR_MS, 12000 + 1000 * (int64_t)k,
                                          &err));
    }
    fx_delivery_states(s, job.id, states, sizeof states);
    assert_string_equal(states, "dead pending");
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_DELIVERING);
    assert_ok(srv_store_delivery_claim(s, "B", 20000, &d, &err));
    assert_ok(srv_store_delivery_done(s, d.id, d.token, DICOM_DELIVERED, 0, "", 0, HOUR_MS, 20000, &err));
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_SUCCEEDED); /* not all are dead */
    assert_fails(MSA_E_INVALID, "outcome",
                 srv_store_delivery_done(s, d.id, d.token, 7, 0, "", 0, HOUR_MS, 20000, &err));
}

/* ---- superseding ---- */

static void a_newer_result_cancels_what_the_older_has_to_deliver(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_delivery d;
    char states[64];
    (void)queue_one(s, "1.5", 1000);
    const srv_job first = fx_claim(s, 10000);
    fx_done(s, &first, "A", "B", 11000);
    assert_ok(srv_store_delivery_claim(s, "B", 11500, &d, &err)); /* under way: it goes on */
    fx_post(s, "g2", "1.5", 1, "spleen", 12000);
    assert_int_equal(fx_tick(s, 14000), 1);
    const srv_job second = fx_claim(s, 14000);
    fx_done(s, &second, "A", "B", 15000);
    fx_delivery_states(s, first.id, states, sizeof states);
    assert_string_equal(states, "cancelled sending");
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_DELIVERING);
    assert_ok(
        srv_store_delivery_done(s, d.id, d.token, DICOM_RETRY, -1, "abort", 16000, HOUR_MS, 15500, &err));
    fx_delivery_states(s, first.id, states, sizeof states);
    assert_string_equal(states,
                        "cancelled cancelled"); /* a retry would overwrite nothing, but show an old result */
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_CANCELLED);
    fx_delivery_states(s, second.id, states, sizeof states);
    assert_string_equal(states, "pending pending");
}

static void an_overtaken_job_sends_nothing(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char states[64];
    (void)queue_one(s, "1.5", 1000);
    const srv_job slow = fx_claim(s, 10000);
    fx_post(s, "g2", "1.5", 1, "spleen", 12000);
    assert_int_equal(fx_tick(s, 14000), 1);
    const srv_job quick = fx_claim(s, 14000);
    fx_done(s, &quick, "A", NULL, 15000);
    fx_done(s, &slow, "A", NULL, 16000);
    assert_int_equal(fx_job(s, slow.id).state, SRV_JOB_CANCELLED);
    assert_non_null(strstr(fx_job(s, slow.id).reason, "newer job"));
    fx_delivery_states(s, slow.id, states, sizeof states);
    assert_string_equal(states, "");
    fx_delivery_states(s, quick.id, states, sizeof states);
    assert_string_equal(states, "pending");
}

static void the_tick_says_when_to_look_again(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    int32_t queued = 0;
    int64_t due = 0;
    assert_ok(srv_jobs_tick(s, &fx_policy, 1000, &queued, &due, &err));
    assert_true(due == INT64_MAX);
    fx_series(s, "1.5", 2, 1000);
    fx_post(s, "g", "1.5", 0, "x", 2500);
    assert_ok(srv_jobs_tick(s, &fx_policy, 2600, &queued, &due, &err));
    assert_int_equal(due, 3000); /* settle */
    assert_ok(srv_jobs_tick(s, &fx_policy, 3000, &queued, &due, &err));
    assert_int_equal(due, 3500); /* the prompt */
    assert_int_equal(queued, 0);
    assert_ok(srv_jobs_tick(s, &fx_policy, 3500, &queued, &due, &err));
    assert_int_equal(queued, 1);
    (void)fx_claim(s, 4000);
    assert_ok(srv_jobs_tick(s, &fx_policy, 5000, &queued, &due, &err));
    assert_int_equal(due, 64000); /* the lease */
    assert_ok(srv_jobs_tick(s, &fx_policy, 64000, &queued, &due, &err));
    assert_int_equal(queued, 1); /* reaped */
}

/* ---- lists ---- */

static void lists_page_newest_first(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_store_counts counts;
    char uid[16];
    for (int k = 1; k <= 5; k++) {
        (void)snprintf(uid, sizeof uid, "1.50%d", k);
        (void)queue_one(s, uid, 1000 * k);
    }
    srv_job job = fx_newest(s, NULL), same;
    assert_string_equal(job.series_uid, "1.505");
    assert_string_equal(job.study_uid, "1.9");
    assert_string_equal(job.modality, "CT");
    assert_ok(srv_store_job_get(s, job.public_id, &same, &err));
    assert_int_equal(same.id, job.id);
    assert_fails(MSA_E_NOT_FOUND, "no such job", srv_store_job_get(s, "00", &same, &err));
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.jobs[SRV_JOB_QUEUED], 5);
    assert_int_equal(counts.oldest_queued_ms, 3000);
    assert_int_equal(counts.instances, 10);
    assert_int_equal(counts.series, 5);
    assert_string_equal(srv_job_state_name(SRV_JOB_SUCCEEDED_EMPTY), "succeeded_empty");
    assert_true(srv_job_state_is_final(SRV_JOB_CANCELLED) && !srv_job_state_is_final(SRV_JOB_DELIVERING));
}

static void a_try_that_was_nobodys_fault_is_not_counted(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_job unused;
    (void)queue_one(s, "1.5", 1000);
    for (int k = 0; k < 10; k++) { /* more often than there are attempts */
        const srv_job job = fx_claim(s, 10000 + 1000 * k);
        assert_int_equal(job.attempt, 1);
        assert_ok(srv_store_job_put_back(s, job.id, job.token, "the disk is full", 10500 + 1000 * k,
                                         10000 + 1000 * k, &err));
        assert_int_equal(fx_job(s, job.id).state, SRV_JOB_QUEUED);
        assert_int_equal(fx_job(s, job.id).attempt, 0);
        assert_string_equal(fx_job(s, job.id).reason, "the disk is full");
        assert_fails(MSA_E_NOT_FOUND, "no job",
                     srv_store_job_claim(s, 10499 + 1000 * k, 60000, &unused, &err));
        assert_fails(MSA_E_INVALID, "lease was lost",
                     srv_store_job_put_back(s, job.id, job.token, "x", 0, 11000, &err));
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_claim_counts_the_attempt_and_raises_the_token),
        CASE(the_oldest_goes_first),
        CASE(senders_take_turns),
        CASE(whoever_lost_the_lease_writes_nothing),
        CASE(a_failed_try_pauses_and_the_third_is_the_last),
        CASE(a_final_failure_is_not_tried_again),
        CASE(a_job_that_kills_core_is_given_up_after_three),
        CASE(recovery_takes_up_what_was_under_way),
        CASE(an_empty_result_is_a_success),
        CASE(nothing_found_is_reported_and_empty),
        CASE(a_delivered_job_has_succeeded),
        CASE(a_delivery_is_tried_again_until_it_is_given_up),
        CASE(a_refusal_is_final_the_second_time),
        CASE(a_newer_result_cancels_what_the_older_has_to_deliver),
        CASE(an_overtaken_job_sends_nothing),
        CASE(the_tick_says_when_to_look_again),
        CASE(lists_page_newest_first),
        CASE(a_try_that_was_nobodys_fault_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
