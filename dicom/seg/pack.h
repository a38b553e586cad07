/* Bits of a BINARY segmentation (PS3.5 section 8.1.1 and annex D): pixel after pixel from the least
 * significant bit on; frames follow each other without byte alignment, so rows x columns may be anything. */
#ifndef DICOM_SEG_PACK_H
#define DICOM_SEG_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of Pixel Data for `bits` pixels, even as DICOM wants it. */
uint64_t dicom_pack_size(uint64_t bits);

/**
 * Writes `n` pixels (any non-zero byte is 1) at bit position `at`, a position all earlier pixels lie below.
 * out  bits from `at` on need not be zero before; the rest of the last byte written becomes zero.
 * Returns at + n. Touches no byte after the last one that holds a pixel.
 */
uint64_t dicom_pack_append(uint8_t *out, uint64_t at, const uint8_t *mask, size_t n);

/* The same n pixels as words, first pixel in bit 0 of words[0]; (n + 63) / 64 words, the last one filled with
 * 0. */
void dicom_pack_words(uint64_t *words, const uint8_t *mask, size_t n);

/* Is any of the n bytes non-zero? If so, none is before *first or from *end on; *first is a multiple of 64,
 * and so is *end unless it is n. */
bool dicom_pack_range(const uint8_t *mask, size_t n, size_t *first, size_t *end);

#ifdef __cplusplus
}
#endif
#endif
