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
 * what lies around it (log of the ratio of two histograms), so that light and dark objects look alike. The
 * third is -1 outside the box; inside it says how much has to be crossed to get there from outside: the root
 * of the least sum of changes of grey along any way in (a geodesic distance, as Bai and Sapiro cut out
 * pictures, ICCV 2007), 0.25 to 2.25. What lies in the box and goes on outside can be reached without
 * crossing anything, so it is not what the box is around.
 * box NULL: both are 0. rows, cols: the part of the input that the picture covers. Does nothing for other
 * models.
 */
void msa_prompt_into_image(const msa_config *c, const float *box, int32_t rows, int32_t cols, float *image);

#endif
