/* Segmentations: each segment is a region (PS3.3 C.8.20.2). Its frames are not looked at here. */
#include "dicom/annot/carrier.h"
#include "dicom/annot/charset.h"
#include "dicom/annot/sr_item.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <set>

namespace dicom
{
namespace
{

Subject subject_of(DcmItem &segment, uint16_t number, const std::string &charset)
{
    Subject s;
    s.number = number;
    s.label = to_utf8(text(segment, DCM_SegmentLabel), charset);
    s.category = code_in(segment, DCM_SegmentedPropertyCategoryCodeSequence, charset);
    s.type = code_in(segment, DCM_SegmentedPropertyTypeCodeSequence, charset);
    s.site = code_in(segment, DCM_AnatomicRegionSequence, charset);
    if (s.label.empty()) s.label = s.type.meaning;
    if (s.label.empty()) s.label = "Segment " + std::to_string(number);
    s.tracking_id = to_utf8(text(segment, DCM_TrackingID), charset);
    const std::string uid = text(segment, DCM_TrackingUID);
    if (is_uid(uid)) s.tracking_uid = uid;
    return s;
}

/* The series it says it belongs to, else its frame of reference. */
std::vector<SpaceReference> places_of(DcmItem &root)
{
    std::vector<SpaceReference> list;
    SpaceReference one;
    if (is_uid(text(root, DCM_FrameOfReferenceUID)))
        one.frame_of_reference_uid = text(root, DCM_FrameOfReferenceUID);
    for (DcmItem *const series : items_of(root, DCM_ReferencedSeriesSequence)) {
        one.series_uid = text(*series, DCM_SeriesInstanceUID);
        if (is_uid(one.series_uid)) list.push_back(one);
    }
    if (list.empty() && !one.frame_of_reference_uid.empty()) list.push_back({"", one.frame_of_reference_uid});
    return list;
}

} // namespace

msa_status read_seg(PromptList &out, DcmItem &dataset, msa_error *err)
{
    const std::string charset = text(dataset, DCM_SpecificCharacterSet);
    const bool label_map = code_string(dataset, DCM_SegmentationType) == "LABELMAP";
    const std::vector<SpaceReference> places = places_of(dataset);
    std::set<uint16_t> seen;
    if (places.empty()) {
        out.remark("the segmentation names neither a series nor a frame of reference");
        return MSA_OK;
    }
    for (DcmItem *const item : items_of(dataset, DCM_SegmentSequence)) {
        uint16_t number = 0;
        if (find_u16(*item, DCM_SegmentNumber, number) != FIND_OK)
            return msa_fail(err, MSA_E_PARSE, "a segment has no number");
        if (!seen.insert(number).second)
            return msa_fail(err, MSA_E_PARSE, "segment %u is described twice", number);
        if (number == 0 && label_map) continue; /* the background may be described */
        if (seen.size() > PROMPTS_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the segmentation holds more than %zu segments",
                            PROMPTS_MAX);
        const Subject subject = subject_of(*item, number, charset);
        for (const SpaceReference &place : places)
            MSA_TRY(out.add_region(number, subject, place));
    }
    if (out.empty()) out.remark("the segmentation describes no segment");
    return MSA_OK;
}

} // namespace dicom
