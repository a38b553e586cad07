#include "dicom/header.h"
#include "dicom/series.h"
#include "dicom/read/values.h"
#include "tests/unit/read/bytes.h"
#include "tests/unit/read/support.h"

#include "dcmtk/dcmdata/dcdatset.h"
#include "dcmtk/dcmdata/dcdeftag.h"

#include <clocale>
#include <cmath>
#include <cstring>

using namespace bytes;

namespace
{

const TempDir *the_dir;

msa_status read(dicom_header &h, const std::string &file, msa_error &err)
{
    const std::string path = *the_dir / "h.dcm";
    write_bytes(path, file);
    err = MSA_ERROR_INIT;
    return dicom_header_read(&h, path.c_str(), &err);
}

std::string swapped(const std::string &from, const std::string &to)
{
    std::string s = ct_head();
    const size_t at = s.find(from);
    assert_true(at != std::string::npos);
    return part10(EXPLICIT_LE, s.replace(at, from.size(), to) + ct_pixels());
}

void good_image(void **)
{
    dicom_header h;
    msa_error err;
    assert_int_equal(read(h, part10(EXPLICIT_LE, ct_head() + ct_pixels()), err), MSA_OK);
    assert_int_equal(h.kind, DICOM_KIND_IMAGE);
    assert_string_equal(h.sop_instance_uid, "1.2.3.4");
    assert_string_equal(h.study_uid, "1.2.3.1");
    assert_string_equal(h.series_uid, "1.2.3.2");
    assert_string_equal(h.frame_of_reference_uid, "");
    assert_string_equal(h.transfer_syntax_uid, EXPLICIT_LE);
    assert_string_equal(h.modality, "CT");
    assert_int_equal(h.rows, 2);
    assert_int_equal(h.cols, 3);
    assert_int_equal(h.frames, 1);
    assert_int_equal(h.instance_number, 7);
    assert_true(h.has_plane);
    assert_true(h.origin_mm[0] == -1.5 && h.origin_mm[1] == 2 && h.origin_mm[2] == 30 && h.position_mm == 30);
    assert_true(h.spacing_mm[0] == 0.5 && h.spacing_mm[1] == 0.25);
    assert_true(h.row_dir[0] == 1 && h.col_dir[1] == 1);
}

/* What rules and the count of images look at; what is malformed there costs nothing. */
void descriptions(void **)
{
    dicom_header h;
    msa_error err;
    const std::string samples = element(0x28, 0x02, "US", u16(1)), uid = element(0x20, 0x0d, "UI", "1.2.3.1"),
                      modality = element(8, 0x60, "CS", "CT");
    const auto with = [&](const std::string &charset, const std::string &thickness,
                          const std::string &images) {
        std::string s = charset + ct_head();
        const auto put = [&](const std::string &before, const std::string &what, bool after) {
            const size_t at = s.find(before) + (after ? before.size() : 0);
            s.insert(at, what);
        };
        put(modality, element(8, 0x1030, "LO", "Thorax a\xe4") + element(8, 0x103e, "LO", " lung^thin "),
            true);
        put(uid, thickness + element(0x18, 0x1030, "LO", "P1"), false);
        put(samples,
            element(0x20, 0x1002, "IS", images) + element(0x20, 0x1208, "IS", "300") +
                element(0x20, 0x1209, "IS", "120"),
            false);
        return part10(EXPLICIT_LE, s + ct_pixels());
    };
    const std::string latin = element(8, 5, "CS", "ISO_IR 100");
    assert_int_equal(read(h, with(latin, element(0x18, 0x50, "DS", "2.5"), "60"), err), MSA_OK);
    assert_string_equal(h.study_description, "Thorax a\xc3\xa4");
    assert_string_equal(h.series_description, "lung^thin");
    assert_string_equal(h.protocol, "P1");
    assert_true(h.slice_mm == 2.5);
    assert_int_equal(h.acquisition_images, 60);
    assert_int_equal(h.study_instances, 300);
    assert_int_equal(h.expected_instances, 120);
    const std::string both = element(0x18, 0x50, "DS", "2.5") + element(0x18, 0x88, "DS", "1.25");
    assert_int_equal(read(h, with(latin, both, "-4"), err), MSA_OK);
    assert_true(h.slice_mm == 1.25);
    assert_int_equal(h.acquisition_images, 0);
    assert_int_equal(read(h, with("", element(0x18, 0x50, "DS", "thin"), "many"), err), MSA_OK);
    assert_string_equal(h.study_description, "Thorax a\xc3\xa4"); /* many forget to say it */
    assert_true(h.slice_mm == 0);
    assert_int_equal(h.acquisition_images, 0);
    assert_int_equal(read(h, part10(EXPLICIT_LE, ct_head() + ct_pixels()), err), MSA_OK);
    assert_string_equal(h.series_description, "");
}

std::string patient_key(const std::string &file)
{
    const std::string path = *the_dir / "p.dcm";
    char key[DICOM_PATIENT_KEY];
    write_bytes(path, file);
    assert_int_equal(dicom_patient_key(key, path.c_str(), nullptr), MSA_OK);
    assert_int_equal(std::strlen(key), DICOM_PATIENT_KEY - 1);
    return key;
}

/* By Patient ID whatever the study; by study without one; and never readable. */
void patients_are_told_apart(void **)
{
    const std::string uid = element(0x20, 0x0d, "UI", "1.2.3.1"),
                      other = element(0x20, 0x0d, "UI", "1.2.3.9");
    const auto with = [&](const std::string &id, const std::string &study) {
        std::string head = ct_head();
        head.replace(head.find(uid), uid.size(), (id.empty() ? "" : element(0x10, 0x20, "LO", id)) + study);
        return patient_key(part10(EXPLICIT_LE, head + ct_pixels()));
    };
    assert_true(with("PAT", uid) == with("PAT", other));
    assert_true(with("PAT", uid) == with("PAT ", uid));
    assert_true(with("PAT", uid) != with("PAX", uid));
    assert_true(with("", uid) == with("", uid));
    assert_true(with("", uid) != with("", other));
    assert_true(with("1.2.3.1", uid) != with("", uid));
    assert_true(with("PAT", uid).find("PAT") == std::string::npos);
    char key[DICOM_PATIENT_KEY];
    assert_int_equal(dicom_patient_key(key, (*the_dir / "none.dcm").c_str(), nullptr), MSA_E_NOT_FOUND);
    assert_string_equal(key, "");
}

void bad_images(void **)
{
    const std::string cols = element(0x28, 0x11, "US", u16(3)), rows = element(0x28, 0x10, "US", u16(2));
    const std::string ipp = element(0x20, 0x32, "DS", "-1.5\\2\\+3e1"),
                      iop = element(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0");
    const std::string spacing = element(0x28, 0x30, "DS", "0.5\\0.25"),
                      sop = element(8, 0x18, "UI", "1.2.3.4");
    const std::string allocated = element(0x28, 0x100, "US", u16(16)),
                      stored = element(0x28, 0x101, "US", u16(12));
    const std::string cls = element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.2");
    const std::string photometric = element(0x28, 0x04, "CS", "MONOCHROME2");
    const struct {
        std::string file;
        msa_status status;
        const char *says;
    } table[] = {
        {swapped(cols, element(0x28, 0x11, "US", u16(0))), MSA_E_PARSE, "within 1..16384"},
        {swapped(cols, element(0x28, 0x11, "US", u16(20000))), MSA_E_PARSE, "within 1..16384"},
        {swapped(cols, element(0x28, 0x11, "US", u16(16384))), MSA_E_PARSE, "holds 12 bytes"},
        {swapped(rows, ""), MSA_E_PARSE, "Rows or Columns is missing"},
        {swapped(ipp, element(0x20, 0x32, "DS", "1\\2\\nan")), MSA_E_PARSE, "Image Position"},
        {swapped(ipp, element(0x20, 0x32, "DS", "1\\2\\inf")), MSA_E_PARSE, "Image Position"},
        {swapped(ipp, element(0x20, 0x32, "DS", "1,5\\2\\3")), MSA_E_PARSE, "Image Position"},
        {swapped(ipp, element(0x20, 0x32, "DS", "1\\2")), MSA_E_PARSE, "Image Position"},
        {swapped(ipp, element(0x20, 0x32, "DS", "1\\2\\1e300")), MSA_E_PARSE, "plausible"},
        {swapped(iop, element(0x20, 0x37, "DS", "0\\0\\0\\0\\1\\0")), MSA_E_PARSE, "perpendicular"},
        {swapped(iop, element(0x20, 0x37, "DS", "1\\0\\0\\1\\0\\0")), MSA_E_PARSE, "perpendicular"},
        {swapped(spacing, element(0x28, 0x30, "DS", "0\\0.25")), MSA_E_PARSE, "Pixel Spacing"},
        {swapped(spacing, element(0x28, 0x30, "DS", "-1\\0.25")), MSA_E_PARSE, "Pixel Spacing"},
        {swapped(sop, element(8, 0x18, "UI", "1.2..4")), MSA_E_PARSE, "not a valid UID"},
        {swapped(sop, element(8, 0x18, "UI", "../../etc/passwd")), MSA_E_PARSE, "not a valid UID"},
        {swapped(sop, element(8, 0x18, "UI", std::string(66, '1'))), MSA_E_PARSE, "not a valid UID"},
        {swapped(sop, ""), MSA_E_PARSE, "no SOP Instance UID"},
        {swapped(cls, element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.7")), MSA_E_UNSUPPORTED,
         "SecondaryCapture"},
        {swapped(allocated, element(0x28, 0x100, "US", u16(32))), MSA_E_UNSUPPORTED, "32 bits allocated"},
        {swapped(stored, element(0x28, 0x101, "US", u16(17))), MSA_E_PARSE, "contradict"},
        {swapped(stored, element(0x28, 0x101, "US", u16(0))), MSA_E_PARSE, "contradict"},
        {swapped(photometric, element(0x28, 0x04, "CS", "RGB")), MSA_E_UNSUPPORTED, "MONOCHROME"},
        {swapped(cols, cols + element(0x28, 0x08, "IS", "12")), MSA_E_PARSE, ""},
        {swapped(rows, element(0x28, 0x08, "IS", "12") + rows), MSA_E_UNSUPPORTED, "12 frames"},
        {part10(EXPLICIT_LE, ct_head()), MSA_E_PARSE, "no pixel data"},
        {part10(EXPLICIT_LE, ct_head() + element(0x7fe0, 0x10, "OW", "0123456789")), MSA_E_PARSE,
         "holds 10 bytes"},
        {part10("1.2.840.10008.1.2.4.100",
                ct_head() + head(0x7fe0, 0x10, "OB", UNDEFINED) + item(0) + item(2) + "ab" + sequence_end()),
         MSA_E_UNSUPPORTED, "cannot be decoded"},
        {part10(RLE, ct_head() + head(0x7fe0, 0x10, "OB", UNDEFINED) + item(0) + sequence_end()), MSA_E_PARSE,
         "empty"},
        {part10(RLE, ct_head() + head(0x7fe0, 0x10, "OB", UNDEFINED) + item(0) + item(70000) +
                         std::string(70000, 'x') + sequence_end()),
         MSA_E_PARSE, "longer than the image"},
    };
    for (const auto &row : table) {
        dicom_header h;
        msa_error err;
        const msa_status status = read(h, row.file, err);
        if (status == MSA_OK) fail_msg("row %zu was read, wanted '%s'", size_t(&row - table), row.says);
        if (row.says[0] == '\0') continue; /* elements out of order: refused or not, but quietly */
        assert_says(err.what, row.says);
        assert_int_equal(status, row.status);
    }
}

/* No value of the dataset that could name a patient gets into a sentence. */
void sentences_hold_no_patient(void **)
{
    dicom_header h;
    msa_error err;
    const std::string file =
        part10(EXPLICIT_LE, element(8, 0x16, "UI", "CANARY^NAME") + element(0x10, 0x10, "PN", "CANARY"));
    assert_int_equal(read(h, file, err), MSA_E_PARSE);
    assert_null(strstr(err.what, "CANARY"));
}

void no_plane_is_allowed(void **)
{
    dicom_header h;
    msa_error err;
    assert_int_equal(read(h, swapped(element(0x20, 0x32, "DS", "-1.5\\2\\+3e1"), ""), err), MSA_OK);
    assert_false(h.has_plane);
}

void numbers(void **)
{
    std::vector<double> v;
    assert_true(dicom::parse_numbers(" +1.5e2 \\-.25\\7 ", v));
    assert_int_equal(v.size(), 3);
    assert_true(v[0] == 150 && v[1] == -0.25 && v[2] == 7);
    for (const char *bad : {"", " ", "1\\", "\\1", "1\\\\2", "abc", "0x10", "nan", "INF", "1e999", "1 2",
                            "1.2.3", "--1", "1,5"})
        if (dicom::parse_numbers(bad, v)) fail_msg("'%s' was taken for numbers", bad);
    /* A decimal comma in the process's locale must not matter. */
    if (std::setlocale(LC_ALL, "de_DE.UTF-8") != nullptr) {
        assert_true(dicom::parse_numbers("1.5", v));
        assert_true(v[0] == 1.5);
        (void)std::setlocale(LC_ALL, "C");
    }
}

void uids(void **)
{
    for (const char *good : {"1", "1.2.840.10008.1.2", "2.25.0", "1.02"})
        assert_true(dicom::is_uid(good));
    for (const char *bad : {"", ".", ".1", "1.", "1..2", "1.a", "1.2 ", "1/2", "-1"})
        assert_false(dicom::is_uid(bad));
    assert_true(dicom::is_uid(std::string(64, '1')));
    assert_false(dicom::is_uid(std::string(65, '1')));
}

void classes(void **)
{
    assert_true(dicom_is_image_class("1.2.840.10008.5.1.4.1.1.2"));
    assert_true(dicom_is_image_class("1.2.840.10008.5.1.4.1.1.4"));
    assert_false(dicom_is_image_class("1.2.840.10008.5.1.4.1.1.7"));
    assert_true(dicom_is_annotation_class("1.2.840.10008.5.1.4.1.1.88.33"));
    assert_false(dicom_is_annotation_class("1.2.840.10008.5.1.4.1.1.2"));
    assert_false(dicom_is_annotation_class(""));
}

/* Every real file gives a header or a sentence. */
void real_files(void **)
{
    const std::string dir = shared_data("");
    if (dir.empty()) skip_test();
    int images = 0, annotations = 0, refused = 0;
    for (const std::string &path : files_below(dir)) {
        dicom_header h;
        msa_error err = MSA_ERROR_INIT;
        const msa_status status = dicom_header_read(&h, path.c_str(), &err);
        if (status == MSA_OK) {
            images += h.kind == DICOM_KIND_IMAGE;
            annotations += h.kind == DICOM_KIND_ANNOTATION;
            continue;
        }
        refused++;
        assert_int_not_equal(err.what[0], 0);
        if (status != MSA_E_PARSE && status != MSA_E_UNSUPPORTED)
            fail_msg("%s: %s %s", path.c_str(), msa_status_name(status), err.what);
    }
    assert_true(images >= 140);
    assert_true(annotations >= 10);
    assert_true(refused >= 40);
    const std::string broken = shared_data("broken");
    for (const std::string &path : files_below(broken)) {
        dicom_header h;
        dicom_series *s = nullptr;
        const char *const list = path.c_str();
        if (dicom_header_read(&h, list, nullptr) == MSA_OK &&
            dicom_series_load(&s, &list, 1, nullptr, nullptr) == MSA_OK)
            fail_msg("%s was taken", path.c_str());
    }
}

/* DCMTK splits such a value in time by its square: it must not be asked to. */
void longest_text(void **)
{
    DcmDataset d;
    std::string numbers(65535, '1'), more = numbers + "2\\3\\4";
    for (size_t i = 1; i < numbers.size(); i += 2)
        numbers[i] = '\\';
    assert_true(d.putAndInsertString(DCM_ContourData, numbers.c_str()).good());
    assert_int_equal(dicom::text(d, DCM_ContourData).size(), numbers.size());
    assert_true(d.putAndInsertString(DCM_ContourData, more.c_str()).good());
    assert_true(dicom::text(d, DCM_ContourData).empty());
}

} // namespace

int main()
{
    const TempDir dir;
    the_dir = &dir;
    const CMUnitTest tests[] = {cmocka_unit_test(longest_text),
                                cmocka_unit_test(good_image),
                                cmocka_unit_test(bad_images),
                                cmocka_unit_test(descriptions),
                                cmocka_unit_test(patients_are_told_apart),
                                cmocka_unit_test(sentences_hold_no_patient),
                                cmocka_unit_test(no_plane_is_allowed),
                                cmocka_unit_test(numbers),
                                cmocka_unit_test(uids),
                                cmocka_unit_test(classes),
                                cmocka_unit_test(real_files)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
