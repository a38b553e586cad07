/* Which of the decoder's masks is the answer. */
#ifndef MSA_ENGINE_VOLUME_SELECT_H
#define MSA_ENGINE_VOLUME_SELECT_H

#include "engine/config.h"

/**
 * iou (mask_tokens). Returns the index of a mask.
 * SAM: a box, or several points, say enough: mask 0, the one trained for that. A single point may mean a part
 * or the whole: of masks 1.. the one with the highest predicted IoU. First: mask 0, since further masks are
 * classes.
 */
int32_t msa_select_mask(const msa_config *config, int32_t n_points, bool has_box, const float *iou);

#endif
