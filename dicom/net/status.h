/* Private: how a failure of ours is told to the sender. The only such table (PS3.4 B.2.3, PS3.7 annex C). */
#ifndef DICOM_NET_STATUS_H
#define DICOM_NET_STATUS_H

#include <cstdint>

#include "dicom/send.h"
#include "engine/base/error.h"

namespace dicom
{

constexpr uint16_t STATUS_SUCCESS = 0x0000, STATUS_PROCESSING = 0x0110, STATUS_OUT_OF_RESOURCES = 0xA700,
                   STATUS_CLASS_MISMATCH = 0xA900, STATUS_CANNOT_UNDERSTAND = 0xC000;

/* The status of a C-STORE response for an outcome of ours. */
uint16_t store_status(msa_status status);

/* What to do after a C-STORE or C-ECHO response with `status`. */
dicom_delivery delivery_outcome(uint16_t status);

/* "out of resources", ...: the meaning that the standard gives to a response's status. Never NULL. */
const char *status_meaning(uint16_t status);

} // namespace dicom
#endif
