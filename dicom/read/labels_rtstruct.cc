/* Regions of an RT structure set (PS3.3 C.8.8.5, C.8.8.6). */
#include "dicom/read/labels_impl.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace dicom
{
namespace
{

constexpr double FAR_MM = 1e6; /* no patient is that large */

class RtReader
{
  public:
    RtReader(dicom_masks &out, Reference &ref, DcmItem &root, msa_error *err)
        : out_(out), ref_(ref), root_(root), err_(err)
    {
    }
    msa_status read();

  private:
    void read_reference();
    msa_status read_regions();
    msa_status read_contour(size_t label, DcmItem &item);

    dicom_masks &out_;
    Reference &ref_;
    DcmItem &root_;
    msa_error *err_;
    std::map<int32_t, size_t> by_number_;
    int64_t not_regions_ = 0;
};

void RtReader::read_reference()
{
    for (DcmItem *const frame : items_of(root_, DCM_ReferencedFrameOfReferenceSequence)) {
        const std::string uid = text(*frame, DCM_FrameOfReferenceUID);
        if (ref_.frame_of_reference_uid.empty()) ref_.frame_of_reference_uid = uid;
        for (DcmItem *const study : items_of(*frame, DCM_RTReferencedStudySequence))
            for (DcmItem *const series : items_of(*study, DCM_RTReferencedSeriesSequence))
                ref_.series(out_.slices, text(*series, DCM_SeriesInstanceUID));
    }
}

msa_status RtReader::read_regions()
{
    const std::string charset = text(root_, DCM_SpecificCharacterSet);
    for (DcmItem *const item : items_of(root_, DCM_StructureSetROISequence)) {
        int32_t number = 0;
        if (find_int(*item, DCM_ROINumber, number) != FIND_OK)
            return msa_fail(err_, MSA_E_PARSE, "a region of the structure set has no number");
        if (!by_number_.emplace(number, out_.list.size()).second)
            return msa_fail(err_, MSA_E_PARSE, "ROI %d is described twice", number);
        out_.list.push_back(make_label(number, *item, DCM_ROIName, "ROI", charset));
    }
    if (out_.list.empty()) return msa_fail(err_, MSA_E_PARSE, "the structure set describes no region");
    return MSA_OK;
}

/* The raw value: taking it apart by DCMTK costs the square of the number of points. */
std::string raw_text(DcmItem &item, const DcmTagKey &tag)
{
    const char *value = nullptr;
    return item.findAndGetString(tag, value).good() && value != nullptr ? std::string(value) : std::string();
}

msa_status RtReader::read_contour(size_t label, DcmItem &item)
{
    const Slices &s = out_.slices;
    const std::string type = code_string(item, DCM_ContourGeometricType);
    for (DcmItem *const image : items_of(item, DCM_ContourImageSequence))
        ref_.image(s, text(*image, DCM_ReferencedSOPInstanceUID));
    std::vector<double> points;
    if (type != "CLOSED_PLANAR" && type != "CLOSEDPLANAR_XOR") {
        not_regions_++;
        return MSA_OK;
    }
    if (!parse_numbers(raw_text(item, DCM_ContourData), points) || points.size() % 3 != 0)
        return msa_fail(err_, MSA_E_PARSE, "a contour of ROI %d is not a list of points",
                        out_.list[label].number);
    if (std::any_of(points.begin(), points.end(), [](double v) { return std::fabs(v) > FAR_MM; }))
        return msa_fail(err_, MSA_E_PARSE, "a contour of ROI %d has a point that is kilometres away",
                        out_.list[label].number);
    if (points.size() < 9) {
        not_regions_++;
        return MSA_OK;
    }
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < points.size(); i += 3) {
        const double at = points[i] * s.normal[0] + points[i + 1] * s.normal[1] + points[i + 2] * s.normal[2];
        least = std::min(least, at);
        most = std::max(most, at);
    }
    Contour c;
    c.label = label;
    c.slice = s.at((least + most) / 2);
    if (c.slice < 0 || most - least > std::max(0.2 * s.step_mm, 0.02)) {
        out_.list[label].planes_outside++;
        return MSA_OK;
    }
    c.x.resize(points.size() / 3);
    c.y.resize(points.size() / 3);
    for (size_t i = 0; i < c.x.size(); i++)
        s.to_pixels(c.slice, &points[3 * i], c.x[i], c.y[i]);
    out_.contours.push_back(std::move(c));
    return MSA_OK;
}

msa_status RtReader::read()
{
    read_reference();
    MSA_TRY(read_regions());
    for (DcmItem *const region : items_of(root_, DCM_ROIContourSequence)) {
        int32_t number = 0;
        if (find_int(*region, DCM_ReferencedROINumber, number) != FIND_OK || by_number_.count(number) == 0)
            return msa_fail(err_, MSA_E_PARSE, "contours belong to no region that is described");
        for (DcmItem *const contour : items_of(*region, DCM_ContourSequence))
            MSA_TRY(read_contour(by_number_[number], *contour));
    }
    if (not_regions_ > 0)
        out_.note = std::to_string(not_regions_) + (not_regions_ == 1 ? " contour is" : " contours are") +
                    " a point or an open curve, not a region";
    return MSA_OK;
}

} // namespace

msa_status read_rtstruct_labels(dicom_masks &out, Reference &ref, DcmItem &dataset, msa_error *err)
{
    return RtReader(out, ref, dataset, err).read();
}

} // namespace dicom
