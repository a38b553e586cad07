/**
 * The content tree: TID 1500 with its observer (TID 1004), measurement groups (1411, 1419, 4019) and, for
 * what was not found, qualitative evaluations. PS3.16; the attributes of an item: PS3.3 C.17.3.2.
 */
#include "dicom/report/report_impl.h"

#include <cmath>
#include <cstring>

#include "engine/base/hash.h"

using dicom::report::source;
using dicom::seg::put;

namespace
{

const char CONTAINS[] = "CONTAINS", CONCEPT[] = "HAS CONCEPT MOD", CONTEXT[] = "HAS OBS CONTEXT";

/* An item of the tree below `parent`. */
class node : public put
{
  public:
    node(put &parent, const source &from, const char *relation, const char *type, const dicom_code &name)
        : put(parent.item(DCM_ContentSequence)), parent_(parent), from_(from)
    {
        text(DCM_RelationshipType, relation).text(DCM_ValueType, type);
        code(DCM_ConceptNameCodeSequence, name, from.text);
    }
    ~node()
    {
        parent_.note(cond());
    }
    node(const node &) = delete;
    node &operator=(const node &) = delete;
    const source &from() const
    {
        return from_;
    }

  private:
    put &parent_;
    const source &from_;
};

void make_container(put &item, const char *tid)
{
    item.text(DCM_ContinuityOfContent, "SEPARATE");
    if (!tid) return;
    put at(item.item(DCM_ContentTemplateSequence));
    at.text(DCM_MappingResource, "DCMR").text(DCM_TemplateIdentifier, tid);
    item.note(at.cond());
}

void add_text(put &parent, const source &from, const char *relation, const dicom_code &name,
              const char *value)
{
    node item(parent, from, relation, "TEXT", name);
    item.text(DCM_TextValue, from.text.encode(value, 1024));
}

void add_uid(put &parent, const source &from, const char *relation, const dicom_code &name,
             const std::string &uid)
{
    node(parent, from, relation, "UIDREF", name).text(DCM_UID, uid);
}

void add_code(put &parent, const source &from, const char *relation, const dicom_code &name,
              const dicom_code &value, const dicom_code *modifier = nullptr)
{
    static const dicom_code laterality = {"272741003", "SCT", "Laterality"};
    node item(parent, from, relation, "CODE", name);
    item.code(DCM_ConceptCodeSequence, value, from.text);
    if (modifier) add_code(item, from, CONCEPT, laterality, *modifier);
}

/* Three places behind the point are more than a mask of pixels can tell. */
void add_number(put &parent, const source &from, const dicom_code &name, double value, const dicom_code &unit,
                const dicom_code *derivation = nullptr)
{
    static const dicom_code derived = {"121401", "DCM", "Derivation"};
    node item(parent, from, CONTAINS, "NUM", name);
    put measured(item.item(DCM_MeasuredValueSequence));
    measured.text(DCM_NumericValue, dicom::seg::decimal_string(std::round(value * 1000) / 1000));
    measured.code(DCM_MeasurementUnitsCodeSequence, unit, from.text);
    item.note(measured.cond());
    if (derivation) add_code(item, from, CONCEPT, derived, *derivation);
}

/* ---- who observed ---- */

void add_observer(put &root, const source &from)
{
    add_code(root, from, CONTEXT, {"121005", "DCM", "Observer Type"}, {"121007", "DCM", "Device"});
    /* of this software with this model, on whatever machine */
    char uid[MSA_UID_MAX];
    const char *hash = from.options.model_hash ? from.options.model_hash : "";
    msa_uid_derive((std::string("device msad\n") + hash).c_str(), uid);
    add_uid(root, from, CONTEXT, {"121012", "DCM", "Device Observer UID"}, uid);
    add_text(root, from, CONTEXT, {"121013", "DCM", "Device Observer Name"}, "msad");
    add_text(root, from, CONTEXT, {"121014", "DCM", "Device Observer Manufacturer"}, "msad");
    add_text(root, from, CONTEXT, {"121015", "DCM", "Device Observer Model Name"}, "msad");
}

/* Of the images' modality: CID 100. */
dicom_code procedure_of(const source &from)
{
    static const struct {
        const char *modality;
        dicom_code code;
    } known[] = {{"CT", {"77477000", "SCT", "Computed tomography"}},
                 {"MR", {"113091000", "SCT", "Magnetic resonance imaging"}},
                 {"PT", {"82918005", "SCT", "Positron emission tomography"}}};
    for (const auto &k : known)
        if (std::strcmp(from.series.info.modality, k.modality) == 0) return k.code;
    return {"363679005", "SCT", "Imaging procedure"};
}

/* ---- what was measured ---- */

void add_values(put &group, const source &from, const dicom_measures &m)
{
    static const dicom_code mean = {"373098007", "SCT", "Mean"}, least = {"255605001", "SCT", "Minimum"},
                            greatest = {"56851009", "SCT", "Maximum"},
                            deviation = {"386136009", "SCT", "Standard deviation"};
    const bool ct = std::strcmp(from.series.info.modality, "CT") == 0;
    const bool mr = std::strcmp(from.series.info.modality, "MR") == 0;
    const dicom_code name = ct   ? dicom_code{"112031", "DCM", "Attenuation Coefficient"}
                            : mr ? dicom_code{"110852", "DCM", "MR signal intensity"}
                                 : dicom_code{"110851", "DCM", "Pixel value"};
    const dicom_code unit =
        ct ? dicom_code{"[hnsf'U]", "UCUM", "Hounsfield unit"} : dicom_code{"1", "UCUM", "no units"};
    add_number(group, from, name, m.mean, unit, &mean);
    add_number(group, from, name, m.deviation, unit, &deviation);
    add_number(group, from, name, m.least, unit, &least);
    add_number(group, from, name, m.greatest, unit, &greatest);
}

void add_measures(put &group, const source &from, const dicom_measures &m)
{
    static const dicom_code mm = {"mm", "UCUM", "millimeter"};
    add_number(group, from, {"118565006", "SCT", "Volume"}, m.volume_ml, {"ml", "UCUM", "milliliter"});
    add_number(group, from, {"103339001", "SCT", "Long axis"}, m.long_axis_mm, mm);
    add_number(group, from, {"103340004", "SCT", "Short axis"}, m.short_axis_mm, mm);
    add_values(group, from, m);
}

void add_center(put &group, const source &from, const dicom_measures &m)
{
    node item(group, from, CONTAINS, "SCOORD3D", {"128138", "DCM", "Center of Mass"});
    const Float32 at[3] = {static_cast<Float32>(m.center_mm[0]), static_cast<Float32>(m.center_mm[1]),
                           static_cast<Float32>(m.center_mm[2])};
    DcmItem &head = *from.series.files[0]->getDataset();
    item.text(DCM_ReferencedFrameOfReferenceUID, dicom::seg::text_of(head, DCM_FrameOfReferenceUID));
    DcmFloatingPointSingle *data = new DcmFloatingPointSingle(DCM_GraphicData);
    group.note(data->putFloat32Array(at, 3));
    item.element(data);
    item.text(DCM_GraphicType, "POINT");
}

/* Which part of which object, and what that was made from. */
void add_places(put &group, const source &from, const dicom_finding &f)
{
    node segment(group, from, CONTAINS, "IMAGE", {"121191", "DCM", "Referenced Segment"});
    put ref(segment.item(DCM_ReferencedSOPSequence));
    ref.text(DCM_ReferencedSOPClassUID, f.file->sop_class_uid)
        .text(DCM_ReferencedSOPInstanceUID, f.file->sop_instance_uid)
        .us(DCM_ReferencedSegmentNumber, static_cast<Uint16>(f.number));
    segment.note(ref.cond());
    add_uid(group, from, CONTAINS, {"121232", "DCM", "Source series for segmentation"},
            from.series.info.series_uid);
}

void add_algorithm(put &group, const source &from, const dicom_segment &s)
{
    const dicom_seg_options &o = from.options;
    const char *name = s.model_name ? s.model_name : o.model_name;
    const char *version = s.model_name ? s.model_version : o.model_version;
    add_text(group, from, CONCEPT, {"111001", "DCM", "Algorithm Name"}, name && name[0] ? name : "msad");
    add_text(group, from, CONCEPT, {"111003", "DCM", "Algorithm Version"},
             version && version[0] ? version : "0");
}

void add_names(put &group, const source &from, const dicom_finding &f, size_t index,
               const dicom_meaning &meaning)
{
    const dicom_segment &s = *f.segment;
    const std::string number = std::to_string(index + 1);
    const char *id = s.tracking_id[0] ? s.tracking_id : s.label;
    add_text(group, from, CONTEXT, {"112039", "DCM", "Tracking Identifier"},
             id[0] ? id : ("Segment " + number).c_str());
    add_uid(group, from, CONTEXT, {"112040", "DCM", "Tracking Unique Identifier"},
            dicom::seg::tracking_uid(from.options.key, s, index));
    add_code(group, from, CONTAINS, {"276214006", "SCT", "Finding category"}, meaning.category);
    add_code(group, from, CONTAINS, {"121071", "DCM", "Finding"}, meaning.type,
             meaning.modifier.value[0] ? &meaning.modifier : nullptr);
}

void add_group(put &measurements, const source &from, const dicom_finding &f, size_t index)
{
    dicom_meaning meaning;
    dicom_meaning_find(&meaning, f.segment->label, &f.segment->category, &f.segment->type);
    node group(measurements, from, CONTAINS, "CONTAINER", {"125007", "DCM", "Measurement Group"});
    make_container(group, "1411");
    add_names(group, from, f, index, meaning);
    if (dicom_code_usable(&f.segment->site))
        add_code(group, from, CONCEPT, {"363698007", "SCT", "Finding Site"}, f.segment->site);
    add_algorithm(group, from, *f.segment);
    add_places(group, from, f);
    add_measures(group, from, f.measures);
    add_center(group, from, f.measures);
}

/* ---- what was not found ---- */

void add_missing(put &root, const source &from)
{
    static const dicom_code absent = {"260415000", "SCT", "Not detected"};
    node all(root, from, CONTAINS, "CONTAINER", {"C0034375", "UMLS", "Qualitative Evaluations"});
    make_container(all, nullptr);
    for (size_t i = 0; i < from.n; i++) {
        const dicom_finding &f = from.findings[i];
        dicom_meaning meaning;
        if (f.number > 0) continue;
        dicom_meaning_find(&meaning, f.segment->label, &f.segment->category, &f.segment->type);
        node item(all, from, CONTAINS, "CODE", meaning.type);
        item.code(DCM_ConceptCodeSequence, absent, from.text);
        add_text(item, from, "HAS PROPERTIES", {"121106", "DCM", "Comment"}, f.segment->label);
    }
}

} // namespace

OFCondition dicom::report::put_content(DcmItem &dataset, const source &from)
{
    put root(dataset);
    size_t found = 0;
    for (size_t i = 0; i < from.n; i++)
        found += from.findings[i].number > 0;
    root.text(DCM_ValueType, "CONTAINER");
    root.code(DCM_ConceptNameCodeSequence, {"126000", "DCM", "Imaging Measurement Report"}, from.text);
    make_container(root, "1500");
    add_code(root, from, CONCEPT, {"121049", "DCM", "Language of Content Item and Descendants"},
             {"en", "RFC5646", "English"});
    add_observer(root, from);
    add_code(root, from, CONCEPT, {"121058", "DCM", "Procedure reported"}, procedure_of(from));
    if (found > 0) {
        node all(root, from, CONTAINS, "CONTAINER", {"126010", "DCM", "Imaging Measurements"});
        make_container(all, nullptr);
        for (size_t i = 0; i < from.n; i++)
            if (from.findings[i].number > 0) add_group(all, from, from.findings[i], i);
    }
    if (found < from.n || from.n == 0) add_missing(root, from);
    return root.cond();
}
