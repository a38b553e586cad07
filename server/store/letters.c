/* Deliveries that wait long, are given up, or are taken up again by a person. */
#include "server/store/internal.h"

#include <string.h>

#define EXPIRED "given up: it could not be delivered in the time of delivery.give_up_h"

msa_status srv_store_deliveries_hasten(srv_store *s, const char *destination, int64_t now_ms, msa_error *err)
{
    return SRV_RUN(s, NULL, err,
                   "UPDATE delivery SET run_at_ms = ?2 WHERE state = 'pending' AND destination = ?1 AND "
                   "run_at_ms > ?2",
                   srv_t(destination), srv_i(now_ms));
}

static msa_status expire_one(srv_store *s, int64_t id, int64_t now_ms, msa_error *err)
{
    srv_delivery d;
    MSA_TRY(srv_delivery_get(s, id, &d, err));
    MSA_TRY(SRV_RUN(s, NULL, err,
                    "UPDATE delivery SET state = 'dead', comment = CASE comment WHEN '' THEN '" EXPIRED
                    "' ELSE '" EXPIRED "; the last try: ' || comment END WHERE id = ?",
                    srv_i(id)));
    return srv_delivery_settle_job(s, d.job_id, now_ms, err);
}

/* One after the other, as each may end its job. */
msa_status srv_store_deliveries_expire(srv_store *s, int64_t before_ms, int64_t now_ms, int32_t *n,
                                       msa_error *err)
{
    *n = 0;
    for (;;) {
        int64_t id = 0;
        MSA_TRY(SRV_VALUE(
            s, &id, err,
            "SELECT id FROM delivery INDEXED BY delivery_due WHERE state = 'pending' AND created_ms "
            "< ? LIMIT 1",
            srv_i(before_ms)));
        if (id == 0) return MSA_OK;
        MSA_TRY(expire_one(s, id, now_ms, err));
        ++*n;
    }
}

msa_status srv_store_delivery_requeue(srv_store *s, int64_t id, int64_t now_ms, srv_delivery *out,
                                      msa_error *err)
{
    bool overtaken = false;
    MSA_TRY(srv_delivery_get(s, id, out, err));
    if (strcmp(out->state, "dead") != 0)
        return msa_fail(err, MSA_E_INVALID, "this delivery is %s; only a dead one can be queued again",
                        out->state);
    MSA_TRY(srv_job_is_overtaken(s, out->job_id, &overtaken, err));
    if (overtaken)
        return msa_fail(
            err, MSA_E_INVALID,
            "a newer job of the series has its result, which would be followed by this older one");
    MSA_TRY(
        SRV_RUN(s, NULL, err,
                "UPDATE delivery SET state = 'pending', refusals = 0, created_ms = ?2, run_at_ms = ?2 WHERE "
                "id = ?1",
                srv_i(id), srv_i(now_ms)));
    MSA_TRY(SRV_RUN(s, NULL, err, "UPDATE job SET state = ?2, reason = '', finished_ms = 0 WHERE id = ?1",
                    srv_i(out->job_id), srv_i(SRV_JOB_DELIVERING)));
    return srv_delivery_get(s, id, out, err);
}

msa_status srv_store_deliveries_requeue(srv_store *s, const char *destination, int64_t now_ms, int32_t *n,
                                        msa_error *err)
{
    int64_t after = 0;
    *n = 0;
    for (;;) {
        srv_delivery d;
        int64_t id = 0;
        MSA_TRY(
            SRV_VALUE(s, &id, err,
                      "SELECT id FROM delivery INDEXED BY delivery_dead WHERE state = 'dead' AND id > ? AND "
                      "destination = ? ORDER BY id LIMIT 1",
                      srv_i(after), srv_t(destination)));
        if (id == 0) return MSA_OK;
        after = id;
        const msa_status status = srv_store_delivery_requeue(s, id, now_ms, &d, NULL);
        if (status == MSA_OK)
            ++*n;
        else if (status != MSA_E_INVALID) /* of an older job: it stays dead */
            return msa_fail(err, status, "the catalogue could not be changed");
    }
}

msa_status srv_store_deliveries(srv_store *s, const char *state, const char *destination, int64_t before_id,
                                int32_t limit, srv_delivery_fn *row, void *ctx, msa_error *err)
{
    SRV_AUTO_QUERY q = NULL;
    bool more = false;
    MSA_TRY(SRV_OPEN(
        s, &q, err,
        SRV_DELIVERY_SELECT
        "WHERE (?1 = '' OR d.state = ?1) AND (?2 = '' OR d.destination = ?2) AND (?3 = 0 OR d.id < ?3) "
        "ORDER BY d.id DESC LIMIT ?4",
        srv_t(state == NULL ? "" : state), srv_t(destination == NULL ? "" : destination), srv_i(before_id),
        srv_i(limit)));
    for (;;) {
        srv_delivery d;
        MSA_TRY(srv_sql_step(s, q, &more, err));
        if (!more) return MSA_OK;
        srv_delivery_read(q, &d);
        row(ctx, &d);
    }
}
