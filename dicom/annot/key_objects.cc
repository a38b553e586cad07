/* Key object selections (PS3.3 A.35.4): which images were meant, and nothing else. */
#include "dicom/annot/carrier.h"
#include "dicom/annot/charset.h"
#include "dicom/annot/sr_item.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

namespace dicom
{
namespace
{

/* CID 7010: rejected for quality, for safety, wrong worklist entry, retention expired; quality issue. */
bool rejects(DcmItem &document)
{
    for (const char *code : {"113001", "113037", "113038", "113039", "113010"})
        if (has_concept(document, {code, "DCM", "", ""})) return true;
    return false;
}

msa_status add_image(PromptList &out, DcmItem &item, const Subject &subject)
{
    std::vector<double> frames;
    ImageReference image = image_reference(item);
    DcmItem *const sop = first_of(&item, DCM_ReferencedSOPSequence);
    if (image.sop_instance_uid.empty() || names_segmentation(item)) return MSA_OK;
    if (sop == nullptr || !parse_numbers(text(*sop, DCM_ReferencedFrameNumber), frames))
        frames = {0}; /* all of them */
    for (const double f : frames) {
        image.frame = f >= 0 && f <= 1e6 ? int32_t(f) : 0;
        MSA_TRY(out.add_key_image(image, subject));
    }
    return MSA_OK;
}

/* Recursion is safe: the pre-scan refused anything nested deeper than 32. */
msa_status walk(PromptList &out, DcmItem &item, const Subject &subject)
{
    if (value_type(item) == "IMAGE") MSA_TRY(add_image(out, item, subject));
    for (DcmItem *const child : children(item))
        MSA_TRY(walk(out, *child, subject));
    return MSA_OK;
}

} // namespace

msa_status read_key_objects(PromptList &out, DcmItem &dataset, msa_error *)
{
    Subject subject;
    if (rejects(dataset)) {
        out.remark("the selection marks images as rejected; it chooses none");
        return MSA_OK;
    }
    subject.label =
        code_in(dataset, DCM_ConceptNameCodeSequence, text(dataset, DCM_SpecificCharacterSet)).meaning;
    MSA_TRY(walk(out, dataset, subject));
    if (out.empty()) out.remark("the selection names no image");
    return MSA_OK;
}

} // namespace dicom
