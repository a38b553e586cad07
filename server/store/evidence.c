#include "server/store/internal.h"

#include <math.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool srv_positions_gap(double *sorted_mm, size_t n)
{
    const double same_mm = 1e-3; /* several images on one slice: phases, echoes */
    size_t steps = 0;
    for (size_t k = 1; k < n; k++) {
        const double step = sorted_mm[k] - sorted_mm[k - 1];
        if (step > same_mm) sorted_mm[steps++] = step; /* steps <= k - 1: already read */
    }
    if (steps < 2) return false;
    qsort(sorted_mm, steps, sizeof *sorted_mm, by_value);
    return sorted_mm[steps - 1] > 1.5 * sorted_mm[(steps - 1) / 2];
}

static msa_status has_gap(srv_store *s, const srv_series *series, bool *gap, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool row = false;
    size_t n = 0;
    const size_t room = (size_t)series->instances;
    MSA_AUTO_FREE double *positions = calloc(room + 1, sizeof *positions);
    if (!positions) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(SRV_OPEN(s, &q, err,
                     "SELECT position_mm FROM instance WHERE series_id = ? AND superseded = 0"
                     " AND position_mm IS NOT NULL ORDER BY position_mm",
                     srv_i(series->id)));
    for (;;) {
        MSA_TRY(srv_sql_step(s, q, &row, err));
        if (!row || n >= room) break;
        positions[n++] = sqlite3_column_double(q, 0);
    }
    *gap = srv_positions_gap(positions, n);
    return MSA_OK;
}

static msa_status judge(srv_store *s, srv_series_evidence *e, msa_error *err)
{
    const int64_t id = e->series.id;
    MSA_TRY(SRV_VALUE(s, &e->last_prompt_ms, err,
                      "SELECT max(created_ms) FROM prompt WHERE series_id = ? AND current = 1", srv_i(id)));
    if (!e->series.open) return MSA_OK; /* only the prompts are left to wait for */
    MSA_TRY(SRV_VALUE(s, &e->open_associations, err,
                      "SELECT count(*) FROM association a WHERE a.closed_ms = 0 AND EXISTS"
                      " (SELECT 1 FROM instance i WHERE i.association_id = a.id AND i.series_id = ?)",
                      srv_i(id)));
    MSA_TRY(
        SRV_VALUE(s, &e->unindexed, err,
                  "SELECT sum(r.n) FROM (SELECT association_id, count(*) AS n FROM instance INDEXED BY "
                  "instance_unindexed WHERE state = 0"
                  " GROUP BY association_id) r WHERE EXISTS"
                  " (SELECT 1 FROM instance i WHERE i.association_id = r.association_id AND i.series_id = ?)",
                  srv_i(id)));
    if (e->open_associations || e->unindexed) return MSA_OK; /* the stack is not judged while it grows */
    return has_gap(s, &e->series, &e->gap, err);
}

/* CROSS JOIN fixes the order: the few series that want attention, not the many jobs that wait. */
msa_status srv_store_evidence(srv_store *s, srv_evidence_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(srv_sql_open(s, &q,
                         "SELECT " SRV_SERIES_COLUMNS ", j.id, j.state, j.supersedes"
                         " FROM series s INDEXED BY series_attention CROSS JOIN job j ON j.series_id = s.id "
                         "AND j.state IN (0, 1)"
                         " WHERE s.attention = 1 ORDER BY s.id",
                         NULL, 0, err));
    for (;;) {
        srv_series_evidence e = {0};
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_series_read(q, &e.series);
        e.job_id = sqlite3_column_int64(q, SRV_SERIES_N_COLUMNS);
        e.job_state = (srv_job_state)sqlite3_column_int(q, SRV_SERIES_N_COLUMNS + 1);
        e.again = sqlite3_column_int64(q, SRV_SERIES_N_COLUMNS + 2) != 0;
        MSA_TRY(judge(s, &e, err));
        row(ctx, &e);
    }
}
