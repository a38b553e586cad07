/* Private: content items of an SR tree (PS3.3 C.17.3), read leniently from the plain dataset. */
#ifndef DICOM_ANNOT_SR_ITEM_H
#define DICOM_ANNOT_SR_ITEM_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <string>
#include <vector>

#include "dicom/annot/prompt_list.h"
#include "dicom/read/items.h"

namespace dicom
{

/* A concept name of ours, with its older SRT or other form ("" when there is none). */
struct Concept {
    const char *value, *scheme, *old_value, *old_scheme;
};

extern const Concept TRACKING_ID, TRACKING_UID, FINDING, FINDING_CATEGORY, FINDING_SITE, SHORT_LABEL, COMMENT,
    LONG_AXIS, SHORT_AXIS;

std::string value_type(DcmItem &item);
/* The children in Content Sequence, in order. */
std::vector<DcmItem *> children(DcmItem &item);
/* Does Concept Name Code Sequence hold this concept? */
bool has_concept(DcmItem &item, const Concept &wanted);
/* The coded value of a CODE item. Values longer than 16 characters are left "" (only the meaning is kept);
 * SRT values of a short table become SCT. */
dicom_code coded_value(DcmItem &item, const std::string &charset);
/* The same of any code sequence. */
dicom_code code_in(DcmItem &item, const DcmTagKey &sequence, const std::string &charset);
std::string text_value(DcmItem &item, const std::string &charset);

/* Is the coded value the one under which OHIF and Cornerstone store what a user typed? It is a label, not a
 * code. */
bool is_free_text_code(DcmItem &item);
/* Does an SCOORD only say where a viewer shows the label? */
bool is_text_position(DcmItem &item);
/* Is a NUM item measured in degrees? */
bool is_in_degrees(DcmItem &item);
/* Does an IMAGE item refer to a segmentation? */
bool names_segmentation(DcmItem &item);

/* Of an IMAGE item: its first Referenced SOP, the first frame. */
ImageReference image_reference(DcmItem &item);

} // namespace dicom
#endif
