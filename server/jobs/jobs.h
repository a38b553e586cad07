/* When is a series complete, and what happens then. Runs on the store thread, every quarter second and after
 * each arrival. */
#ifndef SRV_JOBS_JOBS_H
#define SRV_JOBS_JOBS_H

#include "server/store/store.h"

/**
 * Closes the series whose evidence says so (DESIGN section 5), binds prompts to their jobs and queues them,
 * reaps leases that ran out. Returns in *queued how many jobs became QUEUED, in *next_due_ms when to look
 * again (INT64_MAX: only after an arrival). A series that is held is left alone. Evidence, the first that
 * there is:
 *   "forced"            somebody said so over REST
 *   "expected_count"    the number is there that was told over REST, else Number of Series Related Instances
 *   "study_count"       all images of the study are there: Number of Study Related Instances
 *   "source_count"      the source was asked by C-FIND since the last image came, and has no more
 *   "acquisition_count" Images in Acquisition are there, every association that brought some has ended,
 *                       nothing of these is unindexed, and positions have no gap
 *   "association_end"   the last three, nobody says that there are more, no source is being asked, and
 *                       settle_ms have passed since the last image
 *   "quiet"             quiet_ms have passed
 * settle_ms and quiet_ms are those of the rule for the series, where it has some.
 */
MSA_NODISCARD msa_status srv_jobs_tick(srv_store *store, const srv_job_policy *policy, int64_t now_ms,
                                       int32_t *queued, int64_t *next_due_ms, msa_error *err);
#endif
