#include "server/store/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/schema.h"

#define CHECKPOINT_PAGES 1000 /* of the log: SQLite's own measure */

static msa_status exec(sqlite3 *db, const char *sql, msa_error *err)
{
    const int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? MSA_OK : srv_sql_fail(db, sqlite3_extended_errcode(db), "open", err);
}

/* First column of the first row of a pragma or a count, as a number and as text. */
static msa_status ask(sqlite3 *db, const char *sql, int64_t *number, char *text, size_t size, msa_error *err)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        if (number) *number = sqlite3_column_int64(q, 0);
        if (text) srv_sql_text(q, 0, text, size);
    }
    const msa_status status =
        rc == SQLITE_ROW ? MSA_OK : srv_sql_fail(db, sqlite3_extended_errcode(db), "read", err);
    (void)sqlite3_finalize(q);
    return status;
}

static msa_status migrate_step(sqlite3 *db, const srv_schema_step *step, msa_error *err)
{
    char version[48];
    (void)snprintf(version, sizeof version, "PRAGMA user_version = %d", step->version);
    MSA_TRY(exec(db, "BEGIN IMMEDIATE", err));
    msa_status status = exec(db, step->sql, err);
    if (status == MSA_OK) status = exec(db, version, err);
    if (status == MSA_OK) status = exec(db, "COMMIT", err);
    if (status != MSA_OK && !sqlite3_get_autocommit(db)) (void)!exec(db, "ROLLBACK", NULL);
    return status;
}

/* The version found; refuses what is not ours before anything is written into it. */
static msa_status identify(sqlite3 *db, int newest, int64_t *version, msa_error *err)
{
    int64_t application = 0, tables = 0;
    MSA_TRY(ask(db, "PRAGMA application_id", &application, NULL, 0, err));
    MSA_TRY(ask(db, "PRAGMA user_version", version, NULL, 0, err));
    MSA_TRY(ask(db, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0, err));
    const bool empty = application == 0 && *version == 0 && tables == 0;
    if (!empty && application != SRV_SCHEMA_APPLICATION_ID)
        return msa_fail(
            err, MSA_E_PARSE,
            "this database belongs to another program: point storage.path at a folder of msad's own");
    if (*version > newest)
        return msa_fail(
            err, MSA_E_PARSE,
            "the catalogue was written by a newer msad (schema %lld, this one knows %d): start that "
            "version, or restore the backup made before the upgrade",
            (long long)*version, newest);
    return MSA_OK;
}

msa_status srv_schema_migrate(sqlite3 *db, const srv_schema_step *steps, size_t n_steps, msa_error *err)
{
    int64_t version = 0;
    MSA_TRY(identify(db, n_steps ? steps[n_steps - 1].version : 0, &version, err));
    for (size_t k = 0; k < n_steps; k++) {
        if (steps[k].version > version) MSA_TRY(migrate_step(db, &steps[k], err));
    }
    return MSA_OK;
}

/*
 * locking_mode EXCLUSIVE: a second msad on the same folder is refused, and nobody else can checkpoint, which
 * keeps us clear of the WAL-reset bug of SQLite before 3.51.3 (two connections that write or checkpoint at
 * one moment). It also keeps the WAL index in our memory instead of in a mapped file, where a full disk would
 * be a SIGBUS.
 */
static msa_status configure(sqlite3 *db, msa_error *err)
{
    char mode[16] = "";
    MSA_TRY(exec(db,
                 "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                 "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768;",
                 err));
    MSA_TRY(ask(db, "PRAGMA journal_mode = WAL", NULL, mode, sizeof mode, err));
    if (strcmp(mode, "wal") != 0)
        return msa_fail(err, MSA_E_IO, "the catalogue's file system does not support write-ahead logging");
    return exec(db, "PRAGMA synchronous = FULL", err);
}

/*
 * SQLite's own checkpoint after a commit drops what went wrong in it. A failed sync of the database file must
 * not be followed by one that succeeds and empties the log: the kernel may have dropped the pages. The log
 * keeps everything until a later start has written it out anew, so the commit itself stands.
 */
static int checkpoint(void *ctx, sqlite3 *db, const char *name, int pages)
{
    srv_store *s = ctx;
    if (pages < CHECKPOINT_PAGES || s->failing) return SQLITE_OK;
    const int rc = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) return SQLITE_OK;
    msa_error err = MSA_ERROR_INIT;
    if (srv_sql_fail(db, rc, "checkpoint", &err) != MSA_E_BUSY) s->failing = true;
    return SQLITE_OK;
}

static msa_status check(sqlite3 *db, msa_error *err)
{
    char found[64] = "";
    MSA_TRY(ask(db, "PRAGMA quick_check(1)", NULL, found, sizeof found, err));
    if (strcmp(found, "ok") == 0) return MSA_OK;
    return msa_fail(err, MSA_E_IO, "the catalogue is damaged: restore it from a backup (%s)", found);
}

msa_status srv_store_open(srv_store **out, const char *path, msa_error *err)
{
    MSA_AUTO(srv_store) s = NULL;
    *out = NULL;
    s = calloc(1, sizeof *s);
    if (!s) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int rc = sqlite3_open_v2(path, &s->db, flags, NULL);
    if (rc != SQLITE_OK) return srv_sql_fail(s->db, rc, "open", err);
    (void)sqlite3_extended_result_codes(s->db, 1);
    (void)sqlite3_busy_timeout(s->db, 5000); /* a predecessor that is still closing */
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int64_t version = 0;
    MSA_TRY(exec(s->db, "PRAGMA locking_mode = EXCLUSIVE", err));
    /* Who owns the file is asked before the first write, which turning on the WAL is. */
    MSA_TRY(identify(s->db, srv_schema_steps[srv_schema_n_steps - 1].version, &version, err));
    MSA_TRY(configure(s->db, err));
    MSA_TRY(check(s->db, err));
    MSA_TRY(srv_schema_migrate(s->db, srv_schema_steps, srv_schema_n_steps, err));
    (void)sqlite3_wal_hook(s->db, checkpoint, s);
    *out = MSA_STEAL(s);
    return MSA_OK;
}

void srv_store_free(srv_store *s)
{
    if (!s) return;
    if (s->db && !sqlite3_get_autocommit(s->db)) srv_store_rollback(s);
    for (size_t k = 0; k < SRV_SQL_SLOTS; k++)
        (void)sqlite3_finalize(s->slots[k].stmt);
    if (s->db && s->failing)
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    else if (s->db)
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void)sqlite3_close(s->db);
    free(s);
}
