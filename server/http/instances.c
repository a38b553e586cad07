/* Stored instances: those with something to say, one by its name, and annotations that come as a file. */
#include "server/http/internal.h"

static const char *kind_name(const srv_instance *i)
{
    return i->kind == DICOM_KIND_IMAGE ? "image" : i->kind == DICOM_KIND_ANNOTATION ? "annotation" : "";
}

static json_t *instance_json(const srv_instance *i)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:o, s:s, s:b, s:I, s:o, s:o, s:o, s:I}", "sop_instance_uid",
                     srv_json_text(i->sop_instance_uid), "sop_class_uid", srv_json_text(i->sop_class_uid),
                     "transfer_syntax_uid", srv_json_text(i->transfer_syntax_uid), "state",
                     srv_instance_state_name(i->state), "kind", srv_json_text(kind_name(i)), "sha256",
                     i->sha256, "superseded", i->superseded, "size_bytes", (json_int_t)i->size_bytes,
                     "received_at", srv_json_time(i->received_ms), "reason", srv_json_text(i->reason), "note",
                     srv_json_text(i->note), "prompts", (json_int_t)i->prompts);
}

static void add_instance(void *ctx, const srv_instance *i)
{
    srv_page *page = ctx;
    if (srv_page_takes(page, i->id)) (void)json_array_append_new(page->list, instance_json(i));
}

SRV_IN_STORE(srv_get_instances)
{
    srv_page page = srv_page_of(req);
    const int64_t before = srv_param_of(req, "cursor")->number;
    const msa_status status =
        srv_param_of(req, "state")->number == 0
            ? srv_store_instances_rejected(store, before, page.limit + 1, add_instance, &page, err)
            : srv_store_instances_noted(store, before, page.limit + 1, add_instance, &page, err);
    return srv_page_answer(&page, status, out, "instances");
}

SRV_IN_STORE(srv_get_instance)
{
    srv_instance instance;
    MSA_TRY(srv_store_instance_find(store, srv_param_of(req, "id")->text, &instance, err));
    srv_reply_json(out, MHD_HTTP_OK, instance_json(&instance));
    return MSA_OK;
}

/* ---- uploads ---- */

/* What is left of the disk is for the catalogue and for results. */
static msa_status refuse_without_room(const srv_request *req, msa_error *err)
{
    srv_http_live live = {0};
    req->http->env.live(req->http->env.ctx, &live);
    return live.disk_level < 2 ? MSA_OK : msa_fail(err, MSA_E_BUSY, "%s", live.disk_why);
}

/* On the loop: the bytes go to the page cache and into the hash, nothing is parsed and nothing is synced. */
void srv_upload_take(srv_request *req, const void *bytes, size_t size)
{
    msa_error err = MSA_ERROR_INIT;
    msa_status status = MSA_OK;
    if (req->upload == NULL) status = refuse_without_room(req, &err);
    if (status == MSA_OK && req->upload == NULL) status = srv_blob_writer_new(&req->upload, req->blobs, &err);
    if (status == MSA_OK) status = srv_blob_writer_write(req->upload, bytes, size, &err);
    if (status != MSA_OK) srv_reply_error(&req->reply, &err);
}

/* As at a C-STORE: the file is durable, then its row is, and only then it is acknowledged. */
msa_status srv_upload_store(srv_request *req, srv_reply *out, srv_store *store, msa_error *err)
{
    srv_instance in = {.received_ms = srv_now_ms()};
    srv_put outcome = SRV_PUT_SAME;
    int64_t id = 0;
    char href[96];
    MSA_TRY(srv_blob_writer_commit(req->upload, in.sha256, &in.size_bytes, err));
    MSA_TRY(srv_store_instance_put(store, &in, &outcome, &id, err));
    (void)snprintf(href, sizeof href, "/v1/instances/%s", in.sha256);
    srv_reply_json(out, outcome == SRV_PUT_SAME ? MHD_HTTP_OK : MHD_HTTP_CREATED,
                   json_pack("{s:s, s:o, s:s}", "id", in.sha256, "prompts", json_null(), "href", href));
    (void)snprintf(out->location, sizeof out->location, "%s", href);
    req->changed = outcome != SRV_PUT_SAME;
    return MSA_OK;
}
