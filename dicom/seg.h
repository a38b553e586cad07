/* DICOM Segmentation objects (PS3.3 A.51, C.8.20), BINARY, explicit VR little endian. */
#ifndef DICOM_SEG_H
#define DICOM_SEG_H

#include "dicom/annotation.h"
#include "dicom/series.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_segment {
    const uint8_t *mask; /* (slices, rows, cols) of the series' volume, 0 or 1 */
    char label[DICOM_LABEL_MAX];
    char tracking_id[DICOM_LABEL_MAX], tracking_uid[DICOM_UID_MAX]; /* uid "": derived */
    dicom_code category, type, site; /* value "": category and type become Tissue (85756007 SCT), no site */
    bool automatic; /* SegmentAlgorithmType AUTOMATIC instead of SEMIAUTOMATIC */
    const char *model_name, *model_version, *model_hash; /* what made it; name NULL: that of the options */
} dicom_segment;

typedef struct dicom_seg_options {
    const char *key;               /* what the UIDs are derived from: same key, same UIDs */
    const char *series_description, *content_description; /* description: of the series; content: how the masks came about */
    const char *model_name, *model_version, *model_hash; /* algorithm identification, SoftwareVersions */
    const char *software_version;  /* "msad 0.1.0" */
    int32_t series_number;
    const dicom_prompt *prompts;   /* whose source objects are referenced; may be NULL */
    size_t n_prompts;
} dicom_seg_options;

typedef struct dicom_seg_file { /* what was written */
    char sop_instance_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
    int32_t frames, segments;
} dicom_seg_file;

#define DICOM_SEG_FILES_MAX 32

/**
 * Writes `n` segments over the series as seg.dcm, seg-2.dcm, ... in `dir`: a segment that overlaps an earlier one
 * goes into a second instance of the same series, because a common viewer drops overlapping ones. Empty segments and
 * empty frames are left out; all empty: MSA_E_NOT_FOUND, nothing is written. Files are fsynced. Same input and same
 * key: same bytes (dates come from the source, no clock is read).
 * Each object is then read back from disk and its masks, plane positions and centroids are compared with memory:
 * a difference is MSA_E_INTERNAL.
 * Errors: MSA_E_INVALID, MSA_E_IO, MSA_E_UNSUPPORTED (no Frame of Reference UID), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_seg_write(const dicom_series *series, const dicom_segment *segments, size_t n,
                                         const dicom_seg_options *options, const char *dir,
                                         dicom_seg_file *files, size_t *n_files, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
