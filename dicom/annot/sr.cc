/* Structured reports: what they draw becomes boxes, points and regions. */
#include "dicom/annot/carrier.h"
#include "dicom/annot/sr_tree.h"

namespace dicom
{
namespace
{

msa_status add_on_image(PromptList &out, const Drawn &d)
{
    const Shape shape = make_shape(d.type, d.data);
    if (shape.kind != Shape::NOTHING && d.image.sop_instance_uid.empty()) {
        out.remark("a region that names no image was left out");
        return MSA_OK;
    }
    return out.add_shape(shape, *d.subject, d.image, d.axis);
}

/* areas_in_space() has judged the coordinates of everything else. */
msa_status add_points(PromptList &out, const Drawn &d)
{
    const bool one = d.type == "POINT";
    if (!is_placed(d) || (!one && d.type != "MULTIPOINT")) return MSA_OK;
    for (size_t i = 0; i + 2 < d.data.size(); i += 3) {
        MSA_TRY(out.add_point_mm(&d.data[i], *d.subject, d.place));
        if (one) break;
    }
    return MSA_OK;
}

} // namespace

msa_status read_sr(PromptList &out, DcmItem &dataset, msa_error *err)
{
    SrTree tree;
    const char *note = "";
    MSA_TRY(read_sr_tree(tree, dataset, err));
    for (const Drawn &d : tree.drawn)
        MSA_TRY(d.in_space ? add_points(out, d) : add_on_image(out, d));
    for (const SpaceArea &area : areas_in_space(tree, &note))
        MSA_TRY(out.add_region(area.number, *area.drawn->subject, area.drawn->place));
    if (note[0] != '\0') out.remark(note);
    if (tree.has_angles) out.remark("an angle is no region; it was left out");
    if (tree.drawn.empty())
        out.remark(tree.refers_to_segments ? "the report draws nothing itself, it refers to a segmentation: "
                                             "that object's segments are the prompts"
                                           : "the report draws no region on an image");
    return MSA_OK;
}

} // namespace dicom
