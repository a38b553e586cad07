/* Which model a job is bound to, and when a series needs no prompt: by the rules of the table. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/store/fixture.h"

static srv_model_table table;
static srv_job_policy policy;

static void add_rule(const char *modality, const char *body_part, const char *label, int32_t model,
                     bool automatic)
{
    srv_rule *r = &table.rules[table.n_rules++];
    *r = (srv_rule){.model = model, .number = table.n_rules};
    (void)snprintf(r->prompts, sizeof r->prompts, "%s", automatic ? "auto" : "wait");
    (void)snprintf(r->modality, sizeof r->modality, "%s", modality);
    (void)snprintf(r->body_part, sizeof r->body_part, "%s", body_part);
    (void)snprintf(r->label, sizeof r->label, "%s", label);
}

static int setup(void **state)
{
    table = (srv_model_table){.n_models = 3,
                              .models = {{.name = "base", .version = "1", .hash = "b0"},
                                         {.name = "base+tumour", .version = "2", .hash = "a1"},
                                         {.name = "base+liver", .version = "3", .hash = "a2"}}};
    policy = fx_policy;
    policy.models = &table;
    return fixture_setup(state);
}

/* An image of a liver, and one box for each label. */
static void send(srv_store *s, const char *const *labels, size_t n)
{
    dicom_prompt boxes[4];
    dicom_header header = fx_header("1.5", "1.5.1", 0);
    const int64_t id = fx_put(s, "1.5.1", "bytes", 0, 1000, NULL);
    (void)snprintf(header.body_part, sizeof header.body_part, "LIVER");
    assert_ok(srv_store_instance_index(s, id, &header, NULL, 0, 1000, &err));
    for (size_t i = 0; i < n; i++)
        boxes[i] = fx_box("1.5.1", labels[i]);
    if (n > 0) (void)fx_annotation(s, "1.7.1", "sr", boxes, n, 1000);
}

static int32_t tick(srv_store *s, int64_t now_ms)
{
    int32_t queued = 0;
    int64_t due = 0;
    assert_ok(srv_jobs_tick(s, &policy, now_ms, &queued, &due, &err));
    return queued;
}

static void labels_of_one_job_may_need_several_models(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    static const char *const labels[] = {"Tumour", "vein", "other"};
    char hash[MSA_SHA256_HEX];
    add_rule("CT", "LIVER", "tumour", 1, false);
    add_rule("CT", "HEAD", "*", 0, false);
    add_rule("*", "LIVER", "*", 2, false);
    add_rule("*", "*", "*", 0, false);
    send(s, labels, 3);
    assert_int_equal(tick(s, 60000), 1);
    const srv_job job = fx_newest(s, "1.5");
    assert_string_equal(job.body_part, "LIVER");
    assert_string_equal(job.model_name, "base+tumour, base+liver");
    assert_string_equal(job.model_version, "");
    msa_sha256_bytes("a1a2", 4, NULL, hash);
    assert_string_equal(job.model_hash, hash);
}

static void a_key(void (*rules)(void), char key[MSA_SHA256_HEX])
{
    static const char *const labels[] = {"tumour", "vein"};
    void *own = NULL;
    assert_int_equal(setup(&own), 0);
    rules();
    send(((fixture *)own)->store, labels, 2);
    assert_int_equal(tick(((fixture *)own)->store, 60000), 1);
    memcpy(key, fx_newest(((fixture *)own)->store, "1.5").input_key, MSA_SHA256_HEX);
    assert_int_equal(fixture_teardown(&own), 0);
}

static void all_base(void)
{
    add_rule("*", "*", "*", 0, false);
}

static void one_each(void)
{
    add_rule("*", "*", "tumour", 1, false);
    add_rule("*", "*", "*", 2, false);
}

static void the_other_way_round(void)
{
    add_rule("*", "*", "tumour", 2, false);
    add_rule("*", "*", "*", 1, false);
}

/* The same models on other prompts make another result. */
static void the_key_holds_the_model_of_each_prompt(void **state)
{
    char a[MSA_SHA256_HEX], b[MSA_SHA256_HEX], c[MSA_SHA256_HEX], again[MSA_SHA256_HEX];
    (void)state;
    a_key(all_base, a);
    a_key(one_each, b);
    a_key(the_other_way_round, c);
    a_key(one_each, again);
    assert_string_not_equal(a, b);
    assert_string_not_equal(b, c);
    assert_string_equal(b, again);
}

static void without_prompts_a_rule_may_run_it_all_the_same(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char key[MSA_SHA256_HEX];
    add_rule("*", "*", "tumour", 1, false); /* a label: says nothing about a series without prompts */
    add_rule("CT", "*", "*", 2, true);
    add_rule("*", "*", "*", 0, false);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 1);
    srv_job job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_QUEUED);
    assert_int_equal(job.prompts, 0);
    assert_string_equal(job.model_hash, "a2");
    memcpy(key, job.input_key, sizeof key);
    job = fx_claim(s, 61000);
    fx_done(s, &job, NULL, NULL, 62000);
    /* then somebody draws a box: what was found without gives way */
    const int64_t automatic = job.id;
    fx_post(s, "id-1", "1.5", 0, "tumour", 63000);
    assert_int_equal(tick(s, 70000), 1);
    job = fx_newest(s, "1.5");
    assert_int_equal(job.supersedes, automatic);
    assert_int_equal(job.prompts, 1);
    assert_string_equal(job.model_hash, "a1");
    assert_string_not_equal(job.input_key, key);
}

static void automatic_key(const char *settings, char key[MSA_SHA256_HEX])
{
    void *own = NULL;
    assert_int_equal(setup(&own), 0);
    add_rule("*", "*", "*", 0, true);
    policy.automatic = settings;
    send(((fixture *)own)->store, NULL, 0);
    assert_int_equal(tick(((fixture *)own)->store, 60000), 1);
    memcpy(key, fx_newest(((fixture *)own)->store, "1.5").input_key, MSA_SHA256_HEX);
    assert_int_equal(fixture_teardown(&own), 0);
}

static void what_is_set_for_it_changes_the_key(void **state)
{
    char a[MSA_SHA256_HEX], b[MSA_SHA256_HEX];
    (void)state;
    automatic_key("points=32", a);
    automatic_key("points=16", b);
    assert_string_not_equal(a, b);
}

static void otherwise_it_waits(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    add_rule("MR", "*", "*", 2, true);
    add_rule("*", "*", "*", 0, false);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
}

static srv_rule *add_policy(const char *name, const char *prompts)
{
    add_rule("CT", "*", "*", 0, false);
    srv_rule *r = &table.rules[table.n_rules - 1];
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    (void)snprintf(r->prompts, sizeof r->prompts, "%s", prompts);
    r->box_percent = 50;
    return r;
}

static void a_series_may_be_skipped_until_somebody_annotates_it(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    (void)add_policy("no-scouts", "skip");
    add_rule("*", "*", "*", 0, false);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 0);
    srv_job job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_CANCELLED);
    assert_string_equal(job.rule, "no-scouts");
    assert_string_equal(job.reason, "rule no-scouts skips series that nobody annotated");
    assert_int_equal(job.finished_ms, 60000);
    fx_post(s, "id-1", "1.5", 0, "x", 63000);
    assert_int_equal(tick(s, 70000), 1);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_QUEUED);
}

/* All that a rule says and that shapes the result is in its key; what does not is not. */
static void a_key_of(void (*change)(srv_rule *rule), char key[MSA_SHA256_HEX])
{
    void *own = NULL;
    assert_int_equal(setup(&own), 0);
    change(add_policy("", "default-box"));
    add_rule("*", "*", "*", 0, false);
    send(((fixture *)own)->store, NULL, 0);
    assert_int_equal(tick(((fixture *)own)->store, 60000), 1);
    memcpy(key, fx_newest(((fixture *)own)->store, "1.5").input_key, MSA_SHA256_HEX);
    assert_int_equal(fixture_teardown(&own), 0);
}
static void as_it_is(srv_rule *rule)
{
    (void)rule;
}
static void otherwise_named(srv_rule *rule)
{
    (void)snprintf(rule->name, sizeof rule->name, "name");
    (void)snprintf(rule->destinations, sizeof rule->destinations, "pacs");
    rule->quiet_ms = 5;
    rule->slices_max = 9;
}
static void larger(srv_rule *rule)
{
    rule->box_percent = 51;
}
static void labelled(srv_rule *rule)
{
    (void)snprintf(rule->default_label, sizeof rule->default_label, "liver");
}
static void coded(srv_rule *rule)
{
    (void)snprintf(rule->labels, sizeof rule->labels, "liver=SCT:1");
}
static void masked(srv_rule *rule)
{
    (void)snprintf(rule->regions, sizeof rule->regions, "mask");
}
static void automatic(srv_rule *rule)
{
    (void)snprintf(rule->prompts, sizeof rule->prompts, "auto");
}

static void the_key_holds_what_the_rule_says_of_the_result(void **state)
{
    void (*const changes[])(srv_rule *) = {as_it_is, larger, labelled, coded, masked, automatic};
    enum { N = sizeof changes / sizeof *changes };
    char keys[N][MSA_SHA256_HEX], same[MSA_SHA256_HEX];
    (void)state;
    for (int i = 0; i < N; i++) {
        a_key_of(changes[i], keys[i]);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(keys[i], keys[k]);
    }
    a_key_of(otherwise_named, same);
    assert_string_equal(same, keys[0]);
}

static void a_claimed_job_follows_rules_that_changed(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_rule *rule = add_policy("one", "default-box");
    add_rule("*", "*", "*", 0, false);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 1);
    srv_job job = fx_claim(s, 61000);
    const srv_job before = job;
    (void)snprintf(rule->name, sizeof rule->name, "two");
    rule->box_percent = 60;
    assert_ok(srv_store_job_rebind(s, &job, &policy, &err));
    assert_string_not_equal(job.input_key, before.input_key);
    assert_string_equal(job.rule, "two");
    assert_string_equal(fx_job(s, job.id).rule, "two");
}

static void a_claimed_job_that_rules_do_not_want_any_more_is_withdrawn(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_rule *rule = add_policy("", "auto");
    add_rule("*", "*", "*", 0, false);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 1);
    srv_job job = fx_claim(s, 61000);
    (void)snprintf(rule->prompts, sizeof rule->prompts, "wait");
    assert_fails(MSA_E_NOT_FOUND, "withdrawn", srv_store_job_rebind(s, &job, &policy, &err));
    job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_CANCELLED);
    assert_int_equal(job.finished_ms, 61000);
    assert_string_equal(job.reason, "by rule 1 series that nobody annotated are not segmented any more");
    fx_post(s, "id-1", "1.5", 0, "x", 63000); /* a prompt makes a new job, as ever */
    assert_int_equal(tick(s, 70000), 1);
}

static void waiting_series_are_looked_at_again_when_rules_change(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    bool changed = false;
    srv_rule *rule = add_policy("", "wait");
    add_rule("*", "*", "*", 0, false);
    assert_ok(srv_store_rules_known(s, "first", &changed, &err));
    assert_true(changed);
    send(s, NULL, 0);
    assert_int_equal(tick(s, 60000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
    assert_string_equal(fx_newest(s, "1.5").rule, "1");
    (void)snprintf(rule->prompts, sizeof rule->prompts, "auto");
    assert_ok(srv_store_rules_known(s, "first", &changed, &err));
    assert_false(changed);
    assert_int_equal(tick(s, 70000), 0);
    assert_ok(srv_store_rules_known(s, "second", &changed, &err));
    assert_true(changed);
    assert_int_equal(tick(s, 80000), 1);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_QUEUED);
}

/* What headers say of a series, as rules see it. */
static void the_subject(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    int64_t association = 0;
    srv_rule_subject subject;
    srv_series series;
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "ROOM1", .called_ae = "MSAD", .peer = "peer", .opened_ms = 900}, &association, &err));
    for (int k = 0; k < 4; k++) {
        char uid[16];
        (void)snprintf(uid, sizeof uid, "1.5.%d", k);
        dicom_header h = fx_header("1.5", uid, 2.5 * k);
        h.row_dir[0] = h.col_dir[1] = 1;
        h.frames = k == 3 ? 7 : 1;
        h.slice_mm = 3;
        h.study_instances = 30;
        h.acquisition_images = k == 0 ? 4 : 0;
        (void)snprintf(h.series_description, sizeof h.series_description, k == 0 ? "thin" : "later");
        (void)snprintf(h.study_description, sizeof h.study_description, "study");
        (void)snprintf(h.protocol, sizeof h.protocol, "P1");
        const int64_t id = fx_put(s, uid, uid, association, 1000, NULL);
        assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 1000, &err));
    }
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.slices, 10);
    assert_int_equal(series.study_expected, 30);
    assert_int_equal(series.acquisition_expected, 4);
    assert_string_equal(series.sender, "ROOM1");
    assert_ok(srv_store_series_subject(s, series.id, &subject, &err));
    assert_string_equal(subject.modality, "CT");
    assert_string_equal(subject.series, "thin");
    assert_string_equal(subject.study, "study");
    assert_string_equal(subject.protocol, "P1");
    assert_string_equal(subject.sender, "ROOM1");
    assert_string_equal(subject.orientation, "axial");
    assert_int_equal(subject.slices, 10);
    assert_true(subject.spacing_mm == 2.5);
    /* a localiser among them */
    dicom_header h = fx_header("1.5", "1.5.9", 0);
    h.row_dir[0] = 1;
    h.col_dir[2] = -1;
    const int64_t id = fx_put(s, "1.5.9", "9", association, 1000, NULL);
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 1000, &err));
    assert_ok(srv_store_series_subject(s, series.id, &subject, &err));
    assert_string_equal(subject.orientation, "mixed");
}

/* One image says nothing of distances; its header may. */
static void the_subject_of_one_image(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_rule_subject subject;
    dicom_header h = fx_header("1.6", "1.6.1", 0);
    h.has_plane = false;
    h.slice_mm = 1.25;
    const int64_t id = fx_put(s, "1.6.1", "x", 0, 1000, NULL);
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 1000, &err));
    assert_ok(srv_store_series_subject(s, 1, &subject, &err));
    assert_true(subject.spacing_mm == 1.25);
    assert_string_equal(subject.orientation, "");
    assert_int_equal(subject.slices, 1);
    assert_fails(MSA_E_NOT_FOUND, "no such series", srv_store_series_subject(s, 99, &subject, &err));
}

static void what_a_person_says_of_a_series(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_series series;
    add_rule("*", "*", "*", 0, true);
    send(s, NULL, 0);
    assert_ok(srv_store_series_hold(s, "1.5", true, &err));
    assert_int_equal(tick(s, 90000), 0);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_true(series.open && series.held);
    assert_ok(srv_store_series_tell(s, "1.5", 7, &err));
    assert_ok(srv_store_series_complete(s, "1.5", &err));
    assert_int_equal(tick(s, 90001), 1);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_false(series.open || series.held || series.forced);
    assert_int_equal(series.told, 7);
    assert_string_equal(series.closed_by, "forced");
    assert_ok(srv_store_series_complete(s, "1.5", &err)); /* closed: nothing to do */
    assert_int_equal(tick(s, 90002), 0);
    assert_fails(MSA_E_NOT_FOUND, "no such series", srv_store_series_hold(s, "1.9", true, &err));
    assert_fails(MSA_E_NOT_FOUND, "no such series", srv_store_series_complete(s, "1.9", &err));
    assert_fails(MSA_E_NOT_FOUND, "no such series", srv_store_series_tell(s, "1.9", 1, &err));
}

static void its_source_is_asked_once_nothing_is_on_its_way(void **state)
{
    fixture *f = *state;
    srv_store *s = f->store;
    int64_t association = 0;
    srv_series series;
    add_rule("*", "*", "*", 0, true);
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "ARCHIVE", .called_ae = "MSAD", .peer = "peer", .opened_ms = 900}, &association, &err));
    (void)fx_image(s, "1.5", "1.5.1", "a", 0, association, 1000);
    assert_fails(MSA_E_NOT_FOUND, "no series", srv_store_series_ask(s, "ARCHIVE", 1100, &series, &err));
    assert_ok(srv_store_association_close(s, association, "released", 1200, &err));
    (void)fx_put(s, "1.7.1", "unread", 0, 1250, NULL);
    assert_fails(MSA_E_NOT_FOUND, "no series", srv_store_series_ask(s, "ARCHIVE", 1300, &series, &err));
    srv_instance in;
    assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_ok(srv_store_instance_reject(s, in.id, "unreadable", &err));
    assert_fails(MSA_E_NOT_FOUND, "no series", srv_store_series_ask(s, "OTHER", 1300, &series, &err));
    assert_ok(srv_store_series_ask(s, "ARCHIVE", 1400, &series, &err));
    assert_string_equal(series.series_uid, "1.5");
    assert_int_equal(series.found, -1);
    assert_fails(MSA_E_NOT_FOUND, "no series", srv_store_series_ask(s, "ARCHIVE", 1500, &series, &err));
    assert_int_equal(tick(s, 4000), 0); /* it has not answered */
    assert_ok(srv_store_series_found(s, series.id, 2, &err));
    assert_int_equal(tick(s, 4500), 0); /* there is another one */
    (void)fx_image(s, "1.5", "1.5.2", "b", 5, 0, 5000);
    assert_ok(srv_store_series_ask(s, "ARCHIVE", 5100, &series, &err));
    assert_ok(srv_store_series_found(s, series.id, 2, &err));
    assert_int_equal(tick(s, 5200), 1);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_string_equal(series.closed_by, "source_count");
    assert_int_equal(series.found, 2);
    /* a stop while it is asked */
    (void)fx_image(s, "1.6", "1.6.1", "c", 0, association, 6000);
    assert_ok(srv_store_series_ask(s, "ARCHIVE", 6100, &series, &err));
    int32_t requeued = 0;
    assert_ok(srv_store_recover(s, 7000, &requeued, &err));
    assert_ok(srv_store_series_ask(s, "ARCHIVE", 7100, &series, &err));
    assert_string_equal(series.series_uid, "1.6");
    assert_ok(srv_store_series_found(s, series.id, 0, &err)); /* it does not say: as without a source */
    assert_int_equal(tick(s, 8200), 1);
}

/* After a restart with a retrained adapter the key must not name the old one. */
static void a_claimed_job_is_bound_to_what_it_runs_with(void **state)
{
    static const char *const labels[] = {"tumour", "vein"};
    char fresh[MSA_SHA256_HEX];
    srv_store *s = ((fixture *)*state)->store;
    one_each();
    send(s, labels, 2);
    assert_int_equal(tick(s, 60000), 1);
    srv_job job = fx_claim(s, 61000);
    const srv_job before = job;
    assert_ok(srv_store_job_rebind(s, &job, &policy, &err));
    assert_memory_equal(&job, &before, sizeof job);
    (void)snprintf(table.models[1].hash, sizeof table.models[1].hash, "a9");
    assert_ok(srv_store_job_rebind(s, &job, &policy, &err));
    assert_string_not_equal(job.input_key, before.input_key);
    assert_string_not_equal(job.model_hash, before.model_hash);
    const srv_job stored = fx_job(s, job.id);
    assert_string_equal(stored.input_key, job.input_key);
    assert_string_equal(stored.model_hash, job.model_hash);
    assert_int_equal(stored.state, SRV_JOB_RUNNING);
    /* the key that a job bound afresh has */
    void *other = NULL;
    const srv_model_table retrained = table;
    assert_int_equal(setup(&other), 0);
    table = retrained;
    send(((fixture *)other)->store, labels, 2);
    assert_int_equal(tick(((fixture *)other)->store, 60000), 1);
    memcpy(fresh, fx_newest(((fixture *)other)->store, "1.5").input_key, sizeof fresh);
    assert_int_equal(fixture_teardown(&other), 0);
    assert_string_equal(stored.input_key, fresh);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(labels_of_one_job_may_need_several_models),
        cmocka_unit_test(the_key_holds_the_model_of_each_prompt),
        CASE(without_prompts_a_rule_may_run_it_all_the_same),
        cmocka_unit_test(what_is_set_for_it_changes_the_key),
        CASE(otherwise_it_waits),
        CASE(a_series_may_be_skipped_until_somebody_annotates_it),
        cmocka_unit_test(the_key_holds_what_the_rule_says_of_the_result),
        CASE(a_claimed_job_follows_rules_that_changed),
        CASE(a_claimed_job_that_rules_do_not_want_any_more_is_withdrawn),
        CASE(waiting_series_are_looked_at_again_when_rules_change),
        CASE(the_subject),
        CASE(the_subject_of_one_image),
        CASE(what_a_person_says_of_a_series),
        CASE(its_source_is_asked_once_nothing_is_on_its_way),
        CASE(a_claimed_job_is_bound_to_what_it_runs_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
