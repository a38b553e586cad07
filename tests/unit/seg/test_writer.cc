/* Invariants 4, 6 and 10: one content, the source's geometry, the same bits. */
#include "tests/unit/seg/writing.h"

#include "engine/base/hash.h"

namespace
{

std::string sha256(const std::string &path)
{
    char hex[MSA_SHA256_HEX];
    assert_int_equal(msa_sha256_file(path.c_str(), hex, nullptr), MSA_OK);
    return hex;
}

/* A blob whose edges lie on every bit position; the last pixel is set so that a lost tail shows. */
void draw(synthetic &s, size_t segment, unsigned seed)
{
    const int32_t rows = s.series.info.rows, cols = s.series.info.cols;
    for (int32_t k = 0; k < s.series.info.slices; k++)
        for (int32_t r = 0; r < rows; r++)
            for (int32_t c = 0; c < cols; c++)
                s.at(segment, k, r, c) = (rand_r(&seed) >> 6 & 3) == 0 || (r == rows - 1 && c == cols - 1);
}

void any_matrix_is_written_and_read_back(void **)
{
    const int32_t sizes[][2] = {{3, 5}, {7, 9}, {8, 8}, {1, 1}, {23, 38}, {100, 101}, {511, 511}};
    for (const auto &size : sizes) {
        temp_dir dir;
        synthetic s(size[0], size[1], 5);
        draw(s, s.add_segment("liver"), 7);
        const result r = write(s, dir);
        expect_written(r, 1);
        assert_int_equal(r.files[0].frames, 5);
        assert_int_equal(r.files[0].segments, 1);
        assert_int_equal(dir.names().size(), 1);
        /* a third reading of the bits, by neither of the two sides under test */
        DcmFileFormat file;
        assert_true(file.loadFile((dir.path + "/seg.dcm").c_str()).good());
        const Uint8 *bits = nullptr;
        unsigned long bytes = 0;
        assert_true(file.getDataset()->findAndGetUint8Array(DCM_PixelData, bits, &bytes).good());
        assert_int_equal(bytes, (s.masks[0].size() + 15) / 16 * 2);
        for (size_t i = 0; i < bytes * 8; i++)
            assert_int_equal(bits[i >> 3] >> (i & 7) & 1, i < s.masks[0].size() ? s.masks[0][i] : 0);
    }
}

void same_input_same_bytes(void **)
{
    temp_dir a, b, c;
    synthetic s(31, 33, 6);
    draw(s, s.add_segment("left kidney"), 1);
    draw(s, s.add_segment("mass"), 2);
    const result r = write(s, a);
    expect_written(r, 2);
    expect_written(write(s, b), 2);
    const result other = write(s, c, "another key");
    for (const char *name : {"/seg.dcm", "/seg-2.dcm"}) {
        assert_string_equal(sha256(a.path + name).c_str(), sha256(b.path + name).c_str());
        assert_string_not_equal(sha256(a.path + name).c_str(), sha256(c.path + name).c_str());
    }
    assert_string_equal(r.files[0].series_uid, r.files[1].series_uid);
    assert_string_not_equal(r.files[0].sop_instance_uid, r.files[1].sop_instance_uid);
    assert_string_not_equal(r.files[0].sop_instance_uid, other.files[0].sop_instance_uid);
    assert_string_not_equal(r.files[0].series_uid, other.files[0].series_uid);
    /* writing over an earlier attempt changes nothing */
    expect_written(write(s, a), 2);
    assert_string_equal(sha256(a.path + "/seg.dcm").c_str(), sha256(b.path + "/seg.dcm").c_str());
}

void overlap_goes_into_the_next_instance(void **)
{
    temp_dir dir;
    synthetic s(9, 11, 4);
    for (const char *label : {"a", "b over a", "empty", "c beside a", "d over a and b"})
        (void)s.add_segment(label);
    s.at(0, 1, 2, 2) = s.at(0, 2, 2, 2) = 1;
    s.at(1, 2, 2, 2) = s.at(1, 3, 0, 0) = 1;
    s.at(3, 2, 8, 10) = 1;
    s.at(4, 1, 2, 2) = s.at(4, 3, 0, 0) = 1;
    const result r = write(s, dir);
    expect_written(r, 3);
    assert_int_equal(r.files[0].segments, 2);
    assert_int_equal(r.files[0].frames, 3);
    assert_int_equal(r.files[1].segments, 1);
    assert_int_equal(r.files[2].segments, 1);
    DcmFileFormat file;
    assert_true(file.loadFile((dir.path + "/seg-2.dcm").c_str()).good());
    DcmItem *segment = nullptr, *frame = nullptr, *content = nullptr;
    Uint16 number = 0;
    const Uint32 *index = nullptr;
    unsigned long n = 0;
    assert_true(file.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, segment, 0).good());
    assert_true(segment->findAndGetUint16(DCM_SegmentNumber, number).good());
    assert_int_equal(number, 1); /* numbering starts again */
    assert_string_equal(dicom::seg::text_of(*segment, DCM_SegmentLabel).c_str(), "b over a");
    assert_true(
        file.getDataset()->findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, 1).good());
    assert_true(frame->findAndGetSequenceItem(DCM_FrameContentSequence, content, 0).good());
    assert_true(content->findAndGetUint32Array(DCM_DimensionIndexValues, index, &n).good());
    assert_int_equal(n, 2);
    assert_int_equal(index[0], 1);
    assert_int_equal(index[1], 2); /* the second position of this object */
}

void nothing_is_no_object(void **)
{
    temp_dir dir;
    synthetic s(5, 5, 2);
    (void)s.add_segment("empty");
    result r = write(s, dir);
    assert_int_equal(r.status, MSA_E_NOT_FOUND);
    assert_int_equal(r.n, 0);
    assert_int_equal(dir.names().size(), 0);
    s.segments.clear();
    r = write(s, dir);
    assert_int_equal(r.status, MSA_E_NOT_FOUND);
}

void refusals_say_why_and_leave_nothing(void **)
{
    temp_dir dir;
    synthetic s(5, 5, 2);
    s.at(s.add_segment("x"), 0, 1, 1) = 1;
    result r = write(s, dir, "");
    assert_int_equal(r.status, MSA_E_INVALID);
    s.segments[0].mask = nullptr;
    r = write(s, dir);
    assert_int_equal(r.status, MSA_E_INVALID);
    s.segments[0].mask = s.masks[0].data();
    const dicom_seg_options o = options_for(key);
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(
        dicom_seg_write(&s.series, s.segments.data(), 1, &o, "/nonexistent/folder", r.files, &r.n, &err),
        MSA_E_IO);
    assert_int_equal(r.n, 0);
    set(s.head(0), DCM_FrameOfReferenceUID, "");
    r = write(s, dir);
    assert_int_equal(r.status, MSA_E_UNSUPPORTED);
    assert_non_null(std::strstr(r.err.what, "Frame of Reference"));
    assert_int_equal(dir.names().size(), 0);
}

void too_many_layers_are_refused(void **)
{
    temp_dir dir;
    synthetic s(3, 3, 1);
    for (int k = 0; k < DICOM_SEG_FILES_MAX + 1; k++)
        s.at(s.add_segment("x"), 0, 1, 1) = 1;
    const result r = write(s, dir);
    assert_int_equal(r.status, MSA_E_UNSUPPORTED);
    assert_int_equal(dir.names().size(), 0);
}

/* Loads what `change` made of a small series. */
void with_object(const std::function<void(synthetic &)> &change,
                 const std::function<void(DcmDataset &)> &look)
{
    temp_dir dir;
    synthetic s(8, 9, 4);
    const size_t segment = s.add_segment("L\xc3\xa4sion");
    for (int32_t k = 0; k < 4; k++)
        s.at(segment, k, 1, k) = 1;
    change(s);
    expect_written(write(s, dir), 1);
    DcmFileFormat file;
    assert_true(file.loadFile((dir.path + "/seg.dcm").c_str()).good());
    look(*file.getDataset());
}

std::string shared_measure(DcmDataset &d, const DcmTagKey &tag)
{
    return dicom::seg::text_of(in_shared(d, DCM_PixelMeasuresSequence), tag);
}

void words_are_the_sources(void **)
{
    with_object(
        [](synthetic &) {},
        [](DcmDataset &d) {
            const char *name = nullptr;
            assert_true(d.findAndGetString(DCM_PatientName, name).good());
            assert_string_equal(name, "M\xfcller^Test");
            assert_string_equal(dicom::seg::text_of(d, DCM_SpecificCharacterSet).c_str(), "ISO_IR 100");
            assert_string_equal(dicom::seg::text_of(d, DCM_ContentDate).c_str(), "20200103");
            assert_string_equal(dicom::seg::text_of(d, DCM_ContentTime).c_str(), "111213.5");
            assert_true(d.tagExists(DCM_AccessionNumber)); /* type 2, the source has none */
            assert_string_equal(shared_measure(d, DCM_PixelSpacing).c_str(), "0.70\\.9");
            assert_string_equal(shared_measure(d, DCM_SliceThickness).c_str(), "2.50");
            assert_string_equal(shared_measure(d, DCM_SpacingBetweenSlices).c_str(), "2.5");
            DcmItem *segment = nullptr;
            assert_true(d.findAndGetSequenceItem(DCM_SegmentSequence, segment, 0).good());
            assert_string_equal(dicom::seg::text_of(*segment, DCM_SegmentLabel).c_str(), "L\xe4sion");
            assert_string_equal(dicom::seg::text_of(*segment, DCM_TrackingID).c_str(), "L\xe4sion");
            assert_true(dicom::seg::uid_valid(dicom::seg::text_of(*segment, DCM_TrackingUID).c_str()));
            assert_string_equal(dicom::seg::text_of(d, DCM_LossyImageCompression).c_str(), "00");
        });
}

/* Escape sequences and code extensions pass untouched, and our own texts keep to the first set. */
void names_in_any_set_pass_untouched(void **)
{
    static const char name[] =
        "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
    with_object(
        [](synthetic &s) {
            set(s.head(0), DCM_SpecificCharacterSet, "\\ISO 2022 IR 87");
            set(s.head(0), DCM_PatientName, name);
        },
        [](DcmDataset &d) {
            const char *got = nullptr;
            assert_true(d.findAndGetString(DCM_PatientName, got).good());
            assert_string_equal(got, name);
            OFString sets;
            assert_true(d.findAndGetOFStringArray(DCM_SpecificCharacterSet, sets).good());
            assert_string_equal(sets.c_str(), "\\ISO 2022 IR 87");
            DcmItem *segment = nullptr;
            assert_true(d.findAndGetSequenceItem(DCM_SegmentSequence, segment, 0).good());
            assert_string_equal(dicom::seg::text_of(*segment, DCM_SegmentLabel).c_str(), "Lasion");
        });
}

void half_modules_are_made_whole(void **)
{
    with_object(
        [](synthetic &s) {
            DcmItem *item = nullptr;
            set(s.head(0), DCM_ClinicalTrialSponsorName, "Sponsor");
            set(s.head(0), DCM_ClinicalTrialProtocolID, "P1");
            set(s.head(0), DCM_ClinicalTrialSubjectID, "7");
            (void)s.head(0).findOrCreateSequenceItem(DCM_ReferencedStudySequence, item, -2);
            set(*item, DCM_ReferencedSOPClassUID, "1.2.840.10008.3.1.2.3.1");
            set(*item, DCM_ReferencedSOPInstanceUID, "");
            (void)s.head(0).findOrCreateSequenceItem(DCM_ReferencedPerformedProcedureStepSequence, item, -2);
            set(*item, DCM_ReferencedSOPClassUID, "1.2.840.10008.3.1.2.3.3");
            set(*item, DCM_ReferencedSOPInstanceUID, "1.2.3");
        },
        [](DcmDataset &d) {
            assert_string_equal(dicom::seg::text_of(d, DCM_ClinicalTrialSubjectID).c_str(), "7");
            assert_true(d.tagExists(DCM_ClinicalTrialSiteID));
            assert_true(d.tagExists(DCM_ClinicalTrialSiteName));
            assert_false(d.tagExists(DCM_ReferencedStudySequence)); /* a reference to nothing */
            assert_true(d.tagExistsWithValue(DCM_ReferencedPerformedProcedureStepSequence));
        });
    with_object([](synthetic &) {},
                [](DcmDataset &d) { assert_false(d.tagExists(DCM_ClinicalTrialSiteID)); });
}

/* Annotation and result stay tied: tracking, site, and the object that the prompt came from. */
void prompts_are_named(void **)
{
    temp_dir dir;
    synthetic s(8, 9, 2);
    s.at(s.add_segment("roi 1"), 0, 1, 1) = 1;
    dicom_segment &segment = s.segments[0];
    std::snprintf(segment.tracking_id, sizeof segment.tracking_id, "Lesion 1");
    std::snprintf(segment.tracking_uid, sizeof segment.tracking_uid, "1.2.3.4");
    segment.site = {"39607008", "SCT", "Lung"};
    segment.type = {"X1", "99LOCAL", "Opacity"};
    segment.automatic = true;
    dicom_prompt prompts[4] = {};
    for (int k = 0; k < 3; k++) {
        std::snprintf(prompts[k].source_class_uid, sizeof prompts[k].source_class_uid,
                      "1.2.840.10008.5.1.4.1.1.88.33");
        std::snprintf(prompts[k].source_instance_uid, sizeof prompts[k].source_instance_uid, "1.2.9.%d",
                      k / 2);
    } /* the fourth came over REST and names no object */
    dicom_seg_options o = options_for(key);
    o.prompts = prompts;
    o.n_prompts = 4;
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n = 0;
    assert_int_equal(
        dicom_seg_write(&s.series, s.segments.data(), 1, &o, dir.path.c_str(), files, &n, nullptr), MSA_OK);
    DcmFileFormat file;
    assert_true(file.loadFile((dir.path + "/seg.dcm").c_str()).good());
    DcmItem *item = nullptr, *code = nullptr;
    DcmSequenceOfItems *sources = nullptr;
    assert_true(file.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, item, 0).good());
    assert_string_equal(dicom::seg::text_of(*item, DCM_TrackingID).c_str(), "Lesion 1");
    assert_string_equal(dicom::seg::text_of(*item, DCM_TrackingUID).c_str(), "1.2.3.4");
    assert_string_equal(dicom::seg::text_of(*item, DCM_SegmentAlgorithmType).c_str(), "AUTOMATIC");
    assert_non_null(
        std::strstr(dicom::seg::text_of(*item, DCM_SegmentDescription).c_str(), "Opacity (X1, 99LOCAL)"));
    assert_true(item->findAndGetSequenceItem(DCM_AnatomicRegionSequence, code, 0).good());
    assert_string_equal(dicom::seg::text_of(*code, DCM_CodeValue).c_str(), "39607008");
    assert_true(item->findAndGetSequenceItem(DCM_SegmentedPropertyTypeCodeSequence, code, 0).good());
    assert_string_equal(dicom::seg::text_of(*code, DCM_CodeValue).c_str(), "85756007");
    assert_true(file.getDataset()->findAndGetSequence(DCM_SourceInstanceSequence, sources).good());
    assert_int_equal(sources->card(), 2);
    assert_string_equal(dicom::seg::text_of(*sources->getItem(1), DCM_ReferencedSOPInstanceUID).c_str(),
                        "1.2.9.1");
}

void gaps_have_no_spacing(void **)
{
    with_object(
        [](synthetic &s) { s.series.info.issues = DICOM_ISSUE_GAP; },
        [](DcmDataset &d) { assert_string_equal(shared_measure(d, DCM_SpacingBetweenSlices).c_str(), ""); });
    with_object(
        [](synthetic &s) {
            set(s.head(0), DCM_SpacingBetweenSlices, "2.50000");
            (void)s.head(0).findAndDeleteElement(DCM_SliceThickness);
        },
        [](DcmDataset &d) {
            assert_string_equal(shared_measure(d, DCM_SpacingBetweenSlices).c_str(), "2.50000");
            assert_string_equal(shared_measure(d, DCM_SliceThickness).c_str(), "2.5");
        });
}

void lossy_sources_stay_lossy(void **)
{
    with_object(
        [](synthetic &s) {
            set(s.head(2), DCM_LossyImageCompression, "01");
            set(s.head(2), DCM_LossyImageCompressionRatio, "12.5");
            set(s.head(2), DCM_LossyImageCompressionMethod, "ISO_10918_1");
        },
        [](DcmDataset &d) {
            assert_string_equal(dicom::seg::text_of(d, DCM_LossyImageCompression).c_str(), "01");
            assert_string_equal(dicom::seg::text_of(d, DCM_LossyImageCompressionRatio).c_str(), "12.5");
            assert_string_equal(dicom::seg::text_of(d, DCM_LossyImageCompressionMethod).c_str(),
                                "ISO_10918_1");
        });
}

void slices_that_differ_keep_their_own_orientation(void **)
{
    with_object(
        [](synthetic &s) {
            set(s.head(3), DCM_ImageOrientationPatient,
                "0.99999994\\0.0003464\\0\\-0.0003464\\0.99999994\\0");
        },
        [](DcmDataset &d) {
            assert_string_equal(
                dicom::seg::text_of(in_frame(d, 3, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient)
                    .c_str(),
                "0.99999994\\0.0003464\\0\\-0.0003464\\0.99999994\\0");
            DcmItem *shared = nullptr;
            assert_true(d.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, 0).good());
            assert_false(shared->tagExists(DCM_PlaneOrientationSequence));
        });
    with_object([](synthetic &s) { set(s.head(3), DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0"); },
                [](DcmDataset &d) {
                    assert_string_equal(dicom::seg::text_of(in_shared(d, DCM_PlaneOrientationSequence),
                                                            DCM_ImageOrientationPatient)
                                            .c_str(),
                                        "1.000000\\0\\0\\0\\1.000000\\0");
                });
}

void dates_fall_back(void **)
{
    with_object(
        [](synthetic &s) {
            set(s.head(0), DCM_AcquisitionDate, "");
            set(s.head(0), DCM_StudyDate, "2020.01.02");
        },
        [](DcmDataset &d) {
            assert_string_equal(dicom::seg::text_of(d, DCM_ContentDate).c_str(), "19700101");
            assert_string_equal(dicom::seg::text_of(d, DCM_ContentTime).c_str(), "000000");
        });
}

/* Where a mask lies may be told; the bytes are the same. */
void an_extent_changes_no_byte(void **)
{
    temp_dir dir;
    synthetic s(70, 33, 6);
    const size_t segment = s.add_segment("x");
    s.at(segment, 2, 40, 1) = s.at(segment, 3, 41, 32) = s.at(segment, 4, 69, 0) = 1;
    expect_written(write(s, dir), 1);
    const std::string all = bytes_of(dir.path + "/seg.dcm");
    s.segments[segment].extent = {2, 5, 40, 70};
    expect_written(write(s, dir), 1);
    assert_true(bytes_of(dir.path + "/seg.dcm") == all);
    for (const dicom_extent &e :
         {dicom_extent{-1, 5, 0, 70}, dicom_extent{2, 7, 0, 70}, dicom_extent{3, 3, 0, 70},
          dicom_extent{2, 5, 40, 71}, dicom_extent{2, 5, 9, 9}}) {
        s.segments[segment].extent = e;
        const result r = write(s, dir);
        assert_int_equal(r.status, MSA_E_INVALID);
        assert_non_null(std::strstr(r.err.what, "segment 1 has an extent"));
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_matrix_is_written_and_read_back),
        cmocka_unit_test(same_input_same_bytes),
        cmocka_unit_test(overlap_goes_into_the_next_instance),
        cmocka_unit_test(nothing_is_no_object),
        cmocka_unit_test(refusals_say_why_and_leave_nothing),
        cmocka_unit_test(too_many_layers_are_refused),
        cmocka_unit_test(words_are_the_sources),
        cmocka_unit_test(names_in_any_set_pass_untouched),
        cmocka_unit_test(half_modules_are_made_whole),
        cmocka_unit_test(prompts_are_named),
        cmocka_unit_test(gaps_have_no_spacing),
        cmocka_unit_test(lossy_sources_stay_lossy),
        cmocka_unit_test(slices_that_differ_keep_their_own_orientation),
        cmocka_unit_test(dates_fall_back),
        cmocka_unit_test(an_extent_changes_no_byte),
    };
    return cmocka_run_group_tests(tests, init, nullptr);
}
