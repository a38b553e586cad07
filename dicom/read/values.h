/* Private: values out of a dataset, without locale and without trust. */
#ifndef DICOM_READ_VALUES_H
#define DICOM_READ_VALUES_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <cstdint>
#include <string>
#include <vector>

namespace dicom
{

/* Label Map Segmentation Storage, which DCMTK 3.6.7 does not know. */
inline constexpr const char *UID_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7";

/* The whole value as text, padding trimmed; "" when absent, empty, not text or over 64 KiB. Bytes are in the
 * dataset's charset. */
std::string text(DcmItem &item, const DcmTagKey &tag);

/* PS3.5 section 9.1, but leading zeros in a component pass: they are met in practice and harm nothing. */
bool is_uid(const std::string &s);

/* DS or IS, backslash separated (PS3.5 section 6.2): '.' whatever the locale; false on anything but finite
 * numbers. */
bool parse_numbers(const std::string &s, std::vector<double> &out);

/* Exactly n numbers (FIND_BAD when present but otherwise). */
enum Find { FIND_ABSENT, FIND_OK, FIND_BAD };
Find find_numbers(DcmItem &item, const DcmTagKey &tag, size_t n, double *out);
/* The first of one or more. */
Find find_number(DcmItem &item, const DcmTagKey &tag, double &out);
Find find_int(DcmItem &item, const DcmTagKey &tag, int32_t &out);
/* US or SS as its 16 bits. */
Find find_u16(DcmItem &item, const DcmTagKey &tag, uint16_t &out);

/* A Code String (CS) of ours: "" unless it is one. */
std::string code_string(DcmItem &item, const DcmTagKey &tag);

/* Copies into a fixed field of `size` bytes, NUL-terminated; cut when too long. */
void copy(char *to, size_t size, const std::string &from);

} // namespace dicom
#endif
