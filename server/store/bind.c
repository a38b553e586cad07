/* A job is bound to its inputs: what it will see, in which order, and the key that names exactly this. */
#include "server/store/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hashing: every field with its length before it, so that no two inputs read alike ---- */

static void hash_text(msa_sha256 *h, const char *text)
{
    char length[24];
    const size_t n = text ? strlen(text) : 0;
    msa_sha256_update(h, length, (size_t)snprintf(length, sizeof length, "%zu:", n));
    if (n) msa_sha256_update(h, text, n);
}

static void hash_int(msa_sha256 *h, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    hash_text(h, text);
}

/* The bits, not a decimal form: exact, and no locale takes part. */
static void hash_double(msa_sha256 *h, double value)
{
    uint64_t bits = 0;
    char text[24];
    const double plain = value == 0 ? 0 : value; /* -0 is 0 */
    memcpy(&bits, &plain, sizeof bits);
    (void)snprintf(text, sizeof text, "%016" PRIx64, bits);
    hash_text(h, text);
}

static void hash_code(msa_sha256 *h, const dicom_code *code)
{
    hash_text(h, code->value);
    hash_text(h, code->scheme);
    hash_text(h, code->meaning);
}

/* All that can change the result or is written into it; never an id or a time. */
static msa_status hash_prompt(const srv_prompt *in, char hex[MSA_SHA256_HEX], msa_error *err)
{
    const dicom_prompt *p = &in->prompt;
    msa_sha256 *h = msa_sha256_new();
    if (!h) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    hash_int(h, p->kind);
    hash_int(h, p->space);
    hash_int(h, p->frame);
    hash_int(h, p->positive);
    hash_int(h, p->slice);
    hash_int(h, p->region);
    hash_double(h, p->x0);
    hash_double(h, p->y0);
    hash_double(h, p->z0);
    hash_double(h, p->x1);
    hash_double(h, p->y1);
    hash_double(h, p->z1);
    hash_text(h, p->sop_instance_uid);
    hash_text(h, p->kind == DICOM_PROMPT_REGION ? p->source_sha256 : ""); /* its area is in there */
    hash_text(h, p->label);
    hash_text(h, p->tracking_id);
    hash_text(h, p->tracking_uid);
    hash_code(h, &p->category);
    hash_code(h, &p->type);
    hash_code(h, &p->site);
    hash_text(h, p->source_class_uid);
    hash_text(h, p->source_instance_uid);
    msa_sha256_hex(h, hex);
    msa_sha256_free(h);
    return MSA_OK;
}

/* ---- the prompts, in an order that content alone decides ---- */

typedef struct bound_prompt {
    int64_t id, ordinal;
    const srv_rule *rule; /* that chooses its model */
    bool asks;            /* for a result: a key image only restricts */
    char source_uid[DICOM_UID_MAX], label[DICOM_LABEL_MAX], hex[MSA_SHA256_HEX];
} bound_prompt;

typedef struct bound_prompts {
    const srv_model_table *models;
    srv_rule_subject subject;
    const srv_rule *rule; /* for the series as a whole */
    bound_prompt *items;
    size_t n, room;
} bound_prompts;

static void bound_prompts_clear(bound_prompts *p)
{
    free(p->items);
}

static int by_content(const void *a, const void *b)
{
    const bound_prompt *x = a, *y = b;
    int order = strcmp(x->source_uid, y->source_uid);
    if (order == 0) order = strcmp(x->hex, y->hex);
    return order ? order : (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

/* As the annotation lists them; prompts of separate POSTs by label. */
static int by_listing(const void *a, const void *b)
{
    const bound_prompt *x = a, *y = b;
    int order = strcmp(x->source_uid, y->source_uid);
    if (order == 0) order = (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
    if (order == 0) order = strcmp(x->label, y->label);
    return order ? order : strcmp(x->hex, y->hex);
}

/* The same prompt posted twice says nothing new. */
static void arrange(bound_prompts *p)
{
    size_t n = 0;
    if (p->n == 0) return;
    qsort(p->items, p->n, sizeof *p->items, by_content);
    for (size_t k = 1; k < p->n; k++) {
        const bound_prompt *kept = &p->items[n], *item = &p->items[k];
        if (strcmp(kept->hex, item->hex) != 0 || strcmp(kept->source_uid, item->source_uid) != 0)
            p->items[++n] = *item;
    }
    p->n = n + 1;
    qsort(p->items, p->n, sizeof *p->items, by_listing);
}

static msa_status add_prompt(bound_prompts *p, const srv_prompt *row, int64_t ordinal, msa_error *err)
{
    if (p->n == p->room) {
        const size_t room = p->room ? 2 * p->room : 16;
        bound_prompt *items = realloc(p->items, room * sizeof *items);
        if (!items) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        p->items = items;
        p->room = room;
    }
    bound_prompt *item = &p->items[p->n++];
    const srv_rule *rule = srv_model_rule_for(p->models, &p->subject, &row->prompt);
    *item = (bound_prompt){
        .id = row->id, .ordinal = ordinal, .rule = rule, .asks = row->prompt.kind != DICOM_PROMPT_KEY_IMAGE};
    memcpy(item->source_uid, row->prompt.source_instance_uid, sizeof item->source_uid);
    memcpy(item->label, row->prompt.label, sizeof item->label);
    return hash_prompt(row, item->hex, err);
}

static msa_status collect_prompts(srv_store *s, int64_t series_id, bound_prompts *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_PROMPT_COLUMNS
                     ", p.ordinal FROM prompt p WHERE p.series_id = ? AND p.current = 1",
                     srv_i(series_id)));
    for (;;) {
        srv_prompt prompt;
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) break;
        srv_prompt_read(q, &prompt);
        MSA_TRY(add_prompt(out, &prompt, sqlite3_column_int64(q, SRV_PROMPT_N_COLUMNS), err));
    }
    arrange(out);
    return MSA_OK;
}

/* ---- the models ---- */

/* p->subject is there. */
static void choose_begin(bound_prompts *p, const srv_job_policy *policy)
{
    p->models = policy->models;
    p->rule = srv_model_rule_for(p->models, &p->subject, NULL);
}

static bool asks_nothing(const bound_prompts *p)
{
    for (size_t k = 0; k < p->n; k++)
        if (p->items[k].asks) return false;
    return true;
}

/* What the job runs with, as one. */
static void join_models(const bound_prompts *p, srv_model_info *out)
{
    bool used[SRV_MODELS_MAX] = {false};
    for (size_t k = 0; k < p->n; k++)
        if (p->items[k].asks) used[p->items[k].rule->model] = true;
    if (asks_nothing(p)) used[p->rule->model] = true;
    srv_model_join(out, p->models, used);
}

/* ---- the key ---- */

/* sql: IMAGES_OF_SERIES or IMAGES_OF_JOB, of this id. */
static msa_status hash_instances(srv_store *s, msa_sha256 *h, const char *sql, int64_t id, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err, sql, srv_i(id)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        hash_text(h, (const char *)sqlite3_column_text(q, 0));
        hash_text(h, (const char *)sqlite3_column_text(q, 1));
    }
}

#define IMAGES_OF_SERIES                                                                                     \
    "SELECT sop_instance_uid, sha256 FROM instance WHERE series_id = ? AND superseded = 0"                   \
    " ORDER BY sop_instance_uid, sha256"
#define IMAGES_OF_JOB                                                                                        \
    "SELECT i.sop_instance_uid, i.sha256 FROM job_instance j JOIN instance i ON i.id = j.instance_id"        \
    " WHERE j.job_id = ? ORDER BY i.sop_instance_uid, i.sha256"

/* What a rule says that shapes a result, beside its model. */
static void hash_rule(msa_sha256 *h, const srv_rule *rule)
{
    hash_text(h, rule->default_label);
    hash_text(h, rule->labels);
    hash_text(h, strcmp(rule->regions, "mask") == 0 ? "mask" : "box");
}

/* What stands in for prompts where there are none. */
static void hash_unprompted(msa_sha256 *h, const srv_rule *rule, const srv_job_policy *policy)
{
    const srv_policy what = srv_rule_policy(rule);
    hash_text(h, srv_policy_name(what));
    if (what == SRV_POLICY_AUTO) hash_text(h, policy->automatic);
    if (what == SRV_POLICY_DEFAULT_BOX) hash_int(h, rule->box_percent);
}

/* Each prompt with the hash of the model, base and adapter, that it is for. */
static msa_status input_key(srv_store *s, const char *images, int64_t images_of, const bound_prompts *prompts,
                            const srv_model_info *model, const srv_job_policy *policy,
                            char key[MSA_SHA256_HEX], msa_error *err)
{
    msa_sha256 *h = msa_sha256_new();
    if (!h) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    hash_text(h, "msad input 3");
    const msa_status status = hash_instances(s, h, images, images_of, err);
    hash_text(h, "prompts");
    for (size_t k = 0; k < prompts->n; k++) {
        hash_text(h, prompts->items[k].hex);
        hash_text(h, prompts->models->models[prompts->items[k].rule->model].hash);
        hash_rule(h, prompts->items[k].rule);
    }
    if (asks_nothing(prompts)) hash_unprompted(h, prompts->rule, policy);
    hash_rule(h, prompts->rule);
    hash_text(h, "model");
    hash_text(h, model->hash);
    hash_text(h, policy->settings);
    msa_sha256_hex(h, key);
    msa_sha256_free(h);
    return status;
}

/* ---- binding ---- */

/* Is the newest job of the series, other than this one, the same work, and not failed? */
static msa_status is_known(srv_store *s, const srv_job *job, const char *key, bool *known, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT state, content_key FROM job INDEXED BY job_series WHERE series_id = ? AND id < "
                     "? AND state <> 8"
                     " ORDER BY id DESC LIMIT 1",
                     srv_i(job->series_id), srv_i(job->id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    *known = row && sqlite3_column_int(q, 0) != SRV_JOB_FAILED &&
             strcmp((const char *)sqlite3_column_text(q, 1), key) == 0;
    return MSA_OK;
}

/* A job that may have sent something, or will. */
#define MAY_HAVE_SENT "(state BETWEEN 2 AND 6 OR EXISTS (SELECT 1 FROM result r WHERE r.job_id = job.id))"

/*
 * The key that UIDs derive from. Where the same inputs come back after others (a box is moved, and moved
 * back), what the archive has newest is the result of the others: the old object sent again would be taken
 * for a repetition and change nothing there, so the result is a new object. A job that is merely done again
 * makes the same one.
 */
static msa_status key_of(srv_store *s, const srv_job *job, const char content[MSA_SHA256_HEX],
                         char key[MSA_SHA256_HEX], msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    int64_t before = 0;
    memcpy(key, content, MSA_SHA256_HEX);
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT input_key FROM job INDEXED BY job_series WHERE series_id = ?1 AND id < ?2"
                     " AND " MAY_HAVE_SENT " AND content_key = ?3 AND id = (SELECT max(id) FROM job"
                     " INDEXED BY job_series WHERE series_id = ?1 AND id < ?2 AND " MAY_HAVE_SENT ")",
                     srv_i(job->series_id), srv_i(job->id), srv_t(content)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (row) {
        srv_sql_text(q, 0, key, MSA_SHA256_HEX);
        return MSA_OK;
    }
    MSA_TRY(SRV_VALUE(s, &before, err,
                      "SELECT count(*) FROM job INDEXED BY job_series WHERE series_id = ? AND id < ?"
                      " AND content_key = ? AND " MAY_HAVE_SENT,
                      srv_i(job->series_id), srv_i(job->id), srv_t(content)));
    if (!before) return MSA_OK;
    msa_sha256 *h = msa_sha256_new();
    if (!h) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    hash_text(h, content);
    hash_int(h, before);
    msa_sha256_hex(h, key);
    msa_sha256_free(h);
    return MSA_OK;
}

/* By position, then UID: the order is a function of content, as the key is. */
static msa_status snapshot(srv_store *s, const srv_job *job, const bound_prompts *prompts, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO job_instance(job_id, ordinal, instance_id)"
                    " SELECT ?1, row_number() OVER (ORDER BY position_mm, sop_instance_uid), id"
                    " FROM instance WHERE series_id = ?2 AND superseded = 0",
                    srv_i(job->id), srv_i(job->series_id)));
    for (size_t k = 0; k < prompts->n; k++)
        MSA_TRY(SRV_RUN(s, NULL, err, "INSERT INTO job_prompt(job_id, ordinal, prompt_id) VALUES (?, ?, ?)",
                        srv_i(job->id), srv_i((int64_t)k + 1), srv_i(prompts->items[k].id)));
    return MSA_OK;
}

static msa_status queue_job(srv_store *s, const srv_job *job, const srv_model_info *model,
                            const srv_job_policy *policy, const char *content, int64_t now_ms, msa_error *err)
{
    char key[MSA_SHA256_HEX];
    MSA_TRY(key_of(s, job, content, key, err));
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE job INDEXED BY job_series SET state = 8, finished_ms = ?3, reason = '" SRV_REPLACED "'"
        " WHERE series_id = ?1 AND id < ?2 AND state = 2",
        srv_i(job->series_id), srv_i(job->id), srv_i(now_ms)));
    return SRV_RUN(
        s, NULL, err,
        "UPDATE job SET state = 2, queued_ms = ?2, run_at_ms = ?2, max_attempts = ?3, input_key = ?4,"
        " model_name = ?5, model_version = ?6, model_hash = ?7, untrained = ?8, content_key = ?9 WHERE id = "
        "?1",
        srv_i(job->id), srv_i(now_ms), srv_i(policy->max_attempts > 0 ? policy->max_attempts : 3), srv_t(key),
        srv_t(model->name), srv_t(model->version), srv_t(model->hash), srv_i(model->untrained != 0),
        srv_t(content));
}

/* Nobody prompted, and the rule does not do without. */
static msa_status wait_or_skip(srv_store *s, const srv_job *job, const srv_rule *rule, int64_t now_ms,
                               srv_job_state *state, msa_error *err)
{
    char title[64], reason[128];
    srv_rule_title(rule, title);
    if (srv_rule_policy(rule) == SRV_POLICY_WAIT) {
        *state = SRV_JOB_WAITING_PROMPT;
        return SRV_RUN(s, NULL, err, "UPDATE job SET state = 1 WHERE id = ?", srv_i(job->id));
    }
    *state = SRV_JOB_CANCELLED;
    (void)snprintf(reason, sizeof reason, "rule %s skips series that nobody annotated", title);
    return SRV_RUN(s, NULL, err, "UPDATE job SET state = 8, finished_ms = ?2, reason = ?3 WHERE id = ?1",
                   srv_i(job->id), srv_i(now_ms), srv_t(reason));
}

static msa_status put_rule(srv_store *s, int64_t job_id, const srv_rule *rule, msa_error *err)
{
    char title[64];
    srv_rule_title(rule, title);
    return SRV_RUN(s, NULL, err, "UPDATE job SET rule = ?2 WHERE id = ?1 AND rule <> ?2", srv_i(job_id),
                   srv_t(title));
}

static msa_status bind_body(srv_store *s, int64_t job_id, const srv_job_policy *policy, int64_t now_ms,
                            srv_job_state *state, msa_error *err)
{
    __attribute__((cleanup(bound_prompts_clear))) bound_prompts prompts = {0};
    srv_model_info model;
    char key[MSA_SHA256_HEX];
    int64_t open = 0, images = 0;
    bool known = false;
    srv_job job;
    MSA_TRY(srv_store_job_get_id(s, job_id, &job, err));
    MSA_TRY(SRV_VALUE(s, &open, err, "SELECT open FROM series WHERE id = ?", srv_i(job.series_id)));
    if (open || job.state > SRV_JOB_WAITING_PROMPT)
        return msa_fail(err, MSA_E_INVALID, "job %lld cannot be bound: it is %s and its series is %s",
                        (long long)job_id, srv_job_state_name(job.state), open ? "open" : "closed");
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE series SET attention = 0 WHERE id = ?", srv_i(job.series_id)));
    MSA_TRY(SRV_VALUE(s, &images, err, "SELECT count(*) FROM instance WHERE series_id = ? AND superseded = 0",
                      srv_i(job.series_id)));
    if (images == 0) {
        *state = SRV_JOB_CANCELLED;
        return SRV_RUN(
            s, NULL, err,
            "UPDATE job SET state = 8, finished_ms = ?2,"
            " reason = 'all images of the series were sent again as part of another series' WHERE id = ?1",
            srv_i(job_id), srv_i(now_ms));
    }
    MSA_TRY(srv_store_series_subject(s, job.series_id, &prompts.subject, err));
    choose_begin(&prompts, policy);
    MSA_TRY(srv_prompts_bind_slices(s, job.series_id, err));
    MSA_TRY(collect_prompts(s, job.series_id, &prompts, err));
    MSA_TRY(put_rule(s, job_id, prompts.rule, err));
    const srv_policy what = srv_rule_policy(prompts.rule);
    if (asks_nothing(&prompts) && (what == SRV_POLICY_WAIT || what == SRV_POLICY_SKIP))
        return wait_or_skip(s, &job, prompts.rule, now_ms, state, err);
    join_models(&prompts, &model);
    MSA_TRY(input_key(s, IMAGES_OF_SERIES, job.series_id, &prompts, &model, policy, key, err));
    MSA_TRY(is_known(s, &job, key, &known, err));
    if (known) {
        *state = SRV_JOB_CANCELLED;
        return SRV_RUN(s, NULL, err, "DELETE FROM job WHERE id = ?", srv_i(job_id));
    }
    *state = SRV_JOB_QUEUED;
    MSA_TRY(snapshot(s, &job, &prompts, err));
    return queue_job(s, &job, &model, policy, key, now_ms, err);
}

msa_status srv_store_job_bind(srv_store *s, int64_t job_id, const srv_job_policy *policy, int64_t now_ms,
                              srv_job_state *state, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, bind_body(s, job_id, policy, now_ms, state, err), err);
}

/* ---- binding again ---- */

/* The prompts that a job was bound to, in bound order. */
static msa_status collect_bound(srv_store *s, int64_t job_id, bound_prompts *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_PROMPT_COLUMNS
                     ", b.ordinal FROM job_prompt b JOIN prompt p ON p.id = b.prompt_id"
                     " WHERE b.job_id = ? ORDER BY b.ordinal",
                     srv_i(job_id)));
    for (;;) {
        srv_prompt prompt;
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        srv_prompt_read(q, &prompt);
        MSA_TRY(add_prompt(out, &prompt, sqlite3_column_int64(q, SRV_PROMPT_N_COLUMNS), err));
    }
}

/* It was queued by rules that did without an annotation, and those of today do not. */
static msa_status withdraw(srv_store *s, const srv_job *job, const srv_rule *rule, msa_error *err)
{
    char title[64], reason[128];
    srv_rule_title(rule, title);
    (void)snprintf(reason, sizeof reason,
                   "by rule %s series that nobody annotated are not segmented any more", title);
    MSA_TRY(put_rule(s, job->id, rule, err));
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE job SET state = 8, finished_ms = started_ms, lease_until_ms = 0, reason = ?2 WHERE id = ?1",
        srv_i(job->id), srv_t(reason)));
    return msa_fail(err, MSA_E_NOT_FOUND, "job %lld is withdrawn", (long long)job->id);
}

msa_status srv_store_job_rebind(srv_store *s, srv_job *job, const srv_job_policy *policy, msa_error *err)
{
    __attribute__((cleanup(bound_prompts_clear))) bound_prompts prompts = {0};
    srv_model_info model;
    char content[MSA_SHA256_HEX], key[MSA_SHA256_HEX];
    int64_t same = 0;
    MSA_TRY(srv_store_job_subject(s, job->id, &prompts.subject, err));
    choose_begin(&prompts, policy);
    MSA_TRY(collect_bound(s, job->id, &prompts, err));
    const srv_policy what = srv_rule_policy(prompts.rule);
    if (asks_nothing(&prompts) && (what == SRV_POLICY_WAIT || what == SRV_POLICY_SKIP))
        return withdraw(s, job, prompts.rule, err);
    join_models(&prompts, &model);
    MSA_TRY(input_key(s, IMAGES_OF_JOB, job->id, &prompts, &model, policy, content, err));
    MSA_TRY(SRV_VALUE(s, &same, err, "SELECT 1 FROM job WHERE id = ? AND content_key = ?", srv_i(job->id),
                      srv_t(content)));
    if (same) return MSA_OK;
    MSA_TRY(key_of(s, job, content, key, err));
    MSA_TRY(put_rule(s, job->id, prompts.rule, err));
    srv_rule_title(prompts.rule, job->rule);
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE job SET input_key = ?2, model_name = ?3, model_version = ?4, model_hash = ?5,"
                    " untrained = ?6, content_key = ?7 WHERE id = ?1",
                    srv_i(job->id), srv_t(key), srv_t(model.name), srv_t(model.version), srv_t(model.hash),
                    srv_i(model.untrained != 0), srv_t(content)));
    memcpy(job->input_key, key, sizeof key);
    memcpy(job->model_name, model.name, sizeof job->model_name);
    memcpy(job->model_version, model.version, sizeof job->model_version);
    memcpy(job->model_hash, model.hash, sizeof job->model_hash);
    job->untrained = model.untrained != 0;
    return MSA_OK;
}
