/* The decision about one series: a pure function of the evidence, the policy and the time. Private to jobs/.
 */
#ifndef SRV_JOBS_COMPLETENESS_H
#define SRV_JOBS_COMPLETENESS_H

#include "server/store/store.h"

typedef struct srv_decision {
    const char *close_by; /* close the series by this rule; NULL: leave it as it is */
    bool bind;            /* bind its open job */
    int64_t due_ms;       /* when to look again if nothing arrives; INT64_MAX: no need to */
} srv_decision;

/* Never fails, reads no clock. The rules: server/jobs/jobs.h. */
srv_decision srv_series_decide(const srv_series_evidence *evidence, const srv_job_policy *policy,
                               int64_t now_ms);

#endif
