/**
 * Catalogue and queue: instances, series, prompts, jobs, results, deliveries, refusals. One backend: SQLite
 * (WAL, synchronous FULL, one connection, owned by core's store thread). PostgreSQL comes behind this same
 * interface.
 *
 * Every call is one transaction, unless between srv_store_begin() and srv_store_commit(): then each is a
 * savepoint of that group (group commit: many associations share one fsync), and a failed call undoes itself
 * only.
 *
 * Errors: MSA_E_IO (disk; the sentence says what), MSA_E_BUSY (disk full), MSA_E_NOT_FOUND, MSA_E_INVALID (a
 * lost lease, a state that does not allow the step), MSA_E_PARSE (a newer or foreign database). Times are
 * milliseconds since 1970 UTC and always the caller's (no clock is read here: tests can own time). Threads:
 * one at a time per store. Text is UTF-8. Pointers handed to row callbacks live for the call only.
 */
#ifndef SRV_STORE_STORE_H
#define SRV_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/annotation.h"
#include "dicom/header.h"
#include "dicom/seg.h"
#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/segmenter.h"
#include "server/core/model_info.h"

typedef struct srv_store srv_store;

/**
 * Opens or creates `path`, checks it (quick_check) and migrates with the numbered steps of config/schema
 * (compiled in), each one transaction. A newer schema is MSA_E_PARSE.
 */
MSA_NODISCARD msa_status srv_store_open(srv_store **out, const char *path, msa_error *err);
void srv_store_free(srv_store *s); /* checkpoints and closes */
MSA_DEFINE_AUTO(srv_store, srv_store_free);
MSA_NODISCARD msa_status srv_store_begin(srv_store *s, msa_error *err);
MSA_NODISCARD msa_status srv_store_commit(srv_store *s, msa_error *err);
void srv_store_rollback(srv_store *s);

/* ---- associations and refusals ---- */

MSA_NODISCARD msa_status srv_store_association_close(srv_store *s, int64_t id, const char *ended,
                                                     int64_t now_ms, msa_error *err);
typedef struct srv_refusal {
    int64_t id, at_ms, count; /* the same refusal again only counts */
    char calling_ae[DICOM_AE_MAX], peer[48], what[DICOM_UID_MAX + 64], reason[MSA_ERROR_WHAT_MAX];
} srv_refusal;
/* Keeps the newest 1,000. */
MSA_NODISCARD msa_status srv_store_refusal_put(srv_store *s, const srv_refusal *refusal, msa_error *err);

typedef struct srv_association {
    int64_t id, opened_ms, closed_ms; /* 0: still open */
    int64_t instances;
    char calling_ae[DICOM_AE_MAX], called_ae[DICOM_AE_MAX], peer[48], ended[16];
    char sender[64]; /* the entry under senders that let it in */
    char tls[16];    /* "TLSv1.3"; "": without */
} srv_association;
/* A received association, from what is known when it opens; its id marks the instances that came in it. */
MSA_NODISCARD msa_status srv_store_association_open(srv_store *s, const srv_association *opened, int64_t *id,
                                                    msa_error *err);

/* ---- instances ---- */

typedef enum srv_instance_state {
    SRV_INSTANCE_RECEIVED,
    SRV_INSTANCE_INDEXED,
    SRV_INSTANCE_REJECTED
} srv_instance_state;
const char *srv_instance_state_name(srv_instance_state state);

typedef struct srv_instance {
    int64_t id, series_id, association_id, received_ms, size_bytes;
    char sha256[MSA_SHA256_HEX];
    char sop_instance_uid[DICOM_UID_MAX], sop_class_uid[DICOM_UID_MAX], transfer_syntax_uid[DICOM_UID_MAX];
    srv_instance_state state;
    bool superseded; /* the same UID came again with other bytes: the newest is used */
    int32_t index_attempts;
    char reason[MSA_ERROR_WHAT_MAX]; /* why rejected */
    char note[MSA_ERROR_WHAT_MAX];   /* of an annotation: why it prompts nothing, or what was passed over */
    double position_mm;
    int32_t kind;    /* dicom_kind; 0: not known yet */
    int64_t prompts; /* that count, of an annotation */
} srv_instance;

typedef enum srv_put { SRV_PUT_NEW, SRV_PUT_SAME, SRV_PUT_OTHER_BYTES } srv_put;
/* The row behind a C-STORE Success or an upload (id and state of *instance are ignored). An upload is not
 * parsed before it is indexed: its UIDs are "". SAME: nothing was added. */
MSA_NODISCARD msa_status srv_store_instance_put(srv_store *s, const srv_instance *instance, srv_put *outcome,
                                                int64_t *id, msa_error *err);
/* Oldest RECEIVED instance with id > after_id, its index_attempts raised by one; MSA_E_NOT_FOUND when none.
 * After 3 attempts the caller rejects it. */
MSA_NODISCARD msa_status srv_store_instance_next(srv_store *s, int64_t after_id, srv_instance *out,
                                                 msa_error *err);
/* What the reader of an annotation says beside its prompts: why there are none, or what was passed over. */
MSA_NODISCARD msa_status srv_store_instance_note(srv_store *s, int64_t id, const char *note, msa_error *err);
/**
 * The header has been read: files the instance under its series (made when new; a series that was closed
 * reopens and a new job is opened for it) and, for an annotation, its prompts. An instance
 * without a UID (an upload) gets that of the header; when the same bytes have come by C-STORE meanwhile, it
 * is dropped.
 */
MSA_NODISCARD msa_status srv_store_instance_index(srv_store *s, int64_t id, const dicom_header *header,
                                                  const dicom_prompt *prompts, size_t n_prompts,
                                                  int64_t now_ms, msa_error *err);
MSA_NODISCARD msa_status srv_store_instance_reject(srv_store *s, int64_t id, const char *reason,
                                                   msa_error *err);

/* ---- prompts ---- */

typedef struct srv_prompt {
    int64_t id, series_id; /* series 0: its images have not come */
    int64_t created_ms;
    char linked_series_uid[DICOM_UID_MAX]; /* of series_id; "" while it waits */
    char group_id[40];                     /* REST: id of the POST; "" for a stored object */
    char request_sha256[MSA_SHA256_HEX];   /* REST: of its body */
    dicom_prompt prompt;
} srv_prompt;
/**
 * From REST. All or none. A prompt names its image, or its series (and slice, in image space), or a frame of
 * reference. Same group_id again: nothing new. Of one tracking UID on one series the newest annotation
 * counts.
 */
MSA_NODISCARD msa_status srv_store_prompts_put(srv_store *s, const srv_prompt *prompts, size_t n,
                                               msa_error *err);
/* Deletes a REST group, unless a job has used it (then MSA_E_INVALID); what it had replaced counts again. */
MSA_NODISCARD msa_status srv_store_prompts_delete(srv_store *s, const char *group_id, int64_t now_ms,
                                                  msa_error *err);

/* ---- series ---- */

typedef struct srv_series {
    int64_t id, first_ms, last_ms, closed_ms;
    int64_t instances; /* current images (not superseded) */
    int64_t prompts;
    int64_t slices;   /* frames of these images */
    int32_t expected; /* Number of Series Related Instances; 0: not said, as with all of these */
    int32_t told;     /* over REST */
    int32_t found;    /* at the source, when it was asked last; -1: it is being asked */
    int64_t asked_ms;
    int32_t study_expected,
        acquisition_expected; /* Number of Study Related Instances, Images in Acquisition */
    bool open;
    bool held;   /* is not closed, and nothing is begun, until it is released */
    bool forced; /* closes at the next look */
    char study_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX], modality[17], body_part[17];
    char sender[DICOM_AE_MAX];
    char closed_by[32]; /* the evidence: see srv_jobs_tick() */
} srv_series;

/* The series as rules look at it, with its images as they are now; or with those that a job was bound to. */
MSA_NODISCARD msa_status srv_store_series_subject(srv_store *s, int64_t series_id, srv_rule_subject *out,
                                                  msa_error *err);
MSA_NODISCARD msa_status srv_store_job_subject(srv_store *s, int64_t job_id, srv_rule_subject *out,
                                               msa_error *err);

/* ---- jobs ---- */

typedef enum srv_job_state {
    SRV_JOB_RECEIVING,
    SRV_JOB_WAITING_PROMPT,
    SRV_JOB_QUEUED,
    SRV_JOB_RUNNING,
    SRV_JOB_DELIVERING,
    SRV_JOB_SUCCEEDED,
    SRV_JOB_SUCCEEDED_EMPTY,
    SRV_JOB_FAILED,
    SRV_JOB_CANCELLED
} srv_job_state;
const char *srv_job_state_name(srv_job_state state); /* "waiting_prompt" */
bool srv_job_state_is_final(srv_job_state state);
typedef enum srv_priority { SRV_PRIORITY_BACKGROUND, SRV_PRIORITY_NORMAL, SRV_PRIORITY_URGENT } srv_priority;
const char *srv_priority_name(srv_priority priority); /* "urgent" */

typedef struct srv_job {
    int64_t id;
    char public_id[33];            /* random, opaque: what REST shows */
    int64_t series_id, supersedes; /* 0: none */
    srv_job_state state;
    srv_priority priority; /* which of the queued jobs is claimed first */
    int32_t attempt, max_attempts;
    int64_t token, lease_until_ms, created_ms, queued_ms, started_ms, finished_ms, run_at_ms;
    int32_t progress_done, progress_total;
    bool untrained;
    char reason[MSA_ERROR_WHAT_MAX]; /* of failed; "" otherwise */
    char warnings[512];
    char input_key[MSA_SHA256_HEX]; /* hash of instances, prompts, model, settings: UIDs derive from it */
    char model_name[64], model_version[32],
        model_hash[MSA_SHA256_HEX]; /* srv_model_join() of those it needs */
    char preview_sha256[MSA_SHA256_HEX], slices_sha256[MSA_SHA256_HEX]; /* pictures; "": none */
    int64_t prompts;                                                    /* bound to the job */
    char study_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX], modality[17], body_part[17];
    char rule[64]; /* that decided, by name or number; "" until one has */
} srv_job;

typedef struct srv_result { /* one instance */
    int64_t job_id, size_bytes;
    int32_t number; /* from 1 */
    /* Which of the destinations given to srv_store_job_done() get it, the first in bit 0; 0: all. Not stored.
     */
    uint32_t destinations;
    char sha256[MSA_SHA256_HEX], sop_class_uid[DICOM_UID_MAX], sop_instance_uid[DICOM_UID_MAX],
        series_uid[DICOM_UID_MAX];
    char form[DICOM_SEG_FORM_NAME_MAX]; /* dicom_seg_form_name(); "": it is no segmentation */
} srv_result;

typedef struct srv_segment { /* what was found for one label */
    int64_t job_id, voxels;
    int32_t number;
    int32_t first_slice, last_slice;
    double volume_ml, mean_iou;
    msa_candidates candidates;
    char label[DICOM_LABEL_MAX];
    char note[128]; /* why propagation stopped */
} srv_segment;

/* What srv_jobs_tick() decides with, and what a job is bound to when it is queued. */
typedef struct srv_job_policy {
    int32_t settle_ms, quiet_ms, prompt_settle_ms, max_attempts;
    const char *settings;          /* part of the input key: result settings and software version */
    const char *automatic;         /* the same of a job without prompts */
    const srv_model_table *models; /* its rules choose the model of each prompt */
} srv_job_policy;

/**
 * Claims the oldest queued job of the highest priority whose run_at has come: state RUNNING, attempt and
 * token raised, lease set, in one transaction. A job whose attempts are used up becomes FAILED instead.
 * MSA_E_NOT_FOUND when there is none.
 */
MSA_NODISCARD msa_status srv_store_job_claim(srv_store *s, int64_t now_ms, int64_t lease_ms, srv_job *out,
                                             msa_error *err);
/* The bound inputs of a job, in bound order. */
typedef void srv_instance_fn(void *ctx, const srv_instance *instance);
typedef void srv_prompt_fn(void *ctx, const srv_prompt *prompt);
MSA_NODISCARD msa_status srv_store_job_instances(srv_store *s, int64_t job_id, srv_instance_fn *row,
                                                 void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_job_prompts(srv_store *s, int64_t job_id, srv_prompt_fn *row, void *ctx,
                                               msa_error *err);

/* All of these check the token (fencing): MSA_E_INVALID "the lease was lost" when it is not the job's. */
MSA_NODISCARD msa_status srv_store_job_heartbeat(srv_store *s, int64_t job_id, int64_t token,
                                                 int64_t lease_until_ms, int32_t done, int32_t total,
                                                 msa_error *err);
/* A try failed: back to QUEUED after a pause, or FAILED when attempts are used up or `final`. */
MSA_NODISCARD msa_status srv_store_job_failed(srv_store *s, int64_t job_id, int64_t token, const char *reason,
                                              bool final, int64_t now_ms, msa_error *err);
/* The try came to nothing through no fault of the job (a full disk, a stop): QUEUED again from run_at_ms on,
 * and the attempt is not counted. */
MSA_NODISCARD msa_status srv_store_job_put_back(srv_store *s, int64_t job_id, int64_t token,
                                                const char *reason, int64_t run_at_ms, int64_t now_ms,
                                                msa_error *err);
/**
 * The work is done: results, segments and one delivery per result and destination that it is for are recorded
 * in one transaction. With results and destinations: DELIVERING; the end is SUCCEEDED, or SUCCEEDED_EMPTY
 * where there is no result or no segment has a voxel (a report may say so). An older job of the same series
 * that still delivers has its pending deliveries cancelled.
 */
MSA_NODISCARD msa_status srv_store_job_done(srv_store *s, int64_t job_id, int64_t token,
                                            const srv_result *results, size_t n_results,
                                            const srv_segment *segments, size_t n_segments,
                                            const char *preview_sha256, const char *warnings,
                                            const char *const *destinations, size_t n_destinations,
                                            int64_t now_ms, msa_error *err);
/* The picture of key slices of a job that is about to be done; "": none. Nothing happens to a job that is not
 * held under this token. */
MSA_NODISCARD msa_status srv_store_job_slices(srv_store *s, int64_t job_id, int64_t token, const char *sha256,
                                              msa_error *err);
/* At start: RUNNING jobs of a former life go back to QUEUED (the attempt stays counted; used up: FAILED);
 * likewise deliveries being sent; open associations are closed as "lost". */
MSA_NODISCARD msa_status srv_store_recover(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err);
/* Leases that ran out, the same way. */
MSA_NODISCARD msa_status srv_store_reap(srv_store *s, int64_t now_ms, int32_t *requeued, msa_error *err);
/* When the next lease runs out or a paused job or delivery is due (later than now_ms); INT64_MAX: nothing
 * waits for the clock. */
MSA_NODISCARD msa_status srv_store_next_due(srv_store *s, int64_t now_ms, int64_t *due_ms, msa_error *err);

/**
 * What a person says of a series; completeness looks at it again. A series that is held is not closed, and
 * its job not begun, until it is released or completed; jobs that are queued already go on. Complete: closes
 * it as it is, held or not; nothing where it is closed. Tell: how many images there are; 0 takes that back.
 * Errors: MSA_E_NOT_FOUND.
 */
MSA_NODISCARD msa_status srv_store_series_hold(srv_store *s, const char *series_uid, bool held,
                                               msa_error *err);
MSA_NODISCARD msa_status srv_store_series_complete(srv_store *s, const char *series_uid, msa_error *err);
MSA_NODISCARD msa_status srv_store_series_tell(srv_store *s, const char *series_uid, int32_t images,
                                               msa_error *err);
/**
 * The rules and models in force, as a text that differs when they do: where it is not that of the last start,
 * the series that wait for prompts are looked at again, as rules may do without now. *changed: it is not.
 */
MSA_NODISCARD msa_status srv_store_rules_known(srv_store *s, const char *rules, bool *changed,
                                               msa_error *err);

/**
 * An open series that `sender` sent, of which nothing is on its way, and whose source has not been asked
 * since its last image came; MSA_E_NOT_FOUND when there is none. It is asked now: until the answer, its found
 * is -1.
 */
MSA_NODISCARD msa_status srv_store_series_ask(srv_store *s, const char *sender, int64_t now_ms,
                                              srv_series *out, msa_error *err);
/* images: that its source has; 0: it did not say. */
MSA_NODISCARD msa_status srv_store_series_found(srv_store *s, int64_t series_id, int32_t images,
                                                msa_error *err);

/* Completeness and queueing, used by server/jobs only. */
MSA_NODISCARD msa_status srv_store_series_close(srv_store *s, int64_t series_id, const char *rule,
                                                int64_t now_ms, msa_error *err);
/**
 * Binds the current instances and prompts of a closed series to its open job (RECEIVING or WAITING_PROMPT).
 * With prompts: QUEUED, unless the newest job of the series has the same input key and has not failed (then
 * this one is dropped and *state is CANCELLED). Without: what the rule for the series says: the same, or
 * WAITING_PROMPT, or CANCELLED where it is skipped. An older job of the series that is still QUEUED is
 * cancelled: this one has its inputs too.
 */
MSA_NODISCARD msa_status srv_store_job_bind(srv_store *s, int64_t job_id, const srv_job_policy *policy,
                                            int64_t now_ms, srv_job_state *state, msa_error *err);
/* A claimed job that rules and settings make another one than when it was bound, as after a restart: its
 * input key, rule and model become those of what it will really run with, in the catalogue and in *job.
 * MSA_E_NOT_FOUND: by these rules it is not run, and it is CANCELLED. */
MSA_NODISCARD msa_status srv_store_job_rebind(srv_store *s, srv_job *job, const srv_job_policy *policy,
                                              msa_error *err);
typedef struct srv_series_evidence { /* what completeness is judged by */
    srv_series series;
    srv_rule_subject subject; /* spacing_mm: known once nothing is on its way */
    int64_t job_id;           /* its open job */
    int64_t study_images;   /* of all series of its study; looked at where a header says how many there are */
    int64_t last_prompt_ms; /* 0: no prompt */
    int64_t open_associations; /* that brought instances of it */
    int64_t unindexed;         /* RECEIVED instances of those associations, of whatever series */
    bool gap;   /* positions along the normal have one (step over 1.5 times the median); not looked
                   at while an association is open or something is unindexed */
    bool again; /* the series was closed before: its open job replaces an older one */
} srv_series_evidence;
typedef void srv_evidence_fn(void *ctx, const srv_series_evidence *evidence);
/* Series that are open or whose job waits for prompts and has some now. The callback may not call the store.
 */
MSA_NODISCARD msa_status srv_store_evidence(srv_store *s, srv_evidence_fn *row, void *ctx, msa_error *err);

/* ---- deliveries: the outbox ---- */

typedef struct srv_delivery {
    int64_t id, job_id, token, run_at_ms, created_ms, delivered_ms;
    int32_t attempt, dimse_status;
    char state[16]; /* "pending", "sending", "delivered", "dead", "cancelled" */
    char destination[64], comment[MSA_ERROR_WHAT_MAX];
    srv_result result;
} srv_delivery;
/* Oldest due delivery of one destination; MSA_E_NOT_FOUND when none. */
MSA_NODISCARD msa_status srv_store_delivery_claim(srv_store *s, const char *destination, int64_t now_ms,
                                                  srv_delivery *out, msa_error *err);
/**
 * outcome: dicom_delivery. Retry: pending again at retry_at_ms, or dead when give_up_ms have passed since it
 * was created; refused: dead after 2 tries. When no delivery of the job is pending any more the job becomes
 * SUCCEEDED (or SUCCEEDED_EMPTY), or FAILED ("not delivered to ...") when all are dead.
 */
MSA_NODISCARD msa_status srv_store_delivery_done(srv_store *s, int64_t id, int64_t token, int32_t outcome,
                                                 int32_t dimse_status, const char *comment,
                                                 int64_t retry_at_ms, int64_t give_up_ms, int64_t now_ms,
                                                 msa_error *err);

/**
 * A destination answers again: what waits for its next try need not wait, in the order in which it was made.
 */
MSA_NODISCARD msa_status srv_store_deliveries_hasten(srv_store *s, const char *destination, int64_t now_ms,
                                                     msa_error *err);
/* Pending deliveries of any destination, also of one that is not in the settings any more, that have waited
 * since before `before_ms` are dead. *n: how many. */
MSA_NODISCARD msa_status srv_store_deliveries_expire(srv_store *s, int64_t before_ms, int64_t now_ms,
                                                     int32_t *n, msa_error *err);
/**
 * A dead delivery is pending again, due now and with all its time; its job delivers again. Errors:
 * MSA_E_NOT_FOUND; MSA_E_INVALID when it is not dead, or a newer job of the series has its result.
 */
MSA_NODISCARD msa_status srv_store_delivery_requeue(srv_store *s, int64_t id, int64_t now_ms,
                                                    srv_delivery *out, msa_error *err);
/* All dead deliveries of one destination that can be; *n: how many. */
MSA_NODISCARD msa_status srv_store_deliveries_requeue(srv_store *s, const char *destination, int64_t now_ms,
                                                      int32_t *n, msa_error *err);

/* ---- retention ---- */

typedef struct srv_retention {
    int64_t finished_before_ms; /* series that finished at or before may be forgotten; 0: none */
    int64_t
        waiting_before_ms; /* those that wait for an annotation and had their last image before; 0: none */
    int64_t bytes_max;     /* above it, finished ones of any age, the oldest first; 0: no limit */
    int32_t series_max;    /* to look at in this call */
} srv_retention;
typedef struct srv_retention_state { /* zero at first; kept between the calls of a round */
    int64_t after_id;                /* 0: the round is over */
    int64_t bytes;
    int32_t forgotten; /* series, counted up */
} srv_retention_state;
typedef void srv_hash_fn(void *ctx, const char *sha256, int64_t size_bytes);
/**
 * Deletes all rows of series that may be forgotten: every job of them has ended and every result was
 * delivered to all of its destinations (a delivery that was given up keeps its series), or nobody has
 * annotated them. row: every blob that these rows named; others may name it still.
 */
MSA_NODISCARD msa_status srv_store_forget(srv_store *s, const srv_retention *r, srv_retention_state *state,
                                          srv_hash_fn *row, void *ctx, msa_error *err);
/* Does any row name this blob? */
MSA_NODISCARD msa_status srv_store_blob_is_used(srv_store *s, const char *sha256, bool *yes, msa_error *err);

/* ---- reading, for REST ---- */

typedef void srv_job_fn(void *ctx, const srv_job *job);
typedef void srv_series_fn(void *ctx, const srv_series *series);
typedef void srv_result_fn(void *ctx, const srv_result *result);
typedef void srv_segment_fn(void *ctx, const srv_segment *segment);
typedef void srv_delivery_fn(void *ctx, const srv_delivery *delivery);
/* Newest first; state NULL and destination NULL: all; before_id 0 starts at the newest. */
MSA_NODISCARD msa_status srv_store_deliveries(srv_store *s, const char *state, const char *destination,
                                              int64_t before_id, int32_t limit, srv_delivery_fn *row,
                                              void *ctx, msa_error *err);
typedef void srv_refusal_fn(void *ctx, const srv_refusal *refusal);
typedef void srv_association_fn(void *ctx, const srv_association *association);

/* Newest first; before_id 0 starts at the newest; state -1: all; series_uid NULL or "": all. */
MSA_NODISCARD msa_status srv_store_jobs(srv_store *s, int state, const char *series_uid, int64_t before_id,
                                        int32_t limit, srv_job_fn *row, void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_job_get(srv_store *s, const char *public_id, srv_job *out, msa_error *err);
MSA_NODISCARD msa_status srv_store_job_get_id(srv_store *s, int64_t id, srv_job *out, msa_error *err);
MSA_NODISCARD msa_status srv_store_job_results(srv_store *s, int64_t job_id, srv_result_fn *row, void *ctx,
                                               msa_error *err);
MSA_NODISCARD msa_status srv_store_job_segments(srv_store *s, int64_t job_id, srv_segment_fn *row, void *ctx,
                                                msa_error *err);
MSA_NODISCARD msa_status srv_store_job_deliveries(srv_store *s, int64_t job_id, srv_delivery_fn *row,
                                                  void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_series_list(srv_store *s, int64_t before_id, int32_t limit,
                                               srv_series_fn *row, void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_series_get(srv_store *s, const char *series_uid, srv_series *out,
                                              msa_error *err);
MSA_NODISCARD msa_status srv_store_series_instances(srv_store *s, int64_t series_id, srv_instance_fn *row,
                                                    void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_instances_rejected(srv_store *s, int64_t before_id, int32_t limit,
                                                      srv_instance_fn *row, void *ctx, msa_error *err);
/* Annotations in use that have a note. Newest first. */
MSA_NODISCARD msa_status srv_store_instances_noted(srv_store *s, int64_t before_id, int32_t limit,
                                                   srv_instance_fn *row, void *ctx, msa_error *err);
/* By SOP Instance UID (the newest version) or by SHA-256. */
MSA_NODISCARD msa_status srv_store_instance_find(srv_store *s, const char *name, srv_instance *out,
                                                 msa_error *err);
/* series_uid NULL or "": all; waiting: only those whose images have not come. Newest first. */
MSA_NODISCARD msa_status srv_store_prompts(srv_store *s, const char *series_uid, bool waiting,
                                           int64_t before_id, int32_t limit, srv_prompt_fn *row, void *ctx,
                                           msa_error *err);
/* Of one POST, in its order; a prompt on several series comes once for each. */
MSA_NODISCARD msa_status srv_store_prompts_group(srv_store *s, const char *group_id, srv_prompt_fn *row,
                                                 void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_refusals(srv_store *s, int32_t limit, srv_refusal_fn *row, void *ctx,
                                            msa_error *err);
MSA_NODISCARD msa_status srv_store_associations(srv_store *s, int64_t before_id, int32_t limit,
                                                srv_association_fn *row, void *ctx, msa_error *err);

/* ---- what a person says of a job ---- */

/* Whatever it is doing: who has it loses it, and what is to be delivered is not. Errors: MSA_E_INVALID when
 * it has ended, or its series still arrives. */
MSA_NODISCARD msa_status srv_store_job_cancel(srv_store *s, const char *public_id, int64_t now_ms,
                                              msa_error *err);
/* A job that failed or was cancelled once more, with all its attempts: with results only what was not
 * delivered. Errors: MSA_E_INVALID when there is nothing to try, or a newer job of the series. */
MSA_NODISCARD msa_status srv_store_job_retry(srv_store *s, const char *public_id, int64_t now_ms,
                                             msa_error *err);
MSA_NODISCARD msa_status srv_store_job_prioritise(srv_store *s, const char *public_id, srv_priority priority,
                                                  msa_error *err);

/* Answers kept for requests that may be repeated. found is called when there is one that has not expired. */
typedef struct srv_answer {
    const char *request_sha256;
    int32_t status;
    const char *location, *body;
} srv_answer;
typedef msa_status srv_answer_fn(void *ctx, const srv_answer *answer, msa_error *err);
MSA_NODISCARD msa_status srv_store_answer_get(srv_store *s, const char *key_sha256, int64_t now_ms,
                                              srv_answer_fn *found, void *ctx, msa_error *err);
MSA_NODISCARD msa_status srv_store_answer_keep(srv_store *s, const char *key_sha256, const srv_answer *answer,
                                               int64_t now_ms, int64_t expires_ms, msa_error *err);

/* ---- events ---- */

/* One thing that happened, in the order of commits. Ids only grow; the newest 10,000 are kept. */
typedef struct srv_event {
    int64_t id, at_ms;
    char kind[12];                   /* job, series, delivery, refusal, instance */
    char subject[MSA_SHA256_HEX];    /* id of the job (also of a delivery), a UID, a SHA-256 or an AE title */
    char state[24];                  /* what it is now */
    char detail[MSA_ERROR_WHAT_MAX]; /* of a job its series, of a delivery its destination, else the reason */
} srv_event;
typedef void srv_event_fn(void *ctx, const srv_event *event);
/* Oldest first. */
MSA_NODISCARD msa_status srv_store_events(srv_store *s, int64_t after_id, int32_t limit, srv_event_fn *row,
                                          void *ctx, msa_error *err);
/* Ids of the oldest and the newest that are kept; 0 where nothing has happened. */
MSA_NODISCARD msa_status srv_store_events_range(srv_store *s, int64_t *oldest, int64_t *newest,
                                                msa_error *err);
/* How far the running jobs are. */
typedef struct srv_running {
    char public_id[33];
    int32_t done, total;
    int64_t started_ms;
} srv_running;
typedef void srv_running_fn(void *ctx, const srv_running *job);
MSA_NODISCARD msa_status srv_store_jobs_running(srv_store *s, srv_running_fn *row, void *ctx, msa_error *err);

typedef struct srv_store_counts { /* for /metrics */
    int64_t oldest_ms[SRV_JOB_CANCELLED +
                      1]; /* when the oldest job of a state that is not final was made; 0: none */
    int64_t instances, rejected, series, prompts, jobs[SRV_JOB_CANCELLED + 1], deliveries_pending,
        deliveries_dead;
    int64_t oldest_queued_ms; /* 0: nothing queued */
} srv_store_counts;
MSA_NODISCARD msa_status srv_store_count(srv_store *s, srv_store_counts *out, msa_error *err);

#endif
