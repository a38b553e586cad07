#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void srv_reply_init(srv_reply *r)
{
    memset(r, 0, sizeof *r);
    r->fd = -1;
}

void srv_reply_free(srv_reply *r)
{
    free(r->body);
    if (r->fd >= 0) (void)close(r->fd);
    srv_stream_free(r->stream);
    srv_reply_init(r);
}

void srv_reply_body(srv_reply *r, int status, const char *media, char *body, size_t size)
{
    free(r->body);
    r->status = status;
    r->media = media;
    r->body = body;
    r->size = size;
}

void srv_reply_json(srv_reply *r, int status, json_t *json)
{
    size_t size = 0;
    char *text = json == NULL ? NULL : srv_json_dump(json, &size);
    json_decref(json);
    /* Without memory even for the problem an empty 500 must do. */
    srv_reply_body(r, text == NULL ? MHD_HTTP_INTERNAL_SERVER_ERROR : status, SRV_MEDIA_JSON, text, size);
}
