#include "dicom/series.h"
#include "dicom/guard.h"
#include "dicom/read/assemble.h"
#include "dicom/read/folder.h"

#include <cstring>
#include <set>

namespace dicom
{
namespace
{

constexpr size_t FILES_MAX = 16384;

/* Puts what was wrong with one file into a sentence about it. */
msa_status blame(msa_error *err, msa_status status, const msa_error &inner, size_t index)
{
    return msa_fail(err, status, "file %zu of the series: %s", index + 1, inner.what);
}

msa_status load_paths(std::unique_ptr<dicom_series> &out, const char *const *paths, size_t n,
                      const dicom_series_request *request, msa_error *err)
{
    if (n == 0) return msa_fail(err, MSA_E_INVALID, "a series needs at least one file");
    if (n > FILES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "%zu files are more than one series may have", n);
    std::vector<Input> inputs(n);
    for (size_t i = 0; i < n; i++) {
        inputs[i].path = paths[i];
        msa_error inner = MSA_ERROR_INIT;
        const msa_status status = read_file(inputs[i].file, paths[i], &inner);
        if (status != MSA_OK) return blame(err, status, inner, i);
    }
    return assemble(out, inputs, request, {}, err);
}

/* What a folder holds beside the series we look for. */
struct Unreadable {
    int n = 0;
    msa_error first = MSA_ERROR_INIT;
    msa_error foreign = MSA_ERROR_INIT; /* an object of a class that we do not take */
};

msa_status load_dir(std::unique_ptr<dicom_series> &out, const char *dir, const dicom_series_request *request,
                    msa_error *err)
{
    const char *series_uid = request != nullptr ? request->series_uid : nullptr;
    std::vector<std::string> paths;
    MSA_TRY(list_files(paths, dir, err));
    std::vector<Input> inputs;
    std::set<std::string> found;
    Unreadable bad;
    for (const std::string &path : paths) {
        Input in;
        in.path = path;
        msa_error inner = MSA_ERROR_INIT;
        const msa_status status = read_file(in.file, path.c_str(), &inner);
        if (status == MSA_E_NOMEM) return msa_fail(err, status, "%s", inner.what);
        const bool wanted = series_uid == nullptr || std::strcmp(in.file.header.series_uid, series_uid) == 0;
        if (status != MSA_OK) {
            /* A CT or MR image that cannot be taken counts, and so does a damaged DICOM file, which may be
             * one; a text file, a report or a screenshot does not. */
            const bool damaged = status == MSA_E_PARSE && in.file.scan.part10 && in.file.header.kind == 0;
            if (((in.file.header.kind == DICOM_KIND_IMAGE && wanted) || damaged) && bad.n++ == 0)
                bad.first = inner;
            if (status == MSA_E_UNSUPPORTED && bad.foreign.status == MSA_OK) bad.foreign = inner;
            continue;
        }
        if (in.file.header.kind != DICOM_KIND_IMAGE) continue;
        found.insert(in.file.header.series_uid);
        if (!wanted) continue;
        if (inputs.size() == FILES_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the folder holds more than %zu images", FILES_MAX);
        inputs.push_back(std::move(in));
    }
    if (series_uid == nullptr && found.size() > 1)
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the folder holds %zu series of CT or MR images; pick one by its Series Instance UID",
                        found.size());
    if (inputs.empty() && bad.n > 0) return msa_fail(err, bad.first.status, "%s", bad.first.what);
    if (inputs.empty() && !found.empty())
        return msa_fail(err, MSA_E_NOT_FOUND, "the folder does not hold the series that was asked for");
    if (inputs.empty())
        return msa_fail(err, MSA_E_NOT_FOUND, "the folder holds no CT or MR images%s%.120s",
                        bad.foreign.status != MSA_OK ? "; " : "", bad.foreign.what);
    std::vector<std::string> notes;
    if (bad.n > 0) {
        notes.push_back(
            std::to_string(bad.n) +
            (bad.n == 1 ? " file could not be read: " : " files could not be read, the first because: ") +
            bad.first.what);
    }
    return assemble(out, inputs, request, notes, err);
}

} // namespace
} // namespace dicom

msa_status dicom_series_load(dicom_series **out, const char *const *paths, size_t n,
                             const dicom_series_request *request, msa_error *err)
{
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        std::unique_ptr<dicom_series> series;
        MSA_TRY(dicom::load_paths(series, paths, n, request, err));
        *out = series.release();
        return MSA_OK;
    });
}

msa_status dicom_series_load_dir(dicom_series **out, const char *dir, const dicom_series_request *request,
                                 msa_error *err)
{
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        std::unique_ptr<dicom_series> series;
        MSA_TRY(dicom::load_dir(series, dir, request, err));
        *out = series.release();
        return MSA_OK;
    });
}

void dicom_series_free(dicom_series *s)
{
    delete s;
}

const dicom_volume_info *dicom_series_info(const dicom_series *s)
{
    return &s->info;
}

const float *dicom_series_voxels(const dicom_series *s)
{
    return s->voxels.data();
}

int32_t dicom_series_find(const dicom_series *s, const char *sop_instance_uid, int32_t frame)
{
    for (size_t i = 0; i < s->slices.size(); i++) {
        const dicom_slice &slice = s->slices[i];
        const bool is_it = frame == 0 || frame == (slice.frame == 0 ? 1 : slice.frame);
        if (is_it && std::strcmp(slice.sop_instance_uid, sop_instance_uid) == 0) return int32_t(i);
    }
    return -1;
}
