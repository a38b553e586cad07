#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/cleanup.h"

/* ---- reading ---- */

static json_t *code_json(const dicom_code *c)
{
    if (c->value[0] == '\0') return json_null();
    return json_pack("{s:o, s:o, s:o}", "value", srv_json_string(c->value), "scheme",
                     srv_json_string(c->scheme), "meaning", srv_json_string(c->meaning));
}

static const char *kind_name(const dicom_prompt *p)
{
    switch (p->kind) {
    case DICOM_PROMPT_BOX:
        return "box";
    case DICOM_PROMPT_POINT:
        return "point";
    case DICOM_PROMPT_REGION:
        return "region";
    default:
        return "key_image";
    }
}

/* What is drawn: exactly one of these members is not null, and none of a key image. */
static json_t *drawn_json(const dicom_prompt *p)
{
    const bool mm = p->space == DICOM_SPACE_PATIENT;
    json_t *box = NULL, *box_mm = NULL, *point = NULL, *point_mm = NULL, *region = NULL;
    if (p->kind == DICOM_PROMPT_BOX && mm)
        box_mm = json_pack("[f, f, f, f, f, f]", p->x0, p->y0, p->z0, p->x1, p->y1, p->z1);
    else if (p->kind == DICOM_PROMPT_BOX)
        box = json_pack("[f, f, f, f]", p->x0, p->y0, p->x1, p->y1);
    else if (p->kind == DICOM_PROMPT_POINT && mm)
        point_mm = json_pack("[f, f, f]", p->x0, p->y0, p->z0);
    else if (p->kind == DICOM_PROMPT_POINT)
        point = json_pack("[f, f]", p->x0, p->y0);
    else if (p->kind == DICOM_PROMPT_REGION)
        region = json_integer(p->region);
    return json_pack("{s:s, s:o?, s:o?, s:o?, s:o?, s:o?, s:o}", "kind", kind_name(p), "box", box, "box_mm",
                     box_mm, "point", point, "point_mm", point_mm, "region", region, "positive",
                     p->kind == DICOM_PROMPT_POINT ? json_boolean(p->positive) : json_null());
}

/* null, or what has to come before the prompt can be used. */
static json_t *waits_json(const srv_prompt *sp)
{
    const dicom_prompt *p = &sp->prompt;
    const char *what = "frame_of_reference", *uid = p->frame_of_reference_uid;
    if (sp->series_id != 0) return json_null();
    if (p->sop_instance_uid[0] != '\0')
        what = "image", uid = p->sop_instance_uid;
    else if (p->series_uid[0] != '\0')
        what = "series", uid = p->series_uid;
    return json_pack("{s:s, s:o, s:o}", "what", what, "uid", srv_json_string(uid), "since",
                     srv_json_time(sp->created_ms));
}

static json_t *place_json(const srv_prompt *sp)
{
    const dicom_prompt *p = &sp->prompt;
    const bool by_slice = p->space == DICOM_SPACE_IMAGE && p->series_uid[0] != '\0';
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "series_instance_uid",
                     srv_json_text(sp->linked_series_uid[0] != '\0' ? sp->linked_series_uid : p->series_uid),
                     "frame_of_reference_uid", srv_json_text(p->frame_of_reference_uid), "sop_instance_uid",
                     srv_json_text(p->sop_instance_uid), "frame",
                     p->sop_instance_uid[0] != '\0' ? json_integer(p->frame) : json_null(), "slice",
                     by_slice ? json_integer(p->slice) : json_null(), "waiting", sp->series_id == 0,
                     "waits_for", waits_json(sp));
}

static json_t *prompt_json(const srv_prompt *sp)
{
    const dicom_prompt *p = &sp->prompt;
    json_t *json = json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "annotation_id", srv_json_text(sp->group_id),
                             "source", p->source_instance_uid[0] == '\0' ? "rest" : "dicom",
                             "source_sop_class_uid", srv_json_text(p->source_class_uid),
                             "source_sop_instance_uid", srv_json_text(p->source_instance_uid), "created_at",
                             srv_json_time(sp->created_ms), "label", srv_json_string(p->label));
    json_t *const parts[] = {drawn_json(p), place_json(sp),
                             json_pack("{s:o, s:o, s:o, s:o, s:o}", "tracking_id",
                                       srv_json_text(p->tracking_id), "tracking_uid",
                                       srv_json_text(p->tracking_uid), "category", code_json(&p->category),
                                       "type", code_json(&p->type), "site", code_json(&p->site))};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (json != NULL) (void)json_object_update(json, parts[i]);
        json_decref(parts[i]);
    }
    return json;
}

static void add_row(void *ctx, const srv_prompt *prompt)
{
    srv_page *page = ctx;
    if (srv_page_takes(page, prompt->id)) (void)json_array_append_new(page->list, prompt_json(prompt));
}

SRV_IN_STORE(srv_get_annotations)
{
    srv_page page = srv_page_of(req);
    const msa_status status =
        srv_store_prompts(store, srv_param_of(req, "series")->text, srv_param_of(req, "state")->number == 1,
                          srv_param_of(req, "cursor")->number, page.limit + 1, add_row, &page, err);
    return srv_page_answer(&page, status, out, "annotations");
}

/* ---- one group: what one POST brought ---- */

typedef struct group {
    const char *request_sha256; /* to compare with */
    json_t *list;               /* or to collect in */
    size_t n;
    bool same;
} group;

static void each_of_group(void *ctx, const srv_prompt *prompt)
{
    group *g = ctx;
    g->n++;
    if (g->list != NULL) (void)json_array_append_new(g->list, prompt_json(prompt));
    if (g->request_sha256 != NULL && strcmp(prompt->request_sha256, g->request_sha256) != 0) g->same = false;
}

SRV_IN_STORE(srv_get_annotation)
{
    group g = {NULL, json_array(), 0, true};
    const msa_status status =
        srv_store_prompts_group(store, srv_param_of(req, "id")->text, each_of_group, &g, err);
    if (status == MSA_OK && g.n > 0) {
        srv_reply_json(out, MHD_HTTP_OK, json_pack("{s:o, s:n}", "annotations", g.list, "next_cursor"));
        return MSA_OK;
    }
    json_decref(g.list);
    return status != MSA_OK ? status : msa_fail(err, MSA_E_NOT_FOUND, "no annotation has this id");
}

/* ---- POST ---- */

/* The id of a keyed request is a function of the key, so that a repetition meets its first one even after a
 * restart. */
static msa_status choose_id(srv_request *req, msa_error *err)
{
    const char *key = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Idempotency-Key");
    char hex[MSA_SHA256_HEX], named[300];
    uint8_t bytes[16];
    req->has_key = key != NULL;
    if (key != NULL) {
        const size_t n = strlen(key);
        bool fine = n >= 1 && n <= 255;
        for (size_t i = 0; i < n && fine; i++)
            fine = key[i] > 0x20 && key[i] < 0x7f;
        if (!fine)
            return msa_fail(err, MSA_E_PARSE,
                            "the Idempotency-Key is not 1 to 255 printable characters without spaces");
        (void)snprintf(named, sizeof named, "idempotency-key:%s", key);
        msa_sha256_bytes(named, strlen(named), NULL, hex);
    } else {
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return msa_fail(err, MSA_E_INTERNAL, "no random numbers");
        msa_sha256_bytes(bytes, sizeof bytes, NULL, hex);
    }
    (void)snprintf(req->group_id, sizeof req->group_id, "%.32s", hex);
    return MSA_OK;
}

static msa_status parse_body(srv_request *req, msa_error *err)
{
    json_error_t where;
    if (req->body_size == 0) return msa_fail(err, MSA_E_PARSE, "the body is empty; it must be a JSON object");
    json_t *body = json_loadb(req->body, req->body_size, JSON_REJECT_DUPLICATES, &where);
    if (body == NULL)
        return msa_fail(err, MSA_E_PARSE, "the body is not JSON: line %d column %d (byte %d): %s", where.line,
                        where.column, where.position, where.text);
    const msa_status status = srv_annotation_parse(body, &req->prompts, &req->n_prompts, err);
    MSA_AUTO_FREE char *plain = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS); /* however it was written */
    json_decref(body);
    MSA_TRY(status);
    if (plain == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    msa_sha256_bytes(plain, strlen(plain), NULL, req->body_sha256);
    return MSA_OK;
}

void srv_post_annotations_check(srv_request *req)
{
    msa_error err = MSA_ERROR_INIT;
    if (req->is_upload) {
        if (req->upload == NULL)
            srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST,
                              "the body is empty; it must be a DICOM file");
        return;
    }
    if (parse_body(req, &err) != MSA_OK || choose_id(req, &err) != MSA_OK) {
        srv_reply_error(&req->reply, &err);
        return;
    }
    const int64_t now = srv_now_ms();
    for (size_t i = 0; i < req->n_prompts; i++) {
        req->prompts[i].created_ms = now;
        memcpy(req->prompts[i].group_id, req->group_id, sizeof req->group_id);
        memcpy(req->prompts[i].request_sha256, req->body_sha256, sizeof req->body_sha256);
    }
}

static void created(srv_request *req, srv_reply *out, int status)
{
    char href[96];
    (void)snprintf(href, sizeof href, "/v1/annotations/%s", req->group_id);
    srv_reply_json(out, status,
                   json_pack("{s:s, s:I, s:s}", "id", req->group_id, "prompts", (json_int_t)req->n_prompts,
                             "href", href));
    (void)snprintf(out->location, sizeof out->location, "%s", href);
}

/* A keyed POST: new, the same again, or another body under a key that is taken. */
static msa_status put_keyed(srv_request *req, srv_store *store, bool *again, msa_error *err)
{
    group before = {req->body_sha256, NULL, 0, true};
    MSA_TRY(srv_store_prompts_group(store, req->group_id, each_of_group, &before, err));
    *again = before.n > 0;
    if (!*again) return srv_store_prompts_put(store, req->prompts, req->n_prompts, err);
    return before.same ? MSA_OK
                       : msa_fail(err, MSA_E_INVALID, "this Idempotency-Key was used for another annotation");
}

SRV_IN_STORE(srv_post_annotations)
{
    bool again = false;
    if (req->is_upload) return srv_upload_store(req, out, store, err);
    if (req->has_key)
        MSA_TRY(put_keyed(req, store, &again, err));
    else
        MSA_TRY(srv_store_prompts_put(store, req->prompts, req->n_prompts, err));
    req->changed = !again;
    created(req, out, again ? MHD_HTTP_OK : MHD_HTTP_CREATED);
    return MSA_OK;
}

SRV_IN_STORE(srv_delete_annotation)
{
    MSA_TRY(srv_store_prompts_delete(store, srv_param_of(req, "id")->text, srv_now_ms(), err));
    req->changed = true;
    out->status = MHD_HTTP_NO_CONTENT;
    return MSA_OK;
}

void srv_annotations_changed(srv_request *req)
{
    if (req->changed && req->http->env.prompts_changed != NULL)
        req->http->env.prompts_changed(req->http->env.ctx);
}
