/* Private: DCMTK's network objects with an owner, and its process-wide settings in one place. */
#ifndef DICOM_NET_ASSOCIATION_H
#define DICOM_NET_ASSOCIATION_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/dimse.h"

#include <memory>
#include <string>

#include "dicom/net/transport.h"
#include "engine/base/error.h"

namespace dicom
{

constexpr long MAX_PDU = 131072; /* the largest that DCMTK takes */

/**
 * DCMTK's globals for networking: no log (its messages quote the peer's bytes), no host lookup (it stalls),
 * SIGPIPE ignored. Errors: MSA_E_IO when the data dictionary, which the command sets need, did not load.
 */
msa_status net_setup(msa_error *err);

/* One association or the attempt at one. The socket is closed when this goes. */
struct association {
    explicit association(net_link &l) : link(l), layer(l) {}
    ~association();
    association(const association &) = delete;
    association &operator=(const association &) = delete;

    net_link &link;
    std::unique_ptr<dicom_tls_context> tls; /* of an association that we request */
    net_layer layer;
    T_ASC_Network *net = nullptr;
    T_ASC_Association *assoc = nullptr;
};

/* "peer closed the connection", ...: what ended the link, as part of a sentence. */
const char *describe(link_end end);

/* Printable ASCII of a text from the network, trimmed, at most `max` characters. */
std::string printable(const char *text, size_t max);

} // namespace dicom
#endif
