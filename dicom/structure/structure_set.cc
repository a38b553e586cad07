#include "dicom/structure_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dicom/guard.h"
#include "dicom/seg/beside.h"
#include "dicom/seg/codes.h"
#include "dicom/structure/outline.h"

using dicom::seg::put;
using dicom::structure::corner;
using dicom::structure::polygon;

namespace
{

struct source : dicom::seg::beside {
    const dicom_segment *segments;
    std::vector<size_t> used; /* those with a voxel; ROI Number is the place here, from 1 */

    const uint8_t *plane(size_t segment, int32_t slice) const
    {
        const size_t pixels = static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols);
        return segments[segment].mask + static_cast<size_t>(slice) * pixels;
    }
};

/* Hundredths of a millimetre: far less than a pixel, and contours stay short. */
std::string contour_data(const polygon &p, const dicom_volume_info &info, const dicom_slice &slice)
{
    std::string out;
    for (const corner &c : p)
        for (int k = 0; k < 3; k++) {
            const double mm = slice.origin_mm[k] + info.row_dir[k] * (c.x - 0.5) * info.spacing_mm[1] +
                              info.col_dir[k] * (c.y - 0.5) * info.spacing_mm[0];
            if (!out.empty()) out += '\\';
            out += dicom::seg::decimal_string(std::round(mm * 100) / 100);
        }
    return out;
}

void put_image(put &to, const dicom_slice &slice)
{
    put ref(to.item(DCM_ContourImageSequence));
    ref.text(DCM_ReferencedSOPClassUID, slice.sop_class_uid)
        .text(DCM_ReferencedSOPInstanceUID, slice.sop_instance_uid);
    if (slice.frame > 0) ref.text(DCM_ReferencedFrameNumber, std::to_string(slice.frame));
    to.note(ref.cond());
}

void put_contours(put &roi, const source &from, size_t segment)
{
    const dicom_volume_info &info = from.series.info;
    for (int32_t k = 0; k < info.slices; k++) {
        const dicom_slice &slice = from.series.slices[static_cast<size_t>(k)];
        for (const polygon &p :
             dicom::structure::find_outlines(from.plane(segment, k), info.rows, info.cols)) {
            put contour(roi.item(DCM_ContourSequence));
            put_image(contour, slice);
            contour.text(DCM_ContourGeometricType, "CLOSED_PLANAR");
            contour.text(DCM_NumberOfContourPoints, std::to_string(p.size()));
            contour.text(DCM_ContourData, contour_data(p, info, slice));
            roi.note(contour.cond());
        }
    }
}

/* CIELab, 16 bit, D50 to sRGB: ROI Display Color is the only colour here. IEC 61966-2-1, CIE 15. */
std::string display_color(const dicom_colour &colour)
{
    const double l = colour.lab[0] * 100.0 / 65535, a = colour.lab[1] * 255.0 / 65535 - 128,
                 b = colour.lab[2] * 255.0 / 65535 - 128;
    const double fy = (l + 16) / 116, f[3] = {fy + a / 500, fy, fy - b / 200};
    static const double white[3] = {0.9642, 1, 0.8249};
    static const double to_rgb[3][3] = {{3.1338561, -1.6168667, -0.4906146}, /* Bradford-adapted from D50 */
                                        {-0.9787684, 1.9161415, 0.0334540},
                                        {0.0719453, -0.2289914, 1.4052427}};
    double xyz[3];
    std::string out;
    for (int k = 0; k < 3; k++)
        xyz[k] = white[k] * (f[k] > 6.0 / 29 ? f[k] * f[k] * f[k] : 3 * 36.0 / 841 * (f[k] - 4.0 / 29));
    for (const double *row : to_rgb) {
        const double linear = row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2];
        const double v = linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
        out += (out.empty() ? "" : "\\") + std::to_string(std::lround(255 * std::clamp(v, 0.0, 1.0)));
    }
    return out;
}

/* A region is three items of three sequences, tied by its number. */
void put_region(put &to, const source &from, size_t place)
{
    const size_t index = from.used[place];
    const dicom_segment &s = from.segments[index];
    const std::string number = std::to_string(place + 1), name = from.text.encode(s.label, 64);
    dicom_meaning meaning;
    dicom_meaning_find(&meaning, s.label, &s.category, &s.type);

    put roi(to.item(DCM_StructureSetROISequence));
    roi.text(DCM_ROINumber, number)
        .text(DCM_ReferencedFrameOfReferenceUID, dicom::seg::text_of(from.head(), DCM_FrameOfReferenceUID))
        .text(DCM_ROIName, name.empty() ? "Segment " + std::to_string(index + 1) : name)
        .text(DCM_ROIGenerationAlgorithm, s.automatic ? "AUTOMATIC" : "SEMIAUTOMATIC");

    put contours(to.item(DCM_ROIContourSequence));
    const dicom_colour color = meaning.entry ? meaning.entry->colour : dicom_palette[place % dicom_palette_n];
    contours.text(DCM_ReferencedROINumber, number).text(DCM_ROIDisplayColor, display_color(color));
    put_contours(contours, from, index);

    put seen(to.item(DCM_RTROIObservationsSequence));
    seen.text(DCM_ObservationNumber, number).text(DCM_ReferencedROINumber, number);
    seen.code(DCM_RTROIIdentificationCodeSequence, meaning.type, from.text);
    seen.empty(DCM_RTROIInterpretedType).empty(DCM_ROIInterpreter);
    to.note(roi.cond()).note(contours.cond()).note(seen.cond());
}

/* Frame of reference, study, series and images that the contours lie on. */
void put_frame_of_reference(put &to, const source &from)
{
    put frame(to.item(DCM_ReferencedFrameOfReferenceSequence));
    frame.copy(DCM_FrameOfReferenceUID, from.head());
    put study(frame.item(DCM_RTReferencedStudySequence));
    study.text(DCM_ReferencedSOPClassUID, UID_RETIRED_DetachedStudyManagementSOPClass)
        .text(DCM_ReferencedSOPInstanceUID, from.series.info.study_uid);
    put series(study.item(DCM_RTReferencedSeriesSequence));
    series.text(DCM_SeriesInstanceUID, from.series.info.series_uid);
    dicom::seg::put_images(series, DCM_ContourImageSequence, from.series, 0, from.series.info.slices - 1);
    to.note(frame.note(study.note(series.cond()).cond()).cond());
}

OFCondition put_all(DcmDataset &out, const source &from)
{
    const dicom_seg_options &o = from.options;
    std::string date, time;
    put to(out);
    to.note(dicom::seg::put_patient_and_study(out, from.head(), from.text));
    to.note(dicom::seg::put_series_beside(out, from, "RTSTRUCT", "Contours")).empty(DCM_OperatorsName);
    to.note(dicom::seg::put_equipment(out, from.text, o.software_version, o.model_name, o.model_version,
                                      o.model_hash));
    dicom::seg::content_date_time(date, time, from.head());
    to.text(DCM_SOPClassUID, UID_RTStructureSetStorage).text(DCM_SOPInstanceUID, from.uid("instance"));
    to.text(DCM_InstanceNumber, "1").text(DCM_StructureSetLabel, "MSAD");
    to.text(DCM_StructureSetDate, date)
        .text(DCM_StructureSetTime, time)
        .text(DCM_ApprovalStatus, "UNAPPROVED");
    put_frame_of_reference(to, from);
    for (size_t place = 0; place < from.used.size(); place++)
        put_region(to, from, place);
    return to.cond();
}

bool has_voxel(const dicom_series &series, const dicom_segment &s)
{
    const size_t n = static_cast<size_t>(series.info.slices) * static_cast<size_t>(series.info.rows) *
                     static_cast<size_t>(series.info.cols);
    return std::memchr(s.mask, 1, n) != nullptr;
}

msa_status write(const dicom_series &series, const dicom_segment *segments, size_t n,
                 const dicom_seg_options &options, const char *dir, dicom_seg_file &file, msa_error *err)
{
    std::vector<std::string> words;
    std::vector<size_t> used;
    MSA_TRY(dicom::seg::check_place(series, "contours have no place", err));
    for (size_t i = 0; i < n; i++) {
        if (!segments[i].mask) return msa_fail(err, MSA_E_INVALID, "segment %zu has no mask", i + 1);
        if (!has_voxel(series, segments[i])) continue;
        used.push_back(i);
        dicom::seg::list_texts(words, segments[i]);
    }
    if (used.empty()) return msa_fail(err, MSA_E_NOT_FOUND, "no segment has a voxel");
    const source from = {
        {series, options, "structure set", dicom::seg::charset_beside(series, options, words)},
        segments,
        used};
    DcmDataset dataset;
    const OFCondition cond = put_all(dataset, from);
    if (cond.bad()) return dicom::fail(err, cond, "write the structure set");
    dicom::seg::describe_file(file, from, "structure-set", UID_RTStructureSetStorage, "instance");
    file.segments = static_cast<int32_t>(from.used.size());
    return dicom::seg::write_dataset(dir, "structure-set", dataset, EXS_LittleEndianImplicit, err);
}

} // namespace

msa_status dicom_structure_set_write(const dicom_series *series, const dicom_segment *segments, size_t n,
                                     const dicom_seg_options *options, const char *dir, dicom_seg_file *file,
                                     msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        if (!series || (!segments && n > 0) || !options || !options->key || !options->key[0] || !dir || !file)
            return msa_fail(err, MSA_E_INVALID,
                            "a structure set needs a series, segments, options with a key and a folder");
        return write(*series, segments, n, *options, dir, *file, err);
    });
}
