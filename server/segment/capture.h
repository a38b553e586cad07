/* Key slices with what was found drawn into them, as images that any viewer shows. */
#ifndef SRV_SEGMENT_CAPTURE_H
#define SRV_SEGMENT_CAPTURE_H

#include "server/segment/preview.h"
#include "server/segment/segment.h"

/* Writes the prompted slices and those with most of the masks, at most SRV_CAPTURES_MAX, in the order of the
 * volume, each with a legend. options: key, description and model, as for dicom_seg_write(). Errors: those of
 * dicom_capture_write(). */
MSA_NODISCARD msa_status srv_captures_write(const srv_picture *picture, const dicom_series *series,
                                            const dicom_seg_options *options, const char *dir,
                                            srv_segment_outcome *outcome, msa_error *err);

#endif
