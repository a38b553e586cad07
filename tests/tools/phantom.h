/* A synthetic CT or MR series with known organs, and a structured report with boxes over them. */
#ifndef TESTS_TOOLS_PHANTOM_H
#define TESTS_TOOLS_PHANTOM_H

#include <cstdint>
#include <string>
#include <vector>

namespace phantom
{

enum class Orientation { axial, sagittal, oblique };

struct Options {
    bool mr = false, monochrome1 = false, is_signed = false, mixed = false, no_frame_of_reference = false;
    int rows = 192, cols = 192, slices = 16;
    int gap = -1, duplicate = -1; /* slice left out; slice written twice, as two instances */
    uint32_t seed = 1, study_seed = 1;
    double spacing[2] = {0, 0}; /* between rows, between columns; 0: a field of view of 360 mm */
    double step_mm = 5;
    Orientation orientation = Orientation::axial;
};

struct Box { /* SCOORD coordinates; slice counts from 0 along the normal in the series as written */
    double x0, y0, x1, y1;
    int slice;
    std::string label;
};

struct Instance { /* of the series as written, ascending along the normal */
    std::string sop_class_uid, sop_instance_uid;
};

struct Series {
    std::string study_uid, series_uid, frame_of_reference_uid;
    std::vector<Instance> instances;
    std::vector<Box> truth; /* one box over each organ, on the slice where it is largest */
};

/* The value at normalised coordinates -1..1 (column, row, slice axis) and the organ there; see organs.cc. */
struct Organ {
    const char *label, *code, *scheme;
    double center[3], radius[3];
    double hu, mr;
};
const std::vector<Organ> &organs(); /* later ones lie on top */
bool inside(const Organ &o, double u, double v, double w);
/* One slice in modality units, noise included; depends on options and k alone. */
std::vector<float> slice_values(const Options &o, int k);
std::vector<Box> true_boxes(const Options &o);
/* Of one organ: slices x rows x columns of the series as written, 1 inside. */
std::vector<uint8_t> true_mask(const Options &o, const std::string &label);

/* Writes img0000.dcm ... into `dir` (made if need be). Throws std::runtime_error. Same options, same bytes.
 */
Series write_series(const Options &o, const std::string &dir);
/* A Comprehensive SR (TID 1500) with one measurement group per box. */
void write_report(const Options &o, const Series &series, const std::vector<Box> &boxes,
                  const std::string &path);

} // namespace phantom
#endif
