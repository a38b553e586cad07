/* Secondary captures: the pixels and words of the object, and what is refused. */
#include "tests/unit/seg/writing.h"

#include "dicom/capture.h"

namespace
{

struct drawn {
    temp_dir out;
    synthetic s{5, 7, 3};
    std::vector<uint8_t> rgb = std::vector<uint8_t>(3 * 5 * 7);
    dicom_capture capture = {};
    dicom_seg_options options = options_for(key);
    dicom_seg_file file = {};
    msa_error err = MSA_ERROR_INIT;

    drawn()
    {
        for (size_t i = 0; i < rgb.size(); i++)
            rgb[i] = static_cast<uint8_t>(7 * i + 1);
        capture = {rgb.data(), 5, 7, 1, 3};
    }
    msa_status write()
    {
        err = MSA_ERROR_INIT;
        return dicom_capture_write(&s.series, &capture, &options, out.path.c_str(), &file, &err);
    }
};

std::string word(DcmItem &item, const DcmTagKey &tag)
{
    return dicom::seg::text_of(item, tag);
}

void a_picture_of_a_slice(void **)
{
    drawn d;
    DcmFileFormat read;
    DcmItem *image = nullptr;
    const Uint8 *pixels = nullptr;
    unsigned long n = 0;
    set(d.s.head(1), DCM_LossyImageCompression, "01");
    set(d.s.head(1), DCM_LossyImageCompressionRatio, "12");
    set(d.s.head(0), DCM_BurnedInAnnotation, "YES"); /* of another slice */
    assert_int_equal(d.write(), MSA_OK);
    assert_string_equal(d.file.name, "capture-3.dcm");
    assert_true(read.loadFile((d.out.path + "/capture-3.dcm").c_str()).good());
    DcmDataset &o = *read.getDataset();
    assert_string_equal(word(o, DCM_SOPClassUID).c_str(), UID_SecondaryCaptureImageStorage);
    assert_string_equal(word(o, DCM_SOPInstanceUID).c_str(), d.file.sop_instance_uid);
    assert_string_equal(word(o, DCM_SeriesInstanceUID).c_str(), d.file.series_uid);
    assert_string_equal(word(o, DCM_StudyInstanceUID).c_str(), "1.2.826.2");
    assert_string_equal(word(o, DCM_PatientName).c_str(), word(d.s.head(0), DCM_PatientName).c_str());
    assert_string_equal(word(o, DCM_PatientOrientation).c_str(), "L\\P");
    assert_string_equal(word(o, DCM_InstanceNumber).c_str(), "3");
    assert_string_equal(word(o, DCM_LossyImageCompression).c_str(), "01");
    assert_string_equal(word(o, DCM_LossyImageCompressionRatio).c_str(), "12");
    assert_string_equal(word(o, DCM_BurnedInAnnotation).c_str(), "NO");
    for (const DcmTagKey &tag : {DCM_FrameOfReferenceUID, DCM_ImagePositionPatient, DCM_PixelSpacing})
        assert_false(o.tagExists(tag)); /* nobody is to measure in it */
    assert_true(o.findAndGetSequenceItem(DCM_SourceImageSequence, image, 0).good());
    assert_string_equal(word(*image, DCM_ReferencedSOPInstanceUID).c_str(),
                        d.s.series.slices[1].sop_instance_uid);
    assert_true(o.findAndGetUint8Array(DCM_PixelData, pixels, &n).good());
    assert_int_equal(n, 3 * 5 * 7 + 1); /* padded */
    assert_memory_equal(pixels, d.rgb.data(), d.rgb.size());
}

/* The pixels of the image are in the picture, and with them what was burned into them. */
void names_in_the_image_stay_told(void **)
{
    drawn d;
    DcmFileFormat read;
    set(d.s.head(1), DCM_BurnedInAnnotation, "YES");
    assert_int_equal(d.write(), MSA_OK);
    assert_true(read.loadFile((d.out.path + "/capture-3.dcm").c_str()).good());
    assert_string_equal(word(*read.getDataset(), DCM_BurnedInAnnotation).c_str(), "YES");
}

void of_one_key_they_are_one_series(void **)
{
    drawn a, b;
    b.capture.number = 4;
    b.capture.slice = 2;
    assert_int_equal(a.write(), MSA_OK);
    const std::string bytes = bytes_of(a.out.path + "/capture-3.dcm");
    assert_int_equal(a.write(), MSA_OK);
    assert_true(bytes_of(a.out.path + "/capture-3.dcm") == bytes);
    assert_int_equal(b.write(), MSA_OK);
    assert_string_equal(a.file.series_uid, b.file.series_uid);
    assert_string_not_equal(a.file.sop_instance_uid, b.file.sop_instance_uid);
}

/* Seen from the side, and of an animal, whose sides have other names. */
void sides_of_the_body(void **)
{
    const auto said = [](const std::function<void(synthetic &)> &spoil) {
        drawn d;
        DcmFileFormat read;
        spoil(d.s);
        assert_int_equal(d.write(), MSA_OK);
        assert_true(read.loadFile((d.out.path + "/capture-3.dcm").c_str()).good());
        assert_true(read.getDataset()->tagExists(DCM_PatientOrientation));
        return word(*read.getDataset(), DCM_PatientOrientation);
    };
    assert_string_equal(said([](synthetic &s) {
                            const double row[3] = {0.1, -0.9, 0.2}, col[3] = {0, 0.2, -0.95};
                            std::copy(row, row + 3, s.series.info.row_dir);
                            std::copy(col, col + 3, s.series.info.col_dir);
                        }).c_str(),
                        "A\\F");
    assert_string_equal(
        said([](synthetic &s) { set(s.head(0), DCM_AnatomicalOrientationType, "QUADRUPED"); }).c_str(), "");
}

void refusals_say_why(void **)
{
    const auto refused = [](msa_status status, const char *words, const std::function<void(drawn &)> &spoil) {
        drawn d;
        spoil(d);
        assert_int_equal(d.write(), status);
        if (!std::strstr(d.err.what, words)) fail_msg("'%s' does not say '%s'", d.err.what, words);
        assert_int_equal(d.out.names().size(), 0);
    };
    refused(MSA_E_INVALID, "slice", [](drawn &d) { d.capture.slice = 3; });
    refused(MSA_E_INVALID, "size", [](drawn &d) { d.capture.rows = 65536; });
    refused(MSA_E_INVALID, "number", [](drawn &d) { d.capture.number = 0; });
    refused(MSA_E_INVALID, "a picture", [](drawn &d) { d.capture.rgb = nullptr; });
    refused(MSA_E_INVALID, "a key", [](drawn &d) { d.options.key = ""; });
    refused(MSA_E_UNSUPPORTED, "Study Instance UID", [](drawn &d) { d.s.series.info.study_uid[0] = '\0'; });
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_of_a_slice),
        cmocka_unit_test(names_in_the_image_stay_told),
        cmocka_unit_test(of_one_key_they_are_one_series),
        cmocka_unit_test(sides_of_the_body),
        cmocka_unit_test(refusals_say_why),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
