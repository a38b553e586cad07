/* Private: items of sequences. */
#ifndef DICOM_READ_ITEMS_H
#define DICOM_READ_ITEMS_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <vector>

namespace dicom
{

/* The items of a sequence, in order; none when it is absent. */
std::vector<DcmItem *> items_of(DcmItem &item, const DcmTagKey &sequence);
/* The first one, or null. Of a null item: null. */
DcmItem *first_of(DcmItem *item, const DcmTagKey &sequence);

} // namespace dicom
#endif
