/* Problem details (RFC 9457): every refusal says in one sentence what was wrong (invariant 7). */
#include "server/http/internal.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    int status;
    const char *slug, *title;
} kinds[] = {
    {400, "bad-request", "Bad Request"},
    {401, "unauthorized", "Unauthorized"},
    {403, "forbidden", "Forbidden"},
    {404, "not-found", "Not Found"},
    {405, "method-not-allowed", "Method Not Allowed"},
    {408, "request-timeout", "Request Timeout"},
    {409, "conflict", "Conflict"},
    {412, "precondition-failed", "Precondition Failed"},
    {413, "content-too-large", "Content Too Large"},
    {415, "unsupported-media-type", "Unsupported Media Type"},
    {421, "misdirected-request", "Misdirected Request"},
    {422, "unprocessable-content", "Unprocessable Content"},
    {429, "too-many-requests", "Too Many Requests"},
    {500, "internal-error", "Internal Server Error"},
    {503, "unavailable", "Service Unavailable"},
};

static size_t kind_of(int status)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].status == status) return i;
    return sizeof kinds / sizeof kinds[0] - 2; /* 500 */
}

const char *srv_problem_title(int status)
{
    return kinds[kind_of(status)].title;
}

const char *srv_problem_slug(int status)
{
    return kinds[kind_of(status)].slug;
}

void srv_reply_problem(srv_reply *r, int status, const char *fmt, ...)
{
    char detail[MSA_ERROR_WHAT_MAX], type[64];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    (void)snprintf(type, sizeof type, "urn:msad:problem:%s", srv_problem_slug(status));
    srv_reply_free(r);
    srv_reply_json(r, status,
                   json_pack("{s:s, s:s, s:i, s:o}", "type", type, "title", srv_problem_title(status),
                             "status", status, "detail", srv_json_string(detail)));
    r->media = "application/problem+json";
    memcpy(r->detail, detail, sizeof detail);
}

void srv_reply_error(srv_reply *r, const msa_error *err)
{
    const int status = srv_http_status(err->status == MSA_OK ? MSA_E_INTERNAL : err->status);
    srv_reply_problem(r, status, "%s", err->what[0] != '\0' ? err->what : "an unexpected failure");
}
