/* The parts of the network code that need no network. */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "dicom/net/associate_rq.h"
#include "dicom/net/file_meta.h"
#include "dicom/net/negotiate.h"
#include "dicom/net/status.h"

/* Last: it defines macros with names as plain as `fail`. */
extern "C" {
#include <cmocka.h>
}

using namespace dicom;

static void test_status_table(void **)
{
    static const struct {
        msa_status ours;
        uint16_t theirs;
    } rows[] = {{MSA_OK, 0x0000},          {MSA_E_NOMEM, 0xA700},     {MSA_E_IO, 0xA700},
                {MSA_E_BUSY, 0xA700},      {MSA_E_PARSE, 0xC000},     {MSA_E_UNSUPPORTED, 0xC000},
                {MSA_E_INVALID, 0x0110},   {MSA_E_INTERNAL, 0x0110},  {MSA_E_CANCELED, 0x0110},
                {MSA_E_NOT_FOUND, 0x0110}, {msa_status(-12), 0x0110}, {msa_status(5), 0x0110}};
    for (const auto &row : rows)
        assert_int_equal(store_status(row.ours), row.theirs);
}

static void test_delivery_table(void **)
{
    for (unsigned s : {0x0000U, 0x0001U, 0x0107U, 0x0116U, 0x0111U, 0xB000U, 0xB006U, 0xB007U, 0xBFFFU})
        assert_int_equal(delivery_outcome(uint16_t(s)), DICOM_DELIVERED);
    for (unsigned s : {0xA700U, 0xA7FFU, 0x0110U, 0x0213U, 0xFE00U})
        assert_int_equal(delivery_outcome(uint16_t(s)), DICOM_RETRY);
    for (unsigned s : {0xA900U, 0xC000U, 0xCFFFU, 0x0122U, 0x0124U, 0x0117U, 0xFFFFU})
        assert_int_equal(delivery_outcome(uint16_t(s)), DICOM_REFUSED);
    for (unsigned s = 0; s <= 0xFFFF; s++)
        assert_non_null(status_meaning(uint16_t(s)));
}

static void test_uids(void **)
{
    const std::string longest(64, '1'), longer(65, '1');
    for (const char *good : {"1", "1.2.840.10008.1.2", "2.25.00", longest.c_str()})
        assert_true(is_uid(good));
    for (const char *bad : {"", "1.2.a", "../1", "1 ", "1.2\n", "1/2", longer.c_str()})
        assert_false(is_uid(bad));
}

static void test_file_meta(void **)
{
    dicom_store_info info = {"1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1"};
    const std::string meta = file_meta(info);
    assert_int_equal(meta.size() % 2, 0);
    assert_true(meta.substr(0, 128) == std::string(128, '\0'));
    assert_true(meta.substr(128, 4) == "DICM");
    const unsigned char *p = reinterpret_cast<const unsigned char *>(meta.data()) + 140;
    assert_int_equal(p[0] | p[1] << 8, int(meta.size() - 144));
    assert_true(meta.find("1.2.3") != std::string::npos);
    assert_true(file_meta(info) == meta);
}

static std::string item(int type, const std::string &body)
{
    return std::string{char(type), 0, char(body.size() >> 8), char(body.size())} + body;
}

/* An A-ASSOCIATE-RQ with `n` contexts. */
static std::string request(int n, const std::string &more_user = "")
{
    std::string items = item(0x10, "1.2.840.10008.3.1.1.1");
    for (int i = 0; i < n; i++)
        items += item(0x20, std::string{char(2 * i + 1), 0, 0, 0} + item(0x30, "1.2") +
                                item(0x40, "1.2.840.10008.1.2"));
    items += item(0x50, item(0x51, std::string(4, '\1')) + item(0x52, "1.2.3") + more_user);
    const size_t size = 68 + items.size();
    return std::string{1, 0, 0, 0, char(size >> 8), char(size)} + std::string{0, 1} + std::string(66, ' ') +
           items;
}

static msa_status check(const std::string &pdu)
{
    /* An exact heap copy, so that a sanitizer sees the first byte read too far. */
    const std::vector<unsigned char> bytes(pdu.begin(), pdu.end());
    return associate_rq_check(bytes.data(), bytes.size(), nullptr);
}

static void test_associate_rq(void **)
{
    assert_int_equal(check(request(1)), MSA_OK);
    assert_int_equal(check(request(128)), MSA_OK);
    assert_int_equal(check(request(129)), MSA_E_PARSE);
    assert_int_equal(check(request(1, item(0x58, "x"))), MSA_OK);
    assert_int_equal(check(request(1, item(0x58, "x") + item(0x58, "x"))), MSA_E_PARSE);
    assert_int_equal(check(request(1, item(0x52, "1"))), MSA_E_PARSE);
    assert_int_equal(check(request(1, item(0x56, "x") + item(0x56, "y"))),
                     MSA_OK); /* one for each SOP class */
    assert_int_equal(check(request(1) + item(0x10, "x")), MSA_E_PARSE);
    assert_int_equal(check(request(1).substr(0, 74)), MSA_E_PARSE);
    const std::string good = request(3);
    int refused = 0;
    for (size_t n = 0; n < good.size(); n++)
        refused += check(good.substr(0, n)) != MSA_OK;
    assert_int_equal(refused, int(good.size())); /* every cut is noticed */
}

static void test_associate_rq_mutations(void **)
{
    std::mt19937 random(20240611);
    const std::string good = request(5, item(0x58, "user") + item(0x55, "V"));
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        std::string bad = good;
        for (unsigned k = 0; k <= random() % 4; k++)
            bad[random() % bad.size()] = char(random());
        if (random() % 3 == 0) bad.resize(random() % bad.size());
        refused += check(bad) != MSA_OK;
    }
    assert_true(refused > 5000); /* and a sanitizer has nothing to say */
}

static void test_choice(void **)
{
    const char *explicit_le = "1.2.840.10008.1.2.1", *implicit_le = "1.2.840.10008.1.2";
    const char *both[] = {implicit_le, explicit_le}, *mpeg[] = {"1.2.840.10008.1.2.4.100"};
    const char *mixed[] = {"1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"};
    assert_string_equal(choose_transfer_syntax(both, 2), explicit_le);
    assert_string_equal(choose_transfer_syntax(both, 1), implicit_le);
    assert_string_equal(choose_transfer_syntax(mixed, 3), mixed[1]);
    assert_null(choose_transfer_syntax(mpeg, 1));
    assert_null(choose_transfer_syntax(mpeg, 0));
    for (const char *last :
         {".50", ".51", ".53", ".55", ".57", ".70", ".80", ".81", ".90", ".91", ".201", ".202", ".203"}) {
        const std::string uid = std::string("1.2.840.10008.1.2.4") + last;
        const char *one[] = {uid.c_str()};
        assert_string_equal(choose_transfer_syntax(one, 1), uid.c_str());
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_table), cmocka_unit_test(test_delivery_table),
        cmocka_unit_test(test_uids),         cmocka_unit_test(test_file_meta),
        cmocka_unit_test(test_associate_rq), cmocka_unit_test(test_associate_rq_mutations),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
