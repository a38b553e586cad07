/* The work role: reads headers, or runs jobs. The only place of the service where foreign bytes are parsed.
 */
#include "server/roles/roles.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "dicom/annotation.h"
#include "dicom/header.h"
#include "dicom/init.h"
#include "dicom/series.h"
#include "engine/base/log.h"
#include "engine/base/pool.h"
#include "server/blob/blob.h"
#include "server/core/ipc.h"
#include "server/roles/confine.h"
#include "server/roles/sandbox.h"
#include "server/segment/default_box.h"
#include "server/segment/models.h"
#include "server/segment/segment.h"

#define FILE_SIZE_MAX ((rlim_t)8 << 30) /* of anything this role writes */
#define PROGRESS_MS   200

typedef struct work_role {
    srv_ipc_work_start start;
    srv_blobs *blobs;
    srv_models *models;         /* NULL when index_only */
    msa_embedding_cache *cache; /* over jobs; likewise */
    srv_ipc_job job;
    srv_ipc_instance *instances;
    srv_ipc_prompt *prompts;
    size_t n_instances, n_prompts, cap_instances, cap_prompts;
    int64_t told_ms; /* last progress message */
} work_role;

static int64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- headers ---- */

static msa_status read_header(const work_role *w, const srv_ipc_index *m, srv_ipc_indexed *out,
                              msa_error *err)
{
    char path[SRV_PATH_MAX + 128];
    MSA_TRY(srv_blob_path(w->blobs, m->sha256, path, sizeof path, err));
    MSA_TRY(dicom_header_read(&out->header, path, err));
    if (out->header.kind != DICOM_KIND_ANNOTATION) return MSA_OK;

    MSA_AUTO_FREE dicom_prompt *prompts = NULL;
    size_t n = 0;
    const char *note = NULL;
    MSA_TRY(dicom_annotation_read(&prompts, &n, &note, path, err));
    (void)snprintf(out->note, sizeof out->note, "%s", note != NULL ? note : "");
    if (n == 0)
        msa_log(MSA_LOG_WARN, "index", "instance=%lld no_prompt note=\"%s\"", (long long)m->instance_id,
                out->note);
    for (size_t i = 0; i < n; i++)
        MSA_TRY(srv_ipc_send(SRV_IPC_FD, SRV_IPC_INDEX_PROMPT, &prompts[i], sizeof prompts[i], err));
    return MSA_OK;
}

static msa_status answer_index(const work_role *w, const srv_ipc_index *m, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    srv_ipc_indexed reply = {.instance_id = m->instance_id};
    reply.status = read_header(w, m, &reply, &why);
    (void)snprintf(reply.what, sizeof reply.what, "%s", why.what);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_INDEXED, &reply, sizeof reply, err);
}

static msa_status answer_look(const srv_ipc_look *m, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    srv_ipc_indexed reply = {0};
    char path[SRV_PATH_MAX];
    (void)snprintf(path, sizeof path, "%.*s", (int)sizeof path - 1, m->path);
    reply.status = dicom_header_read(&reply.header, path, &why);
    (void)snprintf(reply.what, sizeof reply.what, "%s", why.what);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_LOOKED, &reply, sizeof reply, err);
}

/* ---- jobs ---- */

static void tell_progress(void *ctx, int32_t done, int32_t total)
{
    work_role *w = ctx;
    const int64_t now = monotonic_ms();
    if (now - w->told_ms < PROGRESS_MS && done < total) return;
    w->told_ms = now;
    const srv_ipc_progress message = {.job_id = w->job.job_id, .done = done, .total = total};
    /* A core that is gone takes no progress; the role notices at its next message. */
    if (srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_PROGRESS, &message, sizeof message, NULL) != MSA_OK) return;
}

enum { PATH_SIZE = SRV_PATH_MAX + 128 };

/* Path of a blob. It is named by its content: what has changed on the disk is found here, not in a patient.
 */
static msa_status checked_path(const work_role *w, const char *sha256, char path[PATH_SIZE], msa_error *err)
{
    char found[MSA_SHA256_HEX];
    MSA_TRY(srv_blob_path(w->blobs, sha256, path, PATH_SIZE, err));
    MSA_TRY(msa_sha256_file(path, found, err));
    if (strcmp(found, sha256) == 0) return MSA_OK;
    return msa_fail(err, MSA_E_PARSE, "a stored instance has changed on the disk; send it again");
}

static msa_status load_series(const work_role *w, const dicom_series_request *wanted, dicom_series **out,
                              msa_error *err)
{
    MSA_AUTO_FREE char *text = calloc(w->n_instances, PATH_SIZE);
    MSA_AUTO_FREE const char **paths = calloc(w->n_instances, sizeof *paths);
    if (text == NULL || paths == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (size_t i = 0; i < w->n_instances; i++) {
        char *path = text + i * PATH_SIZE;
        MSA_TRY(checked_path(w, w->instances[i].sha256, path, err));
        paths[i] = path;
    }
    return dicom_series_load(out, paths, w->n_instances, wanted, err);
}

/* form: which of the job's; -1: what goes beside segmentations. */
static msa_status tell_file(const work_role *w, const dicom_seg_file *file, int32_t form, msa_error *err)
{
    static const dicom_seg_form usual = {0};
    srv_ipc_result m = {.form = form};
    if (form >= 0) dicom_seg_form_name(w->job.forms.n > 0 ? &w->job.forms.form[form] : &usual, m.form_name);
    (void)snprintf(m.name, sizeof m.name, "%s", file->name);
    memcpy(m.sop_class_uid, file->sop_class_uid, sizeof m.sop_class_uid);
    memcpy(m.sop_instance_uid, file->sop_instance_uid, sizeof m.sop_instance_uid);
    memcpy(m.series_uid, file->series_uid, sizeof m.series_uid);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_RESULT, &m, sizeof m, err);
}

static msa_status tell_outcome(const work_role *w, const srv_segment_outcome *outcome, msa_error *err)
{
    for (size_t i = 0; i < outcome->n_stats; i++) {
        const srv_segment_stat *s = &outcome->stats[i];
        srv_ipc_segment m = {.voxels = s->voxels,
                             .volume_ml = s->measures.volume_ml,
                             .mean_iou = s->mean_iou,
                             .first_slice = s->first_slice,
                             .last_slice = s->last_slice,
                             .candidates = s->candidates};
        memcpy(m.label, s->label, sizeof m.label);
        memcpy(m.note, s->note, sizeof m.note);
        MSA_TRY(srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_SEGMENT, &m, sizeof m, err));
    }
    for (size_t i = 0; i < outcome->n_files; i++)
        MSA_TRY(tell_file(w, &outcome->files[i], outcome->form[i], err));
    if (outcome->report.name[0]) MSA_TRY(tell_file(w, &outcome->report, -1, err));
    if (outcome->contours.name[0]) MSA_TRY(tell_file(w, &outcome->contours, -1, err));
    for (size_t i = 0; i < outcome->n_captures; i++)
        MSA_TRY(tell_file(w, &outcome->captures[i], -1, err));
    return MSA_OK;
}

/* Prompts and what belongs to each, as the segmenter takes them. */
typedef struct job_prompts {
    dicom_prompt *prompts;
    const srv_rule **rules;
    const msa_model **models;
    const char **files; /* of areas: the annotation's blob, in `paths`; prompts of one have one */
    char *paths;
    size_t n;
} job_prompts;

static void job_prompts_clear(job_prompts *p)
{
    free(p->prompts);
    free(p->rules);
    free(p->models);
    free(p->files);
    free(p->paths);
}

static msa_status find_file(const work_role *w, job_prompts *p, size_t i, msa_error *err)
{
    if (p->prompts[i].kind != DICOM_PROMPT_REGION) return MSA_OK;
    for (size_t k = 0; k < i; k++) {
        if (p->files[k] == NULL || strcmp(p->prompts[k].source_sha256, p->prompts[i].source_sha256) != 0)
            continue;
        p->files[i] = p->files[k];
        return MSA_OK;
    }
    char *path = p->paths + i * PATH_SIZE;
    MSA_TRY(checked_path(w, p->prompts[i].source_sha256, path, err));
    p->files[i] = path;
    return MSA_OK;
}

/* Rule i of those that this worker has told, and what it chooses. */
static msa_status rule_at(const work_role *w, int32_t i, const srv_rule **rule, const msa_model **model,
                          msa_error *err)
{
    const srv_model_table *t = w->models == NULL ? NULL : srv_models_table(w->models);
    *rule = t != NULL && i >= 0 && i < t->n_rules ? &t->rules[i] : NULL;
    *model = *rule == NULL ? NULL : srv_models_at(w->models, (*rule)->model);
    return *model != NULL ? MSA_OK : msa_fail(err, MSA_E_INTERNAL, "this worker has no such rule");
}

static msa_status unpack_prompts(const work_role *w, job_prompts *p, msa_error *err)
{
    p->prompts = calloc(w->n_prompts + 1, sizeof *p->prompts);
    p->rules = calloc(w->n_prompts + 1, sizeof *p->rules);
    p->models = calloc(w->n_prompts + 1, sizeof *p->models);
    p->files = calloc(w->n_prompts + 1, sizeof *p->files);
    p->paths = calloc(w->n_prompts + 1, PATH_SIZE);
    p->n = w->n_prompts;
    if (p->prompts == NULL || p->rules == NULL || p->models == NULL || p->files == NULL || p->paths == NULL)
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (size_t i = 0; i < w->n_prompts; i++) {
        p->prompts[i] = w->prompts[i].prompt;
        MSA_TRY(rule_at(w, w->prompts[i].rule, &p->rules[i], &p->models[i], err));
        MSA_TRY(find_file(w, p, i, err));
    }
    return MSA_OK;
}

/* Nobody drew anything to segment; key images only say where results may lie. */
static bool asks_nothing(const work_role *w)
{
    for (size_t i = 0; i < w->n_prompts; i++)
        if (w->prompts[i].prompt.kind != DICOM_PROMPT_KEY_IMAGE) return false;
    return true;
}

/* The rule's own prompt, where it has one and nobody drew any. */
static msa_status add_default_box(job_prompts *p, const srv_rule *rule, const msa_model *model,
                                  const dicom_series *series, msa_error *err)
{
    MSA_TRY(srv_default_box(&p->prompts[p->n], series, p->prompts, p->n, rule->box_percent, err));
    p->rules[p->n] = rule;
    p->models[p->n] = model;
    p->n++;
    return MSA_OK;
}

static msa_status run_job(work_role *w, srv_ipc_job_done *done, msa_error *err)
{
    __attribute__((cleanup(job_prompts_clear))) job_prompts prompts = {0};
    const srv_rule *rule = NULL;
    const msa_model *model = NULL;
    MSA_TRY(rule_at(w, w->job.rule, &rule, &model, err));
    MSA_TRY(unpack_prompts(w, &prompts, err));
    if (w->n_instances == 0) return msa_fail(err, MSA_E_INVALID, "the job has no image");
    MSA_AUTO(dicom_series) series = NULL;
    const dicom_series_request wanted = {.prompts = prompts.prompts, .n_prompts = w->n_prompts};
    MSA_TRY(load_series(w, &wanted, &series, err));
    done->slices = dicom_series_info(series)->slices;
    const bool by_itself = asks_nothing(w);
    const bool boxed = by_itself && srv_rule_policy(rule) == SRV_POLICY_DEFAULT_BOX;
    if (boxed) MSA_TRY(add_default_box(&prompts, rule, model, series, err));

    MSA_AUTO_FREE srv_segment_outcome *outcome = calloc(1, sizeof *outcome);
    if (outcome == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    const srv_segment_request request = {
        .series = series,
        .prompts = prompts.prompts,
        .n_prompts = prompts.n,
        .model = model,
        .prompt_files = prompts.files,
        .prompt_models = prompts.models,
        .rule = rule,
        .prompt_rules = prompts.rules,
        .by_itself = by_itself,
        .automatic = by_itself && !boxed ? &w->start.automatic : NULL,
        .key = w->job.input_key,
        .out_dir = w->job.job_dir,
        .series_number = w->start.series_number,
        .forms = w->job.forms.form,
        .n_forms = w->job.forms.n <= SRV_DESTINATIONS_MAX ? w->job.forms.n : 0,
        .series_description = w->start.series_description,
        .slice_sheet = true,
        .report = w->start.report,
        .contours = strcmp(rule->contours, "rtstruct") == 0,
        .captures = strcmp(rule->pictures, "capture") == 0,
        .cache = w->cache,
        .progress = tell_progress,
        .progress_ctx = w,
    };
    MSA_TRY(srv_segment_run(&request, outcome, err));
    memcpy(done->warnings, outcome->warnings, sizeof done->warnings);
    return tell_outcome(w, outcome, err);
}

/* What the model was spared. */
static void log_cache(const work_role *w, const msa_embedding_cache_stats *before)
{
    if (w->cache == NULL) return;
    const msa_embedding_cache_stats now = msa_embedding_cache_stats_get(w->cache);
    msa_log(MSA_LOG_INFO, "work", "job=%lld encoded=%lld from_memory=%lld from_disk=%lld damaged=%lld",
            (long long)w->job.job_id, (long long)(now.encoded - before->encoded),
            (long long)(now.from_memory - before->from_memory),
            (long long)(now.from_disk - before->from_disk), (long long)(now.damaged - before->damaged));
}

static msa_status answer_job(work_role *w, msa_error *err)
{
    msa_error why = MSA_ERROR_INIT;
    srv_ipc_job_done done = {.job_id = w->job.job_id};
    const int64_t began = monotonic_ms();
    const msa_embedding_cache_stats before =
        w->cache != NULL ? msa_embedding_cache_stats_get(w->cache) : (msa_embedding_cache_stats){0};
    done.status = run_job(w, &done, &why);
    log_cache(w, &before);
    done.engine_seconds = (double)(monotonic_ms() - began) / 1000.0;
    (void)snprintf(done.what, sizeof done.what, "%s", why.what);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_JOB_DONE, &done, sizeof done, err);
}

static msa_status append(void **array, size_t *n, size_t *cap, const void *item, size_t size, msa_error *err)
{
    if (*n == *cap) {
        const size_t wanted = *cap == 0 ? 64 : *cap * 2;
        void *bigger = realloc(*array, wanted * size);
        if (bigger == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        *array = bigger;
        *cap = wanted;
    }
    memcpy((char *)*array + *n * size, item, size);
    (*n)++;
    return MSA_OK;
}

/* ---- the role ---- */

/* Core's rules: *rules (*n) is malloc'ed. */
static msa_status receive_rules(const work_role *w, srv_rule **rules, msa_error *err)
{
    const int32_t n = w->start.n_rules;
    if (n < 0 || n > SRV_RULES_MAX) return msa_fail(err, MSA_E_INTERNAL, "core sent %d rules", n);
    *rules = calloc((size_t)n + 1, sizeof **rules);
    if (*rules == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    for (int32_t i = 0; i < n; i++)
        MSA_TRY(srv_ipc_expect(SRV_IPC_FD, SRV_IPC_WORK_RULE, &(*rules)[i], sizeof **rules, err));
    return MSA_OK;
}

static msa_status tell_models(const work_role *w, srv_ipc_ready *ready, msa_error *err)
{
    const srv_model_table *t = srv_models_table(w->models);
    for (int32_t i = 0; i < t->n_models; i++)
        MSA_TRY(srv_ipc_send(SRV_IPC_FD, SRV_IPC_WORK_MODEL, &t->models[i], sizeof t->models[i], err));
    for (int32_t i = 0; i < t->n_rules; i++)
        MSA_TRY(srv_ipc_send(SRV_IPC_FD, SRV_IPC_WORK_RULE_KNOWN, &t->rules[i], sizeof t->rules[i], err));
    *ready = (srv_ipc_ready){t->n_models, t->n_rules};
    return MSA_OK;
}

static msa_status open_cache(work_role *w, msa_error *err)
{
    char folder[SRV_PATH_MAX + 16];
    (void)snprintf(folder, sizeof folder, "%s/embeddings", w->start.storage_path);
    const msa_embedding_cache_options options = {.memory_bytes = (size_t)w->start.cache_memory_mib << 20,
                                                 .folder = folder,
                                                 .disk_bytes = (uint64_t)w->start.cache_disk_mib << 20};
    return msa_embedding_cache_new(&w->cache, &options, err);
}

static msa_status load_models(work_role *w, const srv_rule *rules, srv_ipc_ready *ready, msa_error *err)
{
    srv_models_wanted wanted = {.path = w->start.model_path,
                                .adapter = w->start.model_adapter,
                                .adapters_dir = w->start.model_adapters_dir,
                                .rules = rules,
                                .n_rules = w->start.n_rules};
    if (!msa_precision_named(w->start.model_precision, &wanted.precision))
        return msa_fail(err, MSA_E_INTERNAL, "core sent an unknown precision");
    msa_threads_set(w->start.threads);
    MSA_TRY(srv_models_load(&w->models, &wanted, err));
    return tell_models(w, ready, err);
}

static msa_status begin(work_role *w, msa_error *err)
{
    MSA_TRY(srv_ipc_expect(SRV_IPC_FD, SRV_IPC_WORK_START, &w->start, sizeof w->start, err));
    MSA_TRY(srv_role_confine(w->start.memory_mib, 0,
                             err)); /* core has the deadlines: they differ from job to job */
    const struct rlimit file_size = {FILE_SIZE_MAX, FILE_SIZE_MAX};
    (void)setrlimit(RLIMIT_FSIZE, &file_size);
    msa_log_level level = MSA_LOG_INFO;
    if (msa_log_level_parse(w->start.log_level, &level) == 0) msa_log_set_level(level);
    MSA_TRY(dicom_init(err));
    MSA_TRY(dicom_charsets_load(err));
    MSA_TRY(srv_blobs_attach(&w->blobs, w->start.storage_path, err));
    MSA_AUTO_FREE srv_rule *rules = NULL;
    if (!w->start.index_only) MSA_TRY(open_cache(w, err));
    if (!w->start.index_only) MSA_TRY(receive_rules(w, &rules, err));
    MSA_TRY(srv_sandbox_work(&w->start, rules, err)); /* model files, too, are read inside */
    srv_ipc_ready ready = {0};
    if (!w->start.index_only) MSA_TRY(load_models(w, rules, &ready, err));
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_WORK_READY, &ready, sizeof ready, err);
}

static msa_status handle(work_role *w, srv_ipc_type type, const void *body, size_t size, msa_error *err)
{
    if (type == SRV_IPC_INDEX && size == sizeof(srv_ipc_index)) return answer_index(w, body, err);
    if (type == SRV_IPC_LOOK && size == sizeof(srv_ipc_look)) return answer_look(body, err);
    if (type == SRV_IPC_JOB && size == sizeof w->job) {
        memcpy(&w->job, body, sizeof w->job);
        w->n_instances = w->n_prompts = 0;
        return MSA_OK;
    }
    if (type == SRV_IPC_JOB_INSTANCE && size == sizeof *w->instances)
        return append((void **)&w->instances, &w->n_instances, &w->cap_instances, body, size, err);
    if (type == SRV_IPC_JOB_PROMPT && size == sizeof *w->prompts)
        return append((void **)&w->prompts, &w->n_prompts, &w->cap_prompts, body, size, err);
    if (type == SRV_IPC_JOB_GO && size == 0) return answer_job(w, err);
    return msa_fail(err, MSA_E_INTERNAL, "core sent a message of type %d and %zu bytes", (int)type, size);
}

int srv_work_main(void)
{
    static work_role w;
    static alignas(max_align_t) unsigned char body[SRV_IPC_BODY_MAX];
    msa_error err = MSA_ERROR_INIT;
    if (begin(&w, &err) != MSA_OK) {
        msa_log(MSA_LOG_ERROR, "work", "cannot_start what=\"%s\"", err.what);
        return 1;
    }
    for (;;) {
        srv_ipc_type type = 0;
        size_t size = 0;
        if (srv_ipc_recv(SRV_IPC_FD, &type, body, sizeof body, &size, &err) != MSA_OK)
            break; /* core wants no more */
        if (handle(&w, type, body, size, &err) != MSA_OK) {
            msa_log(MSA_LOG_ERROR, "work", "what=\"%s\"", err.what);
            return 1;
        }
    }
    msa_embedding_cache_free(w.cache);
    srv_models_free(w.models);
    srv_blobs_free(w.blobs);
    free(w.instances);
    free(w.prompts);
    return 0;
}
