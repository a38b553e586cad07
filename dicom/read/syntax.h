/* Private: the transfer syntaxes whose pixels are decoded, and by whom. */
#ifndef DICOM_READ_SYNTAX_H
#define DICOM_READ_SYNTAX_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcxfer.h"

#include <cstddef>

namespace dicom
{

enum class Codec {
    none,    /* samples as they are, in one value or in fragments */
    dcmtk,   /* RLE, JPEG, JPEG-LS */
    openjpeg /* JPEG 2000 and High-Throughput JPEG 2000 */
};

struct Syntax {
    const char *uid;
    const char *name;           /* as PS3.6 annex A has it, shortened */
    E_TransferSyntax structure; /* how the dataset is encoded, in a syntax that DCMTK 3.6.7 knows */
    Codec codec;
};

/* In the order of preference for what is sent to us: uncompressed first. */
extern const Syntax syntaxes[];
extern const size_t n_syntaxes;

/* NULL: pixels in it cannot be decoded. */
const Syntax *find_syntax(const char *uid);

} // namespace dicom
#endif
