/* Private: the bytes of one frame as the file has them, without the frames around it. */
#ifndef DICOM_READ_FRAME_BYTES_H
#define DICOM_READ_FRAME_BYTES_H

#include "dicom/read/file.h"
#include "dicom/read/source.h"

#include <memory>
#include <string>
#include <vector>

namespace dicom
{

/**
 * Reads frames of one file, each by itself, so that memory is bounded by one frame. Frames in ascending order
 * cost one pass over the file, deflated ones included; any order is right.
 */
class FrameBytes
{
  public:
    /* `file` is borrowed and outlives this. Errors: MSA_E_PARSE (fragments that cannot be told apart into
     * frames), MSA_E_IO. */
    MSA_NODISCARD msa_status open(const File &file, const char *path, msa_error *err);
    /* Frame `index`, from 0: a codestream, or little endian samples. */
    MSA_NODISCARD msa_status read(std::vector<uint8_t> &to, size_t index, msa_error *err);

  private:
    MSA_NODISCARD msa_status seek(uint64_t offset, msa_error *err);
    MSA_NODISCARD msa_status find_frames(msa_error *err);
    MSA_NODISCARD msa_status find_by_table(msa_error *err);
    MSA_NODISCARD msa_status find_by_marker(msa_error *err);
    MSA_NODISCARD msa_status read_native(std::vector<uint8_t> &to, size_t index, msa_error *err);
    MSA_NODISCARD msa_status read_fragments(std::vector<uint8_t> &to, size_t index, msa_error *err);

    const File *file_ = nullptr;
    std::string path_;
    std::unique_ptr<Source> plain_, inflated_;
    std::vector<size_t> first_; /* of each frame: its first fragment; one more at the end */
};

} // namespace dicom
#endif
