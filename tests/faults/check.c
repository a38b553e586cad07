/* What must be true after any crash, and the program around both halves. */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/blob/blob.h"
#include "server/store/sqlite.h"
#include "server/store/store.h"
#include "tests/faults/durable.h"

static char wrong[512];

#define WRONG(...) ((void)snprintf(wrong, sizeof wrong, __VA_ARGS__), (const char *)wrong)

/* The bytes behind a name are those that the name says. */
static bool is_whole(const char *path, const char *sha256)
{
    char found[MSA_SHA256_HEX] = "", buffer[65536];
    msa_sha256 *hash = msa_sha256_new();
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    while (hash != NULL && fd >= 0 && (n = read(fd, buffer, sizeof buffer)) > 0)
        msa_sha256_update(hash, buffer, (size_t)n);
    if (n == 0) msa_sha256_hex(hash, found);
    if (fd >= 0) (void)close(fd);
    msa_sha256_free(hash);
    return strcmp(found, sha256) == 0;
}

static bool has_blob(srv_blobs *blobs, const char *sha256)
{
    char path[1024];
    return srv_blob_path(blobs, sha256, path, sizeof path, NULL) == MSA_OK && is_whole(path, sha256);
}

/* I3: what is visible is whole, and what is not whole is not visible. */
static const char *check_files(const char *root)
{
    char folder[600];
    for (unsigned shard = 0; shard < 256; shard++) {
        (void)snprintf(folder, sizeof folder, "%s/blobs/%02x", root, shard);
        DIR *dir = opendir(folder);
        if (dir == NULL) return WRONG("no folder blobs/%02x", shard);
        const struct dirent *entry;
        const char *bad = NULL;
        while (bad == NULL && (entry = readdir(dir)) != NULL) {
            char path[900];
            if (entry->d_name[0] == '.') continue;
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            if (!is_whole(path, entry->d_name)) bad = WRONG("I3: the blob %.16s is not whole", entry->d_name);
        }
        (void)closedir(dir);
        if (bad != NULL) return bad;
    }
    return NULL;
}

/* Every hash that the catalogue names is a whole blob. */
static const char *check_rows(srv_store *s, srv_blobs *blobs)
{
    static const char sql[] =
        "SELECT DISTINCT sha256 FROM (SELECT sha256 FROM instance UNION ALL SELECT sha256 FROM "
        "result UNION ALL SELECT preview_sha256 FROM job WHERE preview_sha256 <> '' UNION ALL "
        "SELECT slices_sha256 FROM job WHERE slices_sha256 <> '')";
    sqlite3_stmt *q = NULL;
    const char *bad = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
        return WRONG("I4: %s", sqlite3_errmsg(s->db));
    while (bad == NULL && sqlite3_step(q) == SQLITE_ROW) {
        const char *sha256 = (const char *)sqlite3_column_text(q, 0);
        if (!has_blob(blobs, sha256))
            bad = WRONG("I1: the catalogue names %.16s, which is not there", sha256);
    }
    (void)sqlite3_finalize(q);
    return bad;
}

/* I4: the catalogue is sound. The first row of a check, or "ok" when it has none. */
static const char *check_catalogue(srv_store *s, const char *pragma)
{
    sqlite3_stmt *q = NULL;
    const char *bad = NULL;
    if (sqlite3_prepare_v2(s->db, pragma, -1, &q, NULL) != SQLITE_OK || sqlite3_step(q) == SQLITE_ERROR)
        bad = WRONG("I4: %s", sqlite3_errmsg(s->db));
    else if (sqlite3_data_count(q) > 0 && strcmp((const char *)sqlite3_column_text(q, 0), "ok") != 0)
        bad = WRONG("I4: %s: %s", pragma, (const char *)sqlite3_column_text(q, 0));
    (void)sqlite3_finalize(q);
    return bad;
}

static void keep_result(void *ctx, const srv_result *result)
{
    srv_result *out = ctx;
    *out = *result;
}

static const char *check_stored(srv_store *s, srv_blobs *blobs, const char *uid, const char *sha256)
{
    srv_instance found;
    if (srv_store_instance_find(s, sha256[0] ? sha256 : uid, &found, NULL) != MSA_OK)
        return WRONG("I1: %s was acknowledged and has no row", uid);
    if (sha256[0] && strcmp(found.sha256, sha256) != 0) return WRONG("I1: %s has other bytes", uid);
    if (!has_blob(blobs, found.sha256)) return WRONG("I1: the bytes of %s are not there", uid);
    return NULL;
}

/* I2: a result that once stood is the job's only one. */
static const char *check_done(srv_store *s, srv_blobs *blobs, const char *id, const char *sha256)
{
    srv_job job;
    srv_result result = {0};
    if (srv_store_job_get(s, id, &job, NULL) != MSA_OK) return WRONG("I2: the job %s is gone", id);
    if (job.state < SRV_JOB_DELIVERING || job.state == SRV_JOB_FAILED)
        return WRONG("I2: the job %s was done and is %s", id, srv_job_state_name(job.state));
    if (srv_store_job_results(s, job.id, keep_result, &result, NULL) != MSA_OK || result.number != 1)
        return WRONG("I2: the job %s has no result", id);
    if (sha256[0] && strcmp(result.sha256, sha256) != 0)
        return WRONG("I2: the job %s has another result", id);
    return has_blob(blobs, result.sha256) ? NULL : WRONG("I2: the result of job %s is not there", id);
}

static const char *check_delivered(srv_store *s, const char *id)
{
    srv_job job;
    if (srv_store_job_get(s, id, &job, NULL) != MSA_OK) return WRONG("I2: the job %s is gone", id);
    return job.state == SRV_JOB_SUCCEEDED
               ? NULL
               : WRONG("I2: the job %s was delivered and is %s", id, srv_job_state_name(job.state));
}

static const char *check_promise(srv_store *s, srv_blobs *blobs, const char *line)
{
    char what[16] = "", name[80] = "", sha256[MSA_SHA256_HEX] = "";
    if (sscanf(line, "%15s %79s %64s", what, name, sha256) < 2) return WRONG("not a promise: %s", line);
    if (strcmp(what, "stored") == 0) return check_stored(s, blobs, name, sha256);
    if (strcmp(what, "done") == 0) return check_done(s, blobs, name, sha256);
    if (strcmp(what, "blob") == 0)
        return has_blob(blobs, name) ? NULL : WRONG("I1: the blob %.16s is not there", name);
    return check_delivered(s, name);
}

/* It takes the next object. */
static const char *check_goes_on(srv_store *s, srv_blobs *blobs)
{
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(srv_blob_writer) w = NULL;
    srv_instance in = {.received_ms = 1, .sop_instance_uid = "1.2.3.4.5"};
    srv_put outcome;
    int64_t id = 0;
    if (srv_blob_writer_new(&w, blobs, &err) != MSA_OK ||
        srv_blob_writer_write(w, "next", 4, &err) != MSA_OK ||
        srv_blob_writer_commit(w, in.sha256, &in.size_bytes, &err) != MSA_OK ||
        srv_store_instance_put(s, &in, &outcome, &id, &err) != MSA_OK)
        return WRONG("does not go on: %s", err.what);
    return NULL;
}

const char *durable_check(const char *root, char *const *promises, size_t n)
{
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO(srv_blobs) blobs = NULL;
    MSA_AUTO(srv_store) store = NULL;
    char path[600];
    int32_t count = 0;
    (void)snprintf(path, sizeof path, "%s/catalogue.sqlite", root);
    if (srv_blobs_open(&blobs, root, &err) != MSA_OK ||
        srv_blobs_clean_incoming(blobs, &count, &err) != MSA_OK ||
        srv_store_open(&store, path, &err) != MSA_OK ||
        srv_store_recover(store, 1000000, &count, &err) != MSA_OK)
        return WRONG("does not start: %s", err.what);
    const char *bad = check_catalogue(store, "PRAGMA integrity_check(1)");
    if (bad == NULL) bad = check_catalogue(store, "PRAGMA foreign_key_check");
    for (size_t i = 0; bad == NULL && i < n; i++)
        bad = check_promise(store, blobs, promises[i]);
    if (bad == NULL) bad = check_rows(store, blobs);
    if (bad == NULL) bad = check_files(root);
    return bad != NULL ? bad : check_goes_on(store, blobs);
}

/* Questions on standard input: a line "N ROOT", then N promises; an answer is "ok" or what is wrong. */
static int answer_questions(void)
{
    char line[1024], root[900];
    size_t n = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%zu %899s", &n, root) != 2) return 2;
        char **promises = calloc(n + 1, sizeof *promises);
        for (size_t i = 0; promises != NULL && i < n; i++)
            if (fgets(line, sizeof line, stdin) == NULL || (promises[i] = strdup(line)) == NULL) return 2;
        if (promises == NULL) return 2;
        const char *bad = durable_check(root, promises, n);
        (void)printf("%s\n", bad == NULL ? "ok" : bad);
        (void)fflush(stdout);
        for (size_t i = 0; i < n; i++)
            free(promises[i]);
        free((void *)promises);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "live") == 0) return durable_live(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "blobs") == 0) return durable_put_blobs(argv[2], atoi(argv[3]));
    if (argc == 2 && strcmp(argv[1], "check") == 0) return answer_questions();
    (void)fprintf(stderr, "usage: durable live|blobs ROOT OBJECTS | durable check\n");
    return 2;
}
