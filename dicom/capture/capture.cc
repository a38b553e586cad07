#include "dicom/capture.h"

#include <cmath>

#include "dicom/guard.h"
#include "dicom/seg/beside.h"

using dicom::seg::put;

namespace
{

struct source : dicom::seg::beside {
    const dicom_capture &picture;

    std::string role() const
    {
        return "instance " + std::to_string(picture.number);
    }
    const dicom_slice &slice() const
    {
        return series.slices[static_cast<size_t>(picture.slice)];
    }
    DcmItem &image() const
    {
        return *series.files[static_cast<size_t>(picture.slice)]->getDataset();
    }
};

/* What the images' modules say of an image with a plane. */
const DcmTagKey of_planes[] = {DCM_FrameOfReferenceUID, DCM_PositionReferenceIndicator};

/* The side of the body that a direction points to most, in LPS coordinates: PS3.3 C.7.6.1.1.1. */
std::string side_of(const double direction[3])
{
    static const char *const sides[3][2] = {{"L", "R"}, {"P", "A"}, {"H", "F"}};
    int most = 0;
    for (int k = 1; k < 3; k++)
        if (std::fabs(direction[k]) > std::fabs(direction[most])) most = k;
    return sides[most][direction[most] < 0];
}

/* Of bipeds: animals on four legs have other names for their sides. */
void put_orientation(put &to, const source &from)
{
    const dicom_volume_info &info = from.series.info;
    const std::string type = dicom::seg::text_of(from.head(), DCM_AnatomicalOrientationType);
    if (type == "QUADRUPED")
        to.empty(DCM_PatientOrientation);
    else
        to.text(DCM_PatientOrientation, side_of(info.row_dir) + "\\" + side_of(info.col_dir));
}

OFCondition put_source(DcmItem &out, const source &from)
{
    static const dicom_code purpose = {"121322", "DCM", "Source image for image processing operation"};
    const dicom_slice &slice = from.slice();
    put to(out);
    put image(to.item(DCM_SourceImageSequence));
    image.text(DCM_ReferencedSOPClassUID, slice.sop_class_uid)
        .text(DCM_ReferencedSOPInstanceUID, slice.sop_instance_uid);
    if (slice.frame > 0) image.text(DCM_ReferencedFrameNumber, std::to_string(slice.frame));
    image.code(DCM_PurposeOfReferenceCodeSequence, purpose, from.text);
    return to.note(image.cond()).cond();
}

OFCondition put_image(DcmItem &out, const source &from)
{
    std::string date, time;
    put to(out);
    dicom::seg::content_date_time(date, time, from.image());
    to.text(DCM_SOPClassUID, UID_SecondaryCaptureImageStorage)
        .text(DCM_SOPInstanceUID, from.uid(from.role()));
    to.text(DCM_ConversionType, "WSD").text(DCM_InstanceNumber, std::to_string(from.picture.number));
    to.text(DCM_ContentDate, date).text(DCM_ContentTime, time).text(DCM_ImageType, "DERIVED\\SECONDARY");
    to.text(DCM_DerivationDescription, "Segments drawn into the image, for looking only");
    put_orientation(to, from);
    /* what is drawn identifies nobody; what the image shows already may */
    const bool burned_in = dicom::seg::text_of(from.image(), DCM_BurnedInAnnotation) == "YES";
    to.text(DCM_BurnedInAnnotation, burned_in ? "YES" : "NO");
    to.note(dicom::seg::put_lossy(out, from.series, {from.picture.slice}));
    return to.note(put_source(out, from)).cond();
}

OFCondition put_pixels(DcmItem &out, const dicom_capture &p)
{
    const size_t n = 3 * static_cast<size_t>(p.rows) * static_cast<size_t>(p.cols);
    put to(out);
    to.us(DCM_SamplesPerPixel, 3).text(DCM_PhotometricInterpretation, "RGB").us(DCM_PlanarConfiguration, 0);
    to.us(DCM_Rows, static_cast<Uint16>(p.rows)).us(DCM_Columns, static_cast<Uint16>(p.cols));
    to.us(DCM_BitsAllocated, 8).us(DCM_BitsStored, 8).us(DCM_HighBit, 7).us(DCM_PixelRepresentation, 0);
    return to.note(out.putAndInsertUint8Array(DCM_PixelData, p.rgb, n)).cond(); /* padded to an even length */
}

OFCondition put_all(DcmDataset &out, const source &from)
{
    const dicom_seg_options &o = from.options;
    put to(out);
    to.note(dicom::seg::put_patient_and_study(out, from.head(), from.text));
    for (const DcmTagKey &tag : of_planes)
        (void)out.findAndDeleteElement(tag);
    to.note(dicom::seg::put_series_beside(out, from, "OT", "Segmentation, drawn"));
    to.note(dicom::seg::put_equipment(out, from.text, o.software_version, o.model_name, o.model_version,
                                      o.model_hash));
    return to.note(put_image(out, from)).note(put_pixels(out, from.picture)).cond();
}

msa_status write(const dicom_series &series, const dicom_capture &picture, const dicom_seg_options &options,
                 const char *dir, dicom_seg_file &file, msa_error *err)
{
    if (picture.rows < 1 || picture.cols < 1 || picture.rows > 65535 || picture.cols > 65535 ||
        picture.slice < 0 || picture.slice >= series.info.slices || picture.number < 1)
        return msa_fail(err, MSA_E_INVALID, "a capture has no size, slice or number that could be written");
    if (!series.info.study_uid[0])
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the images have no Study Instance UID, so pictures have no place");
    const source from = {{series, options, "capture", dicom::seg::charset_beside(series, options, {})},
                         picture};
    const std::string name = "capture-" + std::to_string(picture.number);
    DcmDataset dataset;
    const OFCondition cond = put_all(dataset, from);
    if (cond.bad()) return dicom::fail(err, cond, "write the capture");
    dicom::seg::describe_file(file, from, name, UID_SecondaryCaptureImageStorage, from.role());
    return dicom::seg::write_dataset(dir, name.c_str(), dataset, EXS_LittleEndianExplicit, err);
}

} // namespace

msa_status dicom_capture_write(const dicom_series *series, const dicom_capture *capture,
                               const dicom_seg_options *options, const char *dir, dicom_seg_file *file,
                               msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        if (!series || !capture || !capture->rgb || !options || !options->key || !options->key[0] || !dir ||
            !file)
            return msa_fail(err, MSA_E_INVALID,
                            "a capture needs a series, a picture, options with a key and a folder");
        return write(*series, *capture, *options, dir, *file, err);
    });
}
