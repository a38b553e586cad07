#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- reading ---- */

static json_t *code_json(const dicom_code *c)
{
    if (c->value[0] == '\0') return json_null();
    return json_pack("{s:o, s:o, s:o}", "value", srv_json_string(c->value), "scheme",
                     srv_json_string(c->scheme), "meaning", srv_json_string(c->meaning));
}

static json_t *prompt_json(const srv_prompt *sp)
{
    const dicom_prompt *p = &sp->prompt;
    const bool is_box = p->kind == DICOM_PROMPT_BOX, by_slice = p->sop_instance_uid[0] == '\0';
    json_t *json = json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "annotation_id",
        srv_json_text(sp->group_id), "source", p->source_instance_uid[0] == '\0' ? "rest" : "dicom",
        "source_sop_class_uid", srv_json_text(p->source_class_uid), "source_sop_instance_uid",
        srv_json_text(p->source_instance_uid), "created_at", srv_json_time(sp->created_ms), "label",
        srv_json_string(p->label), "kind", is_box ? "box" : "point", "box",
        is_box ? json_pack("[f, f, f, f]", p->x0, p->y0, p->x1, p->y1) : json_null(), "point",
        is_box ? json_null() : json_pack("[f, f]", p->x0, p->y0), "positive",
        is_box ? json_null() : json_boolean(p->positive), "waiting", json_boolean(sp->series_id == 0));
    json_t *where = json_pack("{s:o, s:o, s:o, s:o}", "series_instance_uid", srv_json_text(sp->series_uid),
                              "sop_instance_uid", srv_json_text(p->sop_instance_uid), "frame",
                              by_slice ? json_null() : json_integer(p->frame), "slice",
                              by_slice ? json_integer(p->slice) : json_null());
    json_t *more =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "tracking_id", srv_json_text(p->tracking_id), "tracking_uid",
                  srv_json_text(p->tracking_uid), "category", code_json(&p->category), "type",
                  code_json(&p->type), "site", code_json(&p->site));
    if (json != NULL) (void)(json_object_update(json, where) | json_object_update(json, more));
    json_decref(where);
    json_decref(more);
    return json;
}

static void add_row(void *ctx, const srv_prompt *prompt)
{
    (void)json_array_append_new(ctx, prompt_json(prompt));
}

SRV_IN_STORE(srv_get_annotations)
{
    json_t *list = json_array();
    const msa_status status =
        srv_store_prompts(store, srv_param_of(req, "series")->text, srv_param_of(req, "waiting")->number == 1,
                          (int32_t)srv_param_of(req, "limit")->number, add_row, list, err);
    if (status == MSA_OK)
        srv_reply_json(out, MHD_HTTP_OK, json_pack("{s:o}", "annotations", list));
    else
        json_decref(list);
    return status;
}

/* ---- one group: what one POST brought ---- */

typedef struct group {
    const char *id;
    const srv_request *req; /* compare with its prompts, when not NULL */
    json_t *list;           /* or collect, when not NULL */
    size_t n;
    bool same;
} group;

static bool prompts_equal(const srv_prompt *a, const srv_prompt *b)
{
    const dicom_prompt *p = &a->prompt, *q = &b->prompt;
    const bool texts = strcmp(p->sop_instance_uid, q->sop_instance_uid) == 0 &&
                       strcmp(p->label, q->label) == 0 && strcmp(p->tracking_id, q->tracking_id) == 0 &&
                       strcmp(p->tracking_uid, q->tracking_uid) == 0 &&
                       strcmp(a->series_uid, b->series_uid) == 0;
    const dicom_code *x[] = {&p->category, &p->type, &p->site}, *y[] = {&q->category, &q->type, &q->site};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(x[i]->value, y[i]->value) != 0 || strcmp(x[i]->scheme, y[i]->scheme) != 0 ||
            strcmp(x[i]->meaning, y[i]->meaning) != 0)
            return false;
    const bool point = p->kind == DICOM_PROMPT_POINT;
    return texts && p->kind == q->kind && p->frame == q->frame && p->positive == q->positive &&
           (p->sop_instance_uid[0] != '\0' || p->slice == q->slice) && p->x0 == q->x0 && p->y0 == q->y0 &&
           (point || (p->x1 == q->x1 && p->y1 == q->y1));
}

/* Rows need not come in the order they were posted, so each is looked for among all. */
static void each_of_group(void *ctx, const srv_prompt *prompt)
{
    group *g = ctx;
    if (strcmp(prompt->group_id, g->id) != 0) return;
    g->n++;
    if (g->list != NULL) (void)json_array_append_new(g->list, prompt_json(prompt));
    if (g->req == NULL) return;
    size_t i = 0;
    while (i < g->req->n_prompts && !prompts_equal(prompt, &g->req->prompts[i]))
        i++;
    if (i == g->req->n_prompts) g->same = false;
}

SRV_IN_STORE(srv_get_annotation)
{
    group g = {srv_param_of(req, "id")->text, NULL, json_array(), 0, true};
    const msa_status status = srv_store_prompts(store, NULL, false, INT32_MAX, each_of_group, &g, err);
    if (status == MSA_OK && g.n > 0) {
        srv_reply_json(out, MHD_HTTP_OK, json_pack("{s:o}", "annotations", g.list));
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
    json_decref(body);
    return status;
}

void srv_post_annotations_check(srv_request *req)
{
    msa_error err = MSA_ERROR_INIT;
    if (parse_body(req, &err) != MSA_OK || choose_id(req, &err) != MSA_OK) {
        srv_reply_error(&req->reply, &err);
        return;
    }
    const int64_t now = srv_now_ms();
    for (size_t i = 0; i < req->n_prompts; i++) {
        req->prompts[i].created_ms = now;
        memcpy(req->prompts[i].group_id, req->group_id, sizeof req->group_id);
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

/* The series that all items name; "" when they name images: then any row may belong to the group. */
static const char *common_series(const srv_request *req)
{
    for (size_t i = 1; i < req->n_prompts; i++)
        if (strcmp(req->prompts[i].series_uid, req->prompts[0].series_uid) != 0) return "";
    return req->prompts[0].series_uid;
}

/* A keyed POST: new, the same again, or another body under a key that is taken (perhaps on another series).
 */
static msa_status put_keyed(srv_request *req, srv_store *store, bool *again, msa_error *err)
{
    const char *series = common_series(req);
    group before = {req->group_id, req, NULL, 0, true}, after = before;
    MSA_TRY(srv_store_prompts(store, series, false, INT32_MAX, each_of_group, &before, err));
    *again = before.n > 0;
    if (before.n == 0) MSA_TRY(srv_store_prompts_put(store, req->prompts, req->n_prompts, err));
    MSA_TRY(srv_store_prompts(store, series, false, INT32_MAX, each_of_group, &after, err));
    if (after.same && after.n == req->n_prompts) return MSA_OK;
    return msa_fail(err, MSA_E_INVALID, "this Idempotency-Key was used for another annotation");
}

SRV_IN_STORE(srv_post_annotations)
{
    bool again = false;
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
    MSA_TRY(srv_store_prompts_delete(store, srv_param_of(req, "id")->text, err));
    req->changed = true;
    out->status = MHD_HTTP_NO_CONTENT;
    return MSA_OK;
}

void srv_annotations_changed(srv_request *req)
{
    if (req->changed && req->http->env.prompts_changed != NULL)
        req->http->env.prompts_changed(req->http->env.ctx);
}
