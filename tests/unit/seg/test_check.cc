/* The checker finds what is planted, each with its own sentence, and nothing in what was not spoiled. */
#include "tests/unit/seg/writing.h"

#include "dicom/seg_check.h"

#include <sys/stat.h>

namespace
{

/* A phantom of two discs on six slices: its images on disk, and its segmentation. */
struct phantom {
    synthetic s{31, 37, 6};
    temp_dir images, results;
    std::string path = results.path + "/seg.dcm";

    explicit phantom(const dicom_seg_form &form = {})
    {
        for (int i = 0; i < 2; i++) {
            const size_t segment = s.add_segment(i == 0 ? "liver" : "spleen");
            for (int32_t k = i; k < 5; k++)
                for (int32_t r = -5; r <= 5; r++)
                    for (int32_t c = -6; c <= 6; c++)
                        if (r * r + c * c <= 30 + k) s.at(segment, k, 14 + r, 8 + 17 * i + c) = 1;
        }
        for (int32_t k = 0; k < 6; k++) {
            set(s.head(k), DCM_Modality, "CT");
            (void)s.head(k).putAndInsertUint16(DCM_Rows, 31);
            (void)s.head(k).putAndInsertUint16(DCM_Columns, 37);
            const std::string name = images.path + "/" + std::to_string(k) + ".dcm";
            assert_true(s.series.files[static_cast<size_t>(k)]
                            ->saveFile(name.c_str(), EXS_LittleEndianExplicit)
                            .good());
        }
        dicom_seg_options o = options_for(key);
        dicom_seg_file files[DICOM_SEG_FILES_MAX];
        size_t n = 0;
        msa_error err = MSA_ERROR_INIT;
        o.form = form;
        if (dicom_seg_write(&s.series, s.segments.data(), 2, &o, results.path.c_str(), files, &n, &err) !=
            MSA_OK)
            fail_msg("%s", err.what);
        assert_int_equal(n, 1);
    }
};

void collect(void *ctx, const char *sentence)
{
    static_cast<std::vector<std::string> *>(ctx)->push_back(sentence);
}

std::vector<std::string> defects_of(const std::string &path, const char *series,
                                    dicom_seg_summary *out = nullptr)
{
    std::vector<std::string> said;
    dicom_seg_summary summary;
    msa_error err = MSA_ERROR_INIT;
    if (dicom_seg_check(path.c_str(), series, collect, &said, &summary, &err) != MSA_OK)
        fail_msg("%s", err.what);
    assert_int_equal(summary.defects, said.size());
    if (out) *out = summary;
    return said;
}

/* One of the sentences holds the words. */
void expect_said(const std::vector<std::string> &said, const char *name, const char *words)
{
    for (const std::string &sentence : said)
        if (sentence.find(words) != std::string::npos) return;
    fail_msg("%s: none of %zu sentences says '%s'%s%s", name, said.size(), words,
             said.empty() ? "" : ", the first is: ", said.empty() ? "" : said[0].c_str());
}

DcmItem &frame(DcmDataset &d, long k)
{
    DcmItem *item = nullptr;
    if (d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, k).bad()) std::abort();
    return *item;
}

DcmItem &source_image(DcmDataset &d, long k)
{
    DcmItem *image = nullptr;
    if (in_frame(d, k, DCM_DerivationImageSequence)
            .findAndGetSequenceItem(DCM_SourceImageSequence, image, 0)
            .bad())
        std::abort();
    return *image;
}

DcmItem &segment(DcmDataset &d)
{
    DcmItem *item = nullptr;
    if (d.findAndGetSequenceItem(DCM_SegmentSequence, item, 0).bad()) std::abort();
    return *item;
}

void drop(DcmItem &item, const DcmTagKey &tag)
{
    if (item.findAndDeleteElement(tag).bad()) std::abort();
}

/* The first five frames are those of one segment: each gets the value of the next. */
template <typename Where> void shift(DcmDataset &d, const DcmTagKey &tag, Where &&where)
{
    const std::string first = dicom::seg::text_of(where(d, 0), tag);
    for (long k = 0; k < 5; k++)
        set(where(d, k), tag, k < 4 ? dicom::seg::text_of(where(d, k + 1), tag) : first);
}

void index_values(DcmDataset &d, long k, const std::vector<Uint32> &values)
{
    if (in_frame(d, k, DCM_FrameContentSequence)
            .putAndInsertUint32Array(DCM_DimensionIndexValues, values.data(), values.size())
            .bad())
        std::abort();
}

Uint8 *pixels(DcmDataset &d, unsigned long &n)
{
    DcmElement *element = nullptr;
    Uint8 *bytes = nullptr;
    if (d.findAndGetElement(DCM_PixelData, element).bad() || element->getUint8Array(bytes).bad())
        std::abort();
    n = element->getLength();
    return bytes;
}

void reverse_bits(DcmDataset &d)
{
    unsigned long n = 0;
    Uint8 *bytes = pixels(d, n);
    for (unsigned long k = 0; k < n; k++) {
        unsigned out = 0;
        for (unsigned b = 0; b < 8; b++)
            out |= (bytes[k] >> b & 1u) << (7 - b);
        bytes[k] = static_cast<Uint8>(out);
    }
}

void halve_pixels(DcmDataset &d)
{
    unsigned long n = 0;
    const Uint8 *bytes = pixels(d, n);
    const std::vector<Uint8> half(bytes, bytes + n / 4 * 2);
    if (d.putAndInsertUint8Array(DCM_PixelData, half.data(), half.size()).bad()) std::abort();
}

const DcmTagKey position = DCM_ImagePositionPatient, source_uid = DCM_ReferencedSOPInstanceUID;

DcmItem &plane(DcmDataset &d, long k)
{
    return in_frame(d, k, DCM_PlanePositionSequence);
}

const struct {
    const char *name, *words;
    void (*spoil)(DcmDataset &);
} planted[] = {
    {"wrong frame of reference", "the frame of reference is not that of the images",
     [](DcmDataset &d) { set(d, DCM_FrameOfReferenceUID, "1.2.3"); }},
    {"wrong study", "the study is not that of the images",
     [](DcmDataset &d) { set(d, DCM_StudyInstanceUID, "1.2.3"); }},
    {"wrong patient", "the patient's ID is not that of the images",
     [](DcmDataset &d) { set(d, DCM_PatientID, "SOMEBODY-ELSE"); }},
    {"shifted by a slice", "frame 1 and 4 more: its position is not that of the image it names",
     [](DcmDataset &d) { shift(d, position, plane); }},
    {"shifted by half a pixel", "frame 1: its position is not that of the image it names",
     [](DcmDataset &d) { set(plane(d, 0), position, "-12.15\\3.6\\10"); }},
    {"flipped orientation", "its orientation is not that of the image",
     [](DcmDataset &d) {
         set(in_shared(d, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, "0\\1\\0\\1\\0\\0");
     }},
    {"wrong pixel spacing", "its pixel spacing is not that of the image",
     [](DcmDataset &d) { set(in_shared(d, DCM_PixelMeasuresSequence), DCM_PixelSpacing, "1.4\\.9"); }},
    {"unknown source image", "frame 1: it names an image that is not in the series",
     [](DcmDataset &d) { set(source_image(d, 0), source_uid, "1.2.3"); }},
    {"neighbouring source image", "frame 1 and 4 more: its position is not that of the image it names",
     [](DcmDataset &d) { shift(d, source_uid, source_image); }},
    {"no derivation", "frame 1 and 8 more: it names no source image",
     [](DcmDataset &d) {
         for (long k = 0; k < 9; k++)
             drop(frame(d, k), DCM_DerivationImageSequence);
     }},
    {"no referenced series", "the Referenced Series Sequence, by which viewers find the images, is not there",
     [](DcmDataset &d) { drop(d, DCM_ReferencedSeriesSequence); }},
    {"short pixel data", "the pixel data have", halve_pixels},
    {"bits from the wrong end", "the bits of each byte are in the wrong order", reverse_bits},
    {"frame count off", "Number of Frames is 10, but 9 frames are described",
     [](DcmDataset &d) { set(d, DCM_NumberOfFrames, "10"); }},
    {"segment number 0", "segment 1: segments are not numbered from 1",
     [](DcmDataset &d) { (void)segment(d).putAndInsertUint16(DCM_SegmentNumber, 0); }},
    {"unknown segment", "frame 1: it belongs to a segment that is not described",
     [](DcmDataset &d) {
         (void)in_frame(d, 0, DCM_SegmentIdentificationSequence)
             .putAndInsertUint16(DCM_ReferencedSegmentNumber, 77);
     }},
    {"no property type", "segment 1: the property type is not coded",
     [](DcmDataset &d) { drop(segment(d), DCM_SegmentedPropertyTypeCodeSequence); }},
    {"no algorithm name", "segment 1: the algorithm has no name",
     [](DcmDataset &d) {
         set(segment(d), DCM_SegmentAlgorithmType, "AUTOMATIC");
         drop(segment(d), DCM_SegmentAlgorithmName);
         drop(segment(d), DCM_SegmentationAlgorithmIdentificationSequence);
     }},
    {"dimension values short", "frame 1: its Dimension Index Values are not one of each dimension",
     [](DcmDataset &d) { index_values(d, 0, {1}); }},
    {"dimension values twice", "frame 2: its Dimension Index Values are those of another frame",
     [](DcmDataset &d) {
         index_values(d, 1, {1, 1});
     }},
    {"no dimension organization", "the dimensions are not described",
     [](DcmDataset &d) {
         drop(d, DCM_DimensionOrganizationSequence);
         drop(d, DCM_DimensionIndexSequence);
     }},
    {"two frames in one place", "frame 2: another frame of its segment lies in the same place",
     [](DcmDataset &d) { set(plane(d, 1), position, dicom::seg::text_of(plane(d, 0), position)); }},
    {"no device serial number", "Device Serial Number is not there",
     [](DcmDataset &d) { drop(d, DCM_DeviceSerialNumber); }},
    {"in the series of the images", "the object lies in the series of its images",
     [](DcmDataset &d) { set(d, DCM_SeriesInstanceUID, "1.2.826.3"); }},
    {"no plane position", "frame 1: its position, orientation or pixel spacing is not there",
     [](DcmDataset &d) { drop(frame(d, 0), DCM_PlanePositionSequence); }},
    {"8 bits allocated", "Bits Allocated, Bits Stored and High Bit do not suit",
     [](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_BitsAllocated, 8); }},
    {"no content label", "Content Label is not there", [](DcmDataset &d) { drop(d, DCM_ContentLabel); }},
};

void each_planted_defect_is_found(void **)
{
    phantom p;
    assert_int_equal(defects_of(p.path, p.images.path.c_str()).size(), 0);
    const std::string copy = p.results.path + "/spoilt.dcm";
    for (const auto &defect : planted) {
        DcmFileFormat file;
        assert_true(file.loadFile(p.path.c_str()).good());
        assert_true(file.loadAllDataIntoMemory().good());
        defect.spoil(*file.getDataset());
        assert_true(file.saveFile(copy.c_str(), EXS_LittleEndianExplicit).good());
        expect_said(defects_of(copy, p.images.path.c_str()), defect.name, defect.words);
    }
}

void a_file_cut_short_is_found(void **)
{
    for (const int part : {5, 40, 67, 99}) { /* percent that is left */
        phantom p;
        struct stat st;
        assert_int_equal(stat(p.path.c_str(), &st), 0);
        assert_int_equal(truncate(p.path.c_str(), st.st_size * part / 100), 0);
        const std::vector<std::string> said = defects_of(p.path, p.images.path.c_str());
        expect_said(said, "cut short", "the file cannot be read to its end");
        assert_int_equal(said.size(), 1);
    }
}

/* Every form that we write, with its series and alone. */
void nothing_is_found_in_what_we_write(void **)
{
    for (int32_t format = DICOM_SEG_BINARY; format <= DICOM_SEG_LABELMAP; format++)
        for (int32_t compression = DICOM_SEG_NONE; compression <= DICOM_SEG_DEFLATE; compression++)
            for (int32_t empty = 0; empty < 2; empty++) {
                if (format == DICOM_SEG_BINARY && compression == DICOM_SEG_RLE) continue;
                dicom_seg_summary summary;
                phantom p({format, DICOM_SEG_STRICT, compression, empty});
                const std::vector<std::string> said = defects_of(p.path, p.images.path.c_str(), &summary);
                if (!said.empty()) fail_msg("form %d %d %d: %s", format, compression, empty, said[0].c_str());
                assert_int_equal(defects_of(p.path, nullptr).size(), 0);
                const bool labelmap = format == DICOM_SEG_LABELMAP;
                assert_int_equal(summary.frames, labelmap ? (empty ? 6 : 5) : empty ? 12 : 9);
                assert_int_equal(summary.segments, 2);
                assert_int_equal(summary.images, empty ? 6 : 5);
            }
}

void what_is_no_segmentation_is_said(void **)
{
    phantom p;
    std::vector<std::string> said;
    dicom_seg_summary summary;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_seg_check("/nonexistent", nullptr, collect, &said, &summary, &err),
                     MSA_E_NOT_FOUND);
    const std::string image = p.images.path + "/0.dcm";
    err = MSA_ERROR_INIT;
    assert_int_equal(dicom_seg_check(image.c_str(), nullptr, collect, &said, &summary, &err),
                     MSA_E_UNSUPPORTED);
    err = MSA_ERROR_INIT;
    assert_int_equal(dicom_seg_check(p.path.c_str(), p.results.path.c_str(), collect, &said, &summary, &err),
                     MSA_E_UNSUPPORTED);
    assert_int_equal(truncate(image.c_str(), 60), 0);
    err = MSA_ERROR_INIT;
    assert_int_equal(dicom_seg_check(image.c_str(), nullptr, collect, &said, &summary, &err), MSA_E_PARSE);
    assert_int_equal(said.size(), 0);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_planted_defect_is_found),
        cmocka_unit_test(a_file_cut_short_is_found),
        cmocka_unit_test(nothing_is_found_in_what_we_write),
        cmocka_unit_test(what_is_no_segmentation_is_said),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
