#include "dicom/read/authored.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cctype>

namespace dicom
{
namespace
{

const DcmTagKey moments[][2] = {
    {DCM_ContentDate, DCM_ContentTime},
    {DCM_PresentationCreationDate, DCM_PresentationCreationTime},
    {DCM_StructureSetDate, DCM_StructureSetTime},
    {DCM_InstanceCreationDate, DCM_InstanceCreationTime},
};

/* `n` digits at `at` as a number within min..max. */
bool digits(const std::string &s, size_t at, size_t n, int min, int max, int &out)
{
    if (s.size() < at + n) return false;
    out = 0;
    for (size_t i = at; i < at + n; i++) {
        if (!std::isdigit((unsigned char)s[i])) return false;
        out = out * 10 + (s[i] - '0');
    }
    return out >= min && out <= max;
}

/* Of the proleptic Gregorian calendar; March is the first month, so that the leap day is the last of a year.
 */
int64_t days_since_1970(int year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return 365 * y + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

/* HHMMSS.FFFFFF, of which the end may be missing (PS3.5 section 6.2). */
int64_t time_ms(const std::string &s)
{
    int part = 0;
    int64_t ms = 0;
    if (!digits(s, 0, 2, 0, 23, part)) return 0;
    ms = int64_t(part) * 3600000;
    if (!digits(s, 2, 2, 0, 59, part)) return ms;
    ms += int64_t(part) * 60000;
    if (!digits(s, 4, 2, 0, 60, part)) return ms;
    ms += int64_t(part) * 1000;
    if (s.size() < 8 || s[6] != '.') return ms;
    std::string fraction = s.substr(7, 3);
    fraction.resize(3, '0');
    return digits(fraction, 0, 3, 0, 999, part) ? ms + part : ms;
}

int64_t offset_ms(DcmItem &d)
{
    const std::string s = text(d, DCM_TimezoneOffsetFromUTC);
    int hours = 0, minutes = 0;
    if (s.size() != 5 || (s[0] != '+' && s[0] != '-') || !digits(s, 1, 2, 0, 14, hours) ||
        !digits(s, 3, 2, 0, 59, minutes))
        return 0;
    return (s[0] == '-' ? -1 : 1) * (int64_t(hours) * 60 + minutes) * 60000;
}

} // namespace

int64_t authored_ms(DcmItem &d)
{
    int64_t latest = 0;
    for (const auto &moment : moments) {
        const std::string date = text(d, moment[0]);
        int year = 0, month = 0, day = 0;
        if (!digits(date, 0, 4, 1970, 9999, year) || !digits(date, 4, 2, 1, 12, month) ||
            !digits(date, 6, 2, 1, 31, day))
            continue;
        latest = std::max(latest, days_since_1970(year, month, day) * 86400000 + time_ms(text(d, moment[1])));
    }
    return latest == 0 ? 0 : std::max(int64_t(1), latest - offset_ms(d));
}

} // namespace dicom
