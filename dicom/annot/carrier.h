/* Private: one reader for each kind of annotation object. */
#ifndef DICOM_ANNOT_CARRIER_H
#define DICOM_ANNOT_CARRIER_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include "dicom/annot/prompt_list.h"

namespace dicom
{

/**
 * Puts the prompts of a parsed dataset, without Pixel Data, into `out`, and remarks what was passed over. The
 * caller calls out.finish(), and fills in source_class_uid and source_instance_uid. Errors: MSA_E_PARSE,
 * MSA_E_UNSUPPORTED (more than PROMPTS_MAX).
 */
using CarrierReader = msa_status (*)(PromptList &out, DcmItem &dataset, msa_error *err);

msa_status read_sr(PromptList &out, DcmItem &dataset, msa_error *err);
msa_status read_presentation(PromptList &out, DcmItem &dataset, msa_error *err);
msa_status read_rtstruct(PromptList &out, DcmItem &dataset, msa_error *err);
msa_status read_seg(PromptList &out, DcmItem &dataset, msa_error *err);
msa_status read_key_objects(PromptList &out, DcmItem &dataset, msa_error *err);

} // namespace dicom
#endif
