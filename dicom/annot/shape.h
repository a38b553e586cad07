/* Private: graphic types of SCOORD (PS3.3 C.18.6.1.2) as boxes and points. */
#ifndef DICOM_ANNOT_SHAPE_H
#define DICOM_ANNOT_SHAPE_H

#include <string>
#include <vector>

#include "dicom/annotation.h"

namespace dicom
{

struct Point {
    double x, y;
};

struct Shape {
    enum Kind { NOTHING, BOX, POINTS, LINE } kind = NOTHING; /* LINE: two points, a measure, no region */
    double x0 = 0, y0 = 0, x1 = 0, y1 = 0;                   /* of a BOX */
    std::vector<Point> points;                               /* of POINTS and LINE */
    const char *note = nullptr;                              /* why it is NOTHING */
};

/* `data`: Graphic Data, x and y in turn. Coordinates that are not finite or beyond 1e6, and boxes without
 * area, make NOTHING with a note. */
Shape make_shape(const std::string &graphic_type, const std::vector<double> &data);

/* Do two lines cross or touch? Long and short axis of a lesion do. */
bool lines_cross(const Shape &a, const Shape &b);
/* The box over the ends of two lines. */
Shape box_over(const Shape &a, const Shape &b);

} // namespace dicom
#endif
