/* Private to the read-back: what its two halves (structure, pixels) share. */
#ifndef DICOM_SEG_VERIFY_IMPL_H
#define DICOM_SEG_VERIFY_IMPL_H

#include <string>
#include <unordered_map>
#include <vector>

#include "dicom/read/series_impl.h"
#include "dicom/seg.h"
#include "dicom/seg/digest.h"
#include "dicom/seg/read_back.h"

namespace dicom
{
namespace seg
{

struct checked_plane {
    double origin[3] = {}, row[3] = {}, col[3] = {}, between_rows = 0, between_cols = 0;
};

/* Sums over the set pixels of one segment: the centroid is sum / count. */
struct centroid {
    double sum[3] = {0, 0, 0};
    double count = 0;
    void add(const checked_plane &p, double n, double sum_r, double sum_c)
    {
        for (int k = 0; k < 3; k++)
            sum[k] += n * p.origin[k] + sum_c * p.between_cols * p.row[k] + sum_r * p.between_rows * p.col[k];
        count += n;
    }
};

struct checked_frame {
    size_t segment; /* of a label map 0 */
    int32_t slice;
    checked_plane plane; /* out of the file */
};

struct reading {
    const dicom_series &series;
    const dicom_segment *const *segments;
    size_t n;
    const uint64_t *const *digests; /* of each segment, each slice; NULL: not known */
    const dicom_seg_form &form;
    size_t pixels;                                      /* of a frame */
    std::vector<checked_frame> frames = {};             /* in the order of the file */
    std::vector<std::vector<bool>> seen = {};           /* segment, slice: a frame was there */
    std::vector<centroid> on_disk = {}, in_memory = {}; /* of each segment */

    const uint8_t *mask(size_t segment, int32_t slice) const
    {
        return segments[segment]->mask + static_cast<size_t>(slice) * pixels;
    }
    uint64_t digest(size_t segment, int32_t slice) const
    {
        return digests ? digests[segment][slice] : digest_pixels(mask(segment, slice), pixels, 0);
    }
};

/* Every frame of Pixel Data, whose head was just read, against the masks. Both centroids grow on the way. */
msa_status compare_pixels(reading &r, part10_stream &file, const element &data, msa_error *err);

} // namespace seg
} // namespace dicom
#endif
