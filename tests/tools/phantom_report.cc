/* Boxes over the phantom as a Comprehensive SR, TID 1500 (PS3.16), clean under dciodvfy. */
#include "tests/tools/phantom.h"

#include "engine/base/hash.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <cstdio>
#include <set>
#include <stdexcept>

namespace phantom
{
namespace
{

struct Code {
    std::string value, scheme, meaning;
};

void put(DcmItem &d, const DcmTagKey &tag, const std::string &value)
{
    if (d.putAndInsertString(tag, value.c_str()).bad()) throw std::runtime_error("cannot set an attribute");
}

DcmItem &append(DcmItem &d, const DcmTagKey &sequence)
{
    DcmItem *item = nullptr;
    if (d.findOrCreateSequenceItem(sequence, item, -2).bad() || item == nullptr)
        throw std::runtime_error("cannot add a sequence item");
    return *item;
}

void put_code(DcmItem &d, const DcmTagKey &sequence, const Code &code)
{
    DcmItem &item = append(d, sequence);
    put(item, DCM_CodeValue, code.value);
    put(item, DCM_CodingSchemeDesignator, code.scheme);
    put(item, DCM_CodeMeaning, code.meaning);
}

DcmItem &add(DcmItem &parent, const char *relation, const char *type, const Code &concept_name)
{
    DcmItem &item = append(parent, DCM_ContentSequence);
    put(item, DCM_RelationshipType, relation);
    put(item, DCM_ValueType, type);
    put_code(item, DCM_ConceptNameCodeSequence, concept_name);
    return item;
}

DcmItem &add_container(DcmItem &parent, const Code &concept_name)
{
    DcmItem &item = add(parent, "CONTAINS", "CONTAINER", concept_name);
    put(item, DCM_ContinuityOfContent, "SEPARATE");
    return item;
}

void put_template(DcmItem &item, const char *id)
{
    DcmItem &t = append(item, DCM_ContentTemplateSequence);
    put(t, DCM_MappingResource, "DCMR");
    put(t, DCM_TemplateIdentifier, id);
}

void put_image(DcmItem &item, const DcmTagKey &sequence, const Instance &image)
{
    DcmItem &ref = append(item, sequence);
    put(ref, DCM_ReferencedSOPClassUID, image.sop_class_uid);
    put(ref, DCM_ReferencedSOPInstanceUID, image.sop_instance_uid);
}

/* A known organ has its SNOMED CT code; another label becomes a private code, as viewers store free text. */
Code finding_of(const std::string &label, size_t index)
{
    for (const Organ &o : organs())
        if (label == o.label && o.code[0] != '\0') return {o.code, o.scheme, label};
    return {"LABEL" + std::to_string(index + 1), "99MSAD", label};
}

std::string uid(const std::string &name)
{
    char out[MSA_UID_MAX];
    msa_uid_derive(name.c_str(), out);
    return out;
}

void add_group(DcmItem &measurements, const Series &s, const Box &box, size_t index, const std::string &key)
{
    DcmItem &group = add_container(measurements, {"125007", "DCM", "Measurement Group"});
    put_template(group, "1410");
    put(add(group, "HAS OBS CONTEXT", "TEXT", {"112039", "DCM", "Tracking Identifier"}), DCM_TextValue,
        box.label + " " + std::to_string(index + 1));
    put(add(group, "HAS OBS CONTEXT", "UIDREF", {"112040", "DCM", "Tracking Unique Identifier"}), DCM_UID,
        uid(key + "/tracking/" + std::to_string(index)));
    put_code(add(group, "CONTAINS", "CODE", {"121071", "DCM", "Finding"}), DCM_ConceptCodeSequence,
             finding_of(box.label, index));
    DcmItem &region = add(group, "CONTAINS", "SCOORD", {"111030", "DCM", "Image Region"});
    put(region, DCM_GraphicType, "POLYLINE");
    const Float32 x0 = Float32(box.x0), y0 = Float32(box.y0), x1 = Float32(box.x1), y1 = Float32(box.y1);
    const Float32 corners[] = {x0, y0, x1, y0, x1, y1, x0, y1, x0, y0};
    if (region.putAndInsertFloat32Array(DCM_GraphicData, corners, 10).bad())
        throw std::runtime_error("cannot set the graphic data");
    put_image(add(region, "SELECTED FROM", "IMAGE", {"121324", "DCM", "Source image"}),
              DCM_ReferencedSOPSequence, s.instances[size_t(box.slice)]);
}

void put_header(DcmItem &d, const Series &s, const std::string &key)
{
    put(d, DCM_SpecificCharacterSet, "ISO_IR 192");
    put(d, DCM_SOPClassUID, UID_ComprehensiveSRStorage);
    put(d, DCM_SOPInstanceUID, uid(key + "/instance"));
    put(d, DCM_PatientName, "MSADCANARY^PHANTOM");
    put(d, DCM_PatientID, "MSADCANARY-0001");
    put(d, DCM_PatientBirthDate, "19000101");
    put(d, DCM_PatientSex, "O");
    put(d, DCM_StudyInstanceUID, s.study_uid);
    put(d, DCM_StudyDate, "20240102");
    put(d, DCM_StudyTime, "030405");
    put(d, DCM_StudyID, "PHANTOM");
    put(d, DCM_StudyDescription, "MSADCANARY synthetic study");
    put(d, DCM_AccessionNumber, "");
    put(d, DCM_ReferringPhysicianName, "");
    put(d, DCM_Manufacturer, "msad test tools");
    put(d, DCM_ManufacturerModelName, "phantom");
    put(d, DCM_DeviceSerialNumber, "1");
    put(d, DCM_SoftwareVersions, "1");
    put(d, DCM_Modality, "SR");
    put(d, DCM_SeriesInstanceUID, uid(key + "/series"));
    put(d, DCM_SeriesNumber, "700");
    put(d, DCM_SeriesDescription, "phantom boxes");
    put(d, DCM_InstanceNumber, "1");
    put(d, DCM_ContentDate, "20240102");
    put(d, DCM_ContentTime, "040506");
    put(d, DCM_CompletionFlag, "COMPLETE");
    put(d, DCM_VerificationFlag, "UNVERIFIED");
    (void)d.insertEmptyElement(DCM_ReferencedPerformedProcedureStepSequence);
    (void)d.insertEmptyElement(DCM_PerformedProcedureCodeSequence);
}

void put_evidence(DcmItem &d, const Series &s, const std::vector<Box> &boxes)
{
    DcmItem &study = append(d, DCM_CurrentRequestedProcedureEvidenceSequence);
    put(study, DCM_StudyInstanceUID, s.study_uid);
    DcmItem &series = append(study, DCM_ReferencedSeriesSequence);
    put(series, DCM_SeriesInstanceUID, s.series_uid);
    std::set<int> slices;
    for (const Box &b : boxes)
        if (slices.insert(b.slice).second)
            put_image(series, DCM_ReferencedSOPSequence, s.instances[size_t(b.slice)]);
}

} // namespace

void write_report(const Options &o, const Series &s, const std::vector<Box> &boxes, const std::string &path)
{
    std::string key = s.series_uid + "/report/" + std::to_string(o.seed);
    for (const Box &b : boxes) {
        if (b.slice < 0 || size_t(b.slice) >= s.instances.size())
            throw std::runtime_error("a box lies on no slice");
        char corner[160];
        (void)std::snprintf(corner, sizeof corner, "/%.4f,%.4f,%.4f,%.4f@%d=", b.x0, b.y0, b.x1, b.y1,
                            b.slice);
        key += corner + b.label;
    }
    DcmFileFormat file;
    DcmItem &d = *file.getDataset();
    put_header(d, s, key);
    put_evidence(d, s, boxes);
    put(d, DCM_ValueType, "CONTAINER");
    put(d, DCM_ContinuityOfContent, "SEPARATE");
    put_code(d, DCM_ConceptNameCodeSequence, {"126000", "DCM", "Imaging Measurement Report"});
    put_template(d, "1500");
    put_code(add(d, "HAS CONCEPT MOD", "CODE", {"121049", "DCM", "Language of Content Item and Descendants"}),
             DCM_ConceptCodeSequence, {"en-US", "RFC5646", "English (United States)"});
    put(add(d, "HAS OBS CONTEXT", "PNAME", {"121008", "DCM", "Person Observer Name"}), DCM_PersonName,
        "MSADCANARY^READER");
    put_code(add(d, "HAS CONCEPT MOD", "CODE", {"121058", "DCM", "Procedure reported"}),
             DCM_ConceptCodeSequence, {"363679005", "SCT", "Imaging procedure"});
    DcmItem &measurements = add_container(d, {"126010", "DCM", "Imaging Measurements"});
    for (size_t i = 0; i < boxes.size(); i++)
        add_group(measurements, s, boxes[i], i, key);
    const OFCondition cond = file.saveFile(path.c_str(), EXS_LittleEndianExplicit);
    if (cond.bad()) throw std::runtime_error("cannot write " + path + ": " + cond.text());
}

} // namespace phantom
