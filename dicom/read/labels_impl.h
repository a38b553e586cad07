/* Private: what a dicom_masks holds, and its readers. */
#ifndef DICOM_READ_LABELS_IMPL_H
#define DICOM_READ_LABELS_IMPL_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcitem.h"

#include <string>
#include <vector>

#include "dicom/labels.h"
#include "dicom/read/file.h"
#include "dicom/read/items.h"
#include "dicom/read/seg_frames.h"

namespace dicom
{

/* Slices of the series, without its voxels. */
struct Slices {
    int32_t rows = 0, cols = 0;
    double spacing_mm[2] = {0}, row_dir[3] = {0}, col_dir[3] = {0}, normal[3] = {0}, step_mm = 0;
    std::vector<dicom_slice> list;
    std::string series_uid, frame_of_reference_uid;

    /* The slice at a distance along the normal, within a tenth of a step, or -1. */
    int32_t at(double position_mm) const;
    /* The nearest one, within half a step, or -1. */
    int32_t near(double position_mm) const;
    /* The slice that is this frame of this instance, or -1. frame 0: the first one of the instance. */
    int32_t find(const std::string &sop_instance_uid, int32_t frame) const;
    /* A point in pixels of a slice: (0, 0) is the centre of the first one. */
    void to_pixels(int32_t slice, const double point_mm[3], double &x, double &y) const;
};

/* One frame of a SEG on a slice: its pixel for slice pixel (x, y) is column u . (1, x, y), row v . (1, x, y).
 */
struct SegFrame {
    size_t label = 0;
    int32_t slice = 0;
    size_t number = 0; /* from 0 */
    double u[3] = {0, 1, 0}, v[3] = {0, 0, 1};
};

struct Contour { /* closed, in pixels of its slice */
    size_t label = 0;
    int32_t slice = 0;
    std::vector<double> x, y;
};

/* Which images an object says it belongs to. */
struct Reference {
    bool names_images = false, names_ours = false;
    std::string frame_of_reference_uid;

    void series(const Slices &slices, const std::string &uid);
    void image(const Slices &slices, const std::string &uid);
};

/* A label with its number and the name in `tag`, cut to what fits, or else "<what> <number>". */
dicom_mask make_label(int32_t number, DcmItem &item, const DcmTagKey &tag, const char *what,
                      const std::string &charset);

/* Each appends to out.list and fills in frames or contours. Errors: as dicom_masks_read(), less the
 * reference.
 */
MSA_NODISCARD msa_status read_seg_labels(dicom_masks &out, Reference &ref, const File &file, const char *path,
                                         msa_error *err);
MSA_NODISCARD msa_status read_sr_labels(dicom_masks &out, Reference &ref, DcmItem &dataset, msa_error *err);
MSA_NODISCARD msa_status read_rtstruct_labels(dicom_masks &out, Reference &ref, DcmItem &dataset,
                                              msa_error *err);

} // namespace dicom

struct dicom_masks {
    dicom::Slices slices;
    std::vector<dicom_mask> list;
    dicom::SegFrames seg;
    std::vector<dicom::SegFrame> frames;  /* of a SEG, ascending by label, then slice */
    std::vector<dicom::Contour> contours; /* the same */
    std::string note;
};

#endif
