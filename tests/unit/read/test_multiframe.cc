/* Multi-frame objects: the same volume as the single frames they were made from, and what frames say of
 * themselves. */
#include "dicom/header.h"
#include "dicom/read/series_impl.h"
#include "dicom/seg.h"
#include "tests/unit/read/enhanced.h"

#include "dcmtk/dcmdata/dcpxitem.h"
#include "dcmtk/dcmdata/dcrleerg.h"
#include "dcmtk/dcmjpeg/djencode.h"
#include "dcmtk/dcmjpls/djencode.h"

#include <cmath>
#include <cstring>
#include <set>

using enhanced::Made;

namespace
{

enhanced::Options small()
{
    enhanced::Options o;
    o.phantom.rows = 17;
    o.phantom.cols = 23;
    o.phantom.slices = 7;
    o.phantom.spacing[0] = 1.5;
    o.phantom.spacing[1] = 0.75;
    return o;
}

/* Frame by frame: the voxels, place and name of the slice of the plain series. */
void compare(const SeriesPtr &got, const SeriesPtr &plain, const Made &made, bool slope_by_frame,
             float intercept)
{
    const dicom_volume_info &a = got->info, &b = plain->info;
    assert_int_equal(a.slices, b.slices);
    assert_true(std::fabs(a.step_mm - b.step_mm) < 1e-6);
    assert_memory_equal(a.spacing_mm, b.spacing_mm, sizeof a.spacing_mm);
    assert_memory_equal(a.normal, b.normal, sizeof a.normal);
    assert_true(a.window_center == b.window_center && a.window_width == b.window_width);
    assert_int_equal(a.issues, b.issues);
    const size_t n = size_t(a.rows) * size_t(a.cols);
    for (size_t f = 0; f < made.slice_of_frame.size(); f++) {
        const int32_t slice = dicom_series_find(got.get(), made.sop_instance_uid.c_str(), int32_t(f) + 1);
        assert_int_equal(slice, made.slice_of_frame[f]);
        const dicom_slice &at = a.slice[slice];
        assert_int_equal(at.frame, f + 1);
        assert_memory_equal(at.origin_mm, b.slice[slice].origin_mm, sizeof at.origin_mm);
        OFString ipp, want;
        assert_true(got->files[size_t(slice)]
                        ->getDataset()
                        ->findAndGetOFStringArray(DCM_ImagePositionPatient, ipp)
                        .good());
        assert_true(plain->files[size_t(slice)]
                        ->getDataset()
                        ->findAndGetOFStringArray(DCM_ImagePositionPatient, want)
                        .good());
        assert_string_equal(ipp.c_str(), want.c_str());
        for (size_t i = 0; i < n; i++) {
            const float v = plain->voxels[size_t(slice) * n + i];
            const float expected = slope_by_frame && f % 2 == 1 ? (v - intercept) / 2 + intercept : v;
            if (got->voxels[size_t(slice) * n + i] != expected)
                fail_msg("frame %zu, pixel %zu: wanted %g, got %g", f + 1, i, double(expected),
                         double(got->voxels[size_t(slice) * n + i]));
        }
    }
    assert_int_equal(dicom_series_find(got.get(), made.sop_instance_uid.c_str(), 0), 0);
    assert_int_equal(dicom_series_find(got.get(), made.sop_instance_uid.c_str(), 8), -1);
}

void same_as_single_frames(void **)
{
    DcmRLEEncoderRegistration::registerCodecs();
    DJEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs();
    const E_TransferSyntax all[] = {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit,
                                    EXS_BigEndianExplicit,    EXS_DeflatedLittleEndianExplicit,
                                    EXS_RLELossless,          EXS_JPEGProcess14SV1,
                                    EXS_JPEGLSLossless};
    int round = 0;
    for (const E_TransferSyntax syntax : all)
        for (const bool slope_by_frame : {false, true}) {
            const TempDir dir;
            enhanced::Options o = small();
            o.syntax = syntax;
            o.slope_by_frame = slope_by_frame;
            o.shared_plane = ++round % 3 != 0;
            o.phantom.is_signed = round % 4 < 2;
            if (round % 5 < 2) o.phantom.orientation = phantom::Orientation::oblique;
            if (round % 2 == 0) o.sop_class = UID_LegacyConvertedEnhancedCTImageStorage;
            const Made made = enhanced::write(o, dir / "plain", dir / "many");
            compare(load_series(dir / "many"), load_series(dir / "plain"), made, slope_by_frame,
                    o.phantom.is_signed ? 0 : -1024);
        }
}

/* Compressed frames in more fragments than frames: by the offset table, or by what codestreams begin with. */
void frames_in_fragments(void **)
{
    for (const bool with_table : {false, true}) {
        const TempDir dir;
        enhanced::Options o = small();
        o.syntax = EXS_JPEGLSLossless;
        const Made made = enhanced::write(o, dir / "plain", dir / "many");
        const std::string path = dir / "many/enhanced.dcm";
        std::vector<std::string> pieces;
        std::vector<uint32_t> table;
        {
            DcmFileFormat file;
            DcmElement *element = nullptr;
            DcmPixelSequence *sequence = nullptr;
            assert_true(file.loadFile(path.c_str()).good());
            assert_true(file.getDataset()->findAndGetElement(DCM_PixelData, element).good());
            assert_true(static_cast<DcmPixelData *>(element)
                            ->getEncapsulatedRepresentation(EXS_JPEGLSLossless, nullptr, sequence)
                            .good());
            uint32_t at = 0;
            for (unsigned long i = 1; i < sequence->card(); i++) {
                DcmPixelItem *item = nullptr;
                Uint8 *bytes = nullptr;
                assert_true(sequence->getItem(item, i).good() && item->getUint8Array(bytes).good());
                const std::string whole(reinterpret_cast<const char *>(bytes), item->getLength());
                table.push_back(at);
                for (const std::string &piece : {whole.substr(0, 40), whole.substr(40)}) {
                    pieces.push_back(piece);
                    at += uint32_t(piece.size() + piece.size() % 2 + 8);
                }
            }
        }
        encapsulate(path, "1.2.840.10008.1.2.4.80", pieces, with_table ? table : std::vector<uint32_t>());
        compare(load_series(dir / "many"), load_series(dir / "plain"), made, false, 0);

        std::vector<uint32_t> wrong = table;
        wrong[2] += 2;
        encapsulate(path, "1.2.840.10008.1.2.4.80", pieces, wrong);
        load_fails_with(dir / "many", MSA_E_PARSE, "offset table");
        pieces.resize(5);
        encapsulate(path, "1.2.840.10008.1.2.4.80", pieces);
        load_fails_with(dir / "many", MSA_E_PARSE, "some are missing");
    }
}

/* Two slabs of one direction, which only the Stack ID tells apart; prompts choose. */
void stacks(void **)
{
    const TempDir dir;
    enhanced::Options o = small();
    o.more = [](DcmItem &groups, int slice) {
        (void)enhanced::group(groups, DCM_FrameContentSequence)
            .putAndInsertString(DCM_StackID, slice < 4 ? "upper" : "lower");
    };
    const Made made = enhanced::write(o, dir / "plain", dir / "many");
    const SeriesPtr largest = load_series(dir / "many");
    assert_int_equal(largest->info.slices, 4);
    assert_int_equal(largest->info.left_out, 3);
    assert_says(largest->info.issue_text, "2 volumes, told apart by stack; the largest (4 slices) is used");
    dicom_prompt prompt{};
    (void)std::snprintf(prompt.sop_instance_uid, sizeof prompt.sop_instance_uid, "%s",
                        made.sop_instance_uid.c_str());
    for (size_t f = 0; f < made.slice_of_frame.size(); f++) {
        prompt.frame = int32_t(f) + 1;
        const SeriesPtr s = load_series(dir / "many", {prompt});
        assert_int_equal(s->info.slices, made.slice_of_frame[f] < 4 ? 4 : 3);
        assert_true(dicom_series_find(s.get(), prompt.sop_instance_uid, prompt.frame) >= 0);
        assert_says(s->info.issue_text, "the one that the prompts lie on");
    }
}

/* Two echoes over the same slices in one object: both in turn, and never mixed. */
void echoes(void **)
{
    const TempDir dir;
    enhanced::Options o = small();
    o.phantom.mr = true;
    o.sop_class = UID_EnhancedMRImageStorage;
    o.more = [](DcmItem &groups, int slice) {
        (void)enhanced::group(groups, DCM_MREchoSequence)
            .putAndInsertFloat64(DCM_EffectiveEchoTime, slice % 2 ? 80 : 10);
        /* slices 0 and 1, 2 and 3, ... lie at one position */
        OFString ipp;
        DcmItem &plane = enhanced::group(groups, DCM_PlanePositionSequence);
        const std::string text = "0\\0\\" + std::to_string(5 * (slice / 2));
        (void)plane.putAndInsertString(DCM_ImagePositionPatient, text.c_str());
    };
    o.phantom.slices = 8;
    const Made made = enhanced::write(o, dir / "plain", dir / "many");
    const SeriesPtr s = load_series(dir / "many");
    assert_int_equal(s->info.slices, 4);
    assert_says(s->info.issue_text, "told apart by echo time");
    std::set<int> times;
    for (int32_t k = 0; k < 4; k++)
        times.insert(made.slice_of_frame[size_t(s->info.slice[k].frame - 1)] % 2);
    assert_int_equal(times.size(), 1);
    assert_string_equal(s->info.modality, "MR");
}

/* Two instances, one frame less each: what a series is made of, is one volume. */
void several_instances(void **)
{
    const TempDir dir;
    enhanced::Options o = small();
    const Made made = enhanced::write(o, dir / "plain", dir / "many");
    const std::string path = dir / "many/enhanced.dcm";
    DcmFileFormat file;
    DcmSequenceOfItems *groups = nullptr;
    assert_true(file.loadFile(path.c_str()).good());
    DcmDataset &d = *file.getDataset();
    assert_true(d.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups).good());
    for (int k = 0; k < 3; k++)
        delete groups->remove(static_cast<unsigned long>(0));
    std::string rest;
    for (size_t f = 3; f < made.pixels.size(); f++)
        rest += made.pixels[f];
    (void)d.putAndInsertUint16Array(DCM_PixelData, reinterpret_cast<const Uint16 *>(rest.data()),
                                    static_cast<unsigned long>(rest.size() / 2));
    (void)d.putAndInsertString(DCM_NumberOfFrames, "4");
    assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
    for (size_t f = 0; f < 3; f++) /* the others as single frames of the same series */
        for (const std::string &one : files_below(dir / "plain")) {
            const SeriesPtr s = load_series(dir / "plain");
            DcmFileFormat single;
            OFString uid;
            assert_true(single.loadFile(one.c_str()).good());
            assert_true(single.getDataset()->findAndGetOFString(DCM_SOPInstanceUID, uid).good());
            if (dicom_series_find(s.get(), uid.c_str(), 1) == made.slice_of_frame[f] &&
                uid != made.sop_instance_uid.c_str())
                std::filesystem::copy_file(one, dir / ("many/" + std::to_string(f)));
        }
    const SeriesPtr got = load_series(dir / "many"), plain = load_series(dir / "plain");
    /* the object took its UID from its first frame, whose single image is thus not among the others */
    assert_int_equal(got->info.slices, 6);
    assert_int_equal(got->info.issues & DICOM_ISSUE_GAP,
                     made.slice_of_frame[0] % 6 != 0 ? DICOM_ISSUE_GAP : 0);
}

void what_is_refused(void **)
{
    const struct {
        std::function<void(DcmDataset &)> change;
        msa_status status;
        const char *says;
    } table[] = {
        {[](DcmDataset &d) { delete d.remove(DCM_PerFrameFunctionalGroupsSequence); }, MSA_E_UNSUPPORTED,
         "for its frames, so it lies nowhere in space"},
        {[](DcmDataset &d) { delete d.remove(DCM_SharedFunctionalGroupsSequence); }, MSA_E_UNSUPPORTED,
         "lies nowhere in space"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_NumberOfFrames, "6"); }, MSA_E_PARSE,
         "6 frames but functional groups for 7"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_NumberOfFrames, "8"); }, MSA_E_PARSE,
         "pixel data holds"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_NumberOfFrames, "2000000000"); },
         MSA_E_UNSUPPORTED, "at most 16384"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_NumberOfFrames, "0"); }, MSA_E_PARSE,
         "Number of Frames"},
        {[](DcmDataset &d) { (void)d.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage); },
         MSA_E_UNSUPPORTED, "its class is one of single images"},
    };
    for (const auto &row : table) {
        const TempDir dir;
        (void)enhanced::write(small(), dir / "plain", dir / "many");
        const std::string path = dir / "many/enhanced.dcm";
        DcmFileFormat file;
        assert_true(file.loadFile(path.c_str()).good());
        assert_true(file.getDataset()->loadAllDataIntoMemory().good());
        row.change(*file.getDataset());
        assert_true(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
        load_fails_with(dir / "many", row.status, row.says);
    }
}

/* Changed bytes and cuts, in plain, deflated and RLE objects: a volume or a sentence. */
void damage(void **)
{
    const unsigned seed = 20261123;
    std::mt19937 random(seed);
    for (const E_TransferSyntax syntax :
         {EXS_LittleEndianExplicit, EXS_DeflatedLittleEndianExplicit, EXS_RLELossless}) {
        const TempDir dir;
        enhanced::Options o = small();
        o.syntax = syntax;
        (void)enhanced::write(o, dir / "plain", dir / "many");
        const std::string path = dir / "many/enhanced.dcm", good = read_bytes(path);
        int taken = 0;
        for (int round = 0; round < 150; round++) {
            std::string bad = good;
            for (unsigned k = 0; k <= random() % 3; k++) /* mostly in the header, where the structure is */
                bad[132 + random() % (bad.size() - 132) / (round % 2 ? 1 : 4)] = char(random());
            if (round % 10 == 0) bad.resize(random() % bad.size());
            write_bytes(path, bad);
            msa_error err = MSA_ERROR_INIT;
            const SeriesPtr s = load_series(dir / "many", {}, &err);
            if (!s && err.what[0] == '\0') fail_msg("seed %u, round %d: no sentence", seed, round);
            taken += s != nullptr;
        }
        assert_in_range(taken, 1, 149);
    }
}

/* A segmentation over frames names them: read back by the writer's own check, and here. */
void segmentation_names_frames(void **)
{
    const TempDir dir;
    const Made made = enhanced::write(small(), dir / "plain", dir / "many");
    const SeriesPtr s = load_series(dir / "many");
    std::vector<uint8_t> mask(s->voxels.size());
    const size_t n = size_t(s->info.rows) * size_t(s->info.cols);
    for (const size_t slice : {2, 3, 5})
        std::fill_n(mask.begin() + std::ptrdiff_t(slice * n + 30), 50, uint8_t{1});
    dicom_segment segment{};
    segment.mask = mask.data();
    (void)std::snprintf(segment.label, sizeof segment.label, "Liver");
    dicom_seg_options options{};
    options.key = "frames";
    options.model_name = "none";
    options.series_number = 1;
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n_files = 0;
    msa_error err = MSA_ERROR_INIT;
    std::filesystem::create_directories(dir / "out");
    if (dicom_seg_write(s.get(), &segment, 1, &options, (dir / "out").c_str(), files, &n_files, &err) !=
        MSA_OK)
        fail_msg("%s", err.what);
    DcmFileFormat file;
    assert_true(file.loadFile((dir / "out/seg.dcm").c_str()).good());
    DcmItem *series = nullptr, *groups = nullptr, *derivation = nullptr, *image = nullptr;
    DcmSequenceOfItems *instances = nullptr;
    assert_true(file.getDataset()->findAndGetSequenceItem(DCM_ReferencedSeriesSequence, series).good());
    assert_true(series->findAndGetSequence(DCM_ReferencedInstanceSequence, instances).good());
    assert_int_equal(instances->card(), 1);
    const int32_t slices[] = {2, 3, 5};
    for (long k = 0; k < 3; k++) {
        Sint32 frame = 0;
        assert_true(file.getDataset()
                        ->findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, k)
                        .good());
        assert_true(groups->findAndGetSequenceItem(DCM_DerivationImageSequence, derivation).good());
        assert_true(derivation->findAndGetSequenceItem(DCM_SourceImageSequence, image).good());
        assert_true(image->findAndGetSint32(DCM_ReferencedFrameNumber, frame).good());
        assert_int_equal(frame, s->info.slice[slices[k]].frame);
    }
}

/* tiny-23x38x3 has one series twice; the others of the folder have no planes, or an encoding of their own. */
void real_objects(void **)
{
    const std::string tiny = shared_data("tiny-23x38x3"), folder = shared_data("enhanced-multiframe");
    if (tiny.empty() || folder.empty()) skip_test();
    const auto load = [](const std::string &path, msa_error &err) {
        const char *const list = path.c_str();
        dicom_series *s = nullptr;
        err = MSA_ERROR_INIT;
        if (dicom_series_load(&s, &list, 1, nullptr, &err) != MSA_OK) assert_true(err.what[0] != '\0');
        return SeriesPtr(s);
    };
    msa_error err;
    const SeriesPtr many = load(tiny + "/mf.dcm", err);
    if (!many) fail_msg("%s", err.what);
    const std::string paths[] = {tiny + "/IMG0001.dcm", tiny + "/IMG0002.dcm", tiny + "/IMG0003.dcm"};
    const char *const list[] = {paths[0].c_str(), paths[1].c_str(), paths[2].c_str()};
    dicom_series *plain = nullptr;
    assert_int_equal(dicom_series_load(&plain, list, 3, nullptr, nullptr), MSA_OK);
    const SeriesPtr singles(plain);
    assert_true(many->voxels == singles->voxels);
    for (int32_t k = 0; k < 3; k++)
        assert_memory_equal(many->info.slice[k].origin_mm, singles->info.slice[k].origin_mm,
                            3 * sizeof(double));

    for (const std::string &path : files_below(folder)) {
        const SeriesPtr s = load(path, err);
        const bool small = path.find("emri_small") != std::string::npos;
        print_message("%s: %s\n", std::filesystem::path(path).filename().c_str(),
                      s ? s->info.issue_text : err.what);
        assert_int_equal(s == nullptr, small);
        if (small) assert_says(err.what, "lies nowhere in space");
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(same_as_single_frames),
                                cmocka_unit_test(frames_in_fragments),
                                cmocka_unit_test(stacks),
                                cmocka_unit_test(echoes),
                                cmocka_unit_test(several_instances),
                                cmocka_unit_test(what_is_refused),
                                cmocka_unit_test(damage),
                                cmocka_unit_test(segmentation_names_frames),
                                cmocka_unit_test(real_objects)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
