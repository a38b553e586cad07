/* Private: our own texts as values of a dataset whose Specific Character Set was given by the source. */
#ifndef DICOM_SEG_TEXT_H
#define DICOM_SEG_TEXT_H

#include <cstddef>
#include <string>

namespace dicom
{
namespace seg
{

/**
 * UTF-8 to the character set of the source, one character for one, at most `max_chars`: PS3.5 counts
 * characters, not bytes. Control characters become spaces, a backslash (which would part values) becomes '/'.
 * A character that the set does not hold becomes its Latin base letter or '?': the set itself is not ours to
 * change, the patient's name is written in it.
 */
class charset
{
  public:
    /* Specific Character Set (0008,0005) as it stands, values parted by '\'; empty: ASCII. */
    explicit charset(const std::string &specific_character_set);
    std::string encode(const std::string &utf8, size_t max_chars) const;

  private:
    enum class form { ascii, latin1, utf8, other };
    form form_;
    std::string iconv_name_;
    std::string one(char32_t c) const;
};

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
