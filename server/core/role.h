/* A role process as core sees it: spawn, messages both ways, and one last event when it is gone. Loop thread
 * only. */
#ifndef SRV_CORE_ROLE_H
#define SRV_CORE_ROLE_H

#include <uv.h>

#include "server/core/ipc.h"

typedef struct srv_role srv_role;

typedef struct srv_role_exit {
    int signal;          /* 0: exited by itself */
    int status;          /* exit status when signal is 0 */
    bool broke_protocol; /* core ended it for a message that no role of ours sends */
    bool forbidden;      /* its sandbox ended it (server/roles/sandbox.h), over this system call */
    int call;
} srv_role_exit;

/**
 * message  one well-formed message; body is valid for the call and suitably aligned for any message struct
 * exited   the process is gone and every message it left has been delivered; the role is freed after the call
 */
typedef struct srv_role_events {
    void *ctx;
    void (*message)(void *ctx, srv_ipc_type type, const void *body, size_t size);
    void (*exited)(void *ctx, const srv_role_exit *how);
} srv_role_events;

/**
 * Re-executes this program as `msad --role NAME` with a socket on SRV_IPC_FD and, when extra_fd >= 0, that on
 * SRV_SOCK_FD (borrowed: the caller closes its own copy). Errors: MSA_E_IO (no process or descriptor to be
 * had).
 */
MSA_NODISCARD msa_status srv_role_spawn(srv_role **out, uv_loop_t *loop, const char *name, int extra_fd,
                                        const srv_role_events *events, msa_error *err);
/* Queues what the socket does not take at once. MSA_E_IO once the role is ending; MSA_E_NOMEM. May be
 * ignored: a role that is ending says so by its exit event. */
msa_status srv_role_send(srv_role *role, srv_ipc_type type, const void *body, size_t size, msa_error *err);
/* Closes our end for writing after what is queued: a role that waits for work then exits by itself. */
void srv_role_finish(srv_role *role);
void srv_role_kill(srv_role *role);
#define SRV_ROLE_END_MAX 128
/* How it ended, to go after "the ... process ": "was ended by signal 9 (Killed)". */
void srv_role_end_text(const srv_role_exit *how, char *out, size_t size);
/* Every role from here on runs without its sandbox. Before the first; for debugging. */
void srv_role_spawn_unconfined(void);

#endif
