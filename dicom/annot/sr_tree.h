/* Private: what a structured report draws, in document order, with what is said about it. */
#ifndef DICOM_ANNOT_SR_TREE_H
#define DICOM_ANNOT_SR_TREE_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <memory>
#include <string>
#include <vector>

#include "dicom/annot/prompt_list.h"

namespace dicom
{

constexpr size_t DRAWN_MAX = 4 * PROMPTS_MAX; /* area, mean and length of a region each repeat it */

/* One SCOORD or SCOORD3D. */
struct Drawn {
    bool in_space = false;    /* SCOORD3D: x, y, z in turn; otherwise x, y */
    bool axis = false;        /* coded as long or short axis */
    std::string type;         /* Graphic Type */
    std::vector<double> data; /* Graphic Data */
    std::shared_ptr<const Subject> subject;
    ImageReference image; /* the image it is drawn on, or taken from */
    SpaceReference place; /* SCOORD3D: the series of that image, its frame of reference */
};

struct SrTree {
    std::vector<Drawn> drawn;
    bool refers_to_segments = false; /* an IMAGE item names a segmentation */
    bool has_angles = false;         /* which are left out: their legs surround nothing */
};

/**
 * The tree is walked as plain items, without templates, relationship types or concept names being demanded:
 * DCMTK's DSRDocument refuses reports that viewers write every day. Errors: MSA_E_UNSUPPORTED (DRAWN_MAX).
 */
MSA_NODISCARD msa_status read_sr_tree(SrTree &out, DcmItem &dataset, msa_error *err);

/* An area or a body in patient space. */
struct SpaceArea {
    enum Form { POLYGON, ELLIPSE, ELLIPSOID, BOX_OVER } form; /* BOX_OVER: the ends of long and short axis */
    int32_t number;                                           /* from 1: dicom_prompt.region */
    const Drawn *drawn;
    std::vector<double> mm; /* x, y, z in turn: corners; or the ends of 2 or 3 axes */
};

/* SCOORD3D: are its coordinates finite triples of some place? */
bool is_placed(const Drawn &d);
/* The areas of a report, each once, numbered in document order. `note` (may be null): what was passed over.
 */
std::vector<SpaceArea> areas_in_space(const SrTree &tree, const char **note);

} // namespace dicom
#endif
