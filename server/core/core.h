/* The service: one loop, and what its parts share. Private to server/core; everything here is touched on the
 * loop only. */
#ifndef SRV_CORE_CORE_H
#define SRV_CORE_CORE_H

#include <uv.h>

#include "engine/automatic.h"
#include "server/blob/blob.h"
#include "server/core/clock.h"
#include "server/core/config.h"
#include "server/core/ipc.h"
#include "server/core/notify.h"
#include "server/http/http.h"
#include "server/jobs/jobs.h"
#include "server/store/store_thread.h"

typedef struct srv_intake srv_intake;     /* listener and receive roles: intake.c */
typedef struct srv_indexer srv_indexer;   /* the work role that reads headers: indexer.c */
typedef struct srv_workers srv_workers;   /* the work roles that run jobs: workers.c */
typedef struct srv_outbox srv_outbox;     /* deliveries and send roles: outbox.c */
typedef struct srv_retainer srv_retainer; /* forgets what is done: retention.c */
typedef struct srv_disk srv_disk;         /* how full the storage volume is: disk.c */
typedef struct srv_echo srv_echo;         /* a C-ECHO that a person asked for: echo.c */
typedef struct srv_inquiry srv_inquiry;   /* questions to sources, by send roles: inquiry.c */

typedef struct srv_core {
    uv_loop_t *loop;
    const srv_config *config; /* replaced by SIGHUP: nobody keeps pointers into it; loop thread only */
    const char *config_path;  /* NULL: no file */
    srv_config *reloaded;     /* owned: what `config` is since the last SIGHUP */
    srv_store_thread *store;
    srv_blobs *blobs;
    srv_http *http;
    srv_intake *intake;
    srv_indexer *indexer;
    srv_workers *workers;
    srv_outbox *outbox;
    srv_inquiry *inquiry;
    srv_echo *echoes; /* under way */
    srv_disk *disk;
    srv_retainer *retainer;
    srv_model_table models; /* what the workers have; texts end, indices are in range */
    bool model_known;
    char settings_key[256]; /* the settings that shape a result: part of every job's input key */
    msa_auto_options automatic;
    char automatic_key[160]; /* the same of a job without prompts */
    bool serving;            /* a worker has the model, and the listener stands */
    bool stopping;           /* SIGTERM: nothing new is begun */
    int exit_status;
    int32_t dicom_port, dicom_tls_port, http_port; /* the ones bound; -1: none */
    srv_http_live live;                            /* counters; filled up by live() in core.c */
    uv_timer_t tick;
    uv_timer_t stop_deadline;
    uv_signal_t on_term, on_int, on_hup;
    srv_notify notify;
    bool pulsing; /* the watchdog's task is with the store thread */
    uint64_t pulse_at_ms;
    bool ticking;    /* a jobs tick is on its way */
    srv_task *later; /* found the disk full */
} srv_core;

/* The service until it is told to stop. Returns the exit status: 0 after SIGTERM, 1 after a failure that was
 * logged. */
int srv_core_run(const srv_config *config, const char *config_path);

/* Submits a task; on MSA_E_BUSY calls its done with that status at once, so a caller has one place for
 * failure. */
void srv_core_submit(srv_core *core, srv_task *task);
/**
 * For the done of a task that records what has happened and cannot be taken back: while the disk is full the
 * task is kept and run again by later ticks, and this is true. Its run must bear repeating. False: it is done
 * with, well or not.
 */
bool srv_core_try_later(srv_core *core, srv_task *task);
/* An unforgivable failure (a failed fsync or commit): stop accepting, end the roles, exit 1. Invariant 1. */
void srv_core_fatal(srv_core *core, const char *why);
/* How jobs are bound; what it points to lives as long as core. */
srv_job_policy srv_core_policy(const srv_core *core);
/* Looks at completeness soon: something arrived. */
void srv_core_poke_jobs(srv_core *core);
/* A part has ended its work after srv_core.stopping was set; the last one lets the loop end. */
void srv_core_part_stopped(srv_core *core);

/* lifecycle.c: signals and the service manager, around everything else. */
void srv_lifecycle_open(srv_core *core);
void srv_lifecycle_ready(srv_core *core);
void srv_lifecycle_tick(srv_core *core); /* the watchdog */
void srv_lifecycle_close(srv_core *core);

/**
 * reload.c: the settings read again, all or none. Errors, with nothing changed: the file cannot be read
 * (MSA_E_NOT_FOUND, MSA_E_PARSE, MSA_E_IO), a setting has changed that needs a restart (MSA_E_UNSUPPORTED),
 * the new listener cannot be had (MSA_E_IO).
 */
MSA_NODISCARD msa_status srv_core_reload(srv_core *core, msa_error *err);
void srv_reload_free(srv_core *core);

MSA_NODISCARD msa_status srv_intake_start(srv_core *core, msa_error *err);
/* Listens where `config` says, before core->config is that; on failure the listener stays as it was. */
MSA_NODISCARD msa_status srv_intake_reload(srv_intake *in, const srv_config *config, msa_error *err);
/* Closes the listener and tells associations to end after the object at hand; now: kills them. */
void srv_intake_stop(srv_intake *in, bool now);
void srv_intake_deadlines(srv_intake *in); /* once per tick */
bool srv_intake_idle(const srv_intake *in);
void srv_intake_free(srv_intake *in);

MSA_NODISCARD msa_status srv_indexer_start(srv_core *core, msa_error *err);
void srv_indexer_kick(srv_indexer *ix); /* there may be something to index */
/**
 * Reads the header of a file that is not in the catalogue, between instances. done comes later, once, on the
 * loop: with the header, or with why there is none. Errors: MSA_E_BUSY when too many wait, MSA_E_NOMEM; then
 * done does not come.
 */
MSA_NODISCARD msa_status srv_indexer_look(srv_indexer *ix, const char *path, srv_header_fn *done, void *ctx,
                                          msa_error *err);
void srv_indexer_tick(srv_indexer *ix); /* deadlines */
void srv_indexer_stop(srv_indexer *ix, bool now);
bool srv_indexer_idle(const srv_indexer *ix);
void srv_indexer_free(srv_indexer *ix);

MSA_NODISCARD msa_status srv_workers_start(srv_core *core, msa_error *err);
void srv_workers_kick(srv_workers *w); /* there may be a job to claim */
void srv_workers_tick(srv_workers *w); /* deadlines, heartbeats, restarts */
void srv_workers_stop(srv_workers *w, bool now);
void srv_workers_cancel(srv_workers *w, const char *public_id); /* the catalogue has cancelled it */
bool srv_workers_idle(const srv_workers *w);
void srv_workers_live(const srv_workers *w, srv_http_live *live);
void srv_workers_free(srv_workers *w);

typedef enum srv_disk_level {
    SRV_DISK_OK,
    SRV_DISK_SOFT, /* fewer associations */
    SRV_DISK_HARD  /* nothing is received */
} srv_disk_level;
/* Looks once, blocking, and from then on with every tick. */
MSA_NODISCARD msa_status srv_disk_start(srv_core *core, msa_error *err);
void srv_disk_tick(srv_disk *d);
srv_disk_level srv_disk_level_now(const srv_disk *d);
int64_t srv_disk_keep_free(const srv_disk *d); /* bytes below which nothing is received */
const char *srv_disk_why(const srv_disk *d);   /* a sentence for people; "" at SRV_DISK_OK */
void srv_disk_live(const srv_disk *d, srv_http_live *live);
bool srv_disk_idle(const srv_disk *d);
void srv_disk_free(srv_disk *d);

MSA_NODISCARD msa_status srv_retainer_start(srv_core *core, msa_error *err);
void srv_retainer_tick(srv_retainer *k);
bool srv_retainer_idle(const srv_retainer *k);
void srv_retainer_free(srv_retainer *k);
/* Store thread, where a row is made that names this blob: MSA_E_BUSY when retention has just deleted it. */
MSA_NODISCARD msa_status srv_core_has_blob(const srv_core *core, const char *sha256, msa_error *err);

/* Asks; done comes later, once, on the loop. Errors: MSA_E_BUSY, MSA_E_NOMEM, MSA_E_IO; then it does not
 * come. */
MSA_NODISCARD msa_status srv_echo_begin(srv_core *core, const dicom_destination *to, srv_echo_fn *done,
                                        void *ctx, msa_error *err);
void srv_echo_tick(srv_core *core, bool now); /* ends what takes too long; now: all */

MSA_NODISCARD msa_status srv_inquiry_start(srv_core *core, msa_error *err);
void srv_inquiry_tick(srv_inquiry *q); /* looks for something to ask; deadlines */
void srv_inquiry_stop(srv_inquiry *q, bool now);
bool srv_inquiry_idle(const srv_inquiry *q);
void srv_inquiry_free(srv_inquiry *q);

MSA_NODISCARD msa_status srv_outbox_start(srv_core *core, msa_error *err);
/* Makes room for what `config` has more; MSA_E_NOMEM, with nothing changed. Then srv_outbox_reloaded(). */
MSA_NODISCARD msa_status srv_outbox_reload(srv_outbox *o, const srv_config *config, msa_error *err);
void srv_outbox_reloaded(srv_outbox *o, const srv_config *config); /* sends as it says from now on */
void srv_outbox_kick(srv_outbox *o);
void srv_outbox_retry(srv_outbox *o); /* a person wants it: no destination is waited for */
/* false: there is no such destination. */
bool srv_outbox_circuit(const srv_outbox *o, const char *name, srv_http_circuit *out);
void srv_outbox_tick(srv_outbox *o);
void srv_outbox_stop(srv_outbox *o, bool now);
bool srv_outbox_idle(const srv_outbox *o);
void srv_outbox_free(srv_outbox *o);

#endif
