/* GET /v1/rules, and POST /v1/rules/test: which rule is for what, and why. What a series is called is taken
 * in and compared, but never answered: people write names there (invariant 8). */
#include "server/http/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "server/core/text.h"

typedef struct srv_rule_question {
    char job[40]; /* "": the subject below, and prompt where has_label */
    bool has_label;
    srv_rule_subject subject;
    dicom_prompt prompt;
} srv_rule_question;

/* ---- the list ---- */

static json_t *or_null(int32_t value)
{
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *any_or(const char *text)
{
    return srv_json_string(text[0] == '\0' ? "*" : text);
}

/* The names in `destinations`, or "*", as they stand. */
static json_t *destinations_of(const srv_rule *r)
{
    json_t *list = json_array();
    char text[sizeof r->destinations], *rest = text;
    (void)snprintf(text, sizeof text, "%s", r->destinations[0] == '\0' ? "*" : r->destinations);
    if (strcmp(text, "none") == 0) return list;
    for (char *name = NULL; (name = strsep(&rest, ",")) != NULL;) {
        name += strspn(name, " ");
        name[strcspn(name, " ")] = '\0';
        (void)json_array_append_new(list, srv_json_string(name));
    }
    return list;
}

static json_t *rule_json(const srv_model_table *t, const srv_rule *r)
{
    const srv_policy policy = srv_rule_policy(r);
    json_t *json = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "number", r->number,
                             "name", srv_json_text(r->name), "modality", any_or(r->modality), "body_part",
                             any_or(r->body_part), "label", any_or(r->label), "study", any_or(r->study),
                             "series", any_or(r->series), "protocol", any_or(r->protocol), "sender",
                             any_or(r->sender), "orientation", any_or(r->orientation));
    json_t *says = json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:o}", "slices_min",
        or_null(r->slices_min), "slices_max", or_null(r->slices_max), "spacing_max_mm",
        r->spacing_max_mm > 0 ? json_real(r->spacing_max_mm) : json_null(), "prompts",
        srv_policy_name(policy), "box_percent",
        policy == SRV_POLICY_DEFAULT_BOX ? json_integer(r->box_percent) : json_null(), "regions",
        strcmp(r->regions, "mask") == 0 ? "mask" : "box", "default_label", srv_json_text(r->default_label),
        "labels", srv_json_text(r->labels), "settle_ms", or_null(r->settle_ms), "quiet_ms",
        or_null(r->quiet_ms), "contours", strcmp(r->contours, "rtstruct") == 0 ? "rtstruct" : "none",
        "pictures", strcmp(r->pictures, "capture") == 0 ? "capture" : "none", "destinations",
        destinations_of(r));
    const srv_model_info *m = r->model >= 0 ? &t->models[r->model] : NULL;
    json_t *model = json_pack("{s:o, s:o, s:o}", "adapter", srv_json_text(r->adapter), "model",
                              m != NULL ? srv_json_string(m->name) : json_null(), "hash",
                              m != NULL ? srv_json_text(m->hash) : json_null());
    (void)json_object_update(json, says);
    (void)json_object_update(json, model);
    json_decref(says);
    json_decref(model);
    return json;
}

json_t *srv_rules_view(const srv_model_table *t)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < t->n_rules; i++)
        (void)json_array_append_new(list, rule_json(t, &t->rules[i]));
    return list;
}

void srv_get_rules(srv_request *req)
{
    srv_reply_json(&req->reply, MHD_HTTP_OK, json_pack("{s:o}", "rules", srv_rules_view(req->models)));
}

/* ---- the question ---- */

typedef struct member {
    const char *name;
    size_t offset, size; /* a text of the subject; size 0: something else */
} member;

#define TEXT_MEMBER(key, field)                                                                              \
    {                                                                                                        \
        key, offsetof(srv_rule_subject, field), sizeof(((srv_rule_subject *)NULL)->field)                    \
    }
static const member members[] = {
    TEXT_MEMBER("modality", modality),
    TEXT_MEMBER("body_part", body_part),
    TEXT_MEMBER("study", study),
    TEXT_MEMBER("series", series),
    TEXT_MEMBER("protocol", protocol),
    TEXT_MEMBER("sender", sender),
    TEXT_MEMBER("orientation", orientation),
    {"job", 0, 0},
    {"label", 0, 0},
    {"slices", 0, 0},
    {"spacing_mm", 0, 0},
};
enum { N_MEMBERS = sizeof members / sizeof *members };

static msa_status take_text(const json_t *value, const char *name, char *out, size_t size, msa_error *err)
{
    const char *text = json_string_value(value);
    const size_t n = json_string_length(value);
    if (text == NULL || n == 0 || n >= size || !srv_text_is_printable(text, n, NULL))
        return msa_fail(err, MSA_E_PARSE, "%s is not a text of 1 to %zu bytes without control characters",
                        name, size - 1);
    memcpy(out, text, n);
    out[n] = '\0';
    return MSA_OK;
}

static msa_status take_member(srv_rule_question *q, const char *key, const json_t *value, msa_error *err)
{
    for (size_t i = 0; i < N_MEMBERS; i++)
        if (members[i].size > 0 && strcmp(members[i].name, key) == 0)
            return take_text(value, key, (char *)&q->subject + members[i].offset, members[i].size, err);
    if (strcmp(key, "job") == 0) return take_text(value, key, q->job, sizeof q->job, err);
    if (strcmp(key, "label") == 0) {
        q->has_label = true;
        return take_text(value, key, q->prompt.label, sizeof q->prompt.label, err);
    }
    if (strcmp(key, "slices") == 0) {
        const json_int_t n = json_integer_value(value);
        if (!json_is_integer(value) || n < 0 || n > 1000000)
            return msa_fail(err, MSA_E_PARSE, "slices is not a whole number in 0..1000000");
        q->subject.slices = (int32_t)n;
        return MSA_OK;
    }
    if (strcmp(key, "spacing_mm") == 0) {
        q->subject.spacing_mm = json_number_value(value);
        if (!json_is_number(value) || !(q->subject.spacing_mm >= 0) || q->subject.spacing_mm > 1000)
            return msa_fail(err, MSA_E_PARSE, "spacing_mm is not a number in 0..1000");
        return MSA_OK;
    }
    const char *nearest = members[0].name;
    for (size_t i = 1; i < N_MEMBERS; i++)
        if (srv_text_distance(key, members[i].name) < srv_text_distance(key, nearest))
            nearest = members[i].name;
    return msa_fail(err, MSA_E_PARSE, "%.40s is not a known member; did you mean %s?",
                    srv_text_is_printable(key, strlen(key), NULL) ? key : "(a name with control characters)",
                    nearest);
}

static msa_status read_question(srv_rule_question *q, const json_t *body, msa_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(body)) return msa_fail(err, MSA_E_PARSE, "the body is not a JSON object");
    json_object_foreach((json_t *)body, key, value) MSA_TRY(take_member(q, key, value, err));
    if (q->job[0] != '\0' && json_object_size(body) > 1)
        return msa_fail(err, MSA_E_PARSE, "beside job there is nothing to say: the job's series is known");
    return MSA_OK;
}

/* ---- the answer ---- */

static json_t *title_json(const srv_rule *r)
{
    char title[64];
    srv_rule_title(r, title);
    return srv_json_string(title);
}

static json_t *verdict_json(const srv_model_table *t, const srv_rule_subject *subject,
                            const dicom_prompt *prompt)
{
    const srv_rule *fired = srv_model_rule_for(t, subject, prompt);
    char why[SRV_RULE_TEXT_MAX];
    json_t *passed = json_array();
    for (const srv_rule *r = t->rules; r < fired; r++) {
        if (srv_rule_fits(r, subject, prompt, why)) continue; /* never: the first that fits has fired */
        (void)json_array_append_new(passed, json_pack("{s:o, s:i, s:o}", "rule", title_json(r), "number",
                                                      r->number, "why", srv_json_string(why)));
    }
    srv_rule_describe(fired, why);
    return json_pack("{s:o, s:i, s:o, s:o, s:o}", "rule", title_json(fired), "number", fired->number, "why",
                     srv_json_string(why), "model", srv_json_text(t->models[fired->model].name), "passed",
                     passed);
}

static void add_label(json_t *labels, const srv_model_table *t, const srv_rule_subject *subject,
                      const dicom_prompt *prompt)
{
    (void)json_array_append_new(labels, json_pack("{s:o, s:o}", "label", srv_json_string(prompt->label),
                                                  "verdict", verdict_json(t, subject, prompt)));
}

/* Takes `labels`. */
static void answer(srv_reply *out, const srv_model_table *t, const srv_rule_subject *s, json_t *labels)
{
    const srv_rule *rule = srv_model_rule_for(t, s, NULL);
    json_t *subject =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "modality", srv_json_text(s->modality), "body_part",
                  srv_json_text(s->body_part), "orientation", srv_json_text(s->orientation), "sender",
                  srv_json_text(s->sender), "slices", or_null(s->slices), "spacing_mm",
                  s->spacing_mm > 0 && isfinite(s->spacing_mm) ? json_real(s->spacing_mm) : json_null());
    srv_reply_json(out, MHD_HTTP_OK,
                   json_pack("{s:o, s:o, s:s, s:o, s:o}", "subject", subject, "verdict",
                             verdict_json(t, s, NULL), "prompts", srv_policy_name(srv_rule_policy(rule)),
                             "destinations", destinations_of(rule), "labels", labels));
}

/* What an image's header says, which came from a role: every text is ended here. */
static void subject_of(const dicom_header *h, srv_rule_subject *s)
{
#define TAKE(to, from) (void)snprintf((to), sizeof(to), "%.*s", (int)sizeof(from) - 1, (from))
    TAKE(s->modality, h->modality);
    TAKE(s->body_part, h->body_part);
    TAKE(s->study, h->study_description);
    TAKE(s->series, h->series_description);
    TAKE(s->protocol, h->protocol);
#undef TAKE
    if (h->has_plane)
        (void)snprintf(s->orientation, sizeof s->orientation, "%s",
                       srv_orientation_of(h->row_dir, h->col_dir));
    s->slices = h->frames > 1 ? h->frames : h->expected_instances;
    s->spacing_mm = isfinite(h->slice_mm) ? h->slice_mm : 0;
}

static void looked(void *ctx, const dicom_header *header, const msa_error *err)
{
    srv_request *req = ctx;
    srv_rule_subject subject = {0};
    srv_blob_writer_free(req->upload);
    req->upload = NULL;
    if (req->connection != NULL && req->reply.status == 0) {
        if (header == NULL) {
            srv_reply_error(&req->reply, err);
        } else {
            subject_of(header, &subject);
            answer(&req->reply, req->models, &subject, json_array());
        }
    }
    srv_request_unhold(req);
}

/* A DICOM file: core parses none, so its header is read elsewhere. The file goes with the request. */
static void look_at(srv_request *req)
{
    const srv_http_env *env = &req->http->env;
    char path[SRV_PATH_MAX];
    msa_error err = MSA_ERROR_INIT;
    if (req->upload == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "the body is empty; it must be a DICOM file");
        return;
    }
    msa_status status = srv_blob_writer_path(req->upload, path, sizeof path, &err);
    if (status == MSA_OK && env->look == NULL)
        status = msa_fail(&err, MSA_E_BUSY, "headers cannot be read now");
    if (status == MSA_OK) {
        srv_request_hold(req);
        status = env->look(env->ctx, path, looked, req, &err);
        if (status != MSA_OK) srv_request_unhold(req);
    }
    if (status != MSA_OK) srv_reply_error(&req->reply, &err);
}

void srv_post_rules_test_check(srv_request *req)
{
    msa_error err = MSA_ERROR_INIT;
    if (req->is_upload) {
        look_at(req);
        return;
    }
    req->question = calloc(1, sizeof *req->question);
    if (req->question == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        return;
    }
    json_t *body =
        json_loadb(req->body == NULL ? "" : req->body, req->body_size, JSON_REJECT_DUPLICATES, NULL);
    if (body == NULL)
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST,
                          "the body is not JSON, or a member is there twice");
    else if (read_question(req->question, body, &err) != MSA_OK)
        srv_reply_error(&req->reply, &err);
    json_decref(body);
    const srv_rule_question *q = req->question;
    if (req->reply.status != 0 || q->job[0] != '\0') return; /* the catalogue knows the job's series */
    json_t *labels = json_array();
    if (q->has_label) add_label(labels, req->models, &q->subject, &q->prompt);
    answer(&req->reply, req->models, &q->subject, labels);
}

typedef struct labels_seen {
    json_t *labels;
    const srv_model_table *models;
    const srv_rule_subject *subject;
} labels_seen;

/* Each label once, and each finding of it. */
static void each_prompt(void *ctx, const srv_prompt *p)
{
    labels_seen *seen = ctx;
    const srv_rule *rule = srv_model_rule_for(seen->models, seen->subject, &p->prompt);
    size_t i;
    json_t *one;
    json_array_foreach(seen->labels, i, one)
    {
        const json_t *number = json_object_get(json_object_get(one, "verdict"), "number");
        if (strcmp(json_string_value(json_object_get(one, "label")), p->prompt.label) == 0 &&
            json_integer_value(number) == rule->number)
            return;
    }
    if (json_array_size(seen->labels) < 256) add_label(seen->labels, seen->models, seen->subject, &p->prompt);
}

SRV_IN_STORE(srv_post_rules_test)
{
    srv_job job;
    srv_rule_subject subject;
    MSA_TRY(srv_store_job_get(store, req->question->job, &job, err));
    MSA_TRY(srv_store_job_subject(store, job.id, &subject, err));
    labels_seen seen = {json_array(), req->models, &subject};
    const msa_status status =
        job.prompts > 0 ? srv_store_job_prompts(store, job.id, each_prompt, &seen, err)
                        : srv_store_prompts(store, job.series_uid, false, 0, 4096, each_prompt, &seen, err);
    if (status != MSA_OK) {
        json_decref(seen.labels);
        return status;
    }
    answer(out, req->models, &subject, seen.labels);
    return MSA_OK;
}
