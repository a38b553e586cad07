/* Files to volume: on the phantom, whose values are known, and re-encoded in every syntax that DCMTK can
 * write. */
#include "dicom/series.h"
#include "dicom/read/series_impl.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/support.h"

#include "dcmtk/dcmdata/dcrleerg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djencode.h"
#include "dcmtk/dcmjpls/djencode.h"

#include <cmath>
#include <functional>
#include <memory>
#include <random>

namespace
{

struct Free {
    void operator()(dicom_series *s) const
    {
        dicom_series_free(s);
    }
};
using Series = std::unique_ptr<dicom_series, Free>;

Series load(const std::vector<std::string> &paths)
{
    std::vector<const char *> list;
    for (const std::string &p : paths)
        list.push_back(p.c_str());
    dicom_series *s = nullptr;
    msa_error err = MSA_ERROR_INIT;
    if (dicom_series_load(&s, list.data(), list.size(), nullptr, &err) != MSA_OK) fail_msg("%s", err.what);
    return Series(s);
}

Series load_dir(const std::string &dir)
{
    dicom_series *s = nullptr;
    msa_error err = MSA_ERROR_INIT;
    if (dicom_series_load_dir(&s, dir.c_str(), nullptr, &err) != MSA_OK) fail_msg("%s", err.what);
    return Series(s);
}

msa_status load_fails(const std::string &dir, msa_error &err, const char *series_uid = nullptr)
{
    dicom_series *s = nullptr;
    err = MSA_ERROR_INIT;
    const dicom_series_request request = {series_uid, nullptr, 0};
    const msa_status status = dicom_series_load_dir(&s, dir.c_str(), &request, &err);
    assert_null(s);
    return status;
}

phantom::Options small()
{
    phantom::Options o;
    o.rows = 17;
    o.cols = 23;
    o.slices = 6;
    return o;
}

/* What the phantom stores: rounded, and cut to what 12 bits hold. */
float stored(const phantom::Options &o, float value)
{
    const float rounded = float(std::lround(value));
    return o.is_signed ? rounded : o.mr ? std::max(rounded, 0.0f) : std::max(rounded, -1024.0f);
}

void compare_values(const phantom::Options &o, const Series &s)
{
    const dicom_volume_info &info = *dicom_series_info(s.get());
    assert_int_equal(info.rows, o.rows);
    assert_int_equal(info.cols, o.cols);
    const float *got = dicom_series_voxels(s.get());
    for (int k = 0, slice = 0; k < o.slices; k++) {
        if (k == o.gap) continue;
        const std::vector<float> want = phantom::slice_values(o, k);
        const size_t base = size_t(slice++) * want.size();
        for (size_t i = 0; i < want.size(); i++)
            if (got[base + i] != stored(o, want[i]))
                fail_msg("slice %d, pixel %zu: wanted %g, got %g", k, i, double(stored(o, want[i])),
                         double(got[base + i]));
    }
}

/* Changes every file below dir. */
void edit(const std::string &dir, const std::function<void(DcmDataset &, int)> &change,
          E_TransferSyntax xfer = EXS_LittleEndianExplicit)
{
    int i = 0;
    for (const std::string &path : files_below(dir)) {
        DcmFileFormat file;
        assert_true(file.loadFile(path.c_str()).good());
        assert_true(file.getDataset()->loadAllDataIntoMemory().good());
        change(*file.getDataset(), i++);
        assert_true(file.getDataset()->chooseRepresentation(xfer, nullptr).good());
        assert_true(file.saveFile(path.c_str(), xfer).good());
    }
}

void every_form(void **)
{
    const TempDir dir;
    int n = 0;
    for (const bool mr : {false, true})
        for (const bool monochrome1 : {false, true})
            for (const bool is_signed : {false, true})
                for (const auto orientation : {phantom::Orientation::axial, phantom::Orientation::sagittal,
                                               phantom::Orientation::oblique}) {
                    phantom::Options o = small();
                    o.mr = mr;
                    o.monochrome1 = monochrome1;
                    o.is_signed = is_signed;
                    o.orientation = orientation;
                    const std::string folder = dir / std::to_string(n++);
                    const phantom::Series written = phantom::write_series(o, folder);
                    const Series s = load_dir(folder);
                    compare_values(o, s);
                    const dicom_volume_info &info = *dicom_series_info(s.get());
                    assert_int_equal(info.issues, 0);
                    assert_string_equal(info.issue_text, "");
                    assert_true(info.window_center == (mr ? 450 : 60) &&
                                info.window_width == (mr ? 1100 : 400));
                    assert_string_equal(info.modality, mr ? "MR" : "CT");
                    assert_string_equal(info.body_part, "ABDOMEN");
                    assert_true(std::fabs(info.step_mm - 5) < 1e-6);
                    for (size_t i = 0; i < written.instances.size(); i++)
                        assert_int_equal(
                            dicom_series_find(s.get(), written.instances[i].sop_instance_uid.c_str(), 1), i);
                    assert_int_equal(dicom_series_find(s.get(), "1.2.3", 0), -1);
                }
}

void odd_sizes(void **)
{
    const TempDir dir;
    const int sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {1, 7, 3}, {5, 1, 2}, {101, 99, 1}};
    for (const auto &size : sizes) {
        phantom::Options o = small();
        o.rows = size[0];
        o.cols = size[1];
        o.slices = size[2];
        const std::string folder = dir / (std::to_string(size[0]) + "x" + std::to_string(size[1]));
        (void)phantom::write_series(o, folder);
        compare_values(o, load_dir(folder));
    }
}

/* Any order of the files: the same volume, bit for bit, and the headers beside their slices. */
void any_file_order(void **)
{
    const TempDir dir;
    phantom::Options o = small();
    o.slices = 9;
    o.duplicate = 3;
    o.mixed = true;
    (void)phantom::write_series(o, dir.path());
    std::vector<std::string> paths = files_below(dir.path());
    const Series first = load(paths);
    const dicom_volume_info &a = *dicom_series_info(first.get());
    std::mt19937 random(7);
    for (int round = 0; round < 12; round++) {
        std::shuffle(paths.begin(), paths.end(), random);
        const Series other = load(paths);
        const dicom_volume_info &b = *dicom_series_info(other.get());
        assert_int_equal(a.slices, b.slices);
        assert_string_equal(a.issue_text, b.issue_text);
        assert_memory_equal(a.slice, b.slice, sizeof(dicom_slice) * size_t(a.slices));
        assert_memory_equal(dicom_series_voxels(first.get()), dicom_series_voxels(other.get()),
                            sizeof(float) * size_t(a.slices) * size_t(a.rows) * size_t(a.cols));
        for (size_t i = 0; i < other->files.size(); i++) {
            OFString uid;
            DcmDataset &d = *other->files[i]->getDataset();
            assert_true(d.findAndGetOFString(DCM_SOPInstanceUID, uid).good());
            assert_string_equal(uid.c_str(), b.slice[i].sop_instance_uid);
            assert_false(d.tagExists(DCM_PixelData));
        }
    }
}

void issues_are_named(void **)
{
    const TempDir dir;
    phantom::Options o = small();
    o.slices = 9;
    o.gap = 4;
    o.duplicate = 7;
    o.mixed = true;
    const phantom::Series written = phantom::write_series(o, dir.path());
    const Series s = load_dir(dir.path());
    const dicom_volume_info &info = *dicom_series_info(s.get());
    assert_int_equal(info.issues, DICOM_ISSUE_GAP | DICOM_ISSUE_DUPLICATE_POSITION |
                                      DICOM_ISSUE_MIXED_ORIENTATION | DICOM_ISSUE_SEVERAL_VOLUMES);
    assert_int_equal(info.slices, 8);
    assert_int_equal(info.left_out, 2);
    assert_says(info.issue_text, "1 slice is missing between");
    assert_says(info.issue_text, "higher instance number");
    assert_says(info.issue_text, "2 volumes, told apart by orientation");
    compare_values(o, s);
    for (size_t i = 0; i < written.instances.size(); i++)
        assert_string_equal(info.slice[i].sop_instance_uid, written.instances[i].sop_instance_uid.c_str());
}

void rescale_per_slice(void **)
{
    const TempDir dir;
    phantom::Options o = small();
    (void)phantom::write_series(o, dir.path());
    const Series plain = load_dir(dir.path());
    edit(dir.path(), [](DcmDataset &d, int i) {
        (void)d.putAndInsertString(DCM_RescaleSlope, i % 2 ? "2.5" : "5E-1");
        (void)d.putAndInsertString(DCM_RescaleIntercept, "-100");
    });
    const Series s = load_dir(dir.path());
    const size_t n = size_t(o.rows) * size_t(o.cols);
    const std::vector<std::string> paths = files_below(dir.path());
    for (size_t i = 0; i < paths.size(); i++) {
        DcmFileFormat file;
        OFString uid;
        assert_true(file.loadFile(paths[i].c_str()).good());
        assert_true(file.getDataset()->findAndGetOFString(DCM_SOPInstanceUID, uid).good());
        const size_t at = size_t(dicom_series_find(s.get(), uid.c_str(), 0)) * n;
        for (size_t k = at; k < at + n; k++) {
            const double raw = double(dicom_series_voxels(plain.get())[k]) + 1024;
            assert_true(double(dicom_series_voxels(s.get())[k]) == raw * (i % 2 ? 2.5 : 0.5) - 100);
        }
    }
    msa_error err;
    edit(dir.path(), [](DcmDataset &d, int) { (void)d.putAndInsertString(DCM_RescaleSlope, "0"); });
    assert_int_equal(load_fails(dir.path(), err), MSA_E_PARSE);
    assert_says(err.what, "Rescale Slope is 0");
    edit(dir.path(), [](DcmDataset &d, int) { (void)d.putAndInsertString(DCM_RescaleSlope, "1,5"); });
    assert_int_equal(load_fails(dir.path(), err), MSA_E_PARSE);
}

/* Padding (-2000 in a signed CT) becomes the least valid value of the volume. */
void padding(void **)
{
    const TempDir dir;
    phantom::Options o = small();
    o.is_signed = true;
    (void)phantom::write_series(o, dir.path());
    const Series plain = load_dir(dir.path());
    const size_t n = size_t(o.rows) * size_t(o.cols);
    edit(dir.path(), [&](DcmDataset &d, int) {
        (void)d.putAndInsertSint16(DCM_PixelPaddingValue, -2000);
        const Uint16 *words = nullptr;
        assert_true(d.findAndGetUint16Array(DCM_PixelData, words).good());
        std::vector<Uint16> copy(words, words + n);
        copy[0] = Uint16(-2000);
        assert_true(d.putAndInsertUint16Array(DCM_PixelData, copy.data(), (unsigned long)n).good());
    });
    const Series s = load_dir(dir.path());
    const float *want = dicom_series_voxels(plain.get()), *got = dicom_series_voxels(s.get());
    float least = 1e9f;
    for (size_t i = 0; i < n * 6; i++)
        if (i % n != 0) least = std::min(least, want[i]);
    for (size_t i = 0; i < n * 6; i++)
        assert_true(got[i] == (i % n == 0 ? least : want[i]));
}

/* The same pixels through every decoder and byte order. */
void transfer_syntaxes(void **)
{
    DcmRLEEncoderRegistration::registerCodecs();
    DJEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs();
    const E_TransferSyntax all[] = {
        EXS_LittleEndianImplicit, EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit,
        EXS_RLELossless,          EXS_JPEGProcess14SV1,  EXS_JPEGLSLossless};
    for (const bool is_signed : {false, true})
        for (const E_TransferSyntax xfer : all) {
            const TempDir dir;
            phantom::Options o = small();
            o.is_signed = is_signed;
            (void)phantom::write_series(o, dir.path());
            edit(
                dir.path(), [](DcmDataset &, int) {}, xfer);
            const Series s = load_dir(dir.path());
            compare_values(o, s);
            assert_false(s->files[0]->getDataset()->tagExists(DCM_PixelData));
        }
}

/* 8 bits allocated, odd number of pixels; OW in big endian swaps them in pairs. */
void eight_bits(void **)
{
    for (const E_TransferSyntax xfer : {EXS_LittleEndianExplicit, EXS_BigEndianExplicit, EXS_RLELossless}) {
        const TempDir dir;
        phantom::Options o = small();
        o.slices = 1;
        (void)phantom::write_series(o, dir.path());
        const size_t n = size_t(o.rows) * size_t(o.cols);
        edit(
            dir.path(),
            [&](DcmDataset &d, int) {
                std::vector<Uint8> pixels(n + 1);
                for (size_t i = 0; i < n; i++)
                    pixels[i] = Uint8(i * 7);
                (void)d.putAndInsertUint16(DCM_BitsAllocated, 8);
                (void)d.putAndInsertUint16(DCM_BitsStored, 8);
                (void)d.putAndInsertUint16(DCM_HighBit, 7);
                (void)d.putAndInsertString(DCM_RescaleIntercept, "0");
                auto *element = new DcmPixelData(DCM_PixelData);
                element->setVR(EVR_OW);
                assert_true(element->putUint8Array(pixels.data(), (unsigned long)pixels.size()).good());
                assert_true(d.insert(element, OFTrue).good());
            },
            xfer);
        const Series s = load_dir(dir.path());
        for (size_t i = 0; i < n; i++)
            if (dicom_series_voxels(s.get())[i] != float(Uint8(i * 7)))
                fail_msg("syntax %d, pixel %zu: wanted %d, got %g", int(xfer), i, int(Uint8(i * 7)),
                         double(dicom_series_voxels(s.get())[i]));
    }
}

void refusals(void **)
{
    const TempDir dir;
    msa_error err;
    assert_int_equal(load_fails(dir / "absent", err), MSA_E_NOT_FOUND);
    assert_int_equal(load_fails(dir.path(), err), MSA_E_NOT_FOUND);
    assert_says(err.what, "no CT or MR images");

    phantom::Options o = small(), other = small();
    other.seed = 2;
    const phantom::Series first = phantom::write_series(o, dir / "a");
    write_bytes(dir / "a/notes.txt", "not an image");
    (void)phantom::write_series(other, dir / "b/deeper");
    assert_int_equal(load_fails(dir.path(), err), MSA_E_UNSUPPORTED);
    assert_says(err.what, "2 series");
    assert_null(strstr(err.what, "2.25."));
    assert_int_equal(load_fails(dir.path(), err, "1.2.3"), MSA_E_NOT_FOUND);
    dicom_series *picked = nullptr;
    const dicom_series_request request = {first.series_uid.c_str(), nullptr, 0};
    assert_int_equal(dicom_series_load_dir(&picked, dir.path().c_str(), &request, nullptr), MSA_OK);
    compare_values(o, Series(picked));

    std::vector<std::string> paths = files_below(dir / "b");
    paths.push_back(files_below(dir / "a")[0]);
    std::vector<const char *> list;
    for (const std::string &p : paths)
        list.push_back(p.c_str());
    dicom_series *s = nullptr;
    assert_int_equal(dicom_series_load(&s, list.data(), list.size(), nullptr, nullptr), MSA_E_UNSUPPORTED);
    assert_int_equal(dicom_series_load(&s, list.data(), 0, nullptr, nullptr), MSA_E_INVALID);
    assert_null(s);
}

/* What cannot be a slice of the volume is left out, by name of the reason. */
void slices_that_do_not_fit(void **)
{
    const TempDir dir;
    const phantom::Options o = small();
    const struct {
        const char *folder;
        std::function<void(DcmDataset &)> change;
        uint32_t issue;
        const char *says;
    } table[] = {
        {"size", [](DcmDataset &d) { (void)d.putAndInsertUint16(DCM_Columns, 22); },
         DICOM_ISSUE_SEVERAL_VOLUMES, "told apart by size"},
        {"spacing", [](DcmDataset &d) { (void)d.putAndInsertString(DCM_PixelSpacing, "1\\1"); },
         DICOM_ISSUE_SEVERAL_VOLUMES, "told apart by pixel spacing"},
        {"plane", [](DcmDataset &d) { delete d.remove(DCM_ImagePositionPatient); }, DICOM_ISSUE_NO_PLANE,
         "1 image without a position in space is left out"},
    };
    for (const auto &row : table) {
        (void)phantom::write_series(o, dir / row.folder);
        edit(dir / row.folder, [&](DcmDataset &d, int i) {
            if (i == 0) row.change(d);
        });
        const Series s = load_dir(dir / row.folder);
        const dicom_volume_info &info = *dicom_series_info(s.get());
        assert_int_equal(info.slices, o.slices - 1);
        assert_int_equal(info.left_out, 1);
        assert_int_equal(info.issues & row.issue, row.issue);
        assert_says(info.issue_text, row.says);
    }
    edit(dir / "plane", [](DcmDataset &d, int) { delete d.remove(DCM_ImagePositionPatient); });
    msa_error err;
    assert_int_equal(load_fails(dir / "plane", err), MSA_E_UNSUPPORTED);
    assert_says(err.what, "lies nowhere in space");
}

/* One slice of a folder is truncated: the rest is read, and the loss is named. */
void a_damaged_slice_is_named(void **)
{
    const TempDir dir;
    phantom::Options o = small();
    o.slices = 9;
    const phantom::Series written = phantom::write_series(o, dir.path());
    const std::vector<std::string> paths = files_below(dir.path());
    const std::string whole = read_bytes(paths[0]);
    DcmFileFormat file;
    assert_true(file.loadFile(paths[0].c_str()).good());
    (void)file.getDataset()->putAndInsertUint16(DCM_BitsStored, 99); /* damage that keeps it recognisable */
    assert_true(file.saveFile(paths[0].c_str(), EXS_LittleEndianExplicit).good());
    const Series s = load_dir(dir.path());
    const dicom_volume_info &info = *dicom_series_info(s.get());
    assert_int_equal(info.slices, 8);
    assert_says(info.issue_text, "1 file could not be read: bits stored 99");

    write_bytes(paths[0], whole.substr(0, whole.size() - 5));
    const Series again = load_dir(dir.path());
    assert_int_equal(dicom_series_info(again.get())->slices, 8);
    assert_says(dicom_series_info(again.get())->issue_text,
                "1 file could not be read: the file is truncated");
    std::vector<const char *> list;
    for (const std::string &p : paths)
        list.push_back(p.c_str());
    dicom_series *none = nullptr;
    msa_error err = MSA_ERROR_INIT;
    assert_int_equal(dicom_series_load(&none, list.data(), list.size(), nullptr, &err), MSA_E_PARSE);
    assert_says(err.what, "truncated");
}

/* Mean values were computed with pydicom and numpy. */
void real_series(void **)
{
    const struct {
        const char *dir;
        int slices, rows;
        double step_mm, mean;
        uint32_t issues;
    } table[] = {
        {"ct-4dlung-rtstruct/ct", 32, 512, 3, -721.0008, 0},
        {"mr-brain1/mr", 25, 256, 6.5, 385.6564, 0},
        {"mr-sagittal-hfs", 16, 256, 4.8, 310.0604, 0},
        {"ct-nlst-sr-boxes/ct", 40, 512, 2, NAN, 0},
        {"ct-tilt-jpeglossless", 12, 512, 2.371, NAN, DICOM_ISSUE_TILT},
        {"tiny-23x38x3", 3, 38, 2.5, NAN, 0},
    };
    for (const auto &row : table) {
        const std::string dir = shared_data(row.dir);
        if (dir.empty()) skip_test();
        std::vector<std::string> paths = files_below(dir); /* without the same as one multi-frame object */
        paths.erase(std::remove_if(paths.begin(), paths.end(),
                                   [](const std::string &p) {
                                       return p.find("mf.dcm") != std::string::npos ||
                                              p.find("label.seg") != std::string::npos;
                                   }),
                    paths.end());
        const Series s = load(paths);
        const dicom_volume_info &info = *dicom_series_info(s.get());
        assert_int_equal(info.slices, row.slices);
        assert_int_equal(info.rows, row.rows);
        assert_int_equal(info.issues, row.issues);
        assert_true(std::fabs(info.step_mm - row.step_mm) < 1e-3);
        double sum = 0;
        for (const float v : s->voxels)
            sum += double(v);
        const double mean = sum / double(s->voxels.size());
        if (!std::isnan(row.mean) && std::fabs(mean - row.mean) > 1e-3)
            fail_msg("%s: mean %g", row.dir, mean);
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(every_form),
                                cmocka_unit_test(odd_sizes),
                                cmocka_unit_test(any_file_order),
                                cmocka_unit_test(issues_are_named),
                                cmocka_unit_test(rescale_per_slice),
                                cmocka_unit_test(padding),
                                cmocka_unit_test(transfer_syntaxes),
                                cmocka_unit_test(eight_bits),
                                cmocka_unit_test(refusals),
                                cmocka_unit_test(slices_that_do_not_fit),
                                cmocka_unit_test(a_damaged_slice_is_named),
                                cmocka_unit_test(real_series)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
