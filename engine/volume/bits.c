#include "engine/volume/bits.h"

#include <stdlib.h>

#include "engine/volume/propagate.h"

enum { WORD = 64 };

msa_status msa_bits_pack(msa_bits *out, const uint8_t *mask, int32_t cols, msa_region region, msa_error *err)
{
    const msa_mask_stats stats = msa_mask_measure(mask, cols, region);
    *out = (msa_bits){.box = stats.box, .area = stats.area};
    if (stats.area == 0) return MSA_OK;
    const msa_region b = stats.box;
    out->first_word = b.x0 / WORD;
    out->row_words = (b.x1 - 1) / WORD - out->first_word + 1;
    out->words = calloc((size_t)(b.y1 - b.y0) * (size_t)out->row_words, sizeof *out->words);
    if (!out->words) return msa_fail(err, MSA_E_NOMEM, "out of memory for a mask");
    for (int32_t y = b.y0; y < b.y1; y++) {
        const uint8_t *from = mask + (size_t)y * (size_t)cols;
        uint64_t *to = out->words + (size_t)(y - b.y0) * (size_t)out->row_words;
        for (int32_t x = b.x0; x < b.x1; x++)
            to[x / WORD - out->first_word] |= (uint64_t)(from[x] != 0) << (x % WORD);
    }
    return MSA_OK;
}

void msa_bits_clear(msa_bits *b)
{
    free(b->words);
    *b = (msa_bits){0};
}

void msa_bits_unpack(const msa_bits *b, int32_t cols, uint8_t *mask)
{
    for (int32_t y = b->box.y0; y < b->box.y1; y++) {
        const uint64_t *from = b->words + (size_t)(y - b->box.y0) * (size_t)b->row_words;
        uint8_t *to = mask + (size_t)y * (size_t)cols;
        for (int32_t x = b->box.x0; x < b->box.x1; x++)
            if (from[x / WORD - b->first_word] >> (x % WORD) & 1u) to[x] = 1;
    }
}

static int64_t in_both(const msa_bits *a, const msa_bits *b)
{
    const msa_region r = msa_region_intersect(a->box, b->box);
    int64_t n = 0;
    if (r.x0 >= r.x1 || r.y0 >= r.y1) return 0;
    const int32_t first = r.x0 / WORD, last = (r.x1 - 1) / WORD;
    for (int32_t y = r.y0; y < r.y1; y++) {
        const uint64_t *p = a->words + (size_t)(y - a->box.y0) * (size_t)a->row_words;
        const uint64_t *q = b->words + (size_t)(y - b->box.y0) * (size_t)b->row_words;
        for (int32_t w = first; w <= last; w++)
            n += __builtin_popcountll(p[w - a->first_word] & q[w - b->first_word]);
    }
    return n;
}

double msa_bits_iou(const msa_bits *a, const msa_bits *b)
{
    const int64_t both = in_both(a, b), either = a->area + b->area - both;
    return either > 0 ? (double)both / (double)either : 0;
}
