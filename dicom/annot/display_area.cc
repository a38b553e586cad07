#include "dicom/annot/display_area.h"
#include "dicom/read/items.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cmath>

namespace dicom
{
namespace
{

/* SL, which text() gives as decimal words. */
bool pixel_at(DcmItem &item, const DcmTagKey &tag, double out[2])
{
    return find_numbers(item, tag, 2, out) == FIND_OK && std::fabs(out[0]) <= 1e6 && std::fabs(out[1]) <= 1e6;
}

} // namespace

/* The corners are pixels, counted from 1 in the image as it is stored, before it is turned; the top left one
 * is what then appears there (PS3.3 C.10.4). Many writers give the corners of the stored image instead, so
 * only the rectangle is taken from them and the turning from rotation and flip. */
DisplayAreas::DisplayAreas(DcmItem &presentation)
{
    DisplayArea d;
    uint16_t degrees = 0;
    if (find_u16(presentation, DCM_ImageRotation, degrees) == FIND_OK) d.rotation = degrees % 360;
    if (d.rotation % 90 != 0) return;
    d.flip = code_string(presentation, DCM_ImageHorizontalFlip) == "Y";
    for (DcmItem *const item : items_of(presentation, DCM_DisplayedAreaSelectionSequence)) {
        double first[2], last[2];
        if (!pixel_at(*item, DCM_DisplayedAreaTopLeftHandCorner, first) ||
            !pixel_at(*item, DCM_DisplayedAreaBottomRightHandCorner, last))
            continue;
        d.left = std::min(first[0], last[0]) - 1;
        d.top = std::min(first[1], last[1]) - 1;
        d.width = std::fabs(last[0] - first[0]) + 1;
        d.height = std::fabs(last[1] - first[1]) + 1;
        const std::vector<DcmItem *> images = items_of(*item, DCM_ReferencedImageSequence);
        for (DcmItem *const image : images)
            own_.emplace(text(*image, DCM_ReferencedSOPInstanceUID), d);
        if (!images.empty() || has_common_) continue;
        common_ = d;
        has_common_ = true;
    }
}

const DisplayArea *DisplayAreas::of(const std::string &sop_instance_uid) const
{
    const auto found = own_.find(sop_instance_uid);
    if (found != own_.end()) return &found->second;
    return has_common_ ? &common_ : nullptr;
}

void DisplayArea::to_pixels(std::vector<double> &xy) const
{
    for (size_t i = 0; i + 1 < xy.size(); i += 2) {
        const double u = flip ? 1 - xy[i] : xy[i], v = xy[i + 1];
        double x = u, y = v;
        switch (rotation) {
        case 90: /* what was at the bottom left is now at the top left */
            x = v;
            y = 1 - u;
            break;
        case 180:
            x = 1 - u;
            y = 1 - v;
            break;
        case 270:
            x = 1 - v;
            y = u;
            break;
        default:
            break;
        }
        xy[i] = left + x * width;
        xy[i + 1] = top + y * height;
    }
}

} // namespace dicom
