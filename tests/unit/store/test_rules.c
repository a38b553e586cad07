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
        CASE(a_claimed_job_is_bound_to_what_it_runs_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
