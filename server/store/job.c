#include "server/store/candidates.h"
#include "server/store/internal.h"

#include <math.h>
#include <stdio.h>

static const char *const state_names[] = {"receiving", "waiting_prompt",  "queued", "running",  "delivering",
                                          "succeeded", "succeeded_empty", "failed", "cancelled"};

const char *srv_job_state_name(srv_job_state state)
{
    return (unsigned)state <= SRV_JOB_CANCELLED ? state_names[state] : "unknown";
}

const char *srv_priority_name(srv_priority priority)
{
    static const char *const names[] = {"background", "normal", "urgent"};
    return (unsigned)priority <= SRV_PRIORITY_URGENT ? names[priority] : "unknown";
}

bool srv_job_state_is_final(srv_job_state state)
{
    return state >= SRV_JOB_SUCCEEDED;
}

void srv_job_read(sqlite3_stmt *q, srv_job *out)
{
    *out = (srv_job){.id = sqlite3_column_int64(q, 0),
                     .series_id = sqlite3_column_int64(q, 2),
                     .supersedes = sqlite3_column_int64(q, 3),
                     .state = (srv_job_state)sqlite3_column_int(q, 4),
                     .attempt = sqlite3_column_int(q, 5),
                     .max_attempts = sqlite3_column_int(q, 6),
                     .token = sqlite3_column_int64(q, 7),
                     .lease_until_ms = sqlite3_column_int64(q, 8),
                     .created_ms = sqlite3_column_int64(q, 9),
                     .queued_ms = sqlite3_column_int64(q, 10),
                     .started_ms = sqlite3_column_int64(q, 11),
                     .finished_ms = sqlite3_column_int64(q, 12),
                     .run_at_ms = sqlite3_column_int64(q, 13),
                     .progress_done = sqlite3_column_int(q, 14),
                     .progress_total = sqlite3_column_int(q, 15),
                     .untrained = sqlite3_column_int(q, 16) != 0,
                     .prompts = sqlite3_column_int64(q, 24)};
    SRV_TEXT(q, 1, out->public_id);
    SRV_TEXT(q, 17, out->reason);
    SRV_TEXT(q, 18, out->warnings);
    SRV_TEXT(q, 19, out->input_key);
    SRV_TEXT(q, 20, out->model_name);
    SRV_TEXT(q, 21, out->model_version);
    SRV_TEXT(q, 22, out->model_hash);
    SRV_TEXT(q, 23, out->preview_sha256);
    SRV_TEXT(q, 25, out->study_uid);
    SRV_TEXT(q, 26, out->series_uid);
    SRV_TEXT(q, 27, out->modality);
    SRV_TEXT(q, 28, out->body_part);
    SRV_TEXT(q, 29, out->rule);
    out->priority = (srv_priority)sqlite3_column_int(q, 30);
    SRV_TEXT(q, 31, out->slices_sha256);
}

/* ---- claim and lease ---- */

/* Of one priority: the oldest due job of the sender who was served the longest ago and has one. Each sender
 * costs a look into the index, so thousands of jobs of one do not slow it down, nor hold up the single job of
 * another. */
static msa_status next_of_priority(srv_store *s, srv_priority priority, int64_t now_ms, int64_t *id,
                                   msa_error *err)
{
    return SRV_VALUE(
        s, id, err,
        "SELECT id FROM (SELECT t.turn AS turn, t.name AS name, (SELECT q.id FROM job q INDEXED BY job_queued"
        " WHERE q.state = 2 AND q.priority = ?1 AND q.sender = t.name AND q.run_at_ms <= ?2 AND"
        " q.attempt < q.max_attempts ORDER BY q.queued_ms, q.id LIMIT 1) AS id FROM sender t)"
        " WHERE id IS NOT NULL ORDER BY turn, name LIMIT 1",
        srv_i(priority), srv_i(now_ms));
}

/* The attempt is counted before the work starts, so a job that kills its worker, or core, still burns one. */
static msa_status claim_body(srv_store *s, int64_t now_ms, int64_t lease_ms, srv_job *out, msa_error *err)
{
    int64_t id = 0;
    for (int p = SRV_PRIORITY_URGENT; id == 0 && p >= SRV_PRIORITY_BACKGROUND; p--)
        MSA_TRY(next_of_priority(s, (srv_priority)p, now_ms, &id, err));
    if (!id) return msa_fail(err, MSA_E_NOT_FOUND, "no job is due");
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE job SET state = 3, attempt = attempt + 1, token = token + 1, lease_until_ms = ?2,"
                    " started_ms = ?3, progress_done = 0, progress_total = 0, reason = '' WHERE id = ?1",
                    srv_i(id), srv_i(now_ms + lease_ms), srv_i(now_ms)));
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE sender SET turn = (SELECT max(turn) + 1 FROM sender) WHERE name = (SELECT sender FROM job"
        " WHERE id = ?)",
        srv_i(id)));
    return srv_store_job_get_id(s, id, out, err);
}

/*
 * A queued job without attempts left does not arise from the steps below; should one (an operator's hand, a
 * later schema), it must not wait for ever. A transaction of its own: NOT_FOUND undoes the claim's.
 */
static msa_status fail_exhausted_body(srv_store *s, int64_t now_ms, msa_error *err)
{
    return SRV_RUN(s, NULL, err,
                   "UPDATE job INDEXED BY job_exhausted SET state = 7, finished_ms = ?, reason = CASE reason "
                   "WHEN '' THEN"
                   " 'gave up after ' || attempt || ' attempts' ELSE reason END"
                   " WHERE state = 2 AND attempt >= max_attempts",
                   srv_i(now_ms));
}

static msa_status fail_exhausted(srv_store *s, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, fail_exhausted_body(s, now_ms, err), err);
}

msa_status srv_store_job_claim(srv_store *s, int64_t now_ms, int64_t lease_ms, srv_job *out, msa_error *err)
{
    int64_t exhausted = 0;
    MSA_TRY(srv_sql_value(
        s, "SELECT count(*) FROM job INDEXED BY job_exhausted WHERE state = 2 AND attempt >= max_attempts",
        NULL, 0, &exhausted, err));
    if (exhausted) MSA_TRY(fail_exhausted(s, now_ms, err));
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, claim_body(s, now_ms, lease_ms, out, err), err);
}

static msa_status lost(int64_t job_id, msa_error *err)
{
    return msa_fail(err, MSA_E_INVALID, "the lease was lost (job %lld)", (long long)job_id);
}

static msa_status heartbeat_body(srv_store *s, int64_t job_id, int64_t token, int64_t lease_until_ms,
                                 int32_t done, int32_t total, msa_error *err)
{
    int changes = 0;
    MSA_TRY(SRV_RUN(
        s, &changes, err,
        "UPDATE job SET lease_until_ms = max(lease_until_ms, ?3), progress_done = ?4, progress_total = ?5"
        " WHERE id = ?1 AND token = ?2 AND state = 3",
        srv_i(job_id), srv_i(token), srv_i(lease_until_ms), srv_i(done), srv_i(total)));
    return changes ? MSA_OK : lost(job_id, err);
}

msa_status srv_store_job_heartbeat(srv_store *s, int64_t job_id, int64_t token, int64_t lease_until_ms,
                                   int32_t done, int32_t total, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, heartbeat_body(s, job_id, token, lease_until_ms, done, total, err), err);
}

/* The job, if it is still this claim's. */
static msa_status held(srv_store *s, int64_t job_id, int64_t token, srv_job *job, msa_error *err)
{
    msa_error none = MSA_ERROR_INIT;
    const msa_status status = srv_store_job_get_id(s, job_id, job, &none);
    if (status == MSA_E_NOT_FOUND) return lost(job_id, err);
    if (status != MSA_OK) return msa_fail(err, status, "%s", none.what);
    return job->state == SRV_JOB_RUNNING && job->token == token ? MSA_OK : lost(job_id, err);
}

/* ---- an attempt that did not end well ---- */

msa_status srv_job_is_overtaken(srv_store *s, int64_t job_id, bool *yes, msa_error *err)
{
    int64_t newer = 0;
    MSA_TRY(SRV_VALUE(s, &newer, err,
                      "SELECT 1 FROM job o CROSS JOIN job j INDEXED BY job_series ON j.series_id = "
                      "o.series_id AND j.id > o.id"
                      " WHERE o.id = ? AND j.state IN (4, 5, 6) LIMIT 1",
                      srv_i(job_id)));
    *yes = newer != 0;
    return MSA_OK;
}

/* Is there a job of the series with newer inputs that has not failed? Then another try of this one is in
 * vain. */
static msa_status has_successor(srv_store *s, const srv_job *job, bool *yes, msa_error *err)
{
    int64_t newer = 0;
    MSA_TRY(SRV_VALUE(s, &newer, err,
                      "SELECT 1 FROM job INDEXED BY job_series WHERE series_id = ? AND id > ? AND state "
                      "BETWEEN 2 AND 6 LIMIT 1",
                      srv_i(job->series_id), srv_i(job->id)));
    *yes = newer != 0;
    return MSA_OK;
}

static msa_status set_final(srv_store *s, int64_t job_id, srv_job_state state, const char *reason,
                            int64_t now_ms, msa_error *err)
{
    return SRV_RUN(s, NULL, err, "UPDATE job SET state = ?2, reason = ?3, finished_ms = ?4 WHERE id = ?1",
                   srv_i(job_id), srv_i(state), srv_t(reason), srv_i(now_ms));
}

/* The reason stays on a queued job: it tells why the last try failed, until the next one starts. */
static msa_status try_again_or_fail(srv_store *s, const srv_job *job, const char *reason, bool final,
                                    int64_t run_at_ms, int64_t now_ms, bool *requeued, msa_error *err)
{
    bool replaced = false;
    *requeued = false;
    MSA_TRY(has_successor(s, job, &replaced, err));
    if (replaced) return set_final(s, job->id, SRV_JOB_CANCELLED, SRV_REPLACED, now_ms, err);
    if (final || job->attempt >= job->max_attempts)
        return set_final(s, job->id, SRV_JOB_FAILED, reason, now_ms, err);
    *requeued = true;
    return SRV_RUN(s, NULL, err,
                   "UPDATE job SET state = 2, reason = ?2, run_at_ms = ?3, lease_until_ms = 0 WHERE id = ?1",
                   srv_i(job->id), srv_t(reason), srv_i(run_at_ms));
}

static msa_status failed_body(srv_store *s, int64_t job_id, int64_t token, const char *reason, bool final,
                              int64_t now_ms, msa_error *err)
{
    srv_job job;
    bool requeued = false;
    MSA_TRY(held(s, job_id, token, &job, err));
    /* 2 s, 8 s: enough for memory or disk to come free, short enough for a person who waits. */
    const int64_t pause_ms = 2000 * (1LL << (2 * (job.attempt < 6 ? job.attempt - 1 : 5)));
    return try_again_or_fail(s, &job, reason, final, now_ms + pause_ms, now_ms, &requeued, err);
}

msa_status srv_store_job_failed(srv_store *s, int64_t job_id, int64_t token, const char *reason, bool final,
                                int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, failed_body(s, job_id, token, reason, final, now_ms, err), err);
}

static msa_status put_back_body(srv_store *s, int64_t job_id, int64_t token, const char *reason,
                                int64_t run_at_ms, int64_t now_ms, msa_error *err)
{
    srv_job job;
    bool requeued = false;
    MSA_TRY(held(s, job_id, token, &job, err));
    job.attempt--;
    MSA_TRY(try_again_or_fail(s, &job, reason, false, run_at_ms, now_ms, &requeued, err));
    return SRV_RUN(s, NULL, err, "UPDATE job SET attempt = ?2 WHERE id = ?1", srv_i(job_id),
                   srv_i(job.attempt));
}

msa_status srv_store_job_put_back(srv_store *s, int64_t job_id, int64_t token, const char *reason,
                                  int64_t run_at_ms, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, put_back_body(s, job_id, token, reason, run_at_ms, now_ms, err), err);
}

/* Running jobs whose lease ended at or before `until_ms`, one at a time: each step takes its job out of the
 * set. */
static msa_status requeue_expired(srv_store *s, int64_t until_ms, const char *why, int64_t now_ms,
                                  int32_t *requeued, msa_error *err)
{
    for (;;) {
        int64_t id = 0;
        bool again = false;
        srv_job job;
        char reason[MSA_ERROR_WHAT_MAX];
        MSA_TRY(SRV_VALUE(s, &id, err,
                          "SELECT id FROM job INDEXED BY job_running WHERE state = 3 AND lease_until_ms <= ? "
                          "ORDER BY lease_until_ms LIMIT 1",
                          srv_i(until_ms)));
        if (!id) return MSA_OK;
        MSA_TRY(srv_store_job_get_id(s, id, &job, err));
        (void)snprintf(reason, sizeof reason, "%s (attempt %d of %d)", why, job.attempt, job.max_attempts);
        MSA_TRY(try_again_or_fail(s, &job, reason, false, now_ms, now_ms, &again, err));
        *requeued += again;
    }
}

static msa_status recover_body(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err)
{
    MSA_TRY(requeue_expired(s, INT64_MAX, "the service stopped while the job ran", now_ms, requeued, err));
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE delivery SET state = 'pending', run_at_ms = ? WHERE state = 'sending'",
                    srv_i(now_ms)));
    MSA_TRY(srv_sql_run(s,
                        "UPDATE series INDEXED BY series_asking SET found = 0, asked_ms = 0 WHERE found < 0",
                        NULL, 0, NULL, err));
    return SRV_RUN(s, NULL, err,
                   "UPDATE association SET closed_ms = max(?, 1), ended = 'lost' WHERE closed_ms = 0",
                   srv_i(now_ms));
}

msa_status srv_store_recover(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err)
{
    *requeued = 0;
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, recover_body(s, now_ms, requeued, err), err);
}

static msa_status reap_body(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err)
{
    MSA_TRY(fail_exhausted_body(s, now_ms, err));
    return requeue_expired(s, now_ms, "the worker did not answer in time", now_ms, requeued, err);
}

msa_status srv_store_reap(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err)
{
    *requeued = 0;
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, reap_body(s, now_ms, requeued, err), err);
}

msa_status srv_store_next_due(srv_store *s, int64_t now_ms, int64_t *due_ms, msa_error *err)
{
    MSA_TRY(SRV_VALUE(
        s, due_ms, err,
        "SELECT min(at) FROM (SELECT min(lease_until_ms) AS at FROM job INDEXED BY job_running WHERE state = "
        "3"
        " UNION ALL SELECT min(run_at_ms) FROM job INDEXED BY job_due WHERE state = 2 AND run_at_ms > ?1"
        " UNION ALL SELECT min(run_at_ms) FROM delivery INDEXED BY delivery_due WHERE state = 'pending' AND "
        "run_at_ms > ?1)",
        srv_i(now_ms)));
    if (*due_ms == 0) *due_ms = INT64_MAX;
    return MSA_OK;
}

/* ---- the work is done ---- */

/* SQLite keeps no NaN. */
static double or_zero(double value)
{
    return isfinite(value) ? value : 0;
}

static msa_status put_results(srv_store *s, int64_t job_id, const srv_result *results, size_t n_results,
                              const srv_segment *segments, size_t n_segments, msa_error *err)
{
    for (size_t k = 0; k < n_results; k++) {
        const srv_result *r = &results[k];
        MSA_TRY(SRV_RUN(s, NULL, err,
                        "INSERT INTO result(job_id, number, size_bytes, sha256, sop_class_uid, "
                        "sop_instance_uid, series_uid, form)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        srv_i(job_id), srv_i(r->number), srv_i(r->size_bytes), srv_t(r->sha256),
                        srv_t(r->sop_class_uid), srv_t(r->sop_instance_uid), srv_t(r->series_uid),
                        srv_t(r->form)));
    }
    for (size_t k = 0; k < n_segments; k++) {
        const srv_segment *g = &segments[k];
        char candidates[SRV_CANDIDATES_TEXT];
        srv_candidates_print(&g->candidates, candidates);
        MSA_TRY(SRV_RUN(
            s, NULL, err,
            "INSERT INTO segment(job_id, number, voxels, first_slice, last_slice, volume_ml, mean_iou, label,"
            " note, candidates) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            srv_i(job_id), srv_i(g->number), srv_i(g->voxels), srv_i(g->first_slice), srv_i(g->last_slice),
            srv_d(or_zero(g->volume_ml)), srv_d(or_zero(g->mean_iou)), srv_t(g->label), srv_t(g->note),
            srv_t(candidates)));
    }
    return MSA_OK;
}

static msa_status put_deliveries(srv_store *s, int64_t job_id, const srv_result *results, size_t n_results,
                                 const char *const *destinations, size_t n, int64_t now_ms, msa_error *err)
{
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n_results; i++) {
            if (results[i].destinations != 0 && !(results[i].destinations >> k & 1)) continue;
            MSA_TRY(SRV_RUN(s, NULL, err,
                            "INSERT INTO delivery(job_id, number, destination, created_ms, run_at_ms)"
                            " VALUES (?1, ?2, ?3, ?4, ?4)",
                            srv_i(job_id), srv_i(results[i].number), srv_t(destinations[k]), srv_i(now_ms)));
        }
    return MSA_OK;
}

/* "Nothing found" is told in a report, which is a result as well. */
msa_status srv_job_success(srv_store *s, int64_t job_id, srv_job_state *state, msa_error *err)
{
    int64_t empty = 0;
    MSA_TRY(SRV_VALUE(s, &empty, err,
                      "SELECT NOT EXISTS (SELECT 1 FROM result WHERE job_id = ?1)"
                      " OR (EXISTS (SELECT 1 FROM segment WHERE job_id = ?1)"
                      " AND NOT EXISTS (SELECT 1 FROM segment WHERE job_id = ?1 AND voxels > 0))",
                      srv_i(job_id)));
    *state = empty ? SRV_JOB_SUCCEEDED_EMPTY : SRV_JOB_SUCCEEDED;
    return MSA_OK;
}

msa_status srv_store_job_slices(srv_store *s, int64_t job_id, int64_t token, const char *sha256,
                                msa_error *err)
{
    return SRV_RUN(s, NULL, err, "UPDATE job SET slices_sha256 = ?3 WHERE id = ?1 AND token = ?2",
                   srv_i(job_id), srv_i(token), srv_t(sha256));
}

msa_status srv_store_job_done(srv_store *s, int64_t job_id, int64_t token, const srv_result *results,
                              size_t n_results, const srv_segment *segments, size_t n_segments,
                              const char *preview_sha256, const char *warnings,
                              const char *const *destinations, size_t n_destinations, int64_t now_ms,
                              msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    srv_job job;
    bool overtaken = false;
    msa_status status = held(s, job_id, token, &job, err);
    if (status == MSA_OK) status = put_results(s, job_id, results, n_results, segments, n_segments, err);
    if (status == MSA_OK) status = srv_job_is_overtaken(s, job_id, &overtaken, err);
    if (status == MSA_OK && !overtaken)
        status = srv_deliveries_supersede(s, job.series_id, job_id, now_ms, err);
    const bool deliver = n_results > 0 && n_destinations > 0 && !overtaken;
    if (status == MSA_OK && deliver)
        status = put_deliveries(s, job_id, results, n_results, destinations, n_destinations, now_ms, err);
    /* An overtaken job keeps its result on record but sends nothing: the destination has the newer one, or
     * gets it. */
    srv_job_state state = overtaken ? SRV_JOB_CANCELLED : SRV_JOB_DELIVERING;
    if (status == MSA_OK && !overtaken && !deliver) status = srv_job_success(s, job_id, &state, err);
    if (status == MSA_OK)
        status = SRV_RUN(
            s, NULL, err,
            "UPDATE job SET state = ?2, reason = ?3, preview_sha256 = ?4, warnings = ?5, finished_ms = ?6,"
            " lease_until_ms = 0, progress_done = progress_total WHERE id = ?1",
            srv_i(job_id), srv_i(state), srv_t(overtaken ? SRV_REPLACED : ""), srv_t(preview_sha256),
            srv_t(warnings), srv_i(srv_job_state_is_final(state) ? now_ms : 0));
    return srv_tx_end(s, status, err);
}
