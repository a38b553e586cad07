/* Measurement reports: what DCMTK's own reader of structured reports makes of them, value by value. */
#include "tests/unit/seg/writing.h"

#include "dcmtk/dcmsr/dsrdoc.h"

#include "dicom/report.h"

namespace
{

const char NAME[] = "/report.dcm";

dicom_seg_file seg_file()
{
    dicom_seg_file f = {};
    std::snprintf(f.sop_class_uid, sizeof f.sop_class_uid, "%s", UID_SegmentationStorage);
    std::snprintf(f.sop_instance_uid, sizeof f.sop_instance_uid, "1.2.826.9.1");
    std::snprintf(f.series_uid, sizeof f.series_uid, "1.2.826.9");
    return f;
}

/* A series of three slices with two segments; the first is found, the second is not. */
struct example {
    synthetic s{6, 8, 3};
    dicom_seg_file file = seg_file();
    dicom_finding findings[2] = {};
    dicom_seg_options options = options_for("key");

    example()
    {
        s.add_segment("Liver");
        s.add_segment("lesion");
        std::snprintf(s.segments[0].tracking_uid, sizeof s.segments[0].tracking_uid, "1.2.3.4");
        findings[0].segment = &s.segments[0];
        findings[1].segment = &s.segments[1];
        findings[0].number = 2;
        findings[0].file = &file;
        findings[0].first_slice = 1;
        findings[0].last_slice = 2;
        findings[0].measures = {12.3456, 40.5, 20.25, 55.5, 4.125, -3, 80, {1.5, -2.5, 15}};
    }
    msa_status write(const char *dir, dicom_seg_file *out, msa_error *err)
    {
        return dicom_report_write(&s.series, findings, 2, &options, dir, out, err);
    }
};

void load(DSRDocument &document, DcmFileFormat &file, const std::string &path)
{
    assert_true(file.loadFile(path.c_str()).good());
    assert_true(document.read(*file.getDataset()).good()); /* checks value types and relations of the class */
}

/* Goes to the first item of that concept's meaning, from the root on. */
bool find(DSRDocument &document, const char *meaning)
{
    DSRDocumentTree &tree = document.getTree();
    for (size_t at = tree.gotoRoot(); at != 0; at = tree.iterate())
        if (tree.getCurrentContentItem().getConceptName().getCodeMeaning() == meaning) return true;
    return false;
}

double number_of(DSRDocument &document, const char *meaning)
{
    assert_true(find(document, meaning));
    OFString text = document.getTree().getCurrentContentItem().getNumericValue().getNumericValue();
    return std::atof(text.c_str());
}

void test_measurements(void **)
{
    temp_dir out;
    example e;
    dicom_seg_file report;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(e.write(out.path.c_str(), &report, &err), MSA_OK);
    DcmFileFormat file;
    DSRDocument document;
    load(document, file, out.path + NAME);
    assert_true(number_of(document, "Volume") == 12.346);
    assert_true(number_of(document, "Long axis") == 40.5);
    assert_true(number_of(document, "Short axis") == 20.25);
    assert_true(number_of(document, "Attenuation Coefficient") == 55.5);
    assert_true(find(document, "Center of Mass"));
    assert_true(find(document, "Tracking Unique Identifier"));
    assert_string_equal(document.getTree().getCurrentContentItem().getStringValue().c_str(), "1.2.3.4");
    assert_true(find(document, "Referenced Segment"));
    const DSRImageReferenceValue &ref = document.getTree().getCurrentContentItem().getImageReference();
    assert_string_equal(ref.getSOPInstanceUID().c_str(), "1.2.826.9.1");
    Uint16 segment = 0;
    assert_true(ref.getSegmentList().getItem(1, segment).good());
    assert_int_equal(segment, 2);
    assert_string_equal(report.sop_class_uid, UID_Comprehensive3DSRStorage);
}

void test_not_detected(void **)
{
    temp_dir out;
    example e;
    dicom_seg_file report;
    msa_error err = MSA_ERROR_INIT;
    e.findings[0].number = 0;
    assert_int_equal(e.write(out.path.c_str(), &report, &err), MSA_OK);
    DcmFileFormat file;
    DSRDocument document;
    load(document, file, out.path + NAME);
    assert_false(find(document, "Imaging Measurements"));
    assert_true(find(document, "Liver"));
    assert_string_equal(document.getTree().getCurrentContentItem().getCodeValue().getCodeValue().c_str(),
                        "260415000");
    assert_true(find(document, "Lesion"));
    DSRSOPInstanceReferenceList &evidence = document.getCurrentRequestedProcedureEvidence();
    assert_int_equal(evidence.getNumberOfInstances(), 3); /* all that was looked at */
}

void test_evidence(void **)
{
    temp_dir out;
    example e;
    dicom_seg_file report;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(e.write(out.path.c_str(), &report, &err), MSA_OK);
    DcmFileFormat file;
    DSRDocument document;
    load(document, file, out.path + NAME);
    assert_int_equal(document.getCurrentRequestedProcedureEvidence().getNumberOfInstances(), 2 + 1);
}

void test_same_bytes(void **)
{
    temp_dir one, two;
    example e, f;
    dicom_seg_file report;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(e.write(one.path.c_str(), &report, &err), MSA_OK);
    assert_int_equal(f.write(two.path.c_str(), &report, &err), MSA_OK);
    assert_true(bytes_of(one.path + NAME) == bytes_of(two.path + NAME));
    f.options.key = "other";
    assert_int_equal(f.write(two.path.c_str(), &report, &err), MSA_OK);
    assert_false(bytes_of(one.path + NAME) == bytes_of(two.path + NAME));
}

void test_refusals(void **)
{
    temp_dir out;
    example e;
    dicom_seg_file report;
    msa_error err = MSA_ERROR_INIT;
    e.findings[0].last_slice = 3;
    assert_int_equal(e.write(out.path.c_str(), &report, &err), MSA_E_INVALID);
    e.findings[0].last_slice = 2;
    assert_true(e.s.head(0).findAndDeleteElement(DCM_FrameOfReferenceUID).good());
    assert_int_equal(e.write(out.path.c_str(), &report, &err), MSA_E_UNSUPPORTED);
    assert_int_equal(access((out.path + NAME).c_str(), F_OK), -1);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_measurements), cmocka_unit_test(test_not_detected),
        cmocka_unit_test(test_evidence),     cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("report", tests, nullptr, nullptr);
}
