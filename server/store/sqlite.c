#include "server/store/sqlite.h"

#include <errno.h>
#include <string.h>

/*
 * What the caller may do about it decides the status: a full disk or a lock passes (try again), a failing
 * disk does not, everything else is our own mistake. SQLite's sentences name tables and columns, never
 * values.
 */
static msa_status status_of(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MSA_E_BUSY;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM) return MSA_E_NOMEM;
        switch (db ? sqlite3_system_errno(db) : 0) {
        case ENOSPC:
        case EDQUOT:
            return MSA_E_BUSY;
        default:
            return MSA_E_IO;
        }
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CORRUPT:
        return MSA_E_IO;
    case SQLITE_NOTADB:
        return MSA_E_PARSE;
    case SQLITE_NOMEM:
        return MSA_E_NOMEM;
    default:
        return MSA_E_INTERNAL;
    }
}

msa_status srv_sql_fail(sqlite3 *db, int rc, const char *doing, msa_error *err)
{
    const msa_status status = status_of(db, rc);
    if (status == MSA_E_BUSY && (rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
        return msa_fail(err, status, "the disk that holds the catalogue is full (%s)", doing);
    if (status == MSA_E_BUSY)
        return msa_fail(err, status, "the catalogue is in use by another process (%s)", doing);
    if (status == MSA_E_INTERNAL && db)
        return msa_fail(err, status, "catalogue: %s: %s", doing, sqlite3_errmsg(db));
    const int os = status == MSA_E_IO && db ? sqlite3_system_errno(db) : 0;
    return msa_fail(err, status, "catalogue: %s: %s%s%s", doing, sqlite3_errstr(rc), os ? ": " : "",
                    os ? strerrordesc_np(os) : "");
}

/* ---- queries ---- */

/* The cache slot of a statement. Literals with the same text may share an address; different ones never do.
 */
static msa_status prepare(srv_store *s, const char *sql, sqlite3_stmt **out, msa_error *err)
{
    size_t slot = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 40;
    for (size_t tries = 0; tries < SRV_SQL_SLOTS; tries++, slot++) {
        slot &= SRV_SQL_SLOTS - 1;
        if (s->slots[slot].sql == sql) {
            *out = s->slots[slot].stmt;
            return MSA_OK;
        }
        if (s->slots[slot].sql) continue;
        const int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
        if (rc != SQLITE_OK) return srv_sql_fail(s->db, rc, "prepare", err);
        s->slots[slot].sql = sql;
        s->slots[slot].stmt = *out;
        return MSA_OK;
    }
    return msa_fail(err, MSA_E_INTERNAL, "catalogue: more than %d statements", SRV_SQL_SLOTS);
}

msa_status srv_sql_open(srv_store *s, sqlite3_stmt **q, const char *sql, const srv_sql_arg *args,
                        size_t n_args, msa_error *err)
{
    sqlite3_stmt *stmt = NULL;
    *q = NULL;
    MSA_TRY(prepare(s, sql, &stmt, err));
    if (sqlite3_stmt_busy(stmt))
        return msa_fail(err, MSA_E_INTERNAL, "catalogue: a row callback ran its own query again");
    *q = stmt;
    if (n_args != (size_t)sqlite3_bind_parameter_count(stmt))
        return msa_fail(err, MSA_E_INTERNAL, "catalogue: %zu arguments for \"%.60s\"", n_args, sql);
    for (size_t k = 0; k < n_args; k++) {
        const srv_sql_arg *a = &args[k];
        const int at = (int)k + 1;
        int rc = SQLITE_OK;
        switch (a->kind) {
        case SRV_SQL_INT:
            rc = sqlite3_bind_int64(stmt, at, a->i);
            break;
        case SRV_SQL_DOUBLE:
            rc = sqlite3_bind_double(stmt, at, a->d);
            break;
        case SRV_SQL_TEXT:
            rc = sqlite3_bind_text(stmt, at, a->t, -1, SQLITE_STATIC);
            break;
        case SRV_SQL_NULL:
            rc = sqlite3_bind_null(stmt, at);
            break;
        }
        if (rc != SQLITE_OK) return srv_sql_fail(s->db, rc, "bind", err);
    }
    return MSA_OK;
}

msa_status srv_sql_step(srv_store *s, sqlite3_stmt *q, bool *row, msa_error *err)
{
    const int rc = sqlite3_step(q);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) return MSA_OK;
    return srv_sql_fail(s->db, sqlite3_extended_errcode(s->db), sqlite3_stmt_readonly(q) ? "read" : "write",
                        err);
}

msa_status srv_sql_run(srv_store *s, const char *sql, const srv_sql_arg *args, size_t n_args, int *changes,
                       msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = true;
    MSA_TRY(srv_sql_open(s, &q, sql, args, n_args, err));
    while (row)
        MSA_TRY(srv_sql_step(s, q, &row, err));
    if (changes) *changes = sqlite3_changes(s->db);
    return MSA_OK;
}

msa_status srv_sql_value(srv_store *s, const char *sql, const srv_sql_arg *args, size_t n_args,
                         int64_t *value, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    *value = 0;
    MSA_TRY(srv_sql_open(s, &q, sql, args, n_args, err));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (row) *value = sqlite3_column_int64(q, 0);
    return MSA_OK;
}

void srv_sql_text(sqlite3_stmt *q, int column, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, column);
    const size_t length = text ? strnlen(text, size - 1) : 0;
    if (length) memcpy(to, text, length);
    to[length] = '\0';
}

/* ---- transactions ---- */

static msa_status plain(srv_store *s, const char *sql, msa_error *err)
{
    return srv_sql_run(s, sql, NULL, 0, NULL, err);
}

/* SQLite undoes a whole transaction by itself after some errors; the group must not go on as if it stood. */
static void notice_lost_group(srv_store *s, msa_status why)
{
    if (s->group && s->lost == MSA_OK && sqlite3_get_autocommit(s->db))
        s->lost = why == MSA_OK ? MSA_E_IO : why;
}

static msa_status fail_lost(const srv_store *s, msa_error *err)
{
    return msa_fail(err, s->lost, "%s",
                    s->lost == MSA_E_BUSY ? "the disk that holds the catalogue is full; the group was undone"
                                          : "the catalogue's disk failed; the group was undone");
}

msa_status srv_tx_begin(srv_store *s, msa_error *err)
{
    if (!s->group) return plain(s, "BEGIN IMMEDIATE", err);
    notice_lost_group(s, MSA_E_IO); /* else this savepoint would quietly begin a transaction of its own */
    if (s->lost != MSA_OK) return fail_lost(s, err);
    return plain(s, "SAVEPOINT call", err);
}

msa_status srv_tx_end(srv_store *s, msa_status status, msa_error *err)
{
    if (status == MSA_OK) status = s->group ? plain(s, "RELEASE call", err) : plain(s, "COMMIT", err);
    if (status == MSA_OK) return MSA_OK;
    if (sqlite3_get_autocommit(s->db)) {
        notice_lost_group(s, status);
        return status;
    }
    /* The failure above is the one to tell, so these carry no error. A savepoint that cannot be undone spoils
     * its group. */
    if (!s->group) {
        (void)!plain(s, "ROLLBACK", NULL);
    } else if (plain(s, "ROLLBACK TO call", NULL) != MSA_OK || plain(s, "RELEASE call", NULL) != MSA_OK) {
        s->lost = s->lost == MSA_OK ? MSA_E_IO : s->lost;
    }
    return status;
}

msa_status srv_store_begin(srv_store *s, msa_error *err)
{
    if (s->group) return msa_fail(err, MSA_E_INVALID, "a group is open already");
    MSA_TRY(plain(s, "BEGIN IMMEDIATE", err));
    s->group = true;
    s->lost = MSA_OK;
    return MSA_OK;
}

msa_status srv_store_commit(srv_store *s, msa_error *err)
{
    if (!s->group) return msa_fail(err, MSA_E_INVALID, "no group is open");
    notice_lost_group(s, MSA_E_IO);
    msa_status status = s->lost == MSA_OK ? plain(s, "COMMIT", err) : fail_lost(s, err);
    if (status != MSA_OK) {
        s->failing = s->failing || status != MSA_E_BUSY;
        srv_store_rollback(s);
        return status;
    }
    s->group = false;
    return MSA_OK;
}

bool srv_store_failing(const srv_store *s)
{
    return s->failing;
}

void srv_store_rollback(srv_store *s)
{
    if (!sqlite3_get_autocommit(s->db)) (void)!plain(s, "ROLLBACK", NULL);
    s->group = false;
    s->lost = MSA_OK;
}
