/**
 * Endless random scenes to learn from: bodies, organs, vessels, bones, brains and shapes that nobody has, in
 * three dimensions, seen through CT-like and MR-like laws of intensity. So varied that a real picture is just
 * one more sample (domain randomisation: arXiv:2107.09559, arXiv:2004.10282). Everything is a function of
 * (seed, index).
 */
#ifndef MSA_ENGINE_TRAIN_SYNTH_H
#define MSA_ENGINE_TRAIN_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

#define MSA_SYNTH_SIZE_MAX 1024

typedef struct msa_synth msa_synth;

/* A plane through the scene, and its neighbours. World units: a body is about 2 wide. */
typedef struct msa_synth_view {
    float origin[3];      /* of the picture's centre on the middle plane */
    float right[3];       /* unit vectors of columns and rows; the planes go along their cross product */
    float down[3];        /* towards the bottom of the picture */
    float half_x, half_y; /* half the width and height of the picture */
    float step;           /* between planes */
} msa_synth_view;

/* Errors: MSA_E_NOMEM. Threads: the scene is private to one thread. */
MSA_NODISCARD msa_status msa_synth_new(msa_synth **out, uint64_t seed, uint64_t index, msa_error *err);
void msa_synth_free(msa_synth *s);
MSA_DEFINE_AUTO(msa_synth, msa_synth_free);
/* The scene's own plane, chosen with it: most of what there is can be seen. */
msa_synth_view msa_synth_overview(const msa_synth *s);
/* The parent of an object, of which it is a part or in which it lies; 0: none. */
uint8_t msa_synth_parent(const msa_synth *s, uint8_t id);
/* "torso", "head", ...: which plan the scene follows. */
const char *msa_synth_plan(const msa_synth *s);

/**
 * image (depth, size, size) 0..1, windowed, with noise, blur and all; labels (depth, size, size) objects,
 * 0: nothing. image NULL: labels alone, which is quicker. Errors: MSA_E_NOMEM, MSA_E_INVALID (sizes).
 */
MSA_NODISCARD msa_status msa_synth_render(msa_synth *s, const msa_synth_view *view, int32_t depth,
                                          int32_t size, float *image, uint8_t *labels, msa_error *err);

/* What was chosen: the object, with what lies inside it or without, all of it or one connected piece. */
typedef struct msa_synth_target {
    uint8_t id; /* 0: nothing fits */
    bool filled, piece;
    int32_t x, y; /* a pixel of the piece */
    int32_t area;
    int32_t x0, y0, x1, y1; /* its box: pixels x0 .. x1-1, y0 .. y1-1 */
} msa_synth_target;

/**
 * Chooses an object on a label map (size, size) such that small, thin and faint ones come often. image: for
 * the contrast, may be NULL. A target has at least min_area pixels and leaves a twentieth of the picture.
 * Errors: MSA_E_NOMEM. Deterministic in (scene, salt).
 */
MSA_NODISCARD msa_status msa_synth_pick(const msa_synth *s, uint64_t salt, const uint8_t *labels,
                                        const float *image, int32_t size, int32_t min_area,
                                        msa_synth_target *out, msa_error *err);
/* Its pixels on a map (size, size) of any view, 0 or 1; `seed_x, seed_y` name the piece, when it is one: the
 * piece there, or else the largest. Returns the area. Errors (as -1): no memory. */
int32_t msa_synth_mask(const msa_synth *s, const msa_synth_target *t, const uint8_t *labels, int32_t size,
                       int32_t seed_x, int32_t seed_y, uint8_t *mask);

/* A picture and what is to be found in it. The memory is the caller's. */
typedef struct msa_synth_picture {
    int32_t depth, size, targets_max;
    float *image;       /* (depth, size, size) */
    uint8_t *targets;   /* (targets_max, depth, size, size), 0 or 1 */
    int32_t n_targets;  /* 1 .. targets_max */
    int32_t rows, cols; /* how much of the picture is used; the rest is 0 */
} msa_synth_picture;

/**
 * A picture and objects of it, as the trainer wants them: a scene, a target found on a quick view of it, and,
 * mostly, a view around that target with a margin. The first target is that one; more follow where the
 * picture shows more, each unlike the others (IoU below 0.9). None is empty on plane depth / 2.
 * Errors: MSA_E_NOMEM, MSA_E_INVALID (sizes).
 */
MSA_NODISCARD msa_status msa_synth_sample(uint64_t seed, uint64_t index, msa_synth_picture *p,
                                          msa_error *err);

#endif
