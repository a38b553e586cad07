/* Low-resolution logits back onto the slice's pixels. */
#ifndef MSA_ENGINE_VOLUME_FINISH_H
#define MSA_ENGINE_VOLUME_FINISH_H

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/volume/geometry.h"

typedef struct msa_finish msa_finish;

/**
 * Two bilinear steps (half-pixel centres, edges clamped), as SAM does them: low x low to S x S, cropped to
 * the image's part, then to rows x cols. Both are separable and linear, so the two are folded into one set of
 * at most four taps a sample and only the wanted region is computed. t: of the whole slice; low: side of the
 * logits, 4g. Errors: MSA_E_NOMEM. Threads: one user at a time (it holds scratch).
 */
MSA_NODISCARD msa_status msa_finish_new(msa_finish **out, const msa_transform *t, int32_t low,
                                        msa_error *err);
void msa_finish_free(msa_finish *f);
MSA_DEFINE_AUTO(msa_finish, msa_finish_free);

/* From now on logits are of this part of the slice. Allocates nothing. */
void msa_finish_aim(msa_finish *f, const msa_transform *t);

/**
 * Regions below are in the slice's pixels and lie inside the part.
 * logits (low, low) to out (region rows, region cols), row-major.
 * Errors: MSA_E_INTERNAL when a logit is not finite: it would read as "not the object" and vanish.
 */
MSA_NODISCARD msa_status msa_finish_logits(msa_finish *f, const float *logits, msa_region region, float *out,
                                           msa_error *err);

/* Sets mask (rows, cols of the slice) to 1 or 0 inside the region, where the logit is or is not above 0; the
 * rest is left alone. */
MSA_NODISCARD msa_status msa_finish_mask(msa_finish *f, const float *logits, msa_region region, uint8_t *mask,
                                         msa_error *err);

#endif
