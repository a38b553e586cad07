/* Segments of a SEG or of a label map (PS3.3 C.8.20.2, C.8.20.4, C.7.6.16.2). */
#include "dicom/annot/charset.h"
#include "dicom/guard.h"
#include "dicom/read/labels_impl.h"
#include "dicom/read/values.h"

#include "dcmtk/dcmdata/dcdeftag.h"

#include <cmath>
#include <map>

namespace dicom
{
namespace
{

constexpr size_t PLANES_MAX = size_t{1} << 18;     /* of segments on frames */
constexpr uint64_t LABELS_MAX = uint64_t{1} << 31; /* pixels that are looked through: some seconds */

class SegReader
{
  public:
    SegReader(dicom_masks &out, Reference &ref, const File &file, const char *path, msa_error *err)
        : out_(out), ref_(ref), root_(*file.content->getDataset()), err_(err),
          charset_(text(root_, DCM_SpecificCharacterSet)), file_(file), path_(path)
    {
    }
    msa_status read();

  private:
    msa_status read_form();
    msa_status read_segments();
    msa_status read_frame(size_t number, DcmItem &groups);
    msa_status put(SegFrame &f, bool found);
    msa_status put_labels(SegFrame &f, bool found);
    void read_reference();
    DcmItem *group(DcmItem &groups, const DcmTagKey &tag)
    {
        DcmItem *const own = first_of(&groups, tag);
        return own != nullptr ? own : first_of(shared_, tag);
    }
    dicom_code code(DcmItem &item, const DcmTagKey &tag);
    msa_status place(SegFrame &f, bool &found, size_t number, DcmItem &groups);
    int32_t named_slice(DcmItem &groups);

    dicom_masks &out_;
    Reference &ref_;
    DcmItem &root_;
    msa_error *err_;
    std::string charset_;
    const File &file_;
    const char *path_;
    DcmItem *shared_ = nullptr;
    SegForm form_;
    uint64_t pixels_seen_ = 0;
    std::map<uint16_t, size_t> by_number_;
};

/* BINARY: a bit. FRACTIONAL: set from half of the greatest value on. LABELMAP: the number of the segment. */
msa_status SegReader::read_form()
{
    uint16_t rows = 0, cols = 0, allocated = 0, most = 255, padding = 0;
    const std::string type = code_string(root_, DCM_SegmentationType);
    if (type != "BINARY" && type != "FRACTIONAL" && type != "LABELMAP")
        return msa_fail(err_, MSA_E_UNSUPPORTED,
                        "the segmentation is neither BINARY, FRACTIONAL nor LABELMAP");
    if (find_u16(root_, DCM_Rows, rows) != FIND_OK || find_u16(root_, DCM_Columns, cols) != FIND_OK ||
        rows < 1 || cols < 1)
        return msa_fail(err_, MSA_E_PARSE, "the segmentation has no rows or columns");
    if (find_u16(root_, DCM_BitsAllocated, allocated) != FIND_OK) allocated = 0;
    if (type == "BINARY" && allocated != 1)
        return msa_fail(err_, MSA_E_PARSE, "the binary segmentation does not have one bit a pixel");
    if (type != "BINARY" && allocated != 8 && !(type == "LABELMAP" && allocated == 16))
        return msa_fail(err_, MSA_E_PARSE, "the segmentation's Bits Allocated does not fit its type");
    if (find_int(root_, DCM_NumberOfFrames, form_.frames) != FIND_OK || form_.frames < 1)
        return msa_fail(err_, MSA_E_PARSE, "the segmentation's Number of Frames is not a positive number");
    form_.rows = rows;
    form_.cols = cols;
    form_.bits = allocated;
    form_.label_map = type == "LABELMAP";
    if (find_u16(root_, DCM_MaximumFractionalValue, most) == FIND_BAD || most == 0) most = 255;
    if (type == "FRACTIONAL") form_.least = (most + 1u) / 2;
    if (find_u16(root_, DCM_PixelPaddingValue, padding) == FIND_OK) form_.background = padding;
    return MSA_OK;
}

dicom_code SegReader::code(DcmItem &item, const DcmTagKey &tag)
{
    dicom_code c{};
    DcmItem *const from = first_of(&item, tag);
    if (from == nullptr) return c;
    const std::string value = text(*from, DCM_CodeValue), scheme = text(*from, DCM_CodingSchemeDesignator);
    const auto plain = [](const std::string &s) { /* char may be signed: bytes over 0x7f are below ' ' */
                                                  for (const char ch : s)
                                                      if (ch < ' ' || ch == 0x7f) return false;
                                                  return !s.empty() && s.size() <= 16;
    };
    if (!plain(value) || !plain(scheme)) return c;
    copy(c.value, sizeof c.value, value);
    copy(c.scheme, sizeof c.scheme, scheme);
    copy(c.meaning, sizeof c.meaning,
         cut_utf8(to_utf8(text(*from, DCM_CodeMeaning), charset_), 64, sizeof c.meaning));
    return c;
}

msa_status SegReader::read_segments()
{
    for (DcmItem *const item : items_of(root_, DCM_SegmentSequence)) {
        uint16_t number = 0;
        if (find_u16(*item, DCM_SegmentNumber, number) != FIND_OK || (number == 0 && !form_.label_map))
            return msa_fail(err_, MSA_E_PARSE, "a segment has no number");
        if (number == 0) continue; /* a label map may describe its background */
        if (!by_number_.emplace(number, out_.list.size()).second)
            return msa_fail(err_, MSA_E_PARSE, "segment %u is described twice", number);
        dicom_mask l = make_label(number, *item, DCM_SegmentLabel, "Segment", charset_);
        l.category = code(*item, DCM_SegmentedPropertyCategoryCodeSequence);
        l.type = code(*item, DCM_SegmentedPropertyTypeCodeSequence);
        l.site = code(*item, DCM_AnatomicRegionSequence);
        copy(l.tracking_id, sizeof l.tracking_id,
             cut_utf8(to_utf8(text(*item, DCM_TrackingID), charset_), 64, sizeof l.tracking_id));
        const std::string uid = text(*item, DCM_TrackingUID);
        copy(l.tracking_uid, sizeof l.tracking_uid, is_uid(uid) ? uid : "");
        out_.list.push_back(l);
    }
    if (out_.list.empty()) return msa_fail(err_, MSA_E_PARSE, "the segmentation describes no segment");
    return MSA_OK;
}

/* -1 when it names none of ours, or several: a frame over a thick slab has no one slice. */
int32_t SegReader::named_slice(DcmItem &groups)
{
    int32_t slice = -1, found = 0;
    DcmItem *const derivation = group(groups, DCM_DerivationImageSequence);
    if (derivation == nullptr) return -1;
    for (DcmItem *const image : items_of(*derivation, DCM_SourceImageSequence)) {
        const std::string uid = text(*image, DCM_ReferencedSOPInstanceUID);
        ref_.image(out_.slices, uid);
        int32_t frame = 0;
        if (find_int(*image, DCM_ReferencedFrameNumber, frame) != FIND_OK) frame = 0;
        const int32_t at = out_.slices.find(uid, frame);
        if (at < 0) continue;
        slice = at;
        found++;
    }
    return found == 1 ? slice : -1;
}

double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* The plane is what the frame says of itself, so it goes before the name of an image. */
msa_status SegReader::place(SegFrame &f, bool &found, size_t number, DcmItem &groups)
{
    double origin[3], directions[6], spacing[2];
    const Slices &s = out_.slices;
    const int32_t named = named_slice(groups);
    DcmItem *const position = group(groups, DCM_PlanePositionSequence);
    DcmItem *const orientation = group(groups, DCM_PlaneOrientationSequence);
    DcmItem *const measures = group(groups, DCM_PixelMeasuresSequence);
    if (position == nullptr || orientation == nullptr || measures == nullptr) {
        f.slice = named;
        found = named >= 0 && form_.rows == s.rows && form_.cols == s.cols;
        return MSA_OK;
    }
    if (find_numbers(*position, DCM_ImagePositionPatient, 3, origin) != FIND_OK ||
        find_numbers(*orientation, DCM_ImageOrientationPatient, 6, directions) != FIND_OK ||
        find_numbers(*measures, DCM_PixelSpacing, 2, spacing) != FIND_OK || !(spacing[0] > 1e-4) ||
        !(spacing[1] > 1e-4))
        return msa_fail(err_, MSA_E_PARSE, "frame %zu of the segmentation has no proper plane", number);
    const double *const row = directions, *const col = directions + 3;
    const double lengths[2] = {std::sqrt(dot(row, row)), std::sqrt(dot(col, col))};
    if (std::fabs(lengths[0] - 1) > 0.01 || std::fabs(lengths[1] - 1) > 0.01 ||
        std::fabs(dot(row, col)) > 0.01)
        return msa_fail(err_, MSA_E_PARSE,
                        "frame %zu of the segmentation is not spanned by two perpendicular unit vectors",
                        number);
    f.slice = s.at(dot(origin, s.normal));
    found = f.slice >= 0 && std::fabs(dot(row, s.normal)) < 0.01 && std::fabs(dot(col, s.normal)) < 0.01;
    if (!found) return MSA_OK;
    const double *const corner = s.list[size_t(f.slice)].origin_mm;
    const double from[3] = {corner[0] - origin[0], corner[1] - origin[1], corner[2] - origin[2]};
    f.u[0] = dot(from, row) / spacing[1];
    f.u[1] = dot(s.row_dir, row) * s.spacing_mm[1] / spacing[1];
    f.u[2] = dot(s.col_dir, row) * s.spacing_mm[0] / spacing[1];
    f.v[0] = dot(from, col) / spacing[0];
    f.v[1] = dot(s.row_dir, col) * s.spacing_mm[1] / spacing[0];
    f.v[2] = dot(s.col_dir, col) * s.spacing_mm[0] / spacing[0];
    return MSA_OK;
}

msa_status SegReader::put(SegFrame &f, bool found)
{
    if (!found) {
        out_.list[f.label].planes_outside++;
        return MSA_OK;
    }
    if (out_.frames.size() == PLANES_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the segmentation has more than %zu planes", PLANES_MAX);
    out_.frames.push_back(f);
    return MSA_OK;
}

msa_status SegReader::read_frame(size_t number, DcmItem &groups)
{
    SegFrame f;
    uint16_t segment = 0;
    bool found = false;
    f.number = number - 1;
    if (form_.label_map) {
        MSA_TRY(place(f, found, number, groups));
        return put_labels(f, found);
    }
    DcmItem *const identity = group(groups, DCM_SegmentIdentificationSequence);
    if (identity == nullptr || find_u16(*identity, DCM_ReferencedSegmentNumber, segment) != FIND_OK ||
        by_number_.count(segment) == 0)
        return msa_fail(err_, MSA_E_PARSE, "frame %zu belongs to no segment that is described", number);
    f.label = by_number_[segment];
    MSA_TRY(place(f, found, number, groups));
    return put(f, found);
}

/* A frame of a label map counts for every segment that has a pixel in it. */
msa_status SegReader::put_labels(SegFrame &f, bool found)
{
    std::vector<uint8_t> buffer, seen(size_t{1} << 16, 0);
    SegView view;
    pixels_seen_ += form_.pixels();
    if (pixels_seen_ > LABELS_MAX)
        return msa_fail(err_, MSA_E_UNSUPPORTED, "the label map has more than %llu pixels",
                        (unsigned long long)LABELS_MAX);
    MSA_TRY(out_.seg.view(view, buffer, f.number, err_));
    for (uint64_t i = 0; i < form_.pixels(); i++)
        seen[view.at(i)] = 1;
    for (const auto &segment : by_number_) {
        if (!seen[segment.first] || segment.first == form_.background) continue;
        f.label = segment.second;
        MSA_TRY(put(f, found));
    }
    return MSA_OK;
}

void SegReader::read_reference()
{
    for (DcmItem *const series : items_of(root_, DCM_ReferencedSeriesSequence)) {
        ref_.series(out_.slices, text(*series, DCM_SeriesInstanceUID));
        for (DcmItem *const image : items_of(*series, DCM_ReferencedInstanceSequence))
            ref_.image(out_.slices, text(*image, DCM_ReferencedSOPInstanceUID));
    }
}

msa_status SegReader::read()
{
    MSA_TRY(read_form());
    MSA_TRY(read_segments());
    MSA_TRY(out_.seg.read(form_, file_, path_, err_));
    read_reference();
    shared_ = first_of(&root_, DCM_SharedFunctionalGroupsSequence);
    const std::vector<DcmItem *> groups = items_of(root_, DCM_PerFrameFunctionalGroupsSequence);
    if (groups.size() != size_t(form_.frames))
        return msa_fail(err_, MSA_E_PARSE, "the segmentation has %d frames but describes %zu", form_.frames,
                        groups.size());
    for (size_t k = 0; k < groups.size(); k++)
        MSA_TRY(read_frame(k + 1, *groups[k]));
    return MSA_OK;
}

} // namespace

msa_status read_seg_labels(dicom_masks &out, Reference &ref, const File &file, const char *path,
                           msa_error *err)
{
    return SegReader(out, ref, file, path, err).read();
}

} // namespace dicom
