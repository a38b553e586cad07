/**
 * Long-poll: GET /v1/jobs/{id}?wait=. All who wait for one job share one watch, and one reading of the
 * catalogue per change answers them all.
 */
#include <stdlib.h>
#include <string.h>

#include "server/http/internal.h"

/* Core tells of changes; should one ever be missed, the job is looked at this often. */
#define LOOK_AGAIN_MS 2000

struct srv_watch {
    srv_task task;  /* first */
    srv_http *http; /* NULL once the server has stopped */
    srv_watch *next;
    srv_request *waiters;
    bool in_flight, dirty;
    uint64_t looked_ms;
    char public_id[SRV_PARAM_TEXT_MAX];
    /* the store thread's, while in flight */
    bool final;
    char *body;
    size_t body_size;
};

static void watch_free(srv_watch *w)
{
    if (w->http != NULL) {
        srv_watch **at = &w->http->watches;
        while (*at != w)
            at = &(*at)->next;
        *at = w->next;
    }
    free(w->body);
    free(w);
}

static msa_status look(srv_task *task, srv_store *store, msa_error *err)
{
    srv_watch *w = (srv_watch *)task;
    srv_job job;
    json_t *json = NULL;
    MSA_TRY(srv_store_job_get(store, w->public_id, &job, err));
    w->final = srv_job_state_is_final(job.state);
    if (!w->final) return MSA_OK;
    MSA_TRY(srv_job_view(store, &job, &json, err));
    free(w->body);
    w->body = srv_json_dump(json, &w->body_size);
    json_decref(json);
    return w->body == NULL ? msa_fail(err, MSA_E_NOMEM, "out of memory") : MSA_OK;
}

static void answer_all(srv_watch *w, const srv_task *task)
{
    while (w->waiters != NULL) {
        srv_request *req = w->waiters;
        char *copy = task->status != MSA_OK ? NULL : malloc(w->body_size);
        srv_watch_remove(req);
        if (task->status != MSA_OK) {
            srv_reply_error(&req->reply, &task->err);
        } else if (copy == NULL) {
            srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        } else {
            memcpy(copy, w->body, w->body_size);
            srv_reply_body(&req->reply, MHD_HTTP_OK, SRV_MEDIA_JSON, copy, w->body_size);
        }
        srv_request_resume(req);
    }
}

static void start_looking(srv_watch *w);

static void looked(srv_task *task)
{
    srv_watch *w = (srv_watch *)task;
    if (task->status != MSA_OK) task->err.status = task->status;
    /* Still in flight for srv_watch_remove: the last waiter must not free the watch that is being used here.
     */
    if (w->http != NULL && (task->status != MSA_OK || w->final)) answer_all(w, task);
    w->in_flight = false;
    if (w->http == NULL || w->waiters == NULL)
        watch_free(w);
    else if (w->dirty)
        start_looking(w);
}

/* A full store queue is no harm: the tick comes back to it. */
static void start_looking(srv_watch *w)
{
    w->looked_ms = uv_now(w->http->env.loop);
    w->dirty = w->in_flight;
    if (w->in_flight) return;
    memset(&w->task, 0, sizeof w->task);
    w->task.run = look;
    w->task.done = looked;
    w->in_flight = srv_store_thread_submit(w->http->env.store, &w->task, NULL) == MSA_OK;
    w->dirty = !w->in_flight;
}

static srv_watch *find(srv_http *h, const char *public_id)
{
    srv_watch *w = h->watches;
    while (w != NULL && strcmp(w->public_id, public_id) != 0)
        w = w->next;
    return w;
}

void srv_watch_add(srv_request *req, const char *public_id, uint64_t until_ms)
{
    srv_http *h = req->http;
    if (h->waiters >= SRV_HTTP_WAITERS_MAX) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "%d requests wait already; ask without wait, or later", SRV_HTTP_WAITERS_MAX);
        return;
    }
    srv_watch *w = find(h, public_id);
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        if (w == NULL) {
            srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
            return;
        }
        (void)snprintf(w->public_id, sizeof w->public_id, "%s", public_id);
        w->http = h;
        w->next = h->watches;
        h->watches = w;
    }
    req->watch = w;
    req->wait_until_ms = until_ms;
    req->next_waiter = w->waiters;
    w->waiters = req;
    h->waiters++;
    start_looking(w);
}

void srv_watch_remove(srv_request *req)
{
    srv_watch *w = req->watch;
    if (w == NULL) return;
    srv_request **at = &w->waiters;
    while (*at != req)
        at = &(*at)->next_waiter;
    *at = req->next_waiter;
    req->watch = NULL;
    req->next_waiter = NULL;
    if (w->http != NULL) w->http->waiters--;
    if (w->waiters == NULL && !w->in_flight) watch_free(w);
}

void srv_watch_tick(srv_http *h, uint64_t now)
{
    for (srv_watch *w = h->watches, *next_watch = NULL; w != NULL; w = next_watch) {
        next_watch = w->next;
        srv_request *next = NULL;
        bool left = false;
        for (srv_request *req = w->waiters; req != NULL; req = next) {
            next = req->next_waiter;
            if (now < req->wait_until_ms) {
                left = true;
                continue;
            }
            srv_watch_remove(req);   /* frees the watch with its last waiter */
            srv_request_submit(req); /* the job as it is now */
        }
        if (left && (w->dirty || now >= w->looked_ms + LOOK_AGAIN_MS)) start_looking(w);
    }
}

void srv_watch_abandon(srv_http *h)
{
    for (srv_watch *w = h->watches, *next = NULL; w != NULL; w = next) {
        next = w->next;
        w->http = NULL;
        if (!w->in_flight) watch_free(w);
    }
    h->watches = NULL;
}

void srv_http_job_changed(srv_http *h, const char *public_id)
{
    srv_watch *w = h == NULL ? NULL : find(h, public_id);
    if (w != NULL) start_looking(w);
    if (h != NULL) srv_hub_look(h->hub);
}
