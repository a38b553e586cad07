/* Writing a synthetic series into a folder of its own, and looking into what came out. */
#ifndef TESTS_UNIT_SEG_WRITING_H
#define TESTS_UNIT_SEG_WRITING_H

#include "tests/unit/seg/synthetic.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>

#include <dirent.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

inline const char *const key = "study/series/prompts/model";

struct temp_dir {
    std::string path;
    temp_dir()
    {
        char name[] = "/tmp/msad-seg-XXXXXX";
        if (!mkdtemp(name)) std::abort();
        path = name;
    }
    ~temp_dir()
    {
        for (const std::string &name : names())
            (void)unlink((path + "/" + name).c_str());
        (void)rmdir(path.c_str());
    }
    std::vector<std::string> names() const
    {
        std::vector<std::string> out;
        DIR *dir = opendir(path.c_str());
        while (const dirent *e = dir ? readdir(dir) : nullptr)
            if (std::strcmp(e->d_name, ".") != 0 && std::strcmp(e->d_name, "..") != 0)
                out.push_back(e->d_name);
        if (dir) closedir(dir);
        return out;
    }
};

inline dicom_seg_options options_for(const char *series_key)
{
    dicom_seg_options o = {};
    o.key = series_key;
    o.series_description = "msad result";
    o.content_description = "one box, propagated";
    o.model_name = "test model";
    o.model_version = "1.2";
    o.model_hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    o.software_version = "msad 0.1.0";
    o.series_number = 900;
    return o;
}

inline std::string bytes_of(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

struct result {
    msa_status status = MSA_E_INTERNAL;
    msa_error err = MSA_ERROR_INIT;
    dicom_seg_file files[DICOM_SEG_FILES_MAX] = {};
    size_t n = 99;
};

inline result write(const synthetic &s, const temp_dir &dir, const char *series_key = key)
{
    result r;
    const dicom_seg_options o = options_for(series_key);
    r.status = dicom_seg_write(&s.series, s.segments.data(), s.segments.size(), &o, dir.path.c_str(), r.files,
                               &r.n, &r.err);
    return r;
}

inline void expect_written(const result &r, size_t files)
{
    if (r.status != MSA_OK) fail_msg("%s", r.err.what);
    assert_int_equal(r.n, files);
}

inline DcmItem &in_frame(DcmDataset &d, long frame, const DcmTagKey &sequence)
{
    DcmItem *groups = nullptr, *item = nullptr;
    if (d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, frame).bad() ||
        groups->findAndGetSequenceItem(sequence, item, 0).bad())
        std::abort();
    return *item;
}

inline DcmItem &in_shared(DcmDataset &d, const DcmTagKey &sequence)
{
    DcmItem *groups = nullptr, *item = nullptr;
    if (d.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, groups, 0).bad() ||
        groups->findAndGetSequenceItem(sequence, item, 0).bad())
        std::abort();
    return *item;
}

inline int init(void **)
{
    msa_error err = MSA_ERROR_INIT;
    if (dicom_init(&err) == MSA_OK) return 0;
    (void)std::fprintf(stderr, "%s\n", err.what);
    return 1;
}

#endif
