#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcelem.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace dicom
{

/* DCMTK takes time by the square of the number of values here, and no value that is read as text comes near
 * this. */
constexpr Uint32 TEXT_MAX = 65536;

std::string text(DcmItem &item, const DcmTagKey &tag)
{
    OFString value;
    DcmElement *element = nullptr;
    if (item.findAndGetElement(tag, element).bad() || element->getLength() > TEXT_MAX) return std::string();
    if (item.findAndGetOFStringArray(tag, value).bad()) return std::string();
    std::string s(value.c_str(), std::strlen(value.c_str())); /* a NUL in the middle ends it */
    const size_t first = s.find_first_not_of(' ');
    if (first == std::string::npos) return std::string();
    return s.substr(first, s.find_last_not_of(' ') - first + 1);
}

bool is_uid(const std::string &s)
{
    if (s.empty() || s.size() > 64 || s.front() == '.' || s.back() == '.') return false;
    if (s.find_first_not_of("0123456789.") != std::string::npos) return false;
    return s.find("..") == std::string::npos;
}

static bool parse_number(const std::string &s, double &out)
{
    const size_t first = s.find_first_not_of(' ');
    if (first == std::string::npos) return false;
    const char *p = s.data() + first, *const end = s.data() + s.find_last_not_of(' ') + 1;
    if (*p == '+') p++; /* from_chars takes no plus sign */
    for (const char *c = p; c < end; c++)
        if (std::strchr("0123456789+-.eE", *c) == nullptr || *c == '\0') return false; /* no inf, no nan */
    const std::from_chars_result r = std::from_chars(p, end, out);
    return r.ec == std::errc() && r.ptr == end && std::isfinite(out);
}

bool parse_numbers(const std::string &s, std::vector<double> &out)
{
    out.clear();
    for (size_t at = 0; at <= s.size();) {
        const size_t cut = std::min(s.find('\\', at), s.size());
        double value = 0;
        if (!parse_number(s.substr(at, cut - at), value)) return false;
        out.push_back(value);
        at = cut + 1;
    }
    return true;
}

static Find find_list(DcmItem &item, const DcmTagKey &tag, std::vector<double> &out)
{
    const std::string s = text(item, tag);
    if (s.empty()) return FIND_ABSENT;
    return parse_numbers(s, out) ? FIND_OK : FIND_BAD;
}

Find find_numbers(DcmItem &item, const DcmTagKey &tag, size_t n, double *out)
{
    std::vector<double> list;
    const Find found = find_list(item, tag, list);
    if (found != FIND_OK) return found;
    if (list.size() != n) return FIND_BAD;
    std::copy(list.begin(), list.end(), out);
    return FIND_OK;
}

Find find_number(DcmItem &item, const DcmTagKey &tag, double &out)
{
    std::vector<double> list;
    const Find found = find_list(item, tag, list);
    if (found == FIND_OK) out = list.front();
    return found;
}

Find find_int(DcmItem &item, const DcmTagKey &tag, int32_t &out)
{
    double value = 0;
    const Find found = find_number(item, tag, value);
    if (found != FIND_OK) return found;
    if (value != std::floor(value) || std::fabs(value) > 2147483647.0) return FIND_BAD;
    out = int32_t(value);
    return FIND_OK;
}

Find find_u16(DcmItem &item, const DcmTagKey &tag, uint16_t &out)
{
    DcmElement *element = nullptr;
    if (item.findAndGetElement(tag, element).bad() || element == nullptr || element->getLength() == 0)
        return FIND_ABSENT;
    Uint16 u = 0;
    Sint16 s = 0;
    if (element->getUint16(u).good())
        out = u;
    else if (element->getSint16(s).good())
        out = uint16_t(s);
    else
        return FIND_BAD;
    return FIND_OK;
}

std::string code_string(DcmItem &item, const DcmTagKey &tag)
{
    std::string s = text(item, tag);
    const bool good =
        s.size() <= 16 && s.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _") == std::string::npos;
    return good ? s : std::string();
}

void copy(char *to, size_t size, const std::string &from)
{
    const size_t n = std::min(size - 1, from.size());
    std::memcpy(to, from.data(), n);
    std::memset(to + n, 0, size - n); /* the whole field: it is hashed and sent as bytes */
}

} // namespace dicom
