#include "server/core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void printable(void **state)
{
    static const struct {
        const char *text;
        size_t size, chars;
        bool fine;
    } cases[] = {
        {"", 0, 0, true},
        {"liver", 5, 5, true},
        {"L\xc3\xa4sion \xe2\x82\xac \xf0\x9f\x98\x80", 16, 10, true},
        {"a\tb", 3, 0, false},
        {"a\x7f", 2, 0, false},
        {"a\0b", 3, 0, false},
        {"\xc2\x85", 2, 0, false},         /* C1 */
        {"\xc0\xaf", 2, 0, false},         /* overlong */
        {"\xe0\x80\xaf", 3, 0, false},     /* overlong */
        {"\xed\xa0\x80", 3, 0, false},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, 0, false}, /* beyond U+10FFFF */
        {"\xe2\x82", 2, 0, false},         /* cut off */
        {"\xe2\x80\xa8", 3, 0, false},     /* line separator */
        {"\xef\xbb\xbf", 3, 0, false},     /* byte order mark */
        {"\xef\xbf\xbf", 3, 0, false},     /* noncharacter */
        {"\x80", 1, 0, false},
        {"\xff", 1, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t chars = 99;
        if (srv_text_is_printable(cases[i].text, cases[i].size, &chars) != cases[i].fine)
            fail_msg("case %zu", i);
        if (cases[i].fine) assert_int_equal(chars, cases[i].chars);
    }
}

static void uid(void **state)
{
    static const char *const good[] = {"1", "0", "1.2.840.10008.1.2", "2.25.0",
                                       "1.2.345678901234567890123456789012345678901234567890123456789012"};
    static const char *const bad[] = {
        "",     ".",     "1.",   ".1",
        "1..2", "01.2",  "1.02", "1.2a",
        "1.2 ", "1.2\n", "x",    "1.2.3456789012345678901234567890123456789012345678901234567890123"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!srv_text_is_uid(good[i])) fail_msg("%s is a UID", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (srv_text_is_uid(bad[i])) fail_msg("%s is no UID", bad[i]);
}

static void distance(void **state)
{
    (void)state;
    assert_int_equal(srv_text_distance("port", "prot"), 2);
    assert_int_equal(srv_text_distance("port", "port"), 0);
    assert_int_equal(srv_text_distance("", "abc"), 3);
    assert_int_equal(srv_text_distance("kitten", "sitting"), 3);
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(srv_text_distance(longer, ""), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(printable), cmocka_unit_test(uid),
                                       cmocka_unit_test(distance)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
