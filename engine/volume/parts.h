/* Connected parts of a slice's mask: their boxes; small holes filled, small islands removed. */
#ifndef MSA_ENGINE_VOLUME_PARTS_H
#define MSA_ENGINE_VOLUME_PARTS_H

#include <stdint.h>

#include "engine/volume/geometry.h"

/**
 * mask (rows, cols), 0 or 1. First every 8-connected part outside the mask that has fewer than `least` pixels
 * becomes part of it, then every such part of the mask is removed: nothing is left when all were small.
 * list (rows * cols): scratch. Errors: none. Source: post-processing of arXiv:2304.02643, appendix B.
 */
void msa_parts_clean(uint8_t *mask, int32_t rows, int32_t cols, int64_t least, int32_t *list);

/**
 * The boxes of the 8-connected parts of mask (rows, cols), 0 or not, in reading order of their first pixels;
 * parts beyond `most` - 1 share the last box. boxes (most); work (rows * cols), list (rows * cols): scratch.
 * Returns how many.
 */
int32_t msa_parts_boxes(const uint8_t *mask, int32_t rows, int32_t cols, msa_region *boxes, int32_t most,
                        uint8_t *work, int32_t *list);

#endif
