/* Reports to prompts: our own report, trees built by hand for what writers do differently, and real ones. */
#include "dicom/annot/charset.h"
#include "dicom/annot/shape.h"
#include "dicom/series.h"
#include "tests/tools/phantom.h"
#include "tests/unit/read/report.h"

#include <cmath>
#include <limits>
#include <set>

namespace
{

void shapes(void **)
{
    using dicom::make_shape;
    using dicom::Shape;
    const double nan = std::numeric_limits<double>::quiet_NaN(),
                 inf = std::numeric_limits<double>::infinity();
    const double c = std::cos(0.5), s = std::sin(0.5);
    const struct {
        const char *type;
        std::vector<double> data;
        int kind;
        double box[4];
    } table[] = {
        {"POLYLINE", {1, 2, 5, 2, 5, 8, 1, 8, 1, 2}, Shape::BOX, {1, 2, 5, 8}},
        {"POLYLINE", {1, 2, 5, 2, 5, 8, 1, 8}, Shape::BOX, {1, 2, 5, 8}},
        {"POLYLINE", {5, 8, 1, 8, 1, 2}, Shape::BOX, {1, 2, 5, 8}},
        {"POLYLINE", {0, 0, 4, 9, 8, 0, 9, 5, 3, 11}, Shape::BOX, {0, 0, 9, 11}},
        {"CIRCLE", {10, 10, 13, 14}, Shape::BOX, {5, 5, 15, 15}},
        {"ELLIPSE", {0, 5, 20, 5, 10, 2, 10, 8}, Shape::BOX, {0, 2, 20, 8}},
        /* half axes 10 and 4, turned by 0.5 rad */
        {"ELLIPSE",
         {50 - 10 * c, 50 - 10 * s, 50 + 10 * c, 50 + 10 * s, 50 + 4 * s, 50 - 4 * c, 50 - 4 * s, 50 + 4 * c},
         Shape::BOX,
         {50 - std::hypot(10 * c, 4 * s), 50 - std::hypot(10 * s, 4 * c), 50 + std::hypot(10 * c, 4 * s),
          50 + std::hypot(10 * s, 4 * c)}},
        {"POINT", {3, 4}, Shape::POINTS, {}},
        {"MULTIPOINT", {3, 4, 5, 6}, Shape::POINTS, {}},
        {"POLYLINE", {0, 0, 5, 5}, Shape::LINE, {}},
        {"POLYLINE", {0, 0, 5, 5, 0, 0}, Shape::LINE, {}},
        {"POLYLINE", {0, 0, 5, 0, 9, 0}, Shape::NOTHING, {}},
        {"POLYLINE", {4, 4}, Shape::NOTHING, {}},
        {"POLYLINE", {0, 0, 5, 0, 9}, Shape::NOTHING, {}},
        {"POLYLINE", {0, 0, 5, 0, nan, 7}, Shape::NOTHING, {}},
        {"POLYLINE", {0, 0, 5, 0, inf, 7}, Shape::NOTHING, {}},
        {"POLYLINE", {0, 0, 5, 0, 2e6, 7}, Shape::NOTHING, {}},
        {"CIRCLE", {10, 10, 10, 10}, Shape::NOTHING, {}},
        {"CIRCLE", {10, 10}, Shape::NOTHING, {}},
        {"ELLIPSE", {1, 2, 3, 4}, Shape::NOTHING, {}},
        {"SQUIGGLE", {1, 2, 3, 4, 5, 6}, Shape::NOTHING, {}},
        {"POINT", {}, Shape::NOTHING, {}},
    };
    for (const auto &row : table) {
        const Shape got = make_shape(row.type, row.data);
        const size_t at = size_t(&row - table);
        if (got.kind != row.kind) fail_msg("row %zu: wanted kind %d, got %d", at, row.kind, got.kind);
        assert_int_equal(got.note != nullptr, got.kind == Shape::NOTHING);
        const double box[] = {got.x0, got.y0, got.x1, got.y1};
        for (int i = 0; i < 4 && row.kind == Shape::BOX; i++)
            if (std::fabs(box[i] - row.box[i]) > 1e-9)
                fail_msg("row %zu: wanted %g, got %g", at, row.box[i], box[i]);
    }
}

void text_becomes_utf8(void **)
{
    using dicom::to_utf8;
    const struct {
        const char *bytes, *charset, *want;
    } table[] = {
        {"Liver", "", "Liver"},
        {"Tum\xf6r", "ISO_IR 100", "Tum\xc3\xb6r"},
        {"Tum\xf6r", "", "Tum\xc3\xb6r"},
        {"Tum\xc3\xb6r", "ISO_IR 192", "Tum\xc3\xb6r"},
        {"Tum\xc3\xb6r", "", "Tum\xc3\xb6r"},
        {"bad\xff\xfe", "ISO_IR 192", "bad??"},
        {"over\xc0\xaflong", "ISO_IR 192", "over??long"},
        {"half \xed\xa0\x80", "ISO_IR 192", "half ???"},
        {"a\nb\tc\x1b[31m", "ISO_IR 192", "a b c [31m"},
        {"  padded  ", "", "padded"},
        {"what\xe9", "ISO_IR 999", "what?"},
        {"", "ISO_IR 100", ""},
        {"\xbb\xd9\xda", "ISO_IR 126", "\xce\x9b\xce\xb9\xce\xba" /* see below: only length is compared */},
    };
    for (const auto &row : table) {
        const std::string got = to_utf8(row.bytes, row.charset);
        if (std::string(row.charset) ==
            "ISO_IR 126") { /* Greek, by the C library's converter where it has one */
            assert_true(got.size() == 6 || got == "???");
            continue;
        }
        if (got != row.want)
            fail_msg("'%s' in '%s': wanted '%s', got '%s'", row.bytes, row.charset, row.want, got.c_str());
    }
    assert_string_equal(dicom::cut_utf8("T\xc3\xb6\xc3\xb6", 2, 100).c_str(), "T\xc3\xb6");
    assert_string_equal(dicom::cut_utf8("T\xc3\xb6\xc3\xb6", 9, 5).c_str(), "T\xc3\xb6");
}

void own_report(void **)
{
    const TempDir dir;
    phantom::Options o;
    o.rows = 60;
    o.cols = 77;
    o.slices = 9;
    o.gap = 2;
    const phantom::Series written = phantom::write_series(o, dir / "series");
    const std::vector<phantom::Box> boxes = {written.truth[0], {1.5, 2, 30, 41.25, 3, "Tum\xc3\xb6r rechts"}};
    phantom::write_report(o, written, boxes, dir / "sr.dcm");
    const Result r = read_prompts(dir / "sr.dcm");
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 2);
    assert_string_equal(r.note.c_str(), "");
    dicom_series *series = nullptr;
    assert_int_equal(dicom_series_load_dir(&series, (dir / "series").c_str(), nullptr, nullptr), MSA_OK);
    for (size_t i = 0; i < 2; i++) {
        const dicom_prompt &p = r.prompts[i];
        assert_box(p, boxes[i].x0, boxes[i].y0, boxes[i].x1, boxes[i].y1);
        assert_string_equal(p.label, boxes[i].label.c_str());
        assert_int_equal(p.frame, 1);
        assert_int_equal(dicom_series_find(series, p.sop_instance_uid, p.frame), boxes[i].slice);
        assert_string_equal(p.source_class_uid, UID_ComprehensiveSRStorage);
        assert_int_not_equal(p.source_instance_uid[0], 0);
        assert_int_not_equal(p.tracking_uid[0], 0);
    }
    assert_string_equal(r.prompts[0].type.value, "52988006");
    assert_string_equal(r.prompts[0].type.scheme, "SCT");
    assert_string_equal(r.prompts[0].tracking_id, "Lesion 1");
    dicom_series_free(series);
}

void labels(void **)
{
    Report report;
    const auto add = [&](const char *tracking, const char *finding, Float32 x) -> DcmItem & {
        DcmItem &g = report.group(tracking, finding);
        Report::image(Report::shape(g, "POLYLINE", {x, 1, x + 5, 1, x + 5, 9, x, 9}));
        return g;
    };
    add("Lesion 7", "Nodule", 0);
    add("my name", nullptr, 10);
    add("Cornerstone3DTools@^0.1.0:RectangleROI", nullptr, 20);
    DcmItem &labelled = add("tool", "Nodule", 30), &text = Report::child(labelled, "TEXT");
    Report::name(text, "125309", "DCM");
    Report::set(text, DCM_TextValue, "left upper");
    DcmItem &free_text = add(nullptr, nullptr, 40), &finding = Report::child(free_text, "TEXT");
    Report::name(finding, "121071", "DCM");
    Report::set(finding, DCM_TextValue, "free finding");
    Report::image(Report::shape(report.root(), "POLYLINE", {50, 1, 55, 1, 55, 9, 50, 9}));
    const Result r = report.read();
    const char *const want[] = {"Nodule", "my name", "Object 3", "left upper", "free finding", "Object 1"};
    assert_int_equal(r.prompts.size(), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(r.prompts[i].label, want[i]);
    assert_string_equal(r.prompts[0].type.value, "F-1");
    assert_string_equal(r.prompts[1].type.value, ""); /* no group leaks into the next */
}

void old_codes_and_sites(void **)
{
    Report report;
    DcmItem &g = report.group("1", nullptr);
    DcmItem &finding = Report::child(g, "CODE"), &site = Report::child(g, "CODE"),
            &category = Report::child(g, "CODE");
    Report::name(finding, "121071", "DCM");
    Report::name(finding, "M-03000", "SRT", DCM_ConceptCodeSequence, "Mass");
    Report::name(site, "G-C0E3", "SRT");
    Report::name(site, "T-62000", "SRT", DCM_ConceptCodeSequence, "Liver");
    Report::name(category, "276214006", "SCT");
    Report::name(category, "a value over sixteen characters", "99X", DCM_ConceptCodeSequence, "long");
    Report::image(Report::shape(g, "CIRCLE", {10, 10, 14, 13}), "1.2.3", "4");
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 1);
    assert_box(r.prompts[0], 5, 5, 15, 15);
    assert_int_equal(r.prompts[0].frame, 4);
    assert_string_equal(r.prompts[0].label, "Mass");
    assert_string_equal(r.prompts[0].type.value, "4147007");
    assert_string_equal(r.prompts[0].type.scheme, "SCT");
    assert_string_equal(r.prompts[0].site.value, "10200004");
    assert_string_equal(r.prompts[0].category.value, "");
    assert_string_equal(r.prompts[0].category.meaning, "long");
}

/* IMAGE beside the region, by reference, and nowhere. */
void where_the_image_is(void **)
{
    Report beside;
    DcmItem &g = beside.group("a", "b");
    (void)Report::shape(g, "POLYLINE", {0, 0, 5, 0, 5, 5});
    Report::image(g, "1.2.77");
    assert_string_equal(beside.read().prompts.at(0).sop_instance_uid, "1.2.77");

    Report by_reference;
    Report::image(by_reference.root(), "1.2.88");
    DcmItem &h = by_reference.group("a", "b");
    DcmItem &reference =
        Report::append(Report::shape(h, "POLYLINE", {0, 0, 5, 0, 5, 5}), DCM_ContentSequence);
    const Uint32 path[] = {1, 1};
    assert_true(reference.putAndInsertUint32Array(DCM_ReferencedContentItemIdentifier, path, 2).good());
    assert_string_equal(by_reference.read().prompts.at(0).sop_instance_uid, "1.2.88");

    Report nowhere;
    (void)Report::shape(nowhere.group("a", "b"), "POLYLINE", {0, 0, 5, 0, 5, 5});
    DcmItem &bad = nowhere.group("a", "b");
    Report::image(Report::shape(bad, "POLYLINE", {0, 0, 5, 0, 5, 5}), "not a uid");
    const Result r = nowhere.read();
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 0);
    assert_says(r.note.c_str(), "names no image");
}

void bidirectional(void **)
{
    Report report;
    DcmItem &g = report.group("a", "crossing");
    Report::image(Report::shape(g, "POLYLINE", {0, 5, 20, 5}));
    Report::image(Report::shape(g, "POLYLINE", {9, 1, 11, 8}));
    DcmItem &apart = report.group("b", "apart");
    Report::image(Report::shape(apart, "POLYLINE", {0, 5, 20, 5}));
    Report::image(Report::shape(apart, "POLYLINE", {30, 1, 31, 8}));
    DcmItem &coded = report.group("c", "coded");
    for (const char *code : {"103339001", "103340004"}) {
        DcmItem &num = Report::child(coded, "NUM");
        Report::name(num, code, "SCT");
        const bool is_long = code[5] == '9';
        Report::image(
            Report::shape(num, "POLYLINE",
                          is_long ? std::vector<Float32>{0, 5, 20, 5} : std::vector<Float32>{30, 1, 31, 8}));
    }
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 2);
    assert_box(r.prompts[0], 0, 1, 20, 8);
    assert_string_equal(r.prompts[0].label, "crossing");
    assert_box(r.prompts[1], 0, 1, 31, 8);
    assert_string_equal(r.prompts[1].label, "coded");
    assert_says(r.note.c_str(), "a length, not a region");
}

/* Area and mean of one region: one prompt. Points stay points. */
void copies_and_points(void **)
{
    Report report;
    DcmItem &g = report.group("a", "Liver");
    for (int i = 0; i < 3; i++)
        Report::image(Report::shape(Report::child(g, "NUM"), "POLYLINE", {0, 0, 5, 0, 5, 5, 0, 5, 0, 0}));
    Report::image(Report::shape(g, "MULTIPOINT", {1, 2, 3, 4}));
    const Result r = report.read();
    assert_int_equal(r.prompts.size(), 3);
    assert_box(r.prompts[0], 0, 0, 5, 5);
    assert_int_equal(r.prompts[2].kind, DICOM_PROMPT_POINT);
    assert_int_equal(r.prompts[2].positive, 1);
    assert_true(r.prompts[2].x0 == 3 && r.prompts[2].y0 == 4);
}

void limits_and_refusals(void **)
{
    Report many;
    for (int i = 0; i <= 4096; i++)
        Report::image(Report::shape(many.root(), "POINT", {Float32(i), 1}));
    const Result r = many.read();
    assert_int_equal(r.status, MSA_E_UNSUPPORTED);
    assert_says(r.what.c_str(), "more than 4096");
    assert_int_equal(r.prompts.size(), 0);

    Report empty;
    assert_int_equal(empty.read().status, MSA_OK);
    assert_says(empty.read().note.c_str(), "draws no region");

    Report state(UID_GrayscaleSoftcopyPresentationStateStorage);
    assert_int_equal(state.read().status, MSA_OK);
    assert_says(state.read().note.c_str(), "draws nothing");

    Report in_space(UID_Comprehensive3DSRStorage);
    (void)Report::child(in_space.root(), "SCOORD3D");
    assert_says(in_space.read().note.c_str(), "not triples");

    Report ours;
    Report::image(Report::shape(ours.root(), "POINT", {1, 1}));
    Report::set(ours.root(), DCM_Manufacturer, "msad");
    assert_int_equal(ours.read().prompts.size(), 0);
    assert_says(ours.read().note.c_str(), "our own results");

    const TempDir dir;
    assert_int_equal(read_prompts(dir / "absent").status, MSA_E_NOT_FOUND);
    write_bytes(dir / "text", "no report");
    assert_int_equal(read_prompts(dir / "text").status, MSA_E_PARSE);
}

/* Another vendor's report over a real series: 8 boxes, one a slice, slices 20 to 27 of the folder. */
void real_report(void **)
{
    const std::string report = shared_data("ct-nlst-sr-boxes/sr/0001.dcm"),
                      images = shared_data("ct-nlst-sr-boxes/ct");
    if (report.empty() || images.empty()) skip_test();
    const Result r = read_prompts(report);
    assert_int_equal(r.status, MSA_OK);
    assert_int_equal(r.prompts.size(), 8);
    dicom_series *series = nullptr;
    assert_int_equal(dicom_series_load_dir(&series, images.c_str(), nullptr, nullptr), MSA_OK);
    std::set<int> slices;
    for (const dicom_prompt &p : r.prompts) {
        slices.insert(dicom_series_find(series, p.sop_instance_uid, p.frame));
        assert_string_equal(p.label, "Lesion");
        assert_string_equal(p.site.value, "39607008");
        assert_true(p.x0 > 265 && p.x1 < 307 && p.y0 > 286 && p.y1 < 321);
    }
    assert_int_equal(slices.size(), 8);
    assert_int_equal(*slices.begin(), 20);
    assert_int_equal(*slices.rbegin(), 27);
    dicom_series_free(series);
}

/* The encodings that the checking tool writes, when it and its Python are there. */
void other_encodings(void **)
{
    const std::string tool = shared_data("../tools/make_annot.py"), images = shared_data("mr-brain1/mr");
    if (tool.empty() || images.empty() ||
        std::system("/usr/bin/python3 -c 'import pydicom, numpy' 2>/dev/null") != 0)
        skip_test();
    const TempDir dir;
    for (const char *kind :
         {"sr-polyline", "sr-rect4", "sr-ohif", "sr-ellipse", "sr-circle", "sr-point", "sr-bidir"}) {
        const std::string out = dir / (std::string(kind) + ".dcm");
        const std::string command = "/usr/bin/python3 '" + tool + "' '" + images + "' '" + out + "' --kind " +
                                    kind + " --box 100,110,140,130.5@12 >/dev/null 2>&1";
        assert_int_equal(std::system(command.c_str()), 0);
        const Result r = read_prompts(out);
        if (r.status != MSA_OK || r.prompts.size() != 1)
            fail_msg("%s: %zu prompts %s", kind, r.prompts.size(), r.what.c_str());
        const dicom_prompt &p = r.prompts[0];
        assert_string_equal(p.label, "Lesion");
        if (std::string(kind) == "sr-point")
            assert_true(p.kind == DICOM_PROMPT_POINT && p.x0 == 120 && p.y0 == 120.25);
        else if (std::string(kind) == "sr-circle")
            assert_box(p, 109.75, 110, 130.25, 130.5);
        else
            assert_box(p, 100, 110, 140, 130.5);
    }
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(shapes),
                                cmocka_unit_test(text_becomes_utf8),
                                cmocka_unit_test(own_report),
                                cmocka_unit_test(labels),
                                cmocka_unit_test(old_codes_and_sites),
                                cmocka_unit_test(where_the_image_is),
                                cmocka_unit_test(bidirectional),
                                cmocka_unit_test(copies_and_points),
                                cmocka_unit_test(limits_and_refusals),
                                cmocka_unit_test(real_report),
                                cmocka_unit_test(other_encodings)};
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
