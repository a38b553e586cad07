#include "server/core/doorstep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_MAX 512
#define HEAD_BYTES  6      /* of a PDU: type, reserved, length */
#define TLS_HEAD    5      /* of a record */
#define REQUEST_MAX 65536u /* as in the receive role: no honest request comes near it */

typedef struct visitor {
    struct visitor *next, *prev; /* oldest first */
    srv_doorstep *doorstep;
    uv_poll_t poll;
    int fd;
    bool tls;
    bool asked; /* its head is there, and the rest is waited for */
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
    const bool tls = v->tls;
    memcpy(peer, v->peer, sizeof peer);
    const int fd = leave(v);
    if (why[0] != '\0' && !tls) (void)!send(fd, abort_pdu, sizeof abort_pdu, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(fd);
    events->turned_away(events->ctx, peer, why);
}

static void admit(visitor *v)
{
    const srv_doorstep_events *events = &v->doorstep->events;
    char peer[sizeof v->peer];
    const int one = 1;
    memcpy(peer, v->peer, sizeof peer);
    const bool tls = v->tls;
    const int fd = leave(v);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
    events->ready(events->ctx, fd, peer, tls);
}

#define TLS_HANDSHAKE 22 /* RFC 8446 section 5.1: the type of a record, then its version and length */

/* How long what it begins with will be, by its head; 0: it is not what this port takes, and *why says so. */
static uint32_t request_bytes(const visitor *v, const unsigned char head[HEAD_BYTES], const char **why)
{
    if (v->tls && head[0] == 1)
        *why = "the peer speaks DICOM without TLS on dicom.tls_port; let it use TLS, or dicom.port";
    else if (v->tls && (head[0] != TLS_HANDSHAKE || head[1] != 3))
        *why = "the peer does not speak TLS: its first bytes are no ClientHello";
    else if (!v->tls && head[0] == TLS_HANDSHAKE)
        *why = "the peer speaks TLS on dicom.port; let it use dicom.tls_port, or DICOM without TLS";
    else if (!v->tls && head[0] != 1)
        *why = "the peer does not speak DICOM: its first bytes are no association request";
    else if (v->tls)
        return TLS_HEAD + ((uint32_t)head[3] << 8 | head[4]);
    else {
        const uint32_t n =
            (uint32_t)head[2] << 24 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 8 | head[5];
        if (n <= REQUEST_MAX) return HEAD_BYTES + n;
        *why = "the peer's association request is larger than 64 KiB";
    }
    return 0;
}

/* The kernel wakes us when so much is there, so a peer that drips bytes does not spin the loop. */
static bool wait_for_bytes(int fd, int n)
{
    return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n) == 0;
}

static void on_readable(uv_poll_t *poll, int status, int happened)
{
    visitor *v = poll->data;
    unsigned char head[HEAD_BYTES];
    const char *why = "";
    ssize_t n = -1;
    int there = 0;
    if (status == 0) do
            n = recv(v->fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
    if (n < 0 && status == 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) {
        turn_away(v, "");
        return;
    }
    if (n < HEAD_BYTES) { /* woken below the low-water mark: the peer has closed its side */
        turn_away(v, "the peer left in the middle of its association request");
        return;
    }
    const uint32_t wanted = request_bytes(v, head, &why);
    if (wanted == 0)
        turn_away(v, why);
    else if (ioctl(v->fd, FIONREAD, &there) != 0 || (uint32_t)there >= wanted)
        admit(v);
    else if ((happened & UV_DISCONNECT) != 0)
        turn_away(v, "the peer left in the middle of its association request");
    else if (v->asked || !wait_for_bytes(v->fd, (int)wanted))
        admit(v); /* the kernel does not keep to the mark, as when memory is short: the role waits, with a
                     deadline */
    else
        v->asked = true;
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

void srv_doorstep_add(srv_doorstep *d, int fd, const char *peer, bool tls)
{
    visitor *v = calloc(1, sizeof *v);
    if (d->waiting >= WAITING_MAX) turn_away(d->first, "too many connections wait to say something");
    if (v == NULL || !wait_for_bytes(fd, HEAD_BYTES) || uv_poll_init_socket(d->loop, &v->poll, fd) != 0) {
        free(v);
        (void)close(fd);
        d->events.turned_away(d->events.ctx, peer, "no memory or descriptor is left for another connection");
        return;
    }
    d->handles++;
    d->waiting++;
    v->doorstep = d;
    v->fd = fd;
    v->tls = tls;
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
