/* Pixel data of our own in a phantom's files: codestreams, fragments, frames. */
#ifndef TESTS_UNIT_READ_PICTURES_H
#define TESTS_UNIT_READ_PICTURES_H

#include "dicom/series.h"
#include "tests/unit/read/bytes.h"
#include "tests/unit/read/support.h"

#include "dcmtk/dcmdata/dctk.h"

#include <memory>
#include <string>
#include <vector>

struct FreeSeries {
    void operator()(dicom_series *s) const
    {
        dicom_series_free(s);
    }
};
using SeriesPtr = std::unique_ptr<dicom_series, FreeSeries>;

/* The files of a folder as one volume; fails the test, or with `err` returns nothing. */
inline SeriesPtr load_series(const std::string &dir, const std::vector<dicom_prompt> &prompts = {},
                             msa_error *err = nullptr)
{
    const dicom_series_request request = {nullptr, prompts.data(), prompts.size()};
    dicom_series *s = nullptr;
    msa_error own = MSA_ERROR_INIT;
    if (dicom_series_load_dir(&s, dir.c_str(), &request, &own) != MSA_OK && err == nullptr)
        fail_msg("%s: %s", dir.c_str(), own.what);
    if (err != nullptr) *err = own;
    return SeriesPtr(s);
}

inline std::vector<std::string> load_fails_with(const std::string &dir, msa_status status, const char *says)
{
    msa_error err = MSA_ERROR_INIT;
    const SeriesPtr s = load_series(dir, {}, &err);
    assert_null(s.get());
    assert_says(err.what, says);
    assert_int_equal(err.status, status);
    return {};
}

/* The dataset of a Part 10 file, without its meta group. */
inline std::string dataset_of(const std::string &file)
{
    const auto *p = reinterpret_cast<const uint8_t *>(file.data());
    const size_t length = p[140] | size_t(p[141]) << 8 | size_t(p[142]) << 16 | size_t(p[143]) << 24;
    return file.substr(144 + length);
}

/* The file's header with `fragments` as its pixel data, each an item, in a transfer syntax that need not be
 * known to DCMTK. table: the Basic Offset Table's entries. */
inline void encapsulate(const std::string &path, const std::string &syntax,
                        const std::vector<std::string> &fragments, const std::vector<uint32_t> &table = {})
{
    DcmFileFormat file;
    assert_true(file.loadFile(path.c_str()).good());
    delete file.getDataset()->remove(DCM_PixelData);
    assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
    std::string entries;
    for (const uint32_t offset : table)
        entries += bytes::u32(offset);
    std::string pixels =
        bytes::head(0x7fe0, 0x10, "OB", bytes::UNDEFINED) + bytes::item(uint32_t(entries.size())) + entries;
    for (std::string f : fragments) {
        if (f.size() % 2 != 0) f += '\0';
        pixels += bytes::item(uint32_t(f.size())) + f;
    }
    write_bytes(path, bytes::part10(syntax, dataset_of(read_bytes(path)) + pixels + bytes::sequence_end()));
}

#endif
