/* What the tests of dicom/read and dicom/annot share. */
#ifndef TESTS_UNIT_READ_SUPPORT_H
#define TESTS_UNIT_READ_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "dicom/init.h"

extern "C" {
#include <cmocka.h>
}

/* cmocka's short names are macros and would hit members of other classes: std::ios::fail(), Source::skip(). */
#undef fail
#undef skip
#undef fail_msg
#define skip_test() _skip(__FILE__, __LINE__)
#define fail_msg(...)                                                                                        \
    do {                                                                                                     \
        print_error("ERROR: ");                                                                              \
        print_error(__VA_ARGS__);                                                                            \
        print_error("\n");                                                                                   \
        _fail(__FILE__, __LINE__);                                                                           \
    } while (0)

/* A folder that goes away with its owner. */
class TempDir
{
  public:
    TempDir()
    {
        char name[] = "/tmp/msad-read-XXXXXX";
        if (mkdtemp(name) == nullptr) std::abort();
        path_ = name;
    }
    ~TempDir()
    {
        std::filesystem::remove_all(path_);
    }
    TempDir(const TempDir &) = delete;
    TempDir &operator=(const TempDir &) = delete;
    std::string operator/(const std::string &name) const
    {
        return path_ + "/" + name;
    }
    const std::string &path() const
    {
        return path_;
    }

  private:
    std::string path_;
};

inline std::vector<std::string> files_below(const std::string &dir)
{
    std::vector<std::string> list;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(dir))
        if (entry.is_regular_file()) list.push_back(entry.path().string());
    std::sort(list.begin(), list.end());
    return list;
}

inline void write_bytes(const std::string &path, const std::string &bytes)
{
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

inline std::string read_bytes(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

/* Real data beside the checkout; the tests that use it are skipped without it. */
inline std::string shared_data(const std::string &below)
{
    const std::string path = std::string(MSAD_SHARED_DATA) + "/" + below;
    return std::filesystem::exists(path) ? path : std::string();
}

inline int start_dicom(void **)
{
    msa_error err = MSA_ERROR_INIT;
    if (dicom_init(&err) == MSA_OK) return 0;
    print_error("%s\n", err.what);
    return 1;
}

/* The sentence must hold `part`. */
inline void assert_says(const char *sentence, const char *part)
{
    if (std::string(sentence).find(part) == std::string::npos)
        fail_msg("'%s' does not say '%s'", sentence, part);
}

#endif
