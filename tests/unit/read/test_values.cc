/* What stored samples mean: bits, signs, tables, windows, padding; and the pictures that are refused. */
#include "dicom/read/series_impl.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/pictures.h"

#include <cmath>
#include <functional>

namespace
{

constexpr int ROWS = 9, COLS = 11, N = ROWS * COLS;

/* One CT image of those samples, with a header changed at will; loaded from `dir`. */
void write(const std::string &dir, const std::function<int(int)> &sample,
           const std::function<void(DcmDataset &)> &change)
{
    phantom::Options o;
    o.rows = ROWS;
    o.cols = COLS;
    o.slices = 1;
    (void)phantom::write_series(o, dir);
    const std::string path = files_below(dir)[0];
    DcmFileFormat file;
    assert_true(file.loadFile(path.c_str()).good() && file.getDataset()->loadAllDataIntoMemory().good());
    DcmDataset &d = *file.getDataset();
    std::vector<Uint16> words;
    for (int i = 0; i < N; i++)
        words.push_back(Uint16(sample(i)));
    assert_true(d.putAndInsertUint16Array(DCM_PixelData, words.data(), N).good());
    for (const DcmTagKey &tag :
         {DCM_WindowCenter, DCM_WindowWidth, DCM_RescaleSlope, DCM_RescaleIntercept, DCM_PixelPaddingValue})
        delete d.remove(tag);
    change(d);
    assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

void put_bits(DcmDataset &d, int stored, int high_bit, bool is_signed)
{
    (void)d.putAndInsertUint16(DCM_BitsStored, Uint16(stored));
    (void)d.putAndInsertUint16(DCM_HighBit, Uint16(high_bit));
    (void)d.putAndInsertUint16(DCM_PixelRepresentation, is_signed);
}

/* Every width from 8 to 16 bits, at the bottom and at the top of the word, with rubbish in the bits beside.
 */
void bits(void **)
{
    for (int stored = 8; stored <= 16; stored++)
        for (const bool is_signed : {false, true})
            for (const int high_bit : {stored - 1, 15}) {
                const TempDir dir;
                const int low = high_bit + 1 - stored, mask = (1 << stored) - 1;
                const int least = is_signed ? -(1 << (stored - 1)) : 0;
                const auto value = [&](int i) { return least + (i * 2671) % (1 << stored); };
                write(
                    dir.path(),
                    [&](int i) {
                        const int rubbish = (0xa5a5 & ~(mask << low)) & 0xffff;
                        return ((value(i) & mask) << low) | rubbish;
                    },
                    [&](DcmDataset &d) { put_bits(d, stored, high_bit, is_signed); });
                const SeriesPtr s = load_series(dir.path());
                for (int i = 0; i < N; i++)
                    if (s->voxels[size_t(i)] != float(value(i)))
                        fail_msg("%d bits below %d, signed %d: wanted %d, got %g", stored, high_bit,
                                 is_signed, value(i), double(s->voxels[size_t(i)]));
            }
}

void put_table(DcmDataset &d, const DcmTagKey &sequence, int entries, int first, int n_bits,
               const std::vector<Uint16> &data)
{
    DcmItem *item = nullptr;
    const Uint16 descriptor[3] = {Uint16(entries), Uint16(first), Uint16(n_bits)};
    assert_true(d.findOrCreateSequenceItem(sequence, item, 0).good());
    assert_true(item->putAndInsertUint16Array(DcmTag(DCM_LUTDescriptor, EVR_US), descriptor, 3).good());
    assert_true(item->putAndInsertUint16Array(DcmTag(DCM_LUTData, EVR_OW), data.data(), data.size()).good());
}

/* A Modality LUT instead of slope and intercept: values before its first entry get the first, and so at the
 * end. */
void modality_lut(void **)
{
    std::vector<Uint16> table;
    for (int i = 0; i < 100; i++)
        table.push_back(Uint16(i * i));
    const TempDir dir;
    write(
        dir.path(), [](int i) { return i * 2; },
        [&](DcmDataset &d) { put_table(d, DCM_ModalityLUTSequence, 100, 20, 16, table); });
    const SeriesPtr s = load_series(dir.path());
    for (int i = 0; i < N; i++) {
        const int at = std::min(std::max(2 * i - 20, 0), 99);
        assert_true(s->voxels[size_t(i)] == float(at * at));
    }
    write(
        dir.path(), [](int i) { return i; },
        [&](DcmDataset &d) {
            put_table(d, DCM_ModalityLUTSequence, 6, 0, 8, {0x0201, 0x0403, 0x0605});
        });
    const SeriesPtr packed = load_series(dir.path());
    for (int i = 0; i < N; i++)
        assert_true(packed->voxels[size_t(i)] == float(std::min(i, 5) + 1));
    write(
        dir.path(), [](int i) { return i; },
        [&](DcmDataset &d) { put_table(d, DCM_ModalityLUTSequence, 200, 0, 16, table); });
    load_fails_with(dir.path(), MSA_E_PARSE, "its Modality LUT has 100 entries where 200 are announced");
}

void windows(void **)
{
    const struct {
        std::function<void(DcmDataset &)> change;
        double center, width;
    } table[] = {
        {[](DcmDataset &) {}, 0, 0},
        {[](DcmDataset &d) {
             (void)d.putAndInsertString(DCM_WindowCenter, "40\\-600");
             (void)d.putAndInsertString(DCM_WindowWidth, "400\\1500");
         },
         40, 400},
        {[](DcmDataset &d) {
             (void)d.putAndInsertString(DCM_WindowCenter, "40");
             (void)d.putAndInsertString(DCM_WindowWidth, "0");
         },
         0, 0},
        {[](DcmDataset &d) { put_table(d, DCM_VOILUTSequence, 512, 100, 8, std::vector<Uint16>(256)); }, 356,
         512},
        {[](DcmDataset
                &d) { /* low is bright: 0 has become 4095 */
                      (void)d.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME1");
                      (void)d.putAndInsertString(DCM_WindowCenter, "40");
                      (void)d.putAndInsertString(DCM_WindowWidth, "400");
         },
         4095 - 40, 400},
    };
    for (const auto &row : table) {
        const TempDir dir;
        write(
            dir.path(), [](int i) { return i; },
            [&](DcmDataset &d) {
                put_bits(d, 12, 11, false);
                row.change(d);
            });
        const SeriesPtr s = load_series(dir.path());
        assert_true(s->info.window_center == row.center && s->info.window_width == row.width);
    }
}

/* A range of padding, outside the bits stored as well; a picture of nothing else is 0. */
void padding(void **)
{
    const TempDir dir;
    const auto sample = [](int i) { return i < 10 ? 0xf830 + i : 50 + i; }; /* -2000, -1999, ... in 16 bits */
    const auto pad = [](DcmDataset &d) {
        put_bits(d, 12, 11, true);
        (void)d.putAndInsertSint16(DCM_PixelPaddingValue, -2000);
        (void)d.putAndInsertSint16(DCM_PixelPaddingRangeLimit, -1990);
    };
    write(dir.path(), sample, pad);
    const SeriesPtr s = load_series(dir.path());
    for (int i = 0; i < N; i++)
        assert_true(s->voxels[size_t(i)] == float(i < 10 ? 60 : 50 + i));
    write(
        dir.path(), [](int) { return -2000; }, pad);
    const SeriesPtr empty = load_series(dir.path());
    for (const float v : empty->voxels)
        assert_true(v == 0);
}

void colours_are_refused(void **)
{
    const struct {
        std::function<void(DcmDataset &)> change;
        const char *says;
    } table[] = {
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_PhotometricInterpretation, "PALETTE COLOR"); },
         "not MONOCHROME1 or MONOCHROME2"},
        {[](DcmDataset &d) {
             (void)d.putAndInsertString(DCM_PhotometricInterpretation, "RGB");
             (void)d.putAndInsertUint16(DCM_SamplesPerPixel, 3);
         },
         "3 samples per pixel; only grey images are taken"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_SOPClassUID, UID_SecondaryCaptureImageStorage); },
         "SecondaryCaptureImageStorage objects are not taken"},
    };
    for (const auto &row : table) {
        const TempDir dir;
        write(
            dir.path(), [](int i) { return i; }, row.change);
        msa_error err = MSA_ERROR_INIT;
        assert_null(load_series(dir.path(), {}, &err).get());
        assert_says(err.what, row.says);
    }
}

/* The chest film of the GDCM data, as if it were a CT: 10 bits, low is bright, Implicit VR without meta
 * information. */
void real_monochrome1(void **)
{
    const std::string path = shared_data("monochrome1/CR-MONO1-10-chest.dcm");
    if (path.empty()) skip_test();
    DcmFileFormat file;
    const Uint16 *words = nullptr;
    unsigned long n = 0;
    assert_true(file.loadFile(path.c_str()).good() && file.getDataset()->loadAllDataIntoMemory().good());
    DcmDataset &d = *file.getDataset();
    assert_true(d.findAndGetUint16Array(DCM_PixelData, words, &n).good());
    const std::vector<Uint16> stored(words, words + n);
    (void)d.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
    (void)d.putAndInsertString(DCM_ImagePositionPatient, "0\\0\\0");
    (void)d.putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    (void)d.putAndInsertString(DCM_PixelSpacing, "1\\1");
    const TempDir dir;
    assert_true(file.saveFile((dir / "a.dcm").c_str(), EXS_LittleEndianImplicit).good());
    const SeriesPtr s = load_series(dir.path());
    assert_int_equal(s->voxels.size(), n);
    for (size_t i = 0; i < n; i++)
        assert_true(s->voxels[i] == float(1023 - (stored[i] & 1023)));
    assert_int_equal(s->info.issues & DICOM_ISSUE_NO_FRAME_OF_REFERENCE, DICOM_ISSUE_NO_FRAME_OF_REFERENCE);
}

/* Without a frame of reference one is derived, the same each time, and said. */
void no_frame_of_reference(void **)
{
    phantom::Options o;
    o.rows = ROWS;
    o.cols = COLS;
    o.slices = 3;
    o.no_frame_of_reference = true;
    const TempDir dir;
    (void)phantom::write_series(o, dir.path());
    std::string uids[2];
    for (std::string &uid : uids) {
        const SeriesPtr s = load_series(dir.path());
        assert_int_equal(s->info.issues, DICOM_ISSUE_NO_FRAME_OF_REFERENCE);
        assert_says(s->info.issue_text, "no Frame of Reference UID; one was derived");
        for (const auto &file : s->files) {
            OFString one;
            assert_true(file->getDataset()->findAndGetOFString(DCM_FrameOfReferenceUID, one).good());
            assert_true(uid.empty() || uid == one.c_str());
            uid = one.c_str();
        }
    }
    assert_true(uids[0] == uids[1] && !uids[0].empty());
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(bits),
                                cmocka_unit_test(modality_lut),
                                cmocka_unit_test(windows),
                                cmocka_unit_test(padding),
                                cmocka_unit_test(colours_are_refused),
                                cmocka_unit_test(real_monochrome1),
                                cmocka_unit_test(no_frame_of_reference)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
