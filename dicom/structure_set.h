/* Masks as contours: an RT Structure Set (PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8), for systems that plan
 * radiotherapy. */
#ifndef DICOM_STRUCTURE_SET_H
#define DICOM_STRUCTURE_SET_H

#include "dicom/seg.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes "structure-set.dcm" in `dir`: a region of interest for every segment with a voxel, its outlines as
 * closed planar contours that run along the edges of pixels, so that whoever fills them by the pixels'
 * centres has the mask again. A hole is a contour of its own within the outer one: regions are what lies
 * within an odd number of contours. Pixels that touch at a corner only are outlined apart. Implicit VR little
 * endian, since one contour may be longer than an explicit VR can say.
 *
 * options: as for dicom_seg_write(); the form is not looked at. The object is a series of its own. Same
 * input: same bytes. The file is fsynced. Errors: MSA_E_NOT_FOUND (no segment has a voxel), MSA_E_INVALID,
 * MSA_E_IO, MSA_E_UNSUPPORTED (no Frame of Reference or Study Instance UID), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_structure_set_write(const dicom_series *series, const dicom_segment *segments,
                                                   size_t n, const dicom_seg_options *options,
                                                   const char *dir, dicom_seg_file *file, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
