/* What is not drawn as SCOORD: patient space, structure sets, segmentations, key objects; and the dialects of
 * viewers. Regions are laid on a series and compared in pixels. */
#include "dicom/labels.h"
#include "dicom/series.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/report.h"

namespace
{

/* An oblique series of 40 rows and 50 columns, 9 slices 4 mm apart, with the planes that it says it has. */
class Images
{
  public:
    explicit Images(phantom::Orientation orientation = phantom::Orientation::oblique)
    {
        phantom::Options o;
        o.rows = 40;
        o.cols = 50;
        o.slices = 9;
        o.spacing[0] = 1.25;
        o.spacing[1] = 0.75;
        o.step_mm = 4;
        o.orientation = orientation;
        written = phantom::write_series(o, dir_ / "images");
        msa_error err = MSA_ERROR_INIT;
        if (dicom_series_load_dir(&series, (dir_ / "images").c_str(), nullptr, &err) != MSA_OK)
            fail_msg("%s", err.what);
        info = dicom_series_info(series);
    }
    ~Images()
    {
        dicom_series_free(series);
    }
    Images(const Images &) = delete;
    Images &operator=(const Images &) = delete;
    /* SCOORD coordinates on a slice, which may be a fraction, in mm. */
    void mm(std::vector<Float32> &to, double slice, double x, double y) const
    {
        for (int i = 0; i < 3; i++)
            to.push_back(Float32(info->slice[0].origin_mm[i] + slice * 4 * info->normal[i] +
                                 (x - 0.5) * info->spacing_mm[1] * info->row_dir[i] +
                                 (y - 0.5) * info->spacing_mm[0] * info->col_dir[i]));
    }
    std::vector<Float32> mm(double slice, const std::vector<double> &xy) const
    {
        std::vector<Float32> list;
        for (size_t i = 0; i + 1 < xy.size(); i += 2)
            mm(list, slice, xy[i], xy[i + 1]);
        return list;
    }

    phantom::Series written;
    dicom_series *series = nullptr;
    const dicom_volume_info *info = nullptr;

  private:
    TempDir dir_;
};

struct Extent {
    int first = -1, last = -1;                      /* slices */
    int x0 = 1 << 20, y0 = 1 << 20, x1 = 0, y1 = 0; /* over all slices, in SCOORD terms */
    int64_t pixels = 0;
};

struct Masks {
    dicom_masks *m = nullptr;
    msa_error err = MSA_ERROR_INIT;
    msa_status status;

    Masks(const Images &images, const std::string &path)
        : status(dicom_masks_read(&m, images.series, path.c_str(), &err)), info(images.info)
    {
    }
    ~Masks()
    {
        dicom_masks_free(m);
    }
    Masks(const Masks &) = delete;
    Masks &operator=(const Masks &) = delete;
    Extent of(int32_t region) const
    {
        Extent e;
        if (status != MSA_OK) fail_msg("%s", err.what);
        for (size_t i = 0; i < dicom_masks_count(m); i++)
            if (dicom_masks_at(m, i)->number == region) return measure(i);
        fail_msg("there is no region %d", region);
        return e;
    }

  private:
    const dicom_volume_info *info;

    Extent measure(size_t i) const
    {
        Extent e;
        std::vector<uint8_t> plane(size_t(info->rows) * size_t(info->cols));
        for (int32_t k = 0; k < info->slices; k++) {
            int64_t n = 0;
            assert_int_equal(dicom_masks_fill_slice(m, i, k, plane.data(), &n, nullptr), MSA_OK);
            e.pixels += n;
            if (n == 0) continue;
            if (e.first < 0) e.first = k;
            e.last = k;
            for (int y = 0; y < info->rows; y++)
                for (int x = 0; x < info->cols; x++) {
                    if (plane[size_t(y) * size_t(info->cols) + size_t(x)] == 0) continue;
                    e.x0 = std::min(e.x0, x);
                    e.x1 = std::max(e.x1, x + 1);
                    e.y0 = std::min(e.y0, y);
                    e.y1 = std::max(e.y1, y + 1);
                }
        }
        return e;
    }
};

void assert_extent(const Extent &e, int first, int last, int x0, int y0, int x1, int y1)
{
    if (e.first != first || e.last != last || e.x0 != x0 || e.y0 != y0 || e.x1 != x1 || e.y1 != y1)
        fail_msg("wanted slices %d..%d, box %d,%d,%d,%d; got %d..%d, %d,%d,%d,%d", first, last, x0, y0, x1,
                 y1, e.first, e.last, e.x0, e.y0, e.x1, e.y1);
}

DcmItem &in_space(DcmItem &parent, const Images &images, const char *type, const std::vector<Float32> &data)
{
    DcmItem &item = Report::child(parent, "SCOORD3D");
    Report::set(item, DCM_GraphicType, type);
    assert_true(
        item.putAndInsertFloat32Array(DCM_GraphicData, data.data(), (unsigned long)data.size()).good());
    Report::set(item, DCM_ReferencedFrameOfReferenceUID, images.written.frame_of_reference_uid.c_str());
    return item;
}

void areas_in_space(void **)
{
    const Images images;
    Report report(UID_Comprehensive3DSRStorage);
    DcmItem &g = report.group("id", "Nodule");
    const std::vector<double> square = {10, 12, 30, 12, 30, 25, 10, 25};
    in_space(g, images, "POLYGON", images.mm(3, {10, 12, 30, 12, 30, 25, 10, 25, 10, 12}));
    in_space(g, images, "POLYLINE",
             images.mm(4, {30, 25, 10, 25, 10, 12, 30, 12})); /* another corner first */
    in_space(g, images, "POLYGON", images.mm(3, {10, 12, 30, 12, 30, 25, 10, 25, 10, 12})); /* a copy */
    in_space(g, images, "POLYGON", images.mm(5.4, square)); /* between slices 5 and 6 */
    in_space(g, images, "POLYGON", images.mm(8.6, square)); /* beyond the stack */
    in_space(g, images, "ELLIPSE", images.mm(2, {10, 20, 40, 20, 25, 14, 25, 26}));
    std::vector<Float32> slanted = images.mm(2, {10, 12, 30, 12});
    images.mm(slanted, 4, 30, 25);
    images.mm(slanted, 4, 10, 25);
    in_space(g, images, "POLYGON", slanted);
    std::vector<Float32> ball = images.mm(4, {10, 20, 34, 20, 22, 12, 22, 28});
    images.mm(ball, 1.5, 22, 20);
    images.mm(ball, 6.5, 22, 20);
    in_space(g, images, "ELLIPSOID", ball);
    const Result r = report.read();
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 7);
    assert_string_equal(r.note.c_str(), "");
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(r.prompts[i].kind, DICOM_PROMPT_REGION);
        assert_int_equal(r.prompts[i].space, DICOM_SPACE_PATIENT);
        assert_int_equal(r.prompts[i].region, i + 1);
        assert_string_equal(r.prompts[i].label, "Nodule");
        assert_string_equal(r.prompts[i].type.value, "F-1");
        assert_string_equal(r.prompts[i].sop_instance_uid, "");
        assert_string_equal(r.prompts[i].series_uid, "");
        assert_string_equal(r.prompts[i].frame_of_reference_uid,
                            images.written.frame_of_reference_uid.c_str());
    }
    const Masks masks(images, report.save());
    assert_extent(masks.of(1), 3, 3, 10, 12, 30, 25);
    assert_int_equal(masks.of(1).pixels, 20 * 13);
    assert_extent(masks.of(2), 4, 4, 10, 12, 30, 25);
    assert_extent(masks.of(3), 5, 5, 10, 12, 30, 25);
    assert_int_equal(masks.of(4).pixels, 0);
    assert_extent(masks.of(5), 2, 2, 10, 14, 40, 26);
    assert_in_range(masks.of(5).pixels, 275, 290); /* pi 15 6 = 282.7 */
    assert_int_equal(masks.of(6).pixels, 0);
    assert_extent(masks.of(7), 2, 6, 10, 12, 34, 28);
    assert_says(dicom_masks_note(masks.m), "1 region is oblique to the slices");
    assert_string_equal(dicom_masks_at(masks.m, 0)->name, "Nodule");
    assert_string_equal(dicom_masks_at(masks.m, 0)->tracking_id, "id");
}

void points_and_axes_in_space(void **)
{
    const Images images;
    Report report(UID_Comprehensive3DSRStorage);
    DcmItem &g = report.group("id", "Nodule");
    in_space(g, images, "POINT", images.mm(3, {10, 12}));
    in_space(g, images, "MULTIPOINT", images.mm(2, {1, 2, 3, 4}));
    DcmItem &h = report.group("other", "Cyst");
    for (const char *code : {"103339001", "103340004"}) {
        DcmItem &num = Report::child(h, "NUM");
        Report::name(num, code, "SCT");
        in_space(num, images, "POLYLINE",
                 images.mm(6, code[5] == '9' ? std::vector<double>{10, 12, 30, 12}
                                             : std::vector<double>{20, 5, 20, 18}));
    }
    in_space(g, images, "POLYLINE", images.mm(3, {1, 1, 9, 9}));
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 4);
    const std::vector<Float32> at = images.mm(3, {10, 12});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.prompts[size_t(i)].kind, DICOM_PROMPT_POINT);
        assert_int_equal(r.prompts[size_t(i)].space, DICOM_SPACE_PATIENT);
        assert_int_equal(r.prompts[size_t(i)].positive, 1);
    }
    assert_true(r.prompts[0].x0 == double(at[0]) && r.prompts[0].y0 == double(at[1]) &&
                r.prompts[0].z0 == double(at[2]));
    assert_int_equal(r.prompts[3].kind, DICOM_PROMPT_REGION);
    assert_string_equal(r.prompts[3].label, "Cyst");
    assert_says(r.note.c_str(), "a length, not a region");
    const Masks masks(images, report.save());
    assert_extent(masks.of(1), 6, 6, 10, 5, 30, 18);
}

/* The series whose image is named, though another is in the same frame of reference. */
void evidence_names_the_series(void **)
{
    const Images images;
    Report report(UID_Comprehensive3DSRStorage);
    const auto evidence = [&](const char *series, const char *image) {
        DcmItem &s =
            Report::append(Report::append(report.root(), DCM_CurrentRequestedProcedureEvidenceSequence),
                           DCM_ReferencedSeriesSequence);
        Report::set(s, DCM_SeriesInstanceUID, series);
        Report::set(Report::append(s, DCM_ReferencedSOPSequence), DCM_ReferencedSOPInstanceUID, image);
    };
    evidence(images.written.series_uid.c_str(), images.written.instances[2].sop_instance_uid.c_str());
    evidence("1.2.3.9", "1.2.3.9.1");
    DcmItem &g = report.group("a", "ours"), &h = report.group("b", "theirs");
    const std::vector<double> square = {10, 12, 30, 12, 30, 25, 10, 25};
    in_space(g, images, "POLYGON", images.mm(2, square));
    Report::image(g, images.written.instances[2].sop_instance_uid.c_str());
    in_space(h, images, "POLYGON", images.mm(2, square));
    Report::image(h, "1.2.3.9.1");
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 2);
    assert_string_equal(r.prompts[0].series_uid, images.written.series_uid.c_str());
    assert_string_equal(r.prompts[1].series_uid, "1.2.3.9");
    const Masks masks(images, report.save());
    assert_extent(masks.of(1), 2, 2, 10, 12, 30, 25);
    assert_int_equal(dicom_masks_count(masks.m), 1);

    Report flat;
    Report::image(Report::shape(flat.root(), "POINT", {1, 1}));
    const Masks none(images, flat.save());
    assert_int_equal(none.status, MSA_E_NOT_FOUND);
    assert_says(none.err.what, "no area in patient space");
}

void malformed_space(void **)
{
    const Images images;
    const float inf = std::numeric_limits<float>::infinity();
    const struct {
        const char *type, *part;
        std::vector<Float32> data;
    } cases[] = {
        {"POLYGON", "not triples", {1, 2, 3, 4, 5, 6, 7, 8}},
        {"POLYGON", "impossible", {1, 2, 3, 4, 5, inf, 7, 8, 9}},
        {"POLYGON", "impossible", {1, 2, 3, 4, 5, 2e6f, 7, 8, 9}},
        {"POLYGON", "unknown or malformed", {1, 2, 3, 4, 5, 6}},
        {"ELLIPSE", "unknown or malformed", {1, 2, 3, 4, 5, 6}},
        {"ELLIPSOID", "unknown or malformed", {1, 2, 3, 4, 5, 6, 7, 8, 9}},
        {"CIRCLE", "unknown or malformed", {1, 2, 3, 4, 5, 6}},
        {"POINT", "impossible", {1, 2, inf}},
        {"POLYLINE", "a length", {1, 2, 3, 4, 5, 6, 1, 2, 3}},
    };
    for (const auto &c : cases) {
        Report report(UID_Comprehensive3DSRStorage);
        in_space(report.root(), images, c.type, c.data);
        const Result r = report.read();
        assert_int_equal(r.prompts.size(), 0);
        assert_says(r.note.c_str(), c.part);
    }
    Report nowhere(UID_Comprehensive3DSRStorage);
    (void)in_space(nowhere.root(), images, "POINT", {1, 2, 3})
        .findAndDeleteElement(DCM_ReferencedFrameOfReferenceUID);
    assert_int_equal(nowhere.read().prompts.size(), 0);
    assert_says(nowhere.read().note.c_str(), "without a frame of reference");
    /* A disc that has no thickness at all lies nowhere; it must not divide by it. */
    Report flat(UID_Comprehensive3DSRStorage);
    in_space(flat.root(), images, "ELLIPSOID", std::vector<Float32>(18, 5));
    assert_int_equal(flat.read().prompts.size(), 1);
    assert_int_equal(Masks(images, flat.save()).of(1).pixels, 0);
}

/* ---- dialects ---- */

DcmItem &code(DcmItem &parent, const char *concept, const char *concept_scheme, const char *value,
              const char *scheme, const char *meaning)
{
    DcmItem &item = Report::child(parent, "CODE");
    Report::name(item, concept, concept_scheme);
    Report::name(item, value, scheme, DCM_ConceptCodeSequence, meaning);
    return item;
}

DcmItem &text(DcmItem &parent, const char *concept, const char *value)
{
    DcmItem &item = Report::child(parent, "TEXT");
    Report::name(item, concept, "DCM");
    Report::set(item, DCM_TextValue, value);
    return item;
}

/* What OHIF stores as free text is the label, never a code of the result. */
void labels_typed_in_ohif(void **)
{
    Report report;
    const char *const tool = "Cornerstone3DTools@^0.1.0:RectangleROI";
    const std::vector<Float32> box = {1, 1, 5, 1, 5, 9, 1, 9, 1, 1};
    DcmItem &a = report.group(tool, nullptr);
    code(a, "121071", "DCM", "CORNERSTONEFREETEXT", "CORNERSTONEJS", "typed as finding");
    DcmItem &b = report.group(tool, "Nodule");
    code(b, "G-C0E3", "SRT", "CORNERSTONEFREETEXT", "CST4", "typed as site");
    DcmItem &c = report.group(tool, "Nodule");
    text(c, "121106", "typed as comment");
    DcmItem &d = report.group("my lesion", "Nodule"); /* no viewer's label: a remark of the reader */
    text(d, "121106", "grew since last year");
    for (DcmItem *g : {&a, &b, &c, &d})
        Report::image(Report::shape(Report::child(*g, "NUM"), "POLYLINE", box));
    DcmItem &moved = Report::shape(c, "POINT", {70, 80}); /* where the label is shown */
    Report::name(moved, "TextAnnotationPosition", "99CS", DCM_ConceptNameCodeSequence,
                 "Text Annotation Position");
    Report::image(moved);
    const Result r = report.read();
    const char *const want[] = {"typed as finding", "typed as site", "typed as comment", "Nodule"};
    assert_int_equal(r.prompts.size(), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(r.prompts[i].label, want[i]);
        assert_box(r.prompts[i], 1, 1, 5, 9);
        assert_string_equal(r.prompts[i].site.value, "");
    }
    assert_string_equal(r.prompts[0].type.value, "");
    assert_string_equal(r.prompts[1].type.value, "F-1");
}

/* AIM's writers store what is measured as points: no clicks. */
void lengths_of_aim(void **)
{
    Report report;
    DcmItem &g = report.group("id", "Lesion"), &length = Report::child(g, "NUM"),
            &width = Report::child(g, "NUM"), &area = Report::child(g, "NUM");
    Report::image(Report::shape(length, "MULTIPOINT", {0, 5, 20, 5}));
    Report::image(Report::shape(width, "MULTIPOINT", {9, 1, 11, 8}));
    Report::image(Report::shape(area, "MULTIPOINT", {1, 2, 9, 3, 8, 9, 2, 7}));
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 2);
    assert_box(r.prompts[0], 1, 2, 9, 9);
    assert_box(r.prompts[1], 0, 1, 20, 8);
}

/* The legs of an angle surround nothing. */
void angles(void **)
{
    Report report;
    DcmItem &g = report.group("id", "Spine"), &num = Report::child(g, "NUM");
    Report::name(Report::append(num, DCM_MeasuredValueSequence), "deg", "UCUM",
                 DCM_MeasurementUnitsCodeSequence);
    Report::image(Report::shape(num, "POLYLINE", {10, 12, 30, 12, 30, 25}));
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 0);
    assert_says(r.note.c_str(), "an angle is no region");
}

void a_report_on_a_segmentation(void **)
{
    Report report;
    DcmItem &g = report.group("id", "Lesion"), &item = Report::child(g, "IMAGE"),
            &sop = Report::append(item, DCM_ReferencedSOPSequence);
    Report::name(item, "121191", "DCM");
    Report::set(sop, DCM_ReferencedSOPClassUID, UID_SegmentationStorage);
    Report::set(sop, DCM_ReferencedSOPInstanceUID, "1.2.3");
    const Result r = report.read();
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 0);
    assert_says(r.note.c_str(), "that object's segments are the prompts");
}

/* ---- structure sets, segmentations, key objects ---- */

void structure_set(void **)
{
    const Images images;
    Report rt(UID_RTStructureSetStorage);
    DcmItem &frame = Report::append(rt.root(), DCM_ReferencedFrameOfReferenceSequence);
    Report::set(frame, DCM_FrameOfReferenceUID, images.written.frame_of_reference_uid.c_str());
    Report::set(
        Report::append(Report::append(frame, DCM_RTReferencedStudySequence), DCM_RTReferencedSeriesSequence),
        DCM_SeriesInstanceUID, images.written.series_uid.c_str());
    const struct {
        const char *number, *name, *type, *contour;
        double slice;
    } regions[] = {{"7", "Tumour", "GTV", "CLOSED_PLANAR", 2},
                   {"3", "", "ORGAN", "CLOSED_PLANAR", 4},
                   {"4", "Carina", "", "POINT", 5},
                   {"5", "Body", "EXTERNAL", "CLOSED_PLANAR", 1},
                   {"6", "Wire", "", "OPEN_PLANAR", 1},
                   {"8", "Empty", "ORGAN", nullptr, 0}};
    for (const auto &r : regions) {
        DcmItem &roi = Report::append(rt.root(), DCM_StructureSetROISequence),
                &seen = Report::append(rt.root(), DCM_RTROIObservationsSequence),
                &drawn = Report::append(rt.root(), DCM_ROIContourSequence);
        Report::set(roi, DCM_ROINumber, r.number);
        Report::set(roi, DCM_ROIName, r.name);
        Report::set(roi, DCM_ReferencedFrameOfReferenceUID, images.written.frame_of_reference_uid.c_str());
        Report::set(seen, DCM_ReferencedROINumber, r.number);
        Report::set(seen, DCM_RTROIInterpretedType, r.type);
        Report::set(drawn, DCM_ReferencedROINumber, r.number);
        if (r.name[0] == '\0') {
            Report::set(seen, DCM_ROIObservationLabel, "Liver");
            Report::name(seen, "T-62000", "SRT", DCM_RTROIIdentificationCodeSequence, "Liver");
        }
        if (r.contour == nullptr) continue;
        std::string data;
        const bool point = std::string(r.contour) == "POINT";
        for (const Float32 v :
             images.mm(r.slice, point ? std::vector<double>{5, 6}
                                      : std::vector<double>{10, 12, 30, 12, 30, 25, 10, 25}))
            data += (data.empty() ? "" : "\\") + std::to_string(v);
        DcmItem &contour = Report::append(drawn, DCM_ContourSequence);
        Report::set(contour, DCM_ContourGeometricType, r.contour);
        Report::set(contour, DCM_ContourData, data.c_str());
    }
    const Result r = rt.read();
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 3);
    assert_int_equal(r.prompts[0].kind, DICOM_PROMPT_REGION);
    assert_int_equal(r.prompts[0].region, 7);
    assert_string_equal(r.prompts[0].label, "Tumour");
    assert_int_equal(r.prompts[1].region, 3);
    assert_string_equal(r.prompts[1].label, "Liver");
    assert_string_equal(r.prompts[1].type.value, "10200004");
    assert_int_equal(r.prompts[2].kind, DICOM_PROMPT_POINT);
    assert_string_equal(r.prompts[2].label, "Carina");
    const std::vector<Float32> carina = images.mm(5, {5, 6});
    assert_true(std::fabs(r.prompts[2].z0 - double(carina[2])) < 1e-4);
    for (const dicom_prompt &p : r.prompts) {
        assert_string_equal(p.series_uid, images.written.series_uid.c_str());
        assert_string_equal(p.sop_instance_uid, "");
    }
    assert_says(r.note.c_str(), "no part of the patient");
    const Masks masks(images, rt.save());
    assert_extent(masks.of(7), 2, 2, 10, 12, 30, 25);
    assert_extent(masks.of(3), 4, 4, 10, 12, 30, 25);
}

void segmentation(void **)
{
    for (const bool ours : {false, true}) {
        Report seg(UID_SegmentationStorage);
        Report::set(seg.root(), DCM_Manufacturer, ours ? "msad" : "QIICR");
        Report::set(seg.root(), DCM_FrameOfReferenceUID, "1.2.55");
        Report::set(Report::append(seg.root(), DCM_ReferencedSeriesSequence), DCM_SeriesInstanceUID,
                    "1.2.66");
        for (Uint16 n = 1; n <= 2; n++) {
            DcmItem &s = Report::append(seg.root(), DCM_SegmentSequence);
            assert_true(s.putAndInsertUint16(DCM_SegmentNumber, n).good());
            if (n == 1) Report::set(s, DCM_SegmentLabel, "Liver, left");
            Report::name(s, "85756007", "SCT", DCM_SegmentedPropertyCategoryCodeSequence, "Tissue");
            Report::name(s, "10200004", "SCT", DCM_SegmentedPropertyTypeCodeSequence, "Liver");
            Report::set(s, DCM_TrackingID, "id");
            Report::set(s, DCM_TrackingUID, "1.2.77");
        }
        const Result r = seg.read();
        assert_int_equal(r.status, MSA_OK);
        assert_int_equal(r.prompts.size(), ours ? 0 : 2);
        if (ours) {
            assert_says(r.note.c_str(), "one of our own results");
            continue;
        }
        for (int i = 0; i < 2; i++) {
            const dicom_prompt &p = r.prompts[size_t(i)];
            assert_int_equal(p.kind, DICOM_PROMPT_REGION);
            assert_int_equal(p.region, i + 1);
            assert_string_equal(p.label, i == 0 ? "Liver, left" : "Liver");
            assert_string_equal(p.series_uid, "1.2.66");
            assert_string_equal(p.frame_of_reference_uid, "1.2.55");
            assert_string_equal(p.category.value, "85756007");
            assert_string_equal(p.type.value, "10200004");
            assert_string_equal(p.tracking_id, "id");
            assert_string_equal(p.tracking_uid, "1.2.77");
        }
    }
    Report nowhere(UID_SegmentationStorage);
    assert_says(nowhere.read().note.c_str(), "neither a series nor a frame of reference");
}

void key_objects(void **)
{
    Report ko(UID_KeyObjectSelectionDocumentStorage);
    Report::name(ko.root(), "113000", "DCM", DCM_ConceptNameCodeSequence, "Of Interest");
    Report::image(ko.root(), "1.2.1");
    Report::image(ko.root(), "1.2.2", "3\\5");
    const Result r = ko.read();
    assert_int_equal(r.prompts.size(), 3);
    const struct {
        const char *uid;
        int frame;
    } want[] = {{"1.2.1", 0}, {"1.2.2", 3}, {"1.2.2", 5}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r.prompts[i].kind, DICOM_PROMPT_KEY_IMAGE);
        assert_string_equal(r.prompts[i].sop_instance_uid, want[i].uid);
        assert_int_equal(r.prompts[i].frame, want[i].frame);
        assert_string_equal(r.prompts[i].label, "Of Interest");
    }
    Report rejected(UID_KeyObjectSelectionDocumentStorage);
    Report::name(rejected.root(), "113001", "DCM", DCM_ConceptNameCodeSequence,
                 "Rejected for Quality Reasons");
    Report::image(rejected.root(), "1.2.1");
    assert_int_equal(rejected.read().prompts.size(), 0);
    assert_says(rejected.read().note.c_str(), "rejected");
}

/* ---- real objects ---- */

void real_objects(void **)
{
    const struct {
        const char *path;
        size_t boxes, points, regions;
        const char *label, *note;
    } table[] = {
        {"ct-nlst-sr-boxes/sr/0001.dcm", 8, 0, 0, "Lesion", ""},
        {"highdicom/sr_document.dcm", 1, 0, 0, "Spinal cord", ""},
        {"highdicom/sr_document_with_multiple_groups.dcm", 2, 1, 0, "", ""},
        {"annotations-small/test-SR.dcm", 0, 0, 0, "", "names no image"},
        {"annotations-small/structured_report.dcm", 3, 1, 0, "ExampleText", "a length"},
        {"pet-sr-tid1500-seg/sr.dcm", 0, 0, 0, "", "refers to a segmentation"},
        {"pet-sr-tid1500-seg/seg.dcm", 0, 0, 1, "", ""},
        {"ct-4dlung-rtstruct/rtstruct/rtstruct.dcm", 0, 0, 4, "Tumor_c40", ""},
        {"ct-3slice-seg/seg/partial_overlaps.dcm", 0, 0, 5, "", ""},
        {"ct-3slice-seg/seg/liver_rle.dcm", 0, 0, 1, "", ""},
    };
    bool some = false;
    for (const auto &row : table) {
        const std::string path = shared_data(row.path);
        if (path.empty()) continue;
        some = true;
        const Result r = read_prompts(path);
        size_t n[5] = {0};
        for (const dicom_prompt &p : r.prompts)
            n[p.kind]++;
        if (r.status != MSA_OK || n[DICOM_PROMPT_BOX] != row.boxes || n[DICOM_PROMPT_POINT] != row.points ||
            n[DICOM_PROMPT_REGION] != row.regions)
            fail_msg("%s: %zu boxes, %zu points, %zu regions; %s%s", row.path, n[1], n[2], n[3],
                     r.what.c_str(), r.note.c_str());
        assert_says(r.note.c_str(), row.note);
        if (row.label[0] != '\0') assert_string_equal(r.prompts[0].label, row.label);
    }
    if (!some) skip_test();
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(areas_in_space),
        cmocka_unit_test(points_and_axes_in_space),
        cmocka_unit_test(evidence_names_the_series),
        cmocka_unit_test(malformed_space),
        cmocka_unit_test(labels_typed_in_ohif),
        cmocka_unit_test(lengths_of_aim),
        cmocka_unit_test(angles),
        cmocka_unit_test(a_report_on_a_segmentation),
        cmocka_unit_test(structure_set),
        cmocka_unit_test(segmentation),
        cmocka_unit_test(key_objects),
        cmocka_unit_test(real_objects),
    };
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
