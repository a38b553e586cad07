/* Graphics of presentation states (PS3.3 C.10.5). The text that belongs to a graphic is its label. */
#include "dicom/annot/carrier.h"
#include "dicom/annot/charset.h"
#include "dicom/annot/display_area.h"
#include "dicom/read/items.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace dicom
{
namespace
{

constexpr size_t TEXTS_MAX = 4 * PROMPTS_MAX;
constexpr size_t WORK_MAX = size_t{1} << 27; /* numbers and texts that are looked at: about a second */
constexpr double PI = 3.14159265358979323846;

/* Text of one item: where it lies, in the units that it is given in. */
struct Text {
    std::string words;
    int32_t group = 0; /* Graphic Group ID, 0: none */
    std::string units;
    double x0 = 0, y0 = 0, x1 = 0, y1 = 0; /* of anchor point or bounding box, or both */
    bool placed = false;
    int number = 0;    /* of its annotation item */
    std::string image; /* the first one it is written on */
};

class Reader
{
  public:
    Reader(PromptList &out, DcmItem &root, msa_error *err)
        : out_(out), root_(root), err_(err), charset_(text(root, DCM_SpecificCharacterSet)), areas_(root)
    {
    }
    msa_status read();

  private:
    std::vector<ImageReference> images_of(DcmItem &annotation);
    msa_status read_texts(DcmItem &annotation);
    msa_status read_annotation(DcmItem &annotation);
    msa_status add(DcmItem &graphic, const std::vector<double> &data, const std::string &type,
                   const std::string &units);
    std::string label_of(DcmItem &graphic, const std::vector<double> &data, const std::string &units) const;

    PromptList &out_;
    DcmItem &root_;
    msa_error *err_;
    std::string charset_;
    DisplayAreas areas_;
    std::vector<Text> texts_; /* of all items */
    size_t work_ = 0;
    /* of the annotation item that is being read */
    int number_ = 0;
    std::vector<ImageReference> images_;
    std::string layer_;
};

std::vector<double> numbers_of(DcmItem &item, const DcmTagKey &tag)
{
    const Float32 *values = nullptr;
    unsigned long n = 0;
    std::vector<double> list;
    if (item.findAndGetFloat32Array(tag, values, &n).good() && values != nullptr)
        list.assign(values, values + n);
    return list;
}

int32_t id_of(DcmItem &item, const DcmTagKey &tag)
{
    Uint32 id = 0;
    return item.findAndGetUint32(tag, id).good() && id <= 0x7fffffff ? int32_t(id) : 0;
}

void add_images(std::vector<ImageReference> &list, DcmItem &from)
{
    for (DcmItem *const image : items_of(from, DCM_ReferencedImageSequence)) {
        ImageReference ref;
        std::vector<double> frames;
        ref.sop_instance_uid = text(*image, DCM_ReferencedSOPInstanceUID);
        if (!is_uid(ref.sop_instance_uid)) continue;
        if (!parse_numbers(text(*image, DCM_ReferencedFrameNumber), frames)) frames = {1};
        for (const double f : frames) {
            ref.frame = f >= 1 && f <= 1e6 ? int32_t(f) : 1;
            if (list.size() <= PROMPTS_MAX) list.push_back(ref);
        }
    }
}

/* The images of an annotation; of all in the state where it names none. */
std::vector<ImageReference> Reader::images_of(DcmItem &annotation)
{
    std::vector<ImageReference> list;
    add_images(list, annotation);
    if (!list.empty()) return list;
    for (DcmItem *const series : items_of(root_, DCM_ReferencedSeriesSequence))
        add_images(list, *series);
    return list;
}

/* The first line that holds a word: viewers write measures below it. */
std::string first_line(const std::string &s)
{
    for (size_t at = 0; at < s.size();) {
        const size_t end = std::min(s.find_first_of("\r\n", at), s.size());
        const std::string line = s.substr(at, end - at);
        if (line.find_first_not_of(" \t") != std::string::npos) return line;
        at = end + 1;
    }
    return "";
}

void place(Text &t, const std::vector<double> &xy)
{
    for (size_t i = 0; i + 1 < xy.size(); i += 2) {
        if (!t.placed) {
            t.x0 = t.x1 = xy[i];
            t.y0 = t.y1 = xy[i + 1];
        }
        t.placed = true;
        t.x0 = std::min(t.x0, xy[i]);
        t.x1 = std::max(t.x1, xy[i]);
        t.y0 = std::min(t.y0, xy[i + 1]);
        t.y1 = std::max(t.y1, xy[i + 1]);
    }
}

msa_status Reader::read_texts(DcmItem &annotation)
{
    images_ = images_of(annotation);
    for (DcmItem *const item : items_of(annotation, DCM_TextObjectSequence)) {
        Text t;
        t.words = to_utf8(first_line(text(*item, DCM_UnformattedTextValue)), charset_);
        if (t.words.empty()) continue;
        if (texts_.size() == TEXTS_MAX)
            return msa_fail(err_, MSA_E_UNSUPPORTED, "the presentation state holds more than %zu texts",
                            TEXTS_MAX);
        t.group = id_of(*item, DCM_GraphicGroupID);
        t.units = code_string(*item, DCM_AnchorPointAnnotationUnits);
        place(t, numbers_of(*item, DCM_AnchorPoint));
        const std::string box_units = code_string(*item, DCM_BoundingBoxAnnotationUnits);
        if (t.units.empty()) t.units = box_units;
        if (box_units == t.units) {
            place(t, numbers_of(*item, DCM_BoundingBoxTopLeftHandCorner));
            place(t, numbers_of(*item, DCM_BoundingBoxBottomRightHandCorner));
        }
        t.number = number_;
        t.image = images_.empty() ? "" : images_.front().sop_instance_uid;
        texts_.push_back(t);
    }
    return MSA_OK;
}

/* How far a text lies from a graphic; 0 when they overlap. */
double distance(const Text &t, const Text &g)
{
    const double dx = std::max({g.x0 - t.x1, t.x0 - g.x1, 0.0}),
                 dy = std::max({g.y0 - t.y1, t.y0 - g.y1, 0.0});
    return std::hypot(dx, dy);
}

/* The text of the same graphic group, else the nearest one of the same item, else one that overlaps it on the
 * same image, else the layer's name. */
std::string Reader::label_of(DcmItem &graphic, const std::vector<double> &data,
                             const std::string &units) const
{
    constexpr double SOMEWHERE = 1e9;
    const int32_t group = id_of(graphic, DCM_GraphicGroupID);
    const std::string image = images_.empty() ? "" : images_.front().sop_instance_uid;
    Text frame;
    const Text *best = nullptr;
    double least = INFINITY;
    place(frame, data);
    for (const Text &t : texts_) {
        const bool own = t.number == number_;
        if (own && group != 0 && t.group == group) return t.words;
        const double d = t.placed && t.units == units ? distance(t, frame) : SOMEWHERE;
        if (own ? d >= least : (t.image != image || d > 0 || least <= SOMEWHERE)) continue;
        least = own ? d : 2 * SOMEWHERE; /* any of its own goes before another item's */
        best = &t;
    }
    if (best != nullptr) return best->words;
    return layer_.empty() ? "Object " + std::to_string(number_) : layer_;
}

/* Turned about a point, clockwise on the screen, whose rows run downwards. */
void turn(std::vector<double> &xy, double degrees, const std::vector<double> &about)
{
    if (degrees == 0 || about.size() != 2) return;
    const double c = std::cos(degrees * PI / 180), s = std::sin(degrees * PI / 180);
    for (size_t i = 0; i + 1 < xy.size(); i += 2) {
        const double x = xy[i] - about[0], y = xy[i + 1] - about[1];
        xy[i] = about[0] + c * x - s * y;
        xy[i + 1] = about[1] + s * x + c * y;
    }
}

/* Rectangle and ellipse are given by two corners and a rotation: as corners, or as the ends of the axes. */
bool simple_form(DcmItem &compound, std::string &type, std::vector<double> &xy)
{
    Float64 degrees = 0;
    if (xy.size() != 4)
        return (type == "RECTANGLE" && xy.size() == 8) || (type == "ELLIPSE" && xy.size() == 8);
    const double x0 = xy[0], y0 = xy[1], x1 = xy[2], y1 = xy[3], cx = (x0 + x1) / 2, cy = (y0 + y1) / 2;
    if (type == "RECTANGLE")
        xy = {x0, y0, x1, y0, x1, y1, x0, y1};
    else if (type == "ELLIPSE")
        xy = {x0, cy, x1, cy, cx, y0, cx, y1};
    else
        return false;
    if (compound.findAndGetFloat64(DCM_RotationAngle, degrees).good() && std::isfinite(degrees))
        turn(xy, degrees, numbers_of(compound, DCM_RotationPoint));
    return true;
}

msa_status Reader::add(DcmItem &graphic, const std::vector<double> &data, const std::string &type,
                       const std::string &units)
{
    Subject subject;
    work_ += texts_.size() + images_.size() * (16 + data.size());
    if (work_ > WORK_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the presentation state holds too many graphics");
    const std::string uid = text(graphic, DCM_TrackingUID);
    subject.number = number_;
    subject.label = label_of(graphic, data, units);
    subject.tracking_id = to_utf8(text(graphic, DCM_TrackingID), charset_);
    if (is_uid(uid)) subject.tracking_uid = uid;
    if (images_.empty()) out_.remark("a region that names no image was left out");
    for (const ImageReference &image : images_) {
        std::vector<double> xy = data;
        if (units == "DISPLAY") {
            const DisplayArea *const area = areas_.of(image.sop_instance_uid);
            if (area == nullptr) {
                out_.remark("graphics in display units were left out: the displayed area is not given");
                continue;
            }
            area->to_pixels(xy);
        }
        MSA_TRY(out_.add_shape(make_shape(type, xy), subject, image, false));
    }
    return MSA_OK;
}

msa_status Reader::read_annotation(DcmItem &annotation)
{
    std::set<int32_t> compounds; /* that are drawn again by simple objects, for viewers that know no others */
    images_ = images_of(annotation);
    layer_ = to_utf8(text(annotation, DCM_GraphicLayer), charset_);
    for (DcmItem *const item : items_of(annotation, DCM_CompoundGraphicSequence)) {
        std::string type = code_string(*item, DCM_CompoundGraphicType);
        std::vector<double> data = numbers_of(*item, DCM_GraphicData);
        if (!simple_form(*item, type, data)) {
            out_.remark("a compound graphic that is no rectangle or ellipse was left out");
            continue;
        }
        if (id_of(*item, DCM_CompoundGraphicInstanceID) != 0)
            compounds.insert(id_of(*item, DCM_CompoundGraphicInstanceID));
        MSA_TRY(add(*item, data, type == "RECTANGLE" ? "POLYLINE" : type,
                    code_string(*item, DCM_CompoundGraphicUnits)));
    }
    for (DcmItem *const item : items_of(annotation, DCM_GraphicObjectSequence)) {
        const int32_t id = id_of(*item, DCM_CompoundGraphicInstanceID);
        if (id != 0 && compounds.count(id) != 0) continue;
        std::string type = code_string(*item, DCM_GraphicType);
        if (type == "INTERPOLATED") type = "POLYLINE"; /* a curve through the points */
        MSA_TRY(add(*item, numbers_of(*item, DCM_GraphicData), type,
                    code_string(*item, DCM_GraphicAnnotationUnits)));
    }
    return MSA_OK;
}

msa_status Reader::read()
{
    const std::vector<DcmItem *> annotations = items_of(root_, DCM_GraphicAnnotationSequence);
    for (DcmItem *const annotation : annotations) {
        number_++;
        MSA_TRY(read_texts(*annotation));
    }
    number_ = 0;
    for (DcmItem *const annotation : annotations) {
        number_++;
        MSA_TRY(read_annotation(*annotation));
    }
    if (number_ == 0) out_.remark("the presentation state draws nothing");
    return MSA_OK;
}

} // namespace

msa_status read_presentation(PromptList &out, DcmItem &dataset, msa_error *err)
{
    return Reader(out, dataset, err).read();
}

} // namespace dicom
