/* Masks: the segments of a SEG, the regions of an RTSTRUCT, the areas of a report, on the voxels of a series.
 */
#ifndef DICOM_LABELS_H
#define DICOM_LABELS_H

#include "dicom/annotation.h"
#include "dicom/series.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_masks dicom_masks;

/* One segment or region. Text is UTF-8. */
typedef struct dicom_mask {
    int32_t number;                  /* Segment Number, ROI Number, area of a report: dicom_prompt.region */
    char name[DICOM_LABEL_MAX];      /* Segment Label, ROI Name; "Segment n" or "ROI n" when there is none */
    dicom_code category, type, site; /* of a segment; value "" when absent, and for a region */
    char tracking_id[DICOM_LABEL_MAX], tracking_uid[DICOM_UID_MAX];
    int32_t planes;                  /* frames or closed contours that lie on a slice of the series */
    int32_t planes_outside;          /* that lie on none: beyond the stack, between slices, or not parallel */
    int32_t first_slice, last_slice; /* of planes; -1 when there are none */
} dicom_mask;

/**
 * Reads a SEG (BINARY, FRACTIONAL, LABELMAP; uncompressed, deflated, RLE, deflated frames; bytes in
 * every syntax that images come in), an RTSTRUCT or a
 * report that refers to the series: names it or one of its images, or names no image at all and has its frame
 * of reference. The masks stay as the file has them (frames, contours) until they are asked for, so memory is
 * bounded by the file's size. The series is not needed
 * afterwards.
 *
 * A pixel of a fractional frame is set from half of Maximum Fractional Value on; of a label map, where it
 * holds the segment's number. A frame lies where its plane says, else on the image it names; it may be of
 * another matrix, cropped, turned or flipped in the plane (nearest pixel). Plane and slice are the same
 * within a tenth of the slice distance. A contour's pixels are those whose centres lie inside, even-odd over
 * all contours of the region on the slice, so a hole is a contour within another. Points and open curves are
 * not regions and are left out. A report's areas in patient space (SCOORD3D; long and short axis as the box
 * over their ends) lie on the slice that is nearest within half a step, ellipsoids on every slice that they
 * cross; the areas of another series or frame of reference are left out.
 *
 * Errors: MSA_E_NOT_FOUND (no such file; it refers to another series; a report without such areas),
 * MSA_E_UNSUPPORTED (another class or compression, too many planes), MSA_E_PARSE (frames, segments or bits
 * contradict each other, two frames of one segment on one slice), MSA_E_IO, MSA_E_NOMEM. Source: PS3.3
 * C.8.20, C.8.8.5, C.8.8.6.
 */
MSA_NODISCARD msa_status dicom_masks_read(dicom_masks **out, const dicom_series *series, const char *path,
                                          msa_error *err);
void dicom_masks_free(dicom_masks *l);

/* In the order of the file. */
size_t dicom_masks_count(const dicom_masks *l);
const dicom_mask *dicom_masks_at(const dicom_masks *l, size_t i);
/* What was passed over, one sentence; "" when nothing was. */
const char *dicom_masks_note(const dicom_masks *l);

/**
 * mask (slices, rows, cols) of the series: set to 0 and 1; voxels (may be NULL): how many are 1.
 * Errors: MSA_E_UNSUPPORTED (contours too intricate to be drawn in sensible time), MSA_E_PARSE (a compressed
 * frame is damaged), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status dicom_masks_fill(const dicom_masks *l, size_t i, uint8_t *mask, int64_t *voxels,
                                          msa_error *err);
/* The same for one slice: plane (rows, cols). */
MSA_NODISCARD msa_status dicom_masks_fill_slice(const dicom_masks *l, size_t i, int32_t slice, uint8_t *plane,
                                                int64_t *pixels, msa_error *err);

#ifdef __cplusplus
}
#endif
#ifndef __cplusplus
#include "engine/base/cleanup.h"
MSA_DEFINE_AUTO(dicom_masks, dicom_masks_free);
#endif
#endif
