/* make_series: writes a synthetic series and, with --sr, a report with boxes over it. Same arguments, same
 * bytes. */
#include "dicom/init.h"
#include "tests/tools/phantom.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace
{

const char usage[] =
    "usage: make_series --out DIR [options]\n"
    "  --modality CT|MR          default CT\n"
    "  --rows R --cols C         default 192 x 192\n"
    "  --slices N                default 16\n"
    "  --spacing ROW,COL         mm; default: a field of view of 360 mm\n"
    "  --step MM                 distance between slices, default 5\n"
    "  --orientation axial|sagittal|oblique\n"
    "  --seed N --study-seed N   other seed, other noise and UIDs; series of one study seed share study and "
    "frame\n"
    "  --monochrome1             low values are bright\n"
    "  --signed                  16 bits, signed\n"
    "  --gap K                   leave slice K out\n"
    "  --duplicate K             write slice K twice, as two instances\n"
    "  --mixed                   add a localizer of another orientation\n"
    "  --no-for                  no Frame of Reference UID\n"
    "  --sr FILE                 write a structured report with boxes: --box, or else the first two organs "
    "printed\n"
    "  --box X0,Y0,X1,Y1@SLICE=LABEL   may be repeated\n"
    "  --truth FILE              write the masks of the organs printed, one after the other: a byte of 0 or "
    "1 "
    "for each\n"
    "                            pixel of each slice\n"
    "Prints one line for each organ: the true box X0,Y0,X1,Y1@SLICE=LABEL on the slice where it is largest.\n"
    "(0,0) is the outer corner of the first pixel; SLICE counts from 0 along the slice normal.\n";

struct Arguments {
    phantom::Options options;
    std::string out, sr, truth;
    std::vector<phantom::Box> boxes;
};

int to_int(const std::string &s, int least, int greatest)
{
    char *end = nullptr;
    const long value = std::strtol(s.c_str(), &end, 10);
    if (s.empty() || *end != '\0' || value < least || value > greatest)
        throw std::runtime_error("'" + s + "' is not a number within " + std::to_string(least) + ".." +
                                 std::to_string(greatest));
    return int(value);
}

phantom::Box to_box(const std::string &s)
{
    phantom::Box b{};
    int used = 0;
    if (std::sscanf(s.c_str(), "%lf,%lf,%lf,%lf@%d=%n", &b.x0, &b.y0, &b.x1, &b.y1, &b.slice, &used) != 5 ||
        used == 0)
        throw std::runtime_error("'" + s + "' is not X0,Y0,X1,Y1@SLICE=LABEL");
    b.label = s.substr(size_t(used));
    return b;
}

void set_spacing(phantom::Options &o, const std::string &s)
{
    if (std::sscanf(s.c_str(), "%lf,%lf", &o.spacing[0], &o.spacing[1]) != 2 || !(o.spacing[0] > 0) ||
        !(o.spacing[1] > 0))
        throw std::runtime_error("'" + s + "' is not ROW,COL in mm");
}

void set_orientation(phantom::Options &o, const std::string &s)
{
    if (s == "axial")
        o.orientation = phantom::Orientation::axial;
    else if (s == "sagittal")
        o.orientation = phantom::Orientation::sagittal;
    else if (s == "oblique")
        o.orientation = phantom::Orientation::oblique;
    else
        throw std::runtime_error("'" + s + "' is no orientation");
}

bool set_flag(phantom::Options &o, const std::string &name)
{
    if (name == "--monochrome1")
        o.monochrome1 = true;
    else if (name == "--signed")
        o.is_signed = true;
    else if (name == "--mixed")
        o.mixed = true;
    else if (name == "--no-for")
        o.no_frame_of_reference = true;
    else
        return false;
    return true;
}

void set_value(Arguments &a, const std::string &name, const std::string &value)
{
    phantom::Options &o = a.options;
    if (name == "--out")
        a.out = value;
    else if (name == "--sr")
        a.sr = value;
    else if (name == "--truth")
        a.truth = value;
    else if (name == "--box")
        a.boxes.push_back(to_box(value));
    else if (name == "--modality" && (value == "CT" || value == "MR"))
        o.mr = value == "MR";
    else if (name == "--rows")
        o.rows = to_int(value, 1, 4096);
    else if (name == "--cols")
        o.cols = to_int(value, 1, 4096);
    else if (name == "--slices")
        o.slices = to_int(value, 1, 4096);
    else if (name == "--seed")
        o.seed = uint32_t(to_int(value, 0, 1000000000));
    else if (name == "--study-seed")
        o.study_seed = uint32_t(to_int(value, 0, 1000000000));
    else if (name == "--gap")
        o.gap = to_int(value, 0, 4095);
    else if (name == "--duplicate")
        o.duplicate = to_int(value, 0, 4095);
    else if (name == "--spacing")
        set_spacing(o, value);
    else if (name == "--step")
        o.step_mm = std::strtod(value.c_str(), nullptr);
    else if (name == "--orientation")
        set_orientation(o, value);
    else
        throw std::runtime_error("unknown option or value: " + name + " " + value);
    if (!(o.step_mm > 0)) throw std::runtime_error("--step must be above 0");
}

Arguments parse(int argc, char **argv)
{
    Arguments a;
    bool study_seed = false;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (set_flag(a.options, name)) continue;
        if (i + 1 == argc) throw std::runtime_error("unknown option, or its value is missing: " + name);
        study_seed = study_seed || name == "--study-seed";
        set_value(a, name, argv[++i]);
    }
    if (!study_seed) a.options.study_seed = a.options.seed;
    if (a.out.empty()) throw std::runtime_error("--out is missing");
    return a;
}

void write_truth(const phantom::Options &o, const std::vector<phantom::Box> &organs, const std::string &path)
{
    std::ofstream file(path, std::ios::binary);
    for (const phantom::Box &b : organs)
        for (const uint8_t voxel : phantom::true_mask(o, b.label))
            file.put(char(voxel));
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
}

void print(const phantom::Box &b)
{
    std::printf("%g,%g,%g,%g@%d=%s\n", b.x0, b.y0, b.x1, b.y1, b.slice, b.label.c_str());
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc == 2 && std::strcmp(argv[1], "--help") == 0) return std::fputs(usage, stdout) < 0;
    const Arguments a = parse(argc, argv);
    msa_error err = MSA_ERROR_INIT;
    if (dicom_init(&err) != MSA_OK) throw std::runtime_error(err.what);
    const phantom::Series series = phantom::write_series(a.options, a.out);
    for (const phantom::Box &b : series.truth)
        print(b);
    if (!a.truth.empty()) write_truth(a.options, series.truth, a.truth);
    if (a.sr.empty()) return 0;
    std::vector<phantom::Box> boxes = a.boxes;
    if (boxes.empty())
        boxes.assign(series.truth.begin(),
                     series.truth.begin() + std::min<std::ptrdiff_t>(2, std::ptrdiff_t(series.truth.size())));
    if (boxes.empty()) throw std::runtime_error("no organ is visible, so --sr needs --box");
    phantom::write_report(a.options, series, boxes, a.sr);
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "make_series: %s\n%s", e.what(), argc < 2 ? usage : "");
    return 1;
}
