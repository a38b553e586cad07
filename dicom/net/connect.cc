#include "dicom/net/connect.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace dicom
{

void conclude(dicom_send_result &result, const dicom_destination &to, dicom_delivery outcome,
              int dimse_status, const char *format, ...)
{
    result.outcome = outcome;
    result.dimse_status = dimse_status;
    const int n = std::snprintf(result.comment, sizeof result.comment, "%.128s:%d ", to.host, to.port);
    va_list args;
    va_start(args, format);
    if (n > 0 && size_t(n) < sizeof result.comment)
        (void)std::vsnprintf(result.comment + n, sizeof result.comment - size_t(n), format, args);
    va_end(args);
}

namespace
{

/**
 * "a.b.c.d". DCMTK 3.6.7 would look the name up itself, but keeps only 63 characters of it and says nothing
 * useful when that fails; and it speaks IPv4 only.
 */
bool find_address(char numeric[INET_ADDRSTRLEN], const dicom_destination &to, dicom_send_result &result)
{
    struct addrinfo hints = {};
    struct addrinfo *found = nullptr;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    const int rc = getaddrinfo(to.host, nullptr, &hints, &found);
    numeric[0] = '\0';
    if (rc == 0)
        (void)getnameinfo(found->ai_addr, found->ai_addrlen, numeric, INET_ADDRSTRLEN, nullptr, 0,
                          NI_NUMERICHOST);
    if (found != nullptr) freeaddrinfo(found);
    if (numeric[0] != '\0') return true;
    conclude(result, to, DICOM_RETRY, -1, "is not known by that name: %s",
             rc != 0 ? gai_strerror(rc) : "it has no IPv4 address");
    return false;
}

const char *reject_reason(const T_ASC_RejectParameters &reject)
{
    switch (reject.reason) {
    case ASC_REASON_SU_APPCONTEXTNAMENOTSUPPORTED:
        return "application context not supported";
    case ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED:
        return "calling AE title not recognized";
    case ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED:
        return "called AE title not recognized";
    case ASC_REASON_SP_ACSE_PROTOCOLVERSIONNOTSUPPORTED:
        return "protocol version not supported";
    case ASC_REASON_SP_PRES_TEMPORARYCONGESTION:
        return "temporary congestion";
    case ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED:
        return "local limit exceeded";
    default:
        return "no reason given";
    }
}

/* DCMTK hides connect(2)'s error in its text, after this mark. */
const char *connect_error(const OFCondition &cond)
{
    const char *mark = std::strstr(cond.text(), "TCP Initialization Error: ");
    return mark != nullptr ? mark + std::strlen("TCP Initialization Error: ") : "no connection";
}

void conclude_refused(const OFCondition &cond, T_ASC_Parameters *params, const association &as,
                      const dicom_destination &to, dicom_send_result &result)
{
    if (cond == DUL_ASSOCIATIONREJECTED) {
        T_ASC_RejectParameters reject;
        std::memset(&reject, 0, sizeof reject);
        (void)ASC_getRejectParameters(params, &reject);
        const bool transient = reject.result == ASC_RESULT_REJECTEDTRANSIENT;
        conclude(result, to, transient ? DICOM_RETRY : DICOM_REFUSED, -1, "refused the association: %s (%s)",
                 reject_reason(reject), transient ? "transient" : "permanent");
    } else if (!as.link.tls_failure().empty()) {
        /* Retried: whoever renews a certificate wants the results that waited for it. */
        conclude(result, to, DICOM_RETRY, -1, "is not connected to by TLS: %s",
                 as.link.tls_failure().c_str());
    } else if (as.link.end() != link_end::open) {
        conclude(result, to, DICOM_RETRY, -1, "did not answer the association request: %s",
                 describe(as.link.end()));
    } else if (as.link.connected()) {
        conclude(result, to, DICOM_RETRY, -1, "did not answer the association request as DICOM does");
    } else {
        conclude(result, to, DICOM_RETRY, -1, "cannot be reached: %s",
                 printable(connect_error(cond), 80).c_str());
    }
}

msa_status open_tls(association &as, const dicom_destination &to, msa_error *err)
{
    if (!to.tls.on) return MSA_OK;
    dicom_tls wanted = to.tls;
    if (wanted.name[0] == '\0') (void)std::snprintf(wanted.name, sizeof wanted.name, "%s", to.host);
    dicom_tls_context *made = nullptr;
    MSA_TRY(dicom_tls_open(&made, &wanted, false, err));
    as.tls.reset(made);
    as.layer.tls = made;
    return MSA_OK;
}

OFCondition add_contexts(T_ASC_Parameters *params, const proposal &what)
{
    OFCondition cond = EC_Normal;
    unsigned char id = 1;
    for (const std::string &syntax : what.transfer_syntaxes) {
        const char *list[] = {syntax.c_str()};
        if (cond.good()) cond = ASC_addPresentationContext(params, id, what.sop_class.c_str(), list, 1);
        id = static_cast<unsigned char>(id + 2);
    }
    return cond;
}

} // namespace

msa_status connect(association &as, const dicom_destination &to, const proposal &what, bool &stands,
                   dicom_send_result &result, msa_error *err)
{
    dicom_destination there = to;
    stands = false;
    MSA_TRY(open_tls(as, to, err));
    if (there.address[0] == '\0' && !dicom_destination_resolve(&there, &result)) return MSA_OK;
    const std::string address = std::string(there.address) + ":" + std::to_string(to.port);
    dcmConnectionTimeout.set(to.timeout_s);

    T_ASC_Parameters *params = nullptr;
    OFCondition cond = ASC_initializeNetwork(NET_REQUESTOR, 0, to.timeout_s, &as.net);
    if (cond.good()) cond = ASC_setTransportLayer(as.net, &as.layer, 0);
    if (cond.good()) cond = ASC_createAssociationParameters(&params, MAX_PDU);
    if (cond.good()) cond = ASC_setAPTitles(params, to.calling_ae, to.ae_title, nullptr);
    if (cond.good()) cond = ASC_setPresentationAddresses(params, "localhost", address.c_str());
    if (cond.good()) cond = add_contexts(params, what);
    if (cond.bad()) {
        if (params != nullptr) (void)ASC_destroyAssociationParameters(&params);
        return msa_fail(err, MSA_E_INTERNAL, "the association request could not be made");
    }
    (void)std::snprintf(params->ourImplementationClassUID, sizeof params->ourImplementationClassUID, "%s",
                        DICOM_IMPLEMENTATION_CLASS_UID);
    (void)std::snprintf(params->ourImplementationVersionName, sizeof params->ourImplementationVersionName,
                        "%s", DICOM_IMPLEMENTATION_VERSION);

    as.link.begin_message(2 * int64_t(to.timeout_s) * 1000, MAX_PDU); /* connect, then the answer */
    cond = ASC_requestAssociation(as.net, params, &as.assoc, nullptr, nullptr, DUL_NOBLOCK, to.timeout_s);
    if (cond.bad()) {
        conclude_refused(cond, params, as, to, result);
        if (as.assoc == nullptr) (void)ASC_destroyAssociationParameters(&params);
        return MSA_OK;
    }
    if (ASC_countAcceptedPresentationContexts(params) == 0) {
        const char *name = dcmFindNameOfUID(what.sop_class.c_str());
        conclude(result, to, DICOM_REFUSED, -1, "does not accept %s", name ? name : what.sop_class.c_str());
        release(as);
        return MSA_OK;
    }
    stands = true;
    return MSA_OK;
}

void release(association &as)
{
    as.link.wind_up(5000);
    if (ASC_releaseAssociation(as.assoc).bad()) (void)ASC_abortAssociation(as.assoc);
}

} // namespace dicom

bool dicom_destination_resolve(dicom_destination *to, dicom_send_result *result)
{
    static_assert(sizeof to->address == INET_ADDRSTRLEN, "an IPv4 address and NUL");
    return dicom::find_address(to->address, *to, *result);
}
