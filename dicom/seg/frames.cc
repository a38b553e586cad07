/* Dimensions and functional groups (PS3.3 C.7.6.16, C.7.6.17, C.8.20.3): where each frame lies and what it
 * was made from. */
#include "dicom/seg/seg_impl.h"

#include <algorithm>
#include <cmath>

using dicom::seg::numbers_of;
using dicom::seg::planned_segment;
using dicom::seg::put;
using dicom::seg::source;

namespace
{

/* Two writings of one number, "1" and "1.000000", are no difference. */
bool same_numbers(DcmItem &a, DcmItem &b, const DcmTagKey &tag)
{
    const std::vector<double> x = numbers_of(a, tag), y = numbers_of(b, tag);
    return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(),
                                              [](double u, double v) { return std::fabs(u - v) <= 1e-5; });
}

/* One value for all frames, or one for each: slices that count as parallel may still differ in the last
 * digits. */
bool is_shared(const source &from, const DcmTagKey &tag)
{
    DcmItem &first = from.header(from.file.positions.front());
    return std::all_of(from.file.positions.begin(), from.file.positions.end(),
                       [&](int32_t k) { return same_numbers(first, from.header(k), tag); });
}

OFCondition put_orientation(DcmItem &groups, DcmItem &image)
{
    put to(groups);
    put in(to.item(DCM_PlaneOrientationSequence));
    return to.note(in.copy(DCM_ImageOrientationPatient, image).cond()).cond();
}

/* The source's own words where they say what the positions say; else the measured step; nothing where steps
 * differ. */
void put_between_slices(put &to, const source &from, DcmItem &image)
{
    const dicom_volume_info &info = from.series.info;
    if (info.issues & (DICOM_ISSUE_GAP | DICOM_ISSUE_UNEVEN)) return;
    const std::vector<double> said = numbers_of(image, DCM_SpacingBetweenSlices);
    if (said.size() == 1 && std::fabs(said[0] - info.step_mm) <= 1e-4)
        to.copy(DCM_SpacingBetweenSlices, image);
    else
        to.text(DCM_SpacingBetweenSlices, dicom::seg::decimal_string(info.step_mm));
}

OFCondition put_measures(DcmItem &groups, const source &from, DcmItem &image)
{
    put to(groups);
    put in(to.item(DCM_PixelMeasuresSequence));
    in.copy(DCM_PixelSpacing, image);
    const std::vector<double> thickness = numbers_of(image, DCM_SliceThickness);
    if (thickness.size() == 1 && thickness[0] > 0)
        in.copy(DCM_SliceThickness, image);
    else
        in.text(DCM_SliceThickness, dicom::seg::decimal_string(from.series.info.step_mm));
    put_between_slices(in, from, image);
    return to.note(in.cond()).cond();
}

OFCondition put_derivation(DcmItem &groups, const source &from, const dicom_slice &slice)
{
    static const dicom_code segmentation = {"113076", "DCM", "Segmentation"};
    static const dicom_code purpose = {"121322", "DCM", "Source image for image processing operation"};
    put to(groups);
    put derivation(to.item(DCM_DerivationImageSequence));
    derivation.code(DCM_DerivationCodeSequence, segmentation, from.text);
    put image(derivation.item(DCM_SourceImageSequence));
    image.text(DCM_ReferencedSOPClassUID, slice.sop_class_uid);
    image.text(DCM_ReferencedSOPInstanceUID, slice.sop_instance_uid);
    image.text(DCM_SpatialLocationsPreserved, "YES");
    image.code(DCM_PurposeOfReferenceCodeSequence, purpose, from.text);
    return to.note(derivation.cond()).note(image.cond()).cond();
}

OFCondition put_frame(DcmItem &groups, const source &from, size_t number, int32_t slice)
{
    const std::vector<int32_t> &all = from.file.positions;
    const auto rank = std::lower_bound(all.begin(), all.end(), slice) - all.begin() + 1;
    const Uint32 index[2] = {static_cast<Uint32>(number), static_cast<Uint32>(rank)};
    put to(groups);
    to.note(to.item(DCM_FrameContentSequence).putAndInsertUint32Array(DCM_DimensionIndexValues, index, 2));
    put position(to.item(DCM_PlanePositionSequence));
    position.copy(DCM_ImagePositionPatient, from.header(slice));
    put segment(to.item(DCM_SegmentIdentificationSequence));
    segment.us(DCM_ReferencedSegmentNumber, static_cast<Uint16>(number));
    to.note(position.cond()).note(segment.cond());
    return to.note(put_derivation(groups, from, from.series.slices[static_cast<size_t>(slice)])).cond();
}

} // namespace

OFCondition dicom::seg::put_dimensions(DcmItem &out, const source &from)
{
    const std::string organization = from.uid("dimensions " + std::to_string(from.number));
    const struct {
        DcmTagKey index, group;
        const char *label;
    } dimensions[] = {{DCM_ReferencedSegmentNumber, DCM_SegmentIdentificationSequence, "Segment"},
                      {DCM_ImagePositionPatient, DCM_PlanePositionSequence, "Position"}};
    put to(out);
    put whole(to.item(DCM_DimensionOrganizationSequence));
    to.note(whole.text(DCM_DimensionOrganizationUID, organization).cond());
    for (const auto &d : dimensions) {
        DcmItem &item = to.item(DCM_DimensionIndexSequence);
        put in(item);
        in.note(item.putAndInsertTagKey(DCM_DimensionIndexPointer, d.index));
        in.note(item.putAndInsertTagKey(DCM_FunctionalGroupPointer, d.group));
        in.text(DCM_DimensionOrganizationUID, organization).text(DCM_DimensionDescriptionLabel, d.label);
        to.note(in.cond());
    }
    return to.cond();
}

OFCondition dicom::seg::put_shared_groups(DcmItem &out, const source &from)
{
    put to(out);
    DcmItem &groups = to.item(DCM_SharedFunctionalGroupsSequence);
    DcmItem &first = from.header(from.file.positions.front());
    if (is_shared(from, DCM_PixelSpacing)) to.note(put_measures(groups, from, first));
    if (is_shared(from, DCM_ImageOrientationPatient)) to.note(put_orientation(groups, first));
    return to.cond();
}

OFCondition dicom::seg::put_frame_groups(DcmItem &out, const source &from)
{
    const bool measures = !is_shared(from, DCM_PixelSpacing);
    const bool orientation = !is_shared(from, DCM_ImageOrientationPatient);
    put to(out);
    for (size_t k = 0; k < from.file.segments.size(); k++)
        for (const int32_t slice : from.file.segments[k].slices) {
            DcmItem &groups = to.item(DCM_PerFrameFunctionalGroupsSequence);
            to.note(put_frame(groups, from, k + 1, slice));
            if (measures) to.note(put_measures(groups, from, from.header(slice)));
            if (orientation) to.note(put_orientation(groups, from.header(slice)));
        }
    return to.cond();
}
