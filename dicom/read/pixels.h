/* Private: the pixels of one file as float modality units. */
#ifndef DICOM_READ_PIXELS_H
#define DICOM_READ_PIXELS_H

#include "dicom/read/file.h"

namespace dicom
{

struct Rescale { /* PS3.3 C.11.1: output = slope * stored + intercept */
    double slope = 1, intercept = 0;
};

/* Absent: 1 and 0. Errors: MSA_E_PARSE (no numbers, slope 0, results beyond float). */
MSA_NODISCARD msa_status read_rescale(Rescale &out, DcmItem &dataset, msa_error *err);

/* MONOCHROME1 shows low values bright. We turn it round before the rescale, value -> (least + greatest
 * storable) - value, so that bright means bright; a window of the header turns with it. */
double inverted_window_center(double center, const PixelForm &form, const Rescale &rescale);

/**
 * Decodes `file` (of `path`) into `to` (rows * cols). Pixels of Pixel Padding Value (to Pixel Padding Range
 * Limit) become NaN; the caller, who knows the volume, replaces them. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED,
 * MSA_E_IO, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status read_pixels(float *to, const File &file, const char *path, const Rescale &rescale,
                                     msa_error *err);

} // namespace dicom
#endif
