#include "dicom/seg/text.h"

#include <iconv.h>

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace
{

/* Base letters of U+00C0 to U+017F, for sets that lack the accented one. */
const char base_letters[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTsaaaaaaaceeeeiiiidnooooo/ouuuuyty"
                            "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlLlLl"
                            "NnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
static_assert(sizeof base_letters == 0x180 - 0xc0 + 1, "one letter for each code point");

struct named_set {
    const char *dicom, *iconv;
};

/* PS3.3 C.12.1.1.2, those with one byte a character, and the two Chinese ones that need no escapes. */
const named_set sets[] = {
    {"ISO_IR 101", "ISO-8859-2"}, {"ISO_IR 109", "ISO-8859-3"}, {"ISO_IR 110", "ISO-8859-4"},
    {"ISO_IR 144", "ISO-8859-5"}, {"ISO_IR 127", "ISO-8859-6"}, {"ISO_IR 126", "ISO-8859-7"},
    {"ISO_IR 138", "ISO-8859-8"}, {"ISO_IR 148", "ISO-8859-9"}, {"ISO_IR 203", "ISO-8859-15"},
    {"ISO_IR 166", "TIS-620"},    {"GB18030", "GB18030"},       {"GBK", "GBK"},
};

/* The code point that starts at s[i], which moves on; a byte that is no UTF-8 is '?'. */
char32_t next_char(const std::string &s, size_t &i)
{
    const unsigned char first = static_cast<unsigned char>(s[i++]);
    if (first < 0x80) return first;
    const int more = first >= 0xf0 && first < 0xf8 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first >= 0xf8 || i + static_cast<size_t>(more) > s.size()) return U'?';
    char32_t c = first & (0x3fu >> more);
    for (int k = 0; k < more; k++) {
        const unsigned char b = static_cast<unsigned char>(s[i + static_cast<size_t>(k)]);
        if ((b & 0xc0) != 0x80) return U'?';
        c = c << 6 | (b & 0x3fu);
    }
    i += static_cast<size_t>(more);
    const char32_t least[] = {0, 0x80, 0x800, 0x10000};
    return c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? U'?' : c;
}

std::string to_utf8(char32_t c)
{
    std::string s;
    if (c < 0x80) {
        s += static_cast<char>(c);
    } else if (c < 0x800) {
        s += static_cast<char>(0xc0 | c >> 6);
        s += static_cast<char>(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        s += static_cast<char>(0xe0 | c >> 12);
        s += static_cast<char>(0x80 | (c >> 6 & 0x3f));
        s += static_cast<char>(0x80 | (c & 0x3f));
    } else {
        s += static_cast<char>(0xf0 | c >> 18);
        s += static_cast<char>(0x80 | (c >> 12 & 0x3f));
        s += static_cast<char>(0x80 | (c >> 6 & 0x3f));
        s += static_cast<char>(0x80 | (c & 0x3f));
    }
    return s;
}

std::string fallback(char32_t c)
{
    return std::string(1, c >= 0xc0 && c < 0x180 ? base_letters[c - 0xc0] : '?');
}

} // namespace

/* Only the first value counts: the others are reached by escapes (ISO 2022), which we never write. */
dicom::seg::charset::charset(const std::string &specific_character_set) : form_(form::ascii)
{
    std::string name = specific_character_set.substr(0, specific_character_set.find('\\'));
    while (!name.empty() && name.back() == ' ')
        name.pop_back();
    if (name.compare(0, 12, "ISO 2022 IR ") == 0) name = "ISO_IR " + name.substr(12);
    if (name == "ISO_IR 100") form_ = form::latin1;
    if (name == "ISO_IR 192") form_ = form::utf8;
    for (const named_set &s : sets)
        if (name == s.dicom) {
            form_ = form::other;
            iconv_name_ = s.iconv;
        }
}

std::string dicom::seg::charset::one(char32_t c) const
{
    if (c < 0x80) return std::string(1, static_cast<char>(c));
    if (form_ == form::utf8) return to_utf8(c);
    if (form_ == form::latin1)
        return c >= 0xa0 && c < 0x100 ? std::string(1, static_cast<char>(c)) : fallback(c);
    if (form_ == form::ascii) return fallback(c);
    const iconv_t cd = iconv_open(iconv_name_.c_str(), "UTF-8");
    if (cd == reinterpret_cast<iconv_t>(-1)) return fallback(c);
    std::string in = to_utf8(c);
    char buffer[16], *from = &in[0], *to = buffer;
    size_t from_n = in.size(), to_n = sizeof buffer;
    const size_t rc = iconv(cd, &from, &from_n, &to, &to_n);
    (void)iconv_close(cd);
    return rc == 0 && from_n == 0 ? std::string(buffer, to) : fallback(c);
}

std::string dicom::seg::charset::encode(const std::string &utf8, size_t max_chars) const
{
    std::string out;
    size_t chars = 0, i = utf8.find_first_not_of(' ');
    for (; i < utf8.size() && chars < max_chars; chars++) {
        const char32_t c = next_char(utf8, i);
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            out += ' ';
        else
            out += c == U'\\' ? std::string("/") : one(c);
    }
    while (!out.empty() && out.back() == ' ')
        out.pop_back();
    return out;
}

std::string dicom::seg::decimal_string(double value)
{
    char text[64];
    std::snprintf(text, sizeof text, "%.6f", value);
    if (std::strlen(text) > 16 || (value != 0 && std::fabs(value) < 1e-3)) {
        std::snprintf(text, sizeof text, "%.9g", value);
        return text;
    }
    std::string s(text);
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s == "-0" ? "0" : s;
}

bool dicom::seg::uid_valid(const char *uid)
{
    const size_t n = std::strlen(uid);
    if (n == 0 || n > 64) return false;
    for (size_t i = 0; i < n; i++) {
        const bool starts = i == 0 || uid[i - 1] == '.';
        if (uid[i] == '.' ? starts || i + 1 == n : !std::isdigit(static_cast<unsigned char>(uid[i])))
            return false;
        if (starts && uid[i] == '0' && i + 1 < n && uid[i + 1] != '.') return false;
    }
    return true;
}

bool dicom::seg::date_valid(const std::string &da)
{
    if (da.size() != 8 || da.find_first_not_of("0123456789") != std::string::npos) return false;
    const int month = (da[4] - '0') * 10 + da[5] - '0', day = (da[6] - '0') * 10 + da[7] - '0';
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

bool dicom::seg::time_valid(const std::string &tm)
{
    const size_t whole = tm.find('.') == std::string::npos ? tm.size() : tm.find('.');
    if (whole < 2 || whole > 6 || whole % 2 != 0 || tm.size() > 13) return false;
    if (whole < tm.size() && (whole != 6 || whole + 1 == tm.size())) return false;
    for (size_t i = 0; i < tm.size(); i++)
        if (i != whole && !std::isdigit(static_cast<unsigned char>(tm[i]))) return false;
    return tm.compare(0, 2, "24") < 0 && (whole < 4 || tm[2] < '6') && (whole < 6 || tm[4] < '7');
}
