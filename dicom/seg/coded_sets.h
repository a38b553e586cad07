/* Private: characters in the sets that a Specific Character Set may name (PS3.3 C.12.1.1.2). */
#ifndef DICOM_SEG_CODED_SETS_H
#define DICOM_SEG_CODED_SETS_H

#include <string>

namespace dicom
{
namespace seg
{

enum class coding {
    single,   /* one byte, in G1 */
    katakana, /* JIS X 0201: one byte in G1 */
    kanji,    /* JIS X 0208: two bytes in G0 */
    kanji_more /* JIS X 0212: two bytes in G0 */,
    pair, /* two bytes in G1: Korean, Chinese */
    whole /* a code of its own, without escapes: GB18030, GBK */
};

struct coded_set {
    const char *number; /* what follows "ISO_IR " or "ISO 2022 IR "; a name where there is no number */
    const char *iconv;
    const char *escape; /* that leads to it; "" when there is none */
    coding how;
};

/* The set of one value of Specific Character Set, NULL for one that has only ASCII or is not known. Latin-1
 * and UTF-8 are not among them: they need no table. */
const coded_set *find_coded_set(const std::string &value);

/* The bytes of a character (in UTF-8) without escape; "" when the set has no such character. */
std::string bytes_in(const coded_set &set, const std::string &character);

} // namespace seg
} // namespace dicom
#endif
