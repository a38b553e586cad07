/* Smooth noise in three dimensions: the raw material of shapes and textures. */
#ifndef MSA_ENGINE_TRAIN_SYNTH_NOISE_H
#define MSA_ENGINE_TRAIN_SYNTH_NOISE_H

#include "engine/train/data_random.h"

typedef struct synth_field {
    float turn[9];   /* rotation times frequency: noise on a lattice has axes, and these must not show */
    float offset[3]; /* which part of the endless lattice */
    int32_t octaves;
    float gain; /* of an octave over the one before */
} synth_field;

/* stretch: frequency along a random axis, relative to the others; 1: isotropic. */
synth_field synth_field_make(msa_rng *r, float frequency, float stretch, int32_t octaves, float gain);
/* About -1..1, mean 0. */
float synth_field_at(const synth_field *f, float x, float y, float z);
/* Rotation by three random angles, row-major; each limited to +-limit (radians). */
void synth_rotation(msa_rng *r, float limit, float out[9]);
/* Fills the lattice; call before synth_field_at(). Threads: any. */
void synth_noise_init(void);

#endif
