/* Connected parts of a slice's mask: small holes filled, small islands removed. */
#ifndef MSA_ENGINE_VOLUME_PARTS_H
#define MSA_ENGINE_VOLUME_PARTS_H

#include <stdint.h>

/**
 * mask (rows, cols), 0 or 1. First every 8-connected part outside the mask that has fewer than `least` pixels
 * becomes part of it, then every such part of the mask is removed: nothing is left when all were small.
 * list (rows * cols): scratch. Errors: none. Source: post-processing of arXiv:2304.02643, appendix B.
 */
void msa_parts_clean(uint8_t *mask, int32_t rows, int32_t cols, int64_t least, int32_t *list);

#endif
