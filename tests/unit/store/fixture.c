#include "tests/unit/store/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const srv_model_table models = {
    .n_models = 2,
    .models = {{.name = "small", .version = "1", .hash = "abcd", .untrained = true},
               {.name = "small+mr", .version = "1+1", .hash = "0123"}},
    .n_rules = 2,
    .rules = {{.modality = "MR", .body_part = "*", .label = "*", .model = 1},
              {.modality = "*", .body_part = "*", .label = "*"}}};
const srv_job_policy fx_policy = {.settle_ms = 2000,
                                  .quiet_ms = 30000,
                                  .prompt_settle_ms = 1000,
                                  .max_attempts = 3,
                                  .settings = "test 1",
                                  .automatic = "points 32",
                                  .models = &models};

int fixture_setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    /* In memory where there is such a place: what is tested survives a process, no test here cuts the power.
     */
    (void)snprintf(f->dir, sizeof f->dir, "%s/msad-store-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(f->dir)) return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/msad.db", f->dir);
    *state = f;
    msa_error err = MSA_ERROR_INIT;
    if (srv_store_open(&f->store, f->path, &err) == MSA_OK) return 0;
    (void)fprintf(stderr, "%s\n", err.what);
    return -1;
}

int fixture_teardown(void **state)
{
    fixture *f = *state;
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    srv_store_free(f->store);
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        char path[112];
        (void)snprintf(path, sizeof path, "%s%s", f->path, ends[k]);
        (void)unlink(path);
    }
    const int rc = rmdir(f->dir);
    free(f);
    return rc;
}

void fixture_reopen(fixture *f)
{
    srv_store_free(f->store);
    f->store = NULL;
    assert_ok(srv_store_open(&f->store, f->path, &err));
}

int64_t fx_put(srv_store *s, const char *sop_uid, const char *bytes, int64_t association, int64_t now_ms,
               srv_put *outcome)
{
    srv_instance in = {
        .association_id = association, .received_ms = now_ms, .size_bytes = (int64_t)strlen(bytes)};
    srv_put unused;
    int64_t id = 0;
    msa_sha256_bytes(bytes, strlen(bytes), NULL, in.sha256);
    (void)snprintf(in.sop_instance_uid, sizeof in.sop_instance_uid, "%s", sop_uid);
    (void)snprintf(in.sop_class_uid, sizeof in.sop_class_uid, "%s", CT_CLASS);
    (void)snprintf(in.transfer_syntax_uid, sizeof in.transfer_syntax_uid, "1.2.840.10008.1.2.1");
    assert_ok(srv_store_instance_put(s, &in, outcome ? outcome : &unused, &id, &err));
    assert_true(id > 0);
    return id;
}

dicom_header fx_header(const char *series_uid, const char *sop_uid, double position_mm)
{
    dicom_header h = {.kind = DICOM_KIND_IMAGE, .rows = 64, .cols = 64, .frames = 1, .has_plane = true};
    (void)snprintf(h.sop_class_uid, sizeof h.sop_class_uid, "%s", CT_CLASS);
    (void)snprintf(h.sop_instance_uid, sizeof h.sop_instance_uid, "%s", sop_uid);
    (void)snprintf(h.series_uid, sizeof h.series_uid, "%s", series_uid);
    (void)snprintf(h.study_uid, sizeof h.study_uid, "1.9");
    (void)snprintf(h.modality, sizeof h.modality, "CT");
    h.position_mm = position_mm;
    return h;
}

int64_t fx_image(srv_store *s, const char *series_uid, const char *sop_uid, const char *bytes,
                 double position_mm, int64_t association, int64_t now_ms)
{
    const int64_t id = fx_put(s, sop_uid, bytes, association, now_ms, NULL);
    const dicom_header header = fx_header(series_uid, sop_uid, position_mm);
    assert_ok(srv_store_instance_index(s, id, &header, NULL, 0, now_ms, &err));
    return id;
}

void fx_series(srv_store *s, const char *series_uid, int n, int64_t now_ms)
{
    for (int k = 1; k <= n; k++) {
        char uid[DICOM_UID_MAX];
        (void)snprintf(uid, sizeof uid, "%s.%d", series_uid, k);
        (void)fx_image(s, series_uid, uid, uid, 5.0 * k, 0, now_ms);
    }
}

dicom_prompt fx_box(const char *sop_uid, const char *label)
{
    dicom_prompt p = {
        .kind = DICOM_PROMPT_BOX, .frame = 1, .positive = 1, .x0 = 8, .y0 = 9, .x1 = 40, .y1 = 41};
    (void)snprintf(p.sop_instance_uid, sizeof p.sop_instance_uid, "%s", sop_uid);
    (void)snprintf(p.label, sizeof p.label, "%s", label);
    (void)snprintf(p.type.value, sizeof p.type.value, "10200004");
    (void)snprintf(p.type.scheme, sizeof p.type.scheme, "SCT");
    (void)snprintf(p.type.meaning, sizeof p.type.meaning, "Liver");
    return p;
}

int64_t fx_annotation(srv_store *s, const char *sop_uid, const char *bytes, const dicom_prompt *prompts,
                      size_t n, int64_t now_ms)
{
    const int64_t id = fx_put(s, sop_uid, bytes, 0, now_ms, NULL);
    dicom_header header = fx_header("1.7", sop_uid, 0);
    header.kind = DICOM_KIND_ANNOTATION;
    header.has_plane = false;
    (void)snprintf(header.sop_class_uid, sizeof header.sop_class_uid, "%s", SR_CLASS);
    dicom_prompt *own = calloc(n + 1, sizeof *own);
    assert_non_null(own);
    for (size_t k = 0; k < n; k++) {
        own[k] = prompts[k];
        (void)snprintf(own[k].source_instance_uid, sizeof own[k].source_instance_uid, "%s", sop_uid);
        (void)snprintf(own[k].source_class_uid, sizeof own[k].source_class_uid, "%s", SR_CLASS);
    }
    assert_ok(srv_store_instance_index(s, id, &header, own, n, now_ms, &err));
    free(own);
    return id;
}

void fx_post(srv_store *s, const char *group_id, const char *series_uid, int slice, const char *label,
             int64_t now_ms)
{
    srv_prompt p = {.created_ms = now_ms, .prompt = fx_box("", label)};
    p.prompt.slice = slice;
    (void)snprintf(p.group_id, sizeof p.group_id, "%s", group_id);
    (void)snprintf(p.prompt.series_uid, sizeof p.prompt.series_uid, "%s", series_uid);
    assert_ok(srv_store_prompts_put(s, &p, 1, &err));
}

int32_t fx_tick(srv_store *s, int64_t now_ms)
{
    int32_t queued = 0;
    int64_t due_ms = 0;
    assert_ok(srv_jobs_tick(s, &fx_policy, now_ms, &queued, &due_ms, &err));
    return queued;
}

static void keep_first(void *ctx, const srv_job *job)
{
    srv_job *out = ctx;
    if (!out->id) *out = *job;
}

srv_job fx_newest(srv_store *s, const char *series_uid)
{
    srv_job job = {0};
    assert_ok(srv_store_jobs(s, -1, series_uid, 0, 1, keep_first, &job, &err));
    return job;
}

static void count_job(void *ctx, const srv_job *job)
{
    (void)job;
    ++*(int *)ctx;
}

int fx_count_jobs(srv_store *s, const char *series_uid)
{
    int n = 0;
    assert_ok(srv_store_jobs(s, -1, series_uid, 0, 10000, count_job, &n, &err));
    return n;
}

srv_job fx_job(srv_store *s, int64_t id)
{
    srv_job job = {0};
    assert_ok(srv_store_job_get_id(s, id, &job, &err));
    return job;
}

srv_job fx_claim(srv_store *s, int64_t now_ms)
{
    srv_job job = {0};
    assert_ok(srv_store_job_claim(s, now_ms, 60000, &job, &err));
    assert_int_equal(job.state, SRV_JOB_RUNNING);
    return job;
}

void fx_done(srv_store *s, const srv_job *job, const char *a, const char *b, int64_t now_ms)
{
    srv_result result = {.number = 1, .size_bytes = 100, .sop_class_uid = "1.2.840.10008.5.1.4.1.1.66.4"};
    const srv_segment segment = {
        .number = 1,
        .voxels = 5,
        .volume_ml = 0.5,
        .label = "liver",
        .note = "image end",
        .candidates = {.slice = 7, .n = 4, .chosen = 2, .iou = {0.5F, 0.25F, 0.875F, 1.25F}}};
    const char *destinations[] = {a, b};
    (void)snprintf(result.sop_instance_uid, sizeof result.sop_instance_uid, "2.25.%lld", (long long)job->id);
    (void)snprintf(result.sha256, sizeof result.sha256, "%064lld", (long long)job->id);
    (void)snprintf(result.series_uid, sizeof result.series_uid, "2.25.99");
    assert_ok(srv_store_job_done(s, job->id, job->token, &result, 1, &segment, 1, "", "", destinations,
                                 (size_t)(a ? 1 : 0) + (b ? 1 : 0), now_ms, &err));
}

static void count_prompt(void *ctx, const srv_prompt *p)
{
    (void)p;
    ++*(int *)ctx;
}

static void count_instance(void *ctx, const srv_instance *i)
{
    (void)i;
    ++*(int *)ctx;
}

int fx_bound_prompts(srv_store *s, int64_t job_id)
{
    int n = 0;
    assert_ok(srv_store_job_prompts(s, job_id, count_prompt, &n, &err));
    return n;
}

int fx_bound_instances(srv_store *s, int64_t job_id)
{
    int n = 0;
    assert_ok(srv_store_job_instances(s, job_id, count_instance, &n, &err));
    return n;
}

typedef struct text {
    char *at;
    size_t size;
} text;

static void add_state(void *ctx, const srv_delivery *d)
{
    text *t = ctx;
    const size_t used = strlen(t->at);
    (void)snprintf(t->at + used, t->size - used, "%s%s", used ? " " : "", d->state);
}

void fx_delivery_states(srv_store *s, int64_t job_id, char *out, size_t size)
{
    text t = {out, size};
    out[0] = '\0';
    assert_ok(srv_store_job_deliveries(s, job_id, add_state, &t, &err));
}
