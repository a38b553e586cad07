/* The send role: one delivery to one destination, or one question to one source. What becomes of it is core's
 * decision (the outbox, the inquiry). */
#include "server/roles/roles.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "dicom/find.h"
#include "dicom/send.h"
#include "engine/base/log.h"
#include "server/core/ipc.h"
#include "server/roles/confine.h"
#include "server/roles/sandbox.h"

#define MEMORY_MIB      4096 /* a peer that takes only Implicit VR has the object converted in memory */
#define FIND_MEMORY_MIB 1024
#define LIFETIME_S      86400

static msa_status deliver(const srv_ipc_send_start *start, dicom_send_result *result, msa_error *err)
{
    dicom_destination to = start->to;
    MSA_TRY(srv_role_confine(MEMORY_MIB, LIFETIME_S, err));
    MSA_TRY(dicom_init(err));
    if (!dicom_destination_resolve(&to, result)) return MSA_OK;
    MSA_TRY(srv_sandbox_send(start->path, &to, err));
    return start->path[0] == '\0' ? dicom_send_echo(&to, result, err)
                                  : dicom_send_file(&to, start->path, result, err);
}

static msa_status ask(const srv_ipc_find_start *start, dicom_find_result *result, msa_error *err)
{
    dicom_destination source = start->source;
    MSA_TRY(srv_role_confine(FIND_MEMORY_MIB, LIFETIME_S, err));
    MSA_TRY(dicom_init(err));
    if (!dicom_destination_resolve(&source, &result->said)) return MSA_OK;
    MSA_TRY(srv_sandbox_send("", &source, err));
    return dicom_find_images(&source, start->study_uid, start->series_uid, result, err);
}

/* Ours, not the peer's; a file that is damaged or cannot be converted stays so. */
static void blame_us(dicom_send_result *result, msa_status status, const msa_error *err)
{
    const bool final = status == MSA_E_PARSE || status == MSA_E_UNSUPPORTED || status == MSA_E_INVALID;
    result->outcome = final ? DICOM_REFUSED : DICOM_RETRY;
    result->dimse_status = -1;
    (void)snprintf(result->comment, sizeof result->comment, "%s", err->what);
    msa_log(MSA_LOG_ERROR, "send", "status=%s reason=\"%s\"", msa_status_name(status), err->what);
}

static int answer_send(const srv_ipc_send_start *start)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_send_result result = {.outcome = DICOM_RETRY, .dimse_status = -1};
    const msa_status status = deliver(start, &result, &err);
    if (status != MSA_OK) blame_us(&result, status, &err);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_SENT, &result, sizeof result, NULL) == MSA_OK ? 0 : 1;
}

static int answer_find(const srv_ipc_find_start *start)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_find_result result = {.said = {.outcome = DICOM_RETRY, .dimse_status = -1}};
    const msa_status status = ask(start, &result, &err);
    if (status != MSA_OK) blame_us(&result.said, status, &err);
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_FOUND, &result, sizeof result, NULL) == MSA_OK ? 0 : 1;
}

int srv_send_main(void)
{
    static alignas(max_align_t) unsigned char body[SRV_IPC_BODY_MAX];
    srv_ipc_type type = 0;
    size_t size = 0;
    msa_error err = MSA_ERROR_INIT;
    if (srv_ipc_recv(SRV_IPC_FD, &type, body, sizeof body, &size, &err) == MSA_OK) {
        if (type == SRV_IPC_SEND_START && size == sizeof(srv_ipc_send_start))
            return answer_send((const srv_ipc_send_start *)(const void *)body);
        if (type == SRV_IPC_FIND_START && size == sizeof(srv_ipc_find_start))
            return answer_find((const srv_ipc_find_start *)(const void *)body);
        (void)snprintf(err.what, sizeof err.what, "core sent a message of type %d and %zu bytes", (int)type,
                       size);
    }
    msa_log(MSA_LOG_ERROR, "send", "reason=\"%s\"", err.what);
    return 1;
}
