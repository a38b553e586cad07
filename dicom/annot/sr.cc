/* Regions of structured reports. The tree is walked as plain items, without templates, relationship types or
 * concept names being demanded: DCMTK's DSRDocument refuses reports that viewers write every day. */
#include "dicom/annot/carrier.h"
#include "dicom/annot/charset.h"
#include "dicom/annot/shape.h"
#include "dicom/annot/sr_item.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <cstring>

namespace dicom
{
namespace
{

/* What a measurement group (TID 1410, 1411, 1501) says about the regions in it. */
struct Group {
    int number = 0; /* from 1, in document order; 0 outside of any */
    std::string tracking_id, tracking_uid, short_label, finding_text;
    dicom_code category{}, type{}, site{};
};

struct Line { /* a measured diameter that may be half of a bidirectional one */
    Shape shape;
    Group group;
    ImageReference image;
    bool is_axis; /* coded as long or short axis */
    bool used = false;
};

class Reader
{
  public:
    Reader(std::vector<dicom_prompt> &out, const char **note, DcmItem &root, msa_error *err)
        : out_(out), note_(note), root_(root), err_(err), charset_(text(root, DCM_SpecificCharacterSet))
    {
    }
    msa_status read();

  private:
    void remark(const char *what)
    {
        if ((*note_)[0] == '\0') *note_ = what;
    }
    void enter(Group &group, DcmItem &container);
    msa_status walk(DcmItem &item, DcmItem *parent, Group group);
    msa_status region(DcmItem &scoord, DcmItem *parent, const Group &group);
    ImageReference image_of(DcmItem &scoord, DcmItem *parent);
    DcmItem *resolve(DcmItem &reference);
    msa_status pair_lines();
    msa_status add(const dicom_prompt &p);
    msa_status add_box(const Shape &s, const Group &group, const ImageReference &image);
    dicom_prompt prompt_of(const Group &group, const ImageReference &image);

    std::vector<dicom_prompt> &out_;
    const char **note_;
    DcmItem &root_;
    msa_error *err_;
    std::string charset_;
    std::vector<Line> lines_;
    int groups_ = 0, ungrouped_ = 0;
    bool saw_segmentation_ = false;
};

void Reader::enter(Group &group, DcmItem &container)
{
    bool own = false;
    Group inner = group;
    for (DcmItem *child : children(container)) {
        const std::string type = value_type(*child);
        const bool is_text = type == "TEXT", is_code = type == "CODE";
        if (is_text && has_concept(*child, TRACKING_ID))
            inner.tracking_id = text_value(*child, charset_);
        else if (type == "UIDREF" && has_concept(*child, TRACKING_UID))
            inner.tracking_uid = is_uid(text(*child, DCM_UID)) ? text(*child, DCM_UID) : "";
        else if (is_text && has_concept(*child, SHORT_LABEL))
            inner.short_label = text_value(*child, charset_);
        else if (is_text && has_concept(*child, FINDING))
            inner.finding_text = text_value(*child, charset_);
        else if (is_code && has_concept(*child, FINDING))
            inner.type = coded_value(*child, charset_);
        else if (is_code && has_concept(*child, FINDING_CATEGORY))
            inner.category = coded_value(*child, charset_);
        else if (is_code && has_concept(*child, FINDING_SITE))
            inner.site = coded_value(*child, charset_);
        else
            continue;
        own = true;
    }
    if (!own) return;
    inner.number = ++groups_;
    group = inner;
}

/* "Cornerstone3DTools@^0.1.0:RectangleROI" names the drawing tool, not the object. */
bool names_a_tool(const std::string &tracking_id)
{
    return tracking_id.find('@') != std::string::npos && tracking_id.find(':') != std::string::npos;
}

/* Groups of one lesion on neighbouring slices have their own tracking identifiers but the same finding, so
 * the finding comes first: prompts of equal label become one object. A label that somebody typed goes before
 * it. */
std::string label_of(const Group &g, int fallback)
{
    if (!g.short_label.empty()) return g.short_label;
    if (g.type.meaning[0] != '\0') return g.type.meaning;
    if (!g.finding_text.empty()) return g.finding_text;
    if (!g.tracking_id.empty() && !names_a_tool(g.tracking_id)) return g.tracking_id;
    return "Object " + std::to_string(g.number > 0 ? g.number : fallback);
}

dicom_prompt Reader::prompt_of(const Group &group, const ImageReference &image)
{
    dicom_prompt p;
    std::memset(&p, 0, sizeof p); /* padding too: add() compares bytes, and the struct travels as bytes */
    p.frame = image.frame;
    p.positive = 1;
    copy(p.sop_instance_uid, sizeof p.sop_instance_uid, image.sop_instance_uid);
    copy(p.label, sizeof p.label, cut_utf8(label_of(group, ungrouped_), 64, sizeof p.label));
    copy(p.tracking_id, sizeof p.tracking_id, cut_utf8(group.tracking_id, 64, sizeof p.tracking_id));
    copy(p.tracking_uid, sizeof p.tracking_uid, group.tracking_uid);
    p.category = group.category;
    p.type = group.type;
    p.site = group.site;
    return p;
}

/* Area, mean and length of one region each bring a copy of it: the second is no news. */
msa_status Reader::add(const dicom_prompt &p)
{
    for (const dicom_prompt &q : out_)
        if (std::memcmp(&p, &q, sizeof p) == 0) return MSA_OK;
    if (out_.size() == PROMPTS_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the report holds more than %zu regions", PROMPTS_MAX);
    out_.push_back(p);
    return MSA_OK;
}

msa_status Reader::add_box(const Shape &s, const Group &group, const ImageReference &image)
{
    dicom_prompt p = prompt_of(group, image);
    p.kind = DICOM_PROMPT_BOX;
    p.x0 = s.x0;
    p.y0 = s.y0;
    p.x1 = s.x1;
    p.y1 = s.y1;
    return add(p);
}

/* By-reference relationship: Referenced Content Item Identifier counts from 1 at the root (PS3.3 C.17.3.2.5).
 */
DcmItem *Reader::resolve(DcmItem &reference)
{
    std::vector<double> path;
    if (!parse_numbers(text(reference, DCM_ReferencedContentItemIdentifier), path)) return nullptr;
    DcmItem *at = &root_;
    for (size_t i = 1; i < path.size(); i++) {
        const std::vector<DcmItem *> list = children(*at);
        if (path[i] < 1 || path[i] > double(list.size())) return nullptr;
        at = list[size_t(path[i]) - 1];
    }
    return at;
}

/* The image a region lies on: an IMAGE below it (as the standard has it), or else the one beside it. */
ImageReference Reader::image_of(DcmItem &scoord, DcmItem *parent)
{
    for (DcmItem *child : children(scoord)) {
        DcmItem *const target = value_type(*child).empty() ? resolve(*child) : child;
        if (target == nullptr || value_type(*target) != "IMAGE") continue;
        const ImageReference ref = image_reference(*target);
        if (!ref.sop_instance_uid.empty()) return ref;
    }
    ImageReference beside;
    if (parent == nullptr) return beside;
    int found = 0;
    for (DcmItem *sibling : children(*parent)) {
        if (value_type(*sibling) != "IMAGE") continue;
        const ImageReference ref = image_reference(*sibling);
        if (ref.sop_instance_uid.empty()) continue;
        beside = ref;
        found++;
    }
    return found == 1 ? beside : ImageReference();
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

msa_status Reader::region(DcmItem &scoord, DcmItem *parent, const Group &group)
{
    if (group.number == 0) ungrouped_++;
    const Shape shape = make_shape(text(scoord, DCM_GraphicType), graphic_data(scoord));
    if (shape.kind == Shape::NOTHING) {
        remark(shape.note);
        return MSA_OK;
    }
    const ImageReference image = image_of(scoord, parent);
    if (image.sop_instance_uid.empty()) {
        remark("a region that names no image was left out");
        return MSA_OK;
    }
    if (shape.kind == Shape::BOX) return add_box(shape, group, image);
    if (shape.kind == Shape::LINE) {
        const bool axis = is_axis(scoord) || (parent != nullptr && is_axis(*parent));
        if (lines_.size() < PROMPTS_MAX) lines_.push_back({shape, group, image, axis});
        return MSA_OK;
    }
    for (const Point &point : shape.points) {
        dicom_prompt p = prompt_of(group, image);
        p.kind = DICOM_PROMPT_POINT;
        p.x0 = p.x1 = point.x;
        p.y0 = p.y1 = point.y;
        MSA_TRY(add(p));
    }
    return MSA_OK;
}

/* Recursion is safe: the pre-scan refused anything nested deeper than 32. */
msa_status Reader::walk(DcmItem &item, DcmItem *parent, Group group)
{
    const std::string type = value_type(item);
    if (type == "CONTAINER") enter(group, item);
    if (type == "SCOORD") MSA_TRY(region(item, parent, group));
    if (type == "SCOORD3D") remark("regions in patient coordinates (SCOORD3D) are not read in this version");
    if (type == "IMAGE") {
        DcmItem *sop = nullptr;
        if (item.findAndGetSequenceItem(DCM_ReferencedSOPSequence, sop, 0).good() &&
            text(*sop, DCM_ReferencedSOPClassUID) == UID_SegmentationStorage)
            saw_segmentation_ = true;
    }
    for (DcmItem *child : children(item))
        MSA_TRY(walk(*child, &item, group));
    return MSA_OK;
}

/* Two crossing diameters of one group on one image are the long and the short axis of a lesion. */
msa_status Reader::pair_lines()
{
    for (size_t i = 0; i < lines_.size(); i++) {
        Line &a = lines_[i];
        for (size_t j = i + 1; j < lines_.size() && !a.used; j++) {
            Line &b = lines_[j];
            const bool together = !b.used && a.group.number == b.group.number &&
                                  a.image.sop_instance_uid == b.image.sop_instance_uid &&
                                  a.image.frame == b.image.frame;
            if (!together || !((a.is_axis && b.is_axis) || lines_cross(a.shape, b.shape))) continue;
            const Shape box = box_over(a.shape, b.shape);
            if (box.kind != Shape::BOX) continue;
            a.used = b.used = true;
            MSA_TRY(add_box(box, a.group, a.image));
        }
        if (!a.used) remark("a single line is a length, not a region; it was left out");
    }
    return MSA_OK;
}

msa_status Reader::read()
{
    MSA_TRY(walk(root_, nullptr, Group()));
    MSA_TRY(pair_lines());
    if (!out_.empty()) return MSA_OK;
    if (saw_segmentation_) remark("the report points to a segmentation and draws nothing itself");
    remark("the report draws no region on an image");
    return MSA_OK;
}

} // namespace

msa_status read_sr(std::vector<dicom_prompt> &out, const char **note, DcmItem &dataset, msa_error *err)
{
    return Reader(out, note, dataset, err).read();
}

} // namespace dicom
