/* Private: the files below a folder. */
#ifndef DICOM_READ_FOLDER_H
#define DICOM_READ_FOLDER_H

#include <string>
#include <vector>

#include "engine/base/error.h"

namespace dicom
{

/* Regular files at any depth, sorted by path; links to folders are not followed, unreadable folders are
 * passed over. Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_UNSUPPORTED (more than 100,000 files). */
MSA_NODISCARD msa_status list_files(std::vector<std::string> &out, const char *dir, msa_error *err);

} // namespace dicom
#endif
