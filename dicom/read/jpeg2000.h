/* Private: JPEG 2000 and High-Throughput JPEG 2000 (ISO/IEC 15444-1 and -15) by OpenJPEG. */
#ifndef DICOM_READ_JPEG2000_H
#define DICOM_READ_JPEG2000_H

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dicom
{

/* What one grey codestream says of itself. */
struct CodestreamForm {
    unsigned bits = 0;
    bool is_signed = false;
};

/**
 * Decodes one grey codestream, bare or in a JP2 file, of exactly `rows` x `cols` pixels of at most `bits_max`
 * (16 or less) bits. All sizes are read and compared before OpenJPEG allocates anything, so memory is bounded
 * by the picture that the header announced. Errors: MSA_E_PARSE (not a codestream, truncated, damaged, of
 * another size), MSA_E_UNSUPPORTED (several components, subsampled, more bits, very many tiles), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status decode_jpeg2000(std::vector<int32_t> &to, CodestreamForm &form,
                                         const std::vector<uint8_t> &stream, int32_t rows, int32_t cols,
                                         unsigned bits_max, msa_error *err);

} // namespace dicom
#endif
