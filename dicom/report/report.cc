/* The modules around the content tree: PS3.3 A.35.13, C.17.1, C.17.2. */
#include "dicom/report.h"

#include <cstring>

#include "dicom/guard.h"
#include "dicom/report/report_impl.h"

using dicom::report::source;
using dicom::seg::put;

namespace
{

const char SR_CLASS[] = DICOM_REPORT_CLASS;

/* What the images' modules say of an image, not of a report. */
const DcmTagKey of_images[] = {DCM_FrameOfReferenceUID, DCM_PositionReferenceIndicator, DCM_BodyPartExamined,
                               DCM_Laterality};

OFCondition put_document(DcmItem &out, const source &from)
{
    put to(out);
    std::string date, time;
    dicom::seg::content_date_time(date, time, from.head());
    to.text(DCM_SOPClassUID, SR_CLASS).text(DCM_SOPInstanceUID, from.uid("instance"));
    to.text(DCM_InstanceNumber, "1").text(DCM_ContentDate, date).text(DCM_ContentTime, time);
    to.text(DCM_CompletionFlag, "COMPLETE").text(DCM_VerificationFlag, "UNVERIFIED");
    return to.empty(DCM_PerformedProcedureCodeSequence).cond();
}

/* The images from the lowest to the highest slice of the findings; without any, those that were looked at. */
void add_images(put &study, const source &from)
{
    int32_t first = from.series.info.slices, last = -1;
    for (size_t i = 0; i < from.n; i++) {
        const dicom_finding &f = from.findings[i];
        if (f.number < 1) continue;
        if (f.first_slice < first) first = f.first_slice;
        if (f.last_slice > last) last = f.last_slice;
    }
    if (last < 0) first = 0, last = from.series.info.slices - 1;
    put series(study.item(DCM_ReferencedSeriesSequence));
    series.text(DCM_SeriesInstanceUID, from.series.info.series_uid);
    dicom::seg::put_images(series, DCM_ReferencedSOPSequence, from.series, first, last);
    study.note(series.cond());
}

/* Each object once, each series once: findings come in the order of their objects or not. */
void add_segmentations(put &study, const source &from)
{
    std::vector<const dicom_seg_file *> files;
    for (size_t i = 0; i < from.n; i++) {
        bool known = from.findings[i].number < 1;
        for (const dicom_seg_file *file : files)
            known = known || file == from.findings[i].file;
        if (!known) files.push_back(from.findings[i].file);
    }
    for (size_t i = 0; i < files.size(); i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first = first && std::strcmp(files[k]->series_uid, files[i]->series_uid) != 0;
        if (!first) continue;
        put series(study.item(DCM_ReferencedSeriesSequence));
        series.text(DCM_SeriesInstanceUID, files[i]->series_uid);
        for (size_t k = i; k < files.size(); k++)
            if (std::strcmp(files[k]->series_uid, files[i]->series_uid) == 0)
                dicom::seg::put_reference(series, DCM_ReferencedSOPSequence, files[k]->sop_class_uid,
                                          files[k]->sop_instance_uid);
        study.note(series.cond());
    }
}

OFCondition put_evidence(DcmItem &out, const source &from)
{
    put to(out);
    put study(to.item(DCM_CurrentRequestedProcedureEvidenceSequence));
    study.text(DCM_StudyInstanceUID, from.series.info.study_uid);
    add_images(study, from);
    add_segmentations(study, from);
    return to.note(study.cond()).cond();
}

OFCondition put_all(DcmDataset &out, const source &from)
{
    const dicom_seg_options &o = from.options;
    put to(out);
    to.note(dicom::seg::put_patient_and_study(out, from.head(), from.text));
    for (const DcmTagKey &tag : of_images)
        (void)out.findAndDeleteElement(tag);
    to.note(dicom::seg::put_series_beside(out, from, "SR", "Measurements"));
    to.empty(DCM_ReferencedPerformedProcedureStepSequence).note(put_document(out, from));
    to.note(dicom::seg::put_equipment(out, from.text, o.software_version, o.model_name, o.model_version,
                                      o.model_hash));
    to.note(put_evidence(out, from)).note(dicom::seg::put_prompt_sources(out, o, from.text));
    return to.note(dicom::report::put_content(out, from)).cond();
}

msa_status check(const dicom_series &series, const dicom_finding *findings, size_t n, msa_error *err)
{
    MSA_TRY(dicom::seg::check_place(series, "nothing can be reported", err));
    for (size_t i = 0; i < n; i++) {
        const dicom_finding &f = findings[i];
        if (!f.segment) return msa_fail(err, MSA_E_INVALID, "finding %zu has no segment", i + 1);
        if (f.number > 0 && (!f.file || f.first_slice < 0 || f.last_slice >= series.info.slices))
            return msa_fail(err, MSA_E_INVALID, "finding %zu does not lie in the series", i + 1);
    }
    return MSA_OK;
}

msa_status write(const dicom_series &series, const dicom_finding *findings, size_t n,
                 const dicom_seg_options &options, const char *dir, dicom_seg_file &file, msa_error *err)
{
    MSA_TRY(check(series, findings, n, err));
    std::vector<std::string> words;
    for (size_t i = 0; i < n; i++)
        dicom::seg::list_texts(words, *findings[i].segment);
    const source from = {
        {series, options, "report", dicom::seg::charset_beside(series, options, words)}, findings, n};
    DcmDataset dataset;
    const OFCondition cond = put_all(dataset, from);
    if (cond.bad()) return dicom::fail(err, cond, "write the report");
    dicom::seg::describe_file(file, from, "report", SR_CLASS, "instance");
    return dicom::seg::write_dataset(dir, "report", dataset, EXS_LittleEndianExplicit, err);
}

} // namespace

msa_status dicom_report_write(const dicom_series *series, const dicom_finding *findings, size_t n,
                              const dicom_seg_options *options, const char *dir, dicom_seg_file *file,
                              msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        if (!series || (!findings && n > 0) || !options || !options->key || !options->key[0] || !dir || !file)
            return msa_fail(err, MSA_E_INVALID,
                            "a report needs a series, findings, options with a key and a folder");
        return write(*series, findings, n, *options, dir, *file, err);
    });
}
