/* Private: the files of one series become a volume. */
#ifndef DICOM_READ_ASSEMBLE_H
#define DICOM_READ_ASSEMBLE_H

#include "dicom/read/file.h"
#include "dicom/read/series_impl.h"

#include <memory>
#include <string>
#include <vector>

namespace dicom
{

struct Input {
    std::string path;
    File file;
};

/* request may be NULL. notes: what the caller noticed already. `inputs` are used up. */
MSA_NODISCARD msa_status assemble(std::unique_ptr<dicom_series> &out, std::vector<Input> &inputs,
                                  const dicom_series_request *request, const std::vector<std::string> &notes,
                                  msa_error *err);

} // namespace dicom
#endif
