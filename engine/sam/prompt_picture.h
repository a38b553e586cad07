/* A box drawn into what the network sees, for profiles that say so. */
#ifndef MSA_ENGINE_SAM_PROMPT_PICTURE_H
#define MSA_ENGINE_SAM_PROMPT_PICTURE_H

#include "engine/config.h"

/* `value` inside the box, -value outside, between them on its border: to (h, w). box (4): x0, y0, x1, y1 in
 * coordinates that name the centres of pixels; `scale`: pixels of `to` per unit of the box. */
void msa_draw_box(const float box[4], float scale, int32_t h, int32_t w, float value, float *to);
/**
 * Where the profile says box_in_image: image (3, S, S), a grey picture in all three channels, keeps it in the
 * first only. The second becomes how much a pixel's grey is that of the inside of the box rather than that of
 * its outside (log of the ratio of two histograms; the inside without the box's corners), so that light and
 * dark objects look alike; the third the box itself, 1 inside, -1 outside. box NULL: both are 0. rows, cols:
 * the part of the input that the picture covers. Does nothing for other models.
 */
void msa_prompt_into_image(const msa_config *c, const float *box, int32_t rows, int32_t cols, float *image);

#endif
