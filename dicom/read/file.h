/* Private: one file, pre-scanned and then parsed by DCMTK; and what its pixels look like. */
#ifndef DICOM_READ_FILE_H
#define DICOM_READ_FILE_H

#include "dicom/header.h"
#include "dicom/read/prescan.h"

#include "dcmtk/dcmdata/dcfilefo.h"

#include <memory>

namespace dicom
{

/* PS3.3 C.7.6.3.1, checked: 8 or 16 bits allocated, one sample, monochrome. */
struct PixelForm {
    uint16_t allocated = 0, stored = 0, high_bit = 0;
    bool is_signed = false, inverted = false; /* inverted: MONOCHROME1 */
};

struct File {
    Prescan scan;
    std::unique_ptr<DcmFileFormat> content; /* up to the pixel data, no value left on disk */
    dicom_header header{};
    PixelForm form; /* of an image */
};

/* Pre-scan, then the dataset by DCMTK, with or without what begins at Pixel Data. The meta group is not kept.
 */
MSA_NODISCARD msa_status parse_dataset(std::unique_ptr<DcmFileFormat> &out, const Prescan &scan,
                                       const char *path, bool with_pixels, msa_error *err);
/* The whole of dicom_header_read(), keeping what was parsed. */
MSA_NODISCARD msa_status read_file(File &out, const char *path, msa_error *err);

} // namespace dicom
#endif
