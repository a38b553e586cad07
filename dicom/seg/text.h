/* Private: our own texts as values of a dataset whose Specific Character Set was given by the source. */
#ifndef DICOM_SEG_TEXT_H
#define DICOM_SEG_TEXT_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <cstddef>
#include <string>
#include <vector>

namespace dicom
{
namespace seg
{

struct coded_set;

/**
 * UTF-8 to the character set of the source, one character for one, at most `max_chars`: PS3.5 counts
 * characters, not bytes. Sets after the first are reached by escapes, so that Japanese and Korean names stay
 * what they are. Control characters become spaces, a backslash (which would part values) becomes '/'. A
 * character that no set holds becomes its Latin base letter or '?': see choose_charset().
 */
class charset
{
  public:
    /* Specific Character Set (0008,0005) as it stands, values parted by '\'; empty: ASCII. */
    explicit charset(const std::string &specific_character_set);
    std::string encode(const std::string &utf8, size_t max_chars) const;
    bool holds(const std::string &utf8) const; /* every character of it */
    const std::string &name() const
    {
        return name_;
    }

  private:
    class writer;
    enum class form { ascii, latin1, utf8 };
    std::string name_;
    form form_;
    const coded_set *first_ = nullptr;
    std::vector<const coded_set *> more_;
    bool plain(std::string &out, char32_t c) const;
};

/* The image's own set, for its texts are copied byte for byte; but UTF-8 where one of `texts` does not fit in
 * it and the image has nothing but ASCII, which is the same in both. */
charset choose_charset(DcmItem &image, const std::vector<std::string> &texts);

/* A Decimal String of at most 16 characters, six places, no trailing zeros. */
std::string decimal_string(double value);

/* PS3.5 section 9.1: digits in components without leading zeros, at most 64 characters. */
bool uid_valid(const char *uid);

/* DA YYYYMMDD, TM HHMMSS.FFFFFF or shorter. */
bool date_valid(const std::string &da);
bool time_valid(const std::string &tm);

} // namespace seg
} // namespace dicom
#endif
