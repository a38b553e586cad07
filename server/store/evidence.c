#include "server/store/internal.h"

#include <math.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double srv_positions_step(double *sorted_mm, size_t n, bool *gap)
{
    const double same_mm = 1e-3; /* several images on one slice: phases, echoes */
    size_t steps = 0;
    for (size_t k = 1; k < n; k++) {
        const double step = sorted_mm[k] - sorted_mm[k - 1];
        if (step > same_mm) sorted_mm[steps++] = step; /* steps <= k - 1: already read */
    }
    *gap = false;
    if (steps == 0) return 0;
    qsort(sorted_mm, steps, sizeof *sorted_mm, by_value);
    const double median = sorted_mm[(steps - 1) / 2];
    *gap = sorted_mm[steps - 1] > 1.5 * median;
    return median;
}

static msa_status judge(srv_store *s, srv_series_evidence *e, msa_error *err)
{
    const int64_t id = e->series.id;
    double step_mm = 0;
    MSA_TRY(SRV_VALUE(s, &e->last_prompt_ms, err,
                      "SELECT max(created_ms) FROM prompt WHERE series_id = ? AND current = 1", srv_i(id)));
    if (!e->series.open || e->series.held) return MSA_OK; /* only the prompts, or nothing, is waited for */
    MSA_TRY(srv_series_text_subject(s, id, &e->subject, err));
    e->subject.slices = e->series.slices < INT32_MAX ? (int32_t)e->series.slices : INT32_MAX;
    if (e->series.study_expected > 0)
        MSA_TRY(SRV_VALUE(s, &e->study_images, err,
                          "SELECT count(*) FROM series x JOIN instance i ON i.series_id = x.id"
                          " WHERE x.study_uid = ? AND i.superseded = 0",
                          srv_t(e->series.study_uid)));
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
    MSA_TRY(srv_series_step(s, id, (size_t)e->series.instances, &step_mm, &e->gap, err));
    if (step_mm > 0) e->subject.spacing_mm = step_mm;
    return MSA_OK;
}

/* CROSS JOIN fixes the order: the few series that want attention, not the many jobs that wait. */
msa_status srv_store_evidence(srv_store *s, srv_evidence_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(srv_sql_open(s, &q,
                         "SELECT " SRV_SERIES_COLUMNS ", j.id, j.supersedes"
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
        e.again = sqlite3_column_int64(q, SRV_SERIES_N_COLUMNS + 1) != 0;
        MSA_TRY(judge(s, &e, err));
        row(ctx, &e);
    }
}
