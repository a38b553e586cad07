#include "dicom/seg/codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const dicom_code none = {"", "", ""};

static void expect(const char *label, const char *category, const char *type, const char *modifier)
{
    dicom_meaning m;
    dicom_meaning_find(&m, label, &none, &none);
    if (strcmp(m.category.value, category) != 0 || strcmp(m.type.value, type) != 0 ||
        strcmp(m.modifier.value, modifier) != 0)
        fail_msg("'%s' became %s / %s / '%s', wanted %s / %s / '%s'", label, m.category.value, m.type.value,
                 m.modifier.value, category, type, modifier);
}

static void labels_have_codes(void **unused)
{
    (void)unused;
    expect("Liver", "123037004", "10200004", "");
    expect("KIDNEY_LEFT", "123037004", "64033007", "7771000");
    expect("right kidney 2", "123037004", "64033007", "24028007");
    expect("r. lung", "123037004", "39607008", "24028007");
    expect("left ventricle", "123037004", "87878005", "");
    expect("liver lesion", "49755003", "52988006", "");
    expect("Lesion 12", "49755003", "52988006", "");
    expect("Lung-Nodule", "49755003", "27925004", "");
    expect("brain tumour", "49755003", "108369006", "");
    expect("Mass", "49755003", "4147007", "");
    expect("mediastinal lymph nodes", "123037004", "59441001", "");
    expect("Vertebra L1", "123037004", "51282000", "");
}

static void the_rest_is_tissue(void **unused)
{
    (void)unused;
    expect("", "85756007", "85756007", "");
    expect("liver vessels", "85756007", "85756007", ""); /* not the liver */
    expect("massage", "85756007", "85756007", "");
    expect("_-/", "85756007", "85756007", "");
    expect("12", "85756007", "85756007", "");
    expect("left", "85756007", "85756007", "");
    expect("Leberl\xc3\xa4sion", "85756007", "85756007", "");
    char longest[DICOM_LABEL_MAX];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    expect(longest, "85756007", "85756007", "");
}

static void callers_codes_go_first(void **unused)
{
    (void)unused;
    const dicom_code spleen = {"78961009", "SCT", "Spleen"},
                     anatomy = {"123037004", "SCT", "Anatomical Structure"};
    const dicom_code other = {"123456789", "SCT", "Something else"}, own = {"Tissue9", "99LOCAL", "Spleen"};
    const dicom_code retired = {"T-62000", "SRT", "Liver"}, half = {"78961009", "SCT", ""};
    dicom_meaning m;
    dicom_meaning_find(&m, "liver", &none, &spleen);
    assert_string_equal(m.type.value, "78961009");
    assert_string_equal(m.category.value, "123037004"); /* the table knows where a spleen belongs */
    dicom_meaning_find(&m, "liver", &anatomy, &other);
    assert_string_equal(m.type.value, "123456789");
    assert_string_equal(m.category.value, "123037004");
    dicom_meaning_find(&m, "roi 77 x", &none, &own); /* a private scheme: the meaning is looked up */
    assert_string_equal(m.type.value, "78961009");
    assert_string_equal(m.type.scheme, "SCT");
    dicom_meaning_find(&m, "something", &anatomy, &retired);
    assert_string_equal(m.type.value, "10200004");
    dicom_meaning_find(&m, "something", &none, &half);
    assert_string_equal(m.type.value, "85756007");
}

static void colours_differ(void **unused)
{
    (void)unused;
    assert_true(dicom_palette_n >= 12);
    for (size_t i = 0; i < dicom_palette_n; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(&dicom_palette[i], &dicom_palette[k], sizeof dicom_palette[0]);
}

/* Known pairs from CIE: white is L* 100, a* b* 0; red in D50 is about 54.3, 80.8, 69.9. */
static void red_is_red(void **unused)
{
    (void)unused;
    const dicom_label *aorta = dicom_label_find("aorta", NULL);
    assert_non_null(aorta);
    const double l = aorta->colour.lab[0] * 100.0 / 65535, a = aorta->colour.lab[1] * 255.0 / 65535 - 128;
    assert_true(l > 50 && l < 65);
    assert_true(a > 35 && a < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels_have_codes),
                                       cmocka_unit_test(the_rest_is_tissue),
                                       cmocka_unit_test(callers_codes_go_first),
                                       cmocka_unit_test(colours_differ), cmocka_unit_test(red_is_red)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
