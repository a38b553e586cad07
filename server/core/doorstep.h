/**
 * Connections that have not said anything yet. A role process costs tens of milliseconds and a place among
 * the associations, so a connection gets one only when a whole A-ASSOCIATE-RQ (PS3.8 section 9.3.2) has
 * arrived, or with TLS the first record, which is a ClientHello: who is silent, slow or talks something else
 * costs a descriptor until the deadline. Nothing is read from the socket, only peeked. Loop thread.
 */
#ifndef SRV_CORE_DOORSTEP_H
#define SRV_CORE_DOORSTEP_H

#include <stdbool.h>
#include <uv.h>

#include "engine/base/error.h"

typedef struct srv_doorstep srv_doorstep;

typedef struct srv_doorstep_events {
    void *ctx;
    /* It has asked. Takes `fd`. */
    void (*ready)(void *ctx, int fd, const char *peer, bool tls);
    /* It ended without one; `why` is a sentence, "" when the peer just left (a port check does that). */
    void (*turned_away)(void *ctx, const char *peer, const char *why);
} srv_doorstep_events;

MSA_NODISCARD msa_status srv_doorstep_new(srv_doorstep **out, uv_loop_t *loop, uint64_t patience_ms,
                                          const srv_doorstep_events *events, msa_error *err);
/* For those who come from now on. */
void srv_doorstep_patience(srv_doorstep *d, uint64_t patience_ms);
/* Takes `fd`. tls: what it is to speak. When too many wait, the one that has waited longest is turned away.
 */
void srv_doorstep_add(srv_doorstep *d, int fd, const char *peer, bool tls);
/* Turns away whose patience is over. */
void srv_doorstep_tick(srv_doorstep *d);
int srv_doorstep_waiting(const srv_doorstep *d);
/* Closes all; the memory goes with the last handle. NULL is fine. */
void srv_doorstep_free(srv_doorstep *d);

#endif
