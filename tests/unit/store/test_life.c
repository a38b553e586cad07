/* From arrival to the queue: which job a series has, and what it is bound to. */
#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <string.h>

static void images_then_annotation(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt box = fx_box("1.5.2", "liver");
    fx_series(s, "1.5", 3, 1000);
    srv_job job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_RECEIVING);
    assert_int_equal(strlen(job.public_id), 32);
    assert_int_equal(strspn(job.public_id, "0123456789abcdef"), 32);
    assert_int_equal(fx_tick(s, 2500), 0); /* not settled */
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_RECEIVING);
    assert_int_equal(fx_tick(s, 3000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
    (void)fx_annotation(s, "1.7.1", "sr", &box, 1, 10000);
    assert_int_equal(fx_tick(s, 10500), 0); /* a second box may follow */
    assert_int_equal(fx_tick(s, 11000), 1);
    job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_QUEUED);
    assert_int_equal(job.prompts, 1);
    assert_int_equal(fx_bound_instances(s, job.id), 3);
    assert_int_equal(fx_count_jobs(s, "1.5"), 1);
    assert_int_equal(fx_count_jobs(s, "1.7"), 0); /* an annotation's own series is none of ours */
    assert_int_equal(strlen(job.input_key), 64);
    assert_string_equal(job.model_hash, "abcd");
    assert_true(job.untrained);
}

/* The first model that is for the series' modality: in the job's row and in its key. */
static void the_modality_chooses_the_model(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    static const char *const modality[] = {"CT", "MR"};
    for (int k = 0; k < 2; k++) {
        char series[16], image[24], name[24];
        (void)snprintf(series, sizeof series, "1.5.%d", k);
        (void)snprintf(image, sizeof image, "%s.1", series);
        (void)snprintf(name, sizeof name, "1.7.%d", k);
        const int64_t id = fx_put(s, image, image, 0, 1000, NULL);
        const dicom_prompt box = fx_box(image, "liver");
        dicom_header header = fx_header(series, image, 0);
        (void)snprintf(header.modality, sizeof header.modality, "%s", modality[k]);
        assert_ok(srv_store_instance_index(s, id, &header, NULL, 0, 1000, &err));
        (void)fx_annotation(s, name, "sr", &box, 1, 1000);
    }
    assert_int_equal(fx_tick(s, 60000), 2);
    const srv_job ct = fx_newest(s, "1.5.0"), mr = fx_newest(s, "1.5.1");
    assert_string_equal(ct.model_name, "small");
    assert_string_equal(ct.model_hash, "abcd");
    assert_true(ct.untrained);
    assert_string_equal(mr.model_name, "small+mr");
    assert_string_equal(mr.model_version, "1+1");
    assert_string_equal(mr.model_hash, "0123");
    assert_false(mr.untrained);
}

static void waiting_count(void *ctx, const srv_prompt *p)
{
    ++*(int *)ctx;
    assert_int_equal(p->series_id, 0);
}

static void annotation_then_images(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt boxes[] = {fx_box("1.5.2", "liver"), fx_box("1.5.3", "liver")};
    int waiting = 0;
    (void)fx_annotation(s, "1.7.1", "sr", boxes, 2, 500);
    assert_int_equal(fx_count_jobs(s, NULL), 0);
    assert_ok(srv_store_prompts(s, NULL, true, 0, 10, waiting_count, &waiting, &err));
    assert_int_equal(waiting, 2);
    fx_series(s, "1.5", 3, 1000);
    waiting = 0;
    assert_ok(srv_store_prompts(s, NULL, true, 0, 10, waiting_count, &waiting, &err));
    assert_int_equal(waiting, 0);
    assert_int_equal(fx_tick(s, 2999), 0);
    assert_int_equal(fx_tick(s, 3000), 1);
    assert_int_equal(fx_newest(s, "1.5").prompts, 2);
    assert_int_equal(fx_count_jobs(s, "1.5"), 1);
}

static void only_part_of_the_images_came_before_the_annotation(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt boxes[] = {fx_box("1.5.1", "a"), fx_box("1.5.9", "b")};
    fx_series(s, "1.5", 3, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", boxes, 2, 1500);
    assert_int_equal(fx_tick(s, 4000), 1);
    assert_int_equal(fx_newest(s, "1.5").prompts, 1); /* the other lies on an image that is not here */
    (void)fx_image(s, "1.5", "1.5.9", "late", 45, 0, 5000);
    assert_int_equal(fx_tick(s, 5000 + 30000), 1); /* 20 -> 45 mm is a gap: only quiet closes it */
    assert_int_equal(fx_newest(s, "1.5").prompts, 2);
    assert_int_equal(fx_bound_instances(s, fx_newest(s, "1.5").id), 4);
}

static void rest_prompts_before_and_after(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_post(s, "g1", "1.5", 1, "liver", 500);
    fx_series(s, "1.5", 3, 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job first = fx_newest(s, "1.5");
    assert_int_equal(first.prompts, 1);
    fx_post(s, "g1", "1.5", 1, "liver", 4000); /* the same POST again */
    assert_int_equal(fx_tick(s, 9000), 0);
    assert_int_equal(fx_newest(s, "1.5").id, first.id);
    fx_post(s, "g2", "1.5", 2, "spleen", 10000);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
    assert_int_equal(fx_newest(s, "1.5").supersedes, first.id);
    assert_int_equal(fx_tick(s, 11000), 1);
    const srv_job second = fx_newest(s, "1.5");
    assert_int_equal(second.prompts, 2);
    assert_string_not_equal(second.input_key, first.input_key);
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_CANCELLED); /* unclaimed: not computed in vain */
}

static void add_label(void *ctx, const srv_prompt *p)
{
    (void)strcat((char *)ctx, p->prompt.label);
    (void)strcat((char *)ctx, " ");
}

static void several_labels_are_one_job_in_the_order_of_the_annotation(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt boxes[] = {fx_box("1.5.1", "zygoma"), fx_box("1.5.1", "aorta"),
                                  fx_box("1.5.2", "liver")};
    fx_series(s, "1.5", 3, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", boxes, 3, 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job job = fx_newest(s, "1.5");
    char labels[3 * DICOM_LABEL_MAX] = "";
    assert_ok(srv_store_job_prompts(s, job.id, add_label, labels, &err));
    assert_string_equal(labels, "zygoma aorta liver ");
    assert_int_equal(fx_count_jobs(s, "1.5"), 1);
}

static void keep_last_prompt(void *ctx, const srv_prompt *p)
{
    *(srv_prompt *)ctx = *p;
}

static void a_prompt_keeps_every_field(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_prompt got = {0};
    dicom_prompt p = fx_box("1.5.1", "Leber \xc3\xa4");
    p.kind = DICOM_PROMPT_POINT;
    p.frame = 3;
    p.positive = 0;
    p.x0 = 0.1;
    (void)snprintf(p.tracking_id, sizeof p.tracking_id, "lesion 1");
    (void)snprintf(p.tracking_uid, sizeof p.tracking_uid, "2.25.5");
    p.category = (dicom_code){"91723000", "SCT", "Anatomical structure"};
    p.site = (dicom_code){"818981001", "SCT", "Abdomen"};
    fx_series(s, "1.5", 1, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", &p, 1, 1234);
    assert_ok(srv_store_prompts(s, "1.5", false, 0, 10, keep_last_prompt, &got, &err));
    (void)snprintf(p.source_instance_uid, sizeof p.source_instance_uid, "1.7.1");
    (void)snprintf(p.source_class_uid, sizeof p.source_class_uid, SR_CLASS);
    assert_int_equal(got.created_ms, 1234);
    assert_int_equal(got.prompt.kind, p.kind);
    assert_int_equal(got.prompt.frame, 3);
    assert_int_equal(got.prompt.positive, 0);
    assert_true(got.prompt.x0 == 0.1 && got.prompt.y0 == 9 && got.prompt.x1 == 40 && got.prompt.y1 == 41);
    assert_string_equal(got.prompt.label, p.label);
    assert_string_equal(got.prompt.sop_instance_uid, "1.5.1");
    assert_string_equal(got.prompt.tracking_id, "lesion 1");
    assert_string_equal(got.prompt.tracking_uid, "2.25.5");
    assert_memory_equal(&got.prompt.category, &p.category, sizeof p.category);
    assert_memory_equal(&got.prompt.type, &p.type, sizeof p.type);
    assert_memory_equal(&got.prompt.site, &p.site, sizeof p.site);
    assert_string_equal(got.prompt.source_instance_uid, "1.7.1");
    assert_string_equal(got.prompt.source_class_uid, SR_CLASS);
}

static void the_same_annotation_indexed_twice_gives_no_double(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    dicom_prompt box = fx_box("1.5.2", "liver");
    srv_series series;
    fx_series(s, "1.5", 3, 1000);
    const int64_t id = fx_annotation(s, "1.7.1", "sr", &box, 1, 1000);
    dicom_header header = fx_header("1.7", "1.7.1", 0);
    header.kind = DICOM_KIND_ANNOTATION;
    assert_ok(srv_store_instance_index(s, id, &header, &box, 1, 1500, &err));
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_int_equal(series.prompts, 1);
}

static void a_newer_version_of_an_annotation_replaces_the_older(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt two[] = {fx_box("1.5.1", "liver"), fx_box("1.5.2", "spleen")};
    const dicom_prompt one = fx_box("1.5.3", "liver");
    fx_series(s, "1.5", 3, 1000);
    (void)fx_annotation(s, "1.7.1", "v1", two, 2, 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    assert_int_equal(fx_newest(s, "1.5").prompts, 2);
    (void)fx_annotation(s, "1.7.1", "v2", &one, 1, 5000);
    assert_int_equal(fx_tick(s, 6000), 1);
    assert_int_equal(fx_newest(s, "1.5").prompts, 1);
    (void)fx_annotation(s, "1.7.1", "v3, empty", NULL, 0, 7000);
    assert_int_equal(fx_tick(s, 9000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
}

static void an_annotation_without_prompts_is_fine(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    (void)fx_annotation(s, "1.7.1", "sr", NULL, 0, 1000);
    assert_int_equal(fx_count_jobs(s, NULL), 0);
}

static void a_late_instance_opens_a_job_that_supersedes(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_series series;
    fx_series(s, "1.5", 3, 1000);
    fx_post(s, "g", "1.5", 0, "liver", 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job first = fx_claim(s, 3100);
    fx_done(s, &first, NULL, NULL, 3200);
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_SUCCEEDED);
    assert_int_equal(fx_job(s, first.id).finished_ms, 3200);
    (void)fx_image(s, "1.5", "1.5.4", "late", 20, 0, 4000);
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_true(series.open);
    srv_job second = fx_newest(s, "1.5");
    assert_int_equal(second.state, SRV_JOB_RECEIVING);
    assert_int_equal(second.supersedes, first.id);
    assert_int_equal(fx_tick(s, 6000), 1);
    second = fx_newest(s, "1.5");
    assert_int_equal(fx_bound_instances(s, second.id), 4);
    assert_int_equal(fx_bound_instances(s, first.id), 3);
}

static void a_late_instance_takes_a_waiting_job_back_to_receiving(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    assert_int_equal(fx_tick(s, 3000), 0);
    const srv_job job = fx_newest(s, "1.5");
    assert_int_equal(job.state, SRV_JOB_WAITING_PROMPT);
    (void)fx_image(s, "1.5", "1.5.4", "late", 20, 0, 4000);
    assert_int_equal(fx_newest(s, "1.5").id, job.id);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_RECEIVING);
    assert_int_equal(fx_tick(s, 6000), 0);
    assert_int_equal(fx_job(s, job.id).state, SRV_JOB_WAITING_PROMPT);
}

static void prompts_while_the_job_runs_open_another(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    fx_post(s, "g1", "1.5", 0, "liver", 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job first = fx_claim(s, 3100);
    fx_post(s, "g2", "1.5", 1, "spleen", 3200);
    assert_int_equal(fx_tick(s, 4200), 1);
    const srv_job second = fx_newest(s, "1.5");
    assert_int_equal(second.supersedes, first.id);
    assert_int_equal(second.prompts, 2);
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_RUNNING);
    /* its try fails: another one would be in vain */
    assert_ok(srv_store_job_failed(s, first.id, first.token, "worker died", false, 4300, &err));
    assert_int_equal(fx_job(s, first.id).state, SRV_JOB_CANCELLED);
}

static void the_same_inputs_again_make_no_second_job(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt box = fx_box("1.5.2", "liver");
    fx_series(s, "1.5", 3, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", &box, 1, 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job first = fx_claim(s, 3100);
    fx_done(s, &first, NULL, NULL, 3200);
    /* the annotation again, in other bytes that say the same */
    (void)fx_annotation(s, "1.7.1", "sr, encoded anew", &box, 1, 5000);
    assert_int_equal(fx_count_jobs(s, "1.5"), 2);
    assert_int_equal(fx_tick(s, 6000), 0);
    assert_int_equal(fx_count_jobs(s, "1.5"), 1);
    assert_int_equal(fx_newest(s, "1.5").id, first.id);
}

static void a_failed_job_is_done_again_when_its_inputs_come_again(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt box = fx_box("1.5.2", "liver");
    fx_series(s, "1.5", 3, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", &box, 1, 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    const srv_job first = fx_claim(s, 3100);
    assert_ok(srv_store_job_failed(s, first.id, first.token, "out of memory", true, 3200, &err));
    (void)fx_annotation(s, "1.7.1", "sr, encoded anew", &box, 1, 5000);
    assert_int_equal(fx_tick(s, 6000), 1);
    const srv_job second = fx_newest(s, "1.5");
    assert_int_equal(second.state, SRV_JOB_QUEUED);
    assert_string_equal(second.input_key, fx_job(s, first.id).input_key);
}

/* One box on slice 2, two boxes over REST; in the order that `turned` says and at another time. */
static void fill(srv_store *s, bool turned, int64_t at_ms, char key[MSA_SHA256_HEX])
{
    const dicom_prompt box = fx_box("1.5.2", "liver");
    if (turned) {
        fx_series(s, "1.4", 2, at_ms); /* ids differ */
        fx_post(s, "id-b", "1.5", 2, "spleen", at_ms);
        fx_post(s, "id-x", "1.5", 1, "kidney", at_ms + 1);
        (void)fx_annotation(s, "1.7.1", "sr", &box, 1, at_ms);
        (void)fx_image(s, "1.5", "1.5.3", "1.5.3", 15, 0, at_ms);
        (void)fx_image(s, "1.5", "1.5.1", "1.5.1", 5, 0, at_ms);
        (void)fx_image(s, "1.5", "1.5.2", "1.5.2", 10, 0, at_ms);
    } else {
        fx_series(s, "1.5", 3, at_ms);
        (void)fx_annotation(s, "1.7.1", "sr", &box, 1, at_ms);
        fx_post(s, "id-1", "1.5", 1, "kidney", at_ms + 5);
        fx_post(s, "id-2", "1.5", 2, "spleen", at_ms + 9);
        fx_post(s, "id-3", "1.5", 2, "spleen", at_ms + 9); /* said twice */
    }
    assert_int_equal(fx_tick(s, at_ms + 60000), 1);
    const srv_job job = fx_newest(s, "1.5");
    assert_int_equal(fx_bound_prompts(s, job.id), 3);
    memcpy(key, job.input_key, MSA_SHA256_HEX);
}

static void the_key_is_a_function_of_content_alone(void **state)
{
    fixture *f = *state;
    void *other = NULL;
    char a[MSA_SHA256_HEX], b[MSA_SHA256_HEX];
    fill(f->store, false, 1000, a);
    assert_int_equal(fixture_setup(&other), 0);
    fill(((fixture *)other)->store, true, 777000, b);
    assert_string_equal(a, b);
    assert_int_equal(fixture_teardown(&other), 0);
}

static void key_with(dicom_prompt box, const char *bytes, const srv_job_policy *policy,
                     char key[MSA_SHA256_HEX])
{
    void *own = NULL;
    int32_t queued = 0;
    int64_t due = 0;
    assert_int_equal(fixture_setup(&own), 0);
    srv_store *s = ((fixture *)own)->store;
    (void)fx_image(s, "1.5", "1.5.1", bytes, 0, 0, 1000);
    (void)fx_annotation(s, "1.7.1", "sr", &box, 1, 1000);
    assert_ok(srv_jobs_tick(s, policy, 60000, &queued, &due, &err));
    assert_int_equal(queued, 1);
    memcpy(key, fx_newest(s, "1.5").input_key, MSA_SHA256_HEX);
    assert_int_equal(fixture_teardown(&own), 0);
}

static void everything_that_matters_changes_the_key(void **state)
{
    (void)state;
    const dicom_prompt box = fx_box("1.5.1", "liver");
    dicom_prompt variant[6] = {box, box, box, box, box, box};
    char plain[MSA_SHA256_HEX], other[MSA_SHA256_HEX];
    key_with(box, "bytes", &fx_policy, plain);
    key_with(box, "bytes", &fx_policy, other);
    assert_string_equal(plain, other);
    variant[0].x0 += 1e-9;
    variant[1].kind = DICOM_PROMPT_POINT;
    variant[2].label[0] = 'L';
    variant[3].frame = 2;
    variant[4].type.value[0] = '2';
    (void)snprintf(variant[5].tracking_uid, sizeof variant[5].tracking_uid, "2.25.1");
    for (int k = 0; k < 6; k++) {
        key_with(variant[k], "bytes", &fx_policy, other);
        if (strcmp(plain, other) == 0) fail_msg("variant %d has the same key", k);
    }
    key_with(box, "other bytes", &fx_policy, other);
    assert_string_not_equal(plain, other);
    srv_job_policy policy = fx_policy;
    static srv_model_table retrained;
    retrained = *fx_policy.models;
    (void)snprintf(retrained.models[0].hash, sizeof retrained.models[0].hash, "ef01");
    policy.models = &retrained;
    key_with(box, "bytes", &policy, other);
    assert_string_not_equal(plain, other);
    policy = fx_policy;
    policy.settings = "test 2";
    key_with(box, "bytes", &policy, other);
    assert_string_not_equal(plain, other);
}

static void a_used_annotation_stays_on_record(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    fx_post(s, "g1", "1.5", 0, "liver", 1000);
    fx_post(s, "g2", "1.4", 0, "liver", 1000);
    assert_int_equal(fx_tick(s, 3000), 1);
    assert_fails(MSA_E_INVALID, "used", srv_store_prompts_delete(s, "g1", 9000, &err));
    assert_ok(srv_store_prompts_delete(s, "g2", 9000, &err));
    assert_fails(MSA_E_NOT_FOUND, "no such", srv_store_prompts_delete(s, "g2", 9000, &err));
    assert_fails(MSA_E_NOT_FOUND, "no such", srv_store_prompts_delete(s, "", 9000, &err));
}

static void prompts_over_rest_are_all_or_none(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_prompt p[2] = {{.created_ms = 1, .group_id = "g", .prompt = fx_box("", "a")},
                       {.created_ms = 1, .group_id = "g", .prompt = fx_box("", "names nothing")}};
    srv_store_counts counts;
    memcpy(p[0].prompt.series_uid, "1.5", 4);
    assert_fails(MSA_E_INVALID, "neither", srv_store_prompts_put(s, p, 2, &err));
    p[1].prompt.series_uid[0] = '1';
    p[1].prompt.x1 = 0.0 / 0.0;
    assert_fails(MSA_E_INVALID, "finite", srv_store_prompts_put(s, p, 2, &err));
    p[0].group_id[0] = '\0';
    assert_fails(MSA_E_INVALID, "group", srv_store_prompts_put(s, p, 1, &err));
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.prompts, 0);
}

static void binding_needs_a_closed_series(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_job_state now = SRV_JOB_RECEIVING;
    fx_series(s, "1.5", 3, 1000);
    const srv_job job = fx_newest(s, "1.5");
    assert_fails(MSA_E_INVALID, "open", srv_store_job_bind(s, job.id, &fx_policy, 2000, &now, &err));
    assert_ok(srv_store_series_close(s, job.series_id, "quiet", 2000, &err));
    assert_fails(MSA_E_INVALID, "not open", srv_store_series_close(s, job.series_id, "quiet", 2000, &err));
    assert_ok(srv_store_job_bind(s, job.id, &fx_policy, 2000, &now, &err));
    assert_int_equal(now, SRV_JOB_WAITING_PROMPT);
    fx_post(s, "g", "1.5", 0, "x", 2500);
    assert_ok(srv_store_job_bind(s, job.id, &fx_policy, 4000, &now, &err));
    assert_int_equal(now, SRV_JOB_QUEUED);
    assert_fails(MSA_E_INVALID, "queued", srv_store_job_bind(s, job.id, &fx_policy, 4000, &now, &err));
    assert_fails(MSA_E_NOT_FOUND, "job", srv_store_job_bind(s, 999, &fx_policy, 4000, &now, &err));
}

static void keep_evidence(void *ctx, const srv_series_evidence *e)
{
    *(srv_series_evidence *)ctx = *e;
}

static void evidence_says_what_is_still_on_its_way(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_series_evidence e = {0};
    int64_t a = 0, b = 0;
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "A", .called_ae = "MSAD", .peer = "h", .opened_ms = 1000}, &a, &err));
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "B", .called_ae = "MSAD", .peer = "h", .opened_ms = 1000}, &b, &err));
    for (int k = 1; k <= 4; k++) {
        char uid[16];
        (void)snprintf(uid, sizeof uid, "1.5.%d", k);
        (void)fx_image(s, "1.5", uid, uid, k == 4 ? 30 : 5 * k, k % 2 ? a : b, 1000 + k);
    }
    (void)fx_put(s, "1.8.1", "of another series, unread", a, 1010, NULL);
    assert_ok(srv_store_evidence(s, keep_evidence, &e, &err));
    assert_int_equal(e.open_associations, 2);
    assert_int_equal(e.unindexed, 1);
    assert_false(e.gap); /* not judged yet */
    assert_false(e.again);
    assert_int_equal(e.series.instances, 4);
    assert_int_equal(e.series.last_ms, 1004);
    assert_ok(srv_store_association_close(s, a, "released", 2000, &err));
    assert_ok(srv_store_association_close(s, b, "aborted", 2000, &err));
    srv_instance in;
    assert_ok(srv_store_instance_next(s, 0, &in, &err));
    assert_ok(srv_store_instance_reject(s, in.id, "unreadable", &err));
    assert_ok(srv_store_evidence(s, keep_evidence, &e, &err));
    assert_int_equal(e.open_associations, 0);
    assert_int_equal(e.unindexed, 0);
    assert_true(e.gap); /* 15 to 30 */
    assert_int_equal(fx_tick(s, 20000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_RECEIVING); /* the gap waits for quiet */
    assert_int_equal(fx_tick(s, 31004), 0);
    srv_series series;
    assert_ok(srv_store_series_get(s, "1.5", &series, &err));
    assert_string_equal(series.closed_by, "quiet");
    assert_false(series.open);
    memset(&e, 0, sizeof e);
    assert_ok(srv_store_evidence(s, keep_evidence, &e, &err));
    assert_int_equal(e.job_id, 0); /* waits for prompts, has none: nothing to look at */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(images_then_annotation),
        CASE(the_modality_chooses_the_model),
        CASE(annotation_then_images),
        CASE(only_part_of_the_images_came_before_the_annotation),
        CASE(rest_prompts_before_and_after),
        CASE(several_labels_are_one_job_in_the_order_of_the_annotation),
        CASE(a_prompt_keeps_every_field),
        CASE(the_same_annotation_indexed_twice_gives_no_double),
        CASE(a_newer_version_of_an_annotation_replaces_the_older),
        CASE(an_annotation_without_prompts_is_fine),
        CASE(a_late_instance_opens_a_job_that_supersedes),
        CASE(a_late_instance_takes_a_waiting_job_back_to_receiving),
        CASE(prompts_while_the_job_runs_open_another),
        CASE(the_same_inputs_again_make_no_second_job),
        CASE(a_failed_job_is_done_again_when_its_inputs_come_again),
        CASE(the_key_is_a_function_of_content_alone),
        cmocka_unit_test(everything_that_matters_changes_the_key),
        CASE(a_used_annotation_stays_on_record),
        CASE(prompts_over_rest_are_all_or_none),
        CASE(binding_needs_a_closed_series),
        CASE(evidence_says_what_is_still_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
