/* Segment Sequence (PS3.3 C.8.20.2) and the prompts' objects. */
#include "dicom/seg/seg_impl.h"

#include <set>

#include "engine/base/hash.h"

using dicom::seg::planned_segment;
using dicom::seg::put;
using dicom::seg::source;

namespace
{

/* A finding coded in a scheme that is not passed on is at least kept in words. */
std::string description_of(const dicom_segment &s)
{
    if (!s.type.value[0] || dicom_code_usable(&s.type)) return "";
    const std::string words = s.type.meaning[0] ? s.type.meaning : s.type.value;
    return "Finding in the annotation: " + words + " (" + s.type.value + ", " + s.type.scheme + ")";
}

OFCondition put_algorithm(DcmItem &segment, const source &from, const dicom_segment &s)
{
    static const dicom_code family = {"123110", "DCM", "Artificial Intelligence"};
    const dicom_seg_options &o = from.options;
    const char *model = s.model_name ? s.model_name : o.model_name;
    const char *number = s.model_name ? s.model_version : o.model_version;
    const char *hash = s.model_name ? s.model_hash : o.model_hash;
    const std::string name = from.text.encode(model && model[0] ? model : "msad", 64);
    const std::string version = from.text.encode(number && number[0] ? number : "0", 64);
    put to(segment);
    to.text(DCM_SegmentAlgorithmName, name);
    put in(to.item(DCM_SegmentationAlgorithmIdentificationSequence));
    in.code(DCM_AlgorithmFamilyCodeSequence, family, from.text);
    in.text(DCM_AlgorithmName, name).text(DCM_AlgorithmVersion, version).text(DCM_AlgorithmSource, "msad");
    if (hash && hash[0])
        in.text(DCM_AlgorithmParameters, from.text.encode(std::string("model sha256 ") + hash, 1024));
    return to.note(in.cond()).cond();
}

OFCondition put_codes(DcmItem &segment, const source &from, const planned_segment &s)
{
    put to(segment);
    to.code(DCM_SegmentedPropertyCategoryCodeSequence, s.meaning.category, from.text);
    to.code(DCM_SegmentedPropertyTypeCodeSequence, s.meaning.type, from.text);
    if (s.meaning.modifier.value[0]) {
        DcmItem *type = nullptr;
        to.note(segment.findAndGetSequenceItem(DCM_SegmentedPropertyTypeCodeSequence, type, 0));
        if (type) {
            put in(*type);
            in.code(DCM_SegmentedPropertyTypeModifierCodeSequence, s.meaning.modifier, from.text);
            to.note(in.cond());
        }
    }
    if (dicom_code_usable(&s.in->site)) to.code(DCM_AnatomicRegionSequence, s.in->site, from.text);
    return to.cond();
}

/* The annotation's tracking goes on, so that result and prompt stay tied; both come together (PS3.3
 * C.8.20.2). */
OFCondition put_tracking(DcmItem &segment, const source &from, const planned_segment &s,
                         const std::string &label)
{
    put to(segment);
    const std::string id = from.text.encode(s.in->tracking_id, 64);
    to.text(DCM_TrackingID, id.empty() ? label : id);
    to.text(DCM_TrackingUID, dicom::seg::tracking_uid(from.options.key, *s.in, s.index));
    return to.cond();
}

OFCondition put_segment(DcmItem &segment, const source &from, const planned_segment &s, size_t number)
{
    put to(segment);
    std::string label = from.text.encode(s.in->label, 64);
    if (label.empty()) label = "Segment " + std::to_string(s.index + 1);
    to.us(DCM_SegmentNumber, static_cast<Uint16>(number)).text(DCM_SegmentLabel, label);
    const std::string description = description_of(*s.in);
    if (!description.empty()) to.text(DCM_SegmentDescription, from.text.encode(description, 1024));
    to.text(DCM_SegmentAlgorithmType, s.in->automatic ? "AUTOMATIC" : "SEMIAUTOMATIC");
    to.note(put_algorithm(segment, from, *s.in))
        .note(put_codes(segment, from, s))
        .note(put_tracking(segment, from, s, label));
    to.note(segment.putAndInsertUint16Array(DCM_RecommendedDisplayCIELabValue, s.colour.lab, 3));
    return to.cond();
}

} // namespace

std::string dicom::seg::tracking_uid(const char *key, const dicom_segment &segment, size_t index)
{
    char derived[MSA_UID_MAX];
    if (uid_valid(segment.tracking_uid)) return segment.tracking_uid;
    msa_uid_derive((std::string(key) + "\ntracking " + std::to_string(index + 1)).c_str(), derived);
    return derived;
}

/**
 * The annotations behind the prompts: Source Instance Sequence of the General Reference module (PS3.3
 * C.12.4), for instances that are no images. Referenced Series Sequence would need their Series Instance UID,
 * which a prompt does not carry.
 */
OFCondition dicom::seg::put_prompt_sources(DcmItem &out, const dicom_seg_options &options,
                                           const charset &text)
{
    static const dicom_code report = {"128225", "DCM", "Source report"};
    const std::string sr = "1.2.840.10008.5.1.4.1.1.88.";
    put to(out);
    std::set<std::string> seen;
    for (size_t i = 0; i < options.n_prompts; i++) {
        const dicom_prompt &p = options.prompts[i];
        if (!dicom::seg::uid_valid(p.source_class_uid) || !dicom::seg::uid_valid(p.source_instance_uid))
            continue;
        if (!seen.insert(p.source_instance_uid).second) continue;
        put ref(to.item(DCM_SourceInstanceSequence));
        ref.text(DCM_ReferencedSOPClassUID, p.source_class_uid)
            .text(DCM_ReferencedSOPInstanceUID, p.source_instance_uid);
        if (std::string(p.source_class_uid).compare(0, sr.size(), sr) == 0)
            ref.code(DCM_PurposeOfReferenceCodeSequence, report, text);
        to.note(ref.cond());
    }
    return to.cond();
}

OFCondition dicom::seg::put_segments(DcmItem &out, const source &from)
{
    put to(out);
    for (size_t k = 0; k < from.file.segments.size(); k++)
        to.note(put_segment(to.item(DCM_SegmentSequence), from, from.file.segments[k], k + 1));
    return to.note(put_prompt_sources(out, from.options, from.text)).cond();
}
