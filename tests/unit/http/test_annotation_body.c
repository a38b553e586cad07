#include "server/http/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static msa_status parse(const char *text, srv_prompt **prompts, size_t *n, msa_error *err)
{
    json_error_t where;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (json == NULL) fail_msg("%s in %s", where.text, text);
    const msa_status status = srv_annotation_parse(json, prompts, n, err);
    json_decref(json);
    return status;
}

static void everything(void **state)
{
    static const char *const text =
        "{\"series_instance_uid\": \"1.2.3\", \"label\": \"liver\", \"tracking_id\": \"T\", "
        "\"tracking_uid\": \"2.25.1\","
        " \"type\": {\"value\": \"10200004\", \"scheme\": \"SCT\", \"meaning\": \"Liver\"},"
        " \"boxes\": [{\"slice\": 12, \"box\": [1, 2.5, 30, 40]},"
        "  {\"sop_instance_uid\": \"1.2.3.4\", \"frame\": 3, \"box\": [-1e6, 0, 1e6, 1], \"label\": "
        "\"N\\u00e4her\","
        "   \"type\": {\"value\": \"1\", \"scheme\": \"99X\", \"meaning\": \"Other\"}}],"
        " \"points\": [{\"slice\": 0, \"point\": [5, 6]}, {\"slice\": 1, \"point\": [7, 8], \"positive\": "
        "false}]}";
    srv_prompt *p = NULL;
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    (void)state;
    if (parse(text, &p, &n, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(n, 4);
    assert_int_equal(p[0].prompt.kind, DICOM_PROMPT_BOX);
    assert_int_equal(p[0].prompt.slice, 12);
    assert_string_equal(p[0].prompt.series_uid, "1.2.3");
    assert_string_equal(p[0].prompt.sop_instance_uid, "");
    assert_true(p[0].prompt.x0 == 1 && p[0].prompt.y0 == 2.5 && p[0].prompt.x1 == 30 && p[0].prompt.y1 == 40);
    assert_string_equal(p[0].prompt.label, "liver");
    assert_string_equal(p[0].prompt.type.meaning, "Liver");
    assert_string_equal(p[0].prompt.tracking_uid, "2.25.1");
    assert_string_equal(p[1].prompt.sop_instance_uid, "1.2.3.4");
    assert_string_equal(p[1].prompt.series_uid, ""); /* its image says where it lies */
    assert_int_equal(p[1].prompt.frame, 3);
    assert_string_equal(p[1].prompt.label, "N\xc3\xa4her");
    assert_string_equal(p[1].prompt.type.value, "1");
    assert_string_equal(p[1].prompt.tracking_id, "T");
    assert_int_equal(p[2].prompt.kind, DICOM_PROMPT_POINT);
    assert_int_equal(p[2].prompt.positive, 1);
    assert_int_equal(p[3].prompt.positive, 0);
    assert_true(p[3].prompt.x0 == 7 && p[3].prompt.y0 == 8);
    free(p);
}

#define BOX(members)   "{\"series_instance_uid\":\"1.2\",\"label\":\"a\",\"boxes\":[{" members "}]}"
#define GOOD_BOX       "\"slice\":1,\"box\":[0,0,1,1]"
#define POINT(members) "{\"series_instance_uid\":\"1.2\",\"label\":\"a\",\"points\":[{" members "}]}"
#define TOP(members)   "{" members ",\"series_instance_uid\":\"1.2\",\"boxes\":[{" GOOD_BOX "}]}"
#define TEN            "aaaaaaaaaa"

static void refusals(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"[]", "the body is not a JSON object"},
        {"{}", "boxes and points are both empty"},
        {"{\"boxes\":[],\"points\":[]}", "boxes and points are both empty"},
        {"{\"boxes\":{}}", "boxes is not a list"},
        {"{\"boxs\":[]}", "boxs is not a known member; did you mean boxes?"},
        {"{\"a\\u0007b\":[]}", "(a name with control characters) is not a known member"},
        {"{\"label\":\"a\",\"boxes\":[5]}", "boxes[0] is not an object"},
        {TOP("\"label\":5"), "label is not a text"},
        {TOP("\"label\":\"\""), "label is empty"},
        {TOP("\"label\":\"a\\nb\""), "label holds a control character"},
        {TOP("\"label\":\"" TEN TEN TEN TEN TEN TEN "aaaaa\""), "label is longer than 64 characters"},
        {TOP("\"tracking_id\":\"a\""), "boxes[0].label is missing, here and in the annotation"},
        {TOP("\"label\":\"a\",\"tracking_uid\":\"1..2\""), "tracking_uid is not a DICOM UID"},
        {TOP("\"label\":\"a\",\"type\":\"liver\""), "type is not an object of value, scheme and meaning"},
        {TOP("\"label\":\"a\",\"type\":{\"value\":\"1\",\"scheme\":\"SCT\"}"), "type.meaning is missing"},
        {TOP("\"label\":\"a\",\"site\":{\"value\":\"12345678901234567\",\"scheme\":\"S\",\"meaning\":\"m\"}"),
         "site.value is longer than 16 characters"},
        {TOP("\"label\":\"a\",\"site\":{\"code\":\"1\"}"),
         "site.code is not a known member; did you mean value?"},
        {"{\"series_instance_uid\":\"1.2.x\",\"label\":\"a\",\"boxes\":[{" GOOD_BOX "}]}",
         "series_instance_uid is not a DICOM UID"},
        {"{\"series_instance_uid\":12,\"label\":\"a\",\"boxes\":[{" GOOD_BOX "}]}",
         "series_instance_uid is not a DICOM UID"},
        {"{\"label\":\"a\",\"boxes\":[{" GOOD_BOX "}]}",
         "boxes[0].slice needs series_instance_uid in the annotation"},
        {BOX("\"box\":[0,0,1,1]"), "boxes[0].slice or sop_instance_uid must say on which image this lies"},
        {BOX(GOOD_BOX ",\"sop_instance_uid\":\"1.2\""),
         "boxes[0].slice and sop_instance_uid are both there; give one"},
        {BOX(GOOD_BOX ",\"frame\":1"), "boxes[0].frame needs sop_instance_uid beside it"},
        {BOX("\"sop_instance_uid\":\"1.2\",\"frame\":0,\"box\":[0,0,1,1]"),
         "boxes[0].frame is 0, not in 1..65535"},
        {BOX("\"slice\":-1,\"box\":[0,0,1,1]"), "boxes[0].slice is -1, not in 0..65535"},
        {BOX("\"slice\":1.5,\"box\":[0,0,1,1]"), "boxes[0].slice is not a whole number"},
        {BOX("\"slice\":true,\"box\":[0,0,1,1]"), "boxes[0].slice is not a whole number"},
        {BOX("\"slice\":1"), "boxes[0].box is missing"},
        {BOX("\"slice\":1,\"box\":[0,0,1]"), "boxes[0].box is not a list of 4 numbers"},
        {BOX("\"slice\":1,\"box\":[0,0,1,1,1]"), "boxes[0].box is not a list of 4 numbers"},
        {BOX("\"slice\":1,\"box\":[0,0,1,\"1\"]"),
         "boxes[0].box has something other than a number at place 3"},
        {BOX("\"slice\":1,\"box\":[0,0,null,1]"),
         "boxes[0].box has something other than a number at place 2"},
        {BOX("\"slice\":1,\"box\":[0,0,1,1000001]"), "boxes[0].box has a number at place 3 that is not in"},
        {BOX("\"slice\":1,\"box\":[-1e300,0,1,1]"), "boxes[0].box has a number at place 0 that is not in"},
        {BOX("\"slice\":1,\"box\":[1,0,1,1]"), "boxes[0].box is empty"},
        {BOX("\"slice\":1,\"box\":[0,2,1,1]"), "boxes[0].box is empty"},
        {BOX(GOOD_BOX ",\"positive\":true"), "boxes[0].positive is not a known member"},
        {POINT("\"slice\":1,\"box\":[0,0,1,1]"), "points[0].box is not a known member"},
        {POINT("\"slice\":1,\"point\":[0]"), "points[0].point is not a list of 2 numbers"},
        {POINT("\"slice\":1,\"point\":[0,0],\"positive\":1"), "points[0].positive is neither true nor false"},
        {"{\"series_instance_uid\":\"1.2\",\"label\":\"a\",\"boxes\":[{" GOOD_BOX "},{\"slice\":1}]}",
         "boxes[1].box is missing"},
        {BOX(GOOD_BOX ",\"slices\":[1,2]"), "boxes[0].slice and slices are both there; give one"},
        {BOX("\"slices\":[2,1],\"box\":[0,0,1,1]"), "boxes[0].slices is not an ascending pair in 0..65535"},
        {BOX("\"slices\":[-1,1],\"box\":[0,0,1,1]"), "boxes[0].slices is not an ascending pair"},
        {BOX("\"slices\":[0,65536],\"box\":[0,0,1,1]"), "boxes[0].slices is not an ascending pair"},
        {BOX("\"slices\":[0,9999999999],\"box\":[0,0,1,1]"), "boxes[0].slices is not an ascending pair"},
        {BOX("\"slices\":[1],\"box\":[0,0,1,1]"), "boxes[0].slices is not a list of two whole numbers"},
        {BOX("\"slices\":3,\"box\":[0,0,1,1]"), "boxes[0].slices is not a list of two whole numbers"},
        {BOX("\"slices\":[0,4096],\"box\":[0,0,1,1]"), "make more than 4096 prompts"},
        {BOX("\"slices\":[0,1],\"sop_instance_uid\":\"1.2\",\"box\":[0,0,1,1]"),
         "boxes[0].slices and sop_instance_uid are both there; give one"},
        {"{\"label\":\"a\",\"boxes\":[{\"slices\":[0,1],\"box\":[0,0,1,1]}]}",
         "boxes[0].slices needs series_instance_uid in the annotation"},
        {BOX("\"box_mm\":[0,0,0,1,1]"), "boxes[0].box_mm is not a list of 6 numbers"},
        {BOX("\"box_mm\":[0,0,1,1,1,0]"), "boxes[0].box_mm is not [x0, y0, z0, x1, y1, z1] with the lower"},
        {BOX("\"box_mm\":[0,0,0,0,1,0]"), "boxes[0].box_mm has no area: two of its sides are 0 mm long"},
        {BOX("\"box_mm\":[0,0,0,1,1,1],\"slice\":1"), "boxes[0].slice and box_mm are both there; give one"},
        {BOX("\"box_mm\":[0,0,0,1,1,1],\"box\":[0,0,1,1]"), "boxes[0].box and box_mm are both there"},
        {"{\"label\":\"a\",\"boxes\":[{\"box_mm\":[0,0,0,1,1,1]}]}",
         "boxes[0].box_mm needs series_instance_uid or frame_of_reference_uid in the annotation"},
        {"{\"label\":\"a\",\"frame_of_reference_uid\":\"1.4\",\"boxes\":[{" GOOD_BOX "}]}",
         "boxes[0].slice needs series_instance_uid in the annotation"},
        {"{\"label\":\"a\",\"frame_of_reference_uid\":\"1.4\",\"series_instance_uid\":\"1.2\",\"boxes\":[{"
         "\"box_mm\":[0,0,0,1,1,1]}]}",
         "series_instance_uid and frame_of_reference_uid are both there; give one"},
        {POINT("\"point_mm\":[0,0]"), "points[0].point_mm is not a list of 3 numbers"},
        {POINT("\"point_mm\":[0,0,0],\"point\":[1,1]"), "points[0].point and point_mm are both there"},
        {POINT("\"slices\":[0,1],\"point\":[0,0]"), "points[0].slices is not a known member"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        srv_prompt *p = NULL;
        size_t n = 9;
        msa_error err = MSA_ERROR_INIT;
        if (parse(cases[i].text, &p, &n, &err) != MSA_E_PARSE) fail_msg("taken: %s", cases[i].text);
        if (strstr(err.what, cases[i].sentence) == NULL)
            fail_msg("got: %s\nwanted: %s\nfor: %s", err.what, cases[i].sentence, cases[i].text);
        assert_null(p);
        assert_int_equal(n, 0);
    }
}

/* A box on several slices, and what is in millimetres. */
static void three_dimensions(void **state)
{
    static const char *const by_series =
        "{\"series_instance_uid\": \"1.2.3\", \"label\": \"liver\","
        " \"boxes\": [{\"slices\": [4, 6], \"box\": [1, 2, 3, 4]}, {\"box_mm\": [-5, -4, -3, 2, 1, -3]}],"
        " \"points\": [{\"point_mm\": [1, 2, 3.5], \"positive\": false}]}";
    static const char *const by_frame =
        "{\"frame_of_reference_uid\": \"1.4\", \"boxes\": [{\"label\": \"a\", \"box_mm\": [0,0,0,1,1,1]},"
        " {\"label\": \"b\", \"sop_instance_uid\": \"1.9\", \"box\": [0,0,1,1]}]}";
    srv_prompt *p = NULL;
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    (void)state;
    if (parse(by_series, &p, &n, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(n, 5);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(p[k].prompt.space, DICOM_SPACE_IMAGE);
        assert_int_equal(p[k].prompt.slice, 4 + k);
        assert_true(p[k].prompt.x0 == 1 && p[k].prompt.y1 == 4);
    }
    assert_int_equal(p[3].prompt.kind, DICOM_PROMPT_BOX);
    assert_int_equal(p[3].prompt.space, DICOM_SPACE_PATIENT);
    assert_string_equal(p[3].prompt.series_uid, "1.2.3");
    assert_true(p[3].prompt.x0 == -5 && p[3].prompt.y0 == -4 && p[3].prompt.z0 == -3);
    assert_true(p[3].prompt.x1 == 2 && p[3].prompt.y1 == 1 && p[3].prompt.z1 == -3);
    assert_int_equal(p[4].prompt.kind, DICOM_PROMPT_POINT);
    assert_int_equal(p[4].prompt.space, DICOM_SPACE_PATIENT);
    assert_int_equal(p[4].prompt.positive, 0);
    assert_true(p[4].prompt.x0 == 1 && p[4].prompt.y0 == 2 && p[4].prompt.z0 == 3.5);
    free(p);
    if (parse(by_frame, &p, &n, &err) != MSA_OK) fail_msg("%s", err.what);
    assert_int_equal(n, 2);
    assert_string_equal(p[0].prompt.frame_of_reference_uid, "1.4");
    assert_string_equal(p[0].prompt.series_uid, "");
    assert_string_equal(p[1].prompt.sop_instance_uid, "1.9"); /* says more than the frame of reference */
    assert_string_equal(p[1].prompt.frame_of_reference_uid, "");
    free(p);
}

static void text_prompts_need_a_text_model(void **state)
{
    srv_prompt *p = NULL;
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    (void)state;
    assert_int_equal(parse("{\"series_instance_uid\":\"1.2\",\"text\":\"the liver\"}", &p, &n, &err),
                     MSA_E_UNSUPPORTED);
    assert_non_null(strstr(err.what, "text prompts come with a text model"));
}

static void number_of_items(void **state)
{
    (void)state;
    for (int count = 4096; count <= 4097; count++) {
        json_t *boxes = json_array();
        for (int i = 0; i < count; i++)
            (void)json_array_append_new(boxes,
                                        json_pack("{s:i, s:[i,i,i,i]}", "slice", i, "box", 0, 0, 1, 1));
        json_t *body =
            json_pack("{s:s, s:s, s:o}", "series_instance_uid", "1.2", "label", "x", "boxes", boxes);
        srv_prompt *p = NULL;
        size_t n = 0;
        msa_error err = MSA_ERROR_INIT;
        const msa_status status = srv_annotation_parse(body, &p, &n, &err);
        assert_int_equal(status, count == 4096 ? MSA_OK : MSA_E_PARSE);
        if (status == MSA_OK)
            assert_int_equal(p[4095].prompt.slice, 4095);
        else
            assert_non_null(strstr(err.what, "hold 4097 items, at most 4096 are taken"));
        free(p);
        json_decref(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything), cmocka_unit_test(refusals), cmocka_unit_test(three_dimensions),
        cmocka_unit_test(text_prompts_need_a_text_model), cmocka_unit_test(number_of_items)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
