/* Blobs: content addressing, durability and its failures. The linker puts this file's fsync() and friends
 * under blob.c. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/blob/blob.h"

int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_close(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t size);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_close(int fd);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);

/* The n-th call from now (1: the next) fails once with `error`. */
typedef struct fault {
    int at, error, calls;
} fault;
static fault fsync_fault, fdatasync_fault, close_fault, write_fault;

static bool fires(fault *f)
{
    f->calls++;
    if (f->at == 0 || --f->at > 0) return false;
    errno = f->error;
    return true;
}

int __wrap_fsync(int fd)
{
    return fires(&fsync_fault) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    return fires(&fdatasync_fault) ? -1 : __real_fdatasync(fd);
}

int __wrap_close(int fd)
{
    const int rc = __real_close(fd);
    return fires(&close_fault) ? -1 : rc;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    if (fires(&write_fault)) {
        if (write_fault.error != 0) return -1;
        size = size / 2 + 1; /* a short write */
    }
    return __real_write(fd, bytes, size);
}

typedef struct world {
    char root[64];
    srv_blobs *blobs;
} world;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    msa_error err = MSA_ERROR_INIT;
    if (w == NULL) return -1;
    (void)snprintf(w->root, sizeof w->root, "/tmp/msad-blob-XXXXXX");
    if (mkdtemp(w->root) == NULL || srv_blobs_open(&w->blobs, w->root, &err) != MSA_OK) return -1;
    fsync_fault = fdatasync_fault = close_fault = write_fault = (fault){0};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    srv_blobs_free(w->blobs);
    const int rc = nftw(w->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return rc;
}

static int counted;
static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)st, (void)ftw;
    counted += type == FTW_F;
    return 0;
}

static int files_under(const world *w, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", w->root, name);
    counted = 0;
    assert_int_equal(nftw(path, count_file, 16, FTW_PHYS), 0);
    return counted;
}

static msa_status put(world *w, const void *bytes, size_t size, char sha256[MSA_SHA256_HEX], msa_error *err)
{
    MSA_AUTO(srv_blob_writer) writer = NULL;
    int64_t stored = -1;
    MSA_TRY(srv_blob_writer_new(&writer, w->blobs, err));
    MSA_TRY(srv_blob_writer_write(writer, bytes, size, err));
    const msa_status st = srv_blob_writer_commit(writer, sha256, &stored, err);
    assert_int_equal(stored, st == MSA_OK ? (int64_t)size : 0);
    return st;
}

static void test_content_is_the_name(void **state)
{
    world *w = *state;
    char sha[MSA_SHA256_HEX], path[256], back[8] = "";
    assert_int_equal(put(w, "abc", 3, sha, NULL), MSA_OK);
    assert_string_equal(sha,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
    assert_true(srv_blob_exists(w->blobs, sha));
    assert_int_equal(srv_blob_path(w->blobs, sha, path, sizeof path, NULL), MSA_OK);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(back, 1, sizeof back, f), 3);
    (void)fclose(f);
    assert_memory_equal(back, "abc", 3);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(files_under(w, "incoming"), 0);
}

static void test_empty(void **state)
{
    char sha[MSA_SHA256_HEX];
    assert_int_equal(put(*state, "", 0, sha, NULL), MSA_OK);
    assert_string_equal(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_second_put_is_no_work(void **state)
{
    world *w = *state;
    char a[MSA_SHA256_HEX], b[MSA_SHA256_HEX];
    assert_int_equal(put(w, "same", 4, a, NULL), MSA_OK);
    fsync_fault.calls = 0;
    assert_int_equal(put(w, "same", 4, b, NULL), MSA_OK);
    assert_string_equal(a, b);
    assert_int_equal(files_under(w, "blobs"), 1);
    assert_int_equal(files_under(w, "incoming"), 0);
    assert_int_equal(fsync_fault.calls, 1); /* the first linker may have died before its own sync */
}

static void test_damaged_blob_is_replaced(void **state)
{
    world *w = *state;
    char sha[MSA_SHA256_HEX], path[256];
    assert_int_equal(put(w, "whole", 5, sha, NULL), MSA_OK);
    assert_int_equal(srv_blob_path(w->blobs, sha, path, sizeof path, NULL), MSA_OK);
    assert_int_equal(truncate(path, 2), 0);
    assert_int_equal(put(w, "whole", 5, sha, NULL), MSA_OK);
    char again[MSA_SHA256_HEX];
    assert_int_equal(msa_sha256_file(path, again, NULL), MSA_OK);
    assert_string_equal(again, sha);
}

static void test_rotten_blob_is_replaced(void **state)
{
    world *w = *state;
    char sha[MSA_SHA256_HEX], again[MSA_SHA256_HEX], path[256];
    assert_int_equal(put(w, "whole", 5, sha, NULL), MSA_OK);
    assert_int_equal(srv_blob_path(w->blobs, sha, path, sizeof path, NULL), MSA_OK);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fputc('W', f), 'W'); /* the length stays */
    assert_int_equal(fclose(f), 0);
    assert_int_equal(put(w, "whole", 5, sha, NULL), MSA_OK);
    assert_int_equal(msa_sha256_file(path, again, NULL), MSA_OK);
    assert_string_equal(again, sha);
    assert_int_equal(files_under(w, "blobs"), 1);
}

/* A role's sync that fails unseen would take the error away from who acts on it. */
static void test_attach_syncs_nothing(void **state)
{
    world *w = *state;
    char sha[MSA_SHA256_HEX];
    MSA_AUTO(srv_blobs) role = NULL;
    assert_int_equal(put(w, "x", 1, sha, NULL), MSA_OK);
    fsync_fault.calls = 0;
    assert_int_equal(srv_blobs_attach(&role, w->root, NULL), MSA_OK);
    assert_int_equal(fsync_fault.calls, 0);
    assert_true(srv_blob_exists(role, sha));
    MSA_AUTO(srv_blobs) none = NULL;
    assert_int_equal(srv_blobs_attach(&none, "/nowhere", NULL), MSA_E_IO);
}

static void test_every_sync_is_seen(void **state)
{
    world *w = *state;
    static const struct {
        fault *f;
        int at;
    } points[] = {{&fdatasync_fault, 1}, {&close_fault, 1}, {&fsync_fault, 1}};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        char sha[MSA_SHA256_HEX], bytes[16];
        msa_error err = MSA_ERROR_INIT;
        (void)snprintf(bytes, sizeof bytes, "object %zu", i);
        points[i].f->at = points[i].at;
        points[i].f->error = EIO;
        assert_int_equal(put(w, bytes, strlen(bytes), sha, &err), MSA_E_IO);
        assert_int_equal(points[i].f->at, 0);
        assert_string_equal(sha, "");
        assert_true(err.what[0] != '\0');
        assert_true(srv_blobs_bad(w->blobs));
        assert_int_equal(files_under(w, "incoming"), 0);
        /* Never retried: the kernel would now say that all is well. */
        assert_int_equal(put(w, "x", 1, sha, NULL), MSA_E_IO);
        srv_blobs_free(w->blobs);
        assert_int_equal(srv_blobs_open(&w->blobs, w->root, NULL), MSA_OK);
        close_fault = fsync_fault = fdatasync_fault = (fault){0};
    }
}

static void test_full_disk_is_not_a_bad_disk(void **state)
{
    world *w = *state;
    static const int errors[] = {ENOSPC, EDQUOT};
    fault *const faults[] = {&write_fault, &fdatasync_fault};
    for (int i = 0; i < 4; i++) {
        char sha[MSA_SHA256_HEX];
        faults[i / 2]->at = 1;
        faults[i / 2]->error = errors[i % 2];
        assert_int_equal(put(w, "abc", 3, sha, NULL), MSA_E_BUSY);
        assert_false(srv_blobs_bad(w->blobs));
        assert_int_equal(files_under(w, "incoming"), 0);
        assert_int_equal(files_under(w, "blobs"), 0);
    }
    char sha[MSA_SHA256_HEX];
    assert_int_equal(put(w, "abc", 3, sha, NULL), MSA_OK);
}

static void test_short_and_interrupted_writes(void **state)
{
    world *w = *state;
    char sha[MSA_SHA256_HEX], whole[MSA_SHA256_HEX], bytes[1000];
    memset(bytes, 7, sizeof bytes);
    msa_sha256_bytes(bytes, sizeof bytes, NULL, whole);
    write_fault.at = 1; /* error 0: writes a half */
    assert_int_equal(put(w, bytes, sizeof bytes, sha, NULL), MSA_OK);
    assert_string_equal(sha, whole);
    char path[256], file[MSA_SHA256_HEX];
    assert_int_equal(srv_blob_path(w->blobs, sha, path, sizeof path, NULL), MSA_OK);
    assert_int_equal(msa_sha256_file(path, file, NULL), MSA_OK);
    assert_string_equal(file, whole);
    write_fault = (fault){.at = 1, .error = EINTR};
    assert_int_equal(put(w, "y", 1, sha, NULL), MSA_OK);
}

/* Bytes that vanish between write() and the disk, as DCMTK's consumer lets them: the length tells. */
static void test_lost_bytes_are_noticed(void **state)
{
    world *w = *state;
    MSA_AUTO(srv_blob_writer) writer = NULL;
    char sha[MSA_SHA256_HEX], command[160];
    int64_t size;
    assert_int_equal(srv_blob_writer_new(&writer, w->blobs, NULL), MSA_OK);
    assert_int_equal(srv_blob_writer_write(writer, "0123456789", 10, NULL), MSA_OK);
    (void)snprintf(command, sizeof command, "truncate -s 4 %s/incoming/*.part", w->root);
    assert_int_equal(system(command), 0);
    assert_int_equal(srv_blob_writer_commit(writer, sha, &size, NULL), MSA_E_IO);
    assert_int_equal(files_under(w, "blobs"), 0);
}

static void test_dropped_writer_leaves_nothing(void **state)
{
    world *w = *state;
    srv_blob_writer *writer = NULL;
    assert_int_equal(srv_blob_writer_new(&writer, w->blobs, NULL), MSA_OK);
    assert_int_equal(srv_blob_writer_write(writer, "x", 1, NULL), MSA_OK);
    assert_int_equal(files_under(w, "incoming"), 1);
    srv_blob_writer_free(writer);
    assert_int_equal(files_under(w, "incoming"), 0);
    assert_int_equal(files_under(w, "blobs"), 0);
    srv_blob_writer_free(NULL);
}

static void test_room_is_kept_for_others(void **state)
{
    world *w = *state;
    srv_blob_writer *writer = NULL;
    srv_blobs_keep_free(w->blobs, INT64_MAX);
    assert_int_equal(srv_blob_writer_new(&writer, w->blobs, NULL), MSA_E_BUSY);
    assert_null(writer);
    assert_false(srv_blobs_bad(w->blobs));
    srv_blobs_keep_free(w->blobs, 0);
    assert_int_equal(srv_blob_writer_new(&writer, w->blobs, NULL), MSA_OK);
    srv_blobs_keep_free(w->blobs, INT64_MAX); /* the disk fills up while it is written */
    static const char piece[1 << 20];
    msa_status status = MSA_OK;
    for (int k = 0; k < 6 && status == MSA_OK; k++)
        status = srv_blob_writer_write(writer, piece, sizeof piece, NULL);
    assert_int_equal(status, MSA_E_BUSY);
    srv_blob_writer_free(writer);
    assert_int_equal(files_under(w, "incoming"), 0);
}

static void test_clean_incoming(void **state)
{
    world *w = *state;
    char path[128];
    int32_t removed = -1;
    static const char *const names[] = {"a.part", "b.part", ".part", "notes.txt"};
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "%s/incoming/%s", w->root, names[i]);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        (void)fclose(f);
    }
    assert_int_equal(srv_blobs_clean_incoming(w->blobs, &removed, NULL), MSA_OK);
    assert_int_equal(removed, 2);
    assert_int_equal(files_under(w, "incoming"), 2); /* what is not ours stays */
}

static void test_put_file(void **state)
{
    world *w = *state;
    char path[128], linked[128], sha[MSA_SHA256_HEX], want[MSA_SHA256_HEX];
    int64_t size = 0;
    (void)snprintf(path, sizeof path, "%s/result", w->root);
    (void)snprintf(linked, sizeof linked, "%s/link", w->root);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 300000; i++)
        (void)fputc(i * 7 & 255, f);
    (void)fclose(f);
    assert_int_equal(msa_sha256_file(path, want, NULL), MSA_OK);
    assert_int_equal(srv_blob_put_file(w->blobs, path, sha, &size, NULL), MSA_OK);
    assert_int_equal(size, 300000);
    assert_string_equal(sha, want);
    assert_int_equal(symlink(path, linked), 0);
    assert_int_equal(srv_blob_put_file(w->blobs, linked, sha, &size, NULL), MSA_E_IO); /* made by a worker? */
    assert_int_equal(srv_blob_put_file(w->blobs, w->root, sha, &size, NULL), MSA_E_IO);
    (void)snprintf(path, sizeof path, "%s/none", w->root);
    assert_int_equal(srv_blob_put_file(w->blobs, path, sha, &size, NULL), MSA_E_NOT_FOUND);
}

static void test_names_are_checked(void **state)
{
    world *w = *state;
    char path[256];
    static const char *const bad[] = {"",
                                      "../../etc/passwd",
                                      "abc",
                                      "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
                                      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
                                      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(srv_blob_path(w->blobs, bad[i], path, sizeof path, NULL), MSA_E_INVALID);
        assert_string_equal(path, "");
        assert_false(srv_blob_exists(w->blobs, bad[i]));
    }
    const char *good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_int_equal(srv_blob_path(w->blobs, good, path, 40, NULL), MSA_E_INVALID);
    assert_false(srv_blob_exists(w->blobs, good));
}

static void test_use_after_commit(void **state)
{
    world *w = *state;
    MSA_AUTO(srv_blob_writer) writer = NULL;
    char sha[MSA_SHA256_HEX];
    int64_t size;
    assert_int_equal(srv_blob_writer_new(&writer, w->blobs, NULL), MSA_OK);
    assert_int_equal(srv_blob_writer_commit(writer, sha, &size, NULL), MSA_OK);
    assert_int_equal(srv_blob_writer_commit(writer, sha, &size, NULL), MSA_E_INVALID);
    assert_int_equal(srv_blob_writer_write(writer, "x", 1, NULL), MSA_E_INVALID);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_content_is_the_name),
        CASE(test_empty),
        CASE(test_second_put_is_no_work),
        CASE(test_damaged_blob_is_replaced),
        CASE(test_rotten_blob_is_replaced),
        CASE(test_attach_syncs_nothing),
        CASE(test_every_sync_is_seen),
        CASE(test_full_disk_is_not_a_bad_disk),
        CASE(test_short_and_interrupted_writes),
        CASE(test_lost_bytes_are_noticed),
        CASE(test_dropped_writer_leaves_nothing),
        CASE(test_room_is_kept_for_others),
        CASE(test_clean_incoming),
        CASE(test_put_file),
        CASE(test_names_are_checked),
        CASE(test_use_after_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
