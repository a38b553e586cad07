/* Nobody prompts: a grid of points over every slice, and what they find linked into regions of the volume. */
#ifndef MSA_ENGINE_AUTOMATIC_H
#define MSA_ENGINE_AUTOMATIC_H

#include "engine/segmenter.h"

#define MSA_AUTO_POINTS_MAX  64
#define MSA_AUTO_REGIONS_MAX 256

/* What is kept of what the points find. The first five are those of SAM's automatic mask generator. */
typedef struct msa_auto_options {
    int32_t points_per_side; /* 1 .. MSA_AUTO_POINTS_MAX: of a grid over the slice, each a click */
    float iou_min;           /* predicted IoU, at least */
    float stability_min;     /* count(logit > offset) / count(logit > -offset), at least; 0 .. 1 */
    float stability_offset;
    float box_nms;       /* of two masks whose boxes overlap by more than this IoU the worse goes; 0 .. 1 */
    float area_min_mm2;  /* smaller masks go, smaller holes are filled and smaller islands removed */
    float link_iou;      /* masks of neighbouring slices that overlap by this IoU are one region; 0 .. 1 */
    int32_t slices_min;  /* regions on fewer slices go; never more than the volume has */
    int32_t regions_max; /* 1 .. MSA_AUTO_REGIONS_MAX: the largest by voxels */
} msa_auto_options;

msa_auto_options msa_auto_defaults(void);
/* Errors: MSA_E_INVALID, naming the value that is out of its range. */
MSA_NODISCARD msa_status msa_auto_check(const msa_auto_options *o, msa_error *err);

typedef struct msa_auto_regions msa_auto_regions;

/**
 * Each slice is encoded once, as a whole whatever the profile's crop_margin; each point is a click of its
 * own, and every mask that the model gives for a click is a candidate. The order is fixed by content, so the
 * same volume gives the same regions, the largest first.
 *
 * cache: as in msa_segment(). Memory: packed masks of what may still be kept. Time: points_per_side squared
 * decodings a slice. Errors: as msa_segment(), and those of msa_auto_check(). Source: arXiv:2304.02643,
 * section 5 and appendix B (the generator); linking through slices is ours.
 */
MSA_NODISCARD msa_status msa_segment_automatic(msa_auto_regions **out, const msa_model *model,
                                               const msa_volume *volume, const msa_auto_options *options,
                                               msa_embedding_cache *cache, const atomic_bool *cancel,
                                               msa_progress_fn *progress, void *progress_ctx, msa_error *err);
void msa_auto_regions_free(msa_auto_regions *r);
MSA_DEFINE_AUTO(msa_auto_regions, msa_auto_regions_free);

int32_t msa_auto_regions_count(const msa_auto_regions *r);
/* How many more there were than regions_max. */
int64_t msa_auto_regions_left_out(const msa_auto_regions *r);
/* result->mask: the caller's, all zero; ones are written where region i is, nothing else is touched.
 * n_prompted counts the region's slices. No probability: only masks are kept of what the points find. */
void msa_auto_regions_get(const msa_auto_regions *r, int32_t i, msa_object_result *result);

#endif
