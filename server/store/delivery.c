#include "server/store/internal.h"

#include <stdio.h>
#include <string.h>

#include "dicom/send.h"

void srv_result_read(sqlite3_stmt *q, int column, srv_result *out)
{
    *out = (srv_result){.job_id = sqlite3_column_int64(q, column),
                        .number = sqlite3_column_int(q, column + 1),
                        .size_bytes = sqlite3_column_int64(q, column + 2)};
    SRV_TEXT(q, column + 3, out->sha256);
    SRV_TEXT(q, column + 4, out->sop_class_uid);
    SRV_TEXT(q, column + 5, out->sop_instance_uid);
    SRV_TEXT(q, column + 6, out->series_uid);
    SRV_TEXT(q, column + 7, out->form);
}

void srv_delivery_read(sqlite3_stmt *q, srv_delivery *out)
{
    const int c = SRV_RESULT_N_COLUMNS;
    *out = (srv_delivery){.id = sqlite3_column_int64(q, c),
                          .token = sqlite3_column_int64(q, c + 1),
                          .run_at_ms = sqlite3_column_int64(q, c + 2),
                          .created_ms = sqlite3_column_int64(q, c + 3),
                          .delivered_ms = sqlite3_column_int64(q, c + 4),
                          .attempt = sqlite3_column_int(q, c + 5),
                          .dimse_status = sqlite3_column_int(q, c + 6)};
    srv_result_read(q, 0, &out->result);
    out->job_id = out->result.job_id;
    SRV_TEXT(q, c + 7, out->state);
    SRV_TEXT(q, c + 8, out->destination);
    SRV_TEXT(q, c + 9, out->comment);
}

msa_status srv_delivery_get(srv_store *s, int64_t id, srv_delivery *out, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_OPEN(s, &q, err, SRV_DELIVERY_SELECT "WHERE d.id = ?", srv_i(id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row) return msa_fail(err, MSA_E_NOT_FOUND, "there is no delivery %lld", (long long)id);
    srv_delivery_read(q, out);
    return MSA_OK;
}

/* ---- claim ---- */

static msa_status claim_body(srv_store *s, const char *destination, int64_t now_ms, srv_delivery *out,
                             msa_error *err)
{
    int64_t id = 0;
    MSA_TRY(SRV_VALUE(s, &id, err,
                      "SELECT id FROM delivery INDEXED BY delivery_pending WHERE state = 'pending' AND "
                      "destination = ? AND run_at_ms <= ?"
                      " ORDER BY id LIMIT 1",
                      srv_t(destination), srv_i(now_ms)));
    if (!id) return msa_fail(err, MSA_E_NOT_FOUND, "nothing is due for this destination");
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE delivery SET state = 'sending', attempt = attempt + 1, token = token + 1 WHERE id = ?",
        srv_i(id)));
    return srv_delivery_get(s, id, out, err);
}

msa_status srv_store_delivery_claim(srv_store *s, const char *destination, int64_t now_ms, srv_delivery *out,
                                    msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, claim_body(s, destination, now_ms, out, err), err);
}

/* ---- the end of a job that delivers ---- */

/* "not delivered to A, B": the destinations whose deliveries are dead. */
static msa_status dead_reason(srv_store *s, int64_t job_id, char *reason, size_t size, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    size_t used = (size_t)snprintf(reason, size, "not delivered to");
    MSA_TRY(SRV_OPEN(
        s, &q, err,
        "SELECT DISTINCT destination FROM delivery WHERE job_id = ? AND state = 'dead' ORDER BY destination",
        srv_i(job_id)));
    for (bool first = true;; first = false) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        if (used < size)
            used += (size_t)snprintf(reason + used, size - used, "%s %s", first ? "" : ",",
                                     (const char *)sqlite3_column_text(q, 0));
    }
}

/*
 * While something is pending or being sent the job delivers. Then: anything delivered is success (what is
 * dead shows in its deliveries); else cancelled ones mean that a newer job took over; else all are dead.
 */
msa_status srv_delivery_settle_job(srv_store *s, int64_t job_id, int64_t now_ms, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    char reason[MSA_ERROR_WHAT_MAX] = "";
    MSA_TRY(SRV_OPEN(
        s, &q, err,
        "SELECT sum(state IN ('pending', 'sending')), sum(state = 'delivered'), sum(state = 'cancelled')"
        " FROM delivery WHERE job_id = ?",
        srv_i(job_id)));
    MSA_TRY(srv_sql_step(s, q, &row, err));
    if (!row || sqlite3_column_int64(q, 0) > 0) return MSA_OK;
    srv_job_state state = SRV_JOB_FAILED;
    if (sqlite3_column_int64(q, 1) > 0) {
        MSA_TRY(srv_job_success(s, job_id, &state, err));
    } else if (sqlite3_column_int64(q, 2) > 0) {
        state = SRV_JOB_CANCELLED;
        (void)snprintf(reason, sizeof reason, "%s", SRV_REPLACED);
    } else {
        MSA_TRY(dead_reason(s, job_id, reason, sizeof reason, err));
    }
    return SRV_RUN(s, NULL, err,
                   "UPDATE job SET state = ?2, reason = ?3, finished_ms = ?4 WHERE id = ?1 AND state = 4",
                   srv_i(job_id), srv_i(state), srv_t(reason), srv_i(now_ms));
}

msa_status srv_deliveries_supersede(srv_store *s, int64_t series_id, int64_t job_id, int64_t now_ms,
                                    msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE delivery SET state = 'cancelled', comment = '" SRV_REPLACED
                    "' WHERE state = 'pending'"
                    " AND job_id IN (SELECT id FROM job INDEXED BY job_series WHERE series_id = ? AND id < ? "
                    "AND state = 4)",
                    srv_i(series_id), srv_i(job_id)));
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT id FROM job INDEXED BY job_series WHERE series_id = ? AND id < ? AND state = 4",
                     srv_i(series_id), srv_i(job_id)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row) return MSA_OK;
        MSA_TRY(srv_delivery_settle_job(s, sqlite3_column_int64(q, 0), now_ms, err));
    }
}

/* ---- the outcome of one try ---- */

#define REFUSALS_MAX 2 /* a peer that says no twice will not say yes */

static msa_status next_state(srv_store *s, const srv_delivery *d, int32_t outcome, int64_t give_up_ms,
                             int64_t now_ms, const char **state, msa_error *err)
{
    int64_t refusals = 0;
    bool overtaken = false;
    *state = "delivered";
    if (outcome == DICOM_DELIVERED) return MSA_OK;
    if (outcome == DICOM_REFUSED)
        MSA_TRY(SRV_VALUE(s, &refusals, err, "SELECT refusals + 1 FROM delivery WHERE id = ?", srv_i(d->id)));
    MSA_TRY(srv_job_is_overtaken(s, d->job_id, &overtaken, err));
    if (refusals >= REFUSALS_MAX || now_ms - d->created_ms >= give_up_ms)
        *state = "dead";
    else
        *state = overtaken ? "cancelled" : "pending";
    return MSA_OK;
}

static msa_status done_body(srv_store *s, int64_t id, int64_t token, int32_t outcome, int32_t dimse_status,
                            const char *comment, int64_t retry_at_ms, int64_t give_up_ms, int64_t now_ms,
                            msa_error *err)
{
    srv_delivery d;
    const char *state = NULL;
    if (outcome < DICOM_DELIVERED || outcome > DICOM_REFUSED)
        return msa_fail(err, MSA_E_INVALID, "%d is not an outcome of a delivery", outcome);
    MSA_TRY(srv_delivery_get(s, id, &d, err));
    if (d.token != token || strcmp(d.state, "sending") != 0)
        return msa_fail(err, MSA_E_INVALID, "delivery %lld is not this sender's any more", (long long)id);
    MSA_TRY(next_state(s, &d, outcome, give_up_ms, now_ms, &state, err));
    MSA_TRY(SRV_RUN(
        s, NULL, err,
        "UPDATE delivery SET state = ?2, dimse_status = ?3, comment = ?4, run_at_ms = ?5, delivered_ms = ?6,"
        " refusals = refusals + ?7 WHERE id = ?1",
        srv_i(id), srv_t(state), srv_i(dimse_status), srv_t(comment), srv_i(retry_at_ms),
        srv_i(outcome == DICOM_DELIVERED ? now_ms : 0), srv_i(outcome == DICOM_REFUSED)));
    return srv_delivery_settle_job(s, d.job_id, now_ms, err);
}

msa_status srv_store_delivery_done(srv_store *s, int64_t id, int64_t token, int32_t outcome,
                                   int32_t dimse_status, const char *comment, int64_t retry_at_ms,
                                   int64_t give_up_ms, int64_t now_ms, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(
        s, done_body(s, id, token, outcome, dimse_status, comment, retry_at_ms, give_up_ms, now_ms, err),
        err);
}

msa_status srv_store_job_deliveries(srv_store *s, int64_t job_id, srv_delivery_fn *row, void *ctx,
                                    msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(s, &q, err, SRV_DELIVERY_SELECT "WHERE d.job_id = ? ORDER BY d.id", srv_i(job_id)));
    for (;;) {
        srv_delivery d;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_delivery_read(q, &d);
        row(ctx, &d);
    }
}
