/* The send role: one delivery to one destination. What becomes of it is core's decision (the outbox). */
#include "server/roles/roles.h"

#include <stdio.h>
#include <stdbool.h>
#include <string.h>

#include "dicom/send.h"
#include "engine/base/log.h"
#include "server/core/ipc.h"
#include "server/roles/confine.h"

#define MEMORY_MIB 4096 /* a peer that takes only Implicit VR has the object converted in memory */
#define LIFETIME_S 86400

static msa_status deliver(dicom_send_result *result, msa_error *err)
{
    srv_ipc_send_start start;
    MSA_TRY(srv_ipc_expect(SRV_IPC_FD, SRV_IPC_SEND_START, &start, sizeof start, err));
    MSA_TRY(srv_role_confine(MEMORY_MIB, LIFETIME_S, err));
    return dicom_send_file(&start.to, start.path, result, err);
}

int srv_send_main(void)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_send_result result = {.outcome = DICOM_RETRY, .dimse_status = -1};
    const msa_status status = deliver(&result, &err);
    if (status != MSA_OK) { /* ours, not the peer's; a file that is damaged or cannot be converted stays so */
        const bool final = status == MSA_E_PARSE || status == MSA_E_UNSUPPORTED || status == MSA_E_INVALID;
        result.outcome = final ? DICOM_REFUSED : DICOM_RETRY;
        result.dimse_status = -1;
        (void)snprintf(result.comment, sizeof result.comment, "%s", err.what);
        msa_log(MSA_LOG_ERROR, "send", "status=%s reason=\"%s\"", msa_status_name(status), err.what);
    }
    return srv_ipc_send(SRV_IPC_FD, SRV_IPC_SENT, &result, sizeof result, NULL) == MSA_OK ? 0 : 1;
}
