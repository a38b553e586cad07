/* Prompts: on which series they lie, what replaces them, and what a result of the same again is. */
#include "tests/unit/store/fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "server/store/sqlite.h"

#define FRAME "1.2.840.4"

/* ---- words ---- */

static void image_in_frame(srv_store *s, const char *series_uid, const char *sop_uid, const char *modality,
                           const char *study_uid, int64_t now_ms)
{
    const int64_t id = fx_put(s, sop_uid, sop_uid, 0, now_ms, NULL);
    dicom_header h = fx_header(series_uid, sop_uid, 0);
    (void)snprintf(h.frame_of_reference_uid, sizeof h.frame_of_reference_uid, FRAME);
    (void)snprintf(h.modality, sizeof h.modality, "%s", modality);
    (void)snprintf(h.study_uid, sizeof h.study_uid, "%s", study_uid);
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, now_ms, &err));
}

static dicom_prompt area(const char *label)
{
    dicom_prompt p = {.kind = DICOM_PROMPT_REGION, .space = DICOM_SPACE_PATIENT, .region = 3};
    (void)snprintf(p.frame_of_reference_uid, sizeof p.frame_of_reference_uid, FRAME);
    (void)snprintf(p.label, sizeof p.label, "%s", label);
    return p;
}

static dicom_prompt tracked(dicom_prompt p, const char *uid)
{
    (void)snprintf(p.tracking_uid, sizeof p.tracking_uid, "%s", uid);
    return p;
}

static int64_t annotation_of(srv_store *s, const char *sop_uid, const char *study_uid, int64_t authored_ms,
                             const dicom_prompt *prompts, size_t n, int64_t now_ms)
{
    const int64_t id = fx_put(s, sop_uid, sop_uid, 0, now_ms, NULL);
    dicom_header h = {.kind = DICOM_KIND_ANNOTATION, .authored_ms = authored_ms};
    dicom_prompt own[4] = {0};
    (void)snprintf(h.sop_instance_uid, sizeof h.sop_instance_uid, "%s", sop_uid);
    (void)snprintf(h.study_uid, sizeof h.study_uid, "%s", study_uid);
    for (size_t k = 0; k < n; k++) {
        own[k] = prompts[k];
        (void)snprintf(own[k].source_instance_uid, sizeof own[k].source_instance_uid, "%s", sop_uid);
    }
    assert_ok(srv_store_instance_index(s, id, &h, own, n, now_ms, &err));
    return id;
}

typedef struct listing {
    int n;
    srv_prompt last;
    char labels[128]; /* newest first, "a b " */
} listing;

static void list_one(void *ctx, const srv_prompt *p)
{
    listing *l = ctx;
    const size_t used = strlen(l->labels);
    l->n++;
    l->last = *p;
    (void)snprintf(l->labels + used, sizeof l->labels - used, "%s ", p->prompt.label);
}

static listing on_series(srv_store *s, const char *series_uid)
{
    listing l = {0};
    assert_ok(srv_store_prompts(s, series_uid, false, 0, 100, list_one, &l, &err));
    return l;
}

static listing waiting(srv_store *s)
{
    listing l = {0};
    assert_ok(srv_store_prompts(s, NULL, true, 0, 100, list_one, &l, &err));
    return l;
}

/* The job that the series' present content makes, done. */
static srv_job run_to_end(srv_store *s, const char *series_uid, int64_t now_ms)
{
    (void)fx_tick(s, now_ms);
    const srv_job job = fx_newest(s, series_uid);
    assert_int_equal(job.state, SRV_JOB_QUEUED);
    const srv_job claimed = fx_claim(s, now_ms);
    assert_int_equal(claimed.id, job.id);
    fx_done(s, &claimed, "D", NULL, now_ms);
    return fx_job(s, job.id);
}

/* ---- frames of reference ---- */

static void a_frame_of_reference_is_every_ct_and_mr_series_of_the_study(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt p = area("liver");
    image_in_frame(s, "1.1", "1.1.1", "CT", "1.9", 1000);
    image_in_frame(s, "1.2", "1.2.1", "MR", "1.9", 1000);
    image_in_frame(s, "1.3", "1.3.1", "OT", "1.9", 1000); /* not of these modalities */
    image_in_frame(s, "1.4", "1.4.1", "CT", "1.8", 1000); /* of another study */
    (void)fx_image(s, "1.5", "1.5.1", "other frame", 0, 0, 1000);
    (void)annotation_of(s, "1.7.1", "1.9", 0, &p, 1, 1500);
    assert_int_equal(waiting(s).n, 0);
    assert_int_equal(on_series(s, "1.1").n, 1);
    assert_int_equal(on_series(s, "1.2").n, 1);
    assert_int_equal(on_series(s, "1.3").n + on_series(s, "1.4").n + on_series(s, "1.5").n, 0);
    const listing l = on_series(s, "1.2");
    assert_string_equal(l.last.linked_series_uid, "1.2");
    assert_int_equal(l.last.prompt.kind, DICOM_PROMPT_REGION);
    assert_int_equal(l.last.prompt.space, DICOM_SPACE_PATIENT);
    assert_int_equal(l.last.prompt.region, 3);
    assert_int_equal(strlen(l.last.prompt.source_sha256), 64);
    assert_int_equal(fx_tick(s, 32000), 2); /* each has its own job */
}

static void a_frame_of_reference_waits_for_its_series(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    const dicom_prompt p[] = {area("liver"), area("spleen")};
    (void)annotation_of(s, "1.7.1", "1.9", 0, p, 2, 1000);
    assert_int_equal(waiting(s).n, 2);
    assert_int_equal(waiting(s).last.series_id, 0);
    image_in_frame(s, "1.1", "1.1.1", "CT", "1.9", 1500);
    assert_int_equal(waiting(s).n, 0);
    image_in_frame(s, "1.1", "1.1.2", "CT", "1.9", 1501);
    image_in_frame(s, "1.2", "1.2.1", "CT", "1.9", 1502); /* a second one gets them too */
    image_in_frame(s, "1.2", "1.2.2", "CT", "1.9", 1503);
    assert_string_equal(on_series(s, "1.1").labels, "spleen liver ");
    assert_string_equal(on_series(s, "1.2").labels, "spleen liver ");
    /* a newer version says less, on both */
    const int64_t id = fx_put(s, "1.7.1", "version 2", 0, 1600, NULL);
    const dicom_header h = {.kind = DICOM_KIND_ANNOTATION, .sop_instance_uid = "1.7.1", .study_uid = "1.9"};
    assert_ok(srv_store_instance_index(s, id, &h, p, 1, 1600, &err));
    assert_string_equal(on_series(s, "1.1").labels, "liver ");
    assert_string_equal(on_series(s, "1.2").labels, "liver ");
    image_in_frame(s, "1.6", "1.6.1", "CT", "1.9", 1700); /* what was replaced is not copied */
    assert_string_equal(on_series(s, "1.6").labels, "liver ");
}

static void over_rest_a_frame_of_reference_is_of_any_study(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_prompt p = {.group_id = "g", .created_ms = 1000, .prompt = fx_box("", "a")};
    p.prompt.space = DICOM_SPACE_PATIENT;
    p.prompt.z0 = -3, p.prompt.z1 = 4.5;
    (void)snprintf(p.prompt.frame_of_reference_uid, sizeof p.prompt.frame_of_reference_uid, FRAME);
    image_in_frame(s, "1.1", "1.1.1", "CT", "1.9", 500);
    assert_ok(srv_store_prompts_put(s, &p, 1, &err));
    image_in_frame(s, "1.4", "1.4.1", "CT", "1.8", 1500);
    const listing l = on_series(s, "1.4");
    assert_int_equal(l.n, 1);
    assert_true(l.last.prompt.z0 == -3 && l.last.prompt.z1 == 4.5);
    listing group = {0};
    assert_ok(srv_store_prompts_group(s, "g", list_one, &group, &err));
    assert_int_equal(group.n, 2);
    assert_ok(srv_store_prompts_delete(s, "g", 1600, &err));
    assert_int_equal(on_series(s, "1.1").n + on_series(s, "1.4").n, 0);
}

/* ---- tracking ---- */

static void a_changed_annotation_replaces_whatever_object_it_is(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    dicom_prompt p[] = {tracked(fx_box("1.5.1", "first"), "2.25.1"),
                        tracked(fx_box("1.5.2", "kept"), "2.25.2")};
    (void)annotation_of(s, "1.7.1", "1.9", 500000, p, 2, 1100);
    const srv_job first = run_to_end(s, "1.5", 32000);
    p[0] = tracked(fx_box("1.5.1", "second"), "2.25.1");
    (void)annotation_of(s, "1.7.2", "1.9", 500001, p, 1, 33000);
    assert_string_equal(on_series(s, "1.5").labels, "second kept ");
    const srv_job second = run_to_end(s, "1.5", 40000);
    assert_int_equal(second.supersedes, first.id);
    assert_string_not_equal(second.input_key, first.input_key);
    assert_int_equal(fx_bound_prompts(s, second.id), 2);
}

static void what_was_made_earlier_replaces_nothing_though_it_comes_later(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    dicom_prompt p = tracked(fx_box("1.5.1", "newer"), "2.25.1");
    (void)annotation_of(s, "1.7.1", "1.9", 500000, &p, 1, 1100);
    (void)run_to_end(s, "1.5", 32000);
    p = tracked(fx_box("1.5.1", "older"), "2.25.1");
    (void)annotation_of(s, "1.7.2", "1.9", 400000, &p, 1, 33000);
    assert_string_equal(on_series(s, "1.5").labels, "newer ");
    assert_int_equal(fx_tick(s, 40000), 0);
    /* one that does not say when it was made was made when it came */
    p = tracked(fx_box("1.5.1", "undated"), "2.25.1");
    (void)annotation_of(s, "1.7.3", "1.9", 0, &p, 1, 600000);
    assert_string_equal(on_series(s, "1.5").labels, "undated ");
}

static void the_same_lesion_on_another_series_keeps_its_prompt(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 2, 1000);
    fx_series(s, "1.6", 2, 1000);
    dicom_prompt p = tracked(fx_box("1.5.1", "baseline"), "2.25.1");
    (void)annotation_of(s, "1.7.1", "1.9", 500000, &p, 1, 1100);
    p = tracked(fx_box("1.6.1", "follow-up"), "2.25.1");
    (void)annotation_of(s, "1.7.2", "1.9", 600000, &p, 1, 1200);
    assert_string_equal(on_series(s, "1.5").labels, "baseline ");
    assert_string_equal(on_series(s, "1.6").labels, "follow-up ");
}

static void tracking_is_seen_when_the_images_come_last(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    dicom_prompt p = tracked(fx_box("1.5.1", "newer"), "2.25.1");
    (void)annotation_of(s, "1.7.1", "1.9", 500000, &p, 1, 1000);
    p = tracked(fx_box("1.5.2", "older"), "2.25.1");
    (void)annotation_of(s, "1.7.2", "1.9", 400000, &p, 1, 1100);
    assert_int_equal(waiting(s).n, 2);
    fx_series(s, "1.5", 2, 1200);
    assert_string_equal(on_series(s, "1.5").labels, "newer ");
}

static void a_deleted_post_gives_back_what_it_replaced(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    const dicom_prompt p = tracked(fx_box("1.5.1", "report"), "2.25.1");
    srv_prompt post = {.group_id = "g", .created_ms = 900000};
    post.prompt = tracked(fx_box("1.5.2", "post"), "2.25.1");
    (void)annotation_of(s, "1.7.1", "1.9", 500000, &p, 1, 1100);
    assert_ok(srv_store_prompts_put(s, &post, 1, &err));
    assert_string_equal(on_series(s, "1.5").labels, "post ");
    assert_ok(srv_store_prompts_delete(s, "g", 900001, &err));
    assert_string_equal(on_series(s, "1.5").labels, "report ");
}

/* ---- there and back ---- */

static void inputs_that_come_back_make_a_new_object(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char keys[5][MSA_SHA256_HEX];
    fx_series(s, "1.5", 3, 1000);
    for (int k = 0; k < 5; k++) {
        dicom_prompt p = tracked(fx_box("1.5.1", "a"), "2.25.1");
        char sop[16];
        (void)snprintf(sop, sizeof sop, "1.7.%d", k);
        p.x1 = k % 2 ? 33 : 40;
        p.source_instance_uid[0] = '\0';
        /* as REST has it: no source that would make each of them another input */
        srv_prompt post = {.created_ms = 2000 + 100000 * (int64_t)k, .prompt = p};
        (void)snprintf(post.group_id, sizeof post.group_id, "g%d", k);
        assert_ok(srv_store_prompts_put(s, &post, 1, &err));
        const srv_job job = run_to_end(s, "1.5", 40000 + 100000 * (int64_t)k);
        memcpy(keys[k], job.input_key, sizeof keys[k]);
        for (int i = 0; i < k; i++)
            assert_string_not_equal(keys[k], keys[i]);
        /* nothing new: no job, whichever time it is */
        assert_ok(srv_store_prompts_put(s, &post, 1, &err));
        assert_int_equal(fx_tick(s, 60000 + 100000 * (int64_t)k), 0);
    }
}

/* ---- slices ---- */

static void a_slice_number_is_bound_when_the_series_is_complete(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_post(s, "early", "1.5", 1, "early", 500);
    fx_series(s, "1.5", 3, 1000); /* at 5, 10 and 15 mm */
    (void)run_to_end(s, "1.5", 32000);
    assert_string_equal(on_series(s, "1.5").last.prompt.sop_instance_uid, "1.5.2");
    (void)fx_image(s, "1.5", "1.5.0", "late, below", 0, 0, 33000);
    const srv_job second = run_to_end(s, "1.5", 70000);
    const listing l = on_series(s, "1.5");
    assert_string_equal(l.last.prompt.sop_instance_uid, "1.5.2");
    assert_int_equal(l.last.prompt.slice, 1); /* as it was asked for */
    assert_int_equal(fx_bound_instances(s, second.id), 4);
    fx_post(s, "late", "1.5", 1, "late", 71000); /* counts the images that are there now */
    (void)run_to_end(s, "1.5", 80000);
    assert_string_equal(on_series(s, "1.5").labels, "late early ");
    listing late = {0};
    assert_ok(srv_store_prompts_group(s, "late", list_one, &late, &err));
    assert_string_equal(late.last.prompt.sop_instance_uid, "1.5.1");
}

static void an_order_that_is_not_certain_binds_no_slice(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    fx_series(s, "1.5", 3, 1000);
    (void)fx_image(s, "1.5", "1.5.9", "the place of another", 10, 0, 1000);
    fx_post(s, "g", "1.5", 1, "a", 1100);
    (void)run_to_end(s, "1.5", 40000);
    assert_string_equal(on_series(s, "1.5").last.prompt.sop_instance_uid, "");
    /* a localiser among them */
    fx_series(s, "1.6", 3, 50000);
    const int64_t id = fx_put(s, "1.6.9", "scout", 0, 50000, NULL);
    dicom_header h = fx_header("1.6", "1.6.9", 40);
    h.row_dir[0] = h.col_dir[2] = 1;
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 50000, &err));
    fx_post(s, "h", "1.6", 1, "a", 50100);
    (void)run_to_end(s, "1.6", 90000);
    assert_string_equal(on_series(s, "1.6").last.prompt.sop_instance_uid, "");
}

/* ---- key images ---- */

static void key_images_alone_ask_for_nothing(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    dicom_prompt p = {.kind = DICOM_PROMPT_KEY_IMAGE, .frame = 0};
    (void)snprintf(p.sop_instance_uid, sizeof p.sop_instance_uid, "1.5.2");
    fx_series(s, "1.5", 3, 1000);
    (void)annotation_of(s, "1.7.1", "1.9", 0, &p, 1, 1100);
    assert_int_equal(fx_tick(s, 40000), 0);
    assert_int_equal(fx_newest(s, "1.5").state, SRV_JOB_WAITING_PROMPT);
    fx_post(s, "g", "1.5", 1, "a", 41000);
    const srv_job job = run_to_end(s, "1.5", 50000);
    assert_int_equal(fx_bound_prompts(s, job.id), 2);
    (void)annotation_of(s, "1.7.2", "1.9", 0, &p, 1, 51000); /* the same again, from another report: known */
    (void)fx_tick(s, 60000);
}

/* ---- uploads and notes ---- */

static int64_t upload(srv_store *s, const char *bytes, srv_put *outcome, char sha256[MSA_SHA256_HEX])
{
    srv_instance in = {.received_ms = 1000, .size_bytes = 4};
    int64_t id = 0;
    msa_sha256_bytes(bytes, strlen(bytes), NULL, in.sha256);
    memcpy(sha256, in.sha256, sizeof in.sha256);
    assert_ok(srv_store_instance_put(s, &in, outcome, &id, &err));
    return id;
}

static void an_upload_learns_its_names_when_it_is_read(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char sha256[MSA_SHA256_HEX];
    srv_put outcome;
    srv_instance got;
    fx_series(s, "1.5", 2, 1000);
    const int64_t id = upload(s, "report", &outcome, sha256);
    assert_int_equal(outcome, SRV_PUT_NEW);
    assert_int_equal(upload(s, "report", &outcome, sha256), id);
    assert_int_equal(outcome, SRV_PUT_SAME);
    assert_ok(srv_store_instance_find(s, sha256, &got, &err));
    assert_int_equal(got.state, SRV_INSTANCE_RECEIVED);
    assert_string_equal(got.sop_instance_uid, "");
    const dicom_header h = {.kind = DICOM_KIND_ANNOTATION,
                            .sop_instance_uid = "1.7.1",
                            .sop_class_uid = SR_CLASS,
                            .transfer_syntax_uid = "1.2.840.10008.1.2",
                            .study_uid = "1.9"};
    const dicom_prompt box = fx_box("1.5.1", "liver");
    assert_ok(srv_store_instance_note(s, id, "a line was passed over", &err));
    assert_ok(srv_store_instance_index(s, id, &h, &box, 1, 2000, &err));
    assert_ok(srv_store_instance_find(s, "1.7.1", &got, &err));
    assert_int_equal(got.id, id);
    assert_int_equal(got.kind, DICOM_KIND_ANNOTATION);
    assert_int_equal(got.prompts, 1);
    assert_string_equal(got.sop_class_uid, SR_CLASS);
    assert_string_equal(got.transfer_syntax_uid, "1.2.840.10008.1.2");
    assert_string_equal(got.note, "a line was passed over");
    /* the same object by C-STORE adds nothing */
    assert_int_equal(fx_put(s, "1.7.1", "report", 0, 3000, &outcome), id);
    assert_int_equal(outcome, SRV_PUT_SAME);
    assert_fails(MSA_E_NOT_FOUND, "no such", srv_store_instance_find(s, "1.2.3", &got, &err));
    assert_fails(MSA_E_NOT_FOUND, "no such", srv_store_instance_find(s, "", &got, &err));
}

static void an_upload_that_has_come_by_c_store_meanwhile_is_dropped(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char sha256[MSA_SHA256_HEX];
    srv_put outcome;
    srv_instance got;
    const int64_t id = upload(s, "report", &outcome, sha256);
    const int64_t other = fx_put(s, "1.7.1", "report", 0, 1000, &outcome);
    assert_int_not_equal(id, other);
    const dicom_header h = {.kind = DICOM_KIND_ANNOTATION, .sop_instance_uid = "1.7.1", .study_uid = "1.9"};
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 2000, &err));
    assert_ok(srv_store_instance_index(s, other, &h, NULL, 0, 2000, &err));
    assert_ok(srv_store_instance_find(s, sha256, &got, &err));
    assert_int_equal(got.id, other);
    assert_fails(MSA_E_NOT_FOUND, "waits", srv_store_instance_next(s, 0, &got, &err));
}

static void an_upload_of_an_image_is_refused(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    char sha256[MSA_SHA256_HEX];
    srv_put outcome;
    srv_instance got;
    const int64_t id = upload(s, "image", &outcome, sha256);
    const dicom_header h = fx_header("1.5", "1.5.1", 0);
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 2000, &err));
    assert_ok(srv_store_instance_find(s, sha256, &got, &err));
    assert_int_equal(got.state, SRV_INSTANCE_REJECTED);
    assert_non_null(strstr(got.reason, "C-STORE"));
}

static void count_one(void *ctx, const srv_instance *i)
{
    (void)i;
    ++*(int *)ctx;
}

static void notes_are_listed_while_the_version_counts(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    int n = 0;
    const int64_t id = fx_put(s, "1.7.1", "empty", 0, 1000, NULL);
    const dicom_header h = {.kind = DICOM_KIND_ANNOTATION, .sop_instance_uid = "1.7.1", .study_uid = "1.9"};
    assert_ok(srv_store_instance_note(s, id, "it draws nothing", &err));
    assert_ok(srv_store_instance_index(s, id, &h, NULL, 0, 1000, &err));
    assert_ok(srv_store_instances_noted(s, 0, 10, count_one, &n, &err));
    assert_int_equal(n, 1);
    const int64_t better = fx_put(s, "1.7.1", "better", 0, 2000, NULL);
    const dicom_prompt box = fx_box("1.5.1", "liver");
    assert_ok(srv_store_instance_index(s, better, &h, &box, 1, 2000, &err));
    n = 0;
    assert_ok(srv_store_instances_noted(s, 0, 10, count_one, &n, &err));
    assert_int_equal(n, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_frame_of_reference_is_every_ct_and_mr_series_of_the_study),
        CASE(a_frame_of_reference_waits_for_its_series),
        CASE(over_rest_a_frame_of_reference_is_of_any_study),
        CASE(a_changed_annotation_replaces_whatever_object_it_is),
        CASE(what_was_made_earlier_replaces_nothing_though_it_comes_later),
        CASE(the_same_lesion_on_another_series_keeps_its_prompt),
        CASE(tracking_is_seen_when_the_images_come_last),
        CASE(a_deleted_post_gives_back_what_it_replaced),
        CASE(inputs_that_come_back_make_a_new_object),
        CASE(a_slice_number_is_bound_when_the_series_is_complete),
        CASE(an_order_that_is_not_certain_binds_no_slice),
        CASE(key_images_alone_ask_for_nothing),
        CASE(an_upload_learns_its_names_when_it_is_read),
        CASE(an_upload_that_has_come_by_c_store_meanwhile_is_dropped),
        CASE(an_upload_of_an_image_is_refused),
        CASE(notes_are_listed_while_the_version_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
