#include "dicom/annotation.h"
#include "dicom/annot/carrier.h"
#include "dicom/guard.h"
#include "dicom/header.h"
#include "dicom/read/file.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <cstdlib>
#include <cstring>

namespace dicom
{
namespace
{

constexpr const char *OUR_NAME = "msad"; /* what dicom/seg/ writes as Manufacturer */

struct Carrier {
    const char *sop_class_uid;
    CarrierReader read;
};

/* A new kind of annotation is one row here, one reader, and its class in dicom/read/header.cc. */
const Carrier carriers[] = {
    {UID_EnhancedSRStorage, read_sr},
    {UID_ComprehensiveSRStorage, read_sr},
    {UID_Comprehensive3DSRStorage, read_sr},
    {UID_GrayscaleSoftcopyPresentationStateStorage, read_presentation},
    {UID_ColorSoftcopyPresentationStateStorage, read_presentation},
    {UID_PseudoColorSoftcopyPresentationStateStorage, read_presentation},
    {UID_BlendingSoftcopyPresentationStateStorage, read_presentation},
    {UID_RTStructureSetStorage, read_rtstruct},
    {UID_SegmentationStorage, read_seg},
    {UID_LABEL_MAP, read_seg},
    {UID_KeyObjectSelectionDocumentStorage, read_key_objects},
};

const Carrier *find_carrier(const char *sop_class_uid)
{
    for (const Carrier &c : carriers)
        if (std::strcmp(c.sop_class_uid, sop_class_uid) == 0) return &c;
    return nullptr;
}

msa_status read_annotation(std::vector<dicom_prompt> &out, const char **note, const char *path,
                           msa_error *err)
{
    File file;
    MSA_TRY(read_file(file, path, err));
    const Carrier *carrier = find_carrier(file.header.sop_class_uid);
    if (carrier == nullptr)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the object is an image, not an annotation");
    DcmItem &dataset = *file.content->getDataset();
    PromptList list(out, note, err);
    if (text(dataset, DCM_Manufacturer) == OUR_NAME) {
        list.remark("the object is one of our own results; it prompts nothing");
        return MSA_OK;
    }
    MSA_TRY(carrier->read(list, dataset, err));
    MSA_TRY(list.finish());
    if (list.empty()) list.remark("the annotation draws nothing that could prompt");
    for (dicom_prompt &p : out) {
        copy(p.source_class_uid, sizeof p.source_class_uid, file.header.sop_class_uid);
        copy(p.source_instance_uid, sizeof p.source_instance_uid, file.header.sop_instance_uid);
    }
    return MSA_OK;
}

} // namespace
} // namespace dicom

msa_status dicom_annotation_read(dicom_prompt **prompts, size_t *n, const char **note, const char *path,
                                 msa_error *err)
{
    *prompts = nullptr;
    *n = 0;
    *note = "";
    return dicom::guard(err, [&]() -> msa_status {
        std::vector<dicom_prompt> list;
        MSA_TRY(dicom::read_annotation(list, note, path, err));
        if (list.empty()) return MSA_OK;
        auto *array = static_cast<dicom_prompt *>(std::malloc(list.size() * sizeof(dicom_prompt)));
        if (array == nullptr) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        std::memcpy(array, list.data(), list.size() * sizeof(dicom_prompt));
        *prompts = array;
        *n = list.size();
        return MSA_OK;
    });
}
