/* Volume, diameters, values and centre of one mask: what the report says of it. */
#ifndef SRV_SEGMENT_MEASURE_H
#define SRV_SEGMENT_MEASURE_H

#include "dicom/report.h"

/**
 * mask (slices, rows, cols) of the series with at least one voxel between first and last. Volume: voxels x
 * pixel spacing x median distance of slices; a gap is not filled. Diameters run between the outer corners of
 * pixels, on the one slice where the long axis is greatest: the short one is the extent at right angles to
 * it. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_measure(dicom_measures *out, const dicom_series *series, const uint8_t *mask,
                                     int32_t first, int32_t last, msa_error *err);

#endif
