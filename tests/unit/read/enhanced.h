/* A phantom's series as one Enhanced or Legacy Converted Enhanced object. */
#ifndef TESTS_UNIT_READ_ENHANCED_H
#define TESTS_UNIT_READ_ENHANCED_H

#include "tests/tools/phantom.h"
#include "tests/unit/read/pictures.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

namespace enhanced
{

struct Options {
    phantom::Options phantom;
    const char *sop_class = UID_EnhancedCTImageStorage;
    bool shuffled = true;        /* frames in another order than slices */
    bool slope_by_frame = false; /* 1 and 0.5 in turn: values differ, by a known rule */
    bool shared_plane = true;    /* orientation and spacing for all, else with each frame */
    E_TransferSyntax syntax = EXS_LittleEndianExplicit;
    /* What else a frame says: its functional groups, and its number among the slices. */
    std::function<void(DcmItem &, int)> more;
};

struct Made {
    std::string sop_instance_uid;
    std::vector<int> slice_of_frame; /* of the plain series */
    std::vector<std::string> pixels; /* of each frame, as stored */
};

inline DcmItem &group(DcmItem &groups, const DcmTagKey &sequence)
{
    DcmItem *item = nullptr;
    assert_true(groups.findOrCreateSequenceItem(sequence, item, 0).good());
    return *item;
}

inline void move(DcmItem &to, DcmItem &from, const DcmTagKey &tag)
{
    OFString value;
    if (from.findAndGetOFStringArray(tag, value).good())
        assert_true(to.putAndInsertString(tag, value.c_str()).good());
}

inline void put_plane(DcmItem &groups, DcmItem &from)
{
    move(group(groups, DCM_PlaneOrientationSequence), from, DCM_ImageOrientationPatient);
    DcmItem &measures = group(groups, DCM_PixelMeasuresSequence);
    move(measures, from, DCM_PixelSpacing);
    move(measures, from, DCM_SliceThickness);
}

inline void put_frame(DcmItem &groups, DcmItem &from, const Options &o, int slice, int index)
{
    DcmItem &content = group(groups, DCM_FrameContentSequence);
    const Uint32 indices[2] = {1, Uint32(slice) + 1};
    assert_true(content.putAndInsertUint32Array(DCM_DimensionIndexValues, indices, 2).good());
    assert_true(content.putAndInsertString(DCM_StackID, "1").good());
    move(group(groups, DCM_PlanePositionSequence), from, DCM_ImagePositionPatient);
    if (!o.shared_plane) put_plane(groups, from);
    DcmItem &values = group(groups, DCM_PixelValueTransformationSequence);
    move(values, from, DCM_RescaleIntercept);
    assert_true(
        values.putAndInsertString(DCM_RescaleSlope, o.slope_by_frame && index % 2 == 1 ? "0.5" : "1").good());
    DcmItem &window = group(groups, DCM_FrameVOILUTSequence);
    move(window, from, DCM_WindowCenter);
    move(window, from, DCM_WindowWidth);
    if (o.more) o.more(groups, slice);
}

/* Writes the phantom's series into `plain` and the same as one object into `folder`/enhanced.dcm. */
inline Made write(const Options &o, const std::string &plain, const std::string &folder)
{
    const phantom::Series series = phantom::write_series(o.phantom, plain);
    const SeriesPtr sorted = load_series(plain);
    std::vector<std::string> paths = files_below(plain);
    std::vector<int> order(paths.size());
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 random(11);
    if (o.shuffled) std::shuffle(order.begin(), order.end(), random);

    Made made;
    DcmFileFormat out;
    DcmItem *shared = nullptr;
    std::string pixels;
    for (size_t k = 0; k < order.size(); k++) {
        DcmFileFormat in;
        OFString uid;
        const Uint16 *words = nullptr;
        unsigned long n = 0;
        assert_true(in.loadFile(paths[size_t(order[k])].c_str()).good());
        DcmDataset &from = *in.getDataset();
        assert_true(from.findAndGetUint16Array(DCM_PixelData, words, &n).good());
        made.pixels.emplace_back(reinterpret_cast<const char *>(words), 2 * n);
        pixels += made.pixels.back();
        assert_true(from.findAndGetOFString(DCM_SOPInstanceUID, uid).good());
        made.slice_of_frame.push_back(dicom_series_find(sorted.get(), uid.c_str(), 0));
        if (k == 0) {
            *out.getDataset() = from;
            shared = &group(*out.getDataset(), DCM_SharedFunctionalGroupsSequence);
            if (o.shared_plane) put_plane(*shared, from);
            made.sop_instance_uid = uid.c_str();
        }
        DcmItem *groups = nullptr;
        assert_true(out.getDataset()
                        ->findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, -2)
                        .good());
        put_frame(*groups, from, o, made.slice_of_frame.back(), int(k));
    }
    DcmDataset &d = *out.getDataset();
    for (const DcmTagKey &tag : {DCM_ImagePositionPatient, DCM_ImageOrientationPatient, DCM_PixelSpacing,
                                 DCM_SliceThickness, DCM_RescaleIntercept, DCM_RescaleSlope, DCM_WindowCenter,
                                 DCM_WindowWidth, DCM_SpacingBetweenSlices})
        delete d.remove(tag);
    assert_true(d.putAndInsertString(DCM_SOPClassUID, o.sop_class).good());
    assert_true(d.putAndInsertString(DCM_NumberOfFrames, std::to_string(order.size()).c_str()).good());
    assert_true(d.putAndInsertUint16Array(DCM_PixelData, reinterpret_cast<const Uint16 *>(pixels.data()),
                                          static_cast<unsigned long>(pixels.size() / 2))
                    .good());
    std::filesystem::create_directories(folder);
    assert_true(d.chooseRepresentation(o.syntax, nullptr).good());
    assert_true(out.saveFile((folder + "/enhanced.dcm").c_str(), o.syntax).good());
    return made;
}

} // namespace enhanced
#endif
