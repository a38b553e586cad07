/* Private: the frames of a segmentation, kept as the file has them and decoded one at a time. */
#ifndef DICOM_READ_SEG_FRAMES_H
#define DICOM_READ_SEG_FRAMES_H

#include "dicom/read/file.h"

#include <vector>

namespace dicom
{

/* How a segmentation says which pixels belong to a segment. */
struct SegForm {
    int32_t rows = 0, cols = 0, frames = 0;
    int bits = 1;           /* 1 (packed, first pixel lowest), 8, 16 */
    bool label_map = false; /* pixels are segment numbers */
    uint32_t least = 1;     /* otherwise: set from this value on */
    int32_t background = 0; /* label map: the value of no segment */
    uint64_t pixels() const
    {
        return uint64_t(rows) * uint64_t(cols);
    }
};

/* One frame, ready to be looked at. */
struct SegView {
    const uint8_t *bytes = nullptr;
    uint64_t first_bit = 0; /* of 1-bit frames, which follow each other without gaps */
    int bits = 1;
    uint32_t at(uint64_t i) const
    {
        if (bits == 1) return bytes[(first_bit + i) / 8] >> ((first_bit + i) % 8) & 1u;
        return bits == 8 ? bytes[i] : uint32_t(bytes[2 * i]) | uint32_t(bytes[2 * i + 1]) << 8;
    }
};

class SegFrames
{
  public:
    /**
     * Takes the Pixel Data of `path`: uncompressed, RLE or deflated frames; frames of 8 and 16 bits in every
     * syntax that images come in. Memory is bounded by the file's size. Errors: MSA_E_PARSE (fewer bytes or
     * fragments than frames), MSA_E_UNSUPPORTED (another compression, frames of over 64 million pixels that
     * are compressed), MSA_E_IO.
     */
    MSA_NODISCARD msa_status read(const SegForm &form, const File &file, const char *path, msa_error *err);
    /* Frame k from 0. `buffer` may be used for it and lives as long as the view. Errors: MSA_E_PARSE. */
    MSA_NODISCARD msa_status view(SegView &out, std::vector<uint8_t> &buffer, size_t k, msa_error *err) const;
    const SegForm &form() const
    {
        return form_;
    }

  private:
    enum Coding { PLAIN, RLE, DEFLATED, CODEC };
    MSA_NODISCARD msa_status choose_coding(const File &file, msa_error *err);
    MSA_NODISCARD msa_status read_plain(DcmItem &dataset, msa_error *err);
    MSA_NODISCARD msa_status read_fragments(DcmItem &dataset, const DcmXfer &xfer, msa_error *err);

    SegForm form_;
    Coding coding_ = PLAIN;
    std::vector<uint8_t> bytes_;
    File codec_;                /* CODEC: what decode_frame() must know of a frame */
    std::vector<size_t> start_; /* compressed: where each frame begins in bytes_, and the end */
};

} // namespace dicom
#endif
