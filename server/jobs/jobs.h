/* When is a series complete, and what happens then. Runs on the store thread, every quarter second and after
 * each arrival. */
#ifndef SRV_JOBS_JOBS_H
#define SRV_JOBS_JOBS_H

#include "server/store/store.h"

/**
 * Closes the series whose evidence says so (DESIGN section 5), binds prompts to their jobs and queues them,
 * reaps leases that ran out. Returns in *queued how many jobs became QUEUED, in *next_due_ms when to look
 * again (INT64_MAX: only after an arrival). Rules, first that fires: "expected_count" the expected number is
 * there; "association_end" every association that brought it has ended, nothing of them is unindexed,
 * positions have no gap, and settle_ms have passed since the last instance; "quiet" quiet_ms have passed.
 */
MSA_NODISCARD msa_status srv_jobs_tick(srv_store *store, const srv_job_policy *policy, int64_t now_ms,
                                       int32_t *queued, int64_t *next_due_ms, msa_error *err);
#endif
