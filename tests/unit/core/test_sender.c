/* Who may send: addresses and ranges, certificates, and what a refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/sender.h"

#define FINGERPRINT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *ranges, *address;
        bool in;
    } cases[] = {
        {"*", "10.1.2.3", true},
        {"*", "unknown", true},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.4", false},
        {"10.1.2.3", "unknown", false},
        {"10.1.0.0/16", "10.1.255.255", true},
        {"10.1.0.0/16", "10.2.0.0", false},
        {"10.1.2.128/25", "10.1.2.127", false},
        {"10.1.2.128/25", "10.1.2.200", true},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "10.1.2.3", true},
        {"10.1.0.0/16", "::ffff:10.1.2.3", true}, /* as a socket for both shows it */
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"192.168.1.1, 10.1.2.3", "10.1.2.3", true},
        {"192.168.1.1 10.0.0.0/8", "10.1.2.3", true},
        {"192.168.1.1,10.0.0.0/8", "11.1.2.3", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (srv_address_in(cases[i].ranges, cases[i].address) != cases[i].in)
            fail_msg("%s in %s is not %d", cases[i].address, cases[i].ranges, cases[i].in);
}

static void test_texts_that_are_wrong(void **state)
{
    (void)state;
    static const char *const ranges[] = {"",           " ",        "10.1.2",    "10.1.2.3/33", "10.1.2.3/",
                                         "10.1.2.3/x", "pacs",     "::/129",    "10.1.2.3/-1", "10.1.2.3, *",
                                         "1.2.3.4/8/", "10.0.0.0/0008"};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (srv_sender_addresses_wrong(ranges[i]) == NULL) fail_msg("\"%s\" passes", ranges[i]);
    assert_null(srv_sender_addresses_wrong("10.1.2.3, 2001:db8::/32 192.168.0.0/16"));
    static const char *const certificates[] = {"x", "subject:", "00:11", FINGERPRINT "00", "CN=pacs"};
    for (size_t i = 0; i < sizeof certificates / sizeof *certificates; i++)
        if (srv_sender_certificate_wrong(certificates[i]) == NULL) fail_msg("\"%s\" passes", certificates[i]);
    assert_null(srv_sender_certificate_wrong(FINGERPRINT));
    assert_null(srv_sender_certificate_wrong("00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:"
                                             "AA:BB:CC:DD:EE:FF"));
    assert_null(srv_sender_certificate_wrong("subject:CN=pacs"));
    assert_null(srv_sender_certificate_wrong("*"));
    assert_null(srv_sender_certificate_wrong(""));
}

static const srv_sender entries[] = {
    {.name = "ct", .ae_title = "CT1", .addresses = "10.0.0.0/8"},
    {.name = "pacs", .ae_title = "PACS", .addresses = "10.1.2.3", .certificate = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:"
                                                                                 "FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:"
                                                                                 "ee:ff"},
    {.name = "pacs-b", .ae_title = "PACS", .addresses = "10.1.2.4", .certificate = "subject:CN=pacs,O=Clinic"},
    {.name = "anyone", .ae_title = "*", .addresses = "192.168.0.0/16", .certificate = "*"},
};

static const char *found(const char *ae, const char *peer, const char *tls, const char *certificate, const char *subject,
                         char why[MSA_ERROR_WHAT_MAX])
{
    dicom_assoc_info who = {0};
    (void)snprintf(who.calling_ae, sizeof who.calling_ae, "%s", ae);
    (void)snprintf(who.peer, sizeof who.peer, "%s", peer);
    (void)snprintf(who.tls, sizeof who.tls, "%s", tls);
    (void)snprintf(who.certificate, sizeof who.certificate, "%s", certificate);
    (void)snprintf(who.subject, sizeof who.subject, "%s", subject);
    why[0] = '\0';
    const srv_sender *s = srv_sender_find(entries, sizeof entries / sizeof *entries, &who, why);
    return s != NULL ? s->name : "";
}

static void test_all_three_must_fit(void **state)
{
    (void)state;
    char why[MSA_ERROR_WHAT_MAX];
    assert_string_equal(found("CT1", "10.9.9.9", "", "", "", why), "ct");
    assert_string_equal(found("PACS", "10.1.2.3", "TLSv1.3", FINGERPRINT, "CN=x", why), "pacs");
    assert_string_equal(found("PACS", "10.1.2.4", "TLSv1.3", "ab", "CN=pacs,O=Clinic", why), "pacs-b");
    assert_string_equal(found("WHO", "192.168.7.7", "TLSv1.2", "ab", "CN=y", why), "anyone");

    assert_string_equal(found("CT2", "10.9.9.9", "", "", "", why), "");
    assert_non_null(strstr(why, "\"CT2\" called from 10.9.9.9, which senders entry anyone does not allow"));
    assert_string_equal(found("CT1", "11.9.9.9", "", "", "", why), "");
    assert_non_null(strstr(why, "senders entry ct does not allow"));
    assert_string_equal(found("PACS", "10.1.2.3", "", "", "", why), "");
    assert_non_null(strstr(why, "called without TLS, and senders entry pacs asks for one"));
    assert_string_equal(found("PACS", "10.1.2.3", "TLSv1.3", "", "", why), "");
    assert_non_null(strstr(why, "called without a certificate"));
    assert_string_equal(found("PACS", "10.1.2.3", "TLSv1.3", "ab", "CN=pacs,O=Clinic", why), "");
    assert_non_null(strstr(why, "showed the certificate ab, which is not that of senders entry pacs"));
    assert_string_equal(found("PACS", "10.1.2.4", "TLSv1.3", FINGERPRINT, "CN=pacs", why), "");
    assert_non_null(strstr(why, "showed a certificate of CN=pacs, which is not that of senders entry pacs-b"));
}

static void test_no_entry_has_the_title(void **state)
{
    (void)state;
    char why[MSA_ERROR_WHAT_MAX];
    dicom_assoc_info who = {.calling_ae = "CT2", .peer = "10.0.0.1"};
    assert_null(srv_sender_find(entries, 3, &who, why));
    assert_non_null(strstr(why, "\"CT2\" is not among the senders: add an entry for it (from 10.0.0.1)"));
    assert_true(srv_sender_knows_address(entries, 0, "1.2.3.4"));
    assert_true(srv_sender_knows_address(entries, 3, "10.1.2.4"));
    assert_false(srv_sender_knows_address(entries, 3, "192.168.0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_texts_that_are_wrong),
        cmocka_unit_test(test_all_three_must_fit),
        cmocka_unit_test(test_no_entry_has_the_title),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
