/* Deliveries, and taking up those that were given up. No patient attribute is read here (invariant 8). */
#include "server/http/internal.h"

#include <string.h>

json_t *srv_delivery_view(const srv_delivery *d)
{
    const bool again = strcmp(d->state, "pending") == 0;
    char status[8], id[32];
    (void)snprintf(status, sizeof status, "%04X", (unsigned)d->dimse_status & 0xffffu);
    srv_cursor_make(d->id, id);
    return json_pack("{s:s, s:o, s:i, s:s, s:i, s:o, s:o, s:o, s:o}", "id", id, "destination",
                     srv_json_string(d->destination), "result", d->result.number, "state", d->state,
                     "attempt", d->attempt, "dimse_status",
                     d->attempt > 0 && d->dimse_status >= 0 ? json_string(status) : json_null(), "comment",
                     srv_json_text(d->comment), "delivered_at", srv_json_time(d->delivered_ms), "next_try_at",
                     srv_json_time(again ? d->run_at_ms : 0));
}

static void add_row(void *ctx, const srv_delivery *d)
{
    srv_page *page = ctx;
    if (srv_page_takes(page, d->id)) (void)json_array_append_new(page->list, srv_delivery_view(d));
}

SRV_IN_STORE(srv_get_deliveries)
{
    srv_page page = srv_page_of(req);
    const msa_status status =
        srv_store_deliveries(store, srv_param_of(req, "state")->text, srv_param_of(req, "destination")->text,
                             srv_param_of(req, "cursor")->number, page.limit + 1, add_row, &page, err);
    return srv_page_answer(&page, status, out, "deliveries");
}

SRV_IN_STORE(srv_post_delivery_requeue)
{
    srv_delivery d;
    MSA_TRY(srv_store_delivery_requeue(store, srv_param_of(req, "id")->number, srv_now_ms(), &d, err));
    srv_reply_json(out, MHD_HTTP_OK, srv_delivery_view(&d));
    return MSA_OK;
}

/* Also of one that is not in the settings any more: its letters are listed, but nobody would send them. */
void srv_post_destination_requeue_check(srv_request *req)
{
    const srv_config *config = req->http->env.config;
    const char *name = srv_param_of(req, "name")->text;
    for (int32_t i = 0; i < config->n_destinations; i++)
        if (strcmp(config->destinations[i].name, name) == 0) return;
    srv_reply_problem(&req->reply, MHD_HTTP_NOT_FOUND, "no destination of that name is in the settings");
}

SRV_IN_STORE(srv_post_destination_requeue)
{
    int32_t n = 0;
    MSA_TRY(srv_store_deliveries_requeue(store, srv_param_of(req, "name")->text, srv_now_ms(), &n, err));
    srv_reply_json(out, MHD_HTTP_OK, json_pack("{s:i}", "requeued", n));
    return MSA_OK;
}

void srv_deliveries_changed(srv_request *req)
{
    const srv_http_env *env = &req->http->env;
    if (env->deliveries_changed != NULL) env->deliveries_changed(env->ctx);
}
