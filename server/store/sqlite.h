/**
 * The thin layer between the catalogue's files and SQLite: statements prepared once, typed arguments,
 * transactions, and SQLite's result codes in our words. Private to store/.
 */
#ifndef SRV_STORE_SQLITE_H
#define SRV_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "server/store/store.h"

#define SRV_SQL_SLOTS 256 /* a power of two, well above the number of statements */

struct srv_store {
    sqlite3 *db;
    bool group; /* between srv_store_begin() and srv_store_commit() */
    msa_status
        lost; /* not MSA_OK: SQLite itself rolled the group back (disk full, I/O error, out of memory) */
    bool
        failing; /* a write or sync failed for another reason than a full disk: nothing may be synced again */
    struct {
        const char *sql; /* a string literal: its address is the key */
        sqlite3_stmt *stmt;
    } slots[SRV_SQL_SLOTS];
};

/* ---- arguments ---- */

typedef struct srv_sql_arg {
    enum { SRV_SQL_INT, SRV_SQL_DOUBLE, SRV_SQL_TEXT, SRV_SQL_NULL } kind;
    int64_t i;
    double d;
    const char *t; /* borrowed until the query ends */
} srv_sql_arg;

static inline srv_sql_arg srv_i(int64_t i)
{
    return (srv_sql_arg){.kind = SRV_SQL_INT, .i = i};
}
static inline srv_sql_arg srv_d(double d)
{
    return (srv_sql_arg){.kind = SRV_SQL_DOUBLE, .d = d};
}
static inline srv_sql_arg srv_t(const char *t)
{
    return (srv_sql_arg){.kind = SRV_SQL_TEXT, .t = t ? t : ""};
}
/* A reference: 0 means none, which is NULL in the database. */
static inline srv_sql_arg srv_ref(int64_t id)
{
    return (srv_sql_arg){.kind = id ? SRV_SQL_INT : SRV_SQL_NULL, .i = id};
}
static inline srv_sql_arg srv_null(void)
{
    return (srv_sql_arg){.kind = SRV_SQL_NULL};
}

/* ---- queries ---- */

/* SRV_AUTO_QUERY q = NULL;   reset when its scope ends, so that the statement can be used again */
static inline void srv_sql_reset(sqlite3_stmt **q)
{
    if (!*q) return;
    (void)sqlite3_reset(*q);
    (void)sqlite3_clear_bindings(*q);
}
#define SRV_AUTO_QUERY __attribute__((cleanup(srv_sql_reset))) sqlite3_stmt *

/* `sql` must be a string literal. Takes the prepared statement and binds the arguments. */
MSA_NODISCARD msa_status srv_sql_open(srv_store *s, sqlite3_stmt **q, const char *sql,
                                      const srv_sql_arg *args, size_t n_args, msa_error *err);
/* *row: there is one. */
MSA_NODISCARD msa_status srv_sql_step(srv_store *s, sqlite3_stmt *q, bool *row, msa_error *err);
/* Runs to the end; *changes (may be NULL) is the number of rows it changed. */
MSA_NODISCARD msa_status srv_sql_run(srv_store *s, const char *sql, const srv_sql_arg *args, size_t n_args,
                                     int *changes, msa_error *err);
/* The first column of the first row; 0 when there is none or it is NULL. */
MSA_NODISCARD msa_status srv_sql_value(srv_store *s, const char *sql, const srv_sql_arg *args, size_t n_args,
                                       int64_t *value, msa_error *err);

#define SRV_ARGS_(...)                                                                                       \
    (const srv_sql_arg[]){__VA_ARGS__}, sizeof((const srv_sql_arg[]){__VA_ARGS__}) / sizeof(srv_sql_arg)
#define SRV_OPEN(s, q, err, sql, ...)      srv_sql_open((s), (q), sql, SRV_ARGS_(__VA_ARGS__), (err))
#define SRV_RUN(s, changes, err, sql, ...) srv_sql_run((s), sql, SRV_ARGS_(__VA_ARGS__), (changes), (err))
#define SRV_VALUE(s, value, err, sql, ...) srv_sql_value((s), sql, SRV_ARGS_(__VA_ARGS__), (value), (err))

/* Column as text, cut to the array; NULL becomes "". */
void srv_sql_text(sqlite3_stmt *q, int column, char *to, size_t size);
#define SRV_TEXT(q, column, array) srv_sql_text((q), (column), (array), sizeof(array))

/* ---- transactions ---- */

/* Every public call is `MSA_TRY(srv_tx_begin(s, err)); return srv_tx_end(s, body(...), err);`: all or
 * nothing. */
MSA_NODISCARD msa_status srv_tx_begin(srv_store *s, msa_error *err);
MSA_NODISCARD msa_status srv_tx_end(srv_store *s, msa_status status, msa_error *err);

/* A commit or a checkpoint failed for another reason than a full disk. */
bool srv_store_failing(const srv_store *s);

/* Records a failure of SQLite; rc is its (extended) result code. */
msa_status srv_sql_fail(sqlite3 *db, int rc, const char *doing, msa_error *err);

#endif
