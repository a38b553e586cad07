#include "dicom/series.h"
#include "dicom/guard.h"
#include "dicom/read/file.h"
#include "dicom/read/folder.h"
#include "dicom/read/geometry.h"
#include "dicom/read/pixels.h"
#include "dicom/read/series_impl.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

namespace dicom
{
namespace
{

constexpr size_t SLICES_MAX = 16384;
constexpr uint64_t VOXELS_MAX = uint64_t{1} << 31; /* 8 GiB of float */

struct Input {
    std::string path;
    File file;
};

/* "instance 12" in a sentence: a number tells the reader which, and is no identifier. */
int number_of(const Input &in)
{
    return int(in.file.header.instance_number);
}

/* Puts what was wrong with one file into a sentence about it. */
msa_status blame(msa_error *err, msa_status status, const msa_error &inner, size_t index)
{
    return msa_fail(err, status, "file %zu of the series: %s", index + 1, inner.what);
}

msa_status check_one_series(const std::vector<Input> &inputs, msa_error *err)
{
    std::set<std::string> series;
    for (const Input &in : inputs) {
        if (in.file.header.kind != DICOM_KIND_IMAGE)
            return msa_fail(err, MSA_E_UNSUPPORTED, "one of the files is not a CT or MR image");
        series.insert(in.file.header.series_uid);
    }
    if (series.size() > 1)
        return msa_fail(err, MSA_E_UNSUPPORTED, "the files belong to %zu series; pick one", series.size());
    for (const Input &in : inputs)
        if (!in.file.header.has_plane)
            return msa_fail(err, MSA_E_UNSUPPORTED,
                            "instance %d has no image position, orientation or pixel spacing, so it lies "
                            "nowhere in space",
                            number_of(in));
    return MSA_OK;
}

Stack stack_of(const std::vector<Input> &inputs)
{
    std::vector<Plane> planes(inputs.size());
    for (size_t i = 0; i < inputs.size(); i++) {
        const dicom_header &h = inputs[i].file.header;
        planes[i].uid = h.sop_instance_uid;
        planes[i].instance_number = h.instance_number;
        std::copy_n(h.origin_mm, 3, planes[i].origin_mm);
        std::copy_n(h.row_dir, 3, planes[i].row_dir);
        std::copy_n(h.col_dir, 3, planes[i].col_dir);
    }
    return build_stack(planes);
}

msa_status check_one_grid(const std::vector<Input> &inputs, const Stack &stack, msa_error *err)
{
    const dicom_header &first = inputs[stack.order.front()].file.header;
    for (const size_t i : stack.order) {
        const dicom_header &h = inputs[i].file.header;
        if (h.rows != first.rows || h.cols != first.cols)
            return msa_fail(err, MSA_E_UNSUPPORTED,
                            "the slices differ in size: instance %d is %d x %d, instance %d %d x %d",
                            first.instance_number, first.rows, first.cols, h.instance_number, h.rows, h.cols);
        for (int k = 0; k < 2; k++)
            if (std::fabs(h.spacing_mm[k] - first.spacing_mm[k]) > 1e-3 * first.spacing_mm[k])
                return msa_fail(err, MSA_E_UNSUPPORTED,
                                "the slices differ in pixel spacing: instances %d and %d",
                                first.instance_number, h.instance_number);
        if (std::strcmp(h.frame_of_reference_uid, first.frame_of_reference_uid) != 0)
            return msa_fail(err, MSA_E_UNSUPPORTED, "instances %d and %d have different frames of reference",
                            first.instance_number, h.instance_number);
    }
    const uint64_t voxels = uint64_t(stack.order.size()) * uint64_t(first.rows) * uint64_t(first.cols);
    if (voxels > VOXELS_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "%zu slices of %d x %d are more than one volume may hold",
                        stack.order.size(), first.rows, first.cols);
    return MSA_OK;
}

void join_sentences(char to[512], const std::vector<std::string> &sentences)
{
    const std::string more = "; and more";
    std::string all;
    for (const std::string &s : sentences) {
        if (all.size() + s.size() + 2 + more.size() >= 512) {
            all += more;
            break;
        }
        all += (all.empty() ? "" : "; ") + s;
    }
    copy(to, 512, all);
}

void read_window(dicom_volume_info &info, const File &middle, const Rescale &rescale)
{
    DcmItem &d = *middle.content->getDataset();
    double center = 0, width = 0;
    if (find_number(d, DCM_WindowCenter, center) != FIND_OK ||
        find_number(d, DCM_WindowWidth, width) != FIND_OK || width <= 0)
        return;
    info.window_center = middle.form.inverted ? inverted_window_center(center, middle.form, rescale) : center;
    info.window_width = width;
}

void fill_info(dicom_series &s, const std::vector<Input> &inputs, const Stack &stack,
               const std::vector<std::string> &notes)
{
    const File &first = inputs[stack.order.front()].file;
    dicom_volume_info &info = s.info;
    info.rows = first.header.rows;
    info.cols = first.header.cols;
    info.slices = int32_t(stack.order.size());
    std::copy_n(first.header.spacing_mm, 2, info.spacing_mm);
    std::copy_n(stack.row_dir, 3, info.row_dir);
    std::copy_n(stack.col_dir, 3, info.col_dir);
    std::copy_n(stack.normal, 3, info.normal);
    info.step_mm = stack.step_mm;
    if (info.step_mm <= 0 &&
        (find_number(*first.content->getDataset(), DCM_SliceThickness, info.step_mm) != FIND_OK ||
         info.step_mm <= 0))
        info.step_mm = 1;
    copy(info.modality, sizeof info.modality, first.header.modality);
    copy(info.study_uid, sizeof info.study_uid, first.header.study_uid);
    copy(info.series_uid, sizeof info.series_uid, first.header.series_uid);
    copy(info.body_part, sizeof info.body_part, first.header.body_part);
    info.issues = stack.issues;
    info.left_out = stack.left_out;
    std::vector<std::string> sentences = stack.sentences;
    sentences.insert(sentences.end(), notes.begin(), notes.end());
    join_sentences(info.issue_text, sentences);

    for (size_t i = 0; i < stack.order.size(); i++) {
        const dicom_header &h = inputs[stack.order[i]].file.header;
        dicom_slice slice{};
        copy(slice.sop_class_uid, sizeof slice.sop_class_uid, h.sop_class_uid);
        copy(slice.sop_instance_uid, sizeof slice.sop_instance_uid, h.sop_instance_uid);
        std::copy_n(h.origin_mm, 3, slice.origin_mm);
        slice.position_mm = stack.position_mm[i];
        s.slices.push_back(slice);
    }
    info.slice = s.slices.data();
}

/* Padding came as NaN: it becomes the least valid value of the volume, or 0 when there is none. */
void fill_padding(std::vector<float> &voxels)
{
    float least = std::numeric_limits<float>::infinity();
    bool any = false;
    for (const float v : voxels) {
        if (std::isnan(v))
            any = true;
        else
            least = std::min(least, v);
    }
    if (!any) return;
    if (std::isinf(least)) least = 0;
    for (float &v : voxels)
        if (std::isnan(v)) v = least;
}

msa_status read_voxels(dicom_series &s, std::vector<Input> &inputs, const Stack &stack, msa_error *err)
{
    const size_t slice_size = size_t(s.info.rows) * size_t(s.info.cols);
    s.voxels.resize(slice_size * stack.order.size());
    for (size_t i = 0; i < stack.order.size(); i++) {
        Input &in = inputs[stack.order[i]];
        Rescale rescale;
        msa_error inner = MSA_ERROR_INIT;
        msa_status status = read_rescale(rescale, *in.file.content->getDataset(), &inner);
        if (status == MSA_OK)
            status = read_pixels(s.voxels.data() + i * slice_size, in.file, in.path.c_str(), rescale, &inner);
        if (status != MSA_OK) return msa_fail(err, status, "instance %d: %s", number_of(in), inner.what);
        if (i == stack.order.size() / 2) read_window(s.info, in.file, rescale);
        s.files.push_back(std::move(in.file.content));
    }
    fill_padding(s.voxels);
    return MSA_OK;
}

msa_status assemble(std::unique_ptr<dicom_series> &out, std::vector<Input> &inputs,
                    const std::vector<std::string> &notes, msa_error *err)
{
    MSA_TRY(check_one_series(inputs, err));
    const Stack stack = stack_of(inputs);
    MSA_TRY(check_one_grid(inputs, stack, err));
    auto series = std::make_unique<dicom_series>();
    fill_info(*series, inputs, stack, notes);
    MSA_TRY(read_voxels(*series, inputs, stack, err));
    out = std::move(series);
    return MSA_OK;
}

msa_status load_paths(std::unique_ptr<dicom_series> &out, const char *const *paths, size_t n, msa_error *err)
{
    if (n == 0) return msa_fail(err, MSA_E_INVALID, "a series needs at least one file");
    if (n > SLICES_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "%zu files are more than one series may have", n);
    std::vector<Input> inputs(n);
    for (size_t i = 0; i < n; i++) {
        inputs[i].path = paths[i];
        msa_error inner = MSA_ERROR_INIT;
        const msa_status status = read_file(inputs[i].file, paths[i], &inner);
        if (status != MSA_OK) return blame(err, status, inner, i);
    }
    return assemble(out, inputs, {}, err);
}

/* What a folder holds beside the series we look for. */
struct Unreadable {
    int n = 0;
    msa_error first = MSA_ERROR_INIT;
    msa_error foreign = MSA_ERROR_INIT; /* an object of a class that we do not take */
};

msa_status load_dir(std::unique_ptr<dicom_series> &out, const char *dir, const char *series_uid,
                    msa_error *err)
{
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
        if (inputs.size() == SLICES_MAX)
            return msa_fail(err, MSA_E_UNSUPPORTED, "the folder holds more than %zu images", SLICES_MAX);
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
    return assemble(out, inputs, notes, err);
}

} // namespace
} // namespace dicom

msa_status dicom_series_load(dicom_series **out, const char *const *paths, size_t n,
                             const dicom_series_request *, msa_error *err)
{
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        std::unique_ptr<dicom_series> series;
        MSA_TRY(dicom::load_paths(series, paths, n, err));
        *out = series.release();
        return MSA_OK;
    });
}

msa_status dicom_series_load_dir(dicom_series **out, const char *dir, const dicom_series_request *request,
                                 msa_error *err)
{
    const char *series_uid = request != nullptr ? request->series_uid : nullptr;
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        std::unique_ptr<dicom_series> series;
        MSA_TRY(dicom::load_dir(series, dir, series_uid, err));
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
