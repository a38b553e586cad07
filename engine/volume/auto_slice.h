/* One slice of the automatic mode: a click at every point of a grid, and the masks that are kept of them. */
#ifndef MSA_ENGINE_VOLUME_AUTO_SLICE_H
#define MSA_ENGINE_VOLUME_AUTO_SLICE_H

#include "engine/automatic.h"
#include "engine/volume/bits.h"
#include "engine/volume/window.h"

typedef struct msa_auto_mask {
    msa_bits bits;
    float iou; /* predicted */
} msa_auto_mask;

/* Of each slice; more than a grid finds in an image, so the bound is on memory. */
#define MSA_AUTO_MASKS_MAX 256

typedef struct msa_auto_slicer msa_auto_slicer;

/* All borrowed, the window copied; options as msa_auto_check() wants them. Errors: as msa_predictor_new(). */
MSA_NODISCARD msa_status msa_auto_slicer_new(msa_auto_slicer **out, const msa_model *model,
                                             const msa_volume *volume, const msa_window *window,
                                             const msa_auto_options *options, msa_embedding_cache *cache,
                                             const atomic_bool *cancel, msa_error *err);
void msa_auto_slicer_free(msa_auto_slicer *s);
MSA_DEFINE_AUTO(msa_auto_slicer, msa_auto_slicer_free);

/**
 * masks (MSA_AUTO_MASKS_MAX) out: *n of them, the highest predicted IoU first; the caller clears their bits,
 * also those of a call that failed. A slice of one grey level has none and costs nothing. Errors: as
 * msa_segment().
 */
MSA_NODISCARD msa_status msa_auto_slice(msa_auto_slicer *s, int32_t slice, msa_auto_mask *masks, int32_t *n,
                                        msa_error *err);

/**
 * What a grid's mask is judged by: of low-resolution logits (side, side) the part rows x cols in the top-left
 * corner, which is what the image covers. stability: count(logit > offset) / count(logit > -offset), 0 when
 * the latter is empty; box: of logit > 0. Errors: MSA_E_INTERNAL (a logit that is not finite).
 */
MSA_NODISCARD msa_status msa_auto_judge(const float *logits, int32_t side, int32_t rows, int32_t cols,
                                        float offset, float *stability, msa_region *box, msa_error *err);

#endif
