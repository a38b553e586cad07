#include "dicom/annot/sr_tree.h"
#include "dicom/annot/sr_item.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <map>

namespace dicom
{
namespace
{

constexpr size_t LOOKS_MAX = size_t{1} << 24; /* items passed on the way to others by reference */

/* What a measurement group (TID 1410, 1411, 1501) says about the regions in it. */
struct Group {
    int number = 0; /* from 1, in document order; 0 outside of any */
    std::string tracking_id, tracking_uid, typed_label, finding_text, comment;
    dicom_code category{}, type{}, site{};
    std::shared_ptr<const Subject> subject; /* of the first region; the others share it */
};

class Walker
{
  public:
    Walker(SrTree &out, DcmItem &root, msa_error *err)
        : out_(out), root_(root), err_(err), charset_(text(root, DCM_SpecificCharacterSet))
    {
    }
    msa_status read()
    {
        read_evidence(DCM_CurrentRequestedProcedureEvidenceSequence);
        read_evidence(DCM_PertinentOtherEvidenceSequence);
        Group none;
        return walk(root_, nullptr, none);
    }

  private:
    void read_evidence(const DcmTagKey &sequence);
    void take_code(Group &group, DcmItem &item);
    bool take(Group &group, DcmItem &item);
    bool enter(Group &inner, DcmItem &container);
    msa_status walk(DcmItem &item, DcmItem *parent, Group &group);
    msa_status draw(DcmItem &item, DcmItem *parent, Group &group, bool in_space);
    ImageReference image_of(DcmItem &scoord, DcmItem *parent);
    const ImageReference &image_in(DcmItem &parent);
    DcmItem *resolve(DcmItem &reference);
    std::shared_ptr<const Subject> subject_of(Group &group);

    SrTree &out_;
    DcmItem &root_;
    msa_error *err_;
    std::string charset_;
    std::map<std::string, std::string> series_of_; /* of the images in evidence */
    std::map<DcmItem *, ImageReference> image_in_; /* so that many regions of one group cost no square */
    size_t looked_at_ = 0;
    int groups_ = 0, ungrouped_ = 0;
};

void Walker::read_evidence(const DcmTagKey &sequence)
{
    for (DcmItem *const study : items_of(root_, sequence))
        for (DcmItem *const series : items_of(*study, DCM_ReferencedSeriesSequence)) {
            const std::string uid = text(*series, DCM_SeriesInstanceUID);
            if (!is_uid(uid)) continue;
            for (DcmItem *const image : items_of(*series, DCM_ReferencedSOPSequence))
                series_of_.emplace(text(*image, DCM_ReferencedSOPInstanceUID), uid);
        }
}

void Walker::take_code(Group &group, DcmItem &item)
{
    const dicom_code code = coded_value(item, charset_);
    if (is_free_text_code(item)) {
        /* a typed site goes before a typed finding, as in the viewer itself */
        if (group.typed_label.empty() || has_concept(item, FINDING_SITE)) group.typed_label = code.meaning;
        return;
    }
    if (has_concept(item, FINDING))
        group.type = code;
    else if (has_concept(item, FINDING_CATEGORY))
        group.category = code;
    else
        group.site = code;
}

bool Walker::take(Group &group, DcmItem &item)
{
    const std::string type = value_type(item);
    if (type == "UIDREF" && has_concept(item, TRACKING_UID)) {
        const std::string uid = text(item, DCM_UID);
        group.tracking_uid = is_uid(uid) ? uid : "";
        return true;
    }
    if (type == "CODE" && (has_concept(item, FINDING) || has_concept(item, FINDING_CATEGORY) ||
                           has_concept(item, FINDING_SITE))) {
        take_code(group, item);
        return true;
    }
    if (type != "TEXT") return false;
    std::string *const to = has_concept(item, TRACKING_ID)   ? &group.tracking_id
                            : has_concept(item, SHORT_LABEL) ? &group.typed_label
                            : has_concept(item, FINDING)     ? &group.finding_text
                            : has_concept(item, COMMENT)     ? &group.comment
                                                             : nullptr;
    if (to == nullptr) return false;
    *to = text_value(item, charset_);
    return true;
}

/* Does the container say anything about its regions? Then it is a group of its own. */
bool Walker::enter(Group &inner, DcmItem &container)
{
    bool own = false;
    for (DcmItem *child : children(container))
        own = take(inner, *child) || own;
    if (own) {
        inner.number = ++groups_;
        inner.subject.reset();
    }
    return own;
}

/* "Cornerstone3DTools@^0.1.0:RectangleROI" names the drawing tool, not the object. */
bool names_a_tool(const std::string &tracking_id)
{
    return tracking_id.find('@') != std::string::npos && tracking_id.find(':') != std::string::npos;
}

/* Groups of one lesion on neighbouring slices have their own tracking identifiers but the same finding, so
 * the finding comes first: prompts of equal label become one object. A label that somebody typed goes before
 * it; a comment counts as one where the drawing tool is named, for then it is a viewer's label. */
std::string label_of(const Group &g, int number)
{
    if (!g.typed_label.empty()) return g.typed_label;
    if (!g.comment.empty() && names_a_tool(g.tracking_id)) return g.comment;
    if (g.type.meaning[0] != '\0') return g.type.meaning;
    if (!g.finding_text.empty()) return g.finding_text;
    if (!g.tracking_id.empty() && !names_a_tool(g.tracking_id)) return g.tracking_id;
    return "Object " + std::to_string(number);
}

std::shared_ptr<const Subject> Walker::subject_of(Group &g)
{
    if (g.number == 0) ungrouped_++;
    if (g.number != 0 && g.subject) return g.subject;
    auto s = std::make_shared<Subject>();
    s->number = g.number;
    s->label = label_of(g, g.number > 0 ? g.number : ungrouped_);
    s->tracking_id = g.tracking_id;
    s->tracking_uid = g.tracking_uid;
    s->category = g.category;
    s->type = g.type;
    s->site = g.site;
    g.subject = s;
    return s;
}

/* By-reference relationship: Referenced Content Item Identifier counts from 1 at the root (PS3.3 C.17.3.2.5).
 */
DcmItem *Walker::resolve(DcmItem &reference)
{
    std::vector<double> path;
    if (!parse_numbers(text(reference, DCM_ReferencedContentItemIdentifier), path)) return nullptr;
    DcmItem *at = &root_;
    for (size_t i = 1; i < path.size(); i++) {
        if (looked_at_ > LOOKS_MAX) return nullptr;
        const std::vector<DcmItem *> list = children(*at);
        looked_at_ += list.size();
        if (path[i] < 1 || path[i] > double(list.size())) return nullptr;
        at = list[size_t(path[i]) - 1];
    }
    return at;
}

/* The image a region lies on: an IMAGE below it (as the standard has it), or else the one beside it. */
ImageReference Walker::image_of(DcmItem &scoord, DcmItem *parent)
{
    for (DcmItem *child : children(scoord)) {
        DcmItem *const target = value_type(*child).empty() ? resolve(*child) : child;
        if (target == nullptr || value_type(*target) != "IMAGE") continue;
        const ImageReference ref = image_reference(*target);
        if (!ref.sop_instance_uid.empty()) return ref;
    }
    return parent != nullptr ? image_in(*parent) : ImageReference();
}

/* The only image among the children of an item. */
const ImageReference &Walker::image_in(DcmItem &parent)
{
    const auto known = image_in_.find(&parent);
    if (known != image_in_.end()) return known->second;
    ImageReference only;
    int found = 0;
    for (DcmItem *child : children(parent)) {
        if (value_type(*child) != "IMAGE") continue;
        const ImageReference ref = image_reference(*child);
        if (ref.sop_instance_uid.empty()) continue;
        only = ref;
        found++;
    }
    return image_in_.emplace(&parent, found == 1 ? only : ImageReference()).first->second;
}

std::vector<double> graphic_data(DcmItem &scoord)
{
    const Float32 *values = nullptr;
    unsigned long n = 0;
    std::vector<double> data;
    if (scoord.findAndGetFloat32Array(DCM_GraphicData, values, &n).good() && values != nullptr)
        data.assign(values, values + n);
    else if (!parse_numbers(text(scoord, DCM_GraphicData), data))
        data.clear();
    return data;
}

bool is_axis(DcmItem &item)
{
    return has_concept(item, LONG_AXIS) || has_concept(item, SHORT_AXIS);
}

msa_status Walker::draw(DcmItem &item, DcmItem *parent, Group &group, bool in_space)
{
    if (is_text_position(item)) return MSA_OK; /* where a viewer shows the label, not what it labels */
    const bool measured = parent != nullptr && value_type(*parent) == "NUM";
    if (measured && is_in_degrees(*parent)) {
        out_.has_angles = true;
        return MSA_OK;
    }
    if (out_.drawn.size() == DRAWN_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the report draws more than %zu regions", DRAWN_MAX);
    Drawn d;
    d.in_space = in_space;
    d.axis = is_axis(item) || (parent != nullptr && is_axis(*parent));
    d.type = text(item, DCM_GraphicType);
    d.data = graphic_data(item);
    d.subject = subject_of(group);
    d.image = image_of(item, parent);
    /* AIM's writers store the ends of a measured length and the corners of a measured area so. */
    if (d.type == "MULTIPOINT" && measured && d.data.size() >= (in_space ? 6u : 4u)) d.type = "POLYLINE";
    if (in_space) {
        const std::string frame = text(item, DCM_ReferencedFrameOfReferenceUID);
        const auto series = series_of_.find(d.image.sop_instance_uid);
        if (series != series_of_.end()) d.place.series_uid = series->second;
        if (is_uid(frame)) d.place.frame_of_reference_uid = frame;
    }
    out_.drawn.push_back(std::move(d));
    return MSA_OK;
}

/* Recursion is safe: the pre-scan refused anything nested deeper than 32. */
msa_status Walker::walk(DcmItem &item, DcmItem *parent, Group &group)
{
    const std::string type = value_type(item);
    if (type == "SCOORD" || type == "SCOORD3D") MSA_TRY(draw(item, parent, group, type == "SCOORD3D"));
    if (type == "IMAGE" && names_segmentation(item)) out_.refers_to_segments = true;
    if (type != "CONTAINER") {
        for (DcmItem *child : children(item))
            MSA_TRY(walk(*child, &item, group));
        return MSA_OK;
    }
    Group inner = group;
    Group &within = enter(inner, item) ? inner : group;
    for (DcmItem *child : children(item))
        MSA_TRY(walk(*child, &item, within));
    return MSA_OK;
}

} // namespace

msa_status read_sr_tree(SrTree &out, DcmItem &dataset, msa_error *err)
{
    return Walker(out, dataset, err).read();
}

} // namespace dicom
