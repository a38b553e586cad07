/**
 * Idempotency-Key: a POST that is repeated under the same key does nothing more and gets the first answer,
 * also after a restart, for a day. Annotations have keys of their own, which never expire: the id derives
 * from them.
 */
#include <stdlib.h>
#include <string.h>

#include "server/http/internal.h"

#define KEEP_MS INT64_C(86400000)

/* Of another token it is another key: nobody reads answers that were given to somebody else. */
bool srv_repeat_read_key(srv_request *req)
{
    const char *key = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Idempotency-Key");
    char text[MSA_SHA256_HEX + 260];
    if (key == NULL || strcmp(req->route->method, "POST") != 0) return true;
    const size_t n = strlen(key);
    bool fine = n >= 1 && n <= 255;
    for (size_t i = 0; i < n && fine; i++)
        fine = key[i] > 0x20 && key[i] < 0x7f;
    if (!fine) {
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST,
                          "the Idempotency-Key is not 1 to 255 printable characters without spaces");
        return false;
    }
    if (srv_route_uploads(req->route)) return true;
    (void)snprintf(text, sizeof text, "%s %s", req->token_sha256, key);
    msa_sha256_bytes(text, strlen(text), NULL, req->key_sha256);
    return true;
}

/* What was asked: route, its values, and the body as it was sent. */
static void hash_request(const srv_request *req, char out[MSA_SHA256_HEX])
{
    char text[256 + SRV_PARAM_TEXT_MAX], body[MSA_SHA256_HEX];
    msa_sha256_bytes(req->body == NULL ? "" : req->body, req->body_size, NULL, body);
    (void)snprintf(text, sizeof text, "%s %s %s", req->route->pattern, req->path_values[0], body);
    msa_sha256_bytes(text, strlen(text), NULL, out);
}

typedef struct again {
    const char *request_sha256;
    srv_reply *out;
    bool found;
} again;

static msa_status replay(void *ctx, const srv_answer *a, msa_error *err)
{
    again *t = ctx;
    t->found = true;
    if (strcmp(a->request_sha256, t->request_sha256) != 0)
        return msa_fail(err, MSA_E_INVALID, "this Idempotency-Key was used for another request");
    char *body = strdup(a->body);
    if (body == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    srv_reply_body(t->out, a->status, SRV_MEDIA_JSON, body, strlen(body));
    (void)snprintf(t->out->location, sizeof t->out->location, "%s", a->location);
    return MSA_OK;
}

msa_status srv_repeat_run(srv_request *req, srv_reply *out, srv_store *store, msa_error *err)
{
    char request[MSA_SHA256_HEX];
    const int64_t now = srv_now_ms();
    hash_request(req, request);
    again t = {request, out, false};
    MSA_TRY(srv_store_answer_get(store, req->key_sha256, now, replay, &t, err));
    if (t.found) return MSA_OK;
    MSA_TRY(req->route->in_store(req, out, store, err));
    if (out->status >= 300 || out->body == NULL) return MSA_OK; /* what was refused may be tried again */
    char *text = strndup(out->body, out->size);
    if (text == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    const srv_answer answer = {request, out->status, out->location, text};
    const msa_status status = srv_store_answer_keep(store, req->key_sha256, &answer, now, now + KEEP_MS, err);
    free(text);
    return status;
}
