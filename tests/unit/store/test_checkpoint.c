/* A checkpoint that cannot be synced: never once more, and nothing is lost. This program's own fdatasync()
 * and fsync() come before libc's, also for SQLite. */
#include "tests/unit/store/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/store/sqlite.h"

static bool armed;        /* the next sync of the database file itself fails, as the kernel does it: once */
static int failed, after; /* times it did; syncs of it that came later */

static int sync_of(int fd, long number)
{
    char link[32], path[256];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *end = strrchr(path, '.');
    if (end != NULL && strcmp(end, ".db") == 0) {
        after += failed;
        if (armed) {
            armed = false;
            failed++;
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(number, fd);
}

int fdatasync(int fd)
{
    return sync_of(fd, SYS_fdatasync);
}

int fsync(int fd)
{
    return sync_of(fd, SYS_fsync);
}

static void put_group(srv_store *s, int from, int to)
{
    assert_ok(srv_store_begin(s, &err));
    for (int k = from; k < to; k++) {
        char uid[32];
        (void)snprintf(uid, sizeof uid, "1.5.%d", k);
        (void)fx_put(s, uid, uid, 0, 1000, NULL);
    }
    assert_ok(srv_store_commit(s, &err));
}

static int64_t stored(srv_store *s)
{
    srv_store_counts counts;
    assert_ok(srv_store_count(s, &counts, &err));
    return counts.instances;
}

static void a_failed_checkpoint_is_final(void **state)
{
    fixture *f = *state;
    int n = 0;
    armed = true;
    failed = after = 0;
    while (!srv_store_failing(f->store) && n < 200000) {
        put_group(f->store, n, n + 500);
        n += 500;
    }
    assert_int_equal(failed, 1);
    assert_true(srv_store_failing(f->store));
    put_group(f->store, n, n + 500); /* what is in the log is durable all the same */
    n += 500;
    srv_store_free(f->store);
    f->store = NULL;
    assert_int_equal(after, 0);
    char log[112];
    (void)snprintf(log, sizeof log, "%s-wal", f->path);
    assert_int_equal(access(log, F_OK), 0); /* kept for the next start, which writes it out anew */
    assert_ok(srv_store_open(&f->store, f->path, &err));
    assert_int_equal(stored(f->store), n);
}

static void a_good_checkpoint_happens(void **state)
{
    fixture *f = *state;
    failed = after = 0;
    failed = 1; /* so that syncs of the database count */
    for (int k = 0; k < 20; k++)
        put_group(f->store, 500 * k, 500 * k + 500);
    assert_false(srv_store_failing(f->store));
    assert_true(after > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_checkpoint_is_final, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_good_checkpoint_happens, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
