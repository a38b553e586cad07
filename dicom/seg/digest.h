/* Private: what a segment's pixels on one slice come to, so that the read-back need not walk the mask again.
 * The writer takes it from the mask's bytes; the read-back, from the bits of the file. */
#ifndef DICOM_SEG_DIGEST_H
#define DICOM_SEG_DIGEST_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <endian.h>

namespace dicom
{
namespace seg
{

/* Of the eight pixels from 8 * group on, as bytes of 0 or 1, the first one lowest. A slice's digest is the
 * sum of those of its groups; a group without a pixel adds nothing, so that an empty slice has 0 and may be
 * left out. Against mishaps, not against malice: two different slices agree once in 2^64. Mixer: J. Maiga. */
inline uint64_t digest_group(size_t group, uint64_t eight)
{
    uint64_t x = eight * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(group) * 0xd1b54a32d192ed03u;
    x = (x ^ x >> 32) * 0xe9846af9b1a615du;
    x = (x ^ x >> 32) * 0xe9846af9b1a615du;
    return eight ? x ^ x >> 28 : 0;
}

/* 1 for each byte that is not 0, as they lie in memory. */
inline uint64_t ones(uint64_t x)
{
    x = le64toh(x);
    return (x | ((x & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu)) >> 7 & 0x0101010101010101u;
}

/* Of n pixels of a mask, any byte but 0 set; `at`: place of the first in its slice, a multiple of 8. */
inline uint64_t digest_pixels(const uint8_t *mask, size_t n, size_t at)
{
    uint64_t sum = 0;
    for (; n >= 64; n -= 64, at += 64, mask += 64) {
        uint64_t x[8];
        std::memcpy(x, mask, sizeof x);
        if ((x[0] | x[1] | x[2] | x[3] | x[4] | x[5] | x[6] | x[7]) == 0) continue;
        for (size_t k = 0; k < 8; k++)
            sum += digest_group(at / 8 + k, ones(x[k]));
    }
    for (size_t p = 0; p < n; p += 8) {
        uint64_t x = 0;
        std::memcpy(&x, mask + p, n - p < 8 ? n - p : 8);
        sum += digest_group((at + p) / 8, ones(x));
    }
    return sum;
}

} // namespace seg
} // namespace dicom
#endif
