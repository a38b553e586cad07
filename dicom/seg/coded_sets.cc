#include "dicom/seg/coded_sets.h"

#include <iconv.h>

namespace
{

using dicom::seg::coded_set;
using dicom::seg::coding;

const coded_set sets[] = {
    {"101", "ISO-8859-2", "\x1b-B", coding::single},
    {"109", "ISO-8859-3", "\x1b-C", coding::single},
    {"110", "ISO-8859-4", "\x1b-D", coding::single},
    {"144", "ISO-8859-5", "\x1b-L", coding::single},
    {"127", "ISO-8859-6", "\x1b-G", coding::single},
    {"126", "ISO-8859-7", "\x1b-F", coding::single},
    {"138", "ISO-8859-8", "\x1b-H", coding::single},
    {"148", "ISO-8859-9", "\x1b-M", coding::single},
    {"203", "ISO-8859-15", "\x1b-b", coding::single},
    {"166", "TIS-620", "\x1b-T", coding::single},
    {"13", "EUC-JP", "\x1b)I", coding::katakana},
    {"87", "EUC-JP", "\x1b$B", coding::kanji},
    {"159", "EUC-JP", "\x1b$(D", coding::kanji_more},
    {"149", "EUC-KR", "\x1b$)C", coding::pair},
    {"58", "EUC-CN", "\x1b$)A", coding::pair},
    {"GB18030", "GB18030", "", coding::whole},
    {"GBK", "GBK", "", coding::whole},
};

std::string convert(const char *to_set, const std::string &character)
{
    const iconv_t cd = iconv_open(to_set, "UTF-8");
    if (cd == reinterpret_cast<iconv_t>(-1)) return std::string();
    std::string in = character;
    char buffer[16], *from = &in[0], *to = buffer;
    size_t from_n = in.size(), to_n = sizeof buffer;
    const size_t rc = iconv(cd, &from, &from_n, &to, &to_n);
    (void)iconv_close(cd);
    return rc == 0 && from_n == 0 ? std::string(buffer, to) : std::string();
}

std::string seven_bits(std::string bytes)
{
    for (char &c : bytes)
        c = static_cast<char>(c & 0x7f);
    return bytes;
}

} // namespace

const coded_set *dicom::seg::find_coded_set(const std::string &value)
{
    std::string number = value;
    for (const char *prefix : {"ISO_IR ", "ISO 2022 IR "})
        if (value.compare(0, std::string(prefix).size(), prefix) == 0)
            number = value.substr(std::string(prefix).size());
    for (const coded_set &s : sets)
        if (number == s.number) return &s;
    return nullptr;
}

/* EUC-JP tells its three sets apart by the first byte: 8E katakana, 8F JIS X 0212, else JIS X 0208. */
std::string dicom::seg::bytes_in(const coded_set &set, const std::string &character)
{
    const std::string bytes = convert(set.iconv, character);
    const unsigned char lead = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
    switch (set.how) {
    case coding::single:
        return bytes.size() == 1 && lead >= 0xa0 ? bytes : std::string();
    case coding::katakana:
        return bytes.size() == 2 && lead == 0x8e ? bytes.substr(1) : std::string();
    case coding::kanji:
        return bytes.size() == 2 && lead >= 0xa1 ? seven_bits(bytes) : std::string();
    case coding::kanji_more:
        return bytes.size() == 3 && lead == 0x8f ? seven_bits(bytes.substr(1)) : std::string();
    case coding::pair:
        return bytes.size() == 2 && lead >= 0xa1 ? bytes : std::string();
    case coding::whole:
        return bytes;
    }
    return std::string();
}
