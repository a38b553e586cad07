/* The phantom as CT or MR Image Storage objects (PS3.3 A.3 and A.4), clean under dciodvfy. */
#include "tests/tools/phantom.h"

#include "engine/base/hash.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <cmath>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

namespace phantom
{
namespace
{

struct Frame { /* one instance to write */
    int k;     /* slice of the phantom */
    int instance_number;
    double origin[3], row[3], col[3];
    std::string name; /* what its UID derives from */
    bool in_volume = true;
};

void put(DcmItem &d, const DcmTagKey &tag, const std::string &value)
{
    const OFCondition cond = d.putAndInsertString(tag, value.c_str());
    if (cond.bad()) throw std::runtime_error("cannot set an attribute");
}

void put(DcmItem &d, const DcmTagKey &tag, uint16_t value)
{
    if (d.putAndInsertUint16(tag, value).bad()) throw std::runtime_error("cannot set an attribute");
}

std::string ds(double value) /* at most 16 characters (PS3.5 table 6.2-1) */
{
    char buffer[32];
    (void)std::snprintf(buffer, sizeof buffer, "%.7f", value == 0 ? 0.0 : value);
    std::string s = buffer;
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s == "-0" ? "0" : s;
}

std::string ds(const double *values, int n)
{
    std::string s;
    for (int i = 0; i < n; i++)
        s += (i > 0 ? "\\" : "") + ds(values[i]);
    return s;
}

std::string uid(const std::string &name)
{
    char out[MSA_UID_MAX];
    msa_uid_derive(name.c_str(), out);
    return out;
}

std::string key_of(const Options &o) /* other pixels, other UIDs */
{
    char key[240];
    (void)std::snprintf(key, sizeof key, "msad-phantom/%u/%u/%s/%dx%dx%d/%s/%s/%s/%d/%d%d%d%d/%d/%d",
                        o.study_seed, o.seed, o.mr ? "MR" : "CT", o.rows, o.cols, o.slices,
                        ds(o.spacing[0]).c_str(), ds(o.spacing[1]).c_str(), ds(o.step_mm).c_str(),
                        int(o.orientation), o.monochrome1, o.is_signed, o.mixed, o.no_frame_of_reference,
                        o.gap, o.duplicate);
    return key;
}

void directions(Orientation orientation, double row[3], double col[3])
{
    const double a = 0.35, b = 0.20; /* oblique: turned about x, then about z */
    const double axes[3][6] = {
        {1, 0, 0, 0, 1, 0},
        {0, 1, 0, 0, 0, -1},
        {std::cos(b), std::sin(b), 0, -std::cos(a) * std::sin(b), std::cos(a) * std::cos(b), std::sin(a)}};
    for (int i = 0; i < 3; i++) {
        row[i] = axes[int(orientation)][i];
        col[i] = axes[int(orientation)][3 + i];
    }
}

std::vector<Frame> plan(const Options &o)
{
    std::vector<Frame> frames;
    Frame f{};
    directions(o.orientation, f.row, f.col);
    const double n[3] = {f.row[1] * f.col[2] - f.row[2] * f.col[1], f.row[2] * f.col[0] - f.row[0] * f.col[2],
                         f.row[0] * f.col[1] - f.row[1] * f.col[0]};
    const double half_w = (o.cols - 1) * o.spacing[1] / 2, half_h = (o.rows - 1) * o.spacing[0] / 2;
    const double middle[3] = {12, -34, 1060};
    for (int k = 0; k < o.slices; k++) {
        if (k == o.gap) continue;
        f.k = k;
        f.instance_number = o.slices - k; /* against the normal, as scanners often count */
        f.name = "slice/" + std::to_string(k);
        for (int i = 0; i < 3; i++)
            f.origin[i] = middle[i] - half_w * f.row[i] - half_h * f.col[i] +
                          (k - (o.slices - 1) / 2.0) * o.step_mm * n[i];
        frames.push_back(f);
    }
    return frames;
}

void add_odd_frames(const Options &o, std::vector<Frame> &frames)
{
    if (o.duplicate >= 0)
        for (size_t i = 0; i < frames.size(); i++) {
            if (frames[i].k != o.duplicate) continue;
            Frame again = frames[i];
            frames[i].in_volume = false; /* the reader keeps the higher instance number */
            again.instance_number = o.slices + 1;
            again.name = "duplicate";
            frames.insert(frames.begin() + std::ptrdiff_t(i) + 1, again);
            break;
        }
    if (!o.mixed) return;
    Frame localizer{};
    localizer.row[0] = 1;
    localizer.col[1] = o.orientation == Orientation::axial ? 0 : 1;
    localizer.col[2] = o.orientation == Orientation::axial ? -1 : 0;
    localizer.origin[2] = 1000;
    localizer.k = 0;
    localizer.instance_number = o.slices + 2;
    localizer.name = "localizer";
    localizer.in_volume = false;
    frames.push_back(localizer);
}

void put_patient_and_study(DcmItem &d, const Series &s)
{
    put(d, DCM_SpecificCharacterSet, "ISO_IR 100");
    put(d, DCM_PatientName, "MSADCANARY^PHANTOM"); /* tests look for it where no patient attribute may be */
    put(d, DCM_PatientID, "MSADCANARY-0001");
    put(d, DCM_PatientBirthDate, "19000101");
    put(d, DCM_PatientSex, "O");
    put(d, DCM_StudyInstanceUID, s.study_uid);
    put(d, DCM_StudyDate, "20240102");
    put(d, DCM_StudyTime, "030405");
    put(d, DCM_StudyID, "PHANTOM");
    put(d, DCM_StudyDescription, "MSADCANARY synthetic study");
    put(d, DCM_AccessionNumber, "");
    put(d, DCM_ReferringPhysicianName, "");
    put(d, DCM_Manufacturer, "msad test tools");
}

/* A window is given in modality values of what is stored, so it turns round with MONOCHROME1. */
void put_window(const Options &o, DcmItem &d, int center, int width)
{
    const int mirror = o.is_signed ? -1 : 4095, intercept = o.mr || o.is_signed ? 0 : -1024;
    put(d, DCM_WindowCenter, std::to_string(o.monochrome1 ? mirror + 2 * intercept - center : center));
    put(d, DCM_WindowWidth, std::to_string(width));
}

void put_modality(const Options &o, DcmItem &d)
{
    put(d, DCM_Modality, o.mr ? "MR" : "CT");
    put(d, DCM_SeriesDescription, o.mr ? "phantom MR" : "phantom CT");
    put(d, DCM_BodyPartExamined, "ABDOMEN");
    put(d, DCM_PatientPosition, "HFS");
    if (o.mr) {
        put(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\OTHER");
        put(d, DCM_ScanningSequence, "GR");
        put(d, DCM_SequenceVariant, "SP");
        put(d, DCM_ScanOptions, "");
        put(d, DCM_MRAcquisitionType, "2D");
        put(d, DCM_RepetitionTime, "120");
        put(d, DCM_EchoTime, "4.6");
        put(d, DCM_EchoTrainLength, "1");
        put_window(o, d, 450, 1100);
        return;
    }
    put(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\AXIAL");
    put(d, DCM_KVP, "120");
    put_window(o, d, 60, 400);
    put(d, DCM_RescaleIntercept, o.is_signed ? "0" : "-1024");
    put(d, DCM_RescaleSlope, "1");
    put(d, DCM_RescaleType, "HU");
}

/* CT unsigned: 12 bits stored and an intercept of -1024; signed: 16 bits. MR: no rescale. */
void put_pixels(const Options &o, DcmItem &d, const std::vector<float> &values)
{
    const int bits = o.is_signed ? 16 : 12;
    const int least = o.is_signed ? -32768 : 0, greatest = o.is_signed ? 32767 : 4095;
    std::vector<Uint16> words(values.size());
    for (size_t i = 0; i < values.size(); i++) {
        int stored = int(std::lround(values[i])) + (!o.mr && !o.is_signed ? 1024 : 0);
        stored = std::min(std::max(stored, least), greatest);
        if (o.monochrome1) stored = least + greatest - stored;
        words[i] = Uint16(stored);
    }
    put(d, DCM_SamplesPerPixel, uint16_t(1));
    put(d, DCM_PhotometricInterpretation, o.monochrome1 ? "MONOCHROME1" : "MONOCHROME2");
    put(d, DCM_Rows, uint16_t(o.rows));
    put(d, DCM_Columns, uint16_t(o.cols));
    put(d, DCM_BitsAllocated, uint16_t(16));
    put(d, DCM_BitsStored, uint16_t(bits));
    put(d, DCM_HighBit, uint16_t(bits - 1));
    put(d, DCM_PixelRepresentation, uint16_t(o.is_signed ? 1 : 0));
    if (d.putAndInsertUint16Array(DCM_PixelData, words.data(), (unsigned long)words.size()).bad())
        throw std::runtime_error("cannot set the pixel data");
}

void write_frame(const Options &o, const Series &s, const Frame &f, const Instance &id,
                 const std::string &path)
{
    DcmFileFormat file;
    DcmItem &d = *file.getDataset();
    put(d, DCM_SOPClassUID, id.sop_class_uid);
    put(d, DCM_SOPInstanceUID, id.sop_instance_uid);
    put_patient_and_study(d, s);
    put_modality(o, d);
    put(d, DCM_SeriesInstanceUID, s.series_uid);
    put(d, DCM_SeriesNumber, "2");
    put(d, DCM_SeriesDate, "20240102");
    put(d, DCM_SeriesTime, "030500");
    put(d, DCM_ContentDate, "20240102");
    put(d, DCM_ContentTime, "030500");
    put(d, DCM_AcquisitionNumber, "1");
    put(d, DCM_InstanceNumber, std::to_string(f.instance_number));
    if (!o.no_frame_of_reference) put(d, DCM_FrameOfReferenceUID, s.frame_of_reference_uid);
    put(d, DCM_PositionReferenceIndicator, "");
    double axes[6];
    for (int i = 0; i < 3; i++) {
        axes[i] = f.row[i];
        axes[3 + i] = f.col[i];
    }
    put(d, DCM_ImagePositionPatient, ds(f.origin, 3));
    put(d, DCM_ImageOrientationPatient, ds(axes, 6));
    put(d, DCM_PixelSpacing, ds(o.spacing, 2));
    put(d, DCM_SliceThickness, ds(o.step_mm));
    put_pixels(o, d, slice_values(o, f.k));
    const OFCondition cond = file.saveFile(path.c_str(), EXS_LittleEndianExplicit);
    if (cond.bad()) throw std::runtime_error("cannot write " + path + ": " + cond.text());
}

} // namespace

Series write_series(const Options &wanted, const std::string &dir)
{
    Options o = wanted;
    if (o.spacing[0] <= 0) o.spacing[0] = 360.0 / o.rows;
    if (o.spacing[1] <= 0) o.spacing[1] = 360.0 / o.cols;
    const std::string key = key_of(o), study = "msad-phantom/" + std::to_string(o.study_seed);
    Series s;
    s.study_uid = uid(study + "/study");
    s.frame_of_reference_uid = uid(study + "/frame-of-reference");
    s.series_uid = uid(key + "/series");
    s.truth = true_boxes(o);
    std::vector<Frame> frames = plan(o);
    add_odd_frames(o, frames);

    std::filesystem::create_directories(dir);
    for (size_t i = 0; i < frames.size(); i++) {
        const Instance id = {o.mr ? UID_MRImageStorage : UID_CTImageStorage, uid(key + "/" + frames[i].name)};
        /* neither file names nor instance numbers follow the slices: 7 has no common divisor with most counts
         */
        const size_t place = frames.size() % 7 == 0 ? frames.size() - 1 - i : i * 7 % frames.size();
        char name[32];
        (void)std::snprintf(name, sizeof name, "/img%04zu.dcm", place);
        write_frame(o, s, frames[i], id, dir + name);
        if (frames[i].in_volume) s.instances.push_back(id);
    }
    return s;
}

} // namespace phantom
