#include "dicom/annot/charset.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcspchrs.h"

#include <cstdint>

namespace dicom
{
namespace
{

/* Length of the valid UTF-8 sequence at s[i], 0 when there is none (RFC 3629: no overlong forms, no
 * surrogates). */
size_t sequence_at(const std::string &s, size_t i)
{
    const auto byte = [&](size_t k) { return k < s.size() ? uint8_t(s[k]) : uint8_t{0}; };
    const uint8_t a = byte(i);
    const size_t n = a < 0x80                ? 1
                     : a >= 0xc2 && a < 0xe0 ? 2
                     : a >= 0xe0 && a < 0xf0 ? 3
                     : a >= 0xf0 && a < 0xf5 ? 4
                                             : 0;
    for (size_t k = 1; k < n; k++)
        if ((byte(i + k) & 0xc0) != 0x80) return 0;
    const uint8_t b = byte(i + 1);
    if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f) || (a == 0xf0 && b < 0x90) ||
        (a == 0xf4 && b > 0x8f))
        return 0;
    return n;
}

bool is_utf8(const std::string &s)
{
    for (size_t i = 0; i < s.size();) {
        const size_t n = sequence_at(s, i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

bool is_ascii(const std::string &s)
{
    for (const char c : s)
        if (uint8_t(c) >= 0x80 || c == 0x1b) return false; /* ESC switches code pages (ISO 2022) */
    return true;
}

std::string from_latin1(const std::string &s)
{
    std::string out;
    for (const char c : s) {
        const uint8_t b = uint8_t(c);
        if (b < 0x80) {
            out += c;
        } else {
            out += char(0xc0 | b >> 6);
            out += char(0x80 | (b & 0x3f));
        }
    }
    return out;
}

std::string by_dcmtk(const std::string &s, const std::string &charset)
{
    DcmSpecificCharacterSet converter;
    OFString out;
    const bool done = converter.selectCharacterSet(charset.c_str(), "ISO_IR 192").good() &&
                      converter.convertString(s.c_str(), s.size(), out, "\\^=").good();
    return done ? std::string(out.c_str(), out.length()) : std::string();
}

std::string convert(const std::string &s, const std::string &charset)
{
    if (is_ascii(s)) return s;
    if (charset == "ISO_IR 100" || charset == "ISO 2022 IR 100") return from_latin1(s);
    if (charset == "ISO_IR 192") return s;
    /* Non-ASCII text of an object that declares none: today's writers mean UTF-8, yesterday's meant Latin-1.
     */
    if (charset.empty() || charset == "ISO_IR 6" || charset == "ISO 2022 IR 6")
        return is_utf8(s) ? s : from_latin1(s);
    return by_dcmtk(s, charset);
}

} // namespace

std::string to_utf8(const std::string &bytes, const std::string &charset)
{
    std::string s = convert(bytes, charset);
    if ((s.empty() && !bytes.empty()) || !is_utf8(s)) {
        s = bytes;
        for (char &c : s)
            if (uint8_t(c) >= 0x80) c = '?';
    }
    std::string out;
    for (size_t i = 0; i < s.size();) { /* C0, DEL and C1 (U+0080..U+009F) become blanks */
        const size_t n = sequence_at(s, i);
        const uint8_t a = uint8_t(s[i]);
        const bool control = a < 0x20 || a == 0x7f || (a == 0xc2 && uint8_t(s[i + 1]) < 0xa0);
        out += control ? std::string(" ") : s.substr(i, n);
        i += n;
    }
    const size_t first = out.find_first_not_of(' ');
    return first == std::string::npos ? std::string()
                                      : out.substr(first, out.find_last_not_of(' ') - first + 1);
}

std::string cut_utf8(const std::string &s, size_t characters, size_t size)
{
    size_t end = 0;
    for (; end < s.size() && characters > 0; characters--) {
        const size_t n = sequence_at(s, end);
        if (n == 0 || end + n > size - 1) break;
        end += n;
    }
    return s.substr(0, end);
}

} // namespace dicom
