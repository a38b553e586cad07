/* Prompts out of stored annotation objects. */
#ifndef DICOM_ANNOTATION_H
#define DICOM_ANNOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/init.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_code { /* PS3.3 section 8; value "" means absent */
    char value[17], scheme[17], meaning[DICOM_LABEL_MAX];
} dicom_code;

typedef enum dicom_prompt_kind {
    DICOM_PROMPT_BOX = 1,
    DICOM_PROMPT_POINT = 2,
    DICOM_PROMPT_REGION = 3, /* an area that its annotation draws: a segment, an ROI, a polygon in space */
    DICOM_PROMPT_KEY_IMAGE =
        4, /* prompts nothing: where a series has some, results lie on these images only */
} dicom_prompt_kind;

typedef enum dicom_prompt_space {
    DICOM_SPACE_IMAGE = 0,   /* pixels of one image */
    DICOM_SPACE_PATIENT = 1, /* millimetres, LPS, of a frame of reference */
} dicom_prompt_space;

/**
 * One prompt. Plain data, fixed size: it travels over the role's socket and into the catalogue as it is. Text
 * is UTF-8.
 *
 * In DICOM_SPACE_IMAGE coordinates are those of SCOORD (PS3.3 C.18.6): x column, y row, (0,0) the outer
 * corner of the first pixel, on one image: sop_instance_uid and frame, or series_uid and slice. A box has x0
 * < x1 and y0 < y1. In DICOM_SPACE_PATIENT they are those of SCOORD3D (PS3.3 C.18.9): a box is upright
 * between (x0, y0, z0) and (x1, y1, z1), none of which is greater than its counterpart, and prompts every
 * slice that it crosses; a point belongs to the nearest slice. A region has no coordinates here, and its
 * space is the patient's: whoever has the series lays region `region` of the object source_sha256 on it
 * (dicom/labels.h); one that lies on no slice of it (oblique, elsewhere) is not an error. What a prompt lies
 * on is said by the first of these that is not "": sop_instance_uid, series_uid, frame_of_reference_uid (then
 * every CT and MR series of it, in the study of the annotation). What is in patient space names no image.
 */
typedef struct dicom_prompt {
    int32_t kind;     /* dicom_prompt_kind */
    int32_t space;    /* dicom_prompt_space */
    int32_t frame;    /* from 1; of a key image also 0: all frames of the instance */
    int32_t positive; /* points: 1 foreground, 0 background */
    int32_t slice;    /* used when sop_instance_uid is "": 0.. along the slice normal of the series */
    int32_t region;   /* regions: dicom_mask.number */
    double x0, y0, z0, x1, y1, z1;        /* a point uses x0, y0, z0 */
    char sop_instance_uid[DICOM_UID_MAX]; /* the image it lies on */
    char series_uid[DICOM_UID_MAX], frame_of_reference_uid[DICOM_UID_MAX];
    char label[DICOM_LABEL_MAX];       /* prompts of one label on one series are one object */
    char tracking_id[DICOM_LABEL_MAX]; /* TID 1500: (112039,DCM); "" when absent */
    char tracking_uid[DICOM_UID_MAX];  /* (112040,DCM) */
    dicom_code category, type, site;   /* finding category, finding, finding site */
    char source_class_uid[DICOM_UID_MAX],
        source_instance_uid[DICOM_UID_MAX]; /* the annotation; "" for REST */
    char source_sha256[65];                 /* its bytes, in hex: the catalogue fills it in; "" for REST */
} dicom_prompt;

/**
 * Reads an annotation object. *prompts is an array of *n, freed with free(). *note is a static sentence: why
 * *n is 0, or what was passed over beside the prompts; "" when nothing was.
 *
 * SR (Enhanced, Comprehensive, Comprehensive 3D): SCOORD and SCOORD3D of every graphic type, anywhere in the
 * tree, their IMAGE below, beside or by reference. Two crossing lines of one group (long and short axis) make
 * one box; a single line none. SCOORD3D: points stay points, areas and bodies become regions. Label: a typed
 * one (short label, free text of a viewer, comment), else the finding's meaning, else the tracking identifier
 * unless it names a drawing tool, else "Object n". Presentation states: graphic objects, rectangles and
 * ellipses of compound graphics. Label: the text of the same graphic group, item or place, else the graphic
 * layer. RTSTRUCT: a region for each ROI with closed contours, points for POINT contours. SEG, label map
 * included: a region for each segment. Key object selection: one key image for each image, unless it rejects
 * them.
 *
 * An object whose Manufacturer (0008,0070) is "msad" is one of our results: it has no prompts, or results
 * that a PACS sends back would be segmented for ever. (Whoever edits one in a viewer gets that viewer's
 * name.)
 *
 * Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED, MSA_E_IO. Limits: 4,096 prompts, 32 levels. Source: PS3.3 C.17.3,
 * C.18.6, C.18.9, C.10.5, C.8.8.5, C.8.8.6, C.8.20, A.35.4.
 */
MSA_NODISCARD msa_status dicom_annotation_read(dicom_prompt **prompts, size_t *n, const char **note,
                                               const char *path, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
