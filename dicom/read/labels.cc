#include "dicom/labels.h"
#include "dicom/annot/charset.h"
#include "dicom/guard.h"
#include "dicom/read/labels_impl.h"
#include "dicom/read/series_impl.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"
#include "dcmtk/dcmdata/dcuid.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dicom
{

/* ---- the series ---- */

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static int32_t nearest(const std::vector<dicom_slice> &list, double position_mm, double tolerance)
{
    int32_t best = -1;
    double least = tolerance;
    const auto above = std::lower_bound(list.begin(), list.end(), position_mm - tolerance,
                                        [](const dicom_slice &s, double p) { return s.position_mm < p; });
    for (auto s = above; s != list.end() && s->position_mm <= position_mm + tolerance; ++s) {
        const double distance = std::fabs(s->position_mm - position_mm);
        if (distance > least) continue;
        least = distance;
        best = int32_t(s - list.begin());
    }
    return best;
}

int32_t Slices::at(double position_mm) const
{
    return nearest(list, position_mm, std::max(0.1 * step_mm, 0.01));
}

int32_t Slices::near(double position_mm) const
{
    return nearest(list, position_mm, std::max(0.5 * step_mm, 0.01) * (1 + 1e-6));
}

int32_t Slices::find(const std::string &sop_instance_uid, int32_t frame) const
{
    for (size_t i = 0; i < list.size(); i++)
        if (sop_instance_uid == list[i].sop_instance_uid &&
            (frame == 0 || list[i].frame == 0 || list[i].frame == frame))
            return int32_t(i);
    return -1;
}

void Slices::to_pixels(int32_t slice, const double point_mm[3], double &x, double &y) const
{
    const double *const origin = list[size_t(slice)].origin_mm;
    const double from[3] = {point_mm[0] - origin[0], point_mm[1] - origin[1], point_mm[2] - origin[2]};
    x = dot(from, row_dir) / spacing_mm[1];
    y = dot(from, col_dir) / spacing_mm[0];
}

static Slices slices_of(const dicom_series &series)
{
    Slices s;
    const dicom_volume_info &info = series.info;
    s.rows = info.rows;
    s.cols = info.cols;
    std::copy_n(info.spacing_mm, 2, s.spacing_mm);
    std::copy_n(info.row_dir, 3, s.row_dir);
    std::copy_n(info.col_dir, 3, s.col_dir);
    std::copy_n(info.normal, 3, s.normal);
    s.step_mm = info.step_mm;
    s.list = series.slices;
    s.series_uid = info.series_uid;
    s.frame_of_reference_uid = text(*series.files.front()->getDataset(), DCM_FrameOfReferenceUID);
    return s;
}

/* ---- reading ---- */

void Reference::series(const Slices &slices, const std::string &uid)
{
    if (uid.empty()) return;
    names_images = true;
    names_ours = names_ours || uid == slices.series_uid;
}

void Reference::image(const Slices &slices, const std::string &uid)
{
    if (uid.empty()) return;
    names_images = true;
    names_ours = names_ours || slices.find(uid, 0) >= 0;
}

dicom_mask make_label(int32_t number, DcmItem &item, const DcmTagKey &tag, const char *what,
                      const std::string &charset)
{
    dicom_mask l{};
    std::string name = to_utf8(text(item, tag), charset);
    if (name.empty()) name = std::string(what) + " " + std::to_string(number);
    copy(l.name, sizeof l.name, cut_utf8(name, 64, sizeof l.name));
    l.number = number;
    l.first_slice = l.last_slice = -1;
    return l;
}

/* Planes of a label lie together, in the order of slices; the ranges are found by halving. */
template <typename Plane> static void sort_planes(std::vector<Plane> &planes)
{
    std::stable_sort(planes.begin(), planes.end(), [](const Plane &a, const Plane &b) {
        return a.label != b.label ? a.label < b.label : a.slice < b.slice;
    });
}

template <typename Plane>
static std::pair<const Plane *, const Plane *> planes_on(const std::vector<Plane> &planes, size_t label,
                                                         int32_t slice)
{
    const auto before = [=](const Plane &p, int) {
        return p.label != label ? p.label < label : p.slice < slice;
    };
    const auto after = [=](int, const Plane &p) {
        return p.label != label ? label < p.label : slice < p.slice;
    };
    const auto from = std::lower_bound(planes.begin(), planes.end(), 0, before);
    const auto to = std::upper_bound(from, planes.end(), 0, after);
    return {planes.data() + (from - planes.begin()), planes.data() + (to - planes.begin())};
}

template <typename Plane>
static void count_planes(std::vector<dicom_mask> &list, const std::vector<Plane> &planes)
{
    for (const Plane &p : planes) {
        dicom_mask &l = list[p.label];
        if (l.planes++ == 0) l.first_slice = p.slice;
        l.last_slice = p.slice;
    }
}

static void note_outside(dicom_masks &l)
{
    int64_t outside = 0;
    for (const dicom_mask &one : l.list)
        outside += one.planes_outside;
    if (outside == 0) return;
    const char *const what = l.seg.form().frames == 0 ? "contour" : "frame";
    l.note += (l.note.empty() ? "" : "; ") + std::to_string(outside) + " " + what +
              (outside == 1 ? " lies" : "s lie") + " on no slice of the series";
}

static msa_status check_reference(const dicom_masks &l, const Reference &ref, msa_error *err)
{
    if (ref.names_ours) return MSA_OK;
    if (ref.names_images) return msa_fail(err, MSA_E_NOT_FOUND, "the object refers to another series");
    if (ref.frame_of_reference_uid.empty() || ref.frame_of_reference_uid != l.slices.frame_of_reference_uid)
        return msa_fail(err, MSA_E_NOT_FOUND,
                        "the object names no image and is not in the series' frame of reference");
    return MSA_OK;
}

static bool is_report(const char *sop_class_uid)
{
    for (const char *one : {UID_EnhancedSRStorage, UID_ComprehensiveSRStorage, UID_Comprehensive3DSRStorage})
        if (std::strcmp(one, sop_class_uid) == 0) return true;
    return false;
}

static msa_status read_labels(dicom_masks &l, const dicom_series &series, const char *path, msa_error *err)
{
    File file;
    Reference ref;
    MSA_TRY(read_file(file, path, err));
    l.slices = slices_of(series);
    ref.frame_of_reference_uid = file.header.frame_of_reference_uid;
    if (std::strcmp(file.header.sop_class_uid, UID_SegmentationStorage) == 0 ||
        std::strcmp(file.header.sop_class_uid, UID_LABEL_MAP) == 0)
        MSA_TRY(read_seg_labels(l, ref, file, path, err));
    else if (std::strcmp(file.header.sop_class_uid, UID_RTStructureSetStorage) == 0)
        MSA_TRY(read_rtstruct_labels(l, ref, *file.content->getDataset(), err));
    else if (is_report(file.header.sop_class_uid))
        MSA_TRY(read_sr_labels(l, ref, *file.content->getDataset(), err));
    else
        return msa_fail(err, MSA_E_UNSUPPORTED,
                        "the object is neither a segmentation nor an RT structure set nor a report");
    MSA_TRY(check_reference(l, ref, err));
    sort_planes(l.frames);
    sort_planes(l.contours);
    for (size_t i = 1; i < l.frames.size(); i++)
        if (l.frames[i].label == l.frames[i - 1].label && l.frames[i].slice == l.frames[i - 1].slice)
            return msa_fail(err, MSA_E_PARSE, "segment %d has two frames on slice %d",
                            l.list[l.frames[i].label].number, l.frames[i].slice);
    count_planes(l.list, l.frames);
    count_planes(l.list, l.contours);
    note_outside(l);
    return MSA_OK;
}

/* ---- filling ---- */

/* A pixel of a label map is set where it holds the segment's number. */
static msa_status fill_frame(const dicom_masks &l, const SegFrame &f, uint8_t *plane, msa_error *err)
{
    const SegForm &form = l.seg.form();
    const uint32_t wanted = uint32_t(l.list[f.label].number);
    std::vector<uint8_t> buffer;
    SegView view;
    MSA_TRY(l.seg.view(view, buffer, f.number, err));
    for (int32_t y = 0; y < l.slices.rows; y++)
        for (int32_t x = 0; x < l.slices.cols; x++) {
            const double col = std::floor(f.u[0] + f.u[1] * x + f.u[2] * y + 0.5);
            const double row = std::floor(f.v[0] + f.v[1] * x + f.v[2] * y + 0.5);
            if (!(col >= 0 && col < form.cols && row >= 0 && row < form.rows)) continue;
            const uint32_t value = view.at(uint64_t(row) * uint64_t(form.cols) + uint64_t(col));
            plane[size_t(y) * size_t(l.slices.cols) + size_t(x)] =
                form.label_map ? value == wanted : value >= form.least;
        }
    return MSA_OK;
}

/* Marks, on every row that the edge crosses, the first pixel whose centre is not left of it: what lies behind
 * an odd number of marks is inside. A row belongs to an edge's upper end and not to its lower one, so that a
 * corner counts once. */
static int64_t mark_edge(uint8_t *plane, int32_t rows, int32_t cols, double x0, double y0, double x1,
                         double y1)
{
    if (y0 > y1) {
        std::swap(x0, x1);
        std::swap(y0, y1);
    }
    const double first = std::max(std::ceil(y0), 0.0), end = std::min(std::ceil(y1), double(rows));
    for (double y = first; y < end; y += 1) {
        const double x = std::max(std::ceil(x0 + (x1 - x0) * (y - y0) / (y1 - y0)), 0.0);
        if (x < cols) plane[size_t(y) * size_t(cols) + size_t(x)] ^= 1;
    }
    return end > first ? int64_t(end - first) : 0;
}

static msa_status fill_contours(const dicom_masks &l, const Contour *from, const Contour *to, uint8_t *plane,
                                msa_error *err)
{
    constexpr int64_t STEPS_MAX = int64_t{1} << 28; /* about a second */
    int64_t steps = 0;
    for (const Contour *c = from; c != to; c++)
        for (size_t i = 0; i < c->x.size(); i++) {
            const size_t next = i + 1 < c->x.size() ? i + 1 : 0;
            steps += mark_edge(plane, l.slices.rows, l.slices.cols, c->x[i], c->y[i], c->x[next], c->y[next]);
            if (steps > STEPS_MAX)
                return msa_fail(err, MSA_E_UNSUPPORTED,
                                "the contours of ROI %d on slice %d are too intricate",
                                l.list[c->label].number, c->slice);
        }
    for (int32_t y = 0; y < l.slices.rows; y++) {
        uint8_t *const row = plane + size_t(y) * size_t(l.slices.cols);
        for (int32_t x = 1; x < l.slices.cols; x++)
            row[x] = uint8_t(row[x] ^ row[x - 1]);
    }
    return MSA_OK;
}

static msa_status fill_slice(const dicom_masks &l, size_t i, int32_t slice, uint8_t *plane, int64_t *pixels,
                             msa_error *err)
{
    const size_t n = size_t(l.slices.rows) * size_t(l.slices.cols);
    std::memset(plane, 0, n);
    const auto frames = planes_on(l.frames, i, slice);
    const auto contours = planes_on(l.contours, i, slice);
    for (const SegFrame *f = frames.first; f != frames.second; f++)
        MSA_TRY(fill_frame(l, *f, plane, err));
    if (contours.first != contours.second)
        MSA_TRY(fill_contours(l, contours.first, contours.second, plane, err));
    if (pixels != nullptr) *pixels = std::count(plane, plane + n, uint8_t{1});
    return MSA_OK;
}

} // namespace dicom

msa_status dicom_masks_read(dicom_masks **out, const dicom_series *series, const char *path, msa_error *err)
{
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        auto labels = std::make_unique<dicom_masks>();
        MSA_TRY(dicom::read_labels(*labels, *series, path, err));
        *out = labels.release();
        return MSA_OK;
    });
}

void dicom_masks_free(dicom_masks *l)
{
    delete l;
}

size_t dicom_masks_count(const dicom_masks *l)
{
    return l->list.size();
}

const dicom_mask *dicom_masks_at(const dicom_masks *l, size_t i)
{
    return i < l->list.size() ? &l->list[i] : nullptr;
}

const char *dicom_masks_note(const dicom_masks *l)
{
    return l->note.c_str();
}

msa_status dicom_masks_fill_slice(const dicom_masks *l, size_t i, int32_t slice, uint8_t *plane,
                                  int64_t *pixels, msa_error *err)
{
    return dicom::guard(err,
                        [&]() -> msa_status { return dicom::fill_slice(*l, i, slice, plane, pixels, err); });
}

msa_status dicom_masks_fill(const dicom_masks *l, size_t i, uint8_t *mask, int64_t *voxels, msa_error *err)
{
    return dicom::guard(err, [&]() -> msa_status {
        const size_t n = size_t(l->slices.rows) * size_t(l->slices.cols);
        int64_t total = 0;
        for (size_t k = 0; k < l->slices.list.size(); k++) {
            int64_t some = 0;
            MSA_TRY(dicom::fill_slice(*l, i, int32_t(k), mask + k * n, &some, err));
            total += some;
        }
        if (voxels != nullptr) *voxels = total;
        return MSA_OK;
    });
}
