/* The receive role: one association. Streams to a blob, has core commit the row, and only then answers
 * Success. */
#include "server/roles/roles.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dicom/init.h"
#include "dicom/receive.h"
#include "engine/base/log.h"
#include "server/blob/blob.h"
#include "server/core/ipc.h"
#include "server/roles/confine.h"
#include "server/roles/sandbox.h"

#define MEMORY_MIB        1024
#define COMMIT_TIMEOUT_MS 60000
#define LIFETIME_SPARE_S  120

typedef struct receiver {
    srv_blobs *blobs;
    srv_blob_writer *writer; /* of the object at hand */
    bool disk_reported;
    bool stopping; /* RECEIVE_STOP has come */
} receiver;

/* Should core be gone, the next commit notices. */
static void tell(srv_ipc_type type, const void *body, size_t size)
{
    msa_error err = MSA_ERROR_INIT;
    if (srv_ipc_send(SRV_IPC_FD, type, body, size, &err) != MSA_OK)
        msa_log(MSA_LOG_DEBUG, "receive", "message=%d reason=\"%s\"", (int)type, err.what);
}

static void on_opened(void *ctx, const dicom_assoc_info *assoc)
{
    (void)ctx;
    tell(SRV_IPC_OPENED, assoc, sizeof *assoc);
}

static void on_refused(void *ctx, const dicom_assoc_info *assoc, const char *what, const char *reason)
{
    (void)ctx;
    srv_ipc_refused m = {.assoc = *assoc};
    (void)snprintf(m.what, sizeof m.what, "%s", what);
    (void)snprintf(m.reason, sizeof m.reason, "%s", reason);
    tell(SRV_IPC_REFUSED, &m, sizeof m);
}

/* Core must stop accepting on every association, not only on this one. */
static msa_status watch_disk(receiver *r, msa_status status, const msa_error *err)
{
    if (status == MSA_OK || r->disk_reported || !srv_blobs_bad(r->blobs)) return status;
    srv_ipc_text m = {{0}};
    (void)snprintf(m.text, sizeof m.text, "%s", err->what);
    tell(SRV_IPC_BAD_DISK, &m, sizeof m);
    r->disk_reported = true;
    return status;
}

static void on_abort(void *ctx)
{
    receiver *r = ctx;
    srv_blob_writer_free(r->writer);
    r->writer = NULL;
}

static msa_status on_begin(void *ctx, const dicom_store_info *info, msa_error *err)
{
    (void)info;
    receiver *r = ctx;
    on_abort(r);
    return srv_blob_writer_new(&r->writer, r->blobs, err);
}

static msa_status on_write(void *ctx, const void *bytes, size_t size, msa_error *err)
{
    receiver *r = ctx;
    if (r->writer == NULL) return msa_fail(err, MSA_E_INTERNAL, "no object was begun");
    return srv_blob_writer_write(r->writer, bytes, size, err);
}

/* A core that hangs is not waited for without end; its row may still come, and then the sender's retry is a
 * duplicate. */
static msa_status wait_for_core(receiver *r, srv_ipc_type wanted, void *answer, size_t answer_size,
                                msa_error *err)
{
    struct pollfd p = {.fd = SRV_IPC_FD, .events = POLLIN};
    srv_ipc_type type = SRV_IPC_RECEIVE_STOP;
    size_t size = 0;
    while (type == SRV_IPC_RECEIVE_STOP) {
        if (poll(&p, 1, COMMIT_TIMEOUT_MS) != 1)
            return msa_fail(err, MSA_E_IO, "the catalogue did not answer in %d s", COMMIT_TIMEOUT_MS / 1000);
        msa_error local = MSA_ERROR_INIT;
        /* Never PARSE: that would tell the sender that its object is at fault, and it would not come again.
         */
        if (srv_ipc_recv(SRV_IPC_FD, &type, answer, answer_size, &size, &local) != MSA_OK)
            return msa_fail(err, MSA_E_IO, "the catalogue did not answer: %s", local.what);
        if (type == SRV_IPC_RECEIVE_STOP) r->stopping = true;
    }
    if (type != wanted || size != answer_size)
        return msa_fail(err, MSA_E_IO, "the catalogue answered with a message of type %d", (int)type);
    return MSA_OK;
}

/* Between objects core says nothing but this. */
static bool on_stopping(void *ctx)
{
    receiver *r = ctx;
    struct pollfd p = {.fd = SRV_IPC_FD, .events = POLLIN};
    if (!r->stopping && poll(&p, 1, 0) == 1) {
        msa_error err = MSA_ERROR_INIT;
        r->stopping = true; /* also when core is gone */
        if (srv_ipc_expect(SRV_IPC_FD, SRV_IPC_RECEIVE_STOP, NULL, 0, &err) != MSA_OK)
            msa_log(MSA_LOG_WARN, "receive", "reason=\"%s\"", err.what);
    }
    return r->stopping;
}

/* Without core's word nobody is let in. */
static void on_admit(void *ctx, const dicom_assoc_info *assoc, dicom_verdict *verdict)
{
    msa_error err = MSA_ERROR_INIT;
    tell(SRV_IPC_ADMIT, assoc, sizeof *assoc);
    if (wait_for_core(ctx, SRV_IPC_ADMITTED, verdict, sizeof *verdict, &err) == MSA_OK) {
        verdict->why[sizeof verdict->why - 1] = '\0';
        return;
    }
    *verdict = (dicom_verdict){.admission = DICOM_NOT_NOW};
    (void)snprintf(verdict->why, sizeof verdict->why, "%s", err.what);
}

static msa_status commit(receiver *r, const dicom_store_info *info, msa_error *err)
{
    srv_ipc_commit m = {.info = *info};
    srv_ipc_committed answer;
    if (r->writer == NULL) return msa_fail(err, MSA_E_INTERNAL, "no object was begun");
    MSA_TRY(srv_blob_writer_commit(r->writer, m.sha256, &m.size_bytes, err));
    MSA_TRY(srv_ipc_send(SRV_IPC_FD, SRV_IPC_COMMIT, &m, sizeof m, err));
    MSA_TRY(wait_for_core(r, SRV_IPC_COMMITTED, &answer, sizeof answer, err));
    if (answer.status == MSA_OK) return MSA_OK;
    answer.what[sizeof answer.what - 1] = '\0';
    return msa_fail(err, (msa_status)answer.status, "%s", answer.what);
}

static msa_status on_commit(void *ctx, const dicom_store_info *info, msa_error *err)
{
    receiver *r = ctx;
    msa_error local = MSA_ERROR_INIT;
    const msa_status status = watch_disk(r, commit(r, info, &local), &local);
    on_abort(r); /* the writer has done its work, or is to drop its file */
    return status == MSA_OK ? MSA_OK : msa_fail(err, status, "%s", local.what);
}

static msa_status serve(dicom_receive_result *result, msa_error *err)
{
    srv_ipc_receive_start start;
    MSA_AUTO(srv_blobs) blobs = NULL;
    MSA_TRY(srv_ipc_expect(SRV_IPC_FD, SRV_IPC_RECEIVE_START, &start, sizeof start, err));
    MSA_AUTO(dicom_tls_context) tls = NULL; /* its files are out of reach afterwards */
    if (start.tls.on) MSA_TRY(dicom_tls_open(&tls, &start.tls, true, err));
    MSA_TRY(srv_role_confine(MEMORY_MIB, (unsigned)start.association_max_s + LIFETIME_SPARE_S, err));
    MSA_TRY(srv_blobs_attach(&blobs, start.storage_path, err));
    srv_blobs_keep_free(blobs, start.keep_free_bytes);
    start.busy_why[sizeof start.busy_why - 1] = '\0';
    MSA_TRY(dicom_init(err)); /* reads the dictionary */
    MSA_TRY(srv_sandbox_receive(start.storage_path, err));
    receiver r = {.blobs = blobs};
    const dicom_receive_options options = {
        .ae_title = start.ae_title,
        .accept_any_called = start.accept_any_called != 0,
        .busy = start.busy != 0,
        .busy_why = start.busy_why,
        .associate_timeout_s = start.associate_timeout_s,
        .idle_timeout_s = start.idle_timeout_s,
        .association_max_s = start.association_max_s,
        .object_max_bytes = start.object_max_bytes,
        .tls = tls,
    };
    const dicom_receive_sink sink = {
        .ctx = &r,
        .admit = on_admit,
        .opened = on_opened,
        .begin = on_begin,
        .write = on_write,
        .commit = on_commit,
        .abort = on_abort,
        .stopping = on_stopping,
        .refused = on_refused,
    };
    const msa_status status = dicom_receive_run(SRV_SOCK_FD, &options, &sink, result, err);
    on_abort(&r);
    return status;
}

int srv_receive_main(void)
{
    msa_error err = MSA_ERROR_INIT;
    dicom_receive_result result = {.ended = "lost"};
    const msa_status status = serve(&result, &err);
    if (status != MSA_OK) msa_log(MSA_LOG_WARN, "receive", "ended=%s reason=\"%s\"", result.ended, err.what);
    if (srv_ipc_send(SRV_IPC_FD, SRV_IPC_CLOSED, &result, sizeof result, NULL) != MSA_OK) return 1;
    return 0;
}
