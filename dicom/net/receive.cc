#include "dicom/receive.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcdatset.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <netdb.h>
#include <sys/socket.h>

#include "dicom/guard.h"
#include "dicom/net/associate_rq.h"
#include "dicom/net/association.h"
#include "dicom/net/file_meta.h"
#include "dicom/net/negotiate.h"
#include "dicom/net/object.h"
#include "dicom/net/status.h"
#include "engine/base/log.h"

namespace dicom
{

namespace
{

/* A command and the PDU it lies in: the sender may put the first PDV of the dataset into the same PDU. */
constexpr int64_t COMMAND_MAX = 2 * MAX_PDU;
constexpr int64_t RATE_WINDOW_MS = 30000, RATE_BYTES = 32000; /* a second */
constexpr int FAILURES_LOGGED = 3;
/* While a sender is silent: how often it is looked whether the service stops. Then: how long a pause ends the
 * association, and how long one goes on that makes none. Core's own patience (lifecycle.c) is longer. */
constexpr int64_t LOOK_MS = 500, STOP_PAUSE_MS = 1000, STOP_MS = 15000;

int64_t seconds_or(int32_t s, int32_t otherwise)
{
    return int64_t(s > 0 ? s : otherwise) * 1000;
}

template <size_t N> void put(char (&to)[N], const std::string &text)
{
    (void)std::snprintf(to, N, "%s", text.c_str());
}

class session
{
  public:
    session(int fd, const dicom_receive_options &o, const dicom_receive_sink &s, dicom_receive_result &r)
        : options(o), sink(s), result(r), idle_ms(seconds_or(o.idle_timeout_s, 60)),
          link(now_ms() + seconds_or(o.association_max_s, 3600)), as(link), socket_fd(fd)
    {
        link.attach(fd);
    }

    msa_status run(msa_error *err);

  private:
    msa_status accept(bool &open, msa_error *err);
    msa_status secure(msa_error *err);
    bool admitted(T_ASC_RejectParameters &reject, std::string &why);
    bool reject_wanted(T_ASC_RejectParameters &reject, std::string &why);
    msa_status serve(msa_error *err);
    bool await_command();
    msa_status one_command(bool &open, msa_error *err);
    msa_status echo(T_ASC_PresentationContextID id, const T_DIMSE_C_EchoRQ &rq, msa_error *err);
    msa_status store(T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ &rq, msa_error *err);
    msa_status respond(T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ &rq, uint16_t status,
                       const char *comment, msa_error *err);
    msa_status give_up(const char *doing, msa_error *err);
    void find_peer();
    void ended(const char *how)
    {
        put(result.ended, how);
    }

    dicom_receive_options options;
    const dicom_receive_sink &sink;
    dicom_receive_result &result;
    const int64_t idle_ms;
    dicom_assoc_info info = {};
    net_link link;
    association as;
    const int socket_fd;
    int64_t stop_by_ms = INT64_MAX;
};

void session::find_peer()
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    put(info.peer, "unknown");
    if (getpeername(socket_fd, reinterpret_cast<struct sockaddr *>(&address), &size) != 0) return;
    (void)getnameinfo(reinterpret_cast<struct sockaddr *>(&address), size, info.peer, sizeof info.peer,
                      nullptr, 0, NI_NUMERICHOST);
}

/* Tells the peer by an A-ABORT that it is over, and us why. */
msa_status session::give_up(const char *doing, msa_error *err)
{
    const link_end why = link.end();
    const bool slow = why == link_end::timed_out || why == link_end::too_slow;
    ended(slow ? "timeout" : why == link_end::closed ? "lost" : "aborted");
    link.wind_up(1000);
    if (as.assoc != nullptr && why != link_end::closed) (void)ASC_abortAssociation(as.assoc);
    return msa_fail(err, why == link_end::open || why == link_end::too_much ? MSA_E_PARSE : MSA_E_IO,
                    "%s while %s", describe(why), doing);
}

bool session::reject_wanted(T_ASC_RejectParameters &reject, std::string &why)
{
    char context[DUL_LEN_NAME + 1] = "";
    reject.result = ASC_RESULT_REJECTEDPERMANENT;
    reject.source = ASC_SOURCE_SERVICEUSER;
    if (ASC_getApplicationContextName(as.assoc->params, context, sizeof context).bad() ||
        std::strcmp(context, UID_StandardApplicationContext) != 0) {
        reject.reason = ASC_REASON_SU_APPCONTEXTNAMENOTSUPPORTED;
        why = "the sender's application context is not DICOM's";
        return true;
    }
    if (!options.accept_any_called && printable(options.ae_title, DICOM_AE_MAX) != info.called_ae) {
        reject.reason = ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED;
        why = std::string("the sender called the AE title \"") + info.called_ae + "\"; this service is \"" +
              options.ae_title + "\": correct it at the sender, or set dicom.accept_any_called_ae";
        return true;
    }
    if (options.busy) {
        reject.result = ASC_RESULT_REJECTEDTRANSIENT;
        reject.source = ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED;
        reject.reason = ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED;
        why =
            options.busy_why != nullptr && options.busy_why[0] != '\0'
                ? options.busy_why
                : "the service takes no more associations at the moment; the sender should try again later, "
                  "or set dicom.max_associations higher";
        return true;
    }
    return !admitted(reject, why);
}

/* Who it is and what it may: core's decision. */
bool session::admitted(T_ASC_RejectParameters &reject, std::string &why)
{
    dicom_verdict verdict = {};
    if (sink.admit != nullptr) sink.admit(sink.ctx, &info, &verdict);
    if (verdict.object_max_bytes > 0) options.object_max_bytes = verdict.object_max_bytes;
    if (verdict.admission == DICOM_ADMITTED) return true;
    reject.reason = ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED;
    if (verdict.admission == DICOM_NOT_NOW) {
        reject.result = ASC_RESULT_REJECTEDTRANSIENT;
        reject.source = ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED;
        reject.reason = ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED;
    }
    why = verdict.why;
    return false;
}

/* Whose certificate is at fault decides where to look; a peer that speaks something else has none. */
const char *tls_remedy(const std::string &failure)
{
    if (failure.find("our certificate") != std::string::npos)
        return "; see dicom.tls_certificate, and what the sender trusts";
    if (failure.find("certificate") != std::string::npos)
        return "; see dicom.tls_ca and the certificate that the sender uses";
    return "";
}

/* TLS before the first byte of DICOM, where it is wanted. What fails is told as the refusal that it is. */
msa_status session::secure(msa_error *err)
{
    if (options.tls == nullptr) return MSA_OK;
    link.begin_message(seconds_or(options.associate_timeout_s, 10), ASSOCIATE_RQ_MAX);
    if (!link.start_tls(*options.tls)) {
        ended(link.end() == link_end::timed_out ? "timeout" : "rejected");
        const std::string why = link.end() == link_end::insecure
                                    ? link.tls_failure() + tls_remedy(link.tls_failure())
                                    : std::string(describe(link.end())) + " during the TLS handshake";
        if (sink.refused != nullptr) sink.refused(sink.ctx, &info, "TLS", why.c_str());
        return msa_fail(err, MSA_E_PARSE, "%s", why.c_str());
    }
    put(info.tls, link.tls_version());
    put(info.certificate, link.peer_fingerprint());
    put(info.subject, link.peer_subject());
    return MSA_OK;
}

/* From the first byte to the A-ASSOCIATE-AC. open: an association stands. */
msa_status session::accept(bool &open, msa_error *err)
{
    std::vector<unsigned char> request;
    const int64_t patience_ms = seconds_or(options.associate_timeout_s, 10);
    MSA_TRY(secure(err));
    link.begin_message(patience_ms, ASSOCIATE_RQ_MAX);
    const msa_status read = associate_rq_read(link, request, err);
    if (read != MSA_OK) {
        /* A-ABORT by the service provider, "unrecognized PDU" (PS3.8 9.3.8): DCMTK never saw this connection.
         */
        static const unsigned char abort_pdu[] = {7, 0, 0, 0, 0, 4, 0, 0, 2, 1};
        ended(link.end() == link_end::timed_out ? "timeout"
              : link.end() == link_end::closed  ? "lost"
                                                : "aborted");
        link.wind_up(1000);
        if (std::strcmp(result.ended, "lost") != 0) (void)link.write(abort_pdu, sizeof abort_pdu);
        return read;
    }
    link.set_prefix(std::move(request));
    link.begin_message(patience_ms, 0);

    dcmExternalSocketHandle.set(socket_fd); /* DCMTK opens no socket of its own */
    OFCondition cond = ASC_initializeNetwork(NET_ACCEPTOR, 0, 2, &as.net);
    if (cond.good()) cond = ASC_setTransportLayer(as.net, &as.layer, 0);
    if (cond.good())
        cond = ASC_receiveAssociation(as.net, &as.assoc, MAX_PDU, nullptr, nullptr, OFFalse, DUL_NOBLOCK, 5);
    dcmExternalSocketHandle.set(-1);
    if (cond.bad()) {
        ended("aborted");
        return msa_fail(err, MSA_E_PARSE, "the association request could not be read");
    }

    T_ASC_Parameters *params = as.assoc->params;
    char calling[DUL_LEN_TITLE + 1] = "", called[DUL_LEN_TITLE + 1] = "", responding[DUL_LEN_TITLE + 1] = "";
    (void)ASC_getAPTitles(params, calling, sizeof calling, called, sizeof called, responding,
                          sizeof responding);
    put(info.calling_ae, printable(calling, DICOM_AE_MAX - 1));
    put(info.called_ae, printable(called, DICOM_AE_MAX - 1));

    link.begin_message(patience_ms, 0);
    T_ASC_RejectParameters reject;
    std::string why;
    if (reject_wanted(reject, why)) {
        ended("rejected");
        if (sink.refused != nullptr) sink.refused(sink.ctx, &info, "association", why.c_str());
        (void)ASC_rejectAssociation(as.assoc, &reject);
        return MSA_OK;
    }
    if (sink.opened != nullptr) sink.opened(sink.ctx, &info);
    (void)negotiate(params, [&](const refusal &r) {
        if (sink.refused != nullptr) sink.refused(sink.ctx, &info, r.what.c_str(), r.reason.c_str());
    });
    (void)ASC_setAPTitles(params, nullptr, nullptr, called);
    put(params->DULparams.calledImplementationClassUID, DICOM_IMPLEMENTATION_CLASS_UID);
    put(params->DULparams.calledImplementationVersionName, DICOM_IMPLEMENTATION_VERSION);
    if (ASC_acknowledgeAssociation(as.assoc).bad()) return give_up("the association was being accepted", err);
    open = true;
    return MSA_OK;
}

msa_status session::echo(T_ASC_PresentationContextID id, const T_DIMSE_C_EchoRQ &rq, msa_error *err)
{
    if (DIMSE_sendEchoResponse(as.assoc, id, &rq, STATUS_SUCCESS, nullptr).bad())
        return give_up("a C-ECHO was being answered", err);
    result.echoed++;
    return MSA_OK;
}

msa_status session::respond(T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ &rq, uint16_t status,
                            const char *comment, msa_error *err)
{
    T_DIMSE_C_StoreRSP rsp;
    std::memset(&rsp, 0, sizeof rsp);
    rsp.MessageIDBeingRespondedTo = rq.MessageID;
    rsp.DimseStatus = status;
    rsp.DataSetType = DIMSE_DATASET_NULL;
    (void)std::snprintf(rsp.AffectedSOPClassUID, sizeof rsp.AffectedSOPClassUID, "%s",
                        rq.AffectedSOPClassUID);
    (void)std::snprintf(rsp.AffectedSOPInstanceUID, sizeof rsp.AffectedSOPInstanceUID, "%s",
                        rq.AffectedSOPInstanceUID);
    rsp.opts = O_STORE_AFFECTEDSOPCLASSUID | O_STORE_AFFECTEDSOPINSTANCEUID;
    DcmDataset detail;
    if (status != STATUS_SUCCESS)
        (void)detail.putAndInsertString(DCM_ErrorComment,
                                        printable(comment, 64).c_str()); /* LO: 64 characters */
    link.begin_message(idle_ms, 0);
    if (DIMSE_sendStoreResponse(as.assoc, id, &rq, &rsp, status == STATUS_SUCCESS ? nullptr : &detail).bad())
        return give_up("a C-STORE was being answered", err);
    return MSA_OK;
}

/* Why an object cannot be taken, judged by its command alone; 0 when it can. */
uint16_t judge_command(const T_DIMSE_C_StoreRQ &rq, const T_ASC_PresentationContext &pc, const char **what)
{
    if (!is_uid(rq.AffectedSOPInstanceUID)) {
        *what = "the SOP instance UID is not a UID";
        return STATUS_CANNOT_UNDERSTAND;
    }
    if (std::strcmp(rq.AffectedSOPClassUID, pc.abstractSyntax) != 0) {
        *what = "the SOP class is not that of the presentation context";
        return STATUS_CLASS_MISMATCH;
    }
    if (std::strcmp(pc.abstractSyntax, UID_VerificationSOPClass) == 0) {
        *what = "objects cannot be stored as Verification";
        return STATUS_CLASS_MISMATCH;
    }
    return STATUS_SUCCESS;
}

msa_status session::store(T_ASC_PresentationContextID id, const T_DIMSE_C_StoreRQ &rq, msa_error *err)
{
    T_ASC_PresentationContext pc;
    if (ASC_findAcceptedPresentationContext(as.assoc->params, id, &pc).bad())
        return give_up("an object came on a presentation context that was not accepted", err);

    const char *what = "";
    uint16_t status = judge_command(rq, pc, &what);
    dicom_store_info object = {};
    object_stream stream(as, id, sink, options.object_max_bytes);
    if (status == STATUS_SUCCESS) {
        put(object.sop_class_uid, rq.AffectedSOPClassUID);
        put(object.sop_instance_uid, rq.AffectedSOPInstanceUID);
        put(object.transfer_syntax_uid, pc.acceptedTransferSyntax);
        stream.begin(object);
    } else {
        stream.refuse(MSA_E_PARSE, what);
    }
    link.begin_object(idle_ms, RATE_WINDOW_MS, RATE_BYTES * RATE_WINDOW_MS / 1000);
    const object_end end = stream.receive();
    if (end == object_end::aborted) {
        ended("aborted");
        return msa_fail(err, MSA_E_IO, "the peer aborted the association inside an object");
    }
    if (end != object_end::whole) return give_up("an object was being received", err);

    link.begin_message(idle_ms, 0);
    const msa_status outcome = stream.commit(object);
    if (status == STATUS_SUCCESS) status = store_status(outcome);
    if (status == STATUS_SUCCESS) {
        result.stored++;
    } else if (result.failed++ < FAILURES_LOGGED) {
        msa_log(MSA_LOG_WARN, "receive", "peer=%s calling=\"%s\" status=%04X reason=\"%s\"", info.peer,
                info.calling_ae, status, stream.error.what);
    }
    return respond(id, rq, status, stream.error.what, err);
}

/* false: the service stops, and the sender has paused or has had its time; what it sends again is no loss. */
bool session::await_command()
{
    for (;;) {
        const bool stopping = sink.stopping != nullptr && sink.stopping(sink.ctx);
        if (stopping && stop_by_ms == INT64_MAX) stop_by_ms = now_ms() + STOP_MS;
        if (now_ms() > stop_by_ms) return false;
        if (link.readable(stopping ? STOP_PAUSE_MS : LOOK_MS) || link.end() != link_end::open) return true;
        if (stopping) return false;
    }
}

msa_status session::one_command(bool &open, msa_error *err)
{
    T_ASC_PresentationContextID id = 0;
    T_DIMSE_Message msg;
    DcmDataset *detail = nullptr;
    std::memset(static_cast<void *>(&msg), 0, sizeof msg);
    link.begin_message(idle_ms, COMMAND_MAX);
    if (!await_command()) {
        ended("stopped");
        open = false;
        link.wind_up(1000);
        (void)ASC_abortAssociation(as.assoc);
        return MSA_OK;
    }
    const OFCondition cond = DIMSE_receiveCommand(as.assoc, DIMSE_NONBLOCKING, 86400, &id, &msg, &detail);
    delete detail;
    if (link.end() != link_end::open) return give_up("a command was awaited", err);
    if (cond == DUL_PEERREQUESTEDRELEASE) {
        open = false;
        ended("released");
        link.wind_up(1000);
        (void)ASC_acknowledgeRelease(as.assoc);
        return MSA_OK;
    }
    if (cond == DUL_PEERABORTEDASSOCIATION) {
        ended("aborted");
        return msa_fail(err, MSA_E_IO, "the peer aborted the association");
    }
    if (cond.bad()) return give_up("a command was awaited", err);
    switch (msg.CommandField) {
    case DIMSE_C_ECHO_RQ:
        return echo(id, msg.msg.CEchoRQ, err);
    case DIMSE_C_STORE_RQ:
        return store(id, msg.msg.CStoreRQ, err);
    case DIMSE_C_CANCEL_RQ:
        return MSA_OK; /* there is nothing that could still be cancelled */
    default:
        return give_up("the peer sent a command other than C-ECHO and C-STORE", err);
    }
}

msa_status session::serve(msa_error *err)
{
    bool open = true;
    while (open)
        MSA_TRY(one_command(open, err));
    return MSA_OK;
}

msa_status session::run(msa_error *err)
{
    find_peer();
    MSA_TRY(net_setup(err));
    bool open = false;
    MSA_TRY(accept(open, err));
    return open ? serve(err) : MSA_OK;
}

} // namespace
} // namespace dicom

msa_status dicom_receive_run(int socket_fd, const dicom_receive_options *options,
                             const dicom_receive_sink *sink, dicom_receive_result *result, msa_error *err)
{
    std::memset(result, 0, sizeof *result);
    (void)std::snprintf(result->ended, sizeof result->ended, "lost");
    return dicom::guard(err, [&]() -> msa_status {
        dicom::session s(socket_fd, *options, *sink, *result);
        return s.run(err);
    });
}
