/* Private: one reader for each kind of annotation object. */
#ifndef DICOM_ANNOT_CARRIER_H
#define DICOM_ANNOT_CARRIER_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcdatset.h"

#include <vector>

#include "dicom/annotation.h"

namespace dicom
{

constexpr size_t PROMPTS_MAX = 4096;

/**
 * Appends the prompts of a parsed dataset. `note` is set to a static sentence when something was passed over.
 * The caller fills in source_class_uid and source_instance_uid. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED (more
 * than PROMPTS_MAX).
 */
using CarrierReader = msa_status (*)(std::vector<dicom_prompt> &out, const char **note, DcmItem &dataset,
                                     msa_error *err);

msa_status read_sr(std::vector<dicom_prompt> &out, const char **note, DcmItem &dataset, msa_error *err);

} // namespace dicom
#endif
