/* Private: the units of graphic annotations (PS3.3 C.10.5.1.2), turned into pixels of the image. */
#ifndef DICOM_ANNOT_DISPLAY_AREA_H
#define DICOM_ANNOT_DISPLAY_AREA_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <map>
#include <string>
#include <vector>

namespace dicom
{

/* What a presentation state shows of one image, and how it is turned. */
struct DisplayArea {
    double left = 0, top = 0, width = 0, height = 0; /* of the area in the image, SCOORD pixels */
    int rotation = 0;                                /* degrees clockwise: 0, 90, 180, 270 */
    bool flip = false;                               /* left to right, after the rotation */

    /* x and y in turn, fractions of the displayed area, become pixels. */
    void to_pixels(std::vector<double> &xy) const;
};

/* Of each image, from Displayed Area Selection and Spatial Transformation. */
class DisplayAreas
{
  public:
    explicit DisplayAreas(DcmItem &presentation);
    /* Null when the state does not say. */
    const DisplayArea *of(const std::string &sop_instance_uid) const;

  private:
    std::map<std::string, DisplayArea> own_;
    DisplayArea common_;
    bool has_common_ = false;
};

} // namespace dicom
#endif
