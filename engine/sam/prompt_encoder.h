/* Points, boxes and masks to sparse tokens and a dense embedding. */
#ifndef MSA_ENGINE_SAM_PROMPT_ENCODER_H
#define MSA_ENGINE_SAM_PROMPT_ENCODER_H

#include "engine/predictor.h"
#include "engine/sam/weights.h"

#define MSA_PROMPT_POINTS_MAX 256
#define MSA_SPARSE_MAX        (MSA_PROMPT_POINTS_MAX + 2) /* the padding token or the two corners of a box */

/* Floats of scratch for a grid of h x w tokens. */
size_t msa_prompt_scratch(int32_t h, int32_t w);

/**
 * One prompt row. Input is h * patch high and w * patch wide. sparse (MSA_SPARSE_MAX, P) out, *n_sparse rows
 * used; dense (h * w, P) out, channels-last, rows *dense_step apart: P, or 0 without a mask, when only its
 * one row is written. Points without a box get one padding token (label -1), as SAM
 * does it. Labels 2 and 3 are the corners of a box, so that a box equals two labelled points.
 *
 * EfficientSAM has six tokens whatever the prompt, of which a box is two and those of no point are padding;
 * dense is zero.
 *
 * Errors: MSA_E_INVALID: too many points, a coordinate that is not finite, an unknown label; of EfficientSAM
 * also a mask and a background point, which it does not know.
 */
MSA_NODISCARD msa_status msa_prompt_encode(const msa_config *c, const msa_prompt_weights *w, int32_t h,
                                           int32_t w_tokens, const msa_prompt_set *prompt, float *scratch,
                                           float *sparse, int32_t *n_sparse, float *dense,
                                           int64_t *dense_step, msa_error *err);
/* The first of n rows (n, P), copied to the others: for whoever wants a row for every pixel. */
void msa_prompt_repeat(int64_t P, int64_t n, float *dense);
/* The tokens alone. */
MSA_NODISCARD msa_status msa_prompt_tokens(const msa_config *c, const msa_prompt_weights *w, int32_t h,
                                           int32_t w_tokens, const msa_prompt_set *prompt, float *sparse,
                                           int32_t *n_sparse, msa_error *err);
/**
 * The mask (4h, 4w) that goes into the dense embedding: the prompt's own; or, where the profile says
 * box_as_mask, its box filled, written to `room` (4h, 4w) as logits by how much of a pixel it covers; NULL:
 * neither.
 */
const float *msa_prompt_mask(const msa_config *c, int32_t h, int32_t w_tokens, const msa_prompt_set *prompt,
                             float *room);
#endif
