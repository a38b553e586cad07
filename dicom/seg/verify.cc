/* Reading back: what lies on disk is what was in memory. Nothing of the writing side is called here. */
#include "dicom/seg/seg_impl.h"
#include "dicom/seg/verify_impl.h"

#include <cmath>
#include <cstring>

using dicom::seg::centroid;
using dicom::seg::checked_frame;
using dicom::seg::checked_plane;
using dicom::seg::element;
using dicom::seg::find;
using dicom::seg::find_item;
using dicom::seg::numbers_of;
using dicom::seg::part10_stream;
using dicom::seg::reading;
using dicom::seg::span;
using dicom::seg::text_of;

namespace
{

enum : uint32_t {
    SOP_CLASS = 0x00080016,
    STUDY_UID = 0x0020000d,
    FRAME_OF_REFERENCE = 0x00200052,
    FRAMES = 0x00280008,
    ROWS = 0x00280010,
    COLS = 0x00280011,
    SHARED = 0x52009229,
    PER_FRAME = 0x52009230,
    PIXELS = 0x7fe00010,
    ITEM = 0xfffee000,
};

constexpr uint32_t VALUE_MAX = 64, GROUPS_MAX = 1u << 20;

/* What the images say, asked once for each slice. */
struct said {
    std::string position;
    std::vector<double> orientation, spacing;
};

struct structure {
    reading &r;
    part10_stream &file;
    std::vector<said> images = {};
    std::unordered_map<std::string, int32_t> slices = {}; /* by name_of() */
    std::unordered_map<uint32_t, std::string> text = {};  /* values of the top level that are looked at */
    std::unordered_map<uint32_t, uint32_t> number = {};
    std::vector<uint8_t> shared = {};
};

msa_status broken(msa_error *err)
{
    return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back in pieces that make no object");
}

bool near(const std::vector<double> &a, const std::vector<double> &b, size_t n)
{
    if (a.size() != n || b.size() != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!(std::fabs(a[i] - b[i]) <= 1e-5)) return false;
    return true;
}

/* Decimal strings as DCMTK reads them: strtod would follow the locale. */
std::vector<double> numbers(const span &value)
{
    DcmItem item;
    if (item.putAndInsertString(DCM_ImagePositionPatient, value.text().c_str()).bad()) return {};
    return numbers_of(item, DCM_ImagePositionPatient);
}

/* SOP Instance UID and, of a multi-frame image, the frame's number. */
std::string name_of(const std::string &uid, const std::string &frame)
{
    return uid + "/" + frame;
}

void ask_images(structure &s)
{
    for (size_t k = 0; k < s.r.series.slices.size(); k++) {
        DcmItem &image = *s.r.series.files[k]->getDataset();
        s.images.push_back({text_of(image, DCM_ImagePositionPatient),
                            numbers_of(image, DCM_ImageOrientationPatient),
                            numbers_of(image, DCM_PixelSpacing)});
        const dicom_slice &slice = s.r.series.slices[k];
        s.slices.emplace(name_of(slice.sop_instance_uid, slice.frame > 0 ? std::to_string(slice.frame) : ""),
                         static_cast<int32_t>(k));
    }
}

/* A functional group of the frame, else the shared one. */
bool group(const structure &s, const span &frame, uint32_t sequence, span &out)
{
    return find_item(frame, sequence, out) || find_item({s.shared.data(), s.shared.size()}, sequence, out);
}

/* The frame's plane out of the file, after its words were compared with those of the image. */
msa_status compare_plane(checked_plane &disk, const structure &s, const span &groups, size_t seg,
                         int32_t slice, msa_error *err)
{
    const said &image = s.images[static_cast<size_t>(slice)];
    span position, orientation, measures, ipp, iop, spacing;
    if (!group(s, groups, 0x00209113, position) || !find(position, 0x00200032, ipp) ||
        !group(s, groups, 0x00209116, orientation) || !find(orientation, 0x00200037, iop) ||
        !group(s, groups, 0x00289110, measures) || !find(measures, 0x00280030, spacing))
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the frame has no plane", seg + 1, slice);
    const char *wrong = ipp.text() != image.position                ? "plane position"
                        : !near(numbers(iop), image.orientation, 6) ? "orientation"
                        : !near(numbers(spacing), image.spacing, 2) ? "pixel spacing"
                                                                    : nullptr;
    if (wrong)
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the frame's %s is not the image's",
                        seg + 1, slice, wrong);
    const std::vector<double> at = numbers(ipp), direction = numbers(iop), step = numbers(spacing);
    if (at.size() != 3)
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the frame has no position", seg + 1,
                        slice);
    for (size_t k = 0; k < 3; k++) {
        disk.origin[k] = at[k];
        disk.row[k] = direction[k];
        disk.col[k] = direction[k + 3];
    }
    disk.between_rows = step[0];
    disk.between_cols = step[1];
    return MSA_OK;
}

msa_status compare_frame(structure &s, const span &groups, msa_error *err)
{
    const size_t frame = s.r.frames.size();
    span identity, value, derivation, image, number;
    size_t seg = 0;
    if (s.r.form.format != DICOM_SEG_LABELMAP) {
        const bool there = find_item(groups, 0x0062000a, identity) && find(identity, 0x0062000b, value);
        if (!there || value.number() == 0 || value.number() > s.r.n)
            return msa_fail(err, MSA_E_INTERNAL, "frame %zu belongs to no segment", frame + 1);
        seg = value.number() - 1;
    }
    if (!find_item(groups, 0x00089124, derivation) || !find_item(derivation, 0x00082112, image) ||
        !find(image, 0x00081155, value))
        return msa_fail(err, MSA_E_INTERNAL, "frame %zu names no image", frame + 1);
    const auto named =
        s.slices.find(name_of(value.text(), find(image, 0x00081160, number) ? number.text() : std::string()));
    if (named == s.slices.end())
        return msa_fail(err, MSA_E_INTERNAL, "frame %zu names no image of the series", frame + 1);
    const int32_t slice = named->second;
    std::vector<bool>::reference seen = s.r.seen[seg][static_cast<size_t>(slice)];
    if (seen) return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: two frames", seg + 1, slice);
    seen = true;
    checked_frame out = {seg, slice, {}};
    MSA_TRY(compare_plane(out.plane, s, groups, seg, slice, err));
    s.r.frames.push_back(out);
    return MSA_OK;
}

msa_status compare_frames(structure &s, uint32_t length, msa_error *err)
{
    std::vector<uint8_t> groups;
    element item;
    for (uint32_t left = length; left > 0; left -= item.length + 8) {
        if (left < 8 || !s.file.next_item(item) || item.tag != ITEM || item.length > left - 8 ||
            item.length > GROUPS_MAX || !s.file.read(groups, item.length))
            return broken(err);
        MSA_TRY(compare_frame(s, {groups.data(), groups.size()}, err));
    }
    return MSA_OK;
}

/* What holds for the object as a whole; called when the pixels are reached. */
msa_status compare_object(structure &s, msa_error *err)
{
    DcmItem &image = *s.r.series.files[0]->getDataset();
    const bool labelmap = s.r.form.format == DICOM_SEG_LABELMAP;
    if (s.text[SOP_CLASS] != (labelmap ? DICOM_SEG_LABELMAP_CLASS : UID_SegmentationStorage))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back as an object of another class");
    if (s.number[ROWS] != static_cast<uint32_t>(s.r.series.info.rows) ||
        s.number[COLS] != static_cast<uint32_t>(s.r.series.info.cols))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back as %u x %u", s.number[ROWS],
                        s.number[COLS]);
    if (s.text[FRAME_OF_REFERENCE] != text_of(image, DCM_FrameOfReferenceUID))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back in another frame of reference");
    if (s.text[STUDY_UID] != text_of(image, DCM_StudyInstanceUID))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back in another study");
    if (s.r.frames.empty() || s.text[FRAMES] != std::to_string(s.r.frames.size()))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with another number of frames");
    return MSA_OK;
}

/* No frame may be missing: a slice without one has no pixel of that segment. */
msa_status compare_absent(const reading &r, msa_error *err)
{
    for (size_t seg = 0; seg < r.n; seg++)
        for (size_t k = 0; k < r.seen[seg].size(); k++) {
            if (r.seen[seg][k]) continue;
            if (r.digest(seg, static_cast<int32_t>(k)) != 0)
                return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %zu: the frame is missing", seg + 1,
                                k);
        }
    return MSA_OK;
}

/**
 * 0.02 mm, and one part in ten thousand of the way from the origin for strings of few digits: far below the
 * half pixel that a swapped, shifted or flipped plane is off.
 */
msa_status compare_centroids(const reading &r, msa_error *err)
{
    const dicom_volume_info &info = r.series.info;
    const double extent = std::hypot(info.rows * info.spacing_mm[0], info.cols * info.spacing_mm[1]);
    for (size_t seg = 0; seg < r.n; seg++) {
        const centroid &a = r.on_disk[seg], &b = r.in_memory[seg];
        double square = 0;
        for (int k = 0; k < 3; k++)
            square += std::pow(a.sum[k] / a.count - b.sum[k] / b.count, 2);
        const double mm = std::sqrt(square);
        if (!(a.count > 0) || a.count != b.count || !(mm <= 0.02 + 1e-4 * extent))
            return msa_fail(err, MSA_E_INTERNAL, "segment %zu: its centroid was read back %.3f mm away",
                            seg + 1, mm);
    }
    return MSA_OK;
}

/* One element of the top level: kept, compared, or passed over. */
msa_status take(structure &s, const element &e, msa_error *err)
{
    std::vector<uint8_t> value;
    if (e.tag == PER_FRAME) return compare_frames(s, e.length, err);
    if (e.tag == SHARED) {
        if (e.length > GROUPS_MAX || !s.file.read(value, e.length) || value.size() < 8) return broken(err);
        s.shared.assign(value.begin() + 8, value.end()); /* its one item */
        return MSA_OK;
    }
    if (e.length == 0xffffffff) return broken(err);
    if (e.length > VALUE_MAX) return s.file.skip(e.length) ? MSA_OK : broken(err);
    if (!s.file.read(value, e.length)) return broken(err);
    s.text[e.tag] = span{value.data(), value.size()}.text();
    s.number[e.tag] = span{value.data(), value.size()}.number();
    return MSA_OK;
}

} // namespace

msa_status dicom::seg::verify_file(const dicom_series &series, const dicom_segment *const *segments, size_t n,
                                   const uint64_t *const *digests, const dicom_seg_form &form,
                                   const char *path, msa_error *err)
{
    const size_t pixels = static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols);
    part10_stream file;
    reading r = {series, segments, n, digests, form, pixels};
    structure s = {r, file};
    element e;
    bool found = false;
    r.seen.assign(n, std::vector<bool>(series.slices.size()));
    r.on_disk.resize(n);
    r.in_memory.resize(n);
    MSA_TRY(file.open(path, err));
    ask_images(s);
    while (!found && file.next(e)) {
        found = e.tag == PIXELS;
        if (!found) MSA_TRY(take(s, e, err));
    }
    if (!found) return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back without pixels");
    MSA_TRY(compare_object(s, err));
    MSA_TRY(dicom::seg::compare_pixels(r, file, e, err));
    MSA_TRY(compare_absent(r, err));
    return compare_centroids(r, err);
}

msa_status dicom_seg_verify(const dicom_series *series, const dicom_segment *const *segments, size_t n,
                            const dicom_seg_form *form, const char *path, msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        return dicom::seg::verify_file(*series, segments, n, nullptr, *form, path, err);
    });
}
