#include "server/jobs/jobs.h"

#include <stdlib.h>

#include "server/jobs/completeness.h"

typedef struct planned {
    int64_t series_id, job_id;
    srv_decision decision;
} planned;

typedef struct plan {
    const srv_job_policy *policy;
    int64_t now_ms, due_ms;
    planned *items;
    size_t n, room;
    bool out_of_memory;
} plan;

static void plan_clear(plan *p)
{
    free(p->items);
}

/* The store may not be called while it reads the evidence out, so decisions are written down first. */
static void plan_series(void *ctx, const srv_series_evidence *e)
{
    plan *p = ctx;
    const srv_decision d = srv_series_decide(e, p->policy, p->now_ms);
    if (d.due_ms < p->due_ms) p->due_ms = d.due_ms;
    if (!d.close_by && !d.bind) return;
    if (p->n == p->room) {
        const size_t room = p->room ? 2 * p->room : 32;
        planned *items = realloc(p->items, room * sizeof *items);
        if (!items) {
            p->out_of_memory = true;
            return;
        }
        p->items = items;
        p->room = room;
    }
    p->items[p->n++] = (planned){e->series.id, e->job_id, d};
}

static msa_status carry_out(srv_store *store, const plan *p, const planned *item, int32_t *queued,
                            msa_error *err)
{
    srv_job_state state = SRV_JOB_RECEIVING;
    if (item->decision.close_by)
        MSA_TRY(srv_store_series_close(store, item->series_id, item->decision.close_by, p->now_ms, err));
    if (item->decision.bind)
        MSA_TRY(srv_store_job_bind(store, item->job_id, p->policy, p->now_ms, &state, err));
    *queued += state == SRV_JOB_QUEUED;
    return MSA_OK;
}

msa_status srv_jobs_tick(srv_store *store, const srv_job_policy *policy, int64_t now_ms, int32_t *queued,
                         int64_t *next_due_ms, msa_error *err)
{
    __attribute__((cleanup(plan_clear))) plan p = {.policy = policy, .now_ms = now_ms, .due_ms = INT64_MAX};
    int64_t clock_ms = INT64_MAX;
    *queued = 0;
    *next_due_ms = INT64_MAX;
    MSA_TRY(srv_store_reap(store, now_ms, queued, err));
    MSA_TRY(srv_store_evidence(store, plan_series, &p, err));
    /* One series that cannot be handled must not hold up the others; the first failure is the one to tell. */
    msa_status status = p.out_of_memory ? msa_fail(err, MSA_E_NOMEM, "out of memory") : MSA_OK;
    for (size_t k = 0; k < p.n; k++) {
        const msa_status one = carry_out(store, &p, &p.items[k], queued, err);
        if (status == MSA_OK) status = one;
    }
    MSA_TRY(status);
    MSA_TRY(srv_store_next_due(store, now_ms, &clock_ms, err));
    *next_due_ms = clock_ms < p.due_ms ? clock_ms : p.due_ms;
    return MSA_OK;
}
