/* Reading back: what lies on disk is what was in memory. Nothing of the writing side is called here. */
#include "dicom/seg/seg_impl.h"

#include <cmath>
#include <cstring>

using dicom::seg::numbers_of;
using dicom::seg::text_of;

namespace
{

struct plane {
    double origin[3] = {}, row[3] = {}, col[3] = {}, between_rows = 0, between_cols = 0;
};

/* Sums over the set pixels of one segment: the centroid is sum / count. */
struct centroid {
    double sum[3] = {0, 0, 0};
    double count = 0;
    void add(const plane &p, double n, double sum_r, double sum_c)
    {
        for (int k = 0; k < 3; k++)
            sum[k] += n * p.origin[k] + sum_c * p.between_cols * p.row[k] + sum_r * p.between_rows * p.col[k];
        count += n;
    }
};

struct reading {
    const dicom_series &series;
    const dicom_segment *const *segments;
    size_t n;
    size_t pixels;
    DcmItem *dataset;
    const Uint8 *bits;
    std::vector<std::vector<bool>> seen; /* segment, slice: a frame was there */
    std::vector<centroid> on_disk, in_memory;
};

DcmItem *child(DcmItem *item, const DcmTagKey &sequence, unsigned long k = 0)
{
    DcmItem *found = nullptr;
    if (!item || item->findAndGetSequenceItem(sequence, found, static_cast<long>(k)).bad()) return nullptr;
    return found;
}

/* A functional group of the frame, else the shared one. */
DcmItem *group(const reading &r, DcmItem *frame, const DcmTagKey &sequence)
{
    DcmItem *own = child(frame, sequence);
    return own ? own : child(child(r.dataset, DCM_SharedFunctionalGroupsSequence), sequence);
}

bool near(const std::vector<double> &a, const std::vector<double> &b, size_t n)
{
    if (a.size() != n || b.size() != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!(std::fabs(a[i] - b[i]) <= 1e-5)) return false;
    return true;
}

/* Pixels of the frame against the mask; both centroids grow on the way. */
msa_status compare_bits(reading &r, size_t frame, size_t seg, int32_t slice, const plane &disk,
                        const plane &memory, msa_error *err)
{
    const uint8_t *mask = r.segments[seg]->mask + static_cast<size_t>(slice) * r.pixels;
    const size_t cols = static_cast<size_t>(r.series.info.cols);
    const uint64_t first = static_cast<uint64_t>(frame) * r.pixels;
    double n[2] = {0, 0}, rows_sum[2] = {0, 0}, cols_sum[2] = {0, 0};
    for (size_t p = 0; p < r.pixels; p++) {
        const uint64_t bit = first + p;
        const bool stored = (r.bits[bit / 8] >> (bit % 8) & 1) != 0, wanted = mask[p] != 0;
        if (stored != wanted)
            return msa_fail(err, MSA_E_INTERNAL,
                            "segment %zu, slice %d: pixel (row %zu, column %zu) was read back as %d", seg + 1,
                            slice, p / cols, p % cols, stored ? 1 : 0);
        if (stored) {
            n[0] += 1;
            rows_sum[0] += static_cast<double>(p / cols);
            cols_sum[0] += static_cast<double>(p % cols);
        }
        if (wanted) {
            n[1] += 1;
            rows_sum[1] += static_cast<double>(p / cols);
            cols_sum[1] += static_cast<double>(p % cols);
        }
    }
    r.on_disk[seg].add(disk, n[0], rows_sum[0], cols_sum[0]);
    r.in_memory[seg].add(memory, n[1], rows_sum[1], cols_sum[1]);
    return MSA_OK;
}

/* Which slice a frame belongs to, by the image it names. */
msa_status find_slice(int32_t &out, const reading &r, DcmItem *groups, size_t frame, msa_error *err)
{
    DcmItem *image = child(child(groups, DCM_DerivationImageSequence), DCM_SourceImageSequence);
    const std::string uid = image ? text_of(*image, DCM_ReferencedSOPInstanceUID) : "";
    out = -1;
    for (size_t k = 0; k < r.series.slices.size(); k++)
        if (uid == r.series.slices[k].sop_instance_uid) out = static_cast<int32_t>(k);
    if (out < 0) return msa_fail(err, MSA_E_INTERNAL, "frame %zu names no image of the series", frame + 1);
    return MSA_OK;
}

/* The frame's plane out of the file, after its words were compared with those of the image. */
msa_status compare_plane(plane &disk, const reading &r, DcmItem *groups, size_t seg, int32_t slice,
                         msa_error *err)
{
    DcmItem &image = *r.series.files[static_cast<size_t>(slice)]->getDataset();
    DcmItem *position = group(r, groups, DCM_PlanePositionSequence);
    DcmItem *orientation = group(r, groups, DCM_PlaneOrientationSequence);
    DcmItem *measures = group(r, groups, DCM_PixelMeasuresSequence);
    if (!position || !orientation || !measures)
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the frame has no plane", seg + 1, slice);
    if (text_of(*position, DCM_ImagePositionPatient) != text_of(image, DCM_ImagePositionPatient))
        return msa_fail(err, MSA_E_INTERNAL,
                        "segment %zu, slice %d: the frame's plane position is not the image's", seg + 1,
                        slice);
    const std::vector<double> iop = numbers_of(*orientation, DCM_ImageOrientationPatient);
    if (!near(iop, numbers_of(image, DCM_ImageOrientationPatient), 6))
        return msa_fail(err, MSA_E_INTERNAL,
                        "segment %zu, slice %d: the frame's orientation is not the image's", seg + 1, slice);
    const std::vector<double> spacing = numbers_of(*measures, DCM_PixelSpacing);
    if (!near(spacing, numbers_of(image, DCM_PixelSpacing), 2))
        return msa_fail(err, MSA_E_INTERNAL,
                        "segment %zu, slice %d: the frame's pixel spacing is not the image's", seg + 1,
                        slice);
    const std::vector<double> ipp = numbers_of(*position, DCM_ImagePositionPatient);
    if (ipp.size() != 3)
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: the frame has no position", seg + 1,
                        slice);
    for (size_t k = 0; k < 3; k++) {
        disk.origin[k] = ipp[k];
        disk.row[k] = iop[k];
        disk.col[k] = iop[k + 3];
    }
    disk.between_rows = spacing[0];
    disk.between_cols = spacing[1];
    return MSA_OK;
}

/* The plane as the engine saw it. */
plane plane_in_memory(const dicom_series &series, int32_t slice)
{
    plane p;
    for (int k = 0; k < 3; k++) {
        p.origin[k] = series.slices[static_cast<size_t>(slice)].origin_mm[k];
        p.row[k] = series.info.row_dir[k];
        p.col[k] = series.info.col_dir[k];
    }
    p.between_rows = series.info.spacing_mm[0];
    p.between_cols = series.info.spacing_mm[1];
    return p;
}

msa_status compare_frame(reading &r, DcmItem *groups, size_t frame, msa_error *err)
{
    DcmItem *identity = group(r, groups, DCM_SegmentIdentificationSequence);
    Uint16 number = 0;
    if (!identity || identity->findAndGetUint16(DCM_ReferencedSegmentNumber, number).bad() || number == 0 ||
        number > r.n)
        return msa_fail(err, MSA_E_INTERNAL, "frame %zu belongs to no segment", frame + 1);
    const size_t seg = number - 1u;
    int32_t slice = -1;
    plane disk;
    MSA_TRY(find_slice(slice, r, groups, frame, err));
    if (r.seen[seg][static_cast<size_t>(slice)])
        return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %d: two frames", seg + 1, slice);
    r.seen[seg][static_cast<size_t>(slice)] = true;
    MSA_TRY(compare_plane(disk, r, groups, seg, slice, err));
    return compare_bits(r, frame, seg, slice, disk, plane_in_memory(r.series, slice), err);
}

/* No frame may be missing: a slice without one has no pixel of that segment. */
msa_status compare_absent(const reading &r, msa_error *err)
{
    for (size_t seg = 0; seg < r.n; seg++)
        for (size_t k = 0; k < r.seen[seg].size(); k++) {
            const uint8_t *mask = r.segments[seg]->mask + k * r.pixels;
            if (r.seen[seg][k]) continue;
            for (size_t p = 0; p < r.pixels; p++)
                if (mask[p])
                    return msa_fail(err, MSA_E_INTERNAL, "segment %zu, slice %zu: the frame is missing",
                                    seg + 1, k);
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

/* What holds for the object as a whole. */
msa_status compare_object(reading &r, size_t &frames, msa_error *err)
{
    Sint32 count = 0;
    Uint16 rows = 0, cols = 0;
    unsigned long bytes = 0;
    DcmItem &image = *r.series.files[0]->getDataset();
    const OFCondition cond = r.dataset->findAndGetUint8Array(DCM_PixelData, r.bits, &bytes);
    if (cond.bad() || !r.bits || r.dataset->findAndGetSint32(DCM_NumberOfFrames, count).bad() || count < 1 ||
        r.dataset->findAndGetUint16(DCM_Rows, rows).bad() ||
        r.dataset->findAndGetUint16(DCM_Columns, cols).bad())
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back without pixels");
    frames = static_cast<size_t>(count);
    if (rows != r.series.info.rows || cols != r.series.info.cols)
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back as %u x %u", rows, cols);
    if (static_cast<uint64_t>(bytes) * 8 < static_cast<uint64_t>(frames) * r.pixels)
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with %lu bytes for %zu frames",
                        bytes, frames);
    if (text_of(*r.dataset, DCM_FrameOfReferenceUID) != text_of(image, DCM_FrameOfReferenceUID))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back in another frame of reference");
    if (text_of(*r.dataset, DCM_StudyInstanceUID) != text_of(image, DCM_StudyInstanceUID))
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back in another study");
    return MSA_OK;
}

msa_status verify(const dicom_series &series, const dicom_segment *const *segments, size_t n,
                  const char *path, msa_error *err)
{
    DcmFileFormat file;
    const OFCondition cond = file.loadFile(path);
    if (cond.bad()) return dicom::fail(err, cond, "read the segmentation back");
    const size_t pixels = static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols);
    const std::vector<bool> none(series.slices.size());
    reading r = {series,
                 segments,
                 n,
                 pixels,
                 file.getDataset(),
                 nullptr,
                 std::vector<std::vector<bool>>(n, none),
                 std::vector<centroid>(n),
                 std::vector<centroid>(n)};
    size_t frames = 0;
    MSA_TRY(compare_object(r, frames, err));
    DcmSequenceOfItems *groups = nullptr;
    if (r.dataset->findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups).bad() ||
        groups->card() != frames)
        return msa_fail(err, MSA_E_INTERNAL, "the segmentation was read back with another number of frames");
    DcmObject *at = nullptr; /* nextInContainer() is constant time, getItem(k) is not */
    for (size_t k = 0; k < frames; k++) {
        at = groups->nextInContainer(at);
        MSA_TRY(compare_frame(r, static_cast<DcmItem *>(at), k, err));
    }
    MSA_TRY(compare_absent(r, err));
    return compare_centroids(r, err);
}

} // namespace

msa_status dicom_seg_verify(const dicom_series *series, const dicom_segment *const *segments, size_t n,
                            const char *path, msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status { return verify(*series, segments, n, path, err); });
}
