/* A series read whole: sorted by geometry, values rescaled, headers kept for the SEG that will refer to it. */
#ifndef DICOM_SERIES_H
#define DICOM_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/annotation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_series dicom_series;

/* Where a slice lies in the patient, DICOM LPS coordinates. */
typedef struct dicom_slice {
    char sop_class_uid[DICOM_UID_MAX], sop_instance_uid[DICOM_UID_MAX];
    int32_t frame;       /* 0: the instance is this slice; from 1: this frame of it. A reference to the slice then
                            carries the number: Referenced Frame Number (0008,1160) */
    double origin_mm[3]; /* centre of the first pixel: Image Position (Patient) (0020,0032) */
    double position_mm;  /* along the normal */
} dicom_slice;

typedef enum dicom_issue { /* geometry that was noticed; policy is the caller's */
    DICOM_ISSUE_GAP = 1,               /* a step along the normal over 1.5 times the median */
    DICOM_ISSUE_UNEVEN = 2,            /* steps differ by more than 5 percent, without a gap */
    DICOM_ISSUE_DUPLICATE_POSITION = 4, /* two slices within 1 percent of the median step */
    DICOM_ISSUE_MIXED_ORIENTATION = 8, /* not all slices are parallel: see DICOM_ISSUE_SEVERAL_VOLUMES */
    DICOM_ISSUE_TILT = 16,             /* origins shift in plane: sheared stack */
    DICOM_ISSUE_SINGLE_SLICE = 32,
    DICOM_ISSUE_SEVERAL_VOLUMES = 64,  /* orientations, sizes, echoes, time points, ...: one of them is the volume */
    DICOM_ISSUE_NO_FRAME_OF_REFERENCE = 128, /* one was derived from the Series Instance UID */
    DICOM_ISSUE_NO_PLANE = 256,        /* images without position or orientation are left out */
} dicom_issue;

typedef struct dicom_volume_info {
    int32_t rows, cols, slices;
    double spacing_mm[2];             /* between rows, then between columns: the order of Pixel Spacing (0028,0030) */
    double row_dir[3], col_dir[3], normal[3];
    double step_mm;                   /* median distance along the normal; slice thickness or 1 for a single slice */
    double window_center, window_width; /* from the header of the middle slice; width 0 when absent */
    char modality[17], study_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
    char body_part[17];
    uint32_t issues;                  /* bits of dicom_issue */
    char issue_text[512];             /* "; "-joined plain sentences, "" when there are none; no patient data */
    int32_t left_out;                 /* instances not in the volume (other orientation, duplicate position) */
    const dicom_slice *slice;         /* (slices), ascending along the normal */
} dicom_volume_info;

/* What the caller wants of a series. */
typedef struct dicom_series_request {
    const char *series_uid; /* of several in a folder; NULL: there is but one */
    /* A series may hold several volumes (orientations, echoes, time points): the one is read that most of those
     * prompts lie on which name an image, the largest where none does. */
    const dicom_prompt *prompts;
    size_t n_prompts;
} dicom_series_request;

/**
 * Reads `n` CT or MR files of one series, single-frame or Enhanced and Legacy Converted Enhanced, whose frames are
 * slices like any others. Order of paths does not matter.
 * Slices are sorted by dot(origin, normal); values become float modality units: rescale slope and intercept per
 * slice or the Modality LUT, MONOCHROME1 inverted (stored value -> least + greatest storable value - stored value, before the rescale; the
 * window turns with it), padding values set to the least valid value of the volume.
 * The same instance twice counts once. Images that differ in frame of reference, orientation, matrix, pixel spacing or
 * stack are several volumes; so are, where at least half of the positions hold several images, those that differ in
 * time point, b-value, echo, inversion time, image type, tube voltage, kernel, acquisition, trigger or acquisition time
 * (the first of these that tells them apart; last, instance number). One volume is read: see dicom_series_request; on a
 * tie the one with the lowest instance number. Of few images at one position that which a prompt lies on stays, else
 * the one with the higher instance number. Images without a place in space are left out if others have one. Without
 * Frame of Reference UID one is derived from the Series Instance UID. issue_text says whatever of this happened.
 * request (may be NULL): what to read; series_uid is for folders only.
 * Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED (several series, no plane at all, syntax that has no decoder), MSA_E_NOMEM,
 * MSA_E_IO. Sentences name instances and frames by number, never by UID or name.
 */
MSA_NODISCARD msa_status dicom_series_load(dicom_series **out, const char *const *paths, size_t n,
                                           const dicom_series_request *request, msa_error *err);
/* All readable CT/MR images below a folder, of one series; others are an error unless request->series_uid picks. */
MSA_NODISCARD msa_status dicom_series_load_dir(dicom_series **out, const char *dir,
                                               const dicom_series_request *request, msa_error *err);
void dicom_series_free(dicom_series *s);

const dicom_volume_info *dicom_series_info(const dicom_series *s);
/* (slices, rows, cols), valid while the series lives. */
const float *dicom_series_voxels(const dicom_series *s);
/* Index of the slice that is this frame (from 1) of this instance, or -1. frame 0: the lowest slice of the instance. */
int32_t dicom_series_find(const dicom_series *s, const char *sop_instance_uid, int32_t frame);

#ifdef __cplusplus
}
#endif
#ifndef __cplusplus
#include "engine/base/cleanup.h"
MSA_DEFINE_AUTO(dicom_series, dicom_series_free);
#endif
#endif
