/* Pictures of a result: for the eye, never for measuring. They show no patient attribute. */
#ifndef SRV_SEGMENT_PREVIEW_H
#define SRV_SEGMENT_PREVIEW_H

#include "server/segment/canvas.h"
#include "server/segment/objects.h"

/* All borrowed. results[i] and objects->names[i] belong together. */
typedef struct srv_picture {
    const dicom_volume_info *info;
    const float *voxels;
    float lo, hi; /* grey window */
    const srv_objects *objects;
    const msa_object_result *results;
    const srv_rgb *colours; /* of the objects; NULL: srv_object_colour() */
    const srv_segment_stat *stats;
    const char *model_name;
    bool untrained;
} srv_picture;

/* One contact sheet of the prompted slices and those with most of the masks, with a legend. Errors: MSA_E_IO,
 * MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_preview_write(const srv_picture *p, const char *path, msa_error *err);
/* Key slices, each without and with its masks, in one picture for the dashboard (slice_sheet.c): 256 pixels
 * wide and high, in two columns, a row a slice. Writes nothing where no slice has a mask or a prompt. Errors:
 * MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_slice_sheet_write(const srv_picture *p, const char *path, msa_error *err);
/* overlay-NNN.png in `dir` for every slice that holds a mask or a prompt; NNN is the slice. Slices are shared
 * out over the engine's threads. */
MSA_NODISCARD msa_status srv_overlays_write(const srv_picture *p, const char *dir, msa_error *err);

/* ---- one slice; used by both ---- */

/* What part of a slice is shown, in corner coordinates; it may reach over the image's edge. */
typedef struct srv_view {
    double x0, y0, x1, y1;
} srv_view;

typedef struct srv_rect {
    int32_t x, y, width, height;
} srv_rect;

/* Pictures of a whole slice: small images are enlarged, pixels that are not square made so. At 0, 0. */
srv_rect srv_slice_rect(const dicom_volume_info *info);
srv_rgb srv_object_colour(size_t object);
/* The whole slice in a square of millimetres, so that round things stay round. */
srv_view srv_full_view(const dicom_volume_info *info);
bool srv_slice_prompted(const srv_picture *p, int32_t slice);
/* Set voxels of all masks on a slice. */
int64_t srv_slice_area(const srv_picture *p, int32_t slice);
/* Grey image, tinted masks with their contours, prompts. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_slice_draw(const srv_picture *p, int32_t slice, srv_view view, srv_canvas *c,
                                        srv_rect at, msa_error *err);

/* The image alone. */
MSA_NODISCARD msa_status srv_slice_draw_plain(const srv_picture *p, int32_t slice, srv_view view,
                                              srv_canvas *c, srv_rect at, msa_error *err);

#endif
