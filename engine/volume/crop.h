/* How much of a slice the network looks at: all of it, or a square around a box that is small against it. */
#ifndef MSA_ENGINE_VOLUME_CROP_H
#define MSA_ENGINE_VOLUME_CROP_H

#include "engine/volume/geometry.h"

/* A crop is never narrower: there is nothing to be seen in fewer pixels. */
#define MSA_CROP_PIXELS 16
/* From this part of the slice's longer side on a crop would win nothing. */
#define MSA_CROP_WHOLE 0.9F

/* Lengths are compared in millimetres, as in training (engine/train/data_volumes.c). */
typedef struct msa_crop_rule {
    msa_geometry geometry;
    float margin; /* crop_margin of the profile; 0: always the whole slice, by its pixels */
    int32_t rows, cols, size;
    float spacing_mm[2]; /* between rows, between columns, both above 0 */
} msa_crop_rule;

/* A spacing that says nothing (0, not finite) counts as square pixels. */
msa_crop_rule msa_crop_rule_make(const msa_config *config, int32_t rows, int32_t cols,
                                 const float spacing_mm[2]);

msa_transform msa_crop_whole(const msa_crop_rule *rule);

/**
 * The crop for a box inside the slice: whole pixels that hold the box, its longer side in millimetres times
 * 1 + 2 * margin wide and high, centred on the box; moved, not shrunk, to lie inside the slice, and cut where
 * the slice is smaller. Widened to what positive points it does not hold: points (n, 2) corner coordinates.
 */
msa_transform msa_crop_around(const msa_crop_rule *rule, msa_box box, const float *points,
                              const bool *positive, int32_t n);

#endif
