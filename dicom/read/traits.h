/* Private: what images at one position differ in. */
#ifndef DICOM_READ_TRAITS_H
#define DICOM_READ_TRAITS_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <string>
#include <vector>

namespace dicom
{

/* Values of trait_names[] (read/geometry.h): of the frame where that has them, else of the whole image.
 * frame may be NULL. */
std::vector<std::string> read_traits(DcmItem &image, DcmItem *frame);

} // namespace dicom
#endif
