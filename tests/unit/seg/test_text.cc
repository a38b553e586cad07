#include "dicom/seg/text.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

using dicom::seg::charset;

static void expect(const char *set, const char *in, const char *want, size_t max_chars = 64)
{
    const std::string got = charset(set).encode(in, max_chars);
    if (got != want) fail_msg("'%s' in '%s' became '%s', wanted '%s'", in, set, got.c_str(), want);
}

static void sets(void **)
{
    expect("", "Leberl\xc3\xa4sion", "Leberlasion");
    expect("ISO_IR 6", "\xe8\x82\x9d", "?");
    expect("ISO_IR 100", "L\xc3\xa4sion", "L\xe4sion");
    expect("ISO_IR 100", "\xc5\x82uk", "luk");
    expect("ISO_IR 192", "\xe8\x82\x9d\xf0\x9f\xab\x81", "\xe8\x82\x9d\xf0\x9f\xab\x81");
    expect("ISO_IR 144", "\xd0\xbf", "\xdf");
    expect("ISO 2022 IR 100\\ISO 2022 IR 87", "\xc3\xa9", "\xe9");
    expect("\\ISO 2022 IR 87", "\xc3\xa9", "e");
    expect("GB18030", "\xe8\x82\x9d", "\xb8\xce");
    expect("no such set", "\xc3\xa9", "e");
}

/* Examples of PS3.5 annexes H and I, and sets in turn. */
static void code_extensions(void **)
{
    /* Yamada Tarou in kanji, hiragana; with half-width katakana first */
    const char *yamada = "\xe5\xb1\xb1\xe7\x94\xb0",
               *yamada_kana = "\xef\xbe\x94\xef\xbe\x8f\xef\xbe\x80\xef\xbe\x9e";
    expect("\\ISO 2022 IR 87", yamada, "\x1b$B;3ED\x1b(B");
    expect("ISO 2022 IR 13\\ISO 2022 IR 87", yamada, "\x1b$B;3ED\x1b(J");
    expect("ISO 2022 IR 13\\ISO 2022 IR 87", yamada_kana, "\xd4\xcf\xc0\xde");
    expect("\\ISO 2022 IR 87", "a\xe5\xb1\xb1 b\xe7\x94\xb0", "a\x1b$B;3\x1b(B b\x1b$BED\x1b(B");
    /* Hong Gildong: G1 stays, ASCII beside it */
    const char *hong = "\xed\x99\x8d a\xea\xb8\xb8";
    expect("\\ISO 2022 IR 149", hong, "\x1b$)C\xc8\xab a\xb1\xe6");
    expect("\\ISO 2022 IR 58", "\xe7\x8e\x8b", "\x1b$)A\xcd\xf5");
    /* Latin-1, Greek, Latin-1 again */
    expect("ISO 2022 IR 100\\ISO 2022 IR 126", "\xc3\xa4\xce\xb1\xc3\xa4", "\xe4\x1b-F\xe1\x1b-A\xe4");
    assert_true(charset("\\ISO 2022 IR 87").holds(yamada));
    assert_false(charset("\\ISO 2022 IR 149").holds("\xe0\xb9\x81"));
    assert_true(charset("").holds("liver"));
}

static void no_value_is_broken(void **)
{
    expect("ISO_IR 192", "a\\b\nc\x7f", "a/b c");
    expect("ISO_IR 192", "  x  ", "x");
    expect("ISO_IR 192", "\xff\xc3", "??");
    expect("ISO_IR 192", "\xc0\xaf", "??");                                  /* an overlong '/' */
    expect("ISO_IR 192", "\xed\xa0\x80", "?");                               /* half a surrogate pair */
    expect("ISO_IR 192", "\xc3\xa4\xc3\xa4\xc3\xa4", "\xc3\xa4\xc3\xa4", 2); /* characters, not bytes */
    expect("", "", "");
    expect("", "   ", "");
}

static void decimals(void **)
{
    assert_string_equal(dicom::seg::decimal_string(2.4999999999).c_str(), "2.5");
    assert_string_equal(dicom::seg::decimal_string(6.5).c_str(), "6.5");
    assert_string_equal(dicom::seg::decimal_string(3).c_str(), "3");
    assert_string_equal(dicom::seg::decimal_string(1.0 / 3).c_str(), "0.333333");
    assert_true(dicom::seg::decimal_string(-123456789012.123).size() <= 16);
    assert_true(dicom::seg::decimal_string(1.23456789e-9).size() <= 16);
}

static void grammar(void **)
{
    assert_true(dicom::seg::uid_valid("1.2.840.0.1"));
    for (const char *bad : {"", ".1", "1.", "1..2", "1.02", "1.2a", " 1.2",
                            "1.2.3456789012345678901234567890123456789012345678901234567890123"})
        assert_false(dicom::seg::uid_valid(bad));
    assert_true(dicom::seg::date_valid("20240229"));
    for (const char *bad : {"", "2024", "2024.01.02", "20241301", "20240100", "2024010a"})
        assert_false(dicom::seg::date_valid(bad));
    for (const char *good : {"12", "1230", "235959", "235959.1", "000000.123456"})
        assert_true(dicom::seg::time_valid(good));
    for (const char *bad : {"", "1", "240000", "126000", "12:30", "1230.5", "123059.", "123059.1234567"})
        assert_false(dicom::seg::time_valid(bad));
}

int main()
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sets), cmocka_unit_test(code_extensions),
                                       cmocka_unit_test(no_value_is_broken), cmocka_unit_test(decimals),
                                       cmocka_unit_test(grammar)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
