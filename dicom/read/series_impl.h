/* Private to dicom/: what a dicom_series holds. The SEG writer copies patient, study and geometry out of
 * `files`. */
#ifndef DICOM_READ_SERIES_IMPL_H
#define DICOM_READ_SERIES_IMPL_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcfilefo.h"

#include <memory>
#include <vector>

#include "dicom/series.h"

struct dicom_series {
    /* Headers without Pixel Data, wholly in memory, one per slice, in slice order: files[i] is slices[i]. */
    std::vector<std::unique_ptr<DcmFileFormat>> files;
    std::vector<dicom_slice> slices;
    std::vector<float> voxels; /* (slices, rows, cols) */
    dicom_volume_info info{};  /* info.slice points into `slices` */
};

#endif
