/* Private to dicom/report/: the content tree of a measurement report. */
#ifndef DICOM_REPORT_REPORT_IMPL_H
#define DICOM_REPORT_REPORT_IMPL_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include "dicom/report.h"
#include "dicom/seg/beside.h"
#include "dicom/seg/codes.h"

namespace dicom
{
namespace report
{

/* What the tree is made from. */
struct source : seg::beside {
    const dicom_finding *findings;
    size_t n;
};

/* The attributes of the root's content item into the dataset itself: TID 1500. */
OFCondition put_content(DcmItem &dataset, const source &from);

} // namespace report
} // namespace dicom
#endif
