/* REST (DESIGN section 8) on libmicrohttpd in external epoll mode: everything on the loop thread. */
#ifndef SRV_HTTP_HTTP_H
#define SRV_HTTP_HTTP_H

#include <uv.h>

#include "server/blob/blob.h"
#include "server/core/config.h"
#include "server/http/histogram.h"
#include "server/store/store_thread.h"

typedef struct srv_http srv_http;

/* Live figures of core for /readyz and /metrics; called on the loop. */
typedef struct srv_http_live {
    bool ready;
    char not_ready_reason[MSA_ERROR_WHAT_MAX];
    int64_t associations_open, associations_total, instances_stored_total, instances_failed_total,
        bytes_stored_total;
    int64_t workers, workers_busy, worker_crashes_total, jobs_done_total, deliveries_total,
        delivery_failures_total;
    int64_t disk_free_bytes, disk_total_bytes;
    int32_t disk_level; /* 0 enough, 1 fewer associations, 2 nothing is received */
    char disk_why[MSA_ERROR_WHAT_MAX];
    int64_t refusals_total;
    srv_histogram commit_s; /* of an instance: from the role's word to the durable row */
    srv_histogram slice_s;  /* of the engine, a slice; one value a job */
    int64_t tls_expires_ms; /* of our certificate for DICOM; 0: there is none */
    double engine_seconds_total;
    int64_t engine_slices_total;
} srv_http_live;

/* How sending to one destination goes; called on the loop. */
typedef enum srv_http_circuit_state {
    SRV_CIRCUIT_CLOSED,
    SRV_CIRCUIT_OPEN,
    SRV_CIRCUIT_TRYING
} srv_http_circuit_state;
typedef struct srv_http_circuit {
    int32_t state;       /* srv_http_circuit_state; open: nothing is sent before next_try_ms */
    int32_t failures;    /* tries in a row that the destination did not answer as it should */
    int64_t next_try_ms; /* wall clock; 0 unless open */
    int64_t delivered, retried, refused; /* tries by what came of them, since the start */
    char comment[MSA_ERROR_WHAT_MAX];    /* of the last that failed */
} srv_http_circuit;

/* The header of a file, or NULL and why not. */
typedef void srv_header_fn(void *ctx, const dicom_header *header, const msa_error *err);

/* What a destination answered to C-ECHO. */
typedef void srv_echo_fn(void *ctx, const dicom_send_result *result);

/* Copied; what the pointers show is read for each request, so it outlives the server (a model known later
 * shows itself). */
typedef struct srv_http_env {
    uv_loop_t *loop;
    const srv_config *config;
    srv_store_thread *store;
    srv_blobs *blobs;
    const srv_model_table *models;
    void (*live)(void *ctx, srv_http_live *out);
    /* NULL: nothing is known of destinations. false: of this one. */
    bool (*circuit)(void *ctx, const char *destination, srv_http_circuit *out);
    void (*deliveries_changed)(void *ctx); /* after dead ones were queued again; may be NULL */
    void (*prompts_changed)(void *ctx); /* after POST or DELETE of annotations, or an upload, is committed */
    void (*job_cancelled)(void *ctx, const char *public_id); /* who runs it need not go on */
    /* Reads the header of a file elsewhere, as core parses none; done comes later, on the loop. NULL: cannot.
     */
    msa_status (*look)(void *ctx, const char *path, srv_header_fn *done, void *done_ctx, msa_error *err);
    /* C-ECHO to one of the settings' destinations; done comes later, on the loop. NULL: cannot. */
    msa_status (*echo)(void *ctx, const dicom_destination *to, srv_echo_fn *done, void *done_ctx,
                       msa_error *err);
    void *ctx;
    int32_t receive_ms; /* a request must have come, and a connection must ask again, in this time; 0: 60 s */
    int32_t store_ms;   /* the catalogue must have answered in this time, or it is 503; 0: 30 s */
} srv_http_env;

/* Binds and serves. *port: the one bound (http.port 0 picks one). Errors: MSA_E_IO when the address is taken.
 */
MSA_NODISCARD msa_status srv_http_start(srv_http **out, const srv_http_env *env, int32_t *port,
                                        msa_error *err);
/* The settings were read again: `config` from now on. Loop thread. */
void srv_http_reloaded(srv_http *h, const srv_config *config);
/* Something about a job changed: wakes those who wait for it with ?wait=. Loop thread. */
void srv_http_job_changed(srv_http *h, const char *public_id);
/* Resumes all who wait, stops the daemon and closes its handles. */
void srv_http_stop(srv_http *h);
#endif
