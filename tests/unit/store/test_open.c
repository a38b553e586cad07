/* Opening: a fresh file, an older, newer, foreign, damaged or locked one; groups and their savepoints. */
#include "tests/unit/store/fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/schema.h"
#include "server/store/sqlite.h"

static void sql(const char *path, const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", text, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t ask(sqlite3 *db, const char *text)
{
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    const int64_t value = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    return value;
}

static void close_store(fixture *f)
{
    srv_store_free(f->store);
    f->store = NULL;
}

static void a_fresh_database_is_durable_and_ours(void **state)
{
    fixture *f = *state;
    sqlite3 *db = f->store->db;
    assert_int_equal(ask(db, "PRAGMA user_version"), (int64_t)srv_schema_n_steps);
    assert_int_equal(ask(db, "PRAGMA application_id"), SRV_SCHEMA_APPLICATION_ID);
    assert_int_equal(ask(db, "PRAGMA synchronous"), 2); /* FULL */
    assert_int_equal(ask(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(ask(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
    fixture *f = *state;
    close_store(f);
    sql(f->path, "PRAGMA user_version = 9999");
    assert_fails(MSA_E_PARSE, "newer msad (schema 9999", srv_store_open(&f->store, f->path, &err));
    assert_null(f->store);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(ask(db, "PRAGMA user_version"), 9999);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_database_of_another_program_is_refused(void **state)
{
    fixture *f = *state;
    close_store(f);
    assert_int_equal(unlink(f->path), 0);
    sql(f->path, "CREATE TABLE theirs(a); INSERT INTO theirs VALUES (1);");
    assert_fails(MSA_E_PARSE, "another program", srv_store_open(&f->store, f->path, &err));
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"),
                     1); /* not even that */
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void what_is_no_database_is_refused(void **state)
{
    fixture *f = *state;
    close_store(f);
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    for (int k = 0; k < 1000; k++)
        assert_true(fputs("this is not a database ", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_fails(MSA_E_PARSE, "not a database", srv_store_open(&f->store, f->path, &err));
}

static void a_damaged_database_is_refused(void **state)
{
    fixture *f = *state;
    fx_series(f->store, "1.5", 200, 1000);
    close_store(f);
    FILE *file = fopen(f->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096 * 4, SEEK_SET), 0);
    for (long k = 0; k < 4096 * 20; k++)
        assert_true(fputc(0x5a, file) != EOF);
    assert_int_equal(fclose(file), 0);
    assert_fails(MSA_E_IO, "", srv_store_open(&f->store, f->path, &err));
}

static void a_folder_that_is_not_there_is_named_as_such(void **state)
{
    (void)state;
    srv_store *s = NULL;
    assert_fails(MSA_E_IO, "unable to open", srv_store_open(&s, "/nonexistent/folder/msad.db", &err));
}

static void a_step_that_fails_leaves_the_former_schema(void **state)
{
    fixture *f = *state;
    enum { MANY = 16 };
    srv_schema_step steps[MANY];
    const size_t n = srv_schema_n_steps;
    const int version = srv_schema_steps[n - 1].version;
    assert_true(n + 2 <= MANY);
    memcpy(steps, srv_schema_steps, n * sizeof *steps);
    steps[n] = (srv_schema_step){version + 1, "good",
                                 "ALTER TABLE series ADD COLUMN remark TEXT NOT NULL DEFAULT '';"};
    steps[n + 1] = (srv_schema_step){version + 2, "bad",
                                     "CREATE TABLE x(a) STRICT; INSERT INTO no_such_table VALUES (1);"};
    fx_series(f->store, "1.5", 2, 1000);
    sqlite3 *db = f->store->db;
    msa_error e = MSA_ERROR_INIT;
    assert_int_equal(srv_schema_migrate(db, steps, n + 2, &e), MSA_E_INTERNAL);
    assert_int_equal(ask(db, "PRAGMA user_version"), version + 1);
    assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'x'"), 0);
    assert_int_equal(ask(db, "SELECT count(*) FROM series WHERE remark = ''"), 1);
    close_store(f);
    assert_fails(MSA_E_PARSE, "newer", srv_store_open(&f->store, f->path, &err));
}

/* ---- older databases ---- */

#define OLD_SERIES                                                                                           \
    "INSERT INTO series(id, series_uid, study_uid, modality, body_part, open, attention, first_ms, last_ms)" \
    " VALUES (1, '1.5', '1.9', 'CT', '', 0, 0, 1, 1);"
#define OLD_IMAGE                                                                                            \
    "INSERT INTO instance(id, sop_instance_uid, sha256, series_id, received_ms, size_bytes, sop_class_uid,"  \
    " transfer_syntax_uid, kind, state, position_mm) VALUES (1, '1.5.1', 'aa', 1, 1, 9, '1', '1', 1, 1, 0);"
#define OLD_SR                                                                                               \
    "INSERT INTO instance(id, sop_instance_uid, sha256, received_ms, size_bytes, sop_class_uid,"             \
    " transfer_syntax_uid, kind, state) VALUES (2, '1.7.1', 'bb', 1, 9, '1', '1', 2, 1);"
#define OLD_PROMPT                                                                                           \
    "INSERT INTO prompt(series_id, source_id, ordinal, created_ms, sop_instance_uid, kind, frame, positive," \
    " slice, x0, y0, x1, y1, label, tracking_id, tracking_uid, category_value, category_scheme,"             \
    " category_meaning, type_value, type_scheme, type_meaning, site_value, site_scheme, site_meaning,"       \
    " source_class_uid, source_instance_uid) VALUES (1, 2, 0, 77, '1.5.1', 1, 1, 1, 0, 1, 2, 3, 4, 'liver'," \
    " '', '2.25.4', '', '', '', '', '', '', '', '', '', '1', '1.7.1');"
#define OLD_JOB                                                                                              \
    "INSERT INTO job(public_id, series_id, state, created_ms, input_key) VALUES ('j', 1, 5, 1, 'key');"

static void keep_prompt(void *ctx, const srv_prompt *p)
{
    *(srv_prompt *)ctx = *p;
}

/* Written by the first release: two steps ago. */
static void an_older_database_keeps_what_it_has(void **state)
{
    fixture *f = *state;
    sqlite3 *db = NULL;
    srv_prompt p = {0};
    msa_error e = MSA_ERROR_INIT;
    close_store(f);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(srv_schema_migrate(db, srv_schema_steps, 2, &e), MSA_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    sql(f->path, OLD_SERIES OLD_IMAGE OLD_SR OLD_PROMPT OLD_JOB);
    fixture_reopen(f);
    assert_int_equal(ask(f->store->db, "PRAGMA user_version"), (int64_t)srv_schema_n_steps);
    assert_ok(srv_store_prompts(f->store, "1.5", false, 0, 10, keep_prompt, &p, &err));
    assert_string_equal(p.prompt.label, "liver");
    assert_int_equal(p.prompt.space, DICOM_SPACE_IMAGE);
    assert_string_equal(p.prompt.source_sha256, "bb");
    assert_string_equal(p.linked_series_uid, "1.5");
    assert_int_equal(ask(f->store->db, "SELECT authored_ms FROM prompt"), 77);
    assert_int_equal(ask(f->store->db, "SELECT count(*) FROM job WHERE content_key = 'key'"), 1);
    /* and goes on: a newer version of the annotation replaces the prompt */
    const dicom_prompt box = fx_box("1.5.1", "spleen");
    (void)fx_annotation(f->store, "1.7.1", "newer", &box, 1, 2000);
    assert_ok(srv_store_prompts(f->store, "1.5", false, 0, 10, keep_prompt, &p, &err));
    assert_string_equal(p.prompt.label, "spleen");
    assert_int_equal(fx_tick(f->store, 9000), 1);
}

static void a_second_process_is_kept_out(void **state)
{
    fixture *f = *state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM series", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void what_was_written_is_there_after_reopening(void **state)
{
    fixture *f = *state;
    fx_series(f->store, "1.5", 3, 1000);
    fx_post(f->store, "g", "1.5", 0, "liver", 1000);
    assert_int_equal(fx_tick(f->store, 3000), 1);
    const srv_job before = fx_newest(f->store, "1.5");
    fixture_reopen(f);
    const srv_job after = fx_newest(f->store, "1.5");
    assert_memory_equal(&before, &after, sizeof after);
}

/* ---- groups ---- */

static int commits;
static int count_commit(void *unused)
{
    (void)unused;
    commits++;
    return 0;
}

static void a_group_is_one_commit_and_a_failed_call_undoes_itself_only(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_prompt bad = {.group_id = "g", .created_ms = 1};
    srv_store_counts counts;
    (void)sqlite3_commit_hook(s->db, count_commit, NULL);
    commits = 0;
    assert_ok(srv_store_begin(s, &err));
    assert_fails(MSA_E_INVALID, "open already", srv_store_begin(s, &err));
    for (int k = 0; k < 20; k++) {
        char uid[16];
        (void)snprintf(uid, sizeof uid, "1.2.%d", k);
        (void)fx_put(s, uid, uid, 0, 1000, NULL);
        assert_fails(MSA_E_INVALID, "neither", srv_store_prompts_put(s, &bad, 1, &err));
    }
    assert_int_equal(commits, 0);
    assert_ok(srv_store_commit(s, &err));
    assert_int_equal(commits, 1);
    assert_fails(MSA_E_INVALID, "no group", srv_store_commit(s, &err));
    assert_ok(srv_store_begin(s, &err));
    (void)fx_put(s, "1.3.1", "x", 0, 1000, NULL);
    srv_store_rollback(s);
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.instances, 20);
}

/* max_page_count stands for a full disk: SQLITE_FULL is what both give. */
static void a_full_disk_is_busy_and_passes(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    msa_error e = MSA_ERROR_INIT;
    srv_instance in = {.sop_instance_uid = "1.2.3", .received_ms = 1};
    srv_put outcome = SRV_PUT_SAME;
    int64_t id = 0;
    msa_status status = MSA_OK;
    char pragma[64];
    (void)snprintf(pragma, sizeof pragma, "PRAGMA max_page_count = %d",
                   (int)ask(s->db, "PRAGMA page_count") + 1);
    assert_int_equal(sqlite3_exec(s->db, pragma, NULL, NULL, NULL), SQLITE_OK);
    for (int k = 0; k < 1000 && status == MSA_OK; k++) {
        (void)snprintf(in.sha256, sizeof in.sha256, "%064d", k);
        status = srv_store_instance_put(s, &in, &outcome, &id, &e);
    }
    assert_int_equal(status, MSA_E_BUSY);
    assert_non_null(strstr(e.what, "full"));
    assert_true(sqlite3_get_autocommit(s->db));
    assert_int_equal(sqlite3_exec(s->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL), SQLITE_OK);
    assert_ok(srv_store_instance_put(s, &in, &outcome, &id, &err));
    assert_int_equal(outcome, SRV_PUT_OTHER_BYTES);
}

/* When SQLite itself drops the transaction, no later call of the group may believe that it is in one. */
static void a_lost_group_fails_as_a_whole(void **state)
{
    srv_store *s = ((fixture *)*state)->store;
    srv_store_counts counts;
    int64_t id = 0;
    assert_ok(srv_store_begin(s, &err));
    (void)fx_put(s, "1.3.1", "x", 0, 1000, NULL);
    assert_int_equal(sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    msa_error e = MSA_ERROR_INIT;
    assert_int_not_equal(srv_store_association_open(s, &(srv_association){.calling_ae = "A", .called_ae = "B", .peer = "C", .opened_ms = 1}, &id, &e), MSA_OK);
    assert_fails(MSA_E_IO, "undone", srv_store_commit(s, &err));
    assert_ok(srv_store_count(s, &counts, &err));
    assert_int_equal(counts.instances, 0);
    assert_ok(srv_store_association_open(s, &(srv_association){.calling_ae = "A", .called_ae = "B", .peer = "C", .opened_ms = 1}, &id, &err));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_fresh_database_is_durable_and_ours),
        CASE(a_newer_schema_is_refused_and_left_alone),
        CASE(a_database_of_another_program_is_refused),
        CASE(what_is_no_database_is_refused),
        CASE(a_damaged_database_is_refused),
        cmocka_unit_test(a_folder_that_is_not_there_is_named_as_such),
        CASE(a_step_that_fails_leaves_the_former_schema),
        CASE(an_older_database_keeps_what_it_has),
        CASE(a_second_process_is_kept_out),
        CASE(what_was_written_is_there_after_reopening),
        CASE(a_group_is_one_commit_and_a_failed_call_undoes_itself_only),
        CASE(a_full_disk_is_busy_and_passes),
        CASE(a_lost_group_fails_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
