/* The checker: the whole of it, its findings, and the modules that hold one value for the object. */
#include "dicom/seg_check.h"
#include "dicom/read/file.h"
#include "dicom/seg/check_impl.h"

#include <cstdio>
#include <cstring>

using dicom::seg::findings;
using dicom::seg::subject;
using dicom::seg::text_of;

namespace
{

const char *const label_map_class = "1.2.840.10008.5.1.4.1.1.66.7";

/* 128 bytes of anything, then DICM. */
msa_status has_preamble(const char *path, msa_error *err)
{
    char head[132] = "";
    FILE *file = std::fopen(path, "rb");
    if (!file) return msa_fail(err, MSA_E_NOT_FOUND, "the file is not there or cannot be read");
    const bool read = std::fread(head, 1, sizeof head, file) == sizeof head;
    (void)std::fclose(file);
    if (!read || std::memcmp(head + 128, "DICM", 4) != 0)
        return msa_fail(err, MSA_E_PARSE, "the file is no DICOM file");
    return MSA_OK;
}

int whole_number(DcmItem &item, const DcmTagKey &tag)
{
    Uint16 value = 0;
    return item.findAndGetUint16(tag, value).good() ? value : -1;
}

void fill_summary(dicom_seg_summary &out, const subject &s)
{
    (void)std::snprintf(out.type, sizeof out.type, "%s", s.type.c_str());
    (void)std::snprintf(out.transfer_syntax_uid, sizeof out.transfer_syntax_uid, "%s", s.syntax_uid.c_str());
    out.rows = s.rows;
    out.cols = s.cols;
    out.frames = static_cast<int32_t>(s.frames);
    out.segments = static_cast<int32_t>(s.segments.size());
    for (const std::string &uid : s.named)
        out.images += static_cast<int32_t>(s.folder.images.count(uid));
}

/* A file that cannot be read to its end is not looked at any further: all else would follow from that. */
bool load(DcmFileFormat &file, const char *path, findings &found)
{
    msa_error why = MSA_ERROR_INIT;
    if (dicom::load_whole(file, path, &why) == MSA_OK) return true;
    found.say(std::string("the file cannot be read to its end: ") + why.what);
    return false;
}

msa_status check(const char *path, const char *series_dir, findings &found, dicom_seg_summary &summary,
                 msa_error *err)
{
    DcmFileFormat file;
    dicom::seg::image_folder folder;
    MSA_TRY(has_preamble(path, err));
    if (series_dir) MSA_TRY(dicom::seg::read_images(folder, series_dir, err));
    if (!load(file, path, found)) return MSA_OK;
    DcmDataset &dataset = *file.getDataset();
    const std::string sop_class = text_of(dataset, DCM_SOPClassUID);
    const bool labelmap = sop_class == label_map_class;
    if (sop_class != UID_SegmentationStorage && !labelmap)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the object is no segmentation");
    DcmMetaInfo &meta = *file.getMetaInfo();
    if (text_of(meta, DCM_MediaStorageSOPClassUID) != sop_class ||
        text_of(meta, DCM_MediaStorageSOPInstanceUID) != text_of(dataset, DCM_SOPInstanceUID))
        found.say("the file meta information names another object than the dataset");
    subject s = {dataset,  text_of(meta, DCM_TransferSyntaxUID),  folder, found,
                 labelmap, text_of(dataset, DCM_SegmentationType)};
    dicom::seg::check_modules(s);
    dicom::seg::check_segments(s);
    dicom::seg::check_dimensions(s);
    dicom::seg::check_frames(s);
    dicom::seg::check_references(s);
    dicom::seg::check_pixels(s);
    fill_summary(summary, s);
    return MSA_OK;
}

void check_present(subject &s)
{
    static const struct {
        DcmTagKey tag;
        const char *name;
        bool value; /* type 1; else 2 */
    } wanted[] = {
        {DCM_Manufacturer, "Manufacturer", true},
        {DCM_ManufacturerModelName, "Manufacturer's Model Name", true},
        {DCM_DeviceSerialNumber, "Device Serial Number", true},
        {DCM_SoftwareVersions, "Software Versions", true},
        {DCM_SeriesNumber, "Series Number", true},
        {DCM_InstanceNumber, "Instance Number", true},
        {DCM_ContentDate, "Content Date", true},
        {DCM_ContentTime, "Content Time", true},
        {DCM_ContentLabel, "Content Label", true},
        {DCM_ContentDescription, "Content Description", false},
        {DCM_ContentCreatorName, "Content Creator's Name", false},
        {DCM_PatientName, "Patient's Name", false},
        {DCM_PatientID, "Patient ID", false},
        {DCM_PatientBirthDate, "Patient's Birth Date", false},
        {DCM_PatientSex, "Patient's Sex", false},
        {DCM_StudyDate, "Study Date", false},
        {DCM_StudyTime, "Study Time", false},
        {DCM_StudyID, "Study ID", false},
        {DCM_AccessionNumber, "Accession Number", false},
        {DCM_ReferringPhysicianName, "Referring Physician's Name", false},
    };
    for (const auto &w : wanted) {
        if (!s.dataset.tagExists(w.tag))
            s.found.say(std::string(w.name) + " is not there");
        else if (w.value && !s.dataset.tagExistsWithValue(w.tag))
            s.found.say(std::string(w.name) + " has no value");
    }
}

void check_uids(subject &s)
{
    static const struct {
        DcmTagKey tag;
        const char *name;
    } uids[] = {{DCM_SOPInstanceUID, "SOP Instance UID"},
                {DCM_SeriesInstanceUID, "Series Instance UID"},
                {DCM_StudyInstanceUID, "Study Instance UID"},
                {DCM_FrameOfReferenceUID, "Frame of Reference UID"}};
    for (const auto &u : uids) {
        const std::string value = text_of(s.dataset, u.tag);
        /* an image of no patient space, such as a radiograph, gives none to its segmentation either */
        if (value.empty() && u.tag == DCM_FrameOfReferenceUID && !s.dataset.tagExists(u.tag)) continue;
        if (!dicom::seg::uid_valid(value.c_str()))
            s.found.say(std::string(u.name) + " is not there or is none");
    }
}

/* Segmentation Type and the description of pixels that goes with it. */
void check_type(subject &s)
{
    const bool binary = s.type == "BINARY", fractional = s.type == "FRACTIONAL";
    const bool known = s.labelmap ? s.type == "LABELMAP" : binary || fractional;
    if (!known) s.found.say("Segmentation Type is not one of its SOP class");
    const int allocated = whole_number(s.dataset, DCM_BitsAllocated),
              stored = whole_number(s.dataset, DCM_BitsStored), high = whole_number(s.dataset, DCM_HighBit);
    const bool width = binary       ? allocated == 1
                       : s.labelmap ? allocated == 8 || allocated == 16
                                    : allocated == 8;
    if (known && (!width || stored != allocated || high != stored - 1))
        s.found.say("Bits Allocated, Bits Stored and High Bit do not suit the Segmentation Type");
    s.bits = allocated;
    const std::string photometric = text_of(s.dataset, DCM_PhotometricInterpretation);
    if (whole_number(s.dataset, DCM_SamplesPerPixel) != 1 ||
        whole_number(s.dataset, DCM_PixelRepresentation) != 0 ||
        (photometric != "MONOCHROME2" && !(s.labelmap && photometric == "PALETTE COLOR")))
        s.found.say("pixels are not described as one unsigned sample, MONOCHROME2");
    Uint16 most = 0;
    if (fractional && (text_of(s.dataset, DCM_SegmentationFractionalType).empty() ||
                       s.dataset.findAndGetUint16(DCM_MaximumFractionalValue, most).bad() || most == 0))
        s.found.say("a fractional segmentation needs its fractional type and the maximum value");
    if (!s.dataset.tagExistsWithValue(DCM_LossyImageCompression))
        s.found.say("Lossy Image Compression has no value");
    OFString derived;
    if (s.dataset.findAndGetOFString(DCM_ImageType, derived, 0).bad() || derived != "DERIVED")
        s.found.say("Image Type does not begin with DERIVED");
}

} // namespace

void findings::say(const std::string &sentence)
{
    if (known_.emplace(sentence, all_.size()).second) all_.push_back({sentence, 0, 0});
}

void findings::frame(size_t frame, const std::string &what)
{
    const auto at = known_.emplace("frame: " + what, all_.size());
    if (at.second)
        all_.push_back({what, frame + 1, 0});
    else
        all_[at.first->second].more++;
}

size_t findings::tell(dicom_defect_fn *defect, void *ctx) const
{
    for (const finding &f : all_) {
        std::string sentence = f.what;
        if (f.frame > 0)
            sentence = "frame " + std::to_string(f.frame) +
                       (f.more > 0 ? " and " + std::to_string(f.more) + " more: " : ": ") + f.what;
        defect(ctx, sentence.c_str());
    }
    return all_.size();
}

DcmItem *dicom::seg::item_of(DcmItem *item, const DcmTagKey &sequence, unsigned long k)
{
    DcmItem *found = nullptr;
    if (!item || item->findAndGetSequenceItem(sequence, found, static_cast<long>(k)).bad()) return nullptr;
    return found;
}

size_t dicom::seg::items_of(DcmItem &item, const DcmTagKey &sequence)
{
    DcmSequenceOfItems *all = nullptr;
    return item.findAndGetSequence(sequence, all).good() && all ? all->card() : 0;
}

bool dicom::seg::coded(DcmItem &item, const DcmTagKey &sequence)
{
    DcmItem *code = item_of(&item, sequence);
    return code && items_of(item, sequence) == 1 && !text_of(*code, DCM_CodeMeaning).empty() &&
           (code->tagExistsWithValue(DCM_LongCodeValue) || code->tagExistsWithValue(DCM_URNCodeValue) ||
            (code->tagExistsWithValue(DCM_CodeValue) &&
             code->tagExistsWithValue(DCM_CodingSchemeDesignator)));
}

void dicom::seg::check_modules(subject &s)
{
    Sint32 frames = 0;
    DcmSequenceOfItems *groups = nullptr;
    if (text_of(s.dataset, DCM_Modality) != "SEG") s.found.say("Modality is not SEG");
    check_uids(s);
    check_present(s);
    check_type(s);
    s.rows = whole_number(s.dataset, DCM_Rows);
    s.cols = whole_number(s.dataset, DCM_Columns);
    if (s.rows < 1 || s.cols < 1) s.found.say("Rows or Columns is not there");
    if (s.dataset.findAndGetSint32(DCM_NumberOfFrames, frames).bad() || frames < 1)
        s.found.say("Number of Frames is not there or below 1");
    s.frames = frames > 0 ? static_cast<size_t>(frames) : 0;
    if (s.dataset.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups).good() && groups)
        for (DcmObject *at = nullptr; (at = groups->nextInContainer(at)) != nullptr;)
            s.groups.push_back(static_cast<DcmItem *>(at));
    if (s.groups.size() != s.frames)
        s.found.say("Number of Frames is " + std::to_string(s.frames) + ", but " +
                    std::to_string(s.groups.size()) + " frames are described");
    if (!item_of(&s.dataset, DCM_SharedFunctionalGroupsSequence))
        s.found.say("the shared functional groups are not there");
}

msa_status dicom_seg_check(const char *path, const char *series_dir, dicom_defect_fn *defect, void *ctx,
                           dicom_seg_summary *summary, msa_error *err)
{
    std::memset(summary, 0, sizeof *summary);
    return dicom::guard(err, [&]() -> msa_status {
        findings found;
        MSA_TRY(check(path, series_dir, found, *summary, err));
        summary->defects = found.tell(defect, ctx);
        return MSA_OK;
    });
}
