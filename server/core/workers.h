/* A worker and the pool it belongs to. Private to workers.c (the pool) and job_end.c (what follows a job).
 * Loop thread only. */
#ifndef SRV_CORE_WORKERS_H
#define SRV_CORE_WORKERS_H

#include "server/core/core.h"
#include "server/core/forms.h"
#include "server/core/role.h"

#define SRV_JOB_SEGMENTS_MAX 256
#define SRV_JOB_RESULTS_MAX  (SRV_FILES_MAX + SRV_CAPTURES_MAX + 2) /* a report, contours */

typedef struct srv_worker {
    srv_workers *pool;
    srv_role *role;
    int number;
    bool ready;
    bool retire; /* it has done its share of jobs: replaced when idle */
    int jobs_done;
    int starts_failed; /* in a row */
    uint64_t restart_at_ms, ready_by_ms;
    /* the job it has; job.id 0: none */
    srv_job job;
    const srv_rule *rule; /* for its series, of core's table */
    srv_targets targets;  /* where its results go: settings may change while it runs */
    bool busy;            /* from claim to the end of bookkeeping */
    bool cancelled;       /* by a person: its process was ended */
    bool done_sent;       /* JOB_DONE has come: what follows is core's work */
    uint64_t deadline_ms, beat_at_ms;
    int32_t progress_done, progress_total, beaten_done;
    bool beating;
    srv_model_table *told; /* what it says that it has, until it is ready */
    srv_segment *segments;
    srv_ipc_result *results;
    size_t n_segments, n_results;
} srv_worker;

struct srv_workers {
    srv_core *core;
    srv_worker *worker;
    int n, tasks; /* tasks under way */
    bool claiming, again;
    bool model_changed; /* the last worker to start found another model file than the first */
};

/* The folder of the worker's job: storage.path/jobs/<id>-<token>. */
void srv_worker_job_dir(const srv_worker *w, char path[SRV_PATH_MAX + 64]);
typedef enum srv_failure {
    SRV_FAILED_TRY,      /* the next one may do better */
    SRV_FAILED_FOR_GOOD, /* no other try would help */
    SRV_FAILED_INNOCENT, /* a full disk, a stop: tried again later, and this try is not counted */
} srv_failure;
/* The try failed: records it. The worker is free again when that is done. */
void srv_worker_fail_job(srv_worker *w, const char *reason, srv_failure failure);
/* The job was cancelled, and the catalogue knows. */
void srv_worker_drop_job(srv_worker *w);
/* JOB_DONE with MSA_OK: makes the result files durable, then records them with their deliveries. */
void srv_worker_keep_results(srv_worker *w, const srv_ipc_job_done *done);

#endif
