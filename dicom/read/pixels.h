/* Private: samples of one frame as float modality units. */
#ifndef DICOM_READ_PIXELS_H
#define DICOM_READ_PIXELS_H

#include "dicom/read/file.h"

#include <vector>

namespace dicom
{

struct Rescale { /* PS3.3 C.11.1: output = slope * stored + intercept, or a table's entry */
    double slope = 1, intercept = 0;
    std::vector<float> table; /* Modality LUT Sequence, of stored values from `first` on; empty: none */
    int64_t first = 0;
};

/* Absent: 1 and 0. Errors: MSA_E_PARSE (no numbers, slope 0, results beyond float, a table that contradicts
 * its description). */
MSA_NODISCARD msa_status read_rescale(Rescale &out, DcmItem &header, const PixelForm &form, msa_error *err);

/* The first window of the header, else what its VOI LUT covers, in modality units; MONOCHROME1 turned round
 * as read_pixels() does. width 0: there is none. */
void read_window(double &center, double &width, DcmItem &header, const PixelForm &form,
                 const Rescale &rescale);

/**
 * Samples of frame_size() bytes (decode_frame()) to values. MONOCHROME1 shows low values bright. We turn it
 * round before the rescale, value -> (least + greatest storable) - value, so that bright means bright. Pixels
 * of Pixel Padding Value (to Pixel Padding Range Limit) become NaN; the caller, who knows the volume,
 * replaces them.
 */
void read_pixels(float *to, const std::vector<uint8_t> &bytes, DcmItem &header, const PixelForm &form,
                 const Rescale &rescale);

} // namespace dicom
#endif
