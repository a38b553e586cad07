#include "dicom/seg/text.h"

#include "dicom/seg/coded_sets.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
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

char32_t fallback(char32_t c)
{
    return c >= 0xc0 && c < 0x180 ? static_cast<unsigned char>(base_letters[c - 0xc0]) : U'?';
}

} // namespace

dicom::seg::charset::charset(const std::string &specific_character_set)
    : name_(specific_character_set), form_(form::ascii)
{
    for (size_t at = 0; at <= name_.size();) {
        const size_t cut = std::min(name_.find('\\', at), name_.size());
        std::string value = name_.substr(at, cut - at);
        value.erase(0, value.find_first_not_of(' '));
        value.erase(value.find_last_not_of(' ') + 1);
        const bool latin1 = value == "ISO_IR 100" || value == "ISO 2022 IR 100";
        const coded_set *set = find_coded_set(value);
        if (at == 0) {
            form_ = latin1 ? form::latin1 : value == "ISO_IR 192" ? form::utf8 : form::ascii;
            first_ = set;
        } else if (set) {
            more_.push_back(set);
        }
        at = cut + 1;
    }
}

/* In the set that the text begins in. */
bool dicom::seg::charset::plain(std::string &out, char32_t c) const
{
    if (c < 0x80)
        out = std::string(1, static_cast<char>(c));
    else if (form_ == form::utf8)
        out = to_utf8(c);
    else if (form_ == form::latin1 && c >= 0xa0 && c < 0x100)
        out = std::string(1, static_cast<char>(c));
    else
        out = first_ ? bytes_in(*first_, to_utf8(c)) : std::string();
    return !out.empty();
}

/* Code extensions (PS3.5 section 6.1.2.5): an escape leads to another set. What it puts in the place of ASCII
 * (G0) is taken back before the next ASCII character and at the end; what it puts beside ASCII (G1) stays. */
class dicom::seg::charset::writer
{
  public:
    explicit writer(const charset &set) : set_(set), g1_(set.first_) {}

    bool add(char32_t c)
    {
        std::string bytes;
        if (set_.plain(bytes, c)) {
            to_ascii();
            if (c >= 0x80 && g1_ != set_.first_) /* its own G1 again; Latin-1 has no table */
                out_ += set_.first_ ? set_.first_->escape : "\x1b-A";
            if (c >= 0x80) g1_ = set_.first_;
            out_ += bytes;
            return true;
        }
        for (const coded_set *more : set_.more_) {
            bytes = bytes_in(*more, to_utf8(c));
            if (bytes.empty()) continue;
            const bool in_g0 = more->how == coding::kanji || more->how == coding::kanji_more;
            const coded_set *&now = in_g0 ? g0_ : g1_;
            if (!in_g0) to_ascii();
            if (now != more) out_ += more->escape;
            now = more;
            out_ += bytes;
            return true;
        }
        return false;
    }
    std::string end()
    {
        to_ascii();
        return out_;
    }
    void to_ascii()
    {
        if (g0_) out_ += set_.first_ && set_.first_->how == coding::katakana ? "\x1b(J" : "\x1b(B";
        g0_ = nullptr;
    }

  private:
    const charset &set_;
    const coded_set *g0_ = nullptr, *g1_;
    std::string out_;
};

bool dicom::seg::charset::holds(const std::string &utf8) const
{
    writer to(*this);
    for (size_t i = 0; i < utf8.size();) {
        const char32_t c = next_char(utf8, i);
        if (c >= 0xa0 && !to.add(c)) return false;
    }
    return true;
}

std::string dicom::seg::charset::encode(const std::string &utf8, size_t max_chars) const
{
    writer to(*this);
    const size_t last = utf8.find_last_not_of(' ');
    size_t chars = 0, i = utf8.find_first_not_of(' ');
    for (; i < utf8.size() && i <= last && chars < max_chars; chars++) {
        char32_t c = next_char(utf8, i);
        if (c < 0x20 || (c >= 0x7f && c < 0xa0)) c = U' ';
        if (c == U'\\') c = U'/';
        if (!to.add(c)) (void)to.add(fallback(c));
    }
    std::string out = to.end();
    while (!out.empty() && out.back() == ' ')
        out.pop_back();
    return out;
}

dicom::seg::charset dicom::seg::choose_charset(DcmItem &image, const std::vector<std::string> &texts)
{
    OFString name;
    if (image.findAndGetOFStringArray(DCM_SpecificCharacterSet, name).bad()) name.clear();
    const charset own(std::string(name.c_str(), name.length()));
    const bool enough =
        std::all_of(texts.begin(), texts.end(), [&](const std::string &text) { return own.holds(text); });
    /* Escapes are ASCII to DCMTK: with sets to switch to, nothing says that there are none. */
    const bool extended =
        own.name().find('\\') != std::string::npos || image.containsExtendedCharacters(OFTrue);
    return enough || extended ? own : charset("ISO_IR 192");
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
