/* Graphics of presentation states: shapes, units, the texts that belong to them. */
#include "tests/unit/read/report.h"

namespace
{

class State : public Report
{
  public:
    State() : Report(UID_GrayscaleSoftcopyPresentationStateStorage) {}
    DcmItem &annotation(const char *image, const char *layer = "LAYER", const char *frame = nullptr)
    {
        DcmItem &a = append(root(), DCM_GraphicAnnotationSequence);
        if (image != nullptr) {
            DcmItem &ref = append(a, DCM_ReferencedImageSequence);
            set(ref, DCM_ReferencedSOPInstanceUID, image);
            if (frame != nullptr) set(ref, DCM_ReferencedFrameNumber, frame);
        }
        set(a, DCM_GraphicLayer, layer);
        return a;
    }
    static void floats(DcmItem &d, const DcmTagKey &tag, const std::vector<Float32> &v)
    {
        assert_true(d.putAndInsertFloat32Array(tag, v.data(), (unsigned long)v.size()).good());
    }
    static DcmItem &graphic(DcmItem &a, const char *type, const std::vector<Float32> &v,
                            const char *units = "PIXEL")
    {
        DcmItem &g = append(a, DCM_GraphicObjectSequence);
        set(g, DCM_GraphicAnnotationUnits, units);
        set(g, DCM_GraphicType, type);
        floats(g, DCM_GraphicData, v);
        return g;
    }
    static DcmItem &words(DcmItem &a, const char *what, const std::vector<Float32> &anchor)
    {
        DcmItem &t = append(a, DCM_TextObjectSequence);
        set(t, DCM_UnformattedTextValue, what);
        if (anchor.empty()) return t;
        set(t, DCM_AnchorPointAnnotationUnits, "PIXEL");
        floats(t, DCM_AnchorPoint, anchor);
        return t;
    }
    DcmItem &displayed(Sint32 x0, Sint32 y0, Sint32 x1, Sint32 y1, const char *image = nullptr)
    {
        DcmItem &d = append(root(), DCM_DisplayedAreaSelectionSequence);
        const Sint32 corners[] = {x0, y0, x1, y1};
        const DcmTagKey tags[] = {DCM_DisplayedAreaTopLeftHandCorner, DCM_DisplayedAreaBottomRightHandCorner};
        for (size_t k = 0; k < 2; k++) {
            auto *element = new DcmSignedLong(tags[k]);
            assert_true(element->putSint32Array(corners + 2 * k, 2).good());
            assert_true(d.insert(element).good());
        }
        if (image != nullptr)
            set(append(d, DCM_ReferencedImageSequence), DCM_ReferencedSOPInstanceUID, image);
        return d;
    }
};

void graphics_of_a_state(void **)
{
    State s;
    DcmItem &a = s.annotation("1.2.3", "LAYER", "2");
    State::graphic(a, "POLYLINE", {10, 12, 30, 12, 30, 25, 10, 25, 10, 12});
    State::graphic(a, "INTERPOLATED", {10, 12, 30, 12, 30, 27});
    State::graphic(a, "CIRCLE", {10, 10, 13, 14});
    State::graphic(a, "ELLIPSE", {0, 5, 20, 5, 10, 2, 10, 8});
    State::graphic(a, "POINT", {3, 4});
    State::graphic(a, "POLYLINE", {40, 5, 60, 5}); /* two diameters */
    State::graphic(a, "POLYLINE", {50, 1, 50, 9});
    State::graphic(a, "POLYLINE", {70, 5, 80, 5}); /* an arrow */
    const Result r = s.read();
    assert_int_equal(r.prompts.size(), 6);
    assert_box(r.prompts[0], 10, 12, 30, 25);
    assert_box(r.prompts[1], 10, 12, 30, 27);
    assert_box(r.prompts[2], 5, 5, 15, 15);
    assert_box(r.prompts[3], 0, 2, 20, 8);
    assert_int_equal(r.prompts[4].kind, DICOM_PROMPT_POINT);
    assert_box(r.prompts[5], 40, 1, 60, 9);
    assert_says(r.note.c_str(), "a length");
    for (const dicom_prompt &p : r.prompts) {
        assert_string_equal(p.label, "LAYER");
        assert_string_equal(p.sop_instance_uid, "1.2.3");
        assert_int_equal(p.frame, 2);
    }
}

void texts_of_a_state(void **)
{
    State s;
    const std::vector<Float32> left = {10, 10, 20, 10, 20, 20, 10, 20},
                               right = {50, 10, 60, 10, 60, 20, 50, 20},
                               low = {10, 70, 20, 70, 20, 80, 10, 80};
    DcmItem &a = s.annotation("1.2.3");
    State::words(a, "on the right\r\nArea 12 mm2", {62, 9});
    State::words(a, "on the left", {9, 22});
    State::graphic(a, "POLYLINE", left);
    State::graphic(a, "POLYLINE", right);
    DcmItem &grouped = State::graphic(a, "POLYLINE", low),
            &name = State::words(a, "of the group", {500, 500});
    for (DcmItem *item : {&grouped, &name})
        assert_true(item->putAndInsertUint32(DCM_GraphicGroupID, 7).good());
    Report::set(grouped, DCM_TrackingID, "L7");
    Report::set(grouped, DCM_TrackingUID, "1.2.77");
    DcmItem &lone = s.annotation("1.2.3", "OTHER");
    State::graphic(lone, "POLYLINE", {100, 100, 140, 100, 140, 140});
    DcmItem &texts = s.annotation("1.2.3", "WORDS"), &elsewhere = s.annotation("1.2.4", "WORDS");
    State::words(elsewhere, "of another image", {120, 120});
    State::words(texts, "far away", {300, 300});
    DcmItem &boxed = State::words(texts, "inside it", {});
    Report::set(boxed, DCM_BoundingBoxAnnotationUnits, "PIXEL");
    State::floats(boxed, DCM_BoundingBoxTopLeftHandCorner, {130, 130});
    State::floats(boxed, DCM_BoundingBoxBottomRightHandCorner, {190, 150});
    DcmItem &silent = s.annotation("1.2.5", "");
    State::graphic(silent, "POLYLINE", left);
    const Result r = s.read();
    const char *const want[] = {"on the left", "on the right", "of the group", "inside it", "Object 5"};
    assert_int_equal(r.prompts.size(), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(r.prompts[i].label, want[i]);
    assert_string_equal(r.prompts[2].tracking_id, "L7");
    assert_string_equal(r.prompts[2].tracking_uid, "1.2.77");
}

/* The box 10,12..30,25 of an image of 100 columns and 80 rows, as every turned display shows it. */
void display_units(void **)
{
    const struct {
        int rotation;
        const char *flip;
        int area[4];                /* columns and rows that are shown, from 1 */
        std::vector<Float32> shown; /* opposite corners, as fractions */
    } cases[] = {
        {0, "N", {1, 1, 100, 80}, {.1f, .15f, .3f, .3125f}},
        {0, "N", {1, 1, 100, 80}, {.3f, .3125f, .1f, .15f}},
        {0, "Y", {1, 1, 100, 80}, {.7f, .15f, .9f, .3125f}},
        {0, "Y", {100, 1, 1, 80}, {.7f, .15f, .9f, .3125f}}, /* corners as they appear when turned */
        {180, "N", {1, 1, 100, 80}, {.7f, .6875f, .9f, .85f}},
        {90, "N", {1, 1, 100, 80}, {.6875f, .1f, .85f, .3f}}, /* rows run from right to left, columns down */
        {90, "N", {1, 80, 100, 1}, {.6875f, .1f, .85f, .3f}},
        {270, "N", {1, 1, 100, 80}, {.15f, .7f, .3125f, .9f}},
        {90, "Y", {1, 1, 100, 80}, {.15f, .1f, .3125f, .3f}},
        {0, "N", {6, 3, 45, 52}, {.125f, .2f, .625f, .46f}},  /* a part of the image */
        {0, "N", {-19, 1, 80, 80}, {.3f, .15f, .5f, .3125f}}, /* and beyond it */
    };
    for (const auto &c : cases) {
        State s;
        DcmItem &a = s.annotation("1.2.3");
        const std::vector<Float32> &v = c.shown;
        State::graphic(a, "POLYLINE", {v[0], v[1], v[2], v[1], v[2], v[3], v[0], v[3]}, "DISPLAY");
        if (c.rotation != 0)
            assert_true(s.root().putAndInsertUint16(DCM_ImageRotation, Uint16(c.rotation)).good());
        Report::set(s.root(), DCM_ImageHorizontalFlip, c.flip);
        s.displayed(1, 1, 2, 2, "1.2.9");
        s.displayed(c.area[0], c.area[1], c.area[2], c.area[3]);
        const Result r = s.read();
        assert_int_equal(r.prompts.size(), 1);
        assert_box(r.prompts[0], 10, 12, 30, 25);
    }
    State own; /* an area of its own for this image */
    State::graphic(own.annotation("1.2.3"), "POLYLINE", {.1f, .15f, .3f, .15f, .3f, .3125f}, "DISPLAY");
    own.displayed(1, 1, 7, 7);
    own.displayed(1, 1, 100, 80, "1.2.3");
    assert_box(own.read().prompts.at(0), 10, 12, 30, 25);
    State unknown;
    State::graphic(unknown.annotation("1.2.3"), "POLYLINE", {.1f, .15f, .3f, .15f, .3f, .3125f}, "DISPLAY");
    assert_int_equal(unknown.read().prompts.size(), 0);
    assert_says(unknown.read().note.c_str(), "displayed area is not given");
}

void compound_graphics(void **)
{
    State s;
    DcmItem &a = s.annotation("1.2.3");
    const auto compound = [&](const char *type, Uint32 id, const std::vector<Float32> &v) -> DcmItem & {
        DcmItem &c = Report::append(a, DCM_CompoundGraphicSequence);
        Report::set(c, DCM_CompoundGraphicType, type);
        Report::set(c, DCM_CompoundGraphicUnits, "PIXEL");
        State::floats(c, DCM_GraphicData, v);
        assert_true(c.putAndInsertUint32(DCM_CompoundGraphicInstanceID, id).good());
        return c;
    };
    compound("RECTANGLE", 1, {10, 12, 30, 25});
    DcmItem &turned = compound("RECTANGLE", 2, {10, 10, 30, 20});
    assert_true(turned.putAndInsertFloat64(DCM_RotationAngle, 90).good());
    State::floats(turned, DCM_RotationPoint, {20, 15});
    compound("ELLIPSE", 3, {40, 40, 60, 50});
    compound("RULER", 4, {0, 0, 9, 9});
    /* the first one again, for viewers that know no rectangles */
    DcmItem &again = State::graphic(a, "POLYLINE", {10, 12, 30, 12, 30, 25, 10, 25, 10, 12});
    assert_true(again.putAndInsertUint32(DCM_CompoundGraphicInstanceID, 1).good());
    const Result r = s.read();
    assert_int_equal(r.prompts.size(), 3);
    assert_box(r.prompts[0], 10, 12, 30, 25);
    assert_box(r.prompts[1], 15, 5, 25, 25);
    assert_box(r.prompts[2], 40, 40, 60, 50);
    assert_says(r.note.c_str(), "no rectangle or ellipse");
}

/* An annotation that names no image is drawn on all of the state. */
void images_of_a_state(void **)
{
    State s;
    DcmItem &series = Report::append(s.root(), DCM_ReferencedSeriesSequence);
    for (const char *uid : {"1.2.1", "1.2.2", "1.2.3"})
        Report::set(Report::append(series, DCM_ReferencedImageSequence), DCM_ReferencedSOPInstanceUID, uid);
    State::graphic(s.annotation(nullptr), "POLYLINE", {10, 12, 30, 12, 30, 25});
    const Result r = s.read();
    assert_int_equal(r.prompts.size(), 3);
    assert_string_equal(r.prompts[2].sop_instance_uid, "1.2.3");
    State none;
    State::graphic(none.annotation(nullptr), "POLYLINE", {10, 12, 30, 12, 30, 25});
    assert_says(none.read().note.c_str(), "names no image");
}

/* Many graphics on many images stop at the limit, soon. */
void limits(void **)
{
    State s;
    DcmItem &series = Report::append(s.root(), DCM_ReferencedSeriesSequence);
    for (int i = 0; i < 200; i++)
        Report::set(Report::append(series, DCM_ReferencedImageSequence), DCM_ReferencedSOPInstanceUID,
                    ("1.2." + std::to_string(i)).c_str());
    DcmItem &a = s.annotation(nullptr);
    for (int i = 0; i < 200; i++)
        State::graphic(a, "POINT", {Float32(i), 1});
    assert_int_equal(s.read().status, MSA_E_UNSUPPORTED);
    assert_says(s.read().what.c_str(), "more than 4096");
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(graphics_of_a_state), cmocka_unit_test(texts_of_a_state),
        cmocka_unit_test(display_units),       cmocka_unit_test(compound_graphics),
        cmocka_unit_test(images_of_a_state),   cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, start_dicom, nullptr);
}
