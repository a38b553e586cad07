/* The log of events, which the triggers of config/schema write. */
#include "server/store/internal.h"

#include <stdlib.h>

static void read_event(sqlite3_stmt *q, srv_event *out)
{
    *out = (srv_event){.id = sqlite3_column_int64(q, 0), .at_ms = sqlite3_column_int64(q, 1)};
    SRV_TEXT(q, 2, out->kind);
    SRV_TEXT(q, 3, out->subject);
    SRV_TEXT(q, 4, out->state);
    SRV_TEXT(q, 5, out->detail);
    if (out->state[0] >= '0' && out->state[0] <= '9') { /* of a job */
        const srv_job_state state = (srv_job_state)atoi(out->state);
        (void)snprintf(out->state, sizeof out->state, "%s", srv_job_state_name(state));
    }
}

msa_status srv_store_events(srv_store *s, int64_t after_id, int32_t limit, srv_event_fn *row, void *ctx,
                            msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(
        SRV_OPEN(s, &q, err,
                 "SELECT id, at_ms, kind, subject, state, detail FROM event WHERE id > ? ORDER BY id LIMIT ?",
                 srv_i(after_id), srv_i(limit)));
    for (;;) {
        srv_event event;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        read_event(q, &event);
        row(ctx, &event);
    }
}

msa_status srv_store_events_range(srv_store *s, int64_t *oldest, int64_t *newest, msa_error *err)
{
    MSA_TRY(srv_sql_value(s, "SELECT min(id) FROM event", NULL, 0, oldest, err));
    return srv_sql_value(s, "SELECT max(id) FROM event", NULL, 0, newest, err);
}

msa_status srv_store_jobs_running(srv_store *s, srv_running_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(srv_sql_open(s, &q,
                         "SELECT public_id, progress_done, progress_total, started_ms FROM job INDEXED BY "
                         "job_running WHERE state = 3 ORDER BY id LIMIT 256",
                         NULL, 0, err));
    for (;;) {
        srv_running job;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        job = (srv_running){.done = sqlite3_column_int(q, 1),
                            .total = sqlite3_column_int(q, 2),
                            .started_ms = sqlite3_column_int64(q, 3)};
        SRV_TEXT(q, 0, job.public_id);
        row(ctx, &job);
    }
}
