/* Carrying one mask from slice to slice: which box comes next, and when to stop. Pure: knows no model. */
#ifndef MSA_ENGINE_VOLUME_PROPAGATE_H
#define MSA_ENGINE_VOLUME_PROPAGATE_H

#include "engine/base/error.h"
#include "engine/volume/geometry.h"

/* A decoded mask may leave its box by this much: boxes are drawn tight, by hand. */
#define MSA_CLIP_FRACTION 0.1F
#define MSA_CLIP_PIXELS   2.0F
/* The next slice's mask lies in the last one's box, grown: an object that widens must be able to. */
#define MSA_NEXT_FRACTION 0.2F
#define MSA_NEXT_PIXELS   6.0F
/* However far it is carried, it stays within the prompted box grown by this on every side, and by so many
 * millimetres for each that it was carried: vessels slant. */
#define MSA_REACH_FRACTION 0.5F
#define MSA_REACH_PIXELS   4.0F
#define MSA_REACH_SLANT    0.5F
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
#define MSA_IOU_END 0.6F
/* Where the greys say that the object goes on, and what the model finds there, are two answers to one
 * question. With less overlap (Dice) than this, there is no object that both mean. */
#define MSA_AGREEMENT_END 0.7
/* Part of the prompted slice's fit (engine/volume/follow.h): below it the mask lies on something else. */
#define MSA_FIT_END 0.8

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

/**
 * Takes the mask away around the background points (x, y) that lie in it: as far as the mask's nearest edge,
 * and to half the way to the nearest positive point at most; always the point's own pixel. What is asked not
 * to be the object is not, whatever the model thinks. points (n, 2), positive (n).
 */
void msa_mask_cut(uint8_t *mask, int32_t cols, msa_region region, const float *points, const bool *positive,
                  int32_t n);

/* What tells whether a mask is still the object's. */
typedef struct msa_signs {
    float iou;        /* as the model predicts it */
    double fit;       /* of the greys, engine/volume/follow.h */
    double agreement; /* Dice of where the greys and where the model say it is; not looked at in
                         msa_track_start() */
} msa_signs;

typedef struct msa_track {
    msa_box prompted;
    int64_t anchor_area;
    msa_signs anchor;
    msa_mask_stats last;
} msa_track;

/* From the mask of a prompted slice. box: what was prompted, or NULL for points: then the mask's own box
 * counts. */
msa_track msa_track_start(const msa_box *box, const msa_mask_stats *mask, const msa_signs *signs);
/* Where the mask of a slice that is so far from the prompted one may lie, inside the image; may be empty.
 * spacing_mm: between rows, between columns. */
msa_region msa_track_next(const msa_track *t, float carried_mm, const float spacing_mm[2], int32_t rows,
                          int32_t cols);
/* NULL: go on, `mask` is taken as the last one. Otherwise why not, in static text; `mask` is not the
 * object's. */
const char *msa_track_step(msa_track *t, const msa_mask_stats *mask, const msa_signs *signs);

/* How far a box may be carried along the normal, mm. */
float msa_track_extent_mm(msa_box box, const float spacing_mm[2]);

#endif
