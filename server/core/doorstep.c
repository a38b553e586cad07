#include "server/core/doorstep.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_MAX 512
#define HEAD_BYTES  6      /* type, reserved, length */
#define REQUEST_MAX 65536u /* as in the receive role: no honest request comes near it */

typedef struct visitor {
    struct visitor *next, *prev; /* oldest first */
    srv_doorstep *doorstep;
    uv_poll_t poll;
    int fd;
    uint64_t deadline_ms;
    char peer[48];
} visitor;

struct srv_doorstep {
    uv_loop_t *loop;
    uint64_t patience_ms;
    srv_doorstep_events events;
    visitor *first, *last;
    int waiting, handles; /* handles: also those that are closing */
    bool freed;
};

static void on_closed(uv_handle_t *handle)
{
    visitor *v = handle->data;
    srv_doorstep *d = v->doorstep;
    free(v);
    if (--d->handles == 0 && d->freed) free(d);
}

/* Off the list; its descriptor is the caller's from here on. */
static int leave(visitor *v)
{
    srv_doorstep *d = v->doorstep;
    if (v->prev != NULL)
        v->prev->next = v->next;
    else
        d->first = v->next;
    if (v->next != NULL)
        v->next->prev = v->prev;
    else
        d->last = v->prev;
    d->waiting--;
    uv_close((uv_handle_t *)&v->poll, on_closed);
    return v->fd;
}

static void turn_away(visitor *v, const char *why)
{
    /* A-ABORT by the service provider, "unrecognized PDU" (PS3.8 section 9.3.8): a peer that does speak DICOM
     * learns it. */
    static const unsigned char abort_pdu[] = {7, 0, 0, 0, 0, 4, 0, 0, 2, 1};
    const srv_doorstep_events *events = &v->doorstep->events;
    char peer[sizeof v->peer];
    memcpy(peer, v->peer, sizeof peer);
    const int fd = leave(v);
    if (why[0] != '\0') (void)!send(fd, abort_pdu, sizeof abort_pdu, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(fd);
    events->turned_away(events->ctx, peer, why);
}

static void admit(visitor *v)
{
    const srv_doorstep_events *events = &v->doorstep->events;
    char peer[sizeof v->peer];
    const int one = 1;
    memcpy(peer, v->peer, sizeof peer);
    const int fd = leave(v);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
    events->ready(events->ctx, fd, peer);
}

static void on_readable(uv_poll_t *poll, int status, int happened)
{
    (void)happened;
    visitor *v = poll->data;
    unsigned char head[HEAD_BYTES];
    ssize_t n = -1;
    if (status == 0) do
            n = recv(v->fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
    if (n < 0 && status == 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) {
        turn_away(v, "");
        return;
    }
    const uint32_t length =
        n < HEAD_BYTES ? 0
                       : (uint32_t)head[2] << 24 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 8 | head[5];
    if (head[0] != 1)
        turn_away(v, "the peer does not speak DICOM: its first bytes are no association request");
    else if (n < HEAD_BYTES) /* woken below the low-water mark: the peer has closed its side */
        turn_away(v, "the peer left in the middle of its association request");
    else if (length > REQUEST_MAX)
        turn_away(v, "the peer's association request is larger than 64 KiB");
    else
        admit(v);
}

msa_status srv_doorstep_new(srv_doorstep **out, uv_loop_t *loop, uint64_t patience_ms,
                            const srv_doorstep_events *events, msa_error *err)
{
    srv_doorstep *d = calloc(1, sizeof *d);
    *out = d;
    if (d == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    d->loop = loop;
    d->patience_ms = patience_ms;
    d->events = *events;
    return MSA_OK;
}

void srv_doorstep_patience(srv_doorstep *d, uint64_t patience_ms)
{
    d->patience_ms = patience_ms;
}

void srv_doorstep_add(srv_doorstep *d, int fd, const char *peer)
{
    const int head = HEAD_BYTES;
    visitor *v = calloc(1, sizeof *v);
    if (d->waiting >= WAITING_MAX) turn_away(d->first, "too many connections wait to say something");
    /* The kernel wakes us when the whole head is there, so a peer that drips bytes does not spin the loop. */
    if (v == NULL || setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &head, sizeof head) != 0 ||
        uv_poll_init_socket(d->loop, &v->poll, fd) != 0) {
        free(v);
        (void)close(fd);
        d->events.turned_away(d->events.ctx, peer, "no memory or descriptor is left for another connection");
        return;
    }
    d->handles++;
    d->waiting++;
    v->doorstep = d;
    v->fd = fd;
    v->poll.data = v;
    v->deadline_ms = uv_now(d->loop) + d->patience_ms;
    (void)snprintf(v->peer, sizeof v->peer, "%s", peer);
    v->prev = d->last;
    if (d->last != NULL)
        d->last->next = v;
    else
        d->first = v;
    d->last = v;
    (void)uv_poll_start(&v->poll, UV_READABLE | UV_DISCONNECT, on_readable);
}

void srv_doorstep_tick(srv_doorstep *d)
{
    while (d->first != NULL && uv_now(d->loop) >= d->first->deadline_ms)
        turn_away(d->first, "the peer connected and said nothing");
}

int srv_doorstep_waiting(const srv_doorstep *d)
{
    return d == NULL ? 0 : d->waiting;
}

void srv_doorstep_free(srv_doorstep *d)
{
    if (d == NULL) return;
    while (d->first != NULL)
        (void)close(leave(d->first));
    d->freed = true;
    if (d->handles == 0) free(d);
}
