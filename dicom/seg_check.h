/* Is a DICOM Segmentation what it claims to be, and does it lie on its images? Of any maker. */
#ifndef DICOM_SEG_CHECK_H
#define DICOM_SEG_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "dicom/init.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One defect, one sentence without a full stop; no patient data. Of several frames with one defect the first
 * is named, and how many more there are. */
typedef void dicom_defect_fn(void *ctx, const char *sentence);

typedef struct dicom_seg_summary {
    char type[17]; /* Segmentation Type */
    char transfer_syntax_uid[DICOM_UID_MAX];
    int32_t rows, cols, frames, segments;
    int32_t images; /* of the folder that the object names */
    size_t defects;
} dicom_seg_summary;

/**
 * Checks the modules, segments, dimensions, functional groups, references and pixel data of the object at
 * `path`; with `series_dir` (may be NULL) also patient, study, frame of reference and the plane of each frame
 * against the images below it. What the standard allows is no defect, though some readers may not like it: no
 * display colour, other coding schemes, a matrix smaller than the image's in its plane.
 *
 * Reversed bits within bytes are told by how ragged they make the masks, so a mask of noise goes unnoticed. A
 * file that ends early has that one defect. Reads RLE and deflated frames. Source: PS3.3 A.51, C.8.20; PS3.5.
 * Errors: MSA_E_NOT_FOUND (no file, no folder), MSA_E_PARSE (no DICOM file), MSA_E_UNSUPPORTED (no
 * segmentation; a folder without images), MSA_E_IO, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_seg_check(const char *path, const char *series_dir, dicom_defect_fn *defect,
                                         void *ctx, dicom_seg_summary *summary, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
