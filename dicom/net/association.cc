#include "dicom/net/association.h"

#include "dcmtk/dcmdata/dcdict.h"
#include "dcmtk/oflog/oflog.h"

#include <csignal>
#include <cstring>

#include "dicom/net/associate_rq.h"

namespace dicom
{

msa_status net_setup(msa_error *err)
{
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    dcmDisableGethostbyaddr.set(OFTrue);
    dcmAssociatePDUSizeLimit.set(ASSOCIATE_RQ_MAX);
    dcmSocketReceiveTimeout.set(-1); /* net_link has the deadlines */
    dcmSocketSendTimeout.set(-1);
    dcmMaxOutgoingPDUSize.set(MAX_PDU);
    if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return msa_fail(err, MSA_E_INTERNAL, "cannot ignore SIGPIPE");
    if (!dcmDataDict.isDictionaryLoaded())
        return msa_fail(
            err, MSA_E_IO,
            "DCMTK's data dictionary did not load; install libdcmtk17 or set DCMDICTPATH to dicom.dic");
    return MSA_OK;
}

association::~association()
{
    if (assoc != nullptr) {
        (void)ASC_dropAssociation(assoc);
        (void)ASC_destroyAssociation(&assoc);
    }
    if (net != nullptr) (void)ASC_dropNetwork(&net);
    link.close();
}

const char *describe(link_end end)
{
    switch (end) {
    case link_end::open:
        return "the protocol was broken";
    case link_end::closed:
        return "the peer closed the connection";
    case link_end::timed_out:
        return "the peer was silent for too long";
    case link_end::too_slow:
        return "the peer sent too slowly";
    case link_end::insecure:
        return "TLS failed";
    case link_end::too_much:
        return "the peer sent too large a message";
    }
    return "the connection was lost";
}

std::string printable(const char *text, size_t max)
{
    std::string out;
    for (const char *p = text; *p != '\0' && out.size() < max; p++)
        out += *p > 0x20 && *p < 0x7f ? *p : ' ';
    const size_t first = out.find_first_not_of(' '), last = out.find_last_not_of(' ');
    return first == std::string::npos ? std::string() : out.substr(first, last - first + 1);
}

} // namespace dicom
