/* Where an object goes on the next slice, by what its greys and their pattern look like. Knows no model. */
#ifndef MSA_ENGINE_VOLUME_FOLLOW_H
#define MSA_ENGINE_VOLUME_FOLLOW_H

#include "engine/base/cleanup.h"
#include "engine/segmenter.h"
#include "engine/volume/propagate.h"
#include "engine/volume/window.h"

#define MSA_GREYS 48

/* Shares of greys inside an object and around it, on the slice that somebody prompted. */
typedef struct msa_greys {
    float object[MSA_GREYS], around[MSA_GREYS];
} msa_greys;

typedef struct msa_follow msa_follow;

/* The volume is borrowed. Errors: MSA_E_NOMEM. Threads: one user at a time (it holds scratch). */
MSA_NODISCARD msa_status msa_follow_new(msa_follow **out, const msa_volume *v, const msa_window *window,
                                        msa_error *err);
void msa_follow_free(msa_follow *f);
MSA_DEFINE_AUTO(msa_follow, msa_follow_free);

/* mask (H, W) of the slice, as measured. */
void msa_follow_learn(const msa_follow *f, int32_t slice, const uint8_t *mask, const msa_mask_stats *stats,
                      msa_greys *out);
/* How much of the mask (H, W), looked at in the region, has greys of the object rather than of what was
 * around it: 0 to 1; 0.5 where greys say nothing. 0 when the mask is empty. */
double msa_follow_fit(const msa_follow *f, const msa_greys *greys, int32_t slice, const uint8_t *mask,
                      msa_region region);

/**
 * Log odds, -5.25 to 5.25, that a pixel of slice `to` is the object's: out (region rows, region cols).
 *
 * mask (H, W) is the object on slice `from`. Each pixel asks the pixels of `from` within a few pixels of it
 * (as many as the slices are apart, 2 to 5), and each of those counts by how alike the 3 x 3 pixels around
 * the two are and how near it is; those of the object vote for it. Source: patch-based label fusion (Coupe et
 * al., NeuroImage 2011), with one slice for an atlas. To that comes, at half weight, how common the grey is
 * in the object and around it. Regions with more than 128 pixels a side are looked at more coarsely.
 * Allocates nothing.
 */
void msa_follow_guess(msa_follow *f, int32_t from, int32_t to, const uint8_t *mask, msa_region region,
                      const msa_greys *greys, float *out);

#endif
