#include "dicom/read/folder.h"

#include <algorithm>
#include <filesystem>

namespace dicom
{

namespace fs = std::filesystem;

msa_status list_files(std::vector<std::string> &out, const char *dir, msa_error *err)
{
    constexpr size_t FILES_MAX = 100000;
    std::error_code code;
    fs::recursive_directory_iterator at(dir, fs::directory_options::skip_permission_denied, code);
    if (code)
        return msa_fail(err, code == std::errc::no_such_file_or_directory ? MSA_E_NOT_FOUND : MSA_E_IO,
                        "cannot read the folder: %s", code.message().c_str());
    for (const fs::recursive_directory_iterator end; at != end; at.increment(code)) {
        if (code) break;
        std::error_code ignored;
        if (!at->is_regular_file(ignored)) continue;
        if (out.size() == FILES_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the folder holds more than %zu files", FILES_MAX);
        out.push_back(at->path().string());
    }
    if (code) return msa_fail(err, MSA_E_IO, "cannot read the folder: %s", code.message().c_str());
    std::sort(out.begin(), out.end());
    return MSA_OK;
}

} // namespace dicom
