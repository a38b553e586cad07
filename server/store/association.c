#include "server/store/internal.h"

/* ---- associations ---- */

static msa_status open_body(srv_store *s, const srv_association *a, int64_t *id, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO association(calling_ae, called_ae, peer, opened_ms, sender, tls)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    srv_t(a->calling_ae), srv_t(a->called_ae), srv_t(a->peer), srv_i(a->opened_ms),
                    srv_t(a->sender), srv_t(a->tls)));
    *id = sqlite3_last_insert_rowid(s->db);
    return MSA_OK;
}

msa_status srv_store_association_open(srv_store *s, const srv_association *opened, int64_t *id,
                                      msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, open_body(s, opened, id, err), err);
}

/* The end of an association is evidence for its series, and a lost one ends too. Closing twice changes
 * nothing. */
static msa_status close_body(srv_store *s, int64_t id, const char *ended, int64_t now_ms, msa_error *err)
{
    int64_t known = 0;
    MSA_TRY(SRV_VALUE(s, &known, err, "SELECT 1 FROM association WHERE id = ?", srv_i(id)));
    if (!known) return msa_fail(err, MSA_E_NOT_FOUND, "there is no association %lld", (long long)id);
    return SRV_RUN(
        s, NULL, err,
        "UPDATE association SET closed_ms = max(?2, 1), ended = ?3 WHERE id = ?1 AND closed_ms = 0",
        srv_i(id), srv_i(now_ms), srv_t(ended));
}

msa_status srv_store_association_close(srv_store *s, int64_t id, const char *ended, int64_t now_ms,
                                       msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, close_body(s, id, ended, now_ms, err), err);
}

msa_status srv_store_associations(srv_store *s, int64_t before_id, int32_t limit, srv_association_fn *row,
                                  void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT id, opened_ms, closed_ms, instances, calling_ae, called_ae, peer, ended,"
                     " sender, tls"
                     " FROM association WHERE id < ? ORDER BY id DESC LIMIT ?",
                     srv_i(srv_before(before_id)), srv_i(limit)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_association a = {.id = sqlite3_column_int64(q, 0),
                             .opened_ms = sqlite3_column_int64(q, 1),
                             .closed_ms = sqlite3_column_int64(q, 2),
                             .instances = sqlite3_column_int64(q, 3)};
        SRV_TEXT(q, 4, a.calling_ae);
        SRV_TEXT(q, 5, a.called_ae);
        SRV_TEXT(q, 6, a.peer);
        SRV_TEXT(q, 7, a.ended);
        SRV_TEXT(q, 8, a.sender);
        SRV_TEXT(q, 9, a.tls);
        row(ctx, &a);
    }
}

/* ---- refusals ---- */

/* A sender that is refused tries again for ever: the same refusal counts, and the oldest fall off the end. */
static msa_status refuse_body(srv_store *s, const srv_refusal *r, msa_error *err)
{
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "INSERT INTO refusal(at_ms, count, calling_ae, peer, what, reason)"
                    " VALUES (?1, max(?2, 1), ?3, ?4, ?5, ?6)"
                    " ON CONFLICT (calling_ae, peer, what, reason) DO UPDATE"
                    " SET count = count + excluded.count, at_ms = max(at_ms, excluded.at_ms)",
                    srv_i(r->at_ms), srv_i(r->count), srv_t(r->calling_ae), srv_t(r->peer), srv_t(r->what),
                    srv_t(r->reason)));
    return srv_sql_run(s,
                       "DELETE FROM refusal WHERE id IN"
                       " (SELECT id FROM refusal ORDER BY at_ms DESC, id DESC LIMIT -1 OFFSET 1000)",
                       NULL, 0, NULL, err);
}

msa_status srv_store_refusal_put(srv_store *s, const srv_refusal *refusal, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, refuse_body(s, refusal, err), err);
}

msa_status srv_store_refusals(srv_store *s, int32_t limit, srv_refusal_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT id, at_ms, count, calling_ae, peer, what, reason FROM refusal"
                     " ORDER BY at_ms DESC, id DESC LIMIT ?",
                     srv_i(limit)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_refusal r = {.id = sqlite3_column_int64(q, 0),
                         .at_ms = sqlite3_column_int64(q, 1),
                         .count = sqlite3_column_int64(q, 2)};
        SRV_TEXT(q, 3, r.calling_ae);
        SRV_TEXT(q, 4, r.peer);
        SRV_TEXT(q, 5, r.what);
        SRV_TEXT(q, 6, r.reason);
        row(ctx, &r);
    }
}
