#include "dicom/read/syntax.h"

#include <cstring>

namespace dicom
{

/* DCMTK 3.6.7 does not know High-Throughput JPEG 2000 (supplement 235), whose datasets are encoded as those
 * of JPEG 2000 are. */
const Syntax syntaxes[] = {
    {"1.2.840.10008.1.2.1", "Explicit VR Little Endian", EXS_LittleEndianExplicit, Codec::none},
    {"1.2.840.10008.1.2", "Implicit VR Little Endian", EXS_LittleEndianImplicit, Codec::none},
    {"1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", EXS_DeflatedLittleEndianExplicit,
     Codec::none},
    {"1.2.840.10008.1.2.2", "Explicit VR Big Endian", EXS_BigEndianExplicit, Codec::none},
    {"1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed", EXS_JPEG2000LosslessOnly, Codec::none},
    {"1.2.840.10008.1.2.5", "RLE Lossless", EXS_RLELossless, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.50", "JPEG Baseline", EXS_JPEGProcess1, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.51", "JPEG Extended", EXS_JPEGProcess2_4, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.53", "JPEG Spectral Selection", EXS_JPEGProcess6_8, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.55", "JPEG Full Progression", EXS_JPEGProcess10_12, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.57", "JPEG Lossless", EXS_JPEGProcess14, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.70", "JPEG Lossless, first order", EXS_JPEGProcess14SV1, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", EXS_JPEGLSLossless, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.81", "JPEG-LS Near-Lossless", EXS_JPEGLSLossy, Codec::dcmtk},
    {"1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless", EXS_JPEG2000LosslessOnly, Codec::openjpeg},
    {"1.2.840.10008.1.2.4.91", "JPEG 2000", EXS_JPEG2000, Codec::openjpeg},
    {"1.2.840.10008.1.2.4.201", "HTJ2K Lossless", EXS_JPEG2000LosslessOnly, Codec::openjpeg},
    {"1.2.840.10008.1.2.4.202", "HTJ2K Lossless, RPCL", EXS_JPEG2000LosslessOnly, Codec::openjpeg},
    {"1.2.840.10008.1.2.4.203", "HTJ2K", EXS_JPEG2000, Codec::openjpeg},
};
const size_t n_syntaxes = sizeof syntaxes / sizeof *syntaxes;

const Syntax *find_syntax(const char *uid)
{
    for (const Syntax &s : syntaxes)
        if (std::strcmp(s.uid, uid) == 0) return &s;
    return nullptr;
}

} // namespace dicom
