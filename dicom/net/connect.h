/* Private: opens an association to a destination, and puts what went wrong into one sentence. */
#ifndef DICOM_NET_CONNECT_H
#define DICOM_NET_CONNECT_H

#include <string>
#include <vector>

#include "dicom/net/association.h"
#include "dicom/send.h"

namespace dicom
{

/* One presentation context for each transfer syntax, so that the choice is ours when the peer takes several.
 */
struct proposal {
    std::string sop_class;
    std::vector<std::string> transfer_syntaxes;
};

/* Fills result; the comment is "HOST:PORT " and then the rest of the sentence. */
void conclude(dicom_send_result &result, const dicom_destination &to, dicom_delivery outcome,
              int dimse_status, const char *format, ...) __attribute__((format(printf, 5, 6)));

/**
 * Connects and negotiates; each of the steps may take to.timeout_s. true: the association stands with at
 * least one context accepted. false: `result` says why not. Errors go to result, except MSA_E_NOMEM and
 * MSA_E_INTERNAL.
 */
msa_status connect(association &as, const dicom_destination &to, const proposal &what, bool &stands,
                   dicom_send_result &result, msa_error *err);

/* A-RELEASE, with a few seconds for the answer: nothing depends on it any more. */
void release(association &as);

} // namespace dicom
#endif
