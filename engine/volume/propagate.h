/* Carrying one mask from slice to slice: which box comes next, and when to stop. Pure: knows no model. */
#ifndef MSA_ENGINE_VOLUME_PROPAGATE_H
#define MSA_ENGINE_VOLUME_PROPAGATE_H

#include "engine/base/error.h"
#include "engine/volume/geometry.h"

/* A decoded mask may leave its box by this much: boxes are drawn tight, by hand. */
#define MSA_CLIP_FRACTION 0.1F
#define MSA_CLIP_PIXELS   2.0F
/* The next slice's box is the mask's, grown: an object that widens must be able to. */
#define MSA_NEXT_FRACTION 0.05F
#define MSA_NEXT_PIXELS   1.0F
/* However far it is carried, it stays within the prompted box grown by this on every side. */
#define MSA_REACH_FRACTION 0.5F
#define MSA_REACH_PIXELS   4.0F
/* Along the normal: this often the longer side of the box, but never less or more than the limits. */
#define MSA_EXTENT_SIDES  3.0F
#define MSA_EXTENT_MIN_MM 20.0F
#define MSA_EXTENT_MAX_MM 200.0F
#define MSA_EXTENT_SLICES 256
/* The object has ended when its area falls under this part of the prompted slice's. */
#define MSA_AREA_END 0.05
/* Between neighbours an area may shrink to this part and grow by this factor; more is another structure. */
#define MSA_AREA_SHRINK 0.2
#define MSA_AREA_GROW   2.5
/* The centre may move by this part of the longer side of the last box, at least by the pixels. */
#define MSA_CENTER_FRACTION 0.5
#define MSA_CENTER_PIXELS   3.0
/* Relative, because upstream adapters were trained without the IoU head: its scale means little, its fall
 * does. */
#define MSA_IOU_END 0.5F

typedef struct msa_mask_stats {
    int64_t area;
    msa_region box; /* tight; empty when area is 0 */
    double cx, cy;  /* centroid, corner coordinates */
} msa_mask_stats;

/* mask (rows, cols); only the region is looked at. */
msa_mask_stats msa_mask_measure(const uint8_t *mask, int32_t cols, msa_region region);

/**
 * Keeps the 4-connected parts of the mask that hold one of the points (x, y) and clears the rest of the
 * region; a click says "this one here". No part holds a point: everything is cleared. points (n, 2) corner
 * coordinates. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_mask_keep_touched(uint8_t *mask, int32_t cols, msa_region region,
                                               const float *points, int32_t n, msa_error *err);

typedef struct msa_track {
    msa_box reach;
    int64_t anchor_area;
    float anchor_iou;
    msa_mask_stats last;
} msa_track;

/* From the mask of a prompted slice. box: what was prompted, or NULL for points: then the mask's own box
 * counts. */
msa_track msa_track_start(const msa_box *box, const msa_mask_stats *mask, float iou);
/* Prompt for the next slice, inside the image and the reach. */
msa_box msa_track_next(const msa_track *t, int32_t rows, int32_t cols);
/* Where a mask decoded from `box` may lie. */
msa_region msa_track_clip(const msa_track *t, msa_box box, int32_t rows, int32_t cols);
/* NULL: go on, `mask` is taken as the last one. Otherwise why not, in static text; `mask` is not the
 * object's. */
const char *msa_track_step(msa_track *t, const msa_mask_stats *mask, float iou);

/* How far a box may be carried along the normal, mm. */
float msa_track_extent_mm(msa_box box, const float spacing_mm[2]);

#endif
