/* Private: one file, pre-scanned and then parsed by DCMTK; and what its pixels look like. */
#ifndef DICOM_READ_FILE_H
#define DICOM_READ_FILE_H

#include "dicom/header.h"
#include "dicom/read/prescan.h"

#include "dcmtk/dcmdata/dcfilefo.h"

#include <memory>
#include <string>
#include <vector>

namespace dicom
{

/* PS3.3 C.7.6.3.1, checked: 8 or 16 bits allocated, one sample, monochrome. */
struct PixelForm {
    uint16_t allocated = 0, stored = 0, high_bit = 0;
    bool is_signed = false, inverted = false; /* inverted: MONOCHROME1 */
};

/* PS3.3 C.7.6.2: where an image plane lies. */
struct Placement {
    bool known = false; /* origin, directions and spacing are there */
    double origin_mm[3] = {0}, row_dir[3] = {0}, col_dir[3] = {0};
    double spacing_mm[2] = {0}; /* between rows, between columns */
};

struct Frame {                       /* of a multi-frame image */
    std::unique_ptr<DcmItem> groups; /* its functional groups, flat, as a single-frame image would say it */
    Placement place;
};

struct File {
    Prescan scan;
    std::unique_ptr<DcmFileFormat> content; /* up to the pixel data, no value left on disk */
    dicom_header header{};
    PixelForm form;            /* of an image */
    Placement place;           /* of a single-frame image */
    std::vector<Frame> frames; /* of a multi-frame image; else empty */
};

/* Bytes of one frame, decoded. */
inline uint64_t frame_size(const File &f)
{
    return uint64_t(f.header.rows) * uint64_t(f.header.cols) * (f.form.allocated / 8u);
}
/* No codec of ours grows noise by half; more is damage, and decoders have been hurt by it. */
inline uint64_t encoded_max(const File &f)
{
    return 2 * frame_size(f) + 65536;
}

/* Pre-scan, then the dataset by DCMTK, with or without what begins at Pixel Data. The meta group is not kept.
 */
MSA_NODISCARD msa_status parse_dataset(std::unique_ptr<DcmFileFormat> &out, const Prescan &scan,
                                       const char *path, bool with_pixels, msa_error *err);
/* Pre-scan to the last byte, then the whole file with its meta group: of a result, which may have very many
 * frames. */
MSA_NODISCARD msa_status load_whole(DcmFileFormat &out, const char *path, msa_error *err);
/* The whole of dicom_header_read(), keeping what was parsed. */
MSA_NODISCARD msa_status read_file(File &out, const char *path, msa_error *err);

} // namespace dicom
#endif
