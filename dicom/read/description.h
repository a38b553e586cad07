/* Private: what a header says of its series that only rules and the count of images look at. */
#ifndef DICOM_READ_DESCRIPTION_H
#define DICOM_READ_DESCRIPTION_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include "dicom/header.h"

namespace dicom
{

/* Descriptions, distance of slices, further counts of images. Whatever is malformed counts as absent. */
void read_description(dicom_header &h, DcmItem &d);

} // namespace dicom
#endif
