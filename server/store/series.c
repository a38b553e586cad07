#include "server/store/internal.h"

#include <sys/random.h>

void srv_series_read(sqlite3_stmt *q, srv_series *out)
{
    *out = (srv_series){.id = sqlite3_column_int64(q, 0),
                        .first_ms = sqlite3_column_int64(q, 1),
                        .last_ms = sqlite3_column_int64(q, 2),
                        .closed_ms = sqlite3_column_int64(q, 3),
                        .instances = sqlite3_column_int64(q, 4),
                        .prompts = sqlite3_column_int64(q, 5),
                        .expected = sqlite3_column_int(q, 6),
                        .open = sqlite3_column_int(q, 7) != 0,
                        .slices = sqlite3_column_int64(q, 13),
                        .told = sqlite3_column_int(q, 14),
                        .found = sqlite3_column_int(q, 15),
                        .asked_ms = sqlite3_column_int64(q, 16),
                        .study_expected = sqlite3_column_int(q, 17),
                        .acquisition_expected = sqlite3_column_int(q, 18),
                        .held = sqlite3_column_int(q, 19) != 0,
                        .forced = sqlite3_column_int(q, 20) != 0};
    SRV_TEXT(q, 8, out->study_uid);
    SRV_TEXT(q, 9, out->series_uid);
    SRV_TEXT(q, 10, out->modality);
    SRV_TEXT(q, 11, out->body_part);
    SRV_TEXT(q, 12, out->closed_by);
    SRV_TEXT(q, 21, out->sender);
}

/* ---- the open job ---- */

static msa_status open_job(srv_store *s, int64_t series_id, srv_job_state state, int64_t now_ms,
                           msa_error *err)
{
    unsigned char random[16];
    char public_id[2 * sizeof random + 1];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return msa_fail(err, MSA_E_IO, "the system gives no random numbers");
    for (size_t k = 0; k < sizeof random; k++) {
        static const char hex[] = "0123456789abcdef";
        public_id[2 * k] = hex[random[k] >> 4];
        public_id[2 * k + 1] = hex[random[k] & 15];
    }
    public_id[2 * sizeof random] = '\0';
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO sender(name) SELECT sender FROM series WHERE id = ? ON CONFLICT DO NOTHING",
                    srv_i(series_id)));
    return SRV_RUN(s, NULL, err,
                   "INSERT INTO job(public_id, series_id, supersedes, state, created_ms, sender) VALUES"
                   " (?1, ?2, coalesce((SELECT max(id) FROM job WHERE series_id = ?2), 0), ?3, ?4,"
                   " (SELECT sender FROM series WHERE id = ?2))",
                   srv_t(public_id), srv_i(series_id), srv_i(state), srv_i(now_ms));
}

/* The state of the series' open job, or -1. */
static msa_status open_job_state(srv_store *s, int64_t series_id, int64_t *state, msa_error *err)
{
    MSA_TRY(SRV_VALUE(s, state, err, "SELECT 1 + state FROM job WHERE series_id = ? AND state IN (0, 1)",
                      srv_i(series_id)));
    *state -= 1;
    return MSA_OK;
}

/* ---- arrival ---- */

msa_status srv_series_reopen(srv_store *s, int64_t series_id, int64_t now_ms, msa_error *err)
{
    int64_t state = 0;
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE series SET open = 1, attention = 1, closed_ms = 0, closed_by = '', last_ms = max(last_ms, ?2)"
        " WHERE id = ?1",
        srv_i(series_id), srv_i(now_ms)));
    MSA_TRY(open_job_state(s, series_id, &state, err));
    if (state == SRV_JOB_RECEIVING) return MSA_OK;
    if (state == SRV_JOB_WAITING_PROMPT)
        return SRV_RUN(s, NULL, err, "UPDATE job SET state = 0 WHERE series_id = ? AND state = 1",
                       srv_i(series_id));
    return open_job(s, series_id, SRV_JOB_RECEIVING, now_ms, err);
}

static msa_status insert_series(srv_store *s, const dicom_header *header, int64_t association_id,
                                int64_t now_ms, int64_t *series_id, msa_error *err)
{
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "INSERT INTO series(series_uid, study_uid, modality, body_part, study_description,"
        " series_description, protocol, sender, first_ms, last_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
        " coalesce((SELECT calling_ae FROM association WHERE id = ?8), ''), ?9, ?9)",
        srv_t(header->series_uid), srv_t(header->study_uid), srv_t(header->modality),
        srv_t(header->body_part), srv_t(header->study_description), srv_t(header->series_description),
        srv_t(header->protocol), srv_i(association_id), srv_i(now_ms)));
    *series_id = sqlite3_last_insert_rowid(s->db);
    return MSA_OK;
}

msa_status srv_series_arrive(srv_store *s, const dicom_header *header, int64_t association_id, int64_t now_ms,
                             int64_t *series_id, msa_error *err)
{
    MSA_TRY(SRV_VALUE(s, series_id, err, "SELECT id FROM series WHERE series_uid = ?",
                      srv_t(header->series_uid)));
    if (!*series_id) MSA_TRY(insert_series(s, header, association_id, now_ms, series_id, err));
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE series SET frame_of_reference_uid = ?2 WHERE id = ?1"
                    " AND frame_of_reference_uid = '' AND ?2 <> ''",
                    srv_i(*series_id), srv_t(header->frame_of_reference_uid)));
    MSA_TRY(srv_series_describe(s, *series_id, header, err));
    return srv_series_reopen(s, *series_id, now_ms, err);
}

/*
 * One rule for every state: a job that still gathers takes the prompts when it is bound; any other job keeps
 * the inputs that it was bound to, and a new one is opened that binds all prompts of the series. A job that
 * is queued and unclaimed then is cancelled when the new one is queued (srv_store_job_bind), so nothing is
 * computed in vain.
 */
msa_status srv_series_prompted(srv_store *s, int64_t series_id, int64_t now_ms, msa_error *err)
{
    int64_t state = 0;
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE series SET attention = 1 WHERE id = ?", srv_i(series_id)));
    MSA_TRY(open_job_state(s, series_id, &state, err));
    return state >= 0 ? MSA_OK : open_job(s, series_id, SRV_JOB_WAITING_PROMPT, now_ms, err);
}

/* ---- completeness ---- */

static msa_status close_body(srv_store *s, int64_t series_id, const char *rule, int64_t now_ms,
                             msa_error *err)
{
    int changes = 0;
    MSA_TRY(SRV_RUN(
        s, &changes, err,
        "UPDATE series SET open = 0, force = 0, closed_ms = ?2, closed_by = ?3 WHERE id = ?1 AND open = 1",
        srv_i(series_id), srv_i(now_ms), srv_t(rule)));
    return changes ? MSA_OK : msa_fail(err, MSA_E_INVALID, "series %lld is not open", (long long)series_id);
}

msa_status srv_store_series_close(srv_store *s, int64_t series_id, const char *rule, int64_t now_ms,
                                  msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, close_body(s, series_id, rule, now_ms, err), err);
}

/* ---- what a person says ---- */

/* One setting of the series, which is looked at again. */
static msa_status say(srv_store *s, const char *sql, const char *series_uid, int64_t value, msa_error *err)
{
    int changes = 0;
    MSA_TRY(srv_tx_begin(s, err));
    msa_status status =
        srv_sql_run(s, sql, (const srv_sql_arg[]){srv_t(series_uid), srv_i(value)}, 2, &changes, err);
    if (status == MSA_OK && changes == 0) status = msa_fail(err, MSA_E_NOT_FOUND, "there is no such series");
    return srv_tx_end(s, status, err);
}

msa_status srv_store_series_hold(srv_store *s, const char *series_uid, bool held, msa_error *err)
{
    return say(s, "UPDATE series SET held = ?2, attention = 1 WHERE series_uid = ?1", series_uid, held, err);
}

msa_status srv_store_series_complete(srv_store *s, const char *series_uid, msa_error *err)
{
    return say(s, "UPDATE series SET held = ?2, force = open, attention = 1 WHERE series_uid = ?1",
               series_uid, 0, err);
}

msa_status srv_store_series_tell(srv_store *s, const char *series_uid, int32_t images, msa_error *err)
{
    return say(s, "UPDATE series SET told = ?2, attention = 1 WHERE series_uid = ?1", series_uid, images,
               err);
}

/* ---- what its source says ---- */

static msa_status ask_body(srv_store *s, const char *sender, int64_t now_ms, int64_t *id, msa_error *err)
{
    MSA_TRY(SRV_VALUE(
        s, id, err,
        "SELECT s.id FROM series s INDEXED BY series_attention WHERE s.attention = 1 AND s.open = 1 AND "
        "s.held = 0"
        " AND s.sender = ?1 AND s.asked_ms < s.last_ms AND NOT EXISTS (SELECT 1 FROM instance r INDEXED BY "
        "instance_received WHERE r.state = 0) AND NOT EXISTS (SELECT 1 FROM association a WHERE a.closed_ms "
        "= 0"
        " AND EXISTS (SELECT 1 FROM instance i WHERE i.association_id = a.id AND i.series_id = s.id))"
        " ORDER BY s.id LIMIT 1",
        srv_t(sender)));
    if (!*id) return msa_fail(err, MSA_E_NOT_FOUND, "no series is to be asked for");
    return SRV_RUN(s, NULL, err, "UPDATE series SET asked_ms = ?2, found = -1 WHERE id = ?1", srv_i(*id),
                   srv_i(now_ms));
}

static msa_status get_by_id(srv_store *s, int64_t id, srv_series *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err, "SELECT " SRV_SERIES_COLUMNS " FROM series s WHERE s.id = ?", srv_i(id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no such series");
    srv_series_read(q, out);
    return MSA_OK;
}

msa_status srv_store_series_ask(srv_store *s, const char *sender, int64_t now_ms, srv_series *out,
                                msa_error *err)
{
    int64_t id = 0;
    MSA_TRY(srv_tx_begin(s, err));
    msa_status status = ask_body(s, sender, now_ms, &id, err);
    if (status == MSA_OK) status = get_by_id(s, id, out, err);
    return srv_tx_end(s, status, err);
}

msa_status srv_store_series_found(srv_store *s, int64_t series_id, int32_t images, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(
        s,
        SRV_RUN(s, NULL, err, "UPDATE series SET found = ?2 WHERE id = ?1", srv_i(series_id), srv_i(images)),
        err);
}

/* ---- rules ---- */

static msa_status rules_body(srv_store *s, const char *rules, bool *changed, msa_error *err)
{
    int64_t same = 0;
    MSA_TRY(SRV_VALUE(s, &same, err, "SELECT 1 FROM fact WHERE name = 'rules' AND value = ?", srv_t(rules)));
    *changed = same == 0;
    if (same) return MSA_OK;
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO fact(name, value) VALUES ('rules', ?1)"
                    " ON CONFLICT(name) DO UPDATE SET value = ?1",
                    srv_t(rules)));
    return srv_sql_run(s,
                       "UPDATE series SET attention = 1 WHERE id IN"
                       " (SELECT series_id FROM job INDEXED BY job_open WHERE state IN (0, 1))",
                       NULL, 0, NULL, err);
}

msa_status srv_store_rules_known(srv_store *s, const char *rules, bool *changed, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, rules_body(s, rules, changed, err), err);
}

/* ---- lists ---- */

msa_status srv_store_series_list(srv_store *s, int64_t before_id, int32_t limit, srv_series_fn *row,
                                 void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_SERIES_COLUMNS " FROM series s WHERE s.id < ? ORDER BY s.id DESC LIMIT ?",
                     srv_i(before_id > 0 ? before_id : INT64_MAX), srv_i(limit)));
    for (;;) {
        srv_series series;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_series_read(q, &series);
        row(ctx, &series);
    }
}

msa_status srv_store_series_get(srv_store *s, const char *series_uid, srv_series *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err, "SELECT " SRV_SERIES_COLUMNS " FROM series s WHERE s.series_uid = ?",
                     srv_t(series_uid)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no such series");
    srv_series_read(q, out);
    return MSA_OK;
}
