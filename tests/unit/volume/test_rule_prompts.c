/* What rules do to prompts and objects: a box where nobody drew one, names and codes where nobody gave any.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/segment/default_box.h"
#include "server/segment/naming.h"

#define ROWS 60
#define COLS 80

static float slice[ROWS * COLS];

static void fill(int x0, int y0, int x1, int y1, float value)
{
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            slice[y * COLS + x] = value;
}

static void check_box(int32_t percent, double x0, double y0, double x1, double y1)
{
    dicom_prompt box = {0};
    srv_default_box_of(&box, slice, ROWS, COLS, percent);
    assert_float_equal(box.x0, x0, 1e-9);
    assert_float_equal(box.y0, y0, 1e-9);
    assert_float_equal(box.x1, x1, 1e-9);
    assert_float_equal(box.y1, y1, 1e-9);
}

static void a_box_in_the_middle_of_the_body(void **state)
{
    (void)state;
    fill(0, 0, COLS, ROWS, -1000);
    fill(20, 10, 60, 50, 40);
    check_box(100, 20, 10, 60, 50);
    check_box(50, 30, 20, 50, 40);
    check_box(5, 39, 29, 41, 31);
    fill(0, 55, 6, 57, 200); /* a piece of the table, less than a hundredth of the body on either side */
    check_box(100, 20, 10, 60, 50);
    slice[0] = 3000; /* a bright pixel shifts no cut far enough */
    check_box(100, 20, 10, 60, 50);
}

static void what_has_no_body_is_body_all_over(void **state)
{
    (void)state;
    fill(0, 0, COLS, ROWS, 7);
    check_box(100, 0, 0, COLS, ROWS);
    check_box(50, 20, 15, 60, 45);
    slice[5] = 8;
    dicom_prompt box = {0};
    srv_default_box_of(&box, slice, ROWS, COLS, 50);
    assert_true(box.x0 < box.x1 && box.y0 < box.y1);
    const float one = 3;
    srv_default_box_of(&box, &one, 1, 1, 50);
    assert_float_equal(box.x0, 0.25, 1e-9);
    assert_float_equal(box.x1, 0.75, 1e-9);
}

typedef struct made {
    srv_objects objects;
    dicom_segment names[6];
    size_t origin[6];
    srv_segment_request request;
} made;

static void make(made *m, const char *const *labels, size_t n)
{
    memset(m, 0, sizeof *m);
    m->objects.n = n;
    m->objects.names = m->names;
    m->objects.origin = m->origin;
    for (size_t i = 0; i < n; i++) {
        m->origin[i] = i;
        (void)snprintf(m->names[i].label, sizeof m->names[i].label, "%s", labels[i]);
    }
}

static void names_and_codes(void **state)
{
    (void)state;
    static const char *const labels[] = {"Object", "Object 12", "Liver", "Object x", "lesion 2", "cyst"};
    static const srv_rule rule = {.default_label = "lesion",
                                  .labels = "lesion=SCT:52988006:Lesion; cyst=SCT:441457006:Cyst"};
    made m;
    make(&m, labels, 6);
    m.names[5].type = (dicom_code){"1", "SCT", "what its prompt says"};
    m.request.rule = &rule;
    srv_objects_take_rules(&m.objects, &m.request);
    assert_string_equal(m.names[0].label, "lesion");
    assert_string_equal(m.names[1].label, "lesion 3"); /* somebody has called one lesion 2 */
    assert_string_equal(m.names[2].label, "Liver");
    assert_string_equal(m.names[3].label, "Object x");
    assert_string_equal(m.names[0].type.value, "52988006");
    assert_string_equal(m.names[1].type.value, "52988006");
    assert_string_equal(m.names[2].type.value, "");
    assert_string_equal(m.names[4].type.value, "");
    assert_string_equal(m.names[5].type.value, "1");
    assert_false(m.names[0].automatic);
}

static void each_object_by_the_rule_of_its_prompt(void **state)
{
    (void)state;
    static const char *const labels[] = {"Object", "Object 2"};
    static const srv_rule one = {.default_label = "kidney"}, none = {0};
    const srv_rule *const rules[] = {&none, &one};
    made m;
    make(&m, labels, 2);
    m.request.prompt_rules = rules;
    m.request.by_itself = true;
    srv_objects_take_rules(&m.objects, &m.request);
    assert_string_equal(m.names[0].label, "Object");
    assert_string_equal(m.names[1].label, "kidney");
    assert_true(m.names[0].automatic);
    make(&m, labels, 2);
    srv_objects_take_rules(&m.objects, &m.request); /* no rule at all: as in `msa segment` */
    assert_string_equal(m.names[1].label, "Object 2");
}

static void a_long_label_keeps_room_for_its_number(void **state)
{
    (void)state;
    static const char *const labels[] = {"Object 1", "Object 2", "Object 3"};
    static srv_rule rule;
    made m;
    memset(rule.default_label, 'x', sizeof rule.default_label - 1);
    make(&m, labels, 3);
    m.request.rule = &rule;
    srv_objects_take_rules(&m.objects, &m.request);
    assert_string_not_equal(m.names[1].label, m.names[2].label);
    assert_string_equal(m.names[2].label + strlen(m.names[2].label) - 2, " 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_in_the_middle_of_the_body),
        cmocka_unit_test(what_has_no_body_is_body_all_over),
        cmocka_unit_test(names_and_codes),
        cmocka_unit_test(each_object_by_the_rule_of_its_prompt),
        cmocka_unit_test(a_long_label_keeps_room_for_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
