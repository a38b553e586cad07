/* The one table of routes. It answers requests and it makes /openapi.json, so the two cannot differ. */
#include "server/http/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/core/text.h"

/* clang-format off */
#define ID_OF(what)     {"id", SRV_PARAM_OPAQUE, true, 0, 0, 0, "id of the " what}
#define LIMIT(most, usual, what) {"limit", SRV_PARAM_INT, false, 1, most, usual, "most " what " in one answer"}
#define CURSOR          {"cursor", SRV_PARAM_CURSOR, false, 0, 0, 0, "`next_cursor` of the page before"}
#define SERIES_FILTER   {"series", SRV_PARAM_UID, false, 0, 0, 0, "only of this Series Instance UID"}

const srv_route srv_routes[] = {
    {"GET", "/", SRV_SCOPE_ANYONE, "getDashboard", "The dashboard, for browsers", "dashboard", {{0}}, NULL,
     200, "text/html; charset=utf-8", NULL, "", srv_get_page, NULL, NULL},
    {"GET", "/page.css", SRV_SCOPE_ANYONE, "getDashboardStyle", "How the dashboard looks", "dashboard", {{0}}, NULL,
     200, "text/css; charset=utf-8", NULL, "", srv_get_page, NULL, NULL},
    {"GET", "/page.js", SRV_SCOPE_ANYONE, "getDashboardScript", "What the dashboard does", "dashboard", {{0}}, NULL,
     200, "text/javascript; charset=utf-8", NULL, "", srv_get_page, NULL, NULL},

    {"GET", "/healthz", SRV_SCOPE_ANYONE, "getHealth", "The process runs", "service", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "Health", "", srv_get_healthz, NULL, NULL},
    {"GET", "/readyz", SRV_SCOPE_READ, "getReadiness", "Ready to take instances; 503 says why not", "service", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "Ready", "503", srv_get_readyz, NULL, NULL},
    {"GET", "/metrics", SRV_SCOPE_READ, "getMetrics", "Figures in the Prometheus text format", "service", {{0}}, NULL,
     200, "text/plain; version=0.0.4; charset=utf-8", NULL, "503", srv_get_metrics_live, srv_get_metrics, NULL},
    {"GET", "/openapi.json", SRV_SCOPE_READ, "getOpenapi", "This description", "service", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "OpenApi", "", srv_get_openapi, NULL, NULL},

    {"GET", "/v1/jobs", SRV_SCOPE_READ, "listJobs", "Jobs, newest first", "jobs",
     {{"state", SRV_PARAM_JOB_STATE, false, 0, 0, -1, "only in this state"}, SERIES_FILTER, LIMIT(200, 50, "jobs"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "JobList", "400", NULL, srv_get_jobs, NULL},
    {"GET", "/v1/jobs/{id}", SRV_SCOPE_READ, "getJob", "One job; with `wait` the answer comes when its state is final or the time is over", "jobs",
     {ID_OF("job"), {"wait", SRV_PARAM_INT, false, 0, SRV_HTTP_WAIT_MAX_S, 0, "seconds to wait for a final state"}}, NULL,
     200, SRV_MEDIA_JSON, "Job", "400 404", srv_get_job_wait, srv_get_job, NULL},
    {"GET", "/v1/jobs/{id}/result", SRV_SCOPE_READ | SRV_SCOPE_PHI, "getJobResult", "A DICOM object that the job made: a segmentation, or what goes beside it (its report, its contours, its pictures); 404 while there is none, 409 when it failed", "jobs",
     {ID_OF("job"), {"number", SRV_PARAM_INT, false, 1, 10000, 1, "which of the job's results"}}, NULL,
     200, "application/dicom", NULL, "400 404 409", NULL, srv_get_job_result, NULL},
    {"GET", "/v1/jobs/{id}/preview.png", SRV_SCOPE_READ | SRV_SCOPE_PHI, "getJobPreview", "A picture of the result over the image", "jobs", {ID_OF("job")}, NULL,
     200, "image/png", NULL, "404 409", NULL, srv_get_job_preview, NULL},
    {"GET", "/v1/jobs/{id}/slices.png", SRV_SCOPE_READ | SRV_SCOPE_PHI, "getJobSlices", "Key slices in a column of squares: left the image alone, right with its masks", "jobs", {ID_OF("job")}, NULL,
     200, "image/png", NULL, "404 409", NULL, srv_get_job_slices, NULL},

    {"POST", "/v1/jobs/{id}/cancel", SRV_SCOPE_OPERATE, "cancelJob", "Not begun, not finished, not delivered; 409 where it has ended or its series still arrives", "jobs", {ID_OF("job")}, NULL,
     200, SRV_MEDIA_JSON, "Job", "400 404 409 412 503", NULL, srv_post_job_cancel, srv_job_changed_by_hand},
    {"POST", "/v1/jobs/{id}/retry", SRV_SCOPE_OPERATE, "retryJob", "A job that failed or was cancelled once more; of one with results, what was not delivered is sent again", "jobs", {ID_OF("job")}, NULL,
     200, SRV_MEDIA_JSON, "Job", "400 404 409 412 503", NULL, srv_post_job_retry, srv_job_changed_by_hand},
    {"POST", "/v1/jobs/{id}/priority", SRV_SCOPE_OPERATE, "prioritiseJob", "Urgent jobs are begun before normal ones, background jobs after all others", "jobs", {ID_OF("job")}, "NewPriority",
     200, SRV_MEDIA_JSON, "Job", "400 404 409 412 413 415 503", srv_post_job_priority_check, srv_post_job_priority, srv_job_changed_by_hand},
    {"GET", "/v1/events", SRV_SCOPE_READ, "streamEvents", "What happens, as server-sent events: `job`, `series`, `delivery`, `refusal` and `instance`, each with its id and an Event as data; "
     "`progress` of running jobs without an id. The header Last-Event-ID (or `after`) goes on behind that event; `gap` says that events in between are no longer kept. "
     "A stream ends after an hour; browsers connect again by themselves", "events",
     {{"after", SRV_PARAM_EVENT, false, 0, INT64_MAX, -1, "id of the last event seen; else only what happens from now on"}}, NULL,
     200, "text/event-stream", NULL, "400 503", srv_get_events, NULL, NULL},

    {"GET", "/v1/series", SRV_SCOPE_READ, "listSeries", "Series, newest first", "series", {LIMIT(200, 50, "series"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "SeriesList", "400", NULL, srv_get_series_list, NULL},
    {"GET", "/v1/series/{uid}", SRV_SCOPE_READ, "getSeries", "One series and its jobs", "series",
     {{"uid", SRV_PARAM_UID, true, 0, 0, 0, "Series Instance UID"}}, NULL,
     200, SRV_MEDIA_JSON, "Series", "404", NULL, srv_get_series, NULL},

    {"POST", "/v1/series/{uid}/hold", SRV_SCOPE_OPERATE, "holdSeries", "Not closed, and no job of it begun, until it is released", "series",
     {{"uid", SRV_PARAM_UID, true, 0, 0, 0, "Series Instance UID"}}, NULL,
     200, SRV_MEDIA_JSON, "Series", "404 503", NULL, srv_post_series_hold, srv_annotations_changed},
    {"POST", "/v1/series/{uid}/release", SRV_SCOPE_OPERATE, "releaseSeries", "Held no more", "series",
     {{"uid", SRV_PARAM_UID, true, 0, 0, 0, "Series Instance UID"}}, NULL,
     200, SRV_MEDIA_JSON, "Series", "404 503", NULL, srv_post_series_release, srv_annotations_changed},
    {"POST", "/v1/series/{uid}/complete", SRV_SCOPE_OPERATE, "completeSeries", "Complete as it is, held or not; a later image still makes a new job", "series",
     {{"uid", SRV_PARAM_UID, true, 0, 0, 0, "Series Instance UID"}}, NULL,
     200, SRV_MEDIA_JSON, "Series", "404 503", NULL, srv_post_series_complete, srv_annotations_changed},
    {"POST", "/v1/series/{uid}/expected", SRV_SCOPE_OPERATE, "expectImages", "How many images there are: complete with the last of them, and not before, unless the quiet time ends", "series",
     {{"uid", SRV_PARAM_UID, true, 0, 0, 0, "Series Instance UID"}}, "Expected",
     200, SRV_MEDIA_JSON, "Series", "400 404 413 415 503", srv_post_series_expected_check, srv_post_series_expected, srv_annotations_changed},

    {"POST", "/v1/annotations", SRV_SCOPE_OPERATE, "createAnnotation",
     "Boxes and points that say what to segment, in pixels or in patient millimetres; or an annotation object (SR, presentation state, "
     "RTSTRUCT, SEG, key object selection) as a file, which is stored as if it had come by C-STORE and read later. With an Idempotency-Key "
     "header a repeated request adds nothing (200), nor does the same file again", "annotations",
     {{0}}, "NewAnnotation", 201, SRV_MEDIA_JSON, "CreatedAnnotation", "400 409 413 415 422 503",
     srv_post_annotations_check, srv_post_annotations, srv_annotations_changed},
    {"GET", "/v1/annotations", SRV_SCOPE_READ, "listAnnotations", "Annotations, of REST and of stored objects", "annotations",
     {SERIES_FILTER, {"state", SRV_PARAM_WAITING, false, 0, 0, 0, "only those whose images have not come"}, LIMIT(4096, 1000, "prompts"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "AnnotationList", "400", NULL, srv_get_annotations, NULL},
    {"GET", "/v1/annotations/{id}", SRV_SCOPE_READ, "getAnnotation", "What was posted under one id", "annotations", {ID_OF("annotation")}, NULL,
     200, SRV_MEDIA_JSON, "AnnotationList", "404", NULL, srv_get_annotation, NULL},
    {"DELETE", "/v1/annotations/{id}", SRV_SCOPE_OPERATE, "deleteAnnotation", "Takes back what was posted, unless a job has used it (409)", "annotations", {ID_OF("annotation")}, NULL,
     204, NULL, NULL, "404 409", NULL, srv_delete_annotation, srv_annotations_changed},

    {"GET", "/v1/associations", SRV_SCOPE_READ, "listAssociations", "Recent associations and refusals, newest first, each with its reason", "dicom",
     {LIMIT(1000, 100, "associations, and refusals,"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "AssociationList", "400", NULL, srv_get_associations, NULL},
    {"GET", "/v1/instances", SRV_SCOPE_READ, "listInstances", "Stored instances that could not be used, each with its reason, or annotations of which something was passed over", "dicom",
     {{"state", SRV_PARAM_INSTANCE_STATE, false, 0, 0, 0, "rejected: could not be read; noted: annotations whose `note` says why they prompt nothing, or what was passed over"},
      LIMIT(1000, 100, "instances"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "InstanceList", "400", NULL, srv_get_instances, NULL},
    {"GET", "/v1/instances/{id}", SRV_SCOPE_READ, "getInstance", "One stored instance, the newest version of it; an uploaded file by its SHA-256", "dicom",
     {{"id", SRV_PARAM_INSTANCE, true, 0, 0, 0, "SOP Instance UID, or SHA-256 of the file"}}, NULL,
     200, SRV_MEDIA_JSON, "Instance", "404", NULL, srv_get_instance, NULL},
    {"GET", "/v1/destinations", SRV_SCOPE_READ, "listDestinations", "Where results are sent", "dicom", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "DestinationList", "", srv_get_destinations, NULL, NULL},
    {"POST", "/v1/destinations/{name}/echo", SRV_SCOPE_OPERATE, "echoDestination", "C-ECHO, now: is it there, and does it know us?", "dicom",
     {{"name", SRV_PARAM_NAME, true, 0, 0, 0, "name of the destination"}}, NULL,
     200, SRV_MEDIA_JSON, "Echo", "404 503", srv_post_destination_echo, NULL, NULL},
    {"POST", "/v1/destinations/{name}/requeue", SRV_SCOPE_OPERATE, "requeueDestination", "All dead deliveries to it are pending again, but those of jobs that newer ones have replaced", "dicom",
     {{"name", SRV_PARAM_NAME, true, 0, 0, 0, "name of the destination"}}, NULL,
     200, SRV_MEDIA_JSON, "Requeued", "404 503", srv_post_destination_requeue_check, srv_post_destination_requeue, srv_deliveries_changed},
    {"GET", "/v1/deliveries", SRV_SCOPE_READ, "listDeliveries", "What was, is or is to be sent, newest first; dead ones were given up", "dicom",
     {{"state", SRV_PARAM_DELIVERY_STATE, false, 0, 0, 0, "only in this state"}, {"destination", SRV_PARAM_NAME, false, 0, 0, 0, "only to this one"},
      LIMIT(200, 50, "deliveries"), CURSOR}, NULL,
     200, SRV_MEDIA_JSON, "DeliveryList", "400", NULL, srv_get_deliveries, NULL},
    {"POST", "/v1/deliveries/{id}/requeue", SRV_SCOPE_OPERATE, "requeueDelivery", "A dead delivery is pending again, with all its time; 409 when it is not dead, or a newer job has replaced its own", "dicom",
     {{"id", SRV_PARAM_CURSOR, true, 0, 0, 0, "id of the delivery"}}, NULL,
     200, SRV_MEDIA_JSON, "Delivery", "404 409 503", NULL, srv_post_delivery_requeue, srv_deliveries_changed},
    {"GET", "/v1/rules", SRV_SCOPE_READ, "listRules", "The rules in the order in which they are tried; the last is for everything", "rules", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "RuleList", "", srv_get_rules, NULL, NULL},
    {"POST", "/v1/rules/test", SRV_SCOPE_READ, "testRules", "Which rule is for a job, or for a series as described, and why the ones before it are not", "rules",
     {{0}}, "RuleQuestion", 200, SRV_MEDIA_JSON, "RuleAnswer", "400 404 413 415 503",
     srv_post_rules_test_check, srv_post_rules_test, NULL},
    {"GET", "/v1/models", SRV_SCOPE_READ, "listModels", "The models in use", "models", {{0}}, NULL,
     200, SRV_MEDIA_JSON, "ModelList", "", srv_get_models, NULL, NULL},
};
/* clang-format on */
const size_t srv_n_routes = sizeof srv_routes / sizeof srv_routes[0];

/* Compares segment by segment; "{x}" takes any one that is not empty and short enough to be a value. */
static bool matches(const char *pattern, const char *path, char values[SRV_PARAMS_MAX][SRV_PARAM_TEXT_MAX])
{
    size_t n_values = 0;
    while (*pattern == '/' && *path == '/') {
        pattern++, path++;
        const size_t np = strcspn(pattern, "/"), n = strcspn(path, "/");
        if (pattern[0] == '{') {
            if (n == 0 || n >= SRV_PARAM_TEXT_MAX) return false;
            memcpy(values[n_values], path, n);
            values[n_values++][n] = '\0';
        } else if (np != n || memcmp(pattern, path, n) != 0) {
            return false;
        }
        pattern += np;
        path += n;
    }
    return *pattern == '\0' && *path == '\0';
}

static void add_allow(char allow[SRV_ALLOW_MAX], const char *method)
{
    const size_t n = strlen(allow);
    (void)snprintf(allow + n, SRV_ALLOW_MAX - n, "%s%s", n == 0 ? "" : ", ", method);
}

const srv_route *srv_route_find(srv_request *req, const char *method, const char *path)
{
    const bool head = strcmp(method, "HEAD") == 0, options = strcmp(method, "OPTIONS") == 0;
    char values[SRV_PARAMS_MAX][SRV_PARAM_TEXT_MAX] = {{0}};
    req->allow[0] = '\0';
    for (size_t i = 0; i < srv_n_routes; i++) {
        const srv_route *route = &srv_routes[i];
        if (!matches(route->pattern, path, values)) continue;
        if (strcmp(route->method, head ? "GET" : method) == 0) {
            memcpy(req->path_values, values, sizeof values);
            return route;
        }
        add_allow(req->allow, route->method);
        if (strcmp(route->method, "GET") == 0) add_allow(req->allow, "HEAD");
    }
    if (options && strcmp(path, "*") == 0) add_allow(req->allow, "GET, HEAD, POST, DELETE");
    if (req->allow[0] == '\0') {
        srv_reply_problem(&req->reply, MHD_HTTP_NOT_FOUND,
                          "there is nothing at this path; /openapi.json lists what there is");
        return NULL;
    }
    add_allow(req->allow, "OPTIONS");
    if (options) {
        srv_reply_free(&req->reply);
        req->reply.status = MHD_HTTP_NO_CONTENT;
    } else {
        srv_reply_problem(&req->reply, MHD_HTTP_METHOD_NOT_ALLOWED, "this path takes %s", req->allow);
    }
    req->reply.allow = req->allow;
    return NULL;
}

static bool read_int(const srv_param *p, srv_param_value *v)
{
    char *end = NULL;
    if (v->text[0] == '\0' || strspn(v->text, "0123456789") != strlen(v->text) || strlen(v->text) > 18)
        return false;
    v->number = strtoll(v->text, &end, 10);
    return v->number >= p->min && v->number <= p->max;
}

static bool read_job_state(srv_param_value *v)
{
    for (int s = SRV_JOB_RECEIVING; s <= SRV_JOB_CANCELLED; s++)
        if (strcmp(srv_job_state_name((srv_job_state)s), v->text) == 0) {
            v->number = s;
            return true;
        }
    return false;
}

static bool is_opaque(const char *text)
{
    const size_t n = strlen(text);
    return n >= 1 && n <= 64 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static bool is_name(const char *text)
{
    const size_t n = strlen(text);
    return n >= 1 && n <= 63 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static bool is_delivery_state(const char *text)
{
    static const char *const states[] = {"pending", "sending", "delivered", "dead", "cancelled"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(states[i], text) == 0) return true;
    return false;
}

static bool is_sha256(const char *text)
{
    return strlen(text) == MSA_SHA256_HEX - 1 && strspn(text, "0123456789abcdef") == MSA_SHA256_HEX - 1;
}

/* NULL: fine; else what the value should have been. */
static const char *read_value(const srv_param *p, srv_param_value *v)
{
    switch (p->kind) {
    case SRV_PARAM_INT:
        return read_int(p, v) ? NULL : "a whole number in the range";
    case SRV_PARAM_EVENT:
        return read_int(p, v) ? NULL : "the id of an event";
    case SRV_PARAM_UID:
        return srv_text_is_uid(v->text) ? NULL : "a DICOM UID (digits and dots, at most 64)";
    case SRV_PARAM_OPAQUE:
        return is_opaque(v->text) ? NULL : "an id that this service gave out";
    case SRV_PARAM_NAME:
        return is_name(v->text) ? NULL : "a name of the settings";
    case SRV_PARAM_DELIVERY_STATE:
        return is_delivery_state(v->text) ? NULL : "pending, sending, delivered, dead or cancelled";
    case SRV_PARAM_CURSOR:
        return srv_cursor_read(v->text, &v->number) ? NULL : "a cursor that this service gave out";
    case SRV_PARAM_JOB_STATE:
        return read_job_state(v) ? NULL : "the name of a job state (see /openapi.json)";
    case SRV_PARAM_INSTANCE_STATE:
        v->number = strcmp(v->text, "noted") == 0;
        return v->number == 1 || strcmp(v->text, "rejected") == 0 ? NULL : "rejected or noted";
    case SRV_PARAM_WAITING:
        v->number = 1;
        return strcmp(v->text, "waiting") == 0 ? NULL : "the word waiting";
    case SRV_PARAM_INSTANCE:
        return srv_text_is_uid(v->text) || is_sha256(v->text) ? NULL
                                                              : "a SOP Instance UID or the SHA-256 of a file";
    }
    return "something else";
}

static void refuse_value(srv_request *req, const srv_param *p, const char *wanted)
{
    if (p->in_path) /* an id that cannot be one is not there */
        srv_reply_problem(&req->reply, MHD_HTTP_NOT_FOUND, "%s is not %s", p->name, wanted);
    else if (p->kind == SRV_PARAM_INT)
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "%s is not %s %" PRId64 "..%" PRId64, p->name,
                          wanted, p->min, p->max);
    else
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "%s is not %s", p->name, wanted);
}

static void unknown_query(srv_request *req)
{
    char known[128] = "";
    for (size_t i = 0; i < SRV_PARAMS_MAX && req->route->params[i].name != NULL; i++) {
        const size_t n = strlen(known);
        if (!req->route->params[i].in_path)
            (void)snprintf(known + n, sizeof known - n, "%s%s", n == 0 ? "" : ", ",
                           req->route->params[i].name);
    }
    srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "unknown query parameter; this path takes %s",
                      known[0] == '\0' ? "none" : known);
}

static enum MHD_Result each_query(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                  const char *value, size_t value_size)
{
    srv_request *req = cls;
    (void)kind, (void)key_size;
    size_t i = 0;
    while (i < SRV_PARAMS_MAX && req->route->params[i].name != NULL &&
           (req->route->params[i].in_path || strcmp(req->route->params[i].name, key) != 0))
        i++;
    if (i == SRV_PARAMS_MAX || req->route->params[i].name == NULL) {
        unknown_query(req);
        return MHD_NO;
    }
    const srv_param *p = &req->route->params[i];
    srv_param_value *v = &req->params[i];
    if (v->given) {
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "%s is there twice", p->name);
        return MHD_NO;
    }
    const bool fits = value != NULL && value_size < sizeof v->text && strlen(value) == value_size;
    if (fits) memcpy(v->text, value, value_size + 1);
    v->given = true;
    const char *wanted = read_value(p, v); /* an empty or overlong text fits no kind */
    if (wanted != NULL) refuse_value(req, p, wanted);
    return wanted != NULL ? MHD_NO : MHD_YES;
}

bool srv_route_params(srv_request *req)
{
    size_t in_path = 0;
    for (size_t i = 0; i < SRV_PARAMS_MAX && req->route->params[i].name != NULL; i++) {
        const srv_param *p = &req->route->params[i];
        srv_param_value *v = &req->params[i];
        v->number = p->fallback;
        if (!p->in_path) continue;
        memcpy(v->text, req->path_values[in_path++], sizeof v->text);
        v->given = true;
        const char *wanted = read_value(p, v);
        if (wanted == NULL) continue;
        refuse_value(req, p, wanted);
        return false;
    }
    (void)MHD_get_connection_values_n(req->connection, MHD_GET_ARGUMENT_KIND, each_query, req);
    return req->reply.status == 0;
}

const srv_param_value *srv_param_of(const srv_request *req, const char *name)
{
    static const srv_param_value none;
    for (size_t i = 0; i < SRV_PARAMS_MAX && req->route->params[i].name != NULL; i++)
        if (strcmp(req->route->params[i].name, name) == 0) return &req->params[i];
    return &none;
}
