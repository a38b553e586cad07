/**
 * What the trainer learns from: samples, each a picture and some objects in it. A sample is a function of
 * (seed, step, item) and of nothing else, so a run resumed anywhere sees what it would have seen.
 */
#ifndef MSA_ENGINE_TRAIN_DATA_H
#define MSA_ENGINE_TRAIN_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/cases.h"
#include "engine/config.h"
#include "engine/training.h"
#include "engine/volume/window.h"

/* depth is 1 in 2D; in 3D the planes are neighbouring slices. */
typedef struct msa_sample {
    int32_t depth, size;
    int32_t rows, cols; /* what the picture covers, from the top-left corner; the rest is padding */
    float *image;       /* (depth, size, size), windowed to 0..1; 0 in the padding */
    int32_t targets_max, n_targets; /* 1 .. targets_max .. MSA_TARGETS_MAX */
    uint8_t *targets; /* (targets_max, depth, size, size), 0 or 1; none is empty on the middle plane, depth /
                       * 2, and the view was chosen around the first */
    char source[64], label[64]; /* label: of the first */
} msa_sample;

/* Errors: MSA_E_INVALID (a size is out of range), MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_sample_new(msa_sample **out, int32_t depth, int32_t size, int32_t targets_max,
                                        msa_error *err);
void msa_sample_free(msa_sample *s);
MSA_DEFINE_AUTO(msa_sample, msa_sample_free);
/* One plane to network input (3, size, size), through 8 bits as at inference. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_sample_input(const msa_sample *s, int32_t plane, msa_input_norm norm, float *out,
                                          msa_error *err);

/* ---- sources ---- */

typedef struct msa_source msa_source;

void msa_source_free(msa_source *s);
MSA_DEFINE_AUTO(msa_source, msa_source_free);
/* Fills `sample` (of the caller's depth, size and targets_max). Threads: any number on one source. Errors:
 * MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_source_next(const msa_source *s, uint64_t step, int32_t item, msa_sample *sample,
                                         msa_error *err);

/* Endless scenes (engine/train/synth.h). */
MSA_NODISCARD msa_status msa_source_synthetic(msa_source **out, uint64_t seed, msa_error *err);

typedef struct msa_volumes_options {
    uint64_t seed;
    bool all_orientations;        /* also the slices along H and W */
    int32_t min_pixels;           /* a target has at least so many pixels on its slice; default 12 */
    float crop_chance;            /* of a crop around the target instead of the whole slice; default 0.9 */
    float margin_min, margin_max; /* of the crop, as a part of the target's box; default 0.12 .. 1.0 */
    float augment_chance;         /* default 0.9 */
    int32_t at_once;              /* so many cases in memory at a time (and two more); default 0: all */
    int32_t renew_every;          /* steps after which one of them makes room for another; default 100 */
} msa_volumes_options;

msa_volumes_options msa_volumes_defaults(uint64_t seed);
/**
 * Every case in memory counts the same, and every label within it. A case without a target is passed over.
 * With at_once the set must stay, and may be opened again at any time; which cases a step sees depends on the
 * seed and the step alone. Errors: MSA_E_INVALID (options, no case with a target), MSA_E_NOMEM, what opening
 * a case fails with.
 */
MSA_NODISCARD msa_status msa_source_case_set(msa_source **out, const msa_case_set *set,
                                             const msa_volumes_options *options, msa_error *err);
/* The same of cases that are in memory, all of them. Takes the cases, also on failure (the array itself stays
 * the caller's; its entries become NULL). */
MSA_NODISCARD msa_status msa_source_volumes(msa_source **out, msa_case **cases, int32_t n_cases,
                                            const msa_volumes_options *options, msa_error *err);

/* Chooses among sources by weight (not negative, one above zero), for each sample anew. Takes the sources,
 * also on failure. */
MSA_NODISCARD msa_status msa_source_mix(msa_source **out, uint64_t seed, msa_source **sources,
                                        const double *weights, int32_t n, msa_error *err);

/* ---- loading beside training ---- */

typedef struct msa_loader msa_loader;

/**
 * Threads of its own make samples (step, item) ahead, item 0 .. batch - 1, from first_step on; at most
 * `ahead` wait. The order, and so the result, is the same for any number of threads. Borrows the source.
 * Errors: MSA_E_NOMEM, MSA_E_INVALID (threads, ahead, batch below 1).
 */
MSA_NODISCARD msa_status msa_loader_new(msa_loader **out, const msa_source *source, uint64_t first_step,
                                        int32_t batch, int32_t depth, int32_t size, int32_t targets_max,
                                        int32_t threads, int32_t ahead, msa_error *err);
void msa_loader_free(msa_loader *l);
MSA_DEFINE_AUTO(msa_loader, msa_loader_free);
/* Swaps the next sample in order for `sample`, which has the loader's depth, size and targets_max. Blocks
 * until it is there. Errors: what the source failed with. */
MSA_NODISCARD msa_status msa_loader_next(msa_loader *l, msa_sample *sample, msa_error *err);

int64_t msa_loader_first_step(const msa_loader *l);

/* ---- to the trainer ---- */

struct msa_train_picture;

/* What msa_feed_next() takes as ctx: zero it but for the first two. */
typedef struct msa_feed {
    msa_loader *loader;
    msa_input_norm norm;
    msa_sample *sample; /* from msa_sample_new(), as deep as the model sees at once, of its size, with the
                           loader's targets_max */
    bool started;
    int64_t step; /* of the sample before */
    int32_t item;
} msa_feed;

/* A msa_train_next (engine/train/trainer.h). Targets beyond the picture's room are left out.
 * Errors: MSA_E_INVALID (steps and items are not asked for in order, or the first is not the loader's), what
 * the source fails with. */
MSA_NODISCARD msa_status msa_feed_next(void *ctx, int64_t step, int32_t item,
                                       struct msa_train_picture *picture, msa_error *err);

#endif
