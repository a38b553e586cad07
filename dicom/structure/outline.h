/* Private: the outlines of a mask's plane. */
#ifndef DICOM_STRUCTURE_OUTLINE_H
#define DICOM_STRUCTURE_OUTLINE_H

#include <cstdint>
#include <vector>

namespace dicom
{
namespace structure
{

/* A corner of pixels: (0,0) is the outer corner of the first one. */
struct corner {
    int32_t x, y;
};
using polygon = std::vector<corner>; /* closed: the last is joined to the first */

/* plane (rows, cols). Corners where the outline turns; the mask is on the right of the way (y points down),
 * so that outer outlines run clockwise and holes the other way round. */
std::vector<polygon> find_outlines(const uint8_t *plane, int32_t rows, int32_t cols);

} // namespace structure
} // namespace dicom
#endif
