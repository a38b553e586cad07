#include "server/http/internal.h"

static json_t *series_json(const srv_series *s)
{
    const int32_t expected = s->told > 0 ? s->told : s->expected;
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:s, s:o, s:b, s:o, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o}",
        "series_instance_uid", s->series_uid, "study_instance_uid", srv_json_text(s->study_uid), "modality",
        srv_json_text(s->modality), "body_part", srv_json_text(s->body_part), "state",
        s->open ? "open" : "closed", "closed_by", srv_json_text(s->open ? "" : s->closed_by), "held", s->held,
        "sender", srv_json_text(s->sender), "instances", (json_int_t)s->instances, "slices",
        (json_int_t)s->slices, "expected_instances", expected > 0 ? json_integer(expected) : json_null(),
        "source_instances", s->found > 0 ? json_integer(s->found) : json_null(), "prompts",
        (json_int_t)s->prompts, "first_received_at", srv_json_time(s->first_ms), "last_received_at",
        srv_json_time(s->last_ms), "closed_at", srv_json_time(s->open ? 0 : s->closed_ms));
}

static void add_row(void *ctx, const srv_series *s)
{
    srv_page *page = ctx;
    if (srv_page_takes(page, s->id)) (void)json_array_append_new(page->list, series_json(s));
}

SRV_IN_STORE(srv_get_series_list)
{
    srv_page page = srv_page_of(req);
    const msa_status status = srv_store_series_list(store, srv_param_of(req, "cursor")->number,
                                                    page.limit + 1, add_row, &page, err);
    return srv_page_answer(&page, status, out, "series");
}

static void count_rejected(void *ctx, const srv_instance *instance)
{
    *(int64_t *)ctx += instance->state == SRV_INSTANCE_REJECTED;
}

static void add_job(void *ctx, const srv_job *job)
{
    char href[64];
    (void)snprintf(href, sizeof href, "/v1/jobs/%s", job->public_id);
    (void)json_array_append_new(ctx, json_pack("{s:s, s:s, s:o, s:s}", "id", job->public_id, "state",
                                               srv_job_state_name(job->state), "created_at",
                                               srv_json_time(job->created_ms), "href", href));
}

SRV_IN_STORE(srv_get_series)
{
    srv_series s;
    int64_t rejected = 0;
    MSA_TRY(srv_store_series_get(store, srv_param_of(req, "uid")->text, &s, err));
    MSA_TRY(srv_store_series_instances(store, s.id, count_rejected, &rejected, err));
    json_t *json = series_json(&s), *jobs = json_array();
    (void)json_object_set_new(json, "rejected", json_integer(rejected));
    (void)json_object_set(json, "jobs", jobs);
    const msa_status status = srv_store_jobs(store, -1, s.series_uid, 0, 100, add_job, jobs, err);
    json_decref(jobs);
    if (status == MSA_OK)
        srv_reply_json(out, MHD_HTTP_OK, json);
    else
        json_decref(json);
    return status;
}

/* ---- what arrived, and what was refused ---- */

static void add_association(void *ctx, const srv_association *a)
{
    srv_page *page = ctx;
    if (!srv_page_takes(page, a->id)) return;
    (void)json_array_append_new(
        page->list,
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "calling_ae", srv_json_text(a->calling_ae),
                  "called_ae", srv_json_text(a->called_ae), "peer", srv_json_text(a->peer), "opened_at",
                  srv_json_time(a->opened_ms), "closed_at", srv_json_time(a->closed_ms), "ended",
                  srv_json_text(a->ended), "sender", srv_json_text(a->sender), "tls", srv_json_text(a->tls),
                  "instances", (json_int_t)a->instances));
}

static void add_refusal(void *ctx, const srv_refusal *r)
{
    (void)json_array_append_new(ctx, json_pack("{s:o, s:I, s:o, s:o, s:o, s:o}", "at",
                                               srv_json_time(r->at_ms), "count", (json_int_t)r->count,
                                               "calling_ae", srv_json_text(r->calling_ae), "peer",
                                               srv_json_text(r->peer), "what", srv_json_text(r->what),
                                               "reason", srv_json_text(r->reason)));
}

/* Refusals go with the first page: there are never more than one may ask for. */
SRV_IN_STORE(srv_get_associations)
{
    srv_page page = srv_page_of(req);
    const int64_t before = srv_param_of(req, "cursor")->number;
    json_t *refusals = json_array();
    msa_status status = srv_store_associations(store, before, page.limit + 1, add_association, &page, err);
    if (status == MSA_OK && before == 0)
        status = srv_store_refusals(store, page.limit, add_refusal, refusals, err);
    json_t *json = json_pack("{s:o, s:o, s:o}", "associations", page.list, "refusals", refusals,
                             "next_cursor", srv_page_cursor(&page));
    if (status == MSA_OK)
        srv_reply_json(out, MHD_HTTP_OK, json);
    else
        json_decref(json);
    return status;
}

/* ---- what a person says ---- */

/* The series as it is now. */
static msa_status answer(srv_request *req, srv_reply *out, srv_store *store, msa_error *err)
{
    srv_series s;
    MSA_TRY(srv_store_series_get(store, srv_param_of(req, "uid")->text, &s, err));
    srv_reply_json(out, MHD_HTTP_OK, series_json(&s));
    req->changed = true;
    return MSA_OK;
}

SRV_IN_STORE(srv_post_series_hold)
{
    MSA_TRY(srv_store_series_hold(store, srv_param_of(req, "uid")->text, true, err));
    return answer(req, out, store, err);
}

SRV_IN_STORE(srv_post_series_release)
{
    MSA_TRY(srv_store_series_hold(store, srv_param_of(req, "uid")->text, false, err));
    return answer(req, out, store, err);
}

SRV_IN_STORE(srv_post_series_complete)
{
    MSA_TRY(srv_store_series_complete(store, srv_param_of(req, "uid")->text, err));
    return answer(req, out, store, err);
}

void srv_post_series_expected_check(srv_request *req)
{
    json_t *body =
        json_loadb(req->body == NULL ? "" : req->body, req->body_size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *value = json_object_get(body, "instances");
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || json_object_size(body) != 1 || n < 0 || n > 1000000)
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST,
                          "the body is not {\"instances\": N} with a whole number N in 0..1000000");
    req->told = (int32_t)n;
    json_decref(body);
}

SRV_IN_STORE(srv_post_series_expected)
{
    MSA_TRY(srv_store_series_tell(store, srv_param_of(req, "uid")->text, req->told, err));
    return answer(req, out, store, err);
}
