/* Private: an own pass over the structure of a file before DCMTK may see it. */
#ifndef DICOM_READ_PRESCAN_H
#define DICOM_READ_PRESCAN_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcxfer.h"

#include <cstdint>
#include <vector>

#include "dicom/init.h"

namespace dicom
{

/* Why these: DCMTK 3.6.7 parses sequences by recursion (20,000 nested ones overflow its stack) and allocates
 * a value's stated length before it looks at what is there. */
constexpr unsigned PRESCAN_DEPTH_MAX = 32;
constexpr uint64_t PRESCAN_ELEMENTS_MAX = 1000000;
constexpr uint64_t PRESCAN_RESULT_ELEMENTS_MAX = 32000000; /* of a segmentation: some dozens in each frame */
constexpr uint64_t PRESCAN_VALUE_MAX = 16u << 20;          /* of an element that is not Pixel Data */
constexpr uint64_t PRESCAN_INFLATED_MAX = 1u << 30;        /* of a deflated dataset, as a whole */

/* Explicit little endian, each frame of Pixel Data deflated by itself. DCMTK 3.6.7 does not know it. */
inline constexpr const char *UID_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1";

struct Fragment { /* of encapsulated pixel data: where its value lies in the file */
    uint64_t offset = 0;
    uint32_t length = 0;
};

struct Prescan {
    char transfer_syntax_uid[DICOM_UID_MAX] = "";
    E_TransferSyntax xfer =
        EXS_Unknown; /* how the dataset is encoded: DCMTK may not know the syntax itself */
    uint64_t dataset_offset =
        0; /* where group 0008 starts: DCMTK reads from here and never sees the meta group */
    bool deflated = false;
    bool part10 = false; /* preamble and "DICM" are there; set before anything can fail */

    bool has_pixel_data = false; /* (7FE0,0010) of the dataset itself, not of an icon */
    bool encapsulated = false;
    bool pixel_words = false;  /* VR OW: big endian swaps pairs even of 8-bit pixels */
    uint64_t pixel_offset = 0; /* of the first value byte in the file; deflated: in the inflated dataset */
    uint64_t pixel_length = 0; /* bytes of the value; encapsulated: of all fragments after the offset table */
    std::vector<Fragment> fragments;
    std::vector<uint32_t> offset_table; /* Basic Offset Table: from the item of the first fragment */
};

/**
 * Walks every element iteratively: lengths against what is left, nesting, counts, delimiters. Takes Part 10
 * files, and datasets without file meta information whose encoding shows in the first element. What follows
 * uncompressed pixel data is looked at only with `to_end`, which whoever has DCMTK read on behind it needs.
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE, MSA_E_UNSUPPORTED (unknown transfer syntax, limits).
 */
MSA_NODISCARD msa_status prescan(Prescan &out, const char *path, msa_error *err,
                                 uint64_t elements_max = PRESCAN_ELEMENTS_MAX, bool to_end = false);

} // namespace dicom
#endif
