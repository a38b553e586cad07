#include "dicom/send.h"

#include "dcmtk/dcmdata/dcfilefo.h"
#include "dcmtk/dcmdata/dcdatset.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "dicom/guard.h"
#include "dicom/net/connect.h"
#include "dicom/net/part10.h"
#include "dicom/net/status.h"
#include "dicom/read/file.h"

namespace dicom
{

namespace
{

constexpr int64_t SLOWEST_BYTES_PER_S = 32000;
constexpr unsigned short MESSAGE_ID = 1; /* one request an association */

int32_t timeout_of(const dicom_destination &to)
{
    return to.timeout_s > 0 ? to.timeout_s : 60;
}

msa_status check_destination(const dicom_destination &to, msa_error *err)
{
    if (to.host[0] == '\0' || to.port < 1 || to.port > 65535 || to.ae_title[0] == '\0' ||
        to.calling_ae[0] == '\0')
        return msa_fail(err, MSA_E_INVALID, "the destination lacks a host, a port or an AE title");
    return MSA_OK;
}

/* The file's own syntax first: then its bytes go out as they stand. */
proposal propose(const part10 &file)
{
    proposal p = {file.info.sop_class_uid, {file.info.transfer_syntax_uid}};
    for (const char *uid : {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax})
        if (p.transfer_syntaxes[0] != uid) p.transfer_syntaxes.push_back(uid);
    return p;
}

/* The accepted context with the lowest place in the proposal. */
T_ASC_PresentationContextID best_context(T_ASC_Association *assoc, const proposal &p, std::string &syntax)
{
    for (size_t i = 0; i < p.transfer_syntaxes.size(); i++) {
        const T_ASC_PresentationContextID id = static_cast<T_ASC_PresentationContextID>(2 * i + 1);
        T_ASC_PresentationContext pc;
        if (ASC_findAcceptedPresentationContext(assoc->params, id, &pc).bad()) continue;
        syntax = p.transfer_syntaxes[i];
        return id;
    }
    return 0;
}

void put(std::string &to, unsigned element, const void *value, size_t size)
{
    const unsigned char head[8] = {0,
                                   0,
                                   static_cast<unsigned char>(element),
                                   static_cast<unsigned char>(element >> 8),
                                   static_cast<unsigned char>(size),
                                   static_cast<unsigned char>(size >> 8),
                                   0,
                                   0};
    to.append(reinterpret_cast<const char *>(head), sizeof head);
    to.append(static_cast<const char *>(value), size);
}

void put_us(std::string &to, unsigned element, unsigned value)
{
    const unsigned char bytes[2] = {static_cast<unsigned char>(value),
                                    static_cast<unsigned char>(value >> 8)};
    put(to, element, bytes, sizeof bytes);
}

void put_uid(std::string &to, unsigned element, const char *uid)
{
    std::string padded = uid;
    if (padded.size() % 2 != 0) padded += '\0';
    put(to, element, padded.data(), padded.size());
}

/**
 * The command set of a C-STORE-RQ (PS3.7 table 9.3-1), implicit VR little endian. Made here because DCMTK
 * sends a command that announces a dataset only together with one that it has parsed and will encode again.
 */
std::string store_command(const dicom_store_info &info, unsigned message_id)
{
    std::string body, command;
    put_uid(body, 0x0002, info.sop_class_uid);
    put_us(body, 0x0100, 0x0001); /* C-STORE-RQ */
    put_us(body, 0x0110, message_id);
    put_us(body, 0x0700, 0x0000); /* priority medium */
    put_us(body, 0x0800, 0x0001); /* a dataset follows */
    put_uid(body, 0x1000, info.sop_instance_uid);
    const uint32_t size = uint32_t(body.size());
    const unsigned char length[4] = {static_cast<unsigned char>(size), static_cast<unsigned char>(size >> 8),
                                     0, 0};
    put(command, 0x0000, length, sizeof length);
    return command + body;
}

OFCondition send_pdv(T_ASC_Association *assoc, T_ASC_PresentationContextID id, DUL_DATAPDV type, bool last,
                     std::string &bytes, size_t size)
{
    DUL_PDV pdv;
    pdv.fragmentLength = static_cast<unsigned long>(size);
    pdv.presentationContextID = id;
    pdv.pdvType = type;
    pdv.lastPDV = last;
    pdv.data = &bytes[0];
    DUL_PDVLIST list;
    std::memset(&list, 0, sizeof list);
    list.count = 1;
    list.pdv = &pdv;
    return DUL_WritePDVs(&assoc->DULassociation, &list);
}

/* One dataset PDV after the other, straight from the file: not parsed and not re-encoded. */
OFCondition send_bytes(T_ASC_Association *assoc, T_ASC_PresentationContextID id, std::ifstream &file,
                       int64_t left)
{
    std::string buffer(size_t(std::min<unsigned long>(assoc->sendPDVLength, MAX_PDU - 12)) & ~size_t(1),
                       '\0');
    while (left > 0) {
        size_t n = size_t(std::min<int64_t>(left, int64_t(buffer.size())));
        if (!file.read(&buffer[0], std::streamsize(n))) return DIMSE_SENDFAILED;
        left -= int64_t(n);
        if (n % 2 != 0)
            buffer[n++] = '\0'; /* the end of a deflated dataset; fragments are even (PS3.8 annex D) */
        const OFCondition cond = send_pdv(assoc, id, DUL_DATASETPDV, left == 0, buffer, n);
        if (cond.bad()) return cond;
    }
    return EC_Normal;
}

/* The same for a peer that takes none of the file's own syntax: DCMTK encodes it anew. */
T_DIMSE_Message store_request(const dicom_store_info &info, unsigned short message_id)
{
    T_DIMSE_Message msg;
    std::memset(static_cast<void *>(&msg), 0, sizeof msg);
    msg.CommandField = DIMSE_C_STORE_RQ;
    T_DIMSE_C_StoreRQ &rq = msg.msg.CStoreRQ;
    rq.MessageID = message_id;
    rq.DataSetType = DIMSE_DATASET_PRESENT;
    rq.Priority = DIMSE_PRIORITY_MEDIUM;
    (void)std::snprintf(rq.AffectedSOPClassUID, sizeof rq.AffectedSOPClassUID, "%s", info.sop_class_uid);
    (void)std::snprintf(rq.AffectedSOPInstanceUID, sizeof rq.AffectedSOPInstanceUID, "%s",
                        info.sop_instance_uid);
    return msg;
}

class delivery
{
  public:
    delivery(const dicom_destination &d, const char *p, const part10 &f, dicom_send_result &r)
        : to(d), path(p), file(f), result(r), patience_ms(int64_t(d.timeout_s) * 1000),
          link(now_ms() + 4 * patience_ms + f.dataset_size / SLOWEST_BYTES_PER_S * 1000), as(link)
    {
    }
    msa_status run(msa_error *err);

  private:
    msa_status send_dataset(T_ASC_PresentationContextID id, const std::string &syntax, bool &sent,
                            msa_error *err);
    void take_response();

    const dicom_destination &to;
    const char *path;
    const part10 &file;
    dicom_send_result &result;
    const int64_t patience_ms;
    net_link link;
    association as;
};

msa_status delivery::send_dataset(T_ASC_PresentationContextID id, const std::string &syntax, bool &sent,
                                  msa_error *err)
{
    OFCondition cond = EC_Normal;
    link.begin_object(patience_ms, 0, 0);
    if (syntax == file.info.transfer_syntax_uid) {
        std::ifstream bytes(path, std::ios::binary);
        if (!bytes.seekg(file.dataset_at)) return msa_fail(err, MSA_E_IO, "cannot read the file to send");
        std::string command = store_command(file.info, MESSAGE_ID);
        cond = send_pdv(as.assoc, id, DUL_COMMANDPDV, true, command, command.size());
        if (cond.good()) cond = send_bytes(as.assoc, id, bytes, file.dataset_size);
        if (!bytes) return msa_fail(err, MSA_E_IO, "cannot read the file to send");
    } else {
        DcmRLEDecoderRegistration::registerCodecs(); /* our own results may be in RLE */
        DcmFileFormat whole;
        const E_TransferSyntax wanted = DcmXfer(syntax.c_str()).getXfer();
        if (load_whole(whole, path, nullptr) != MSA_OK || whole.getDataset()->chooseRepresentation(wanted, nullptr).bad() ||
            !whole.getDataset()->canWriteXfer(wanted))
            return msa_fail(err, MSA_E_UNSUPPORTED,
                            "the file cannot be converted to a syntax that the peer takes");
        T_DIMSE_Message rq = store_request(file.info, MESSAGE_ID);
        cond = DIMSE_sendMessageUsingMemoryData(as.assoc, id, &rq, nullptr, whole.getDataset(), nullptr,
                                                nullptr);
    }
    sent = cond.good();
    return MSA_OK;
}

void delivery::take_response()
{
    T_DIMSE_Message rsp;
    T_ASC_PresentationContextID id = 0;
    DcmDataset *detail = nullptr;
    std::memset(static_cast<void *>(&rsp), 0, sizeof rsp);
    link.begin_message(patience_ms, 2 * MAX_PDU);
    const OFCondition cond = DIMSE_receiveCommand(as.assoc, DIMSE_NONBLOCKING, 86400, &id, &rsp, &detail);
    /* The peer's Error Comment is not repeated: it may name the patient (invariant 8). */
    delete detail;
    if (link.end() != link_end::open) {
        conclude(result, to, DICOM_RETRY, -1, "did not answer the C-STORE: %s", describe(link.end()));
    } else if (cond == DUL_PEERABORTEDASSOCIATION) {
        conclude(result, to, DICOM_RETRY, -1, "aborted the association instead of answering the C-STORE");
    } else if (cond.bad() || rsp.CommandField != DIMSE_C_STORE_RSP ||
               rsp.msg.CStoreRSP.MessageIDBeingRespondedTo != MESSAGE_ID) {
        conclude(result, to, DICOM_RETRY, -1, "answered the C-STORE with something else than its response");
    } else {
        const uint16_t status = rsp.msg.CStoreRSP.DimseStatus;
        const dicom_delivery outcome = delivery_outcome(status);
        if (status == STATUS_SUCCESS)
            conclude(result, to, outcome, status, "stored the object");
        else
            conclude(result, to, outcome, status, "answered the C-STORE with status %04X: %s%s", status,
                     status_meaning(status), outcome == DICOM_DELIVERED ? " (stored)" : "");
    }
}

msa_status delivery::run(msa_error *err)
{
    const proposal p = propose(file);
    bool stands = false, sent = false;
    MSA_TRY(connect(as, to, p, stands, result, err));
    if (!stands) return MSA_OK;
    std::string syntax;
    const T_ASC_PresentationContextID id = best_context(as.assoc, p, syntax);
    MSA_TRY(send_dataset(id, syntax, sent, err));
    if (!sent) {
        conclude(result, to, DICOM_RETRY, -1, "took only a part of the object: %s", describe(link.end()));
        return MSA_OK;
    }
    take_response();
    if (result.dimse_status >= 0) release(as);
    return MSA_OK;
}

msa_status run_echo(const dicom_destination &to, dicom_send_result &result, msa_error *err)
{
    const int64_t patience_ms = int64_t(to.timeout_s) * 1000;
    net_link link(now_ms() + 4 * patience_ms);
    association as(link);
    bool stands = false;
    const proposal p = {UID_VerificationSOPClass, {UID_LittleEndianImplicitTransferSyntax}};
    MSA_TRY(connect(as, to, p, stands, result, err));
    if (!stands) return MSA_OK;
    DIC_US status = 0;
    DcmDataset *detail = nullptr;
    link.begin_message(patience_ms, 2 * MAX_PDU);
    const OFCondition cond = DIMSE_echoUser(as.assoc, MESSAGE_ID, DIMSE_NONBLOCKING, 86400, &status, &detail);
    delete detail;
    if (cond.bad()) {
        conclude(result, to, DICOM_RETRY, -1, "did not answer the C-ECHO: %s", describe(link.end()));
        return MSA_OK;
    }
    conclude(result, to, delivery_outcome(status), status, "answered the C-ECHO with status %04X: %s", status,
             status_meaning(status));
    release(as);
    return MSA_OK;
}

/* The part of both that is the same: a clean result, the settings, and a destination with a time limit. */
template <typename Body>
msa_status prepared(const dicom_destination *to, dicom_send_result *result, msa_error *err, Body &&body)
{
    std::memset(result, 0, sizeof *result);
    result->outcome = DICOM_RETRY;
    result->dimse_status = -1;
    return guard(err, [&]() -> msa_status {
        dicom_destination limited = *to;
        limited.timeout_s = timeout_of(*to);
        MSA_TRY(check_destination(limited, err));
        MSA_TRY(net_setup(err));
        return body(limited);
    });
}

} // namespace
} // namespace dicom

msa_status dicom_send_file(const dicom_destination *to, const char *path, dicom_send_result *result,
                           msa_error *err)
{
    return dicom::prepared(to, result, err, [&](const dicom_destination &limited) -> msa_status {
        dicom::part10 file;
        const msa_status read = dicom::part10_read(file, path, err);
        if (read != MSA_OK) return read;
        dicom::delivery d(limited, path, file, *result);
        return d.run(err);
    });
}

msa_status dicom_send_echo(const dicom_destination *to, dicom_send_result *result, msa_error *err)
{
    return dicom::prepared(to, result, err, [&](const dicom_destination &limited) -> msa_status {
        return dicom::run_echo(limited, *result, err);
    });
}
