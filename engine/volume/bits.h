/* A mask of one slice, a bit a pixel, no larger than its box. */
#ifndef MSA_ENGINE_VOLUME_BITS_H
#define MSA_ENGINE_VOLUME_BITS_H

#include "engine/base/error.h"
#include "engine/volume/geometry.h"

typedef struct msa_bits {
    msa_region box; /* tight; empty when area is 0 */
    int64_t area;
    int32_t first_word, row_words; /* words of a row lie on multiples of 64 columns of the slice */
    uint64_t *words;               /* (box rows, row_words); NULL when area is 0 */
} msa_bits;

/* mask (.., cols), 0 or 1, of which only the region is looked at. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_bits_pack(msa_bits *out, const uint8_t *mask, int32_t cols, msa_region region,
                                       msa_error *err);
void msa_bits_clear(msa_bits *b);
/* Sets mask (.., cols) to 1 where the bits are. */
void msa_bits_unpack(const msa_bits *b, int32_t cols, uint8_t *mask);
/* Pixels in both, over pixels in either; 0 when both are empty. */
double msa_bits_iou(const msa_bits *a, const msa_bits *b);

#endif
