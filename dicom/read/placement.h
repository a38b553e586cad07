/* Private: where an image plane lies, and what the frames of a multi-frame image say of themselves. */
#ifndef DICOM_READ_PLACEMENT_H
#define DICOM_READ_PLACEMENT_H

#include "dicom/read/file.h"

namespace dicom
{

/* Image Position and Orientation (Patient), Pixel Spacing of an item. Absent is allowed here, malformed is
 * not. */
MSA_NODISCARD msa_status read_placement(Placement &out, DcmItem &item, msa_error *err);

/**
 * Functional groups (PS3.3 C.7.6.16): file.frames gets header.frames of them, each with what its own groups
 * and the shared ones say, its own first. Errors: MSA_E_PARSE (groups and Number of Frames disagree,
 * malformed planes).
 */
MSA_NODISCARD msa_status read_frames(File &file, msa_error *err);

/* A header for one frame as a single-frame image would have it: the object's own attributes without its
 * sequences of frames, and the frame's. Takes frame.groups. */
std::unique_ptr<DcmFileFormat> single_frame_header(const File &file, Frame &frame);

} // namespace dicom
#endif
