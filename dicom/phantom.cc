/* A body of soft tissue in air and a bright ellipsoid in it, as CT Image Storage (PS3.3 A.3). */
#include "dicom/phantom.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "dicom/guard.h"
#include "engine/base/hash.h"

namespace dicom
{

namespace
{

constexpr int SIDE = 128, SLICES = 12;
constexpr double PIXEL_MM = 2.5, STEP_MM = 3;
constexpr double CENTRE[3] = {74, 58, 5.5}; /* of the object: column, row, slice */
constexpr double RADIUS_MM[3] = {34, 27, 15};
constexpr int AIR = -1000, TISSUE = 40, OBJECT = 180, NOISE = 12, INTERCEPT = -1024;

std::string uid(const std::string &name)
{
    char text[MSA_UID_MAX];
    msa_uid_derive(name.c_str(), text);
    return text;
}

bool in_object(int x, int y, int z)
{
    const double a = (x - CENTRE[0]) * PIXEL_MM / RADIUS_MM[0], b = (y - CENTRE[1]) * PIXEL_MM / RADIUS_MM[1],
                 c = (z - CENTRE[2]) * STEP_MM / RADIUS_MM[2];
    return a * a + b * b + c * c <= 1;
}

/* Noise without a seed: a hash of the place. */
int noise(int x, int y, int z)
{
    uint32_t h = uint32_t(x) * 374761393u + uint32_t(y) * 668265263u + uint32_t(z) * 2246822519u;
    h = (h ^ (h >> 13)) * 1274126177u;
    return int((h ^ (h >> 16)) % (2 * NOISE + 1)) - NOISE;
}

std::vector<Uint16> pixels(int z)
{
    std::vector<Uint16> out(size_t(SIDE) * SIDE);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const double u = (x - 63.5) / 56, v = (y - 63.5) / 44;
            const int hu = in_object(x, y, z) ? OBJECT : u * u + v * v <= 1 ? TISSUE : AIR;
            out[size_t(y) * SIDE + size_t(x)] = Uint16(hu + noise(x, y, z) - INTERCEPT);
        }
    return out;
}

std::string number(double value)
{
    char text[32];
    (void)std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

struct writer {
    OFCondition first = EC_Normal; /* the first that went wrong */
    DcmDataset *to = nullptr;
    void put(const DcmTagKey &tag, const std::string &value)
    {
        const OFCondition cond = to->putAndInsertString(tag, value.c_str());
        if (first.good()) first = cond;
    }
    void put(const DcmTagKey &tag, Uint16 value)
    {
        const OFCondition cond = to->putAndInsertUint16(tag, value);
        if (first.good()) first = cond;
    }
};

void put_context(writer &w, const std::string &name)
{
    for (const DcmTagKey &tag :
         {DCM_StudyDate, DCM_StudyTime, DCM_AccessionNumber, DCM_ReferringPhysicianName, DCM_PatientBirthDate,
          DCM_PatientSex, DCM_PatientPosition, DCM_PositionReferenceIndicator, DCM_KVP})
        w.put(tag, "");
    w.put(DCM_ImageType, "ORIGINAL\\PRIMARY\\AXIAL");
    w.put(DCM_Modality, "CT");
    w.put(DCM_Manufacturer, "msad");
    w.put(DCM_PatientName, "PHANTOM^OF^MSAD");
    w.put(DCM_PatientID, "MSAD-PHANTOM");
    w.put(DCM_BodyPartExamined, "PHANTOM");
    w.put(DCM_StudyID, "1");
    w.put(DCM_SeriesNumber, "1");
    w.put(DCM_AcquisitionNumber, "1");
    w.put(DCM_StudyInstanceUID, uid(name + "/study"));
    w.put(DCM_SeriesInstanceUID, uid(name + "/series"));
    w.put(DCM_FrameOfReferenceUID, uid(name + "/frame"));
}

void put_plane(writer &w, int z)
{
    const double corner = -(SIDE - 1) / 2.0 * PIXEL_MM;
    w.put(DCM_InstanceNumber, std::to_string(z + 1));
    w.put(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    w.put(DCM_ImagePositionPatient, number(corner) + "\\" + number(corner) + "\\" + number(z * STEP_MM));
    w.put(DCM_PixelSpacing, number(PIXEL_MM) + "\\" + number(PIXEL_MM));
    w.put(DCM_SliceThickness, number(STEP_MM));
}

void put_pixels(writer &w, int z)
{
    w.put(DCM_SamplesPerPixel, Uint16(1));
    w.put(DCM_PhotometricInterpretation, "MONOCHROME2");
    w.put(DCM_Rows, Uint16(SIDE));
    w.put(DCM_Columns, Uint16(SIDE));
    w.put(DCM_BitsAllocated, Uint16(16));
    w.put(DCM_BitsStored, Uint16(12));
    w.put(DCM_HighBit, Uint16(11));
    w.put(DCM_PixelRepresentation, Uint16(0));
    w.put(DCM_RescaleIntercept, std::to_string(INTERCEPT));
    w.put(DCM_RescaleSlope, "1");
    const std::vector<Uint16> values = pixels(z);
    const OFCondition cond = w.to->putAndInsertUint16Array(DCM_PixelData, values.data(), values.size());
    if (w.first.good()) w.first = cond;
}

msa_status write_image(const std::string &dir, const std::string &name, int z, msa_error *err)
{
    DcmFileFormat file;
    writer w;
    char path[32];
    w.to = file.getDataset();
    w.put(DCM_SOPClassUID, UID_CTImageStorage);
    w.put(DCM_SOPInstanceUID, uid(name + "/image/" + std::to_string(z)));
    put_context(w, name);
    put_plane(w, z);
    put_pixels(w, z);
    (void)std::snprintf(path, sizeof path, "/image-%02d.dcm", z);
    if (w.first.good()) w.first = file.saveFile((dir + path).c_str(), EXS_LittleEndianExplicit);
    if (w.first.bad())
        return msa_fail(err, MSA_E_IO, "cannot write the phantom to %.100s: %s", dir.c_str(), w.first.text());
    return MSA_OK;
}

} // namespace
} // namespace dicom

msa_status dicom_phantom_write(const char *dir, const char *name, dicom_phantom *out, msa_error *err)
{
    using namespace dicom;
    return guard(err, [&]() -> msa_status {
        MSA_TRY(dicom_init(err));
        int64_t voxels = 0;
        for (int z = 0; z < SLICES; z++) {
            MSA_TRY(write_image(dir, name, z, err));
            for (int i = 0; i < SIDE * SIDE; i++)
                voxels += in_object(i % SIDE, i / SIDE, z);
        }
        *out = {};
        (void)std::snprintf(out->series_uid, sizeof out->series_uid, "%s",
                            uid(std::string(name) + "/series").c_str());
        out->slices = SLICES;
        out->slice = SLICES / 2;
        out->box[0] = CENTRE[0] - RADIUS_MM[0] / PIXEL_MM;
        out->box[1] = CENTRE[1] - RADIUS_MM[1] / PIXEL_MM;
        out->box[2] = CENTRE[0] + RADIUS_MM[0] / PIXEL_MM + 1;
        out->box[3] = CENTRE[1] + RADIUS_MM[1] / PIXEL_MM + 1;
        out->volume_ml = double(voxels) * PIXEL_MM * PIXEL_MM * STEP_MM / 1000;
        return MSA_OK;
    });
}
