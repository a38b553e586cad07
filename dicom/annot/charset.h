/* Private: text of a dataset as UTF-8. */
#ifndef DICOM_ANNOT_CHARSET_H
#define DICOM_ANNOT_CHARSET_H

#include <string>

namespace dicom
{

/**
 * `bytes` in the Specific Character Set `charset` (0008,0005; "" when absent) as valid UTF-8, control
 * characters turned into blanks. UTF-8 and Latin-1 are mapped here, so they work where the C library cannot
 * load a converter (a sandbox); the rest goes through DCMTK. What cannot be converted keeps its ASCII, with
 * '?' for the rest.
 */
std::string to_utf8(const std::string &bytes, const std::string &charset);

/* At most `characters` of them, and at most `size` - 1 bytes. */
std::string cut_utf8(const std::string &s, size_t characters, size_t size);

} // namespace dicom
#endif
