/* Private: preamble and file meta information of a stored object (PS3.10 section 7.1). */
#ifndef DICOM_NET_FILE_META_H
#define DICOM_NET_FILE_META_H

#include <string>

#include "dicom/receive.h"

namespace dicom
{

/**
 * A function of the three UIDs alone: no sender's AE title and no time, so that the same object sent twice is
 * the same bytes and one blob. The preamble is zero, whatever the sender's file had in it.
 */
std::string file_meta(const dicom_store_info &info);

/* Characters and length of a UID (PS3.5 section 9.1); leading zeros in components are common and harmless. */
bool is_uid(const char *text);

} // namespace dicom
#endif
