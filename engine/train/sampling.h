/* Prompts drawn from a mask: random ones for training, clicks and boxes that anyone can repeat for
 * evaluation. */
#ifndef MSA_ENGINE_TRAIN_SAMPLING_H
#define MSA_ENGINE_TRAIN_SAMPLING_H

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/train/random.h"
#include "engine/volume/geometry.h"

/* Masks are (rows, cols), 0 or not. Boxes are in corner coordinates, as everywhere in engine/volume/. */

typedef struct msa_click {
    int32_t row, col;
    bool positive; /* foreground was meant */
} msa_click;

/* The smallest box around the mask; false when it is empty. */
bool msa_mask_box(const uint8_t *mask, int32_t rows, int32_t cols, msa_box *box);
/* Uniform over the foreground; over everything, and negative, when there is none. */
msa_click msa_sample_click(msa_random *r, const uint8_t *mask, int32_t rows, int32_t cols);
/* Each side moves by N(0, fraction of the box's size along that axis), at most by limit pixels; the result
 * lies inside rows x cols and covers at least one pixel. */
msa_box msa_sample_box(msa_random *r, msa_box tight, double fraction, double limit, int32_t rows,
                       int32_t cols);

typedef enum msa_error_choice {
    MSA_ERROR_EVEN,    /* missed or added with equal chance, when there are both */
    MSA_ERROR_BY_AREA, /* uniform over all wrong pixels */
} msa_error_choice;

/* A wrong pixel: positive where the target was missed. False when predicted equals target. */
bool msa_sample_error_click(msa_random *r, const uint8_t *predicted, const uint8_t *target, int32_t rows,
                            int32_t cols, msa_error_choice choice, msa_click *click);

/**
 * The click of an evaluation: in the largest component (8 neighbours) of what was missed or of what was
 * added, the pixel farthest from the component's border, in exact Euclidean distance; the image's edge is a
 * border. Ties: the lowest row, then the lowest column. predicted NULL: nothing yet. *found is false when
 * there is no error. Errors: MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_error_click(const uint8_t *predicted, const uint8_t *target, int32_t rows,
                                         int32_t cols, msa_click *click, bool *found, msa_error *err);

double msa_box_iou(msa_box a, msa_box b);
/**
 * The tight box shifted and scaled until its IoU with itself as it was lies within 0.02 of `wanted`
 * (0.05 .. 1), inside rows x cols: the paper's "BBox 0.5" and "BBox 0.75".
 */
msa_box msa_sample_box_of_iou(msa_random *r, msa_box tight, double wanted, int32_t rows, int32_t cols);

#endif
