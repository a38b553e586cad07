/* Dimensions and functional groups (PS3.3 C.7.6.16, C.7.6.17, C.8.20.3): where each frame lies and what it
 * was made from. */
#include "dicom/seg/seg_impl.h"

#include <algorithm>
#include <cmath>

using dicom::seg::numbers_of;
using dicom::seg::planned_frame;
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
    if (slice.frame > 0) image.text(DCM_ReferencedFrameNumber, std::to_string(slice.frame));
    image.text(DCM_SpatialLocationsPreserved, "YES");
    image.code(DCM_PurposeOfReferenceCodeSequence, purpose, from.text);
    return to.note(derivation.cond()).note(image.cond()).cond();
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
    const bool labelmap = from.options.form.format == DICOM_SEG_LABELMAP;
    put to(out);
    put whole(to.item(DCM_DimensionOrganizationSequence));
    to.note(whole.text(DCM_DimensionOrganizationUID, organization).cond());
    for (const auto &d : dimensions) {
        if (labelmap && d.index == DCM_ReferencedSegmentNumber)
            continue; /* its frames belong to no one segment */
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

namespace
{

constexpr uint32_t PER_FRAME = 0x52009230, FRAME_CONTENT = 0x00209111, INDEX_VALUES = 0x00209157,
                   SEGMENT_IDENTIFICATION = 0x0062000a, SEGMENT_NUMBER = 0x0062000b;

/* What the frames on one slice have in common, encoded: before and behind Frame Content. */
struct slice_groups {
    std::string before, behind;
};

msa_status encode_slice(slice_groups &out, const source &from, int32_t slice, bool measures, bool orientation,
                        msa_error *err)
{
    DcmItem before, behind;
    DcmItem &image = from.header(slice);
    put to(behind);
    put position(to.item(DCM_PlanePositionSequence));
    position.copy(DCM_ImagePositionPatient, image);
    to.note(position.cond());
    if (orientation) to.note(put_orientation(behind, image));
    if (measures) to.note(put_measures(behind, from, image));
    to.note(put_derivation(before, from, from.series.slices[static_cast<size_t>(slice)]));
    if (to.cond().bad()) return dicom::fail(err, to.cond(), "write the per-frame functional groups");
    MSA_TRY(dicom::seg::encode_elements(out.before, before, err));
    return dicom::seg::encode_elements(out.behind, behind, err);
}

/* Frame Content with the dimension index, and of all but label maps the segment. */
void append_item(std::string &to, const slice_groups &slice, size_t number, size_t rank, bool labelmap)
{
    namespace encode = dicom::seg::encode;
    std::string content, item = slice.before;
    encode::head(content, INDEX_VALUES, "UL", labelmap ? 4 : 8);
    if (!labelmap) encode::number32(content, static_cast<uint32_t>(number));
    encode::number32(content, static_cast<uint32_t>(rank));
    encode::sequence(item, FRAME_CONTENT, content);
    item += slice.behind;
    if (!labelmap) {
        content.clear();
        encode::us(content, SEGMENT_NUMBER, static_cast<uint16_t>(number));
        encode::sequence(item, SEGMENT_IDENTIFICATION, content);
    }
    encode::item_head(to, static_cast<uint32_t>(item.size()));
    to += item;
}

} // namespace

msa_status dicom::seg::encode_frame_items(std::string &out, const source &from, msa_error *err)
{
    const bool measures = !is_shared(from, DCM_PixelSpacing);
    const bool orientation = !is_shared(from, DCM_ImageOrientationPatient);
    const bool labelmap = from.options.form.format == DICOM_SEG_LABELMAP;
    const std::vector<int32_t> &all = from.file.positions;
    std::vector<slice_groups> slices(all.size());
    std::string items;
    for (size_t k = 0; k < all.size(); k++)
        MSA_TRY(encode_slice(slices[k], from, all[k], measures, orientation, err));
    for (const planned_frame &f : from.file.frames) {
        const size_t rank =
            static_cast<size_t>(std::lower_bound(all.begin(), all.end(), f.slice) - all.begin());
        append_item(items, slices[rank], f.segment + 1, rank + 1, labelmap);
    }
    if (items.size() >= 0xfffffffeu)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the segmentation has too many frames");
    encode::long_head(out, PER_FRAME, "SQ", static_cast<uint32_t>(items.size()));
    out += items;
    return MSA_OK;
}
