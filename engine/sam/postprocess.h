/* From the decoder's logits to masks of the original image. */
#ifndef MSA_ENGINE_SAM_POSTPROCESS_H
#define MSA_ENGINE_SAM_POSTPROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/config.h"

/**
 * Which of the decoder's masks are the answer. SAM: mask 0 for one, 1 .. M - 1 for several of growing size.
 * First-n: the masks are classes, n = M when there are more than SAM's four tokens, else 1.
 */
void msa_mask_range(const msa_config *c, bool multi, int32_t *first, int32_t *count);

/**
 * One mask's logits (side, side) to (oh, ow): bilinear to S x S, cropped to the resized image's (ih, iw) at
 * the top-left, bilinear to the original: two interpolations in this order, on logits, as SAM does it.
 * scratch (S * S). A logit above 0 is foreground.
 */
void msa_mask_postprocess(const float *logits, int32_t side, int32_t S, int32_t ih, int32_t iw,
                          float *scratch, float *out, int32_t oh, int32_t ow);

/* count(logit > threshold + offset) / count(logit > threshold - offset); 0 when the latter is empty. */
float msa_mask_stability(const float *logits, int64_t n, float threshold, float offset);

#endif
