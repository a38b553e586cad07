#include "server/http/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void statuses(void **state)
{
    (void)state;
    assert_int_equal(srv_http_status(MSA_OK), 200);
    assert_int_equal(srv_http_status(MSA_E_PARSE), 400);
    assert_int_equal(srv_http_status(MSA_E_NOT_FOUND), 404);
    assert_int_equal(srv_http_status(MSA_E_INVALID), 409);
    assert_int_equal(srv_http_status(MSA_E_UNSUPPORTED), 422);
    assert_int_equal(srv_http_status(MSA_E_BUSY), 503);
    assert_int_equal(srv_http_status(MSA_E_NOMEM), 500);
    assert_int_equal(srv_http_status(MSA_E_IO), 500);
    assert_int_equal(srv_http_status(MSA_E_CANCELED), 500);
    assert_int_equal(srv_http_status(MSA_E_INTERNAL), 500);
}

static json_t *parsed(const srv_reply *r)
{
    json_t *json = json_loadb(r->body, r->size, 0, NULL);
    assert_non_null(json);
    return json;
}

static void problems(void **state)
{
    srv_reply r;
    msa_error err = MSA_ERROR_INIT;
    (void)state;
    srv_reply_init(&r);
    srv_reply_problem(&r, 404, "no job has the id %d", 7);
    json_t *json = parsed(&r);
    assert_int_equal(r.status, 404);
    assert_string_equal(r.media, "application/problem+json");
    assert_int_equal(json_object_size(json), 4);
    assert_string_equal(json_string_value(json_object_get(json, "type")), "urn:msad:problem:not-found");
    assert_string_equal(json_string_value(json_object_get(json, "title")), "Not Found");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 404);
    assert_string_equal(json_string_value(json_object_get(json, "detail")), "no job has the id 7");
    json_decref(json);
    (void)msa_fail(&err, MSA_E_BUSY, "the disk is full \xff\"\n");
    srv_reply_error(&r, &err); /* bytes that are no UTF-8 do not spoil the answer */
    json = parsed(&r);
    assert_int_equal(r.status, 503);
    assert_string_equal(json_string_value(json_object_get(json, "detail")), "the disk is full ?\"\n");
    json_decref(json);
    srv_reply_free(&r);
    static const int all[] = {400, 404, 405, 409, 413, 415, 421, 422, 500, 503};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(srv_problem_slug(all[i]), srv_problem_slug(all[k]));
    assert_string_equal(srv_problem_title(599), "Internal Server Error");
}

static void without_memory(void **state)
{
    srv_reply r;
    (void)state;
    srv_reply_init(&r);
    srv_reply_json(&r, 200, NULL); /* what json_pack gives then */
    assert_int_equal(r.status, 500);
    assert_null(r.body);
    srv_reply_free(&r);
}

static void times(void **state)
{
    json_t *json = srv_json_time(INT64_C(1700000000123));
    (void)state;
    assert_string_equal(json_string_value(json), "2023-11-14T22:13:20.123Z");
    json_decref(json);
    json = srv_json_time(INT64_C(951782400007)); /* a leap day */
    assert_string_equal(json_string_value(json), "2000-02-29T00:00:00.007Z");
    json_decref(json);
    json = srv_json_time(0);
    assert_true(json_is_null(json));
    json_decref(json);
}

static void cursors(void **state)
{
    static const int64_t ids[] = {1, 2, 255, 4096, INT64_MAX};
    static const char *const bad[] = {"",      "c",      "c1",     "c1-00",
                                      "x1-9e", "c-1-9e", "c0-00",  "c1-9e0",
                                      "C1-9e", "c 1-9e", "c+1-9e", "cffffffffffffffffff-00"};
    char text[32];
    int64_t id = 0;
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        srv_cursor_make(ids[i], text);
        assert_true(srv_cursor_read(text, &id));
        assert_int_equal(id, ids[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (srv_cursor_read(bad[i], &id)) fail_msg("%s is no cursor", bad[i]);
}

static void numbers_stay_short(void **state)
{
    size_t size = 0;
    json_t *json = json_pack("[f, f]", 0.1, 1234.5678);
    char *text = srv_json_dump(json, &size);
    (void)state;
    assert_string_equal(text, "[0.1,1234.5678]");
    free(text);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses), cmocka_unit_test(problems), cmocka_unit_test(without_memory),
        cmocka_unit_test(times),    cmocka_unit_test(cursors),  cmocka_unit_test(numbers_stay_short)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
