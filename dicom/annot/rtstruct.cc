/* RT structure sets: regions of interest by number, points by their place (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8).
 */
#include "dicom/annot/carrier.h"
#include "dicom/annot/charset.h"
#include "dicom/annot/sr_item.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <cmath>
#include <map>

namespace dicom
{
namespace
{

struct Region {
    Subject subject;
    std::string frame_of_reference_uid;
    bool drawn = false, aside = false; /* aside: no part of the patient */
};

class Reader
{
  public:
    Reader(PromptList &out, DcmItem &root, msa_error *err)
        : out_(out), root_(root), err_(err), charset_(text(root, DCM_SpecificCharacterSet))
    {
    }
    msa_status read();

  private:
    void read_references();
    msa_status read_regions();
    void read_observations();
    msa_status read_contour(int32_t number, Region &region, DcmItem &contour);
    msa_status add_places(int32_t number, const Region &region);
    SpaceReference place(const std::string &frame_uid, size_t i) const;

    PromptList &out_;
    DcmItem &root_;
    msa_error *err_;
    std::string charset_;
    std::map<int32_t, Region> regions_;
    std::map<std::string, std::vector<std::string>> series_; /* of each frame of reference */
};

void Reader::read_references()
{
    for (DcmItem *const frame : items_of(root_, DCM_ReferencedFrameOfReferenceSequence)) {
        const std::string uid = text(*frame, DCM_FrameOfReferenceUID);
        if (!is_uid(uid)) continue;
        std::vector<std::string> &list = series_[uid];
        for (DcmItem *const study : items_of(*frame, DCM_RTReferencedStudySequence))
            for (DcmItem *const series : items_of(*study, DCM_RTReferencedSeriesSequence))
                if (is_uid(text(*series, DCM_SeriesInstanceUID)))
                    list.push_back(text(*series, DCM_SeriesInstanceUID));
    }
}

msa_status Reader::read_regions()
{
    for (DcmItem *const item : items_of(root_, DCM_StructureSetROISequence)) {
        int32_t number = 0;
        Region r;
        if (find_int(*item, DCM_ROINumber, number) != FIND_OK)
            return msa_fail(err_, MSA_E_PARSE, "a region of the structure set has no number");
        r.subject.number = number;
        r.subject.label = to_utf8(text(*item, DCM_ROIName), charset_);
        r.frame_of_reference_uid = text(*item, DCM_ReferencedFrameOfReferenceUID);
        if (!is_uid(r.frame_of_reference_uid) && series_.size() == 1)
            r.frame_of_reference_uid = series_.begin()->first;
        if (!regions_.emplace(number, std::move(r)).second)
            return msa_fail(err_, MSA_E_PARSE, "ROI %d is described twice", number);
        if (regions_.size() > PROMPTS_MAX)
            return msa_fail(err_, MSA_E_UNSUPPORTED, "the structure set holds more than %zu regions",
                            PROMPTS_MAX);
    }
    return MSA_OK;
}

/* Tables, beams, doses and the skin are drawn for planning; nobody wants them segmented. */
bool lies_aside(const std::string &interpreted_type)
{
    for (const char *one :
         {"EXTERNAL", "SUPPORT", "FIXATION", "BOLUS", "DOSE_REGION", "DOSE_MEASUREMENT", "TREATED_VOLUME",
          "IRRAD_VOLUME", "CONTROL", "ISOCENTER", "MARKER", "REGISTRATION", "BRACHY_CHANNEL",
          "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD"})
        if (interpreted_type == one) return true;
    return false;
}

void Reader::read_observations()
{
    for (DcmItem *const item : items_of(root_, DCM_RTROIObservationsSequence)) {
        int32_t number = 0;
        if (find_int(*item, DCM_ReferencedROINumber, number) != FIND_OK) continue;
        const auto found = regions_.find(number);
        if (found == regions_.end()) continue;
        Region &r = found->second;
        if (r.subject.label.empty())
            r.subject.label = to_utf8(text(*item, DCM_ROIObservationLabel), charset_);
        r.subject.type = code_in(*item, DCM_RTROIIdentificationCodeSequence, charset_);
        if (lies_aside(text(*item, DCM_RTROIInterpretedType))) r.aside = true;
    }
}

SpaceReference Reader::place(const std::string &frame_uid, size_t i) const
{
    const auto found = series_.find(frame_uid);
    SpaceReference p;
    p.frame_of_reference_uid = is_uid(frame_uid) ? frame_uid : "";
    if (found != series_.end() && i < found->second.size()) p.series_uid = found->second[i];
    return p;
}

msa_status Reader::read_contour(int32_t number, Region &r, DcmItem &contour)
{
    double at[3];
    const std::string type = code_string(contour, DCM_ContourGeometricType);
    if (type == "CLOSED_PLANAR" || type == "CLOSEDPLANAR_XOR") {
        r.drawn = true;
        return MSA_OK;
    }
    if (type != "POINT") {
        out_.remark("an open contour has no area; it was left out");
        return MSA_OK;
    }
    if (find_numbers(contour, DCM_ContourData, 3, at) != FIND_OK || !(std::fabs(at[0]) <= 1e6) ||
        !(std::fabs(at[1]) <= 1e6) || !(std::fabs(at[2]) <= 1e6))
        return msa_fail(err_, MSA_E_PARSE, "a point of ROI %d is not a place", number);
    const SpaceReference first = place(r.frame_of_reference_uid, 0);
    if (first.series_uid.empty() && first.frame_of_reference_uid.empty()) {
        out_.remark("a region without a frame of reference was left out");
        return MSA_OK;
    }
    size_t i = 0;
    do
        MSA_TRY(out_.add_point_mm(at, r.subject, place(r.frame_of_reference_uid, i)));
    while (!place(r.frame_of_reference_uid, ++i).series_uid.empty());
    return MSA_OK;
}

/* One prompt for each series that the structure set names: nearly always one. */
msa_status Reader::add_places(int32_t number, const Region &r)
{
    const SpaceReference first = place(r.frame_of_reference_uid, 0);
    if (first.series_uid.empty() && first.frame_of_reference_uid.empty()) {
        out_.remark("a region without a frame of reference was left out");
        return MSA_OK;
    }
    size_t i = 0;
    do
        MSA_TRY(out_.add_region(number, r.subject, place(r.frame_of_reference_uid, i)));
    while (!place(r.frame_of_reference_uid, ++i).series_uid.empty());
    return MSA_OK;
}

msa_status Reader::read()
{
    read_references();
    MSA_TRY(read_regions());
    read_observations();
    for (DcmItem *const item : items_of(root_, DCM_ROIContourSequence)) {
        int32_t number = 0;
        if (find_int(*item, DCM_ReferencedROINumber, number) != FIND_OK || regions_.count(number) == 0)
            return msa_fail(err_, MSA_E_PARSE, "contours belong to no region that is described");
        Region &r = regions_[number];
        if (r.subject.label.empty()) r.subject.label = "ROI " + std::to_string(number);
        if (r.aside) {
            out_.remark("what is no part of the patient (skin, table, beams, markers) was left out");
            continue;
        }
        const bool before = r.drawn;
        for (DcmItem *const contour : items_of(*item, DCM_ContourSequence))
            MSA_TRY(read_contour(number, r, *contour));
        if (r.drawn && !before) MSA_TRY(add_places(number, r));
    }
    if (out_.empty()) out_.remark("the structure set draws no region");
    return MSA_OK;
}

} // namespace

msa_status read_rtstruct(PromptList &out, DcmItem &dataset, msa_error *err)
{
    return Reader(out, dataset, err).read();
}

} // namespace dicom
