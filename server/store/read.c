/* Lists and counts for REST; the rows themselves are read beside the idea they belong to. */
#include "server/store/candidates.h"
#include "server/store/internal.h"

msa_status srv_store_jobs(srv_store *s, int state, const char *series_uid, int64_t before_id, int32_t limit,
                          srv_job_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    const int64_t before = before_id > 0 ? before_id : INT64_MAX;
    /* A query of its own for each filter, so that each has its index. */
    if (series_uid && series_uid[0]) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         SRV_JOB_SELECT "WHERE s.series_uid = ?1 AND (?2 < 0 OR j.state = ?2) AND j.id < ?3"
                                        " ORDER BY j.id DESC LIMIT ?4",
                         srv_t(series_uid), srv_i(state), srv_i(before), srv_i(limit)));
    } else if (state >= 0) {
        MSA_TRY(SRV_OPEN(s, &q, err,
                         SRV_JOB_SELECT "WHERE j.state = ? AND j.id < ? ORDER BY j.id DESC LIMIT ?",
                         srv_i(state), srv_i(before), srv_i(limit)));
    } else {
        MSA_TRY(SRV_OPEN(s, &q, err, SRV_JOB_SELECT "WHERE j.id < ? ORDER BY j.id DESC LIMIT ?",
                         srv_i(before), srv_i(limit)));
    }
    for (;;) {
        srv_job job;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_job_read(q, &job);
        row(ctx, &job);
    }
}

static msa_status one_job(srv_store *s, sqlite3_stmt *q, srv_job *out, msa_error *err)
{
    bool row = false;
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no such job");
    srv_job_read(q, out);
    return MSA_OK;
}

msa_status srv_store_job_get(srv_store *s, const char *public_id, srv_job *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err, SRV_JOB_SELECT "WHERE j.public_id = ?", srv_t(public_id)));
    return one_job(s, q, out, err);
}

msa_status srv_store_job_get_id(srv_store *s, int64_t id, srv_job *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    MSA_TRY(SRV_OPEN(s, &q, err, SRV_JOB_SELECT "WHERE j.id = ?", srv_i(id)));
    return one_job(s, q, out, err);
}

msa_status srv_store_job_results(srv_store *s, int64_t job_id, srv_result_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT " SRV_RESULT_COLUMNS " FROM result r WHERE r.job_id = ? ORDER BY r.number",
                     srv_i(job_id)));
    for (;;) {
        srv_result r;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_result_read(q, 0, &r);
        row(ctx, &r);
    }
}

msa_status srv_store_job_segments(srv_store *s, int64_t job_id, srv_segment_fn *row, void *ctx,
                                  msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(
        SRV_OPEN(s, &q, err,
                 "SELECT job_id, number, voxels, first_slice, last_slice, volume_ml, mean_iou, label, note,"
                 " candidates FROM segment WHERE job_id = ? ORDER BY number",
                 srv_i(job_id)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_segment g = {.job_id = sqlite3_column_int64(q, 0),
                         .number = sqlite3_column_int(q, 1),
                         .voxels = sqlite3_column_int64(q, 2),
                         .first_slice = sqlite3_column_int(q, 3),
                         .last_slice = sqlite3_column_int(q, 4),
                         .volume_ml = sqlite3_column_double(q, 5),
                         .mean_iou = sqlite3_column_double(q, 6)};
        SRV_TEXT(q, 7, g.label);
        SRV_TEXT(q, 8, g.note);
        char candidates[SRV_CANDIDATES_TEXT];
        SRV_TEXT(q, 9, candidates);
        g.candidates = srv_candidates_read(candidates);
        row(ctx, &g);
    }
}

/* ---- counts ---- */

static msa_status count_jobs(srv_store *s, srv_store_counts *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(srv_sql_open(s, &q, "SELECT state, count(*) FROM job GROUP BY state", NULL, 0, err));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        const int state = sqlite3_column_int(q, 0);
        if (state >= 0 && state <= SRV_JOB_CANCELLED) out->jobs[state] = sqlite3_column_int64(q, 1);
    }
}

/* Ids rise with time, so the first of a state is its oldest. */
static msa_status oldest_jobs(srv_store *s, srv_store_counts *out, msa_error *err)
{
    for (int state = SRV_JOB_RECEIVING; state <= SRV_JOB_DELIVERING; state++)
        if (out->jobs[state] > 0)
            MSA_TRY(SRV_VALUE(
                s, &out->oldest_ms[state], err,
                "SELECT created_ms FROM job INDEXED BY job_state WHERE state = ? ORDER BY id LIMIT 1",
                srv_i(state)));
    return MSA_OK;
}

msa_status srv_store_count(srv_store *s, srv_store_counts *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    *out = (srv_store_counts){0};
    MSA_TRY(count_jobs(s, out, err));
    MSA_TRY(oldest_jobs(s, out, err));
    MSA_TRY(srv_sql_open(
        s, &q,
        "SELECT (SELECT count(*) FROM instance), (SELECT count(*) FROM instance WHERE state = 2),"
        " (SELECT count(*) FROM series), (SELECT count(*) FROM prompt),"
        " (SELECT count(*) FROM delivery WHERE state = 'pending')"
        " + (SELECT count(*) FROM delivery WHERE state = 'sending'),"
        " (SELECT count(*) FROM delivery WHERE state = 'dead'),"
        " (SELECT min(queued_ms) FROM job WHERE state = 2)",
        NULL, 0, err));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    out->instances = sqlite3_column_int64(q, 0);
    out->rejected = sqlite3_column_int64(q, 1);
    out->series = sqlite3_column_int64(q, 2);
    out->prompts = sqlite3_column_int64(q, 3);
    out->deliveries_pending = sqlite3_column_int64(q, 4);
    out->deliveries_dead = sqlite3_column_int64(q, 5);
    out->oldest_queued_ms = sqlite3_column_int64(q, 6);
    return MSA_OK;
}
