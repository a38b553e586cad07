/* Private: when an object says that it was made. */
#ifndef DICOM_READ_AUTHORED_H
#define DICOM_READ_AUTHORED_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <cstdint>

namespace dicom
{

/**
 * The latest of Content, Presentation Creation, Structure Set and Instance Creation Date and Time:
 * milliseconds since 1970, as UTC where the object has no Timezone Offset From UTC (0008,0201); 0 when it has
 * no date that can be read. Which of them a program renews when it saves a changed annotation differs.
 */
int64_t authored_ms(DcmItem &dataset);

} // namespace dicom
#endif
