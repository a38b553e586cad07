#include "dicom/seg/pack.h"

#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifndef __SSE2__
/* Eight mask bytes become eight bits without a branch: 1 for each non-zero byte, then one multiplication
 * moves the lowest bit of byte k to bit 56 + k; no two products meet, so nothing carries. */
static unsigned gather8(const uint8_t *mask)
{
    uint64_t x;
    memcpy(&x, mask, sizeof x);
    x = le64toh(x);
    x = ((x | ((x & 0x7f7f7f7f7f7f7f7fULL) + 0x7f7f7f7f7f7f7f7fULL)) >> 7) & 0x0101010101010101ULL;
    return (unsigned)((x * 0x0102040810204080ULL) >> 56);
}
#endif

static uint64_t gather64(const uint8_t *mask)
{
    uint64_t w = 0;
#ifdef __SSE2__ /* every x86-64 has it: the sign bits of sixteen comparisons at once */
    const __m128i zero = _mm_setzero_si128();
    for (unsigned i = 0; i < 4; i++) {
        __m128i x;
        memcpy(&x, mask + 16 * i, sizeof x);
        w |= (uint64_t)((unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, zero)) ^ 0xffffu) << (16 * i);
    }
#else
    for (unsigned i = 0; i < 8; i++)
        w |= (uint64_t)gather8(mask + 8 * i) << (8 * i);
#endif
    return w;
}

static uint64_t gather_rest(const uint8_t *mask, size_t n)
{
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++)
        w |= (uint64_t)(mask[i] != 0) << i;
    return w;
}

uint64_t dicom_pack_size(uint64_t bits)
{
    const uint64_t bytes = bits / 8 + (bits % 8 != 0);
    return bytes + bytes % 2;
}

/* Writes the low `bits` bits of w behind the `shift` bits that *out holds already. */
static void put_rest(uint8_t *out, uint64_t w, unsigned shift, size_t bits)
{
    unsigned keep = *out & ((1u << shift) - 1u);
    for (size_t end = shift + bits; end > 0; end = end > 8 ? end - 8 : 0) {
        *out++ = (uint8_t)(keep | (unsigned)(w << shift & 0xff));
        w >>= 8 - shift;
        keep = 0;
        shift = 0;
    }
}

uint64_t dicom_pack_append(uint8_t *out, uint64_t at, const uint8_t *mask, size_t n)
{
    const unsigned shift = (unsigned)(at % 8);
    uint8_t *p = out + at / 8;
    uint64_t carry = shift ? *p & ((1u << shift) - 1u) : 0;
    size_t i = 0;
    for (; n - i >= 64; i += 64, p += 8) {
        const uint64_t w = gather64(mask + i), v = htole64(carry | w << shift);
        memcpy(p, &v, sizeof v);
        carry = shift ? w >> (64 - shift) : 0;
    }
    if (shift && i) *p = (uint8_t)carry;
    if (i < n) put_rest(p, gather_rest(mask + i, n - i), shift, n - i);
    return at + n;
}

void dicom_pack_words(uint64_t *words, const uint8_t *mask, size_t n)
{
    size_t i = 0;
    for (; n - i >= 64; i += 64)
        *words++ = gather64(mask + i);
    if (i < n) *words = gather_rest(mask + i, n - i);
}

/* memcmp() of a block with itself, one byte on, is the fastest walk that the C library has. */
static bool is_zero(const uint8_t *mask, size_t n)
{
    return mask[0] == 0 && memcmp(mask, mask + 1, n - 1) == 0;
}

bool dicom_pack_range(const uint8_t *mask, size_t n, size_t *first, size_t *end)
{
    enum { STEP = 1024 };
    *first = 0;
    while (*first < n && is_zero(mask + *first, n - *first < STEP ? n - *first : STEP))
        *first += STEP;
    if (*first >= n) return false;
    *end = n;
    for (size_t last = (n - 1) / STEP * STEP; is_zero(mask + last, *end - last); last -= STEP)
        *end = last;
    return true;
}
