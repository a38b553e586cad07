/* OpenAPI 3.1, made of the table of routes. */
#include "server/http/internal.h"

#include <ctype.h>
#include <string.h>

static json_t *ref_to(const char *kind, const char *name)
{
    char ref[96];
    (void)snprintf(ref, sizeof ref, "#/components/%s/%s", kind, name);
    return json_pack("{s:s}", "$ref", ref);
}

static json_t *schema_of(const srv_param *p)
{
    json_t *schema = NULL, *states = NULL;
    switch (p->kind) {
    case SRV_PARAM_INT:
        return json_pack("{s:s, s:I, s:I, s:I}", "type", "integer", "minimum", (json_int_t)p->min, "maximum",
                         (json_int_t)p->max, "default", (json_int_t)p->fallback);
    case SRV_PARAM_EVENT:
        return json_pack("{s:s, s:i}", "type", "integer", "minimum", 0);
    case SRV_PARAM_UID:
        return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[0-9.]+$", "maxLength", 64);
    case SRV_PARAM_OPAQUE:
        return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[A-Za-z0-9_-]+$", "maxLength", 64);
    case SRV_PARAM_NAME:
        return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[A-Za-z0-9_.-]+$", "maxLength",
                         63);
    case SRV_PARAM_DELIVERY_STATE:
        return json_pack("{s:s, s:[s, s, s, s, s]}", "type", "string", "enum", "pending", "sending",
                         "delivered", "dead", "cancelled");
    case SRV_PARAM_CURSOR:
        return json_pack("{s:s}", "type", "string");
    case SRV_PARAM_INSTANCE_STATE:
        return json_pack("{s:s, s:[s, s], s:s}", "type", "string", "enum", "rejected", "noted", "default",
                         "rejected");
    case SRV_PARAM_WAITING:
        return json_pack("{s:s, s:[s]}", "type", "string", "enum", "waiting");
    case SRV_PARAM_INSTANCE:
        return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[0-9a-f.]+$", "maxLength", 64);
    case SRV_PARAM_JOB_STATE:
        states = json_array();
        for (int s = SRV_JOB_RECEIVING; s <= SRV_JOB_CANCELLED; s++)
            (void)json_array_append_new(states, json_string(srv_job_state_name((srv_job_state)s)));
        schema = json_pack("{s:s, s:o}", "type", "string", "enum", states);
        return schema;
    }
    return schema;
}

static json_t *parameters_of(const srv_route *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < SRV_PARAMS_MAX && r->params[i].name != NULL; i++) {
        const srv_param *p = &r->params[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", p->name, "in",
                                                    p->in_path ? "path" : "query", "required", p->in_path,
                                                    "description", p->help, "schema", schema_of(p)));
    }
    if (strcmp(r->method, "POST") == 0 && (r->scopes & SRV_SCOPE_OPERATE) != 0 && r->in_store != NULL)
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:i}}", "name", "Idempotency-Key",
                                              "in", "header", "required", false, "description",
                                              "the same key again does nothing and gets the same answer",
                                              "schema", "type", "string", "maxLength", 255));
    if (strstr(r->errors, "412") != NULL)
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:{s:s}}", "name", "If-Match", "in",
                                                    "header", "required", false, "description",
                                                    "only if it is still as when it had this ETag", "schema",
                                                    "type", "string"));
    return list;
}

static json_t *content_of(const srv_route *r)
{
    /* In OpenAPI 3.1 a body of bytes has a media type and an empty schema. */
    json_t *schema = r->schema != NULL ? ref_to("schemas", r->schema) : json_object();
    return json_pack("{s:{s:o}}", r->media, "schema", schema);
}

static json_t *responses_of(const srv_route *r)
{
    char status[8];
    json_t *responses = json_object();
    (void)snprintf(status, sizeof status, "%d", r->success);
    json_t *success = json_pack("{s:s}", "description", r->summary);
    if (r->media != NULL) (void)json_object_set_new(success, "content", content_of(r));
    if (strcmp(r->method, "POST") == 0)
        (void)json_object_set(responses, "200", success); /* a repeated Idempotency-Key */
    (void)json_object_set_new(responses, status, success);
    for (const char *e = r->errors; *e != '\0';) {
        const size_t n = strcspn(e, " ");
        (void)snprintf(status, sizeof status, "%.*s", (int)n, e);
        (void)json_object_set_new(responses, status, ref_to("responses", "Problem"));
        e += n + strspn(e + n, " ");
    }
    (void)json_object_set_new(responses, "default", ref_to("responses", "Problem"));
    return responses;
}

static json_t *body_of(const srv_route *r)
{
    json_t *content = json_pack("{s:{s:o}}", SRV_MEDIA_JSON, "schema", ref_to("schemas", r->body_schema));
    if (srv_route_uploads(r))
        (void)json_object_set_new(content, SRV_MEDIA_DICOM, json_pack("{s:{}}", "schema"));
    return json_pack("{s:b, s:o}", "required", true, "content", content);
}

/* Each scope by its name; none for a route that is open to anyone. */
static json_t *security_of(const srv_route *r)
{
    json_t *scopes = json_array();
    for (unsigned scope = SRV_SCOPE_READ; scope <= SRV_SCOPE_PHI; scope <<= 1) {
        char name[32];
        srv_scopes_print(r->scopes & scope, name);
        if (name[0] != '\0') (void)json_array_append_new(scopes, json_string(name));
    }
    if (r->scopes != SRV_SCOPE_ANYONE) return json_pack("[{s:o}]", "token", scopes);
    json_decref(scopes);
    return json_array();
}

static json_t *operation_of(const srv_route *r)
{
    json_t *op =
        json_pack("{s:s, s:s, s:[s], s:o, s:o}", "operationId", r->operation_id, "summary", r->summary,
                  "tags", r->tag, "parameters", parameters_of(r), "responses", responses_of(r));
    if (r->body_schema != NULL) (void)json_object_set_new(op, "requestBody", body_of(r));
    (void)json_object_set_new(op, "security", security_of(r));
    return op;
}

static json_t *paths(void)
{
    json_t *all = json_object();
    for (size_t i = 0; i < srv_n_routes; i++) {
        char method[16];
        json_t *path = json_object_get(all, srv_routes[i].pattern);
        if (path == NULL) {
            path = json_object();
            (void)json_object_set_new(all, srv_routes[i].pattern, path);
        }
        (void)snprintf(method, sizeof method, "%s", srv_routes[i].method);
        for (char *c = method; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        (void)json_object_set_new(path, method, operation_of(&srv_routes[i]));
    }
    return all;
}

json_t *srv_openapi(void)
{
    json_t *problem =
        json_pack("{s:s, s:{s:{s:o}}}", "description", "What was wrong, in one sentence", "content",
                  "application/problem+json", "schema", ref_to("schemas", "Problem"));
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:o, s:{s:o, s:{s:o}, s:{s:{s:s, s:s, s:s}}}}",
        "openapi", "3.1.0", "info", "title", "msad", "version", MSAD_VERSION, "description",
        "Segments the CT and MR series that a PACS sends, and sends DICOM-SEG back.", "license", "name",
        "Apache-2.0", "identifier", "Apache-2.0", "servers", "url", "/", "paths", paths(), "components",
        "schemas", srv_openapi_schemas(), "responses", "Problem", problem, "securitySchemes", "token", "type",
        "http", "scheme", "bearer", "description",
        "Made by `msad token create`; needed as soon as there is one");
}
