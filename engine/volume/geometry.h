/* Where a DICOM pixel coordinate lies in the network's input, and back; boxes and how they grow. */
#ifndef MSA_ENGINE_VOLUME_GEOMETRY_H
#define MSA_ENGINE_VOLUME_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/config.h"

/* A part of the image takes in_rows x in_cols of the S x S input, from the top-left corner; the rest is
 * padding. */
typedef struct msa_transform {
    int32_t x0, y0;           /* the part's first column and row in the image; 0, 0 when it is all of it */
    int32_t rows, cols;       /* of the part */
    int32_t in_rows, in_cols; /* of the part inside the input */
    int32_t size;             /* S */
} msa_transform;

/* All of an image, by its pixels whatever their spacing: as the published models were trained. */
msa_transform msa_transform_make(msa_geometry geometry, int32_t rows, int32_t cols, int32_t size);

/**
 * Corner coordinates of the image (0,0 is the outer corner of the first pixel) to what the prompt encoder
 * takes, and back.
 *
 * The encoder adds 0.5 to every coordinate, because SAM's are pixel indices and the centre of pixel i lies i
 * + 0.5 from the corner. DICOM's are distances from the corner already, and scaling is only right for
 * distances. So: scale by new/old, then take off the 0.5 that the encoder will add; its Fourier map then sees
 * the exact place. Scaling an index instead, as SAM's own helper does, is off by half a (scale - 1) pixel.
 */
void msa_transform_to_input(const msa_transform *t, float x, float y, float *in_x, float *in_y);
void msa_transform_to_image(const msa_transform *t, float in_x, float in_y, float *x, float *y);

/* In corner coordinates. A box covers the pixels floor(x0) .. ceil(x1) - 1. */
typedef struct msa_box {
    float x0, y0, x1, y1;
} msa_box;

/* Pixels x0 .. x1-1, y0 .. y1-1; empty when x0 >= x1 or y0 >= y1. */
typedef struct msa_region {
    int32_t x0, y0, x1, y1;
} msa_region;

/* A part of an image. Pixels that are not square keep their shape in millimetres (longest side; stretching
 * has no shape to keep), as in training. spacing_mm: between rows, between columns, both above 0. */
msa_transform msa_transform_part(msa_geometry geometry, msa_region part, const float spacing_mm[2],
                                 int32_t size);
msa_region msa_transform_region(const msa_transform *t);

/* The part inside cols x rows. May come out empty: check with msa_box_empty. */
msa_box msa_box_clip(msa_box b, int32_t rows, int32_t cols);
bool msa_box_empty(msa_box b);
msa_box msa_box_intersect(msa_box a, msa_box b);
msa_box msa_box_union(msa_box a, msa_box b);
/* Each side moved out by `fraction` of the box's size along it, at least by `at_least` pixels. */
msa_box msa_box_grow(msa_box b, float fraction, float at_least);
/* t = 0 gives a, t = 1 gives b. */
msa_box msa_box_between(msa_box a, msa_box b, float t);
/* The pixels that the box touches, inside cols x rows. */
msa_region msa_box_region(msa_box b, int32_t rows, int32_t cols);
msa_region msa_region_intersect(msa_region a, msa_region b);
bool msa_region_empty(msa_region r);
msa_box msa_region_box(msa_region r);

#endif
