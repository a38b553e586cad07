/* What was measured, as a structured report: TID 1500 Measurement Report (PS3.16), Comprehensive 3D SR. */
#ifndef DICOM_REPORT_H
#define DICOM_REPORT_H

#include "dicom/seg.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DICOM_REPORT_CLASS "1.2.840.10008.5.1.4.1.1.88.34" /* Comprehensive 3D SR Storage */

/* Of one mask. Values are the series' (HU for CT), each voxel counting once. */
typedef struct dicom_measures {
    double volume_ml;
    /* On the slice where it is longest: the greatest distance of two outlines' points, and the extent across
     * it. */
    double long_axis_mm, short_axis_mm;
    double mean, deviation, least, greatest;
    double center_mm[3]; /* of mass, every voxel weighing the same; LPS */
} dicom_measures;

typedef struct dicom_finding {
    const dicom_segment *segment; /* its names, codes and model */
    int32_t number;             /* in that object; 0: nothing was found, and what follows is not looked at */
    const dicom_seg_file *file; /* the object that holds it */
    int32_t first_slice, last_slice;
    dicom_measures measures;
} dicom_finding;

/**
 * Writes "report.dcm" in `dir`: a measurement group for every finding (volume, axes, mean and spread of the
 * values, centre of mass, tracking identifiers, finding and site, the segment, the source series, the model),
 * and for what was looked for but not found a qualitative evaluation "Not detected". Evidence: the images
 * between the findings' first and last slices (all of them where nothing was found) and the segmentations.
 * The prompts' objects are named as in the SEG.
 *
 * options: key, descriptions, model and prompts are used as by dicom_seg_write(), the form is not; the report
 * is a series of its own. Same input: same bytes. The file is fsynced. Errors: MSA_E_INVALID, MSA_E_IO,
 * MSA_E_UNSUPPORTED (no Frame of Reference or Study Instance UID), MSA_E_NOMEM. Source: PS3.16 TID 1500,
 * 1411, 1419, 4019; PS3.3 A.35.13, C.17, C.18.9.
 */
MSA_NODISCARD msa_status dicom_report_write(const dicom_series *series, const dicom_finding *findings,
                                            size_t n, const dicom_seg_options *options, const char *dir,
                                            dicom_seg_file *file, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
