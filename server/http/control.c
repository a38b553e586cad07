/* Cancel, retry and priority of a job. */
#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"

/* If-Match: only when the job is still as the client saw it. *fine false: the reply says that it is not. */
static msa_status as_seen(const srv_request *req, srv_store *store, srv_reply *out, bool *fine,
                          msa_error *err)
{
    srv_job job;
    json_t *json = NULL;
    char etag[MSA_SHA256_HEX];
    size_t size = 0;
    *fine = true;
    if (req->if_match[0] == '\0' || strcmp(req->if_match, "*") == 0) return MSA_OK;
    MSA_TRY(srv_store_job_get(store, srv_param_of(req, "id")->text, &job, err));
    MSA_TRY(srv_job_view(store, &job, &json, err));
    MSA_AUTO_FREE char *text = srv_json_dump(json, &size);
    json_decref(json);
    if (text == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    msa_sha256_bytes(text, size, NULL, etag);
    *fine = strstr(req->if_match, etag) != NULL;
    if (!*fine)
        srv_reply_problem(out, MHD_HTTP_PRECONDITION_FAILED,
                          "the job is not as If-Match says: it is %s now; read it again",
                          srv_job_state_name(job.state));
    return MSA_OK;
}

/* The job as it is now. */
static msa_status answer(srv_request *req, srv_reply *out, srv_store *store, msa_error *err)
{
    req->changed = true;
    return srv_get_job(req, out, store, err);
}

SRV_IN_STORE(srv_post_job_cancel)
{
    bool fine = false;
    MSA_TRY(as_seen(req, store, out, &fine, err));
    if (!fine) return MSA_OK;
    MSA_TRY(srv_store_job_cancel(store, srv_param_of(req, "id")->text, srv_now_ms(), err));
    return answer(req, out, store, err);
}

SRV_IN_STORE(srv_post_job_retry)
{
    bool fine = false;
    MSA_TRY(as_seen(req, store, out, &fine, err));
    if (!fine) return MSA_OK;
    MSA_TRY(srv_store_job_retry(store, srv_param_of(req, "id")->text, srv_now_ms(), err));
    return answer(req, out, store, err);
}

void srv_post_job_priority_check(srv_request *req)
{
    json_t *body =
        json_loadb(req->body == NULL ? "" : req->body, req->body_size, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(body, "priority"));
    int32_t priority = SRV_PRIORITY_BACKGROUND;
    while (name != NULL && priority <= SRV_PRIORITY_URGENT &&
           strcmp(name, srv_priority_name((srv_priority)priority)) != 0)
        priority++;
    if (name == NULL || json_object_size(body) != 1 || priority > SRV_PRIORITY_URGENT)
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST,
                          "the body is not {\"priority\": P} with P urgent, normal or background");
    req->told = priority;
    json_decref(body);
}

SRV_IN_STORE(srv_post_job_priority)
{
    bool fine = false;
    MSA_TRY(as_seen(req, store, out, &fine, err));
    if (!fine) return MSA_OK;
    MSA_TRY(srv_store_job_prioritise(store, srv_param_of(req, "id")->text, (srv_priority)req->told, err));
    return answer(req, out, store, err);
}

/* On the loop, once it is committed: who waits for the job hears of it, and whoever runs it lets go. */
void srv_job_changed_by_hand(srv_request *req)
{
    const char *id = srv_param_of(req, "id")->text;
    if (!req->changed) return;
    if (req->route->in_store == srv_post_job_cancel && req->http->env.job_cancelled != NULL)
        req->http->env.job_cancelled(req->http->env.ctx, id);
    srv_http_job_changed(req->http, id);
    srv_annotations_changed(req);
}
