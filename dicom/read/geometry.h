/* Private: the stack that a set of image planes makes. Pure arithmetic, no files. */
#ifndef DICOM_READ_GEOMETRY_H
#define DICOM_READ_GEOMETRY_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dicom
{

struct Plane { /* one instance, PS3.3 C.7.6.2 */
    std::string uid;
    int32_t instance_number = 0;
    double origin_mm[3] = {0}, row_dir[3] = {0}, col_dir[3] = {0};
};

struct Stack {
    std::vector<size_t> order;       /* indices into the planes, ascending along the normal */
    std::vector<double> position_mm; /* of order[i] */
    double row_dir[3] = {0}, col_dir[3] = {0}, normal[3] = {0};
    double step_mm = 0;  /* median; 0 for a single slice */
    uint32_t issues = 0; /* dicom_issue */
    std::vector<std::string> sentences;
    int32_t left_out = 0;
};

/**
 * The largest parallel group of `planes` (at least one), sorted. Does not depend on the order of `planes`:
 * - equal groups: the one that holds the lowest instance number wins;
 * - an instance given twice (same UID) counts once, without a word;
 * - two instances at one position: the higher instance number stays (the repeat of a scan is the better one),
 * then the greater UID.
 */
Stack build_stack(const std::vector<Plane> &planes);

} // namespace dicom
#endif
