/* A volume and labelled prompts in, one binary mask per object out. */
#ifndef MSA_ENGINE_SEGMENTER_H
#define MSA_ENGINE_SEGMENTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/embedding_cache.h"
#include "engine/predictor.h"

/* Plain arrays with their geometry; nothing of DICOM beyond the meaning of the numbers. */
typedef struct msa_volume {
    const float *voxels; /* (D, H, W) modality units: HU for CT, after rescale and MONOCHROME1 inversion */
    int32_t D, H, W;
    float spacing_mm[2];               /* between rows, between columns */
    const float *position_mm;          /* (D) along the normal, ascending */
    float window_center, window_width; /* width <= 0: 0.5 to 99.5 percentile of the positive voxels (MR) */
} msa_volume;

typedef enum msa_prompt_kind { MSA_PROMPT_BOX, MSA_PROMPT_POINT, MSA_PROMPT_MASK } msa_prompt_kind;

/* Coordinates are DICOM's: (0,0) is the outer corner of the first pixel, (W,H) the far corner. */
typedef struct msa_prompt {
    msa_prompt_kind kind;
    int32_t slice;        /* 0 .. D-1 along the normal */
    float x0, y0, x1, y1; /* a point uses x0, y0 */
    bool positive;        /* points only */
    const uint8_t *mask;  /* masks only: (H, W), 0 or 1, borrowed; what is refined */
} msa_prompt;

/* All prompts of one label are one object. */
typedef struct msa_object {
    const msa_prompt *prompts;
    int32_t n_prompts;
    int32_t channel;       /* the class, 0 .. msa_config_classes() - 1; 0 for a model of one */
    const uint8_t *slices; /* (D) 1 where the mask may lie, 0 where it may not; NULL: anywhere */
} msa_object;

#define MSA_CANDIDATES_MAX 16

/* The model's masks on the lowest slice that somebody prompted, by what it predicts of their IoU, and which
 * was taken. SAM: 0 is the answer to a box or to several points; 1 to 3, from part to whole, those to a
 * single point, of which the best is taken. A model of classes: one for each. */
typedef struct msa_candidates {
    int32_t slice;     /* -1: none */
    int32_t n, chosen; /* n at most MSA_CANDIDATES_MAX, although there may be more */
    float iou[MSA_CANDIDATES_MAX];
} msa_candidates;

typedef struct msa_object_result {
    uint8_t *mask; /* (D, H, W) 0 or 1; caller's memory, zeroed by the call */
    /* (D, H, W) caller's memory, all zero (from calloc(): where the object is not, none is used); NULL: not
     * wanted. 255 times the sigmoid of the log odds by which the mask was decided, where somebody asked:
     * 128 and more is the mask. 0 elsewhere, and where a background point or a click cut the mask. */
    uint8_t *probability;
    int64_t voxels;
    int32_t first_slice, last_slice;  /* of the mask; -1 when empty */
    int32_t first_row, last_row;      /* the same, over all slices */
    float mean_iou;                   /* predicted, over the decoded slices */
    int32_t n_prompted, n_propagated; /* slices decoded from a given prompt, and by propagation */
    msa_candidates candidates;
    const char *stop_reason; /* why propagation ended, static text; "" when there was none */
} msa_object_result;

/* Called from the thread that called msa_segment(). done and total count slices to encode or decode. */
typedef void msa_progress_fn(void *ctx, int32_t done, int32_t total);

/* The grey window that msa_segment() uses: lo maps to black, hi to white, lo < hi. Errors: as there. */
MSA_NODISCARD msa_status msa_volume_window(const msa_volume *volume, float *lo, float *hi, msa_error *err);

/**
 * Boxes on several slices are honoured as given (slices between two of them get an interpolated box); a box,
 * point or mask on a single slice is carried to its neighbours, each way. On the next slice the object's
 * greys and their pattern say where it goes (engine/volume/follow.h), the model is asked there, and the mask
 * is what both find; until the object ends, what goes on has other greys, both disagree, area or position
 * break, or a hard limit is met (engine/volume/propagate.h). A mask stays in the box it was decoded from plus
 * a margin, and carried masks in the prompted box plus a reach. A mask prompt is refined: the decoder gets
 * its parts beside boxes around them. How prompts that disagree are resolved, what background points cut and
 * where nothing may lie: engine/volume/plan.h.
 *
 * Each slice is encoded once however many objects it holds, as long as the embeddings fit into the cache
 * (NULL: 512 MiB of memory, for this call); the cache changes no bit of the result. Where the profile has a
 * crop_margin, a small box has a part of its slice encoded for itself (engine/volume/crop.h). With a depth
 * branch neighbouring slices are encoded together, in windows along the depth
 * (engine/volume/depth_windows.h). A box that reaches over the image's edge is clipped.
 *
 * Errors: MSA_E_INVALID (a slice or coordinate outside the volume, an empty or non-finite box, an empty
 * mask), MSA_E_CANCELED, MSA_E_NOMEM, MSA_E_INTERNAL (a non-finite value). `cancel` and `progress` may be
 * NULL.
 */
MSA_NODISCARD msa_status msa_segment(const msa_model *model, const msa_volume *volume,
                                     const msa_object *objects, int32_t n_objects, msa_object_result *results,
                                     msa_embedding_cache *cache, const atomic_bool *cancel,
                                     msa_progress_fn *progress, void *progress_ctx, msa_error *err);
#endif
