/* Augmentation of a picture, or a stack of them, together with its labels. */
#ifndef MSA_ENGINE_TRAIN_AUGMENT_H
#define MSA_ENGINE_TRAIN_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

/**
 * What is done to one sample: drawn at random, or set by hand. All zero is the identity, bit for bit. Places
 * first, in this order: flips, quarter turns, then one resampling (linear; outside is 0) for the rest.
 */
typedef struct msa_augment {
    bool flip_x, flip_y, flip_z;
    int32_t quarter_turns;          /* 0..3 */
    float angle;                    /* in the plane, radians */
    float tilt_x, tilt_y;           /* out of it, radians; stacks only */
    float log_scale_x, log_scale_y; /* natural logarithm; above 0 enlarges */
    float shift_x, shift_y;         /* parts of the picture */
    float elastic;                  /* amplitude, a part of the picture */
    float elastic_cells;            /* waves across it, about */
    /* then intensities */
    float coarse;                   /* voxels become 1 + coarse pixels wide */
    float blur;                     /* deviation, pixels */
    float noise;                    /* deviation, of 0..1 */
    float log_contrast, brightness; /* about the mean */
    float log_gamma;
    bool inverted;
    uint64_t seed; /* of noise and elastic */
} msa_augment;

/* How likely and how strong: 0 never .. 1 the usual .. 2. Shape: flips, turns, elastic. */
typedef struct msa_augment_options {
    float shape, intensity;
    bool flips; /* also quarter turns; false where left and right matter */
} msa_augment_options;

/* Deterministic in (options, seed). */
msa_augment msa_augment_draw(const msa_augment_options *options, uint64_t seed);

typedef enum msa_label_sampling {
    MSA_LABELS_NEAREST, /* a label map: values stay in its set */
    MSA_LABELS_SOFT,    /* 0 and 1: smooth borders when resampled, cut at one half */
} msa_label_sampling;

/**
 * In place. image (depth, rows, cols) 0..1, stays there; labels (n_labels, depth, rows, cols): maps that all
 * move alike, n_labels 0 when there are none. An odd number of quarter turns swaps *rows and *cols (the
 * memory is as large). Errors: MSA_E_NOMEM. Threads: reentrant.
 */
MSA_NODISCARD msa_status msa_augment_apply(const msa_augment *a, int32_t depth, int32_t *rows, int32_t *cols,
                                           float *image, uint8_t *labels, int32_t n_labels,
                                           msa_label_sampling sampling, msa_error *err);

#endif
