/* A picture of a result as a Secondary Capture image (PS3.3 A.8.1), for viewers that show no segmentations.
 */
#ifndef DICOM_CAPTURE_H
#define DICOM_CAPTURE_H

#include "dicom/seg.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_capture {
    const uint8_t *rgb; /* (rows, cols, 3): a slice with what was found drawn into it, axes as in the image */
    int32_t rows, cols; /* 1 .. 65535 */
    int32_t slice;      /* of the series' volume */
    int32_t number;     /* from 1: Instance Number; no two of a result have the same */
} dicom_capture;

/**
 * Writes "capture-NUMBER.dcm" in `dir`: 24 bit colour, Explicit VR little endian, DERIVED\SECONDARY, the
 * slice's image as its source. It has neither a plane nor a pixel spacing: nobody is to measure in it. All
 * captures of a key are one series, of modality OT.
 *
 * options: as for dicom_seg_write(); the form is not looked at. Same input: same bytes. The file is fsynced.
 * Errors: MSA_E_INVALID, MSA_E_IO, MSA_E_UNSUPPORTED (no Study Instance UID), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_capture_write(const dicom_series *series, const dicom_capture *capture,
                                             const dicom_seg_options *options, const char *dir,
                                             dicom_seg_file *file, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
