/* Is a destination there? C-ECHO by a send role, for a person who asks over REST. */
#include "server/core/core.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/core/role.h"

#define AT_ONCE_MAX 4
#define TIMEOUT_S   8 /* of each step; a person waits for the answer */

typedef struct srv_echo {
    srv_core *core;
    srv_role *role;
    struct srv_echo *next;
    dicom_send_result result;
    bool answered;
    uint64_t deadline_ms;
    srv_echo_fn *done;
    void *ctx;
} echo;

static void on_message(void *ctx, srv_ipc_type type, const void *body, size_t size)
{
    (void)size;
    echo *e = ctx;
    if (type != SRV_IPC_SENT || e->answered) {
        srv_role_kill(e->role);
        return;
    }
    e->result = *(const dicom_send_result *)body;
    SRV_IPC_END(e->result.comment);
    e->answered = true;
}

static void conclude(echo *e)
{
    srv_core *core = e->core;
    echo **at = &core->echoes;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->done(e->ctx, &e->result);
    free(e);
    srv_core_part_stopped(core);
}

static void on_exited(void *ctx, const srv_role_exit *how)
{
    echo *e = ctx;
    e->role = NULL;
    if (!e->answered) {
        char ended[SRV_ROLE_END_MAX];
        srv_role_end_text(how, ended, sizeof ended);
        e->result = (dicom_send_result){.outcome = DICOM_RETRY, .dimse_status = -1};
        if (uv_now(e->core->loop) >= e->deadline_ms)
            (void)snprintf(e->result.comment, sizeof e->result.comment, "no answer in time");
        else
            (void)snprintf(e->result.comment, sizeof e->result.comment, "the asking process %s", ended);
    }
    conclude(e);
}

msa_status srv_echo_begin(srv_core *core, const dicom_destination *to, srv_echo_fn *done, void *ctx,
                          msa_error *err)
{
    srv_ipc_send_start start = {.to = *to}; /* without a path: C-ECHO */
    int under_way = 0;
    for (const echo *e = core->echoes; e != NULL; e = e->next)
        under_way++;
    if (core->stopping || under_way >= AT_ONCE_MAX)
        return msa_fail(err, MSA_E_BUSY, "%s",
                        core->stopping ? "the service is stopping"
                                       : "other destinations are being asked already");
    echo *e = calloc(1, sizeof *e);
    if (e == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    e->core = core;
    e->done = done;
    e->ctx = ctx;
    e->deadline_ms = uv_now(core->loop) + (2 * TIMEOUT_S + 4) * 1000u;
    if (start.to.timeout_s > TIMEOUT_S) start.to.timeout_s = TIMEOUT_S;
    const srv_role_events events = {.ctx = e, .message = on_message, .exited = on_exited};
    const msa_status status = srv_role_spawn(&e->role, core->loop, "send", -1, &events, err);
    if (status != MSA_OK) {
        free(e);
        return status;
    }
    e->next = core->echoes;
    core->echoes = e;
    /* A role that cannot take its order exits, and its exit is the answer. */
    (void)srv_role_send(e->role, SRV_IPC_SEND_START, &start, sizeof start, NULL);
    return MSA_OK;
}

void srv_echo_tick(srv_core *core, bool now)
{
    for (echo *e = core->echoes; e != NULL; e = e->next)
        if (e->role != NULL && (now || uv_now(core->loop) >= e->deadline_ms)) srv_role_kill(e->role);
}
