/* Private to dicom/seg/: the steps from masks to files. plan -> dataset -> file -> verify. */
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
#include "dicom/seg/text.h"

namespace dicom
{
namespace seg
{

/* A segment of the caller, and where it lies. Its number in the object is its place in
 * planned_file::segments, from 1. */
struct planned_segment {
    const dicom_segment *in;
    size_t index;                /* in the caller's array */
    std::vector<int32_t> slices; /* with at least one pixel, ascending along the normal */
    dicom_meaning meaning;
    dicom_colour colour;
};

/* One instance: segments that share no pixel. */
struct planned_file {
    std::vector<planned_segment> segments;
    std::vector<int32_t>
        positions; /* every slice that any segment has, ascending: the ranks of the second dimension */
    int32_t frames = 0;
};

/* What every part of the dataset is made from. */
struct source {
    const dicom_series &series;
    const dicom_seg_options &options;
    const planned_file &file;
    size_t number; /* of the instance in the series, from 1 */
    charset text;
    DcmItem &header(int32_t slice) const
    {
        return *series.files[static_cast<size_t>(slice)]->getDataset();
    }
    std::string uid(const std::string &role) const;
};

/* Splits the segments into instances. MSA_E_NOT_FOUND when none has a pixel. */
msa_status make_plan(std::vector<planned_file> &out, const dicom_series &series,
                     const dicom_segment *segments, size_t n, msa_error *err);

/* The whole object but for pixel data; then the pixel data. */
msa_status make_dataset(DcmDataset &out, const source &from, msa_error *err);
msa_status make_pixels(DcmDataset &out, const source &from, msa_error *err);

/* Its parts, in the order in which they are called. Each reports the first condition that was bad. */
OFCondition put_patient_study(DcmItem &out, const source &from);
OFCondition put_series_equipment(DcmItem &out, const source &from);
OFCondition put_image(DcmItem &out, const source &from);
OFCondition put_segments(DcmItem &out, const source &from);
OFCondition put_dimensions(DcmItem &out, const source &from);
OFCondition put_shared_groups(DcmItem &out, const source &from);
OFCondition put_frame_groups(DcmItem &out, const source &from);
OFCondition put_references(DcmItem &out, const source &from);

/* Writes file meta information and dataset to a new file at `path`; fsynced and closed when it returns. */
msa_status write_file(const char *path, DcmDataset &dataset, msa_error *err);

/* Sets values in an item and remembers the first failure, so that a module reads as a list of its attributes.
 */
class put
{
  public:
    explicit put(DcmItem &item) : item_(item) {}
    put &text(const DcmTagKey &tag, const std::string &value);
    put &us(const DcmTagKey &tag, Uint16 value);
    put &code(const DcmTagKey &sequence, const dicom_code &code, const charset &text);
    /* Copies an element byte for byte when the source has a value. */
    put &copy(const DcmTagKey &tag, DcmItem &from);
    /* The same for attributes of type 2: empty when the source has none. */
    put &copy2(const DcmTagKey &tag, DcmItem &from);
    put &note(const OFCondition &cond);
    /* A new last item of a sequence; never NULL, but only part of the object while cond() is good. */
    DcmItem &item(const DcmTagKey &sequence);
    OFCondition cond() const
    {
        return cond_;
    }

  private:
    DcmItem &item_;
    DcmItem nowhere_;
    OFCondition cond_;
};

/* The value of a text element as it stands, without padding; "" when it is absent. */
std::string text_of(DcmItem &item, const DcmTagKey &tag);
/* All numbers of a decimal string; empty when it is absent or does not parse. */
std::vector<double> numbers_of(DcmItem &item, const DcmTagKey &tag);

} // namespace seg
} // namespace dicom

/**
 * Reads an object back from disk and compares it with `segments` (those of that instance, in order of their
 * numbers): every bit of every slice, plane positions string by string, orientation, spacing, frame of
 * reference and the centroid in millimetres. The unpacking shares no code with the packing. Errors:
 * MSA_E_INTERNAL and a sentence that names segment and slice, MSA_E_IO, MSA_E_PARSE.
 */
extern "C" MSA_NODISCARD msa_status dicom_seg_verify(const dicom_series *series,
                                                     const dicom_segment *const *segments, size_t n,
                                                     const char *path, msa_error *err);

#endif
