/* Patient, study, series, equipment and image: the modules that hold one value for the whole object. */
#include "dicom/seg/seg_impl.h"

#include <cstring>
#include <set>

#include "engine/base/hash.h"

using dicom::seg::charset;
using dicom::seg::planned_segment;
using dicom::seg::put;
using dicom::seg::source;

namespace
{

/* Type 2 in the Patient and General Study modules: present even when empty. */
const DcmTagKey required[] = {
    DCM_PatientName,     DCM_PatientID, DCM_PatientBirthDate,
    DCM_PatientSex,      DCM_StudyDate, DCM_StudyTime,
    DCM_AccessionNumber, DCM_StudyID,   DCM_ReferringPhysicianName,
};

/* Taken over when the source has them: PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3, C.7.3.1, C.7.3.2, C.12.1.
 */
const DcmTagKey optional[] = {
    DCM_SpecificCharacterSet,
    DCM_TimezoneOffsetFromUTC,
    /* patient */
    DCM_IssuerOfPatientID,
    DCM_IssuerOfPatientIDQualifiersSequence,
    DCM_TypeOfPatientID,
    DCM_PatientBirthTime,
    DCM_QualityControlSubject,
    DCM_OtherPatientIDsSequence,
    DCM_OtherPatientNames,
    DCM_EthnicGroup,
    DCM_PatientComments,
    DCM_PatientSpeciesDescription,
    DCM_PatientSpeciesCodeSequence,
    DCM_PatientBreedDescription,
    DCM_PatientBreedCodeSequence,
    DCM_BreedRegistrationSequence,
    DCM_ResponsiblePerson,
    DCM_ResponsiblePersonRole,
    DCM_ResponsibleOrganization,
    DCM_PatientIdentityRemoved,
    DCM_DeidentificationMethod,
    DCM_DeidentificationMethodCodeSequence,
    DCM_LongitudinalTemporalInformationModified,
    /* clinical trial */
    DCM_ClinicalTrialSponsorName,
    DCM_ClinicalTrialProtocolID,
    DCM_ClinicalTrialProtocolName,
    DCM_ClinicalTrialSiteID,
    DCM_ClinicalTrialSiteName,
    DCM_ClinicalTrialSubjectID,
    DCM_ClinicalTrialSubjectReadingID,
    DCM_ClinicalTrialProtocolEthicsCommitteeName,
    DCM_ClinicalTrialProtocolEthicsCommitteeApprovalNumber,
    DCM_ClinicalTrialTimePointID,
    DCM_ClinicalTrialTimePointDescription,
    DCM_ConsentForClinicalTrialUseSequence,
    DCM_ClinicalTrialCoordinatingCenterName,
    DCM_ClinicalTrialSeriesID,
    DCM_ClinicalTrialSeriesDescription,
    /* study */
    DCM_ReferringPhysicianIdentificationSequence,
    DCM_IssuerOfAccessionNumberSequence,
    DCM_StudyDescription,
    DCM_PhysiciansOfRecord,
    DCM_NameOfPhysiciansReadingStudy,
    DCM_ProcedureCodeSequence,
    /* patient study */
    DCM_AdmittingDiagnosesDescription,
    DCM_AdmittingDiagnosesCodeSequence,
    DCM_PatientAge,
    DCM_PatientSize,
    DCM_PatientWeight,
    DCM_Occupation,
    DCM_AdditionalPatientHistory,
    DCM_MedicalAlerts,
    DCM_Allergies,
    DCM_SmokingStatus,
    DCM_PregnancyStatus,
    DCM_LastMenstrualDate,
    DCM_PatientState,
    DCM_PatientSexNeutered,
    DCM_AdmissionID,
    DCM_IssuerOfAdmissionIDSequence,
    DCM_ServiceEpisodeID,
    DCM_ServiceEpisodeDescription,
    /* series */
    DCM_SeriesDate,
    DCM_SeriesTime,
    DCM_BodyPartExamined,
    DCM_Laterality,
};

/* De-identified and converted series often hold these with empty items; only whole references are handed on.
 */
const DcmTagKey references[] = {DCM_ReferencedPatientSequence, DCM_ReferencedStudySequence,
                                DCM_ReferencedPerformedProcedureStepSequence};

/* A module that the source has in part needs its type 2 attributes as well: PS3.3 C.7.1.3, C.7.2.3, C.7.3.2.
 */
const struct {
    DcmTagKey sign, needs;
} trial[] = {
    {DCM_ClinicalTrialProtocolID, DCM_ClinicalTrialProtocolName},
    {DCM_ClinicalTrialProtocolID, DCM_ClinicalTrialSiteID},
    {DCM_ClinicalTrialProtocolID, DCM_ClinicalTrialSiteName},
    {DCM_ClinicalTrialTimePointDescription, DCM_ClinicalTrialTimePointID},
    {DCM_ClinicalTrialSeriesID, DCM_ClinicalTrialCoordinatingCenterName},
    {DCM_ClinicalTrialSeriesDescription, DCM_ClinicalTrialCoordinatingCenterName},
};

bool whole_references(DcmItem &from, const DcmTagKey &tag)
{
    DcmSequenceOfItems *sequence = nullptr;
    if (from.findAndGetSequence(tag, sequence).bad() || !sequence || sequence->card() == 0) return false;
    for (unsigned long k = 0; k < sequence->card(); k++) {
        DcmItem &item = *sequence->getItem(k);
        if (!dicom::seg::uid_valid(dicom::seg::text_of(item, DCM_ReferencedSOPClassUID).c_str()) ||
            !dicom::seg::uid_valid(dicom::seg::text_of(item, DCM_ReferencedSOPInstanceUID).c_str()))
            return false;
    }
    return true;
}

bool series_of_its_own(const source &from)
{
    return from.options.form.profile == DICOM_SEG_OHIF;
}

const char *or_else(const char *text, const char *fallback)
{
    return text && text[0] ? text : fallback;
}

} // namespace

void dicom::seg::content_date_time(std::string &date, std::string &time, DcmItem &from)
{
    static const DcmTagKey pairs[][2] = {{DCM_ContentDate, DCM_ContentTime},
                                         {DCM_AcquisitionDate, DCM_AcquisitionTime},
                                         {DCM_SeriesDate, DCM_SeriesTime},
                                         {DCM_StudyDate, DCM_StudyTime}};
    date = "19700101"; /* both are of type 1 */
    time = "000000";
    for (const auto &pair : pairs) {
        const std::string da = dicom::seg::text_of(from, pair[0]), tm = dicom::seg::text_of(from, pair[1]);
        if (!dicom::seg::date_valid(da)) continue;
        date = da;
        if (dicom::seg::time_valid(tm)) time = tm;
        return;
    }
}

std::string source::uid(const std::string &role) const
{
    dicom_seg_form form = options.form;
    char name[DICOM_SEG_FORM_NAME_MAX], out[MSA_UID_MAX];
    form.compression = DICOM_SEG_NONE; /* the same object in other bytes */
    dicom_seg_form_name(&form, name);
    const std::string ours = std::strcmp(name, "binary") == 0 ? role : std::string(name) + " " + role;
    msa_uid_derive((std::string(options.key) + "\n" + ours).c_str(), out);
    return out;
}

OFCondition dicom::seg::put_patient_and_study(DcmItem &out, DcmItem &head, const charset &text)
{
    put to(out);
    for (const DcmTagKey &tag : required)
        to.copy2(tag, head);
    for (const DcmTagKey &tag : optional)
        to.copy(tag, head);
    if (text.name() != text_of(head, DCM_SpecificCharacterSet))
        to.text(DCM_SpecificCharacterSet, text.name());
    for (const DcmTagKey &tag : references)
        if (whole_references(head, tag)) to.copy(tag, head);
    for (const auto &t : trial)
        if (head.tagExistsWithValue(t.sign)) to.copy2(t.needs, head);
    /* Some de-identified images do not say how they were: type 1C, PS3.3 C.7.1.1. */
    if (text_of(head, DCM_PatientIdentityRemoved) == "YES" &&
        !head.tagExistsWithValue(DCM_DeidentificationMethod) &&
        !head.tagExistsWithValue(DCM_DeidentificationMethodCodeSequence))
        to.text(DCM_DeidentificationMethod, "Not stated by the source images");
    to.copy(DCM_StudyInstanceUID, head)
        .copy(DCM_FrameOfReferenceUID, head)
        .copy2(DCM_PositionReferenceIndicator, head);
    return to.cond();
}

OFCondition dicom::seg::put_equipment(DcmItem &out, const charset &text, const char *software_version,
                                      const char *model_name, const char *model_version,
                                      const char *model_hash)
{
    put to(out);
    const std::string hash = or_else(model_hash, "");
    to.text(DCM_Manufacturer, "msad");
    to.text(DCM_ManufacturerModelName, "msad");
    to.text(DCM_DeviceSerialNumber, hash.empty() ? "1" : text.encode(hash, 16));
    std::string versions = text.encode(or_else(software_version, "msad " MSAD_VERSION), 64);
    const std::string model =
        text.encode(std::string(or_else(model_name, "model")) + " " + or_else(model_version, ""), 64);
    /* The hash fills its 64 characters: the padding of an odd length must not fall to it. */
    if (!hash.empty()) versions += "\\" + text.encode(hash, 64);
    versions += "\\" + model;
    to.text(DCM_SoftwareVersions, versions);
    return to.cond();
}

OFCondition dicom::seg::put_patient_study(DcmItem &out, const source &from)
{
    return put_patient_and_study(out, from.header(0), from.text);
}

/* With a series for each instance the further ones are numbered on. */
OFCondition dicom::seg::put_series_equipment(DcmItem &out, const source &from)
{
    put to(out);
    const dicom_seg_options &o = from.options;
    const size_t further = series_of_its_own(from) ? from.number - 1 : 0;
    to.text(DCM_Modality, "SEG");
    to.text(DCM_SeriesInstanceUID, from.uid(further ? "series " + std::to_string(from.number) : "series"));
    to.text(DCM_SeriesNumber, std::to_string(o.series_number + static_cast<int32_t>(further)));
    to.text(DCM_SeriesDescription, from.text.encode(or_else(o.series_description, "Segmentation"), 64));
    return to
        .note(put_equipment(out, from.text, o.software_version, o.model_name, o.model_version, o.model_hash))
        .cond();
}

/* Segmentation Type and what depends on it: PS3.3 C.8.20.2. */
static OFCondition put_type(DcmItem &out, const source &from)
{
    static const char *const types[] = {"BINARY", "FRACTIONAL", "LABELMAP"};
    const dicom_seg_form &form = from.options.form;
    bool probability = false;
    put to(out);
    to.text(DCM_SegmentationType, types[form.format]);
    if (form.format == DICOM_SEG_LABELMAP) {
        to.us(DCM_PixelPaddingValue, 0);          /* the background */
        to.text(DcmTagKey(0x0062, 0x0013), "NO"); /* Segments Overlap: not in DCMTK's dictionary yet */
    }
    if (form.format == DICOM_SEG_FRACTIONAL) {
        for (const planned_segment &s : from.file.segments)
            probability = probability || s.in->probability;
        to.text(DCM_SegmentationFractionalType, probability ? "PROBABILITY" : "OCCUPANCY");
        to.us(DCM_MaximumFractionalValue, 255);
    }
    return to.cond();
}

OFCondition dicom::seg::put_lossy(DcmItem &out, const dicom_series &series,
                                  const std::vector<int32_t> &slices)
{
    put to(out);
    to.text(DCM_LossyImageCompression, "00");
    for (const int32_t slice : slices) {
        DcmItem &image = *series.files[static_cast<size_t>(slice)]->getDataset();
        if (text_of(image, DCM_LossyImageCompression) != "01") continue;
        to.text(DCM_LossyImageCompression, "01");
        to.copy(DCM_LossyImageCompressionRatio, image).copy(DCM_LossyImageCompressionMethod, image);
        break;
    }
    return to.cond();
}

OFCondition dicom::seg::put_image(DcmItem &out, const source &from)
{
    put to(out);
    DcmItem &head = from.header(0);
    std::string date, time;
    content_date_time(date, time, head);
    const dicom_seg_form &form = from.options.form;
    const Uint16 bits = static_cast<Uint16>(from.bits());
    to.text(DCM_SOPClassUID,
            form.format == DICOM_SEG_LABELMAP ? DICOM_SEG_LABELMAP_CLASS : UID_SegmentationStorage);
    to.text(DCM_SOPInstanceUID, from.uid("instance " + std::to_string(from.number)));
    to.text(DCM_InstanceNumber, std::to_string(series_of_its_own(from) ? 1 : from.number));
    to.text(DCM_ImageType, "DERIVED\\PRIMARY").text(DCM_ContentDate, date).text(DCM_ContentTime, time);
    to.text(DCM_ContentLabel, "SEGMENTATION").text(DCM_ContentCreatorName, "msad^");
    to.text(DCM_ContentDescription,
            from.text.encode(or_else(from.options.content_description, "Segmentation"), 64));
    to.us(DCM_SamplesPerPixel, 1).text(DCM_PhotometricInterpretation, "MONOCHROME2");
    to.us(DCM_Rows, static_cast<Uint16>(from.series.info.rows))
        .us(DCM_Columns, static_cast<Uint16>(from.series.info.cols));
    to.us(DCM_BitsAllocated, bits).us(DCM_BitsStored, bits).us(DCM_HighBit, static_cast<Uint16>(bits - 1));
    to.us(DCM_PixelRepresentation, 0).text(DCM_NumberOfFrames, std::to_string(from.file.frames.size()));
    to.text(DCM_BurnedInAnnotation, "NO").note(put_type(out, from));
    return to.note(put_lossy(out, from.series, from.file.positions)).cond();
}

OFCondition dicom::seg::put_references(DcmItem &out, const source &from)
{
    put to(out);
    put series(to.item(DCM_ReferencedSeriesSequence));
    series.copy(DCM_SeriesInstanceUID, from.header(0));
    std::set<std::string> listed; /* once, however many of its frames are meant */
    for (const int32_t slice : from.file.positions) {
        const dicom_slice &s = from.series.slices[static_cast<size_t>(slice)];
        if (!listed.insert(s.sop_instance_uid).second) continue;
        put ref(series.item(DCM_ReferencedInstanceSequence));
        ref.text(DCM_ReferencedSOPClassUID, s.sop_class_uid)
            .text(DCM_ReferencedSOPInstanceUID, s.sop_instance_uid);
        series.note(ref.cond());
    }
    return to.note(series.cond()).cond();
}
