/* Reference masks: what was written comes back, wherever its frames lie; contours by their definition. */
#include "dicom/labels.h"
#include "tests/unit/seg/writing.h"

#include <filesystem>
#include <fstream>

#include "dcmtk/dcmdata/dcsequen.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmjpls/djencode.h"

#undef fail_msg
#define fail_msg(...)                                                                                        \
    do {                                                                                                     \
        print_error("ERROR: ");                                                                              \
        print_error(__VA_ARGS__);                                                                            \
        print_error("\n");                                                                                   \
        _fail(__FILE__, __LINE__);                                                                           \
    } while (0)

namespace
{

struct Labels { /* frees itself */
    dicom_masks *l = nullptr;
    msa_error err = MSA_ERROR_INIT;
    msa_status status;

    Labels(const dicom_series &series, const std::string &path)
        : status(dicom_masks_read(&l, &series, path.c_str(), &err))
    {
    }
    ~Labels()
    {
        dicom_masks_free(l);
    }
    Labels(const Labels &) = delete;
    Labels &operator=(const Labels &) = delete;
    const dicom_masks *get() const
    {
        if (status != MSA_OK) fail_msg("%s", err.what);
        return l;
    }
    std::vector<uint8_t> mask(const dicom_series &s, size_t i) const
    {
        std::vector<uint8_t> m(s.slices.size() * size_t(s.info.rows) * size_t(s.info.cols), 7);
        int64_t voxels = -1, ones = 0;
        msa_error why = MSA_ERROR_INIT;
        if (dicom_masks_fill(get(), i, m.data(), &voxels, &why) != MSA_OK) fail_msg("%s", why.what);
        for (const uint8_t v : m) {
            assert_true(v <= 1);
            ones += v;
        }
        assert_int_equal(voxels, ones);
        return m;
    }
};

void assert_refused(const dicom_series &s, const std::string &path, msa_status status, const char *part)
{
    const Labels l(s, path);
    if (l.status != status || std::strstr(l.err.what, part) == nullptr)
        fail_msg("status %d, \"%s\" does not say \"%s\"", int(l.status), l.err.what, part);
    assert_null(l.l);
}

/* 11 x 13 pixels: frames do not end at bytes. Three segments, two of which overlap. */
synthetic three_segments()
{
    synthetic s(11, 13, 5);
    uint32_t random = 1;
    for (const char *name : {"liver", "cyst", "vessel"}) {
        const size_t seg = s.add_segment(name);
        for (int32_t k = 0; k < 5; k++)
            for (int32_t y = 0; y < 11; y++)
                for (int32_t x = 0; x < 13; x++) {
                    random = random * 1664525u + 1013904223u;
                    s.at(seg, k, y, x) = k != int32_t(seg) && random >> 30 == 0;
                }
    }
    s.segments[1].type = {"367643001", "SCT", "Cyst"};
    std::snprintf(s.segments[1].tracking_id, sizeof s.segments[1].tracking_id, "number one");
    std::snprintf(s.segments[1].tracking_uid, sizeof s.segments[1].tracking_uid, "1.2.3");
    return s;
}

void change(const std::string &path, const std::function<void(DcmDataset &)> &how)
{
    DcmFileFormat file;
    if (file.loadFile(path.c_str()).bad()) std::abort();
    how(*file.getDataset());
    if (file.saveFile(path.c_str(), EXS_LittleEndianExplicit).bad()) std::abort();
}

void segments_come_back(void **)
{
    const synthetic s = three_segments();
    const temp_dir dir;
    const result r = write(s, dir);
    expect_written(r, 3);
    std::vector<std::string> found;
    for (const std::string &name : dir.names()) {
        const Labels l(s.series, dir.path + "/" + name);
        for (size_t i = 0; i < dicom_masks_count(l.get()); i++) {
            const dicom_mask &label = *dicom_masks_at(l.l, i);
            size_t seg = 0;
            while (std::strcmp(label.name, s.segments[seg].label) != 0)
                assert_true(++seg < 3);
            found.push_back(label.name);
            assert_true(l.mask(s.series, i) == s.masks[seg]);
            assert_int_equal(label.planes, 4);
            assert_int_equal(label.planes_outside, 0);
            assert_int_equal(label.first_slice, seg == 0 ? 1 : 0);
            assert_int_equal(label.last_slice, 4);
            if (seg != 1) continue;
            assert_string_equal(label.type.value, "367643001");
            assert_string_equal(label.type.meaning, "Cyst");
            assert_string_equal(label.tracking_id, "number one");
            assert_string_equal(label.tracking_uid, "1.2.3");
        }
        assert_null(dicom_masks_at(l.l, dicom_masks_count(l.l)));
        assert_string_equal(dicom_masks_note(l.l), "");
    }
    assert_int_equal(found.size(), 3);
}

synthetic one_segment()
{
    synthetic s(6, 9, 3);
    const size_t seg = s.add_segment("thing");
    for (int32_t k = 0; k < 2; k++)
        for (int32_t y = 1; y < 4 + k; y++)
            for (int32_t x = 2; x < 8 - y; x++)
                s.at(seg, k, y, x) = 1;
    return s;
}

/* The plane of both frames, in DICOM's words. */
void set_plane(DcmDataset &d, double x, double y, const char *orientation)
{
    for (long f = 0; f < 2; f++) {
        char at[64];
        std::vector<double> old(3);
        OFString text;
        DcmItem &position = in_frame(d, f, DCM_PlanePositionSequence);
        for (unsigned long i = 0; i < 3; i++) {
            (void)position.findAndGetFloat64(DCM_ImagePositionPatient, old[i], i);
        }
        std::snprintf(at, sizeof at, "%.6g\\%.6g\\%.6g", old[0] + x, old[1] + y, old[2]);
        set(position, DCM_ImagePositionPatient, at);
    }
    if (orientation[0]) {
        DcmItem *own = nullptr;
        set(d.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, own, 0).good() &&
                    own->tagExists(DCM_PlaneOrientationSequence)
                ? in_shared(d, DCM_PlaneOrientationSequence)
                : in_frame(d, 0, DCM_PlaneOrientationSequence),
            DCM_ImageOrientationPatient, orientation);
    }
}

/* Rows 0.7 mm apart, columns 0.9. */
void frames_lie_where_their_plane_says(void **)
{
    const synthetic s = one_segment();
    const temp_dir dir;
    expect_written(write(s, dir), 1);
    const std::string path = dir.path + "/seg.dcm";
    change(path, [](DcmDataset &d) { set_plane(d, 0.9, -0.7, ""); });
    const std::vector<uint8_t> moved = Labels(s.series, path).mask(s.series, 0);
    for (int32_t k = 0; k < 3; k++)
        for (int32_t y = 0; y < 6; y++)
            for (int32_t x = 0; x < 9; x++) {
                const bool inside = y + 1 < 6 && x - 1 >= 0;
                const uint8_t wanted = inside ? s.masks[0][size_t((k * 6 + y + 1) * 9 + x - 1)] : 0;
                assert_int_equal(moved[size_t((k * 6 + y) * 9 + x)], wanted);
            }
    /* Mirrored: the first column of the frame is the last one of the slice. */
    change(path, [](DcmDataset &d) { set_plane(d, -0.9 + 8 * 0.9, 0.7, "-1\\0\\0\\0\\1\\0"); });
    const std::vector<uint8_t> mirrored = Labels(s.series, path).mask(s.series, 0);
    for (size_t i = 0; i < mirrored.size(); i++)
        assert_int_equal(mirrored[i], s.masks[0][i / 9 * 9 + 8 - i % 9]);
    /* Not parallel: nothing lies on a slice. */
    change(path, [](DcmDataset &d) { set_plane(d, 0, 0, "0\\0\\1\\0\\1\\0"); });
    const Labels l(s.series, path);
    assert_int_equal(dicom_masks_at(l.get(), 0)->planes, 0);
    assert_int_equal(dicom_masks_at(l.get(), 0)->planes_outside, 2);
    assert_int_equal(dicom_masks_at(l.get(), 0)->first_slice, -1);
    assert_string_equal(dicom_masks_note(l.get()), "2 frames lie on no slice of the series");
}

void a_frame_without_a_plane_lies_on_its_image(void **)
{
    const synthetic s = one_segment();
    const temp_dir dir;
    expect_written(write(s, dir), 1);
    const std::string path = dir.path + "/seg.dcm";
    change(path, [](DcmDataset &d) {
        for (long f = 0; f < 2; f++) {
            DcmItem *groups = nullptr;
            (void)d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, f);
            (void)groups->findAndDeleteElement(DCM_PlanePositionSequence);
        }
    });
    assert_true(Labels(s.series, path).mask(s.series, 0) == s.masks[0]);
}

void wrong_segmentations_are_refused(void **)
{
    const synthetic s = one_segment();
    const temp_dir dir;
    expect_written(write(s, dir), 1);
    const std::string good = dir.path + "/seg.dcm", bad = dir.path + "/bad.dcm";
    const struct {
        std::function<void(DcmDataset &)> how;
        msa_status status;
        const char *part;
    } cases[] = {
        {[](DcmDataset &d) { set(d, DCM_SegmentationType, "PERCENT"); }, MSA_E_UNSUPPORTED, "neither BINARY"},
        {[](DcmDataset &d) { set(d, DCM_SegmentationType, "FRACTIONAL"); }, MSA_E_PARSE, "does not fit"},
        {[](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_BitsAllocated, 8); }, MSA_E_PARSE, "one bit"},
        {[](DcmDataset &d) { set(d, DCM_NumberOfFrames, "0"); }, MSA_E_PARSE, "positive"},
        {[](DcmDataset &d) { set(d, DCM_NumberOfFrames, "1"); }, MSA_E_PARSE, "has 1 frames but describes 2"},
        {[](DcmDataset &d) { set(d, DCM_NumberOfFrames, "2147483647"); }, MSA_E_PARSE, "bytes where"},
        {[](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_Rows, 0); }, MSA_E_PARSE, "no rows"},
        {[](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_Rows, 65535); }, MSA_E_PARSE, "bytes where"},
        {[](DcmDataset &d) { (void)d.findAndDeleteElement(DCM_PixelData); }, MSA_E_PARSE, "no pixel data"},
        {[](DcmDataset &d) { (void)d.findAndDeleteElement(DCM_SegmentSequence); }, MSA_E_PARSE, "no segment"},
        {[](DcmDataset &d) {
             (void)in_frame(d, 1, DCM_SegmentIdentificationSequence)
                 .putAndInsertUint16(DCM_ReferencedSegmentNumber, 2);
         },
         MSA_E_PARSE, "frame 2 belongs to no segment"},
        {[](DcmDataset &d) { set_plane(d, INFINITY, 0, ""); }, MSA_E_PARSE, "no proper plane"},
        {[](DcmDataset &d) { set_plane(d, 0, 0, "1\\0\\0\\1\\0\\0"); }, MSA_E_PARSE, "perpendicular"},
        {[](DcmDataset &d) {
             OFString first;
             (void)in_frame(d, 0, DCM_PlanePositionSequence)
                 .findAndGetOFStringArray(DCM_ImagePositionPatient, first);
             set(in_frame(d, 1, DCM_PlanePositionSequence), DCM_ImagePositionPatient, first.c_str());
         },
         MSA_E_PARSE, "two frames on slice 0"},
    };
    for (const auto &c : cases) {
        std::filesystem::copy_file(good, bad, std::filesystem::copy_options::overwrite_existing);
        change(bad, c.how);
        assert_refused(s.series, bad, c.status, c.part);
    }
    assert_refused(s.series, dir.path + "/none.dcm", MSA_E_NOT_FOUND, "");
}

/* What our writer makes in its other forms. */
void forms_come_back(void **)
{
    synthetic s(11, 13, 5); /* frames of an odd number of pixels */
    for (const char *name : {"liver", "cyst"}) {
        const size_t seg = s.add_segment(name);
        for (int32_t k = 1; k < 4; k++)
            for (int32_t y = 0; y < 11; y++)
                for (int32_t x = 0; x < 13; x++)
                    s.at(seg, k, y, x) = seg == 0 ? x < y + k : x > y + k + 1;
    }
    for (const int format : {DICOM_SEG_FRACTIONAL, DICOM_SEG_LABELMAP})
        for (const int compression : {DICOM_SEG_NONE, DICOM_SEG_RLE, DICOM_SEG_DEFLATE}) {
            const temp_dir dir;
            result r;
            dicom_seg_options o = options_for(key);
            o.form.format = format;
            o.form.compression = compression;
            r.status = dicom_seg_write(&s.series, s.segments.data(), s.segments.size(), &o, dir.path.c_str(),
                                       r.files, &r.n, &r.err);
            expect_written(r, 1);
            const Labels l(s.series, dir.path + "/" + r.files[0].name);
            assert_int_equal(dicom_masks_count(l.get()), 2);
            for (size_t i = 0; i < 2; i++) {
                const dicom_mask &m = *dicom_masks_at(l.l, i);
                if (l.mask(s.series, i) != s.masks[i] || m.planes != 3 || m.first_slice != 1 ||
                    m.last_slice != 3)
                    fail_msg("form %d, %d: segment %zu differs, %d planes", format, compression, i + 1,
                             m.planes);
            }
        }
}

/* Bytes in a syntax that we do not write but others do. */
void bytes_by_a_codec(void **)
{
    const synthetic s = one_segment();
    DJLSEncoderRegistration::registerCodecs();
    for (const int format : {DICOM_SEG_FRACTIONAL, DICOM_SEG_LABELMAP}) {
        const temp_dir dir;
        result r;
        dicom_seg_options o = options_for(key);
        o.form.format = format;
        r.status =
            dicom_seg_write(&s.series, s.segments.data(), 1, &o, dir.path.c_str(), r.files, &r.n, &r.err);
        expect_written(r, 1);
        DcmFileFormat file;
        const std::string path = dir.path + "/" + r.files[0].name;
        assert_true(file.loadFile(path.c_str()).good());
        assert_true(file.getDataset()->chooseRepresentation(EXS_JPEGLSLossless, nullptr).good());
        assert_true(file.saveFile(path.c_str(), EXS_JPEGLSLossless).good());
        assert_true(Labels(s.series, path).mask(s.series, 0) == s.masks[0]);
    }
    DJLSEncoderRegistration::cleanup();
}

/* A fractional pixel belongs to the segment from half of the maximum on. */
void half_of_the_maximum(void **)
{
    synthetic s = one_segment();
    const temp_dir dir;
    result r;
    dicom_seg_options o = options_for(key);
    std::vector<uint8_t> p(s.masks[0].size());
    for (size_t i = 0; i < p.size(); i++)
        p[i] = uint8_t(120 + i % 12);
    std::vector<uint8_t> wanted(p.size());
    for (size_t i = 0; i < p.size(); i++)
        wanted[i] = i < 2 * 54 && p[i] >= 128; /* frames are kept where the mask has a pixel */
    s.segments[0].probability = p.data();
    o.form.format = DICOM_SEG_FRACTIONAL;
    r.status = dicom_seg_write(&s.series, s.segments.data(), 1, &o, dir.path.c_str(), r.files, &r.n, &r.err);
    expect_written(r, 1);
    const std::string path = dir.path + "/" + r.files[0].name;
    assert_true(Labels(s.series, path).mask(s.series, 0) == wanted);
    change(path, [](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_MaximumFractionalValue, 250); });
    for (size_t i = 0; i < p.size(); i++)
        wanted[i] = i < 2 * 54 && p[i] >= 125;
    assert_true(Labels(s.series, path).mask(s.series, 0) == wanted);
}

/* Frames of single bits that others compress: packed again for each frame, then in runs or deflated. */
void compressed_bits(void **)
{
    const synthetic s = one_segment();
    const temp_dir dir;
    expect_written(write(s, dir), 1);
    const std::string path = dir.path + "/seg.dcm";
    const struct {
        const char *what, *syntax;
        std::string head; /* before a frame's bytes, which are given as they are */
        bool good;
    } cases[] = {
        {"literal run", UID_RLELosslessTransferSyntax, std::string("\6", 1), true},
        {"stored block", "1.2.840.10008.1.2.8.1", std::string("\1\7\0\xf8\xff", 5), true},
        {"run too long", UID_RLELosslessTransferSyntax, std::string("\7", 1), false},
        {"run too short", UID_RLELosslessTransferSyntax, std::string("\5", 1), false},
        {"no stream", "1.2.840.10008.1.2.8.1", std::string("\7\7\0\xf8\xff", 5), false},
    };
    for (const auto &c : cases) {
        const bool rle = std::strcmp(c.syntax, UID_RLELosslessTransferSyntax) == 0;
        DcmFileFormat file;
        assert_true(file.loadFile(path.c_str()).good());
        DcmDataset &d = *file.getDataset();
        std::string frames;
        for (size_t k = 0; k < 2; k++) {
            std::string bits(7, '\0'); /* 54 pixels */
            for (size_t i = 0; i < 54; i++)
                if (s.masks[0][k * 54 + i] != 0) bits[i / 8] = char(bits[i / 8] | 1 << i % 8);
            std::string frame = rle ? std::string("\1\0\0\0\x40\0\0\0", 8) + std::string(56, '\0') : "";
            frame += c.head + bits;
            if (frame.size() % 2 != 0) frame += '\0';
            const uint32_t n = uint32_t(frame.size());
            frames += std::string("\xfe\xff\0\xe0", 4) + char(n) + std::string(3, '\0') + frame;
        }
        const std::string out = dir.path + "/other.dcm";
        (void)d.findAndDeleteElement(DCM_PixelData);
        assert_true(file.saveFile(out.c_str(), EXS_LittleEndianExplicit).good());
        std::ifstream in(out, std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
        const size_t at = bytes.find("1.2.840.10008.1.2.1", 132),
                     meta = bytes.find(std::string("\2\0\0\0UL\4\0", 8));
        const std::string uid = c.syntax;
        assert_true(at != std::string::npos && meta != std::string::npos);
        const std::string padded = uid.size() % 2 != 0 ? uid + '\0' : uid;
        bytes[meta + 8] = char(bytes[meta + 8] + int(padded.size()) - 20);
        bytes[at - 2] = char(padded.size());
        bytes.replace(at, 20, padded);
        bytes += std::string("\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0", 20) + frames +
                 std::string("\xfe\xff\xdd\xe0\0\0\0\0", 8);
        std::ofstream(out, std::ios::binary) << bytes;
        const Labels l(s.series, out);
        if (c.good) {
            if (l.mask(s.series, 0) != s.masks[0]) fail_msg("%s: the mask differs", c.what);
            continue;
        }
        std::vector<uint8_t> m(s.masks[0].size());
        msa_error why = MSA_ERROR_INIT;
        assert_int_equal(dicom_masks_fill(l.get(), 0, m.data(), nullptr, &why), MSA_E_PARSE);
        assert_non_null(std::strstr(why.what, "frame 1 of the segmentation is damaged"));
    }
}

void another_series_is_not_ours(void **)
{
    const synthetic s = one_segment();
    synthetic other = one_segment();
    const temp_dir dir;
    expect_written(write(s, dir), 1);
    std::snprintf(other.series.info.series_uid, sizeof other.series.info.series_uid, "1.9.9");
    for (dicom_slice &slice : other.series.slices)
        std::snprintf(slice.sop_instance_uid, sizeof slice.sop_instance_uid, "1.9.9.%d",
                      int(&slice - other.series.slices.data()));
    assert_refused(other.series, dir.path + "/seg.dcm", MSA_E_NOT_FOUND, "refers to another series");
}

/* ---- RTSTRUCT ---- */

struct Curve {
    int number;
    const char *type;
    std::vector<double> points; /* x, y, z in mm */
};

/* Pixel (column, row) of slice k in mm: the synthetic series begins at its own origin. */
std::vector<double> on_slice(const synthetic &s, int32_t k, const std::vector<double> &xy)
{
    std::vector<double> points;
    const double *o = s.series.slices[size_t(k)].origin_mm;
    for (size_t i = 0; i + 1 < xy.size(); i += 2)
        points.insert(points.end(), {o[0] + xy[i] * 0.9, o[1] + xy[i + 1] * 0.7, o[2]});
    return points;
}

DcmItem *append(DcmItem &to, const DcmTagKey &sequence)
{
    DcmItem *item = nullptr;
    if (to.findOrCreateSequenceItem(sequence, item, -2).bad()) std::abort();
    return item;
}

void write_rtstruct(const std::string &path, const std::string &series_uid, const std::string &frame_uid,
                    const std::vector<const char *> &names, const std::vector<Curve> &curves)
{
    DcmFileFormat file;
    DcmDataset &d = *file.getDataset();
    set(d, DCM_SOPClassUID, UID_RTStructureSetStorage);
    set(d, DCM_SOPInstanceUID, "1.2.3.4.5");
    set(d, DCM_StudyInstanceUID, "1.2.3.4");
    set(d, DCM_SeriesInstanceUID, "1.2.3.4.6");
    DcmItem *frame = append(d, DCM_ReferencedFrameOfReferenceSequence);
    set(*frame, DCM_FrameOfReferenceUID, frame_uid);
    if (!series_uid.empty())
        set(*append(*append(*frame, DCM_RTReferencedStudySequence), DCM_RTReferencedSeriesSequence),
            DCM_SeriesInstanceUID, series_uid);
    for (size_t i = 0; i < names.size(); i++) {
        DcmItem *roi = append(d, DCM_StructureSetROISequence);
        set(*roi, DCM_ROINumber, std::to_string(i + 1));
        set(*roi, DCM_ROIName, names[i]);
    }
    for (const Curve &c : curves) {
        DcmItem *roi = append(d, DCM_ROIContourSequence), *contour = append(*roi, DCM_ContourSequence);
        std::string data;
        for (const double v : c.points) {
            char text[32];
            std::snprintf(text, sizeof text, "%s%.10g", data.empty() ? "" : "\\", v);
            data += text;
        }
        set(*roi, DCM_ReferencedROINumber, std::to_string(c.number));
        set(*contour, DCM_ContourGeometricType, c.type);
        set(*contour, DCM_ContourData, data);
    }
    /* implicit: a long contour does not fit the 16-bit length of an explicit DS */
    if (file.saveFile(path.c_str(), EXS_LittleEndianImplicit).bad()) std::abort();
}

void name_series(synthetic &s)
{
    std::snprintf(s.series.info.series_uid, sizeof s.series.info.series_uid, "1.2.826.3");
}

std::string frame_uid_of(synthetic &s)
{
    OFString uid;
    (void)s.head(0).findAndGetOFString(DCM_FrameOfReferenceUID, uid);
    return uid.c_str();
}

void contours_cover_the_pixels_whose_centres_lie_inside(void **)
{
    synthetic s(10, 12, 3);
    const temp_dir dir;
    name_series(s);
    const std::string path = dir.path + "/rt.dcm";
    std::vector<double> low = on_slice(s, 1, {0, 0, 5, 0, 5, 5});
    for (size_t i = 2; i < low.size(); i += 3)
        low[i] += 1.2; /* between slices 2.5 mm apart */
    write_rtstruct(
        path, s.series.info.series_uid, "", {"organ", "empty", ""},
        {{1, "CLOSED_PLANAR", on_slice(s, 1, {1.5, 1.5, 8.5, 1.5, 8.5, 7.5, 1.5, 7.5})},
         {1, "CLOSED_PLANAR", on_slice(s, 1, {3.5, 3.5, 3.5, 5.5, 6.5, 5.5, 6.5, 3.5})}, /* a hole */
         {1, "CLOSED_PLANAR", on_slice(s, 2, {-5, -5, 30, -5, 30, 30, -5, 30})},         /* all of it */
         {1, "CLOSED_PLANAR", low},
         {2, "POINT", on_slice(s, 0, {4, 4})},
         {2, "OPEN_PLANAR", on_slice(s, 0, {4, 4, 5, 5, 5, 8})},
         {2, "CLOSED_PLANAR", on_slice(s, 0, {4, 4, 5, 5})},
         {3, "CLOSED_PLANAR", on_slice(s, 0, {2.2, 0.5, 9.9, 0.5, 2.2, 8.2})}}); /* a triangle */
    const Labels l(s.series, path);
    assert_int_equal(dicom_masks_count(l.get()), 3);
    assert_string_equal(dicom_masks_at(l.l, 0)->name, "organ");
    assert_string_equal(dicom_masks_at(l.l, 2)->name, "ROI 3");
    assert_int_equal(dicom_masks_at(l.l, 0)->planes, 3);
    assert_int_equal(dicom_masks_at(l.l, 0)->planes_outside, 1);
    assert_int_equal(dicom_masks_at(l.l, 1)->planes, 0);
    assert_string_equal(dicom_masks_note(l.l), "3 contours are a point or an open curve, not a region; 1 "
                                               "contour lies on no slice of the series");
    const std::vector<uint8_t> organ = l.mask(s.series, 0), triangle = l.mask(s.series, 2);
    for (int32_t k = 0; k < 3; k++)
        for (int32_t y = 0; y < 10; y++)
            for (int32_t x = 0; x < 12; x++) {
                const bool outer = x >= 2 && x <= 8 && y >= 2 && y <= 7;
                const bool hole = x >= 4 && x <= 6 && y >= 4 && y <= 5;
                const bool in_organ = k == 2 || (k == 1 && outer && !hole);
                const bool in_triangle = k == 0 && y > 0.5 && x > 2.2 && x + y < 10.4;
                const size_t i = size_t((k * 10 + y) * 12 + x);
                if (organ[i] != in_organ || triangle[i] != in_triangle)
                    fail_msg("slice %d, row %d, column %d: %d and %d", k, y, x, organ[i], triangle[i]);
            }
}

void contours_belong_to_a_series_or_a_frame_of_reference(void **)
{
    synthetic s(4, 4, 2);
    const temp_dir dir;
    const std::string path = dir.path + "/rt.dcm", ours = frame_uid_of(s);
    const Curve square = {1, "CLOSED_PLANAR", on_slice(s, 0, {0.5, 0.5, 2.5, 0.5, 2.5, 2.5, 0.5, 2.5})};
    assert_true(!ours.empty());
    write_rtstruct(path, "", ours, {"a"}, {square});
    const std::vector<uint8_t> mask = Labels(s.series, path).mask(s.series, 0);
    assert_int_equal(std::count(mask.begin(), mask.end(), 1), 4);
    write_rtstruct(path, "", "1.2.99", {"a"}, {square});
    assert_refused(s.series, path, MSA_E_NOT_FOUND, "frame of reference");
    write_rtstruct(path, "1.2.98", ours, {"a"}, {square});
    assert_refused(s.series, path, MSA_E_NOT_FOUND, "another series");
}

void wrong_structure_sets_are_refused(void **)
{
    synthetic s(4, 4, 2);
    const temp_dir dir;
    name_series(s);
    const std::string path = dir.path + "/rt.dcm", series = s.series.info.series_uid;
    const std::vector<double> square = on_slice(s, 0, {0, 0, 2, 0, 2, 2});
    std::vector<double> odd = square, away = square;
    odd.pop_back();
    away[0] = 1e7;
    write_rtstruct(path, series, "", {"a"}, {{2, "CLOSED_PLANAR", square}});
    assert_refused(s.series, path, MSA_E_PARSE, "no region that is described");
    write_rtstruct(path, series, "", {"a"}, {{1, "CLOSED_PLANAR", odd}});
    assert_refused(s.series, path, MSA_E_PARSE, "not a list of points");
    write_rtstruct(path, series, "", {"a"}, {{1, "CLOSED_PLANAR", away}});
    assert_refused(s.series, path, MSA_E_PARSE, "kilometres away");
    write_rtstruct(path, series, "", {}, {});
    assert_refused(s.series, path, MSA_E_PARSE, "describes no region");
    write_rtstruct(path, series, "", {"a", "b"}, {});
    change(path, [](DcmDataset &d) {
        DcmItem *roi = nullptr;
        (void)d.findAndGetSequenceItem(DCM_StructureSetROISequence, roi, 1);
        set(*roi, DCM_ROINumber, "1");
    });
    assert_refused(s.series, path, MSA_E_PARSE, "ROI 1 is described twice");
    /* A scribble that crosses every row again and again ends in a sentence, not in an hour. */
    synthetic tall(4096, 2, 1);
    name_series(tall);
    std::vector<double> scribble;
    for (int i = 0; i < 70000; i++) {
        scribble.push_back(i % 3);
        scribble.push_back(i % 2 == 0 ? -1 : 4097);
    }
    write_rtstruct(path, tall.series.info.series_uid, "", {"a"},
                   {{1, "CLOSED_PLANAR", on_slice(tall, 0, scribble)}});
    const Labels l(tall.series, path);
    std::vector<uint8_t> mask(4096 * 2);
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_masks_fill(l.get(), 0, mask.data(), nullptr, &err), MSA_E_UNSUPPORTED);
    assert_non_null(std::strstr(err.what, "too intricate"));
}

/* ---- real objects ---- */

std::string shared_data(const std::string &below)
{
    const std::string path = std::string(MSAD_SHARED_DATA) + "/" + below;
    return std::filesystem::exists(path) ? path : std::string();
}

struct Loaded {
    dicom_series *s = nullptr;
    explicit Loaded(const std::string &dir)
    {
        msa_error err = MSA_ERROR_INIT;
        if (dicom_series_load_dir(&s, dir.c_str(), nullptr, &err) != MSA_OK) fail_msg("%s", err.what);
    }
    ~Loaded()
    {
        dicom_series_free(s);
    }
    Loaded(const Loaded &) = delete;
    Loaded &operator=(const Loaded &) = delete;
};

int64_t ones(const std::vector<uint8_t> &mask)
{
    return std::count(mask.begin(), mask.end(), 1);
}

size_t named(const Labels &l, const char *name)
{
    for (size_t i = 0; i < dicom_masks_count(l.get()); i++)
        if (std::strcmp(dicom_masks_at(l.l, i)->name, name) == 0) return i;
    fail_msg("there is no %s", name);
    return 0;
}

void expert_contours_and_their_raster(void **)
{
    const std::string root = shared_data("ct-4dlung-rtstruct");
    if (root.empty()) _skip(__FILE__, __LINE__);
    const Loaded ct(root + "/ct");
    const Labels rt(*ct.s, root + "/rtstruct/rtstruct.dcm"), seg(*ct.s, root + "/reference-seg.dcm");
    const struct {
        const char *name;
        int64_t voxels;
    } regions[] = {{"Tumor_c40", 23611}, {"LN_c40", 1578}};
    for (const auto &r : regions) {
        const std::vector<uint8_t> drawn = rt.mask(*ct.s, named(rt, r.name));
        const std::vector<uint8_t> stored = seg.mask(*ct.s, named(seg, r.name));
        assert_int_equal(ones(stored), r.voxels);
        assert_int_equal(ones(drawn), r.voxels);
        assert_true(drawn == stored);
    }
}

void expert_masks(void **)
{
    const std::string mr = shared_data("mr-brain1"), ct = shared_data("ct-3slice-seg");
    if (mr.empty() || ct.empty()) _skip(__FILE__, __LINE__);
    const Loaded head(mr + "/mr"), liver(ct + "/ct");
    const Labels tumour(*head.s, mr + "/reference-seg.dcm");
    assert_int_equal(dicom_masks_count(tumour.get()), 1);
    assert_int_equal(ones(tumour.mask(*head.s, 0)), 4137);

    const Labels plain(*liver.s, ct + "/seg/liver.dcm"), big(*liver.s, ct + "/seg/liver_expb.dcm");
    const Labels cropped(*liver.s, ct + "/seg/liver_nonbyte_aligned.dcm");
    const std::vector<uint8_t> mask = plain.mask(*liver.s, 0);
    assert_true(ones(mask) > 1000);
    assert_true(big.mask(*liver.s, 0) == mask);
    /* 510 x 510 in the same corner: the same pixels where both have some. */
    const std::vector<uint8_t> part = cropped.mask(*liver.s, 0);
    for (size_t i = 0; i < mask.size(); i++)
        if (i % 512 < 510 && i / 512 % 512 < 510) assert_int_equal(part[i], mask[i]);
    const Labels overlaps(*liver.s, ct + "/seg/partial_overlaps.dcm");
    assert_int_equal(dicom_masks_count(overlaps.get()), 5);
    for (const char *name : {"/seg/liver_rle.dcm", "/seg/liver_deflate.dcm"})
        assert_true(Labels(*liver.s, ct + name).mask(*liver.s, 0) == mask);
    /* It was cut out of another stack: no frame lies on these slices. */
    const Labels map(*liver.s, ct + "/seg/sparse-labelmap-ppv5.dcm");
    if (map.status == MSA_OK) {
        assert_int_equal(dicom_masks_count(map.l), 1);
        assert_string_equal(dicom_masks_at(map.l, 0)->name, "Liver");
        assert_int_equal(dicom_masks_at(map.l, 0)->planes_outside, 2);
    } else {
        assert_int_equal(map.status, MSA_E_NOT_FOUND);
    }
    assert_refused(*liver.s, ct + "/ct/01.dcm", MSA_E_UNSUPPORTED, "neither a segmentation nor");
    assert_refused(*head.s, ct + "/seg/liver.dcm", MSA_E_NOT_FOUND, "another series");
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_come_back),
        cmocka_unit_test(frames_lie_where_their_plane_says),
        cmocka_unit_test(a_frame_without_a_plane_lies_on_its_image),
        cmocka_unit_test(wrong_segmentations_are_refused),
        cmocka_unit_test(forms_come_back),
        cmocka_unit_test(bytes_by_a_codec),
        cmocka_unit_test(half_of_the_maximum),
        cmocka_unit_test(compressed_bits),
        cmocka_unit_test(another_series_is_not_ours),
        cmocka_unit_test(contours_cover_the_pixels_whose_centres_lie_inside),
        cmocka_unit_test(contours_belong_to_a_series_or_a_frame_of_reference),
        cmocka_unit_test(wrong_structure_sets_are_refused),
        cmocka_unit_test(expert_contours_and_their_raster),
        cmocka_unit_test(expert_masks),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
