/**
 * Random histories against a small model: whatever order arrivals, annotations, ticks, claims, failures,
 * deliveries and crashes come in, the rules hold after every step, and once the world is quiet every series
 * has the job that its current content asks for. Argument 1: histories; argument 2: first seed. A failure
 * prints its seed.
 */
#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dicom/send.h"

enum { SERIES = 3, IMAGES = 4, ANNOTATIONS = 3, JOBS_MAX = 4096, HELD_MAX = 8 };

static int histories = 30;
static unsigned first_seed = 1;

typedef struct model {
    bool image[SERIES][IMAGES];
    int image_version[SERIES][IMAGES];
    int annotation_on[ANNOTATIONS][SERIES]; /* boxes of the current version on each series (its image 0) */
    int annotation_version[ANNOTATIONS];
    int posts[SERIES];
    int64_t rows; /* distinct (UID, bytes) */
    /* what was seen of each job, by id */
    srv_job seen[JOBS_MAX];
    srv_job held[HELD_MAX]; /* claims whose worker still lives, by its own belief */
    int n_held;
    int64_t now_ms;
    unsigned seed;
} model;

static int pick(int n)
{
    return rand() % n;
}

static int prompts_of(const model *m, int series)
{
    int n = m->posts[series];
    if (!m->image[series][0]) return m->posts[series]; /* boxes wait for their image */
    for (int a = 0; a < ANNOTATIONS; a++)
        n += m->annotation_on[a][series];
    return n;
}

static int images_of(const model *m, int series)
{
    int n = 0;
    for (int k = 0; k < IMAGES; k++)
        n += m->image[series][k];
    return n;
}

static void series_name(char out[32], int series)
{
    (void)snprintf(out, 32, "1.%d", 10 + series);
}

/* ---- the steps ---- */

static void arrive(model *m, srv_store *s)
{
    char series[32], uid[48], bytes[80];
    const int a = pick(SERIES), k = pick(IMAGES);
    series_name(series, a);
    (void)snprintf(uid, sizeof uid, "%s.%d", series, k);
    if (m->image[a][k] && pick(3) == 0) {
        m->image_version[a][k]++; /* other bytes */
        m->rows++;
    } else if (!m->image[a][k]) {
        m->rows++;
    }
    (void)snprintf(bytes, sizeof bytes, "%s version %d", uid, m->image_version[a][k]);
    m->image[a][k] = true;
    (void)fx_image(s, series, uid, bytes, 5 * k, 0, m->now_ms);
}

static void annotate(model *m, srv_store *s)
{
    dicom_prompt boxes[2 * SERIES];
    size_t n = 0;
    char uid[48], bytes[48];
    const int a = pick(ANNOTATIONS);
    m->annotation_version[a]++;
    m->rows++;
    for (int series = 0; series < SERIES; series++) {
        m->annotation_on[a][series] = pick(3);
        for (int k = 0; k < m->annotation_on[a][series]; k++) {
            char label[32];
            (void)snprintf(uid, sizeof uid, "1.%d.0", 10 + series);
            (void)snprintf(label, sizeof label, "label %d", k);
            boxes[n++] = fx_box(uid, label);
        }
    }
    (void)snprintf(uid, sizeof uid, "1.7.%d", a);
    (void)snprintf(bytes, sizeof bytes, "annotation %d version %d", a, m->annotation_version[a]);
    (void)fx_annotation(s, uid, bytes, boxes, n, m->now_ms);
}

static void post(model *m, srv_store *s)
{
    char series[32], group[48], label[32];
    const int a = pick(SERIES);
    series_name(series, a);
    (void)snprintf(group, sizeof group, "%s-%d", series, m->posts[a]);
    (void)snprintf(label, sizeof label, "post %d", m->posts[a]);
    m->posts[a]++;
    fx_post(s, group, series, 0, label, m->now_ms);
    if (pick(4) == 0) fx_post(s, group, series, 0, label, m->now_ms);
}

static void claim(model *m, srv_store *s)
{
    srv_job job;
    if (m->n_held == HELD_MAX || srv_store_job_claim(s, m->now_ms, 20000, &job, NULL) != MSA_OK) return;
    assert_int_equal(job.state, SRV_JOB_RUNNING);
    if (job.id < JOBS_MAX) assert_true(job.token > m->seen[job.id].token);
    for (int k = 0; k < m->n_held; k++)
        assert_false(m->held[k].id == job.id && m->held[k].token == job.token);
    m->held[m->n_held++] = job;
}

/* A worker ends; the model knows from the catalogue's row whether its lease still holds. */
static void finish(model *m, srv_store *s, bool well)
{
    if (!m->n_held) return;
    const int k = pick(m->n_held);
    const srv_job job = m->held[k], row = fx_job(s, job.id);
    const bool mine = row.state == SRV_JOB_RUNNING && row.token == job.token;
    const srv_result result = {.number = 1, .sop_instance_uid = "2.25.1"};
    const char *to[] = {"A", "B"};
    m->held[k] = m->held[--m->n_held];
    msa_status status = MSA_OK;
    if (well)
        status = srv_store_job_done(s, job.id, job.token, &result, (size_t)pick(2), NULL, 0, "", "", to,
                                    (size_t)pick(3), m->now_ms, NULL);
    else
        status = srv_store_job_failed(s, job.id, job.token, "died", pick(5) == 0, m->now_ms, NULL);
    assert_int_equal(status, mine ? MSA_OK : MSA_E_INVALID);
}

static void deliver(model *m, srv_store *s, int outcome)
{
    srv_delivery d;
    if (srv_store_delivery_claim(s, pick(2) ? "A" : "B", m->now_ms, &d, NULL) != MSA_OK) return;
    assert_ok(
        srv_store_delivery_done(s, d.id, d.token, outcome, 0, "", m->now_ms + 5000, 100000, m->now_ms, &err));
    assert_int_equal(srv_store_delivery_done(s, d.id, d.token, outcome, 0, "", 0, 1, m->now_ms, NULL),
                     MSA_E_INVALID);
}

static void crash(model *m, fixture *f)
{
    int32_t requeued = 0;
    fixture_reopen(f);
    assert_ok(srv_store_recover(f->store, m->now_ms, &requeued, &err));
}

static void step(model *m, fixture *f)
{
    m->now_ms += pick(4) == 0 ? pick(40000) : pick(1500);
    const int what = pick(100);
    if (what < 25)
        arrive(m, f->store);
    else if (what < 33)
        annotate(m, f->store);
    else if (what < 38)
        post(m, f->store);
    else if (what < 60)
        (void)fx_tick(f->store, m->now_ms);
    else if (what < 72)
        claim(m, f->store);
    else if (what < 82)
        finish(m, f->store, true);
    else if (what < 87)
        finish(m, f->store, false);
    else if (what < 98)
        deliver(m, f->store, pick(3));
    else
        crash(m, f);
}

/* ---- what must hold after every step ---- */

typedef struct look {
    model *m;
    int open[SERIES];
    srv_job_state open_state[SERIES];
} look;

static void look_at_job(void *ctx, const srv_job *job)
{
    look *l = ctx;
    const int series = atoi(job->series_uid + 2) - 10;
    assert_in_range(series, 0, SERIES - 1);
    if (job->state <= SRV_JOB_WAITING_PROMPT) {
        assert_int_equal(++l->open[series], 1);
        l->open_state[series] = job->state;
    }
    assert_true(job->attempt <= job->max_attempts);
    assert_true((job->finished_ms != 0) == srv_job_state_is_final(job->state));
    assert_true((job->input_key[0] != '\0') || job->state <= SRV_JOB_WAITING_PROMPT ||
                job->state == SRV_JOB_CANCELLED);
    if (job->state == SRV_JOB_FAILED) assert_true(job->reason[0] != '\0');
    if (job->id >= JOBS_MAX) return;
    srv_job *before = &l->m->seen[job->id];
    if (before->id) {
        assert_true(job->token >= before->token && job->attempt >= before->attempt);
        if (srv_job_state_is_final(before->state)) assert_int_equal(job->state, before->state);
        if (before->input_key[0]) assert_string_equal(job->input_key, before->input_key); /* bound for good */
        assert_string_equal(job->public_id, before->public_id);
    }
    *before = *job;
}

static void check(model *m, srv_store *s)
{
    look l = {.m = m};
    srv_store_counts counts;
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.instances, m->rows);
    assert_ok(srv_store_jobs(s, -1, NULL, 0, 100000, look_at_job, &l, &err));
    for (int series = 0; series < SERIES; series++) {
        char name[32];
        srv_series row;
        series_name(name, series);
        if (srv_store_series_get(s, name, &row, NULL) != MSA_OK) {
            assert_int_equal(images_of(m, series), 0);
            continue;
        }
        assert_int_equal(row.instances, images_of(m, series));
        assert_int_equal(row.prompts, prompts_of(m, series));
        if (!row.open) continue;
        assert_int_equal(l.open[series], 1);
        assert_int_equal(l.open_state[series], SRV_JOB_RECEIVING);
    }
}

/* Nothing arrives any more, every worker and every peer does its duty: then all is said and done. */
static void settle(model *m, fixture *f)
{
    m->n_held = 0;
    for (int round = 0; round < 60; round++) {
        m->now_ms += 31000;
        (void)fx_tick(f->store, m->now_ms);
        claim(m, f->store);
        finish(m, f->store, true);
        for (int k = 0; k < 4; k++)
            deliver(m, f->store, DICOM_DELIVERED);
        check(m, f->store);
    }
    for (int series = 0; series < SERIES; series++) {
        char name[32];
        series_name(name, series);
        const srv_job job = fx_newest(f->store, name);
        if (images_of(m, series) == 0) {
            assert_int_equal(job.id, 0);
        } else if (prompts_of(m, series) == 0) {
            assert_int_equal(job.state, SRV_JOB_WAITING_PROMPT);
        } else {
            assert_true(srv_job_state_is_final(job.state) && job.state != SRV_JOB_CANCELLED);
            assert_int_equal(fx_bound_instances(f->store, job.id), images_of(m, series));
            assert_int_equal(fx_bound_prompts(f->store, job.id), prompts_of(m, series));
        }
    }
}

static void random_histories_keep_the_rules(void **state)
{
    (void)state;
    for (int k = 0; k < histories; k++) {
        void *own = NULL;
        MSA_AUTO_FREE model *m = calloc(1, sizeof *m);
        assert_non_null(m);
        m->seed = first_seed + (unsigned)k;
        m->now_ms = 1000;
        srand(m->seed);
        print_message("seed %u\r", m->seed);
        assert_int_equal(fixture_setup(&own), 0);
        fixture *f = own;
        for (int n = 0; n < 250; n++) {
            step(m, f);
            check(m, f->store);
        }
        settle(m, f);
        assert_int_equal(fixture_teardown(&own), 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) histories = atoi(argv[1]);
    if (argc > 2) first_seed = (unsigned)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_histories_keep_the_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
