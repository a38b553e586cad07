/* The checker: the images of a folder, by what their segmentation must have in common with them. */
#include "dicom/seg/check_impl.h"

#include "dicom/read/folder.h"
#include "dicom/read/prescan.h"

using dicom::seg::image;
using dicom::seg::image_plane;
using dicom::seg::text_of;

namespace
{

image_plane plane_of(DcmItem &header)
{
    image_plane out;
    out.origin = dicom::seg::numbers_of(header, DCM_ImagePositionPatient);
    out.direction = dicom::seg::numbers_of(header, DCM_ImageOrientationPatient);
    out.spacing = dicom::seg::numbers_of(header, DCM_PixelSpacing);
    out.there = out.origin.size() == 3 && out.direction.size() == 6 && out.spacing.size() == 2;
    return out;
}

void read_image(image &out, DcmItem &header)
{
    Uint16 rows = 0, cols = 0;
    (void)header.findAndGetUint16(DCM_Rows, rows);
    (void)header.findAndGetUint16(DCM_Columns, cols);
    out.rows = rows;
    out.cols = cols;
    out.sop_class = text_of(header, DCM_SOPClassUID);
    out.series = text_of(header, DCM_SeriesInstanceUID);
    out.study = text_of(header, DCM_StudyInstanceUID);
    out.frame_of_reference = text_of(header, DCM_FrameOfReferenceUID);
    out.patient_id = text_of(header, DCM_PatientID);
    out.patient_name = text_of(header, DCM_PatientName);
    DcmSequenceOfItems *groups = nullptr;
    if (header.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups).good() && groups)
        for (DcmObject *at = nullptr; (at = groups->nextInContainer(at)) != nullptr;)
            out.frames.push_back(dicom::seg::plane_of_frame(header, static_cast<DcmItem *>(at)));
    if (out.frames.empty()) out.frames.push_back(plane_of(header));
}

} // namespace

msa_status dicom::seg::read_images(image_folder &out, const char *dir, msa_error *err)
{
    std::vector<std::string> paths;
    MSA_TRY(list_files(paths, dir, err));
    out.given = true;
    for (const std::string &path : paths) {
        DcmFileFormat file;
        dicom::Prescan scan;
        if (dicom::prescan(scan, path.c_str(), nullptr) != MSA_OK) continue; /* DCMTK is not to see it */
        if (file.loadFileUntilTag(path.c_str(), EXS_Unknown, EGL_noChange, 4096, ERM_autoDetect,
                                  DCM_PixelData)
                .bad())
            continue;
        DcmItem &header = *file.getDataset();
        const std::string modality = text_of(header, DCM_Modality);
        if (!header.tagExists(DCM_Rows) || modality == "SEG" || modality == "RTDOSE" || modality == "PR")
            continue;
        read_image(out.images[text_of(header, DCM_SOPInstanceUID)], header);
    }
    if (out.images.empty()) return msa_fail(err, MSA_E_UNSUPPORTED, "the folder holds no image");
    return MSA_OK;
}
