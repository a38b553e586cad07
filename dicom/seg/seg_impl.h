/* Private to dicom/seg/: the steps from masks to files. plan -> header, frame items, pixels -> file ->
 * verify. */
#ifndef DICOM_SEG_SEG_IMPL_H
#define DICOM_SEG_SEG_IMPL_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <string>
#include <vector>

#include "dicom/guard.h"
#include "dicom/read/series_impl.h"
#include "dicom/seg.h"
#include "dicom/seg/codes.h"
#include "dicom/seg/output.h"
#include "dicom/seg/put.h"
#include "dicom/seg/text.h"

/* Newer than Debian's DCMTK. */
#define DICOM_SEG_LABELMAP_CLASS "1.2.840.10008.5.1.4.1.1.66.7"

namespace dicom
{
namespace seg
{

/* Pixels of a slice outside of which a mask has none; both ends at multiples of 64 or the end of the slice.
 */
struct pixel_range {
    size_t first, end;
};

/* A segment of the caller, and where it lies. Its number in the object is its place in
 * planned_file::segments, from 1. */
struct planned_segment {
    const dicom_segment *in;
    size_t index;                    /* in the caller's array */
    std::vector<int32_t> slices;     /* with at least one pixel, ascending along the normal */
    std::vector<pixel_range> ranges; /* of each of them */
    std::vector<uint64_t> digests;   /* of every slice of the series: dicom/seg/digest.h */
    dicom_meaning meaning;
    dicom_colour colour;
};

struct planned_frame {
    size_t segment; /* place in planned_file::segments; of a label map 0, its frames hold all of them */
    int32_t slice;
    pixel_range range; /* of the segment there; of a label map the whole slice */
};

/* One instance. Its segments share no pixel, unless the profile lets them. */
struct planned_file {
    std::vector<planned_segment> segments;
    std::vector<planned_frame> frames; /* in the order in which they are written */
    std::vector<int32_t>
        positions; /* every slice that a frame lies on, ascending: the ranks of a dimension */
};

/* What every part of the dataset is made from. */
struct source {
    const dicom_series &series;
    const dicom_seg_options &options;
    const planned_file &file;
    size_t number; /* of the instance in the result, from 1 */
    charset text;
    DcmItem &header(int32_t slice) const
    {
        return *series.files[static_cast<size_t>(slice)]->getDataset();
    }
    size_t pixels() const /* of a frame */
    {
        return static_cast<size_t>(series.info.rows) * static_cast<size_t>(series.info.cols);
    }
    int bits() const /* of a pixel */
    {
        if (options.form.format == DICOM_SEG_BINARY) return 1;
        return options.form.format == DICOM_SEG_LABELMAP && file.segments.size() > 255 ? 16 : 8;
    }
    /* Of this form: two forms of one result are two objects. Tracking UIDs are of all of them. */
    std::string uid(const std::string &role) const;
};

/* Splits the segments into instances. MSA_E_NOT_FOUND when none has a pixel. */
msa_status make_plan(std::vector<planned_file> &out, const dicom_series &series,
                     const dicom_segment *segments, size_t n, const dicom_seg_form &form, msa_error *err);

/* The whole object but for per-frame functional groups and pixel data, which are the last two elements. */
msa_status make_header(DcmDataset &out, const source &from, msa_error *err);

/* Its parts, in the order in which they are called. Each reports the first condition that was bad. */
OFCondition put_patient_study(DcmItem &out, const source &from);
OFCondition put_series_equipment(DcmItem &out, const source &from);
OFCondition put_image(DcmItem &out, const source &from);
OFCondition put_segments(DcmItem &out, const source &from);
OFCondition put_dimensions(DcmItem &out, const source &from);
OFCondition put_shared_groups(DcmItem &out, const source &from);
OFCondition put_references(DcmItem &out, const source &from);

/* (5200,9230), an item for each frame, encoded. */
msa_status encode_frame_items(std::string &out, const source &from, msa_error *err);
/* (7FE0,0010), frame by frame. What goes wrong in writing is told by output::finish(). */
msa_status write_pixels(output &out, const source &from, msa_error *err);

/* File meta information, `header`, frame items and pixels to a new file at `path`; fsynced and closed when it
 * returns. */
msa_status write_file(const char *path, DcmDataset &header, const source &from, msa_error *err);
/**
 * Reads an object back from disk and compares it with its segments, in order of their numbers: every pixel of
 * every slice, plane positions string by string, orientation, spacing, frame of reference and the centroid in
 * millimetres. Shares no code with the writing side but the meaning of a digest, and never holds more than
 * some frames. digests (n): of each segment, one for every slice, taken from the mask (dicom/seg/digest.h),
 * so that binary objects are compared without another walk over it; NULL: they are taken now. Errors:
 * MSA_E_INTERNAL and a sentence that names segment and slice, MSA_E_IO, MSA_E_PARSE.
 */
msa_status verify_file(const dicom_series &series, const dicom_segment *const *segments, size_t n,
                       const uint64_t *const *digests, const dicom_seg_form &form, const char *path,
                       msa_error *err);

/* The elements of an item as they lie in a file. */
msa_status encode_elements(std::string &out, DcmItem &item, msa_error *err);

} // namespace seg
} // namespace dicom

/* verify_file() without digests. */
extern "C" MSA_NODISCARD msa_status dicom_seg_verify(const dicom_series *series,
                                                     const dicom_segment *const *segments, size_t n,
                                                     const dicom_seg_form *form, const char *path,
                                                     msa_error *err);

#endif
