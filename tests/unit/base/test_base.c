/* The shared leaf: errors, hashes and derived UIDs, log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"

static void first_failure_is_kept(void **state)
{
    (void)state;
    msa_error err = MSA_ERROR_INIT;
    errno = ENOSPC;
    assert_int_equal(msa_fail(&err, MSA_E_BUSY, "no room for %d bytes", 7), MSA_E_BUSY);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(msa_fail(&err, MSA_E_IO, "second"), MSA_E_IO);
    assert_int_equal(err.status, MSA_E_BUSY);
    assert_string_equal(err.what, "no room for 7 bytes");
    assert_int_equal(msa_fail(NULL, MSA_E_PARSE, "nobody listens"), MSA_E_PARSE);
}

static void long_sentence_is_cut(void **state)
{
    (void)state;
    msa_error err = MSA_ERROR_INIT;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)msa_fail(&err, MSA_E_PARSE, "%s", text);
    assert_int_equal(strlen(err.what), MSA_ERROR_WHAT_MAX - 1);
}

static void every_status_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i >= MSA_E_INTERNAL; i--)
        for (int j = 0; j > i; j--)
            assert_string_not_equal(msa_status_name((msa_status)i), msa_status_name((msa_status)j));
    assert_string_equal(msa_status_name((msa_status)-99), "internal");
}

/* FIPS 180-4, examples of the standard */
static void sha256_known_answers(void **state)
{
    (void)state;
    char hex[MSA_SHA256_HEX];
    msa_sha256_bytes("abc", 3, NULL, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    msa_sha256_bytes("", 0, NULL, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    msa_sha256 *h = msa_sha256_new();
    assert_non_null(h);
    msa_sha256_update(h, "abcdbcdecdefdefgefghfghighij", 28);
    msa_sha256_update(h, "hijkijkljklmklmnlmnomnopnopq", 28);
    msa_sha256_hex(h, hex);
    msa_sha256_free(h);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void sha256_of_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/msad-base-XXXXXX", hex[MSA_SHA256_HEX];
    msa_error err = MSA_ERROR_INIT;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(close(fd), 0);
    assert_int_equal(msa_sha256_file(path, hex, &err), MSA_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(msa_sha256_file(path, hex, &err), MSA_E_NOT_FOUND);
}

/* The wanted value was computed apart: int.from_bytes of the digest in Python, version 8 and variant 10 set.
 */
static void derived_uid_is_a_uuid(void **state)
{
    (void)state;
    char uid[MSA_UID_MAX], again[MSA_UID_MAX], other[MSA_UID_MAX];
    msa_uid_derive("abc", uid);
    msa_uid_derive("abc", again);
    msa_uid_derive("abd", other);
    assert_string_equal(uid, "2.25.247859944228867097191300499870369849891");
    assert_string_equal(uid, again);
    assert_string_not_equal(uid, other);
    for (int i = 0; i < 1000; i++) { /* grammar of PS3.5 section 9.1: digits, no leading zero, at most 64 */
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        msa_uid_derive(name, uid);
        assert_int_equal(strncmp(uid, "2.25.", 5), 0);
        assert_true(uid[5] >= '1' && uid[5] <= '9');
        assert_int_equal(strspn(uid + 5, "0123456789"), strlen(uid + 5));
        assert_true(strlen(uid) <= 44);
    }
}

static size_t captured(char *out, size_t size, void (*body)(void))
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    const int saved = dup(STDERR_FILENO);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    (void)close(fds[1]);
    body();
    assert_true(dup2(saved, STDERR_FILENO) >= 0); /* the write end is closed by this */
    (void)close(saved);
    size_t used = 0;
    for (ssize_t n; used < size - 1 && (n = read(fds[0], out + used, size - 1 - used)) > 0;)
        used += (size_t)n;
    (void)close(fds[0]);
    out[used] = '\0';
    return used;
}

static void log_hostile(void)
{
    msa_log(MSA_LOG_INFO, "test", "ae=\"%s\"", "A\nerror forged line\x1b[31m");
    msa_log(MSA_LOG_DEBUG, "test", "not shown at this level");
    char text[3000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    msa_log(MSA_LOG_ERROR, "test", "%s", text);
}

static void log_lines_cannot_be_forged(void **state)
{
    (void)state;
    char out[4096];
    const size_t used = captured(out, sizeof out, log_hostile);
    size_t lines = 0;
    for (size_t i = 0; i < used; i++) {
        assert_true(out[i] == '\n' || (unsigned char)out[i] >= 0x20);
        lines += out[i] == '\n';
    }
    assert_int_equal(lines, 2);
    assert_non_null(strstr(out, "Z info test ae=\"A?error forged line?[31m\"\n"));
    assert_true(used < 1001 + 120);
}

static void log_flood(void)
{
    for (int i = 0; i < 100000; i++)
        msa_log(MSA_LOG_WARN, "test", "flood=%d", i);
    msa_log(MSA_LOG_WARN, "test", "something else");
}

static void a_flood_is_thinned_out_and_says_so(void **state)
{
    (void)state;
    static char out[65536];
    const size_t used = captured(out, sizeof out, log_flood);
    assert_true(used > 1000 && used < 20000); /* the pipe would have blocked at 65536 */
    assert_non_null(strstr(out, "flood=99\n"));
    assert_non_null(strstr(out, "something else\n"));
    struct timespec pause = {.tv_nsec = 300000000};
    (void)nanosleep(&pause, NULL);
    (void)captured(out, sizeof out, log_flood);
    assert_non_null(strstr(out, " dropped="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_is_kept),      cmocka_unit_test(long_sentence_is_cut),
        cmocka_unit_test(every_status_has_a_name),    cmocka_unit_test(sha256_known_answers),
        cmocka_unit_test(sha256_of_a_file),           cmocka_unit_test(derived_uid_is_a_uuid),
        cmocka_unit_test(log_lines_cannot_be_forged), cmocka_unit_test(a_flood_is_thinned_out_and_says_so),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
