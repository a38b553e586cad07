/* Private: one frame out of the codestream that holds it. */
#ifndef DICOM_READ_CODEC_H
#define DICOM_READ_CODEC_H

#include "dicom/read/file.h"

#include <vector>

namespace dicom
{

/**
 * Turns the bytes of one frame, as FrameBytes gives them, into samples of form.allocated bits, little endian,
 * whose low form.high_bit + 1 bits hold the value; `bytes` becomes frame_size() long. What the codestream
 * says of its own size must be what the header says; where they differ in bits or sign, the header says what
 * the bits mean. Errors: MSA_E_PARSE, MSA_E_UNSUPPORTED, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status decode_frame(std::vector<uint8_t> &bytes, const File &file, msa_error *err);

} // namespace dicom
#endif
