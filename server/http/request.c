/* From the first header to the last byte of one request: libmicrohttpd's callbacks and the way to the store
 * and back. */
#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "engine/base/log.h"

static srv_conn *conn_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static const char *header(const srv_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, name);
}

/* ---- life ---- */

static srv_request *request_new(srv_http *h, struct MHD_Connection *connection)
{
    srv_request *req = calloc(1, sizeof *req);
    if (req == NULL) return NULL;
    req->http = h;
    req->blobs = h->env.blobs;
    req->models = h->env.models;
    req->connection = connection;
    req->refs = 1;
    req->started_ms = uv_now(h->env.loop);
    req->deadline_ms = req->started_ms + (uint64_t)h->env.receive_ms;
    srv_reply_init(&req->reply);
    srv_reply_init(&req->made);
    req->next = h->requests;
    if (req->next != NULL) req->next->prev = req;
    h->requests = req;
    return req;
}

static void request_unlink(srv_request *req)
{
    if (req->http == NULL) return;
    if (req->prev != NULL)
        req->prev->next = req->next;
    else
        req->http->requests = req->next;
    if (req->next != NULL) req->next->prev = req->prev;
    req->http = NULL;
}

static void request_unref(srv_request *req)
{
    if (--req->refs > 0) return;
    request_unlink(req);
    srv_reply_free(&req->reply);
    srv_reply_free(&req->made);
    srv_blob_writer_free(req->upload);
    free(req->body);
    free(req->prompts);
    free(req->question);
    free(req);
}

/* ---- the head ---- */

/**
 * A page on the web can make a browser send requests here by a name that it resolves to 127.0.0.1 (DNS
 * rebinding). The Host header then still carries that name: only names that are this machine's own are
 * answered.
 */
static bool host_is_ours(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) != 0) continue;
        if (host[n] == '\0') return true;
        const size_t digits = host[n] == ':' ? strspn(host + n + 1, "0123456789") : 0;
        return digits >= 1 && digits <= 5 && host[n + 1 + digits] == '\0';
    }
    return false;
}

static bool check_host(srv_request *req, const char *version)
{
    const char *host = header(req, MHD_HTTP_HEADER_HOST);
    if (host == NULL && strcmp(version, MHD_HTTP_VERSION_1_0) == 0) return true; /* no browser speaks this */
    if (host == NULL)
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "the Host header is missing");
    else if (srv_auth_is_for_all(req->http) &&
             !host_is_ours(host)) /* a browser has no token of ours to send */
        srv_reply_problem(&req->reply, MHD_HTTP_MISDIRECTED_REQUEST,
                          "the Host header names another machine; use 127.0.0.1, localhost or [::1]");
    return req->reply.status == 0;
}

/* Declared size of the body: 0 when there is none, UINT64_MAX when it will only be known at its end. */
static uint64_t declared_size(const srv_request *req)
{
    const char *length = header(req, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (header(req, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL) return UINT64_MAX;
    return length == NULL ? 0 : strtoull(length, NULL, 10);
}

static bool is_media(const char *given, const char *wanted)
{
    const size_t n = strlen(wanted);
    return given != NULL && strncasecmp(given, wanted, n) == 0 &&
           (given[n] == '\0' || given[n] == ';' || given[n] == ' ');
}

static void check_media(srv_request *req)
{
    const char *media = header(req, MHD_HTTP_HEADER_CONTENT_TYPE);
    const char *coding = header(req, MHD_HTTP_HEADER_CONTENT_ENCODING);
    const bool uploads = srv_route_uploads(req->route);
    req->is_upload = uploads && is_media(media, SRV_MEDIA_DICOM);
    if (!req->is_upload && !is_media(media, SRV_MEDIA_JSON))
        srv_reply_problem(&req->reply, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                          "the Content-Type of the body must be " SRV_MEDIA_JSON "%s",
                          uploads ? " or " SRV_MEDIA_DICOM : "");
    else if (coding != NULL && strcasecmp(coding, "identity") != 0)
        srv_reply_problem(&req->reply, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                          "a body with a Content-Encoding is not read; send it plain");
}

static size_t body_max(const srv_request *req)
{
    return req->is_upload ? (size_t)req->http->env.config->dicom_object_max_mib << 20 : SRV_HTTP_BODY_MAX;
}

static void too_large(srv_request *req)
{
    srv_reply_problem(&req->reply, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than %zu MiB",
                      body_max(req) >> 20);
}

/* All that can be said before the body has come; a refusal is left in the reply. */
static void check_head(srv_request *req, const char *url, const char *method, const char *version)
{
    const uint64_t size = declared_size(req);
    const char *match = header(req, MHD_HTTP_HEADER_IF_NONE_MATCH);
    const char *only = header(req, MHD_HTTP_HEADER_IF_MATCH);
    if (match != NULL) (void)snprintf(req->if_none_match, sizeof req->if_none_match, "%s", match);
    if (only != NULL) (void)snprintf(req->if_match, sizeof req->if_match, "%s", only);
    if (!check_host(req, version)) return;
    srv_auth_identify(req);
    if (req->token != NULL) {
        memcpy(req->token_sha256, req->token->sha256, sizeof req->token_sha256);
        memcpy(req->token_name, req->token->name, sizeof req->token_name);
    }
    req->route = srv_route_find(req, method, url);
    srv_auth_check(req, req->route);
    req->token = NULL;
    if (req->reply.status != 0 || !srv_route_params(req)) return;
    if (!srv_repeat_read_key(req)) return;
    if (req->route->body_schema != NULL) check_media(req);
    if (req->reply.status == 0 && size != UINT64_MAX && size > body_max(req)) too_large(req);
}

/* ---- the answer ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0') (void)MHD_add_response_header(response, name, value);
}

static struct MHD_Response *response_of(srv_reply *r)
{
    struct MHD_Response *response = NULL;
    if (r->stream != NULL) {
        response = srv_stream_response(r->stream);
        r->stream = NULL;
    } else if (r->fd >= 0) {
        response = MHD_create_response_from_fd64(r->size, r->fd);
        if (response != NULL) r->fd = -1;
    } else {
        response =
            MHD_create_response_from_buffer(r->body == NULL ? 0 : r->size, r->body, MHD_RESPMEM_MUST_FREE);
        if (response != NULL) r->body = NULL;
    }
    if (response == NULL) return NULL;
    char etag[MSA_SHA256_HEX + 2] = "";
    if (r->etag[0] != '\0') (void)snprintf(etag, sizeof etag, "\"%s\"", r->etag);
    if (r->status != MHD_HTTP_NO_CONTENT && r->status != MHD_HTTP_NOT_MODIFIED)
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->media);
    add_header(response, MHD_HTTP_HEADER_ETAG, etag);
    add_header(response, MHD_HTTP_HEADER_LOCATION, r->location);
    add_header(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, r->disposition);
    add_header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
    add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, r->challenge);
    if (r->status == MHD_HTTP_SERVICE_UNAVAILABLE || r->status == MHD_HTTP_TOO_MANY_REQUESTS)
        add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "2");
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Content-Security-Policy",
               r->policy != NULL ? r->policy : "default-src 'none'; frame-ancestors 'none'");
    add_header(response, "Referrer-Policy", "no-referrer");
    return response;
}

/* Of what is made for one answer, the tag is the hash of its bytes. */
static void tag(srv_request *req)
{
    srv_reply *r = &req->reply;
    if (r->status == MHD_HTTP_OK && r->etag[0] == '\0' && r->body != NULL && req->route != NULL &&
        r->media != NULL && strcmp(r->media, SRV_MEDIA_JSON) == 0)
        msa_sha256_bytes(r->body, r->size, NULL, r->etag);
}

static void not_modified(srv_request *req)
{
    srv_reply *r = &req->reply;
    if (req->route == NULL || strcmp(req->route->method, "GET") != 0) return;
    if (r->status != MHD_HTTP_OK || r->etag[0] == '\0' || strstr(req->if_none_match, r->etag) == NULL) return;
    char etag[MSA_SHA256_HEX];
    memcpy(etag, r->etag, sizeof etag);
    srv_reply_free(r);
    r->status = MHD_HTTP_NOT_MODIFIED;
    memcpy(r->etag, etag, sizeof etag);
}

static enum MHD_Result answer(srv_request *req)
{
    srv_http *h = req->http;
    srv_reply *r = &req->reply;
    srv_conn *conn = conn_of(req->connection);
    tag(req);
    not_modified(req);
    const int status = r->status;
    /* Slow readers have a minute and the time that 64 KiB/s need. */
    if (conn != NULL)
        conn->deadline_ms = r->stream != NULL
                                ? UINT64_MAX /* events.c sees to it */
                                : uv_now(h->env.loop) + (uint64_t)h->env.receive_ms + r->size / 64;
    struct MHD_Response *response = response_of(r);
    if (response == NULL) return MHD_NO;
    /* So that who is turned away leaves room for the next; a health check must find some. */
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    const enum MHD_Result result = MHD_queue_response(req->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    h->replies[status / 100 <= 5 ? status / 100 : 0]++;
    if (status < 300 && req->route != NULL &&
        (req->route->scopes & (SRV_SCOPE_OPERATE | SRV_SCOPE_ADMIN)) != 0)
        msa_log(MSA_LOG_INFO, "http", "changed method=%s path=%s token=%s", req->route->method,
                req->route->pattern, req->token_name[0] == '\0' ? "-" : req->token_name);
    msa_log(status >= 500 ? MSA_LOG_WARN : MSA_LOG_DEBUG, "http", "method=%s path=%s status=%d ms=%llu%s%s",
            req->route == NULL ? "-" : req->route->method, req->route == NULL ? "-" : req->route->pattern,
            status, (unsigned long long)(uv_now(h->env.loop) - req->started_ms),
            status >= 500 ? " detail=" : "", status >= 500 ? r->detail : "");
    return result;
}

/* ---- to the store and back ---- */

static msa_status run_task(srv_task *task, srv_store *store, msa_error *err)
{
    srv_request *req = (srv_request *)task;
    return req->key_sha256[0] != '\0' ? srv_repeat_run(req, &req->made, store, err)
                                      : req->route->in_store(req, &req->made, store, err);
}

static void task_done(srv_task *task)
{
    srv_request *req = (srv_request *)task;
    req->in_flight = false;
    if (task->status == MSA_OK && req->http != NULL && req->route->after != NULL) req->route->after(req);
    if (req->connection != NULL && req->reply.status == 0) {
        if (task->status != MSA_OK) {
            task->err.status = task->status;
            srv_reply_error(&req->reply, &task->err);
        } else {
            req->reply = req->made;
            srv_reply_init(&req->made);
        }
        srv_request_resume(req);
    }
    request_unref(req);
}

void srv_request_submit(srv_request *req)
{
    msa_error err = MSA_ERROR_INIT;
    req->task.run = run_task;
    req->task.done = task_done;
    req->task.next = NULL;
    req->task.status = MSA_OK;
    req->deadline_ms = uv_now(req->http->env.loop) + (uint64_t)req->http->env.store_ms;
    req->in_flight = true;
    req->refs++;
    const msa_status status = srv_store_thread_submit(req->http->env.store, &req->task, &err);
    if (status == MSA_OK) return;
    req->in_flight = false;
    req->refs--;
    err.status = status;
    srv_reply_error(&req->reply, &err);
    srv_request_resume(req);
}

void srv_request_hold(srv_request *req)
{
    req->deadline_ms = uv_now(req->http->env.loop) + (uint64_t)req->http->env.store_ms;
    req->elsewhere = true;
    req->refs++;
}

void srv_request_unhold(srv_request *req)
{
    req->elsewhere = false;
    srv_request_resume(req);
    request_unref(req);
}

void srv_request_resume(srv_request *req)
{
    if (!req->suspended || req->connection == NULL) return;
    req->suspended = false;
    MHD_resume_connection(req->connection);
    srv_http_kick(req->http);
}

static void dispatch(srv_request *req)
{
    req->dispatched = true;
    if (req->http->stopping) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "the service is stopping");
        return;
    }
    if (req->route->on_loop != NULL) req->route->on_loop(req);
    if (req->reply.status == 0 && req->watch == NULL && !req->elsewhere && req->route->in_store != NULL)
        srv_request_submit(req);
}

/* ---- libmicrohttpd's callbacks ---- */

static enum MHD_Result begin(srv_http *h, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, void **con_cls)
{
    srv_request *req = request_new(h, connection);
    srv_conn *conn = conn_of(connection);
    if (req == NULL) return MHD_NO;
    *con_cls = req;
    if (conn != NULL) conn->deadline_ms = req->deadline_ms;
    check_head(req, url, method, version);
    if (req->reply.status == 0) return MHD_YES;
    const uint64_t size = declared_size(req);
    const bool asks_first = header(req, MHD_HTTP_HEADER_EXPECT) != NULL;
    /* Answered at once, which ends the connection, when the client waits for leave to send, or would send too
     * long. Otherwise the body is read and dropped first: a reset would take our answer away from the client.
     */
    if (size > 0 && (asks_first || (size != UINT64_MAX && size > SRV_HTTP_DRAIN_MAX))) return answer(req);
    return MHD_YES;
}

static enum MHD_Result receive(srv_request *req, const char *upload, size_t *upload_size)
{
    const size_t n = *upload_size;
    *upload_size = 0;
    req->received += n;
    if (req->received > SRV_HTTP_DRAIN_MAX && (req->reply.status != 0 || !req->is_upload)) return MHD_NO;
    if (req->reply.status == 0 && req->received > body_max(req)) too_large(req);
    if (req->reply.status != 0 || req->route->body_schema == NULL) return MHD_YES;
    if (req->is_upload) {
        srv_upload_take(req, upload, n);
        return MHD_YES;
    }
    if (req->body_size + n > req->body_room) {
        const size_t room = req->body_room == 0 ? 8192 : req->body_room * 2;
        const size_t wanted = room < req->body_size + n ? req->body_size + n : room;
        char *grown = realloc(req->body, wanted);
        if (grown == NULL) {
            srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
            return MHD_YES;
        }
        req->body = grown;
        req->body_room = wanted;
    }
    memcpy(req->body + req->body_size, upload, n);
    req->body_size += n;
    return MHD_YES;
}

enum MHD_Result srv_request_access(void *cls, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_size, void **con_cls)
{
    srv_http *h = cls;
    srv_request *req = *con_cls;
    if (req == NULL) return begin(h, connection, url, method, version, con_cls);
    if (*upload_size > 0) return receive(req, upload, upload_size);
    if (req->reply.status == 0 && !req->dispatched) dispatch(req);
    if (req->reply.status != 0) return answer(req);
    srv_conn *conn = conn_of(connection);
    if (conn != NULL) conn->deadline_ms = UINT64_MAX; /* the request has its own deadline now */
    req->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

void srv_request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                           enum MHD_RequestTerminationCode code)
{
    srv_http *h = cls;
    srv_request *req = *con_cls;
    srv_conn *conn = conn_of(connection);
    (void)code;
    if (conn != NULL)
        conn->deadline_ms = uv_now(h->env.loop) + (uint64_t)h->env.receive_ms; /* for the next request */
    *con_cls = NULL;
    if (req == NULL) return;
    srv_watch_remove(req);
    srv_stream_left(req);
    req->connection = NULL;
    request_unref(req);
}

/* ---- time ---- */

void srv_requests_tick(srv_http *h, uint64_t now)
{
    for (srv_request *req = h->requests; req != NULL; req = req->next) {
        if (!req->suspended || req->reply.status != 0 || req->watch != NULL || now < req->deadline_ms)
            continue;
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "%s did not answer within %d ms",
                          req->elsewhere ? "who was asked" : "the catalogue", h->env.store_ms);
        srv_request_resume(req);
    }
    for (srv_conn *conn = h->conns; conn != NULL; conn = conn->next)
        if (now >= conn->deadline_ms)
            (void)shutdown(conn->fd, SHUT_RDWR); /* MHD then sees its end and cleans up */
}

void srv_requests_release(srv_http *h)
{
    for (srv_request *req = h->requests; req != NULL; req = req->next) {
        if (!req->suspended) continue;
        srv_watch_remove(req);
        if (req->reply.status == 0)
            srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "the service is stopping");
        srv_request_resume(req);
    }
}
