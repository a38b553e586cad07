/* What needs no catalogue: health, readiness, the description, destinations. */
#include "server/http/internal.h"

#include <string.h>

static json_t *disk(const srv_http_live *live)
{
    static const char *const rooms[] = {"enough", "low", "full"};
    return json_pack("{s:s, s:I, s:I, s:o}", "room", rooms[live->disk_level % 3], "free_bytes",
                     (json_int_t)live->disk_free_bytes, "total_bytes", (json_int_t)live->disk_total_bytes,
                     "what", srv_json_text(live->disk_why));
}

void srv_get_healthz(srv_request *req)
{
    srv_reply_json(&req->reply, MHD_HTTP_OK,
                   json_pack("{s:s, s:s}", "status", "ok", "version", MSAD_VERSION));
}

void srv_get_readyz(srv_request *req)
{
    const srv_http_env *env = &req->http->env;
    srv_http_live live = {0};
    env->live(env->ctx, &live);
    if (srv_store_thread_bad(env->store))
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "not ready: the catalogue's disk has failed");
    else if (srv_blobs_bad(env->blobs))
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "not ready: the storage disk has failed");
    else if (!live.ready)
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready: %.180s",
                          live.not_ready_reason[0] != '\0' ? live.not_ready_reason
                                                           : "the service is starting");
    else
        srv_reply_json(
            &req->reply, MHD_HTTP_OK,
            json_pack("{s:s, s:s, s:o}", "status", "ready", "version", MSAD_VERSION, "disk", disk(&live)));
}

void srv_get_openapi(srv_request *req)
{
    srv_reply_json(&req->reply, MHD_HTTP_OK, json_incref(req->http->openapi));
}

static json_t *circuit_of(const srv_http_env *env, const char *destination)
{
    static const char *const states[] = {"closed", "open", "trying"};
    srv_http_circuit c = {0};
    if (env->circuit == NULL || !env->circuit(env->ctx, destination, &c)) return json_null();
    return json_pack("{s:s, s:i, s:o, s:o}", "state", states[c.state], "failures", c.failures, "next_try_at",
                     srv_json_time(c.next_try_ms), "comment", srv_json_text(c.comment));
}

void srv_get_destinations(srv_request *req)
{
    const srv_config *config = req->http->env.config;
    json_t *list = json_array();
    for (int32_t i = 0; i < config->n_destinations; i++) {
        const dicom_destination *to = &config->destinations[i];
        (void)json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:i, s:b, s:o}", "name", srv_json_string(to->name), "ae_title",
                            srv_json_string(to->ae_title), "host", srv_json_string(to->host), "port",
                            to->port, "tls", to->tls.on, "circuit", circuit_of(&req->http->env, to->name)));
    }
    srv_reply_json(&req->reply, MHD_HTTP_OK, json_pack("{s:o}", "destinations", list));
}

static void echoed(void *ctx, const dicom_send_result *r)
{
    srv_request *req = ctx;
    char status[8] = "";
    if (r->dimse_status >= 0)
        (void)snprintf(status, sizeof status, "%04X", (unsigned)r->dimse_status & 0xffffu);
    if (req->reply.status == 0 && req->http != NULL)
        srv_reply_json(&req->reply, MHD_HTTP_OK,
                       json_pack("{s:s, s:b, s:I, s:o, s:o}", "destination", srv_param_of(req, "name")->text,
                                 "reached", r->outcome == DICOM_DELIVERED, "milliseconds",
                                 (json_int_t)(uv_now(req->http->env.loop) - req->started_ms), "dimse_status",
                                 srv_json_text(status), "comment", srv_json_text(r->comment)));
    srv_request_unhold(req);
}

/* Only to what the settings name: nobody makes us call elsewhere. */
void srv_post_destination_echo(srv_request *req)
{
    const srv_http_env *env = &req->http->env;
    msa_error err = MSA_ERROR_INIT;
    int32_t i = 0;
    while (i < env->config->n_destinations &&
           strcmp(env->config->destinations[i].name, srv_param_of(req, "name")->text) != 0)
        i++;
    if (i == env->config->n_destinations || env->echo == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_NOT_FOUND, "no destination of that name is in the settings");
        return;
    }
    srv_request_hold(req);
    if (env->echo(env->ctx, &env->config->destinations[i], echoed, req, &err) == MSA_OK) return;
    srv_reply_error(&req->reply, &err);
    srv_request_unhold(req);
}
