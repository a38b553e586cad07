/* One rule: what it is for, why it is not for something else, and what it says. */
#include "server/core/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const srv_rule_subject liver = {.modality = "CT",
                                       .body_part = "LIVER",
                                       .study = "Abdomen with contrast",
                                       .series = "portal venous [2mm]",
                                       .protocol = "ABD^routine",
                                       .sender = "CT_ROOM1",
                                       .orientation = "axial",
                                       .slices = 120,
                                       .spacing_mm = 2.5};

static void fits(srv_rule rule, const srv_rule_subject *subject)
{
    char why[SRV_RULE_WHY_MAX] = "";
    if (!srv_rule_fits(&rule, subject, NULL, why)) fail_msg("%s", why);
    assert_true(srv_rule_fits(&rule, subject, NULL, NULL));
}

static void is_not(srv_rule rule, const srv_rule_subject *subject, const char *wanted)
{
    char why[SRV_RULE_WHY_MAX] = "";
    assert_false(srv_rule_fits(&rule, subject, NULL, NULL));
    assert_false(srv_rule_fits(&rule, subject, NULL, why));
    assert_string_equal(why, wanted);
}

static void each_thing_that_a_rule_is_for(void **state)
{
    (void)state;
    static const srv_rule_subject unknown;
    fits((srv_rule){0}, &liver);
    fits((srv_rule){.modality = "*", .study = "*", .orientation = "*", .sender = "*"}, &unknown);
    fits((srv_rule){.modality = "CT", .body_part = "liver"}, &liver);
    is_not((srv_rule){.modality = "MR"}, &liver, "it is for the modality MR, not CT");
    is_not((srv_rule){.body_part = "HEAD"}, &unknown,
           "it is for the body part HEAD, and the series does not say");
    fits((srv_rule){.study = "*CONTRAST"}, &liver);
    fits((srv_rule){.series = "portal*\?mm]"}, &liver);
    fits((srv_rule){.protocol = "abd^*"}, &liver);
    fits((srv_rule){.sender = "ct_room[12]"}, &liver);
    /* what the series is called is not told: people write names there */
    is_not((srv_rule){.series = "*arterial*"}, &liver,
           "it is for a Series Description like *arterial*, and that of the series is not");
    is_not((srv_rule){.study = "a*"}, &unknown,
           "it is for a Study Description like a*, and the series has none");
    is_not((srv_rule){.protocol = "x"}, &liver,
           "it is for a Protocol Name like x, and that of the series is not");
    is_not((srv_rule){.sender = "MR*"}, &liver,
           "it is for a calling AE title like MR*, and that of the series is not");
    fits((srv_rule){.orientation = "axial"}, &liver);
    is_not((srv_rule){.orientation = "coronal"}, &liver, "it is for the orientation coronal, not axial");
    fits((srv_rule){.slices_min = 120, .slices_max = 120}, &liver);
    is_not((srv_rule){.slices_min = 121}, &liver,
           "it is for series of at least 121 slices, and this one has 120");
    is_not((srv_rule){.slices_max = 119}, &liver,
           "it is for series of at most 119 slices, and this one has 120");
    is_not((srv_rule){.slices_max = 119}, &unknown,
           "it is for series of certain numbers of slices, and how many this one has is not known");
    fits((srv_rule){.spacing_max_mm = 2.5}, &liver);
    fits((srv_rule){.spacing_max_mm = 2.4999}, &liver); /* headers round */
    is_not((srv_rule){.spacing_max_mm = 2.4}, &liver,
           "it is for slices at most 2.4 mm apart, and these are 2.5 mm");
    is_not((srv_rule){.spacing_max_mm = 2.4}, &unknown,
           "it is for slices at most 2.4 mm apart, and how far these are is not known");
    is_not((srv_rule){.model = -1, .adapter = "zoo"}, &liver, "its adapter zoo cannot be used");
}

static void what_it_is_for_in_words(void **state)
{
    (void)state;
    char text[SRV_RULE_TEXT_MAX];
    const srv_rule all = {.modality = "*"},
                   some = {.modality = "CT", .series = "*thin*", .slices_min = 20, .spacing_max_mm = 1.5};
    srv_rule *longest = test_calloc(1, sizeof *longest);
    srv_rule_describe(&all, text);
    assert_string_equal(text, "it is for everything");
    srv_rule_describe(&some, text);
    assert_string_equal(
        text, "it is for the modality CT, a Series Description like *thin*, at least 20 slices, slices at "
              "most 1.5 mm apart");
    memset(longest->study, 'x', sizeof longest->study - 1);
    memcpy(longest->series, longest->study, sizeof longest->series);
    memcpy(longest->protocol, longest->study, sizeof longest->protocol);
    memcpy(longest->label, longest->study, sizeof longest->label);
    memset(longest->modality, 'x', sizeof longest->modality - 1);
    memset(longest->sender, 'x', sizeof longest->sender - 1);
    longest->slices_max = longest->slices_min = INT32_MAX;
    srv_rule_describe(longest, text);
    assert_true(strlen(text) < sizeof text);
    test_free(longest);
}

static void labels_are_of_prompts(void **state)
{
    (void)state;
    const srv_rule by_name = {.label = "Tumour"}, by_code = {.label = "sct:108369006"};
    const dicom_prompt tumour = {.label = "tumour"},
                       lesion = {.label = "x", .type = {"108369006", "SCT", "Neoplasm"}};
    const dicom_prompt nameless = {0};
    char why[SRV_RULE_WHY_MAX];
    assert_true(srv_rule_fits(&by_name, &liver, &tumour, NULL));
    assert_true(srv_rule_fits(&by_code, &liver, &lesion, NULL));
    assert_false(srv_rule_fits(&by_name, &liver, &lesion, why));
    assert_string_equal(why, "it is for the label Tumour, not x");
    assert_false(srv_rule_fits(&by_code, &liver, &nameless, why));
    assert_string_equal(why, "it is for the label sct:108369006, not one without a name");
    assert_false(srv_rule_fits(&by_name, &liver, NULL, why));
    assert_string_equal(why, "it is for prompts of the label Tumour only");
}

static void a_rule_for_all(void **state)
{
    (void)state;
    const srv_rule all = {.modality = "*"}, some = {.modality = "CT"}, few = {.slices_max = 5},
                   many = {.slices_min = 5}, fine = {.spacing_max_mm = 5}, named = {.label = "x"},
                   broken = {.model = -1};
    assert_true(srv_rule_is_for_all(&all));
    const srv_rule *const others[] = {&some, &few, &many, &fine, &named, &broken};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(srv_rule_is_for_all(others[i]));
}

static void orientations(void **state)
{
    (void)state;
    static const struct {
        double row[3], col[3];
        const char *name;
    } cases[] = {
        {{1, 0, 0}, {0, 1, 0}, "axial"},
        {{-1, 0, 0}, {0, 1, 0}, "axial"},
        {{0, 1, 0}, {0, 0, -1}, "sagittal"},
        {{1, 0, 0}, {0, 0, -1}, "coronal"},
        {{1, 0, 0}, {0, 0.882947593, -0.469471563}, "axial"}, /* a gantry tilted by 28 degrees */
        {{1, 0, 0}, {0, 0.8480481, -0.5299192}, "oblique"},   /* by 32 */
        {{0.7071068, 0.7071068, 0}, {0, 0, -1}, "oblique"},   /* along the heart's axis */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(srv_orientation_of(cases[i].row, cases[i].col), cases[i].name);
}

static void codes_of_labels(void **state)
{
    (void)state;
    const srv_rule rule = {.labels = "Tumour = SCT:108369006:Neoplasm, malignant: any;liver=SCT:10200004 ; "};
    dicom_code code;
    assert_null(srv_rule_labels_wrong(rule.labels));
    assert_true(srv_rule_code_of(&rule, "tumour", &code));
    assert_string_equal(code.scheme, "SCT");
    assert_string_equal(code.value, "108369006");
    assert_string_equal(code.meaning, "Neoplasm, malignant: any");
    assert_true(srv_rule_code_of(&rule, "LIVER", &code));
    assert_string_equal(code.value, "10200004");
    assert_string_equal(code.meaning, "liver");
    assert_false(srv_rule_code_of(&rule, "spleen", &code));
    assert_false(srv_rule_code_of(&rule, "", &code));
    assert_null(srv_rule_labels_wrong(""));
    static const char *const wrong[] = {
        "a", "a=", "a=SCT", "a=SCT:", "=SCT:1", "a=:1", "a=SCT:1:", "a=SCT:1;b", "a=12345678901234567:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (srv_rule_labels_wrong(wrong[i]) == NULL) fail_msg("%s was taken", wrong[i]);
}

static void destinations(void **state)
{
    (void)state;
    const srv_rule all = {.destinations = "*"}, none = {.destinations = "none"},
                   two = {.destinations = "pacs, viewer"}, unset = {0};
    assert_true(srv_rule_sends_to(&all, "pacs") && srv_rule_sends_to(&unset, "pacs"));
    assert_false(srv_rule_sends_to(&none, "pacs"));
    assert_true(srv_rule_sends_to(&two, "pacs") && srv_rule_sends_to(&two, "viewer"));
    assert_false(srv_rule_sends_to(&two, "pac") || srv_rule_sends_to(&two, "view") ||
                 srv_rule_sends_to(&two, "pacs2"));
}

static void policies_and_titles(void **state)
{
    (void)state;
    static const char *const names[] = {"wait", "auto", "default-box", "skip"};
    const srv_rule unset = {.number = 7};
    char title[64];
    for (int i = 0; i < 4; i++) {
        srv_rule rule = {.name = "liver"};
        srv_policy policy;
        (void)snprintf(rule.prompts, sizeof rule.prompts, "%s", names[i]);
        assert_int_equal(srv_rule_policy(&rule), i);
        assert_string_equal(srv_policy_name((srv_policy)i), names[i]);
        assert_true(srv_policy_named(names[i], &policy) && policy == (srv_policy)i);
        srv_rule_title(&rule, title);
        assert_string_equal(title, "liver");
    }
    assert_int_equal(srv_rule_policy(&unset), SRV_POLICY_WAIT);
    srv_rule_title(&unset, title);
    assert_string_equal(title, "7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thing_that_a_rule_is_for),
        cmocka_unit_test(labels_are_of_prompts),
        cmocka_unit_test(what_it_is_for_in_words),
        cmocka_unit_test(a_rule_for_all),
        cmocka_unit_test(orientations),
        cmocka_unit_test(codes_of_labels),
        cmocka_unit_test(destinations),
        cmocka_unit_test(policies_and_titles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
