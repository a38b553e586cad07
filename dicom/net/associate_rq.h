/* Private: reads and checks a whole A-ASSOCIATE-RQ before DCMTK sees a byte of it (PS3.8 section 9.3.2). */
#ifndef DICOM_NET_ASSOCIATE_RQ_H
#define DICOM_NET_ASSOCIATE_RQ_H

#include <vector>

#include "dicom/net/transport.h"
#include "engine/base/error.h"

namespace dicom
{

constexpr size_t ASSOCIATE_RQ_MAX = 65536;
constexpr int CONTEXTS_MAX = 128;

/**
 * Reads the PDU from `link` under the limits of its begin_message(). pdu: head included.
 * Errors: MSA_E_IO (closed, or not whole in time), MSA_E_PARSE (another PDU, larger than ASSOCIATE_RQ_MAX, or
 * one that associate_rq_check() refuses).
 */
msa_status associate_rq_read(net_link &link, std::vector<unsigned char> &pdu, msa_error *err);

/**
 * Item lengths add up exactly, at most CONTEXTS_MAX presentation contexts, and nothing twice that may occur
 * once: DCMTK 3.6.7 leaks or overwrites on repeated sub-items (CVE-2026-50254 and its like).
 */
msa_status associate_rq_check(const unsigned char *pdu, size_t size, msa_error *err);

} // namespace dicom
#endif
