/* What a person says of a job: cancel, retry, priority; and answers kept for requests that are repeated. */
#include "server/store/internal.h"

#define CANCELLED "cancelled over REST"

static msa_status refuse(const srv_job *job, const char *why, msa_error *err)
{
    return msa_fail(err, MSA_E_INVALID, "the job is %s: %s", srv_job_state_name(job->state), why);
}

/*
 * The token is raised with the state: a worker or sender that still has the job has lost it, and what it
 * brings is not taken. What is being sent at this moment may arrive all the same; the delivery says so.
 */
static msa_status cancel_body(srv_store *s, const char *public_id, int64_t now_ms, msa_error *err)
{
    srv_job job;
    MSA_TRY(srv_store_job_get(s, public_id, &job, err));
    if (srv_job_state_is_final(job.state)) return refuse(&job, "there is nothing to cancel", err);
    if (job.state == SRV_JOB_RECEIVING)
        return refuse(&job, "images of its series still come and would open another; hold the series instead",
                      err);
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE delivery SET token = token + 1, state = 'cancelled', comment = CASE state WHEN 'sending'"
        " THEN '" CANCELLED " while it was being sent: it may have arrived' ELSE '" CANCELLED "' END"
        " WHERE job_id = ? AND state IN ('pending', 'sending')",
        srv_i(job.id)));
    return SRV_RUN(s, NULL, err,
                   "UPDATE job SET state = 8, token = token + 1, lease_until_ms = 0, finished_ms = ?2, "
                   "reason = '" CANCELLED "' WHERE id = ?1",
                   srv_i(job.id), srv_i(now_ms));
}

msa_status srv_store_job_cancel(srv_store *s, const char *public_id, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, cancel_body(s, public_id, now_ms, err), err);
}

/* Has the job anything that was not delivered? */
static msa_status undelivered(srv_store *s, const srv_job *job, bool *some, msa_error *err)
{
    int64_t n = 0;
    MSA_TRY(SRV_VALUE(s, &n, err,
                      "SELECT count(*) FROM delivery WHERE job_id = ? AND state IN ('dead', 'cancelled')",
                      srv_i(job->id)));
    *some = n > 0;
    return MSA_OK;
}

static msa_status may_retry(srv_store *s, const srv_job *job, bool some, msa_error *err)
{
    int64_t newer = 0;
    const bool ended_badly = job->state == SRV_JOB_FAILED || job->state == SRV_JOB_CANCELLED;
    if (!srv_job_state_is_final(job->state)) return refuse(job, "it has not ended", err);
    if (!ended_badly && !some) return refuse(job, "there is nothing to try again", err);
    MSA_TRY(SRV_VALUE(
        s, &newer, err,
        "SELECT 1 FROM job INDEXED BY job_series WHERE series_id = ? AND id > ? AND state <> 8 LIMIT 1",
        srv_i(job->series_id), srv_i(job->id)));
    return newer ? refuse(job, "a newer job of its series has taken its place", err) : MSA_OK;
}

/* Results are never made twice: what is there is only sent. Without results it is computed from what it was
 * bound to; a job that was never bound waits for prompts again. */
static msa_status retry_body(srv_store *s, const char *public_id, int64_t now_ms, msa_error *err)
{
    srv_job job;
    bool some = false;
    int64_t results = 0;
    MSA_TRY(srv_store_job_get(s, public_id, &job, err));
    MSA_TRY(undelivered(s, &job, &some, err));
    MSA_TRY(may_retry(s, &job, some, err));
    MSA_TRY(SRV_VALUE(s, &results, err, "SELECT count(*) FROM result WHERE job_id = ?", srv_i(job.id)));
    if (results > 0 && !some)
        return refuse(&job, "its results went to nobody, so there is nothing to send", err);
    MSA_TRY(
        SRV_RUN(s, NULL, err,
                "UPDATE delivery SET state = 'pending', refusals = 0, created_ms = ?2, run_at_ms = ?2 WHERE"
                " job_id = ?1 AND state IN ('dead', 'cancelled')",
                srv_i(job.id), srv_i(now_ms)));
    const srv_job_state state = results > 0                ? SRV_JOB_DELIVERING
                                : job.input_key[0] != '\0' ? SRV_JOB_QUEUED
                                                           : SRV_JOB_WAITING_PROMPT;
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE series SET attention = 1 WHERE id = ?", srv_i(job.series_id)));
    return SRV_RUN(s, NULL, err,
                   "UPDATE job SET state = ?2, attempt = 0, reason = '', finished_ms = 0, run_at_ms = ?3,"
                   " queued_ms = CASE ?2 WHEN 2 THEN ?3 ELSE queued_ms END WHERE id = ?1",
                   srv_i(job.id), srv_i(state), srv_i(now_ms));
}

msa_status srv_store_job_retry(srv_store *s, const char *public_id, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, retry_body(s, public_id, now_ms, err), err);
}

static msa_status prioritise_body(srv_store *s, const char *public_id, srv_priority priority, msa_error *err)
{
    srv_job job;
    MSA_TRY(srv_store_job_get(s, public_id, &job, err));
    if (srv_job_state_is_final(job.state)) return refuse(&job, "its turn is over", err);
    return SRV_RUN(s, NULL, err, "UPDATE job SET priority = ?2 WHERE id = ?1", srv_i(job.id),
                   srv_i(priority));
}

msa_status srv_store_job_prioritise(srv_store *s, const char *public_id, srv_priority priority,
                                    msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, prioritise_body(s, public_id, priority, err), err);
}

/* ---- repeated requests ---- */

msa_status srv_store_answer_get(srv_store *s, const char *key_sha256, int64_t now_ms, srv_answer_fn *found,
                                void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT request_sha256, status, location, body FROM idempotency WHERE key_sha256 = ? AND"
                     " expires_ms > ?",
                     srv_t(key_sha256), srv_i(now_ms)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return MSA_OK;
    const srv_answer answer = {(const char *)sqlite3_column_text(q, 0), sqlite3_column_int(q, 1),
                               (const char *)sqlite3_column_text(q, 2),
                               (const char *)sqlite3_column_text(q, 3)};
    return found(ctx, &answer, err);
}

static msa_status keep_body(srv_store *s, const char *key_sha256, const srv_answer *a, int64_t now_ms,
                            int64_t expires_ms, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM idempotency WHERE expires_ms <= ?", srv_i(now_ms)));
    return SRV_RUN(
        s, NULL, err,
        "INSERT OR REPLACE INTO idempotency(key_sha256, request_sha256, status, location, body, expires_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        srv_t(key_sha256), srv_t(a->request_sha256), srv_i(a->status), srv_t(a->location), srv_t(a->body),
        srv_i(expires_ms));
}

msa_status srv_store_answer_keep(srv_store *s, const char *key_sha256, const srv_answer *answer,
                                 int64_t now_ms, int64_t expires_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, keep_body(s, key_sha256, answer, now_ms, expires_ms, err), err);
}
