/* Builds DICOM byte streams by hand, wrong ones included. */
#ifndef TESTS_UNIT_READ_BYTES_H
#define TESTS_UNIT_READ_BYTES_H

#include <cstdint>
#include <string>

namespace bytes
{

inline std::string u16(uint16_t v, bool big = false)
{
    const char lo = char(v & 0xff), hi = char(v >> 8);
    return big ? std::string{hi, lo} : std::string{lo, hi};
}

inline std::string u32(uint32_t v, bool big = false)
{
    const std::string hi = u16(uint16_t(v >> 16), big), lo = u16(uint16_t(v), big);
    return big ? hi + lo : lo + hi;
}

inline bool long_form(const std::string &vr)
{
    return vr == "OB" || vr == "OW" || vr == "SQ" || vr == "UN" || vr == "UT" || vr == "UC";
}

/* Tag, VR and a stated length: what follows is the caller's. */
inline std::string head(uint16_t g, uint16_t e, const std::string &vr, uint32_t length, bool big = false)
{
    const std::string tag = u16(g, big) + u16(e, big);
    return long_form(vr) ? tag + vr + std::string(2, '\0') + u32(length, big)
                         : tag + vr + u16(uint16_t(length), big);
}

inline std::string element(uint16_t g, uint16_t e, const std::string &vr, std::string value, bool big = false)
{
    if (value.size() % 2 != 0) value += vr == "UI" || vr == "OB" ? '\0' : ' ';
    return head(g, e, vr, uint32_t(value.size()), big) + value;
}

inline std::string implicit_head(uint16_t g, uint16_t e, uint32_t length)
{
    return u16(g) + u16(e) + u32(length);
}

inline std::string implicit(uint16_t g, uint16_t e, std::string value)
{
    if (value.size() % 2 != 0) value += ' ';
    return implicit_head(g, e, uint32_t(value.size())) + value;
}

inline std::string item(uint32_t length)
{
    return u16(0xfffe) + u16(0xe000) + u32(length);
}
inline std::string item_end()
{
    return u16(0xfffe) + u16(0xe00d) + u32(0);
}
inline std::string sequence_end()
{
    return u16(0xfffe) + u16(0xe0dd) + u32(0);
}

constexpr uint32_t UNDEFINED = 0xffffffffu;

inline const char *const EXPLICIT_LE = "1.2.840.10008.1.2.1";
inline const char *const IMPLICIT_LE = "1.2.840.10008.1.2";
inline const char *const EXPLICIT_BE = "1.2.840.10008.1.2.2";
inline const char *const DEFLATED = "1.2.840.10008.1.2.1.99";
inline const char *const RLE = "1.2.840.10008.1.2.5";
inline const char *const JPEG_2000 = "1.2.840.10008.1.2.4.90";

inline std::string part10(const std::string &syntax, const std::string &dataset)
{
    const std::string meta = element(2, 0x10, "UI", syntax);
    return std::string(128, '\0') + "DICM" + element(2, 0, "UL", u32(uint32_t(meta.size()))) + meta + dataset;
}

/* The attributes of a 2 x 3 CT image, explicit VR little endian, without pixel data. */
inline std::string ct_head()
{
    return element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.2") + element(8, 0x18, "UI", "1.2.3.4") +
           element(8, 0x60, "CS", "CT") + element(0x20, 0x0d, "UI", "1.2.3.1") +
           element(0x20, 0x0e, "UI", "1.2.3.2") + element(0x20, 0x13, "IS", "7") +
           element(0x20, 0x32, "DS", "-1.5\\2\\+3e1") + element(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0") +
           element(0x28, 0x02, "US", u16(1)) + element(0x28, 0x04, "CS", "MONOCHROME2") +
           element(0x28, 0x10, "US", u16(2)) + element(0x28, 0x11, "US", u16(3)) +
           element(0x28, 0x30, "DS", "0.5\\0.25") + element(0x28, 0x100, "US", u16(16)) +
           element(0x28, 0x101, "US", u16(12)) + element(0x28, 0x102, "US", u16(11)) +
           element(0x28, 0x103, "US", u16(0));
}

inline std::string ct_pixels()
{
    return element(0x7fe0, 0x10, "OW", std::string(12, '\1'));
}

} // namespace bytes
#endif
