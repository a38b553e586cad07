/**
 * GET /v1/events: what happens, as server-sent events (HTML Living Standard, section 9.2).
 *
 * The catalogue keeps the log; every stream has its own place in it. One task at a time reads on from the
 * place of the stream that is furthest behind and gives each stream what fits into its room: a slow reader
 * holds back nothing but itself, costs no memory beyond its room, and is dropped when it reads nothing for a
 * while.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/http/internal.h"

#define ROOM         32768
#define BATCH        200
#define LINE_ROOM    640 /* of one event; its texts are bounded */
#define HEARTBEAT_MS 15000u
#define LIFE_MS      3600000u /* then the reader connects again, and shows its token again */

struct srv_stream {
    srv_hub *hub; /* NULL: not among its streams */
    srv_stream *prev, *next;
    srv_request *req; /* for its connection */
    int fd;
    int64_t place; /* id of the last event given; -1: from now on */
    bool greeted, told_progress;
    bool over, suspended;
    uint64_t beat_ms, end_ms, stuck_ms; /* uv_now(); stuck: since when it has taken nothing; 0: it has all */
    size_t used, taken;
    char room[ROOM];
};

typedef struct line {
    int64_t id;
    char text[LINE_ROOM];
} line;

struct srv_hub {
    srv_task task;  /* first */
    srv_http *http; /* NULL once the server has stopped */
    srv_stream *streams;
    int32_t n_streams;
    bool in_flight, again;
    int64_t after;
    int64_t known; /* id of the newest event when it was looked last */
    /* the store thread's, while in flight */
    int64_t oldest, newest;
    size_t n;
    line lines[BATCH];
    size_t progress_size;
    char progress[ROOM / 2], told_progress[ROOM / 2];
};

/* ---- one stream ---- */

static uint64_t now_of(const srv_stream *s)
{
    return uv_now(s->hub->http->env.loop);
}

static void wake(srv_stream *s)
{
    if (!s->suspended || s->req == NULL || s->req->connection == NULL) return;
    s->suspended = false;
    MHD_resume_connection(s->req->connection);
    srv_http_kick(s->hub->http);
}

static bool append(srv_stream *s, const char *text, size_t size)
{
    if (s->taken > 0 && s->used + size > ROOM) {
        memmove(s->room, s->room + s->taken, s->used - s->taken);
        s->used -= s->taken;
        s->taken = 0;
    }
    if (s->used + size > ROOM) return false;
    if (s->used == s->taken) s->stuck_ms = now_of(s);
    memcpy(s->room + s->used, text, size);
    s->used += size;
    wake(s);
    return true;
}

static void unlink_stream(srv_stream *s)
{
    if (s->hub == NULL) return;
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        s->hub->streams = s->next;
    if (s->next != NULL) s->next->prev = s->prev;
    s->hub->n_streams--;
    s->hub = NULL;
}

void srv_stream_free(srv_stream *s)
{
    if (s == NULL) return;
    unlink_stream(s);
    if (s->req != NULL) s->req->stream = NULL;
    free(s);
}

static void free_stream(void *cls)
{
    srv_stream_free(cls);
}

/* MHD asks for more. With nothing to give, the connection sleeps; with no hub any more, it ends. */
static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t room)
{
    srv_stream *s = cls;
    (void)position;
    const size_t n = s->used - s->taken < room ? s->used - s->taken : room;
    if (n > 0) {
        memcpy(to, s->room + s->taken, n);
        s->taken += n;
        if (s->hub != NULL) s->stuck_ms = now_of(s);
        if (s->taken < s->used) return (ssize_t)n;
        s->used = s->taken = 0;
        s->stuck_ms = 0;
        if (s->hub != NULL && s->place < s->hub->known) srv_hub_look(s->hub); /* it had no room for all */
        return (ssize_t)n;
    }
    if (s->over || s->hub == NULL || s->hub->http->stopping) return MHD_CONTENT_READER_END_OF_STREAM;
    s->suspended = true;
    MHD_suspend_connection(s->req->connection);
    return 0;
}

struct MHD_Response *srv_stream_response(srv_stream *s)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, s, free_stream);
    if (response == NULL) srv_stream_free(s);
    return response;
}

/* ---- on the store thread ---- */

static void add_line(void *ctx, const srv_event *e)
{
    srv_hub *hub = ctx;
    size_t size = 0;
    json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:o}", "kind", srv_json_string(e->kind), "subject",
                             srv_json_string(e->subject), "state", srv_json_string(e->state), "detail",
                             srv_json_text(e->detail), "at", srv_json_time(e->at_ms));
    char *text = json == NULL ? NULL : srv_json_dump(json, &size);
    json_decref(json);
    line *l = &hub->lines[hub->n++];
    l->id = e->id;
    /* Escaped, a text may be longer than its line: then without it, as an event must not be lost. */
    if (text == NULL || size > LINE_ROOM - 64)
        (void)snprintf(l->text, sizeof l->text,
                       "id: %lld\nevent: %s\ndata: {\"kind\":\"%s\",\"subject\":\"\",\"state\":\"%s\","
                       "\"detail\":null,\"at\":null}\n\n",
                       (long long)e->id, e->kind, e->kind, e->state);
    else
        (void)snprintf(l->text, sizeof l->text, "id: %lld\nevent: %s\ndata: %s\n\n", (long long)e->id,
                       e->kind, text);
    free(text);
}

static void add_progress(void *ctx, const srv_running *job)
{
    srv_hub *hub = ctx;
    size_t size = 0;
    json_t *json = json_pack("{s:s, s:i, s:i, s:o}", "id", job->public_id, "done", job->done, "total",
                             job->total, "started_at", srv_json_time(job->started_ms));
    char *text = json == NULL ? NULL : srv_json_dump(json, &size);
    json_decref(json);
    const size_t room = sizeof hub->progress - hub->progress_size;
    const int n = text == NULL || size + 32 > room ? 0
                                                   : snprintf(hub->progress + hub->progress_size, room,
                                                              "event: progress\ndata: %s\n\n", text);
    hub->progress_size += (size_t)n;
    free(text);
}

static msa_status look(srv_task *task, srv_store *store, msa_error *err)
{
    srv_hub *hub = (srv_hub *)task;
    hub->n = hub->progress_size = 0;
    hub->progress[0] = '\0';
    MSA_TRY(srv_store_events_range(store, &hub->oldest, &hub->newest, err));
    if (hub->after < hub->newest) MSA_TRY(srv_store_events(store, hub->after, BATCH, add_line, hub, err));
    return srv_store_jobs_running(store, add_progress, hub, err);
}

/* ---- back on the loop ---- */

/* Places a stream in the log, and says where that is. */
static void put_at(srv_stream *s, const char *event, int64_t id)
{
    char text[128];
    const int n =
        snprintf(text, sizeof text, "retry: 2000\nid: %lld\nevent: %s\ndata: {}\n\n", (long long)id, event);
    if (!append(s, text, (size_t)n)) return; /* next time */
    s->place = id;
    s->greeted = true;
}

static void give(srv_hub *hub, srv_stream *s, bool progress_changed)
{
    if (s->place < 0)
        put_at(s, "start", hub->newest);
    else if (s->place > hub->newest) /* of another catalogue */
        put_at(s, "gap", hub->newest);
    else if (s->place + 1 < hub->oldest)
        put_at(s, "gap", hub->oldest - 1);
    else if (!s->greeted)
        put_at(s, "start", s->place);
    /* What was read begins behind its place only if it came or had no room meanwhile: the next look is for
     * it. */
    for (size_t i = 0; i < hub->n && s->place >= hub->after; i++) {
        const line *l = &hub->lines[i];
        if (l->id <= s->place) continue;
        if (!append(s, l->text, strlen(l->text))) break;
        s->place = l->id;
    }
    if (hub->progress_size > 0 && (progress_changed || !s->told_progress))
        s->told_progress = append(s, hub->progress, hub->progress_size); /* without room: the next will do */
}

static void looked(srv_task *task)
{
    srv_hub *hub = (srv_hub *)task;
    hub->in_flight = false;
    if (hub->http == NULL) {
        free(hub);
        return;
    }
    if (task->status != MSA_OK || hub->http->stopping) return; /* the tick comes back to it */
    const bool changed = strcmp(hub->progress, hub->told_progress) != 0;
    memcpy(hub->told_progress, hub->progress, hub->progress_size + 1);
    bool behind = false;
    hub->known = hub->newest;
    for (srv_stream *s = hub->streams; s != NULL; s = s->next) {
        give(hub, s, changed);
        behind = behind || (s->place < hub->newest && s->used - s->taken + LINE_ROOM <= ROOM);
    }
    if (hub->again || behind) srv_hub_look(hub);
}

void srv_hub_look(srv_hub *hub)
{
    int64_t after = INT64_MAX;
    hub->again = hub->in_flight;
    if (hub->in_flight || hub->streams == NULL || hub->http->stopping) return;
    for (const srv_stream *s = hub->streams; s != NULL; s = s->next)
        if (s->place >= 0 && s->place < after && s->used - s->taken + LINE_ROOM <= ROOM) after = s->place;
    hub->after = after;
    memset(&hub->task, 0, sizeof hub->task);
    hub->task.run = look;
    hub->task.done = looked;
    hub->in_flight = srv_store_thread_submit(hub->http->env.store, &hub->task, NULL) == MSA_OK;
}

/* MHD does not look at a connection that sleeps. Over TLS the heartbeat finds out instead. */
static bool has_left(const srv_stream *s)
{
    char byte;
    if (!s->suspended) return false;
    const ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void srv_hub_tick(srv_hub *hub, uint64_t now)
{
    for (srv_stream *s = hub->streams; s != NULL; s = s->next) {
        if (now >= s->end_ms || has_left(s) || !srv_auth_still(hub->http, s->req->token_sha256)) {
            s->over = true;
            wake(s);
        } else if (now >= s->beat_ms && s->used == s->taken) {
            s->beat_ms = now + HEARTBEAT_MS;
            (void)append(s, ":\n\n", 3); /* a reader that has left shows when it is written to */
        }
        if (s->stuck_ms > 0 && now >= s->stuck_ms + (uint64_t)hub->http->env.receive_ms)
            (void)shutdown(s->fd, SHUT_RDWR);
    }
    srv_hub_look(hub);
}

/* ---- life ---- */

msa_status srv_hub_new(srv_http *h, msa_error *err)
{
    h->hub = calloc(1, sizeof *h->hub);
    if (h->hub == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    h->hub->http = h;
    return MSA_OK;
}

void srv_hub_end(srv_hub *hub)
{
    for (srv_stream *s = hub->streams; s != NULL; s = s->next) {
        s->over = true;
        wake(s);
    }
}

void srv_hub_abandon(srv_hub *hub)
{
    if (hub == NULL) return;
    while (hub->streams != NULL)
        unlink_stream(hub->streams);
    hub->http = NULL;
    if (!hub->in_flight) free(hub);
}

int32_t srv_hub_streams(const srv_hub *hub)
{
    return hub->n_streams;
}

/* The id that the reader has seen last; a browser sends it as a header when it connects again. */
static bool read_place(srv_request *req, int64_t *place)
{
    const char *text = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Last-Event-ID");
    *place = srv_param_of(req, "after")->number;
    if (text == NULL || text[0] == '\0') return true;
    const size_t n = strlen(text);
    if (n > 18 || strspn(text, "0123456789") != n) {
        srv_reply_problem(&req->reply, MHD_HTTP_BAD_REQUEST, "Last-Event-ID is not the id of an event");
        return false;
    }
    *place = strtoll(text, NULL, 10);
    return true;
}

void srv_get_events(srv_request *req)
{
    srv_hub *hub = req->http->hub;
    const uint64_t now = uv_now(req->http->env.loop);
    int64_t place = -1;
    if (!read_place(req, &place)) return;
    if (hub->n_streams >= SRV_HTTP_STREAMS_MAX) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "%d readers follow the events already; come back later", SRV_HTTP_STREAMS_MAX);
        return;
    }
    srv_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        return;
    }
    s->hub = hub;
    s->req = req;
    s->fd = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const int kernel_room = ROOM; /* else the kernel's own grows to megabytes for who does not read */
    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &kernel_room, sizeof kernel_room);
    s->place = place;
    s->beat_ms = now + HEARTBEAT_MS;
    s->end_ms = now + LIFE_MS;
    s->next = hub->streams;
    if (s->next != NULL) s->next->prev = s;
    hub->streams = s;
    hub->n_streams++;
    req->reply.status = MHD_HTTP_OK;
    req->reply.media = "text/event-stream";
    req->reply.stream = s;
    req->stream = s;
    srv_hub_look(hub);
}

void srv_stream_left(srv_request *req)
{
    srv_stream *s = req->stream;
    if (s == NULL) return;
    req->stream = NULL;
    s->req = NULL;
    unlink_stream(s);
}
