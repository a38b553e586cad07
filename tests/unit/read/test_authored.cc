/* When an object says that it was made. */
#include "dicom/read/authored.h"

#include "dcmtk/dcmdata/dcdatset.h"
#include "dcmtk/dcmdata/dcdeftag.h"

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
#include <setjmp.h>
#include <cmocka.h>
}

namespace
{

int64_t with(std::initializer_list<std::pair<DcmTagKey, const char *>> values)
{
    DcmDataset d;
    for (const auto &v : values)
        assert_true(d.putAndInsertString(v.first, v.second).good());
    return dicom::authored_ms(d);
}

void a_date_and_time_is_milliseconds(void **)
{
    assert_int_equal(with({{DCM_ContentDate, "19700101"}, {DCM_ContentTime, "000000.001"}}), 1);
    assert_int_equal(with({{DCM_ContentDate, "20240229"}, {DCM_ContentTime, "235959.5"}}), 1709251199500);
    assert_int_equal(with({{DCM_ContentDate, "20240301"}}), 1709251200000);
    assert_int_equal(with({{DCM_ContentDate, "20240301"}, {DCM_ContentTime, "12"}}), 1709294400000);
}

void an_offset_is_taken_off(void **)
{
    assert_int_equal(
        with(
            {{DCM_ContentDate, "20240301"}, {DCM_ContentTime, "0130"}, {DCM_TimezoneOffsetFromUTC, "+0130"}}),
        1709251200000);
    assert_int_equal(with({{DCM_ContentDate, "20240301"}, {DCM_TimezoneOffsetFromUTC, "-0500"}}),
                     1709251200000 + 5 * 3600000);
}

void the_latest_counts(void **)
{
    assert_int_equal(with({{DCM_ContentDate, "20240301"},
                           {DCM_InstanceCreationDate, "20240301"},
                           {DCM_InstanceCreationTime, "000001"}}),
                     1709251201000);
    assert_int_equal(with({{DCM_StructureSetDate, "20240301"}}), 1709251200000);
    assert_int_equal(with({{DCM_PresentationCreationDate, "20240301"}}), 1709251200000);
}

void what_is_no_date_is_none(void **)
{
    assert_int_equal(with({}), 0);
    assert_int_equal(with({{DCM_ContentDate, "20241301"}}), 0);
    assert_int_equal(with({{DCM_ContentDate, "2024"}}), 0);
    assert_int_equal(with({{DCM_ContentTime, "120000"}}), 0);
    assert_int_equal(with({{DCM_ContentDate, "20240301"}, {DCM_ContentTime, "99"}}), 1709251200000);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_date_and_time_is_milliseconds),
        cmocka_unit_test(an_offset_is_taken_off),
        cmocka_unit_test(the_latest_counts),
        cmocka_unit_test(what_is_no_date_is_none),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
