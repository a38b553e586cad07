/* What may be forgotten: series that are finished and delivered, or that have waited for an annotation for
 * long. */
#include "server/store/internal.h"

/* ---- which ---- */

/*
 * Every job has ended and every result has reached its destination (one that was given up has not). A series
 * that is held, or of which something is on its way, stays. ?1: the series; ?2: ended at or before.
 */
#define FINISHED                                                                                             \
    "SELECT 1 FROM series s WHERE s.id = ?1 AND s.open = 0 AND s.held = 0"                                   \
    " AND (SELECT max(finished_ms) FROM job j WHERE j.series_id = s.id) <= ?2"                               \
    " AND NOT EXISTS (SELECT 1 FROM job j WHERE j.series_id = s.id AND j.state NOT IN (5, 6, 7, 8))"         \
    " AND NOT EXISTS (SELECT 1 FROM job j JOIN delivery d ON d.job_id = j.id WHERE j.series_id = s.id"       \
    " AND d.state NOT IN ('delivered', 'cancelled'))"

/* Closed, nothing was ever asked of it, and its last image came at or before ?2. */
#define WAITING                                                                                              \
    "SELECT 1 FROM series s WHERE s.id = ?1 AND s.open = 0 AND s.held = 0 AND s.last_ms <= ?2"               \
    " AND NOT EXISTS (SELECT 1 FROM prompt p WHERE p.series_id = s.id AND p.current = 1)"                    \
    " AND NOT EXISTS (SELECT 1 FROM job j WHERE j.series_id = s.id AND j.state <> 1)"

static msa_status is_due(srv_store *s, int64_t series_id, const srv_retention *r, int64_t bytes, bool *yes,
                         msa_error *err)
{
    int64_t found = 0;
    const int64_t before = r->bytes_max > 0 && bytes > r->bytes_max ? INT64_MAX : r->finished_before_ms;
    if (before > 0) MSA_TRY(SRV_VALUE(s, &found, err, FINISHED, srv_i(series_id), srv_i(before)));
    if (!found && r->waiting_before_ms > 0)
        MSA_TRY(SRV_VALUE(s, &found, err, WAITING, srv_i(series_id), srv_i(r->waiting_before_ms)));
    *yes = found != 0;
    return MSA_OK;
}

/* ---- forgetting one ---- */

static msa_status tell_hashes(srv_store *s, const char *sql, int64_t id, srv_hash_fn *row, void *ctx,
                              msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    const srv_sql_arg args[] = {srv_i(id)};
    MSA_TRY(srv_sql_open(s, &q, sql, args, 1, err));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        char sha256[MSA_SHA256_HEX];
        SRV_TEXT(q, 0, sha256);
        row(ctx, sha256, sqlite3_column_int64(q, 1));
    }
}

/* Annotations whose last prompt was on this series; those that prompt others too stay. */
#define ITS_ANNOTATIONS                                                                                      \
    "id IN (SELECT source_id FROM prompt WHERE series_id = ?1)"                                              \
    " AND NOT EXISTS (SELECT 1 FROM prompt o WHERE o.source_id = instance.id AND o.series_id IS NOT ?1)"
/* Its images, and older versions of them that never counted. */
#define ITS_IMAGES                                                                                           \
    "series_id = ?1 OR (series_id IS NULL AND superseded = 1 AND kind = 1 AND sop_instance_uid IN"           \
    " (SELECT sop_instance_uid FROM instance WHERE series_id = ?1))"

static msa_status forget(srv_store *s, int64_t id, srv_hash_fn *row, void *ctx, msa_error *err)
{
    int64_t annotation = 0;
    MSA_TRY(tell_hashes(s, "SELECT sha256, size_bytes FROM instance WHERE " ITS_IMAGES, id, row, ctx, err));
    MSA_TRY(tell_hashes(
        s, "SELECT r.sha256, r.size_bytes FROM job j JOIN result r ON r.job_id = j.id WHERE j.series_id = ?1",
        id, row, ctx, err));
    MSA_TRY(tell_hashes(s, "SELECT preview_sha256, 0 FROM job WHERE series_id = ?1 AND preview_sha256 <> ''",
                        id, row, ctx, err));
    MSA_TRY(tell_hashes(s, "SELECT slices_sha256, 0 FROM job WHERE series_id = ?1 AND slices_sha256 <> ''",
                        id, row, ctx, err));
    MSA_TRY(
        tell_hashes(s, "SELECT sha256, size_bytes FROM instance WHERE " ITS_ANNOTATIONS, id, row, ctx, err));
    MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM job WHERE series_id = ?1", srv_i(id)));
    for (;;) { /* each while its prompts still say which it is */
        MSA_TRY(SRV_VALUE(s, &annotation, err, "SELECT id FROM instance WHERE " ITS_ANNOTATIONS " LIMIT 1",
                          srv_i(id)));
        if (annotation == 0) break;
        MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM prompt WHERE source_id = ?1", srv_i(annotation)));
        MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM instance WHERE id = ?1", srv_i(annotation)));
    }
    MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM prompt WHERE series_id = ?1", srv_i(id)));
    MSA_TRY(SRV_RUN(s, NULL, err, "DELETE FROM instance WHERE " ITS_IMAGES, srv_i(id)));
    return SRV_RUN(s, NULL, err, "DELETE FROM series WHERE id = ?1", srv_i(id));
}

/* ---- all of them, a part at a time ---- */

static msa_status forget_body(srv_store *s, const srv_retention *r, srv_retention_state *state,
                              srv_hash_fn *row, void *ctx, msa_error *err)
{
    if (state->after_id == 0 && r->bytes_max > 0)
        MSA_TRY(srv_sql_value(s,
                              "SELECT (SELECT coalesce(sum(size_bytes), 0) FROM instance) +"
                              " (SELECT coalesce(sum(size_bytes), 0) FROM result)",
                              NULL, 0, &state->bytes, err));
    for (int32_t k = 0; k < r->series_max; k++) {
        int64_t id = 0, size = 0;
        bool due = false;
        MSA_TRY(SRV_VALUE(s, &id, err, "SELECT id FROM series WHERE id > ? ORDER BY id LIMIT 1",
                          srv_i(state->after_id)));
        state->after_id = id; /* 0 after the last: the next round begins */
        if (id == 0) return MSA_OK;
        MSA_TRY(is_due(s, id, r, state->bytes, &due, err));
        if (!due) continue;
        MSA_TRY(SRV_VALUE(
            s, &size, err,
            "SELECT (SELECT coalesce(sum(size_bytes), 0) FROM instance WHERE series_id = ?1) + (SELECT"
            " coalesce(sum(r.size_bytes), 0) FROM job j JOIN result r ON r.job_id = j.id WHERE j.series_id = "
            "?1)",
            srv_i(id)));
        MSA_TRY(forget(s, id, row, ctx, err));
        state->bytes -= size;
        state->forgotten++;
    }
    return MSA_OK;
}

msa_status srv_store_forget(srv_store *s, const srv_retention *r, srv_retention_state *state,
                            srv_hash_fn *row, void *ctx, msa_error *err)
{
    MSA_TRY(srv_tx_begin(s, err));
    return srv_tx_end(s, forget_body(s, r, state, row, ctx, err), err);
}

msa_status srv_store_blob_is_used(srv_store *s, const char *sha256, bool *yes, msa_error *err)
{
    int64_t found = 0;
    MSA_TRY(SRV_VALUE(
        s, &found, err,
        "SELECT EXISTS (SELECT 1 FROM instance WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM result WHERE "
        "sha256 = ?1) OR EXISTS (SELECT 1 FROM job WHERE preview_sha256 = ?1 AND preview_sha256 <> '') OR "
        "EXISTS (SELECT 1 FROM job WHERE slices_sha256 = ?1 AND slices_sha256 <> '')",
        srv_t(sha256)));
    *yes = found != 0;
    return MSA_OK;
}
