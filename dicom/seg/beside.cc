#include "dicom/seg/beside.h"

#include <cstdio>
#include <cstring>

#include "engine/base/hash.h"

std::string dicom::seg::beside::uid(const std::string &role) const
{
    char out[MSA_UID_MAX];
    msa_uid_derive((std::string(options.key) + "\n" + kind + " " + role).c_str(), out);
    return out;
}

dicom::seg::charset dicom::seg::charset_beside(const dicom_series &series, const dicom_seg_options &options,
                                               std::vector<std::string> more)
{
    more.emplace_back(options.series_description ? options.series_description : "");
    return choose_charset(*series.files[0]->getDataset(), more);
}

msa_status dicom::seg::check_place(const dicom_series &series, const char *so, msa_error *err)
{
    if (!text_of(*series.files[0]->getDataset(), DCM_FrameOfReferenceUID).empty() && series.info.study_uid[0])
        return MSA_OK;
    return msa_fail(err, MSA_E_UNSUPPORTED,
                    "the images have no Frame of Reference or Study Instance UID, so %s", so);
}

OFCondition dicom::seg::put_series_beside(DcmItem &out, const beside &from, const char *modality,
                                          const char *description)
{
    put to(out);
    const dicom_seg_options &o = from.options;
    const bool described = o.series_description && o.series_description[0];
    to.text(DCM_Modality, modality).text(DCM_SeriesInstanceUID, from.uid("series"));
    to.text(DCM_SeriesNumber, std::to_string(o.series_number));
    to.text(DCM_SeriesDescription, from.text.encode(described ? o.series_description : description, 64));
    return to.cond();
}

void dicom::seg::put_reference(put &to, const DcmTagKey &sequence, const char *class_uid,
                               const char *instance_uid)
{
    put ref(to.item(sequence));
    ref.text(DCM_ReferencedSOPClassUID, class_uid).text(DCM_ReferencedSOPInstanceUID, instance_uid);
    to.note(ref.cond());
}

void dicom::seg::put_images(put &to, const DcmTagKey &sequence, const dicom_series &series, int32_t first,
                            int32_t last)
{
    const char *before = "";
    for (int32_t k = first; k <= last; k++) {
        const dicom_slice &s = series.slices[static_cast<size_t>(k)];
        if (std::strcmp(before, s.sop_instance_uid) != 0)
            put_reference(to, sequence, s.sop_class_uid, s.sop_instance_uid);
        before = s.sop_instance_uid;
    }
}

void dicom::seg::describe_file(dicom_seg_file &out, const beside &from, const std::string &name,
                               const char *class_uid, const std::string &role)
{
    std::memset(&out, 0, sizeof out);
    (void)std::snprintf(out.name, sizeof out.name, "%s.dcm", name.c_str());
    (void)std::snprintf(out.sop_class_uid, sizeof out.sop_class_uid, "%s", class_uid);
    (void)std::snprintf(out.sop_instance_uid, sizeof out.sop_instance_uid, "%s", from.uid(role).c_str());
    (void)std::snprintf(out.series_uid, sizeof out.series_uid, "%s", from.uid("series").c_str());
}
