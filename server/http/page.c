/* The dashboard. It holds nothing of anybody: what it shows it asks for like any other client, so it needs no
 * token. */
#include "server/http/page.h"

#include <stdlib.h>
#include <string.h>

#include "server/http/internal.h"

/* Its own script and style, its own service, and pictures that the script has fetched; nothing inline,
 * nothing foreign, in no frame, no form goes anywhere. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:; "     \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

void srv_get_page(srv_request *req)
{
    const srv_page_file *file = srv_page_files;
    while (strcmp(file->path, req->route->pattern) != 0)
        file++; /* every route to here has one: test_reading.py */
    char *copy = malloc(file->size);
    if (copy == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        return;
    }
    memcpy(copy, file->data, file->size);
    srv_reply_body(&req->reply, MHD_HTTP_OK, file->media, copy, file->size);
    memcpy(req->reply.etag, file->sha256, sizeof req->reply.etag);
    req->reply.policy = POLICY;
}
