/* What is decoded where: prompts of labelled objects to rows on slices. Pure: knows no model. */
#ifndef MSA_ENGINE_VOLUME_PLAN_H
#define MSA_ENGINE_VOLUME_PLAN_H

#include "engine/base/cleanup.h"
#include "engine/segmenter.h"
#include "engine/volume/geometry.h"

/* Parts of one mask prompt that are prompts of their own, in reading order; those beyond share one. */
#define MSA_PLAN_PARTS 64

/**
 * One pass of the mask decoder on a slice that somebody prompted, or that lies between two boxed ones.
 *
 * Several prompts of one object on one slice:
 * - each 8-connected part of a mask is a box around it with the mask in it as a dense prompt: it is refined;
 * - every box and every such part is a row of its own; the object's mask is the union of what they give. The
 *   same box again, or one that is a mask's part to within a pixel, adds nothing: the mask says more;
 * - points that lie in a box (with its margin) refine that box;
 * - positive points outside every box make one further row, together with the negative points left over;
 * - negative points alone prompt nothing, but refine whatever box is carried to their slice;
 * - a negative point that lies in what the model finds is cut out of it (msa_mask_cut()); where a positive
 *   point lies on it, the positive one wins: no prompt is ever without an answer because of another.
 * A slice between two boxed slices has boxes interpolated linearly: paired by nearest centres when both
 * slices have equally many, otherwise the bounding box of each side; a mask counts as the boxes of its parts.
 * Not so between two slices that have masks and no boxes: masks come slice by slice, and where there is none
 * there is nothing to refine. Nothing is extrapolated: an object with boxes or masks on two or more slices is
 * not carried past the first and the last of them.
 *
 * Where the object may not lie (msa_object.slices) there are no rows and nothing is carried to or through,
 * also where a prompt lies there; boxes there still say where the object is between them and others.
 */
typedef struct msa_plan_row {
    int32_t object, slice, number; /* number: in the order in which rows were made */
    bool has_box, given;           /* given: drawn by somebody, not interpolated */
    msa_box box;                   /* clipped to the image */
    const uint8_t *mask;           /* (H, W) the prompt's; NULL: none. Where it lies in the box counts */
    int32_t first_point, n_points; /* into the plan's points */
    int32_t up_to,
        down_to; /* carried to slice + 1 .. up_to and slice - 1 .. down_to; == slice: not carried */
} msa_plan_row;

typedef struct msa_plan {
    msa_plan_row *rows; /* ascending by slice, then by object, then in order of the prompts */
    int32_t n_rows, rows_room;
    float *points; /* (n_points, 2) corner coordinates */
    bool *positive;
    int32_t n_points, points_room;
} msa_plan;

#define MSA_PLAN_ROWS (1 << 16)

/* Errors: MSA_E_INVALID (as msa_segment() says; more than MSA_PLAN_ROWS rows), MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_plan_new(msa_plan **out, const msa_volume *volume, const msa_object *objects,
                                      int32_t n_objects, msa_error *err);
void msa_plan_free(msa_plan *p);
MSA_DEFINE_AUTO(msa_plan, msa_plan_free);

/* The slice nearest to `to` that is at most `mm` and MSA_EXTENT_SLICES from `slice`. */
int32_t msa_plan_within(const msa_volume *volume, int32_t slice, int32_t to, float mm);

/* Adds the object's points on that slice and inside the region to the plan; a row refers to them. */
MSA_NODISCARD msa_status msa_plan_gather(msa_plan *p, const msa_object *object, int32_t slice,
                                         msa_region region, int32_t *first, int32_t *n, msa_error *err);

#endif
