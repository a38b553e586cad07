/* Rows of masks, bytes of 0 or 1, looked at eight at a time. */
#ifndef MSA_ENGINE_VOLUME_MASK_ROW_H
#define MSA_ENGINE_VOLUME_MASK_ROW_H

#include <stdint.h>
#include <string.h>

static inline int64_t msa_mask_row_count(const uint8_t *row, int32_t n)
{
    int64_t set = 0;
    int32_t i = 0;
    for (uint64_t eight; i + 8 <= n; i += 8) {
        memcpy(&eight, row + i, sizeof eight);
        set += (int64_t)(eight * UINT64_C(0x0101010101010101) >> 56); /* the sum of all, in the highest */
    }
    for (; i < n; i++)
        set += row[i];
    return set;
}

/* to |= from */
static inline void msa_mask_row_add(uint8_t *to, const uint8_t *from, int32_t n)
{
    int32_t i = 0;
    for (uint64_t a, b; i + 8 <= n; i += 8) {
        memcpy(&a, to + i, sizeof a);
        memcpy(&b, from + i, sizeof b);
        a |= b;
        memcpy(to + i, &a, sizeof a);
    }
    for (; i < n; i++)
        to[i] |= from[i];
}

#endif
