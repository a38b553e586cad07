#include "dicom/header.h"
#include "dicom/guard.h"
#include "dicom/read/authored.h"
#include "dicom/read/description.h"
#include "dicom/read/file.h"
#include "dicom/read/placement.h"
#include "dicom/read/syntax.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcistrmf.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <algorithm>
#include <cstring>

namespace dicom
{
namespace
{

const DcmTagKey AFTER_PIXELS(0x7fe0, 0x0011);
constexpr int32_t FRAMES_MAX = 16384;

/* The classes we take. Every annotation has its reader in dicom/annot/annotation.cc. */
const char *const single_frame_classes[] = {UID_CTImageStorage, UID_MRImageStorage};
const char *const multi_frame_classes[] = {
    UID_EnhancedCTImageStorage, UID_LegacyConvertedEnhancedCTImageStorage, UID_EnhancedMRImageStorage,
    UID_LegacyConvertedEnhancedMRImageStorage};
const char *const annotation_classes[] = {
    UID_EnhancedSRStorage,
    UID_ComprehensiveSRStorage,
    UID_Comprehensive3DSRStorage,
    UID_GrayscaleSoftcopyPresentationStateStorage,
    UID_ColorSoftcopyPresentationStateStorage,
    UID_PseudoColorSoftcopyPresentationStateStorage,
    UID_BlendingSoftcopyPresentationStateStorage,
    UID_RTStructureSetStorage,
    UID_SegmentationStorage,
    UID_LABEL_MAP,
    UID_KeyObjectSelectionDocumentStorage,
};

template <size_t N> bool in_list(const char *const (&list)[N], const char *uid)
{
    for (const char *one : list)
        if (std::strcmp(one, uid) == 0) return true;
    return false;
}

bool is_ct(const char *uid)
{
    return std::strcmp(uid, UID_CTImageStorage) == 0 || std::strcmp(uid, UID_EnhancedCTImageStorage) == 0 ||
           std::strcmp(uid, UID_LegacyConvertedEnhancedCTImageStorage) == 0;
}

msa_status read_uid(DcmItem &d, const DcmTagKey &tag, const char *name, char to[DICOM_UID_MAX],
                    msa_error *err)
{
    const std::string uid = text(d, tag);
    if (uid.empty()) return msa_fail(err, MSA_E_PARSE, "the object has no %s", name);
    if (!is_uid(uid)) return msa_fail(err, MSA_E_PARSE, "its %s is not a valid UID", name);
    copy(to, DICOM_UID_MAX, uid);
    return MSA_OK;
}

msa_status read_identity(DcmItem &d, dicom_header &h, msa_error *err)
{
    MSA_TRY(read_uid(d, DCM_SOPClassUID, "SOP Class UID", h.sop_class_uid, err));
    if (dicom_is_image_class(h.sop_class_uid))
        h.kind = DICOM_KIND_IMAGE;
    else if (dicom_is_annotation_class(h.sop_class_uid))
        h.kind = DICOM_KIND_ANNOTATION;
    else
        return msa_fail(err, MSA_E_UNSUPPORTED, "%s objects are not taken",
                        dcmFindNameOfUID(h.sop_class_uid, h.sop_class_uid));
    MSA_TRY(read_uid(d, DCM_SOPInstanceUID, "SOP Instance UID", h.sop_instance_uid, err));
    MSA_TRY(read_uid(d, DCM_StudyInstanceUID, "Study Instance UID", h.study_uid, err));
    MSA_TRY(read_uid(d, DCM_SeriesInstanceUID, "Series Instance UID", h.series_uid, err));
    const std::string frame_of_reference = text(d, DCM_FrameOfReferenceUID);
    if (!frame_of_reference.empty() && !is_uid(frame_of_reference))
        return msa_fail(err, MSA_E_PARSE, "its Frame of Reference UID is not a valid UID");
    copy(h.frame_of_reference_uid, sizeof h.frame_of_reference_uid, frame_of_reference);

    std::string modality = code_string(d, DCM_Modality);
    if (modality.empty() && h.kind == DICOM_KIND_IMAGE) modality = is_ct(h.sop_class_uid) ? "CT" : "MR";
    copy(h.modality, sizeof h.modality, modality);
    copy(h.body_part, sizeof h.body_part, code_string(d, DCM_BodyPartExamined));
    if (find_int(d, DCM_InstanceNumber, h.instance_number) == FIND_BAD) h.instance_number = 0;
    if (find_int(d, DCM_NumberOfSeriesRelatedInstances, h.expected_instances) != FIND_OK ||
        h.expected_instances < 0)
        h.expected_instances = 0;
    h.authored_ms = authored_ms(d);
    read_description(h, d);
    return MSA_OK;
}

msa_status read_form(DcmItem &d, PixelForm &form, msa_error *err)
{
    uint16_t samples = 1, sign = 0;
    if (find_u16(d, DCM_SamplesPerPixel, samples) == FIND_BAD || samples != 1)
        return msa_fail(err, MSA_E_UNSUPPORTED, "it has %u samples per pixel; only grey images are taken",
                        samples);
    const std::string photometric = code_string(d, DCM_PhotometricInterpretation);
    if (photometric != "MONOCHROME1" && photometric != "MONOCHROME2")
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "its photometric interpretation is not MONOCHROME1 or MONOCHROME2");
    form.inverted = photometric == "MONOCHROME1";
    if (find_u16(d, DCM_BitsAllocated, form.allocated) != FIND_OK ||
        find_u16(d, DCM_BitsStored, form.stored) != FIND_OK ||
        find_u16(d, DCM_PixelRepresentation, sign) != FIND_OK)
        return msa_fail(err, MSA_E_PARSE, "Bits Allocated, Bits Stored or Pixel Representation is missing");
    if (form.allocated != 8 && form.allocated != 16)
        return msa_fail(err, MSA_E_UNSUPPORTED, "it has %u bits allocated; 8 and 16 are taken",
                        form.allocated);
    if (find_u16(d, DCM_HighBit, form.high_bit) != FIND_OK) form.high_bit = uint16_t(form.stored - 1);
    if (form.stored == 0 || form.stored > form.allocated || form.high_bit >= form.allocated ||
        form.high_bit + 1 < form.stored || sign > 1)
        return msa_fail(err, MSA_E_PARSE,
                        "bits stored %u, high bit %u and pixel representation %u contradict "
                        "%u bits allocated",
                        form.stored, form.high_bit, sign, form.allocated);
    form.is_signed = sign == 1;
    return MSA_OK;
}

msa_status check_pixels(const File &f, msa_error *err)
{
    const Prescan &scan = f.scan;
    const uint64_t frames = uint64_t(f.header.frames), whole = frames * frame_size(f);
    if (!scan.has_pixel_data) return msa_fail(err, MSA_E_PARSE, "the image has no pixel data");
    if (scan.encapsulated) {
        if (scan.fragments.empty()) return msa_fail(err, MSA_E_PARSE, "the pixel data is empty");
        if (scan.pixel_length > frames * encoded_max(f))
            return msa_fail(err, MSA_E_PARSE,
                            "the compressed pixel data is longer than the image it should hold");
        return MSA_OK;
    }
    if (scan.pixel_length < whole)
        return msa_fail(err, MSA_E_PARSE,
                        "the pixel data holds %llu bytes where %d rows of %d columns%s need %llu",
                        (unsigned long long)scan.pixel_length, f.header.rows, f.header.cols,
                        frames > 1 ? " in each frame" : "", (unsigned long long)whole);
    return MSA_OK;
}

msa_status read_frame_count(DcmItem &d, dicom_header &h, msa_error *err)
{
    const bool many = in_list(multi_frame_classes, h.sop_class_uid);
    h.frames = 1;
    if (find_int(d, DCM_NumberOfFrames, h.frames) == FIND_BAD || h.frames < 1)
        return msa_fail(err, MSA_E_PARSE, "Number of Frames is not a positive number");
    if (h.frames > 1 && !many)
        return msa_fail(err, MSA_E_UNSUPPORTED, "it holds %d frames, but its class is one of single images",
                        h.frames);
    if (h.frames > FRAMES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "it holds %d frames; at most %d are taken", h.frames,
                        FRAMES_MAX);
    return MSA_OK;
}

void copy_placement(dicom_header &h, const Placement &p)
{
    const double normal[3] = {p.row_dir[1] * p.col_dir[2] - p.row_dir[2] * p.col_dir[1],
                              p.row_dir[2] * p.col_dir[0] - p.row_dir[0] * p.col_dir[2],
                              p.row_dir[0] * p.col_dir[1] - p.row_dir[1] * p.col_dir[0]};
    std::copy_n(p.origin_mm, 3, h.origin_mm);
    std::copy_n(p.row_dir, 3, h.row_dir);
    std::copy_n(p.col_dir, 3, h.col_dir);
    std::copy_n(p.spacing_mm, 2, h.spacing_mm);
    h.position_mm = p.origin_mm[0] * normal[0] + p.origin_mm[1] * normal[1] + p.origin_mm[2] * normal[2];
}

/* Of a multi-frame image the header has the place of the first frame, when all have one. */
msa_status read_place(File &f, DcmItem &d, msa_error *err)
{
    if (in_list(multi_frame_classes, f.header.sop_class_uid)) {
        MSA_TRY(read_frames(f, err));
        f.place = f.frames.front().place;
        for (const Frame &frame : f.frames)
            f.place.known = f.place.known && frame.place.known;
    } else {
        MSA_TRY(read_placement(f.place, d, err));
    }
    f.header.has_plane = f.place.known;
    if (f.place.known) copy_placement(f.header, f.place);
    return MSA_OK;
}

msa_status read_image(File &f, DcmItem &d, msa_error *err)
{
    dicom_header &h = f.header;
    uint16_t rows = 0, cols = 0;
    MSA_TRY(read_frame_count(d, h, err));
    if (find_u16(d, DCM_Rows, rows) != FIND_OK || find_u16(d, DCM_Columns, cols) != FIND_OK)
        return msa_fail(err, MSA_E_PARSE, "Rows or Columns is missing");
    if (rows < 1 || rows > 16384 || cols < 1 || cols > 16384)
        return msa_fail(err, MSA_E_PARSE, "%u rows and %u columns are not within 1..16384", rows, cols);
    h.rows = rows;
    h.cols = cols;
    MSA_TRY(read_form(d, f.form, err));
    if (find_syntax(h.transfer_syntax_uid) == nullptr)
        return msa_fail(err, MSA_E_UNSUPPORTED, "pixel data in the transfer syntax %s cannot be decoded",
                        DcmXfer(f.scan.xfer).getXferName());
    MSA_TRY(check_pixels(f, err));
    return read_place(f, d, err);
}

} // namespace

msa_status parse_dataset(std::unique_ptr<DcmFileFormat> &out, const Prescan &scan, const char *path,
                         bool with_pixels, msa_error *err)
{
    /* From the dataset's first byte and in the syntax that the pre-scan walked, so that both see the same
     * elements. */
    /* DCMTK stops at a tag, and goes on when what follows the pixels has a lower one. */
    Prescan whole;
    if (with_pixels) MSA_TRY(prescan(whole, path, err, PRESCAN_RESULT_ELEMENTS_MAX, true));
    DcmInputFileStream stream(path, offile_off_t(scan.dataset_offset));
    if (stream.status().bad()) return msa_fail(err, MSA_E_IO, "cannot open the DICOM file");
    auto file = std::make_unique<DcmFileFormat>();
    DcmDataset &d = *file->getDataset();
    constexpr Uint32 all_in_memory = 0xfffffffeu;
    d.transferInit();
    const OFCondition cond = d.readUntilTag(stream, scan.xfer, EGL_noChange, all_in_memory,
                                            with_pixels ? AFTER_PIXELS : DCM_PixelData);
    d.transferEnd();
    if (cond.bad()) return fail(err, cond, "parse the dataset");
    out = std::move(file);
    return MSA_OK;
}

msa_status load_whole(DcmFileFormat &out, const char *path, msa_error *err)
{
    Prescan scan;
    MSA_TRY(prescan(scan, path, err, PRESCAN_RESULT_ELEMENTS_MAX, true));
    const OFCondition cond = out.loadFile(path);
    return cond.bad() ? fail(err, cond, "parse the file") : MSA_OK;
}

msa_status read_file(File &out, const char *path, msa_error *err)
{
    out = File();
    MSA_TRY(prescan(out.scan, path, err));
    MSA_TRY(parse_dataset(out.content, out.scan, path, false, err));
    DcmItem &d = *out.content->getDataset();
    copy(out.header.transfer_syntax_uid, DICOM_UID_MAX, out.scan.transfer_syntax_uid);
    MSA_TRY(read_identity(d, out.header, err));
    return out.header.kind == DICOM_KIND_IMAGE ? read_image(out, d, err) : MSA_OK;
}

} // namespace dicom

msa_status dicom_header_read(dicom_header *out, const char *path, msa_error *err)
{
    *out = dicom_header{};
    return dicom::guard(err, [&]() -> msa_status {
        dicom::File file;
        MSA_TRY(dicom::read_file(file, path, err));
        *out = file.header;
        return MSA_OK;
    });
}

bool dicom_is_image_class(const char *uid)
{
    return dicom::in_list(dicom::single_frame_classes, uid) ||
           dicom::in_list(dicom::multi_frame_classes, uid);
}

bool dicom_is_annotation_class(const char *uid)
{
    return dicom::in_list(dicom::annotation_classes, uid);
}
