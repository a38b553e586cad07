#include "dicom/read/assemble.h"

#include "dicom/read/codec.h"
#include "dicom/read/frame_bytes.h"
#include "dicom/read/geometry.h"
#include "dicom/read/pixels.h"
#include "dicom/read/placement.h"
#include "dicom/read/traits.h"
#include "dicom/read/values.h"

#include "engine/base/hash.h"

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

struct Origin { /* of a plane: which file, and which of its frames (0 in a single-frame image) */
    size_t input = 0, frame = 0;
};

/* Where planes come from, in step with them. */
struct Planes {
    std::vector<Plane> list;
    std::vector<Origin> from;
};

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
    return MSA_OK;
}

int32_t count_votes(const Plane &p, const dicom_series_request *request)
{
    int32_t votes = 0;
    for (size_t i = 0; request != nullptr && i < request->n_prompts; i++) {
        const dicom_prompt &prompt = request->prompts[i];
        const bool this_frame = p.frame == 0 || p.frame == std::max(prompt.frame, 1);
        votes += this_frame && p.uid == prompt.sop_instance_uid;
    }
    return votes;
}

Plane make_plane(const File &f, size_t frame, const dicom_series_request *request)
{
    const bool many = !f.frames.empty();
    const Placement &place = many ? f.frames[frame].place : f.place;
    DcmItem &image = *f.content->getDataset(), *groups = many ? f.frames[frame].groups.get() : nullptr;
    Plane p;
    p.uid = f.header.sop_instance_uid;
    p.frame = many ? int32_t(frame) + 1 : 0;
    p.instance_number = f.header.instance_number;
    std::copy_n(place.origin_mm, 3, p.origin_mm);
    std::copy_n(place.row_dir, 3, p.row_dir);
    std::copy_n(place.col_dir, 3, p.col_dir);
    std::copy_n(place.spacing_mm, 2, p.spacing_mm);
    p.rows = f.header.rows;
    p.cols = f.header.cols;
    p.frame_of_reference = f.header.frame_of_reference_uid;
    if (many) p.stack_id = text(*groups, DCM_StackID);
    p.traits = read_traits(image, groups);
    p.votes = count_votes(p, request);
    return p;
}

/* Images that lie nowhere (a screenshot, a projection) are left out; of nothing else there is no volume. */
msa_status find_planes(Planes &out, const std::vector<Input> &inputs, const dicom_series_request *request,
                       size_t &nowhere, msa_error *err)
{
    nowhere = 0;
    const File *lost = nullptr;
    for (size_t i = 0; i < inputs.size(); i++) {
        const File &f = inputs[i].file;
        const size_t n = f.frames.empty() ? 1 : f.frames.size();
        for (size_t k = 0; k < n; k++) {
            if (!(f.frames.empty() ? f.place.known : f.frames[k].place.known)) {
                nowhere++;
                lost = &f;
                continue;
            }
            if (out.list.size() == SLICES_MAX)
                return msa_fail(err, MSA_E_UNSUPPORTED, "the series has more than %zu slices", SLICES_MAX);
            out.list.push_back(make_plane(f, k, request));
            out.from.push_back({i, k});
        }
    }
    if (out.list.empty() && lost != nullptr)
        return msa_fail(
            err, MSA_E_UNSUPPORTED,
            "instance %d has no image position, orientation or pixel spacing%s, so it lies nowhere in "
            "space",
            lost->header.instance_number, lost->frames.empty() ? "" : " for its frames");
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

void fill_slices(dicom_series &s, const std::vector<Input> &inputs, const Planes &planes, const Stack &stack)
{
    for (size_t i = 0; i < stack.order.size(); i++) {
        const Plane &p = planes.list[stack.order[i]];
        const dicom_header &h = inputs[planes.from[stack.order[i]].input].file.header;
        dicom_slice slice{};
        copy(slice.sop_class_uid, sizeof slice.sop_class_uid, h.sop_class_uid);
        copy(slice.sop_instance_uid, sizeof slice.sop_instance_uid, h.sop_instance_uid);
        slice.frame = p.frame;
        std::copy_n(p.origin_mm, 3, slice.origin_mm);
        slice.position_mm = stack.position_mm[i];
        s.slices.push_back(slice);
    }
    s.info.slice = s.slices.data();
}

msa_status fill_info(dicom_series &s, const std::vector<Input> &inputs, const Planes &planes,
                     const Stack &stack, msa_error *err)
{
    const Plane &first = planes.list[stack.order.front()];
    const dicom_header &h = inputs[planes.from[stack.order.front()].input].file.header;
    dicom_volume_info &info = s.info;
    const uint64_t voxels = uint64_t(stack.order.size()) * uint64_t(first.rows) * uint64_t(first.cols);
    if (voxels > VOXELS_MAX)
        return msa_fail(err, MSA_E_UNSUPPORTED, "%zu slices of %d x %d are more than one volume may hold",
                        stack.order.size(), first.rows, first.cols);
    info.rows = first.rows;
    info.cols = first.cols;
    info.slices = int32_t(stack.order.size());
    std::copy_n(first.spacing_mm, 2, info.spacing_mm);
    std::copy_n(stack.row_dir, 3, info.row_dir);
    std::copy_n(stack.col_dir, 3, info.col_dir);
    std::copy_n(stack.normal, 3, info.normal);
    info.step_mm = stack.step_mm;
    copy(info.modality, sizeof info.modality, h.modality);
    copy(info.study_uid, sizeof info.study_uid, h.study_uid);
    copy(info.series_uid, sizeof info.series_uid, h.series_uid);
    copy(info.body_part, sizeof info.body_part, h.body_part);
    info.issues = stack.issues;
    info.left_out = stack.left_out;
    fill_slices(s, inputs, planes, stack);
    return MSA_OK;
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

/* A header for each slice, as the SEG writer wants it; of an instance of several frames, one for each of
 * them. */
void take_headers(dicom_series &s, std::vector<Input> &inputs, const Planes &planes, const Stack &stack)
{
    for (const size_t plane : stack.order) {
        const Origin &from = planes.from[plane];
        File &f = inputs[from.input].file;
        if (f.frames.empty())
            s.files.push_back(std::move(f.content));
        else
            s.files.push_back(single_frame_header(f, f.frames[from.frame]));
    }
}

/* Slices in the order in which files have them, so that each file is gone through once. */
std::vector<size_t> file_order(const Planes &planes, const Stack &stack)
{
    std::vector<size_t> slices(stack.order.size());
    for (size_t i = 0; i < slices.size(); i++)
        slices[i] = i;
    std::sort(slices.begin(), slices.end(), [&](size_t a, size_t b) {
        const Origin &p = planes.from[stack.order[a]], &q = planes.from[stack.order[b]];
        return p.input != q.input ? p.input < q.input : p.frame < q.frame;
    });
    return slices;
}

msa_status read_slice(dicom_series &s, size_t slice, const File &f, FrameBytes &bytes, size_t frame,
                      msa_error *err)
{
    DcmItem &header = *s.files[slice]->getDataset();
    std::vector<uint8_t> samples;
    Rescale rescale;
    MSA_TRY(read_rescale(rescale, header, f.form, err));
    MSA_TRY(bytes.read(samples, frame, err));
    MSA_TRY(decode_frame(samples, f, err));
    read_pixels(s.voxels.data() + slice * size_t(s.info.rows) * size_t(s.info.cols), samples, header, f.form,
                rescale);
    if (slice == s.slices.size() / 2)
        read_window(s.info.window_center, s.info.window_width, header, f.form, rescale);
    return MSA_OK;
}

msa_status read_voxels(dicom_series &s, const std::vector<Input> &inputs, const Planes &planes,
                       const Stack &stack, msa_error *err)
{
    s.voxels.resize(size_t(s.info.rows) * size_t(s.info.cols) * stack.order.size());
    const Input *open = nullptr;
    FrameBytes bytes;
    for (const size_t slice : file_order(planes, stack)) {
        const Origin &from = planes.from[stack.order[slice]];
        const Input &in = inputs[from.input];
        msa_error inner = MSA_ERROR_INIT;
        msa_status status = MSA_OK;
        if (&in != open) status = bytes.open(in.file, in.path.c_str(), &inner);
        open = &in;
        if (status == MSA_OK) status = read_slice(s, slice, in.file, bytes, from.frame, &inner);
        if (status == MSA_OK) continue;
        return in.file.frames.empty()
                   ? msa_fail(err, status, "instance %d: %s", in.file.header.instance_number, inner.what)
                   : msa_fail(err, status, "instance %d, frame %zu: %s", in.file.header.instance_number,
                              from.frame + 1, inner.what);
    }
    fill_padding(s.voxels);
    return MSA_OK;
}

/* A SEG needs a frame of reference (PS3.3 A.51): images without one get their own, the same in every run.
 * What lies in it is tied to these images alone, as they are themselves. */
void give_frame_of_reference(dicom_series &s, std::vector<std::string> &sentences)
{
    if (!text(*s.files.front()->getDataset(), DCM_FrameOfReferenceUID).empty()) return;
    char uid[MSA_UID_MAX];
    msa_uid_derive((std::string(s.info.series_uid) + "\nframe of reference").c_str(), uid);
    for (const auto &file : s.files)
        (void)file->getDataset()->putAndInsertString(DCM_FrameOfReferenceUID, uid);
    s.info.issues |= DICOM_ISSUE_NO_FRAME_OF_REFERENCE;
    sentences.emplace_back(
        "the images have no Frame of Reference UID; one was derived from the series for the result");
}

void finish_info(dicom_series &s, const Stack &stack, size_t nowhere, const std::vector<std::string> &notes)
{
    DcmItem &first = *s.files.front()->getDataset();
    double &step = s.info.step_mm;
    if (step <= 0 && (find_number(first, DCM_SliceThickness, step) != FIND_OK || step <= 0)) step = 1;
    std::vector<std::string> sentences = stack.sentences;
    if (nowhere > 0) {
        s.info.issues |= DICOM_ISSUE_NO_PLANE;
        s.info.left_out += int32_t(nowhere);
        sentences.push_back(nowhere == 1 ? "1 image without a position in space is left out"
                                         : std::to_string(nowhere) +
                                               " images without a position in space are left out");
    }
    give_frame_of_reference(s, sentences);
    sentences.insert(sentences.end(), notes.begin(), notes.end());
    join_sentences(s.info.issue_text, sentences);
}

} // namespace

msa_status assemble(std::unique_ptr<dicom_series> &out, std::vector<Input> &inputs,
                    const dicom_series_request *request, const std::vector<std::string> &notes,
                    msa_error *err)
{
    Planes planes;
    size_t nowhere = 0;
    MSA_TRY(check_one_series(inputs, err));
    MSA_TRY(find_planes(planes, inputs, request, nowhere, err));
    const Stack stack = build_stack(planes.list);
    auto series = std::make_unique<dicom_series>();
    MSA_TRY(fill_info(*series, inputs, planes, stack, err));
    take_headers(*series, inputs, planes, stack);
    finish_info(*series, stack, nowhere, notes);
    MSA_TRY(read_voxels(*series, inputs, planes, stack, err));
    out = std::move(series);
    return MSA_OK;
}

} // namespace dicom
