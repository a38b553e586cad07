/* Private: where the dataset of a Part 10 file of ours begins, and what it says it is. */
#ifndef DICOM_NET_PART10_H
#define DICOM_NET_PART10_H

#include <cstdint>

#include "dicom/receive.h"
#include "engine/base/error.h"

namespace dicom
{

struct part10 {
    dicom_store_info info;
    int64_t dataset_at, dataset_size; /* bytes */
};

/* Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (no file meta information, or one without a UID that is
 * needed). */
msa_status part10_read(part10 &out, const char *path, msa_error *err);

} // namespace dicom
#endif
