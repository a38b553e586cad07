/* Private: the stack that a set of image planes makes. Pure arithmetic, no files. */
#ifndef DICOM_READ_GEOMETRY_H
#define DICOM_READ_GEOMETRY_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dicom
{

struct Plane { /* one instance, or one frame of it: PS3.3 C.7.6.2 */
    std::string uid;
    int32_t frame = 0; /* as in dicom_slice */
    int32_t instance_number = 0;
    double origin_mm[3] = {0}, row_dir[3] = {0}, col_dir[3] = {0}, spacing_mm[2] = {0};
    int32_t rows = 0, cols = 0;
    std::string frame_of_reference, stack_id;
    std::vector<std::string> traits; /* values of trait_names[], or none */
    int32_t votes = 0;               /* prompts that lie on it */
};

/* What images at one position may differ in, in the order in which it is looked at; see read/traits.h. */
extern const char *const trait_names[];
extern const size_t n_traits;
enum Trait {
    TRAIT_TIME_POINT,
    TRAIT_B_VALUE,
    TRAIT_ECHO,
    TRAIT_INVERSION,
    TRAIT_IMAGE_TYPE,
    TRAIT_ENERGY,
    TRAIT_KERNEL,
    TRAIT_ACQUISITION,
    TRAIT_TRIGGER,
    TRAIT_ACQUISITION_TIME,
    TRAITS
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
 * One volume out of `planes` (at least one), sorted. Does not depend on the order of `planes`:
 * - what differs in frame of reference, matrix, pixel spacing, orientation or stack is another volume, and so
 * is, where most positions hold several images, what differs in a trait (echo time, time point, ...);
 * - the volume that most votes lie on is taken, else the largest, else the one with the lowest instance
 * number;
 * - a plane given twice (same instance and frame) counts once, without a word;
 * - of few images that share a position, the one with votes stays, then the higher instance number (the
 * repeat of a scan is the better one), then the greater UID.
 */
Stack build_stack(const std::vector<Plane> &planes);

/* The steps, for geometry.cc. */
struct Volumes {
    std::vector<std::vector<size_t>> list; /* each in canonical order; the one to take is [0] */
    std::vector<std::string> reasons;      /* what tells them apart */
    bool mixed_orientation = false, voted = false, tie = false;
    size_t distinct = 0; /* planes without doubles */
};
Volumes split_volumes(const std::vector<Plane> &planes);
double median_step(const std::vector<double> &positions); /* ascending; without steps between equal ones */
/* Positions closer than this are one. */
double same_position(const std::vector<double> &positions);
double along_normal(const Plane &p, const double origin_mm[3]);

} // namespace dicom
#endif
