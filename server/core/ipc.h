/**
 * Messages between core and its roles: one SOCK_SEQPACKET socket each (a message arrives whole or not at all), fixed structs
 * behind a small head. The same binary is on both ends, so layout needs no encoding; core still checks type and
 * size of everything a role says, terminates every string itself, and ends a role that breaks the rules (invariant 3).
 */
#ifndef SRV_CORE_IPC_H
#define SRV_CORE_IPC_H

#include <stdint.h>

#include "dicom/annotation.h"
#include "dicom/find.h"
#include "dicom/header.h"
#include "dicom/receive.h"
#include "dicom/send.h"
#include "engine/automatic.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "server/core/forms.h"
#include "server/core/config.h"

#define SRV_IPC_FD   3 /* in a role: its end of the socket */
#define SRV_SOCK_FD  4 /* in receive: the accepted connection */

typedef enum srv_ipc_type {
    /* core to receive */
    SRV_IPC_RECEIVE_START = 1, /* srv_ipc_receive_start */
    SRV_IPC_COMMITTED,         /* srv_ipc_committed: answer to COMMIT */
    SRV_IPC_RECEIVE_STOP,      /* no body: the service stops; end when the sender pauses */
    SRV_IPC_ADMITTED,          /* dicom_verdict: answer to ADMIT */
    /* receive to core */
    SRV_IPC_ADMIT,             /* dicom_assoc_info: may it have its association? */
    SRV_IPC_OPENED,            /* dicom_assoc_info */
    SRV_IPC_REFUSED,           /* srv_ipc_refused */
    SRV_IPC_COMMIT,            /* srv_ipc_commit */
    SRV_IPC_BAD_DISK,          /* srv_ipc_text: an fsync failed; core stops accepting */
    SRV_IPC_CLOSED,            /* dicom_receive_result */
    /* core to work */
    SRV_IPC_WORK_START = 32,   /* srv_ipc_work_start, followed by n_rules RULE messages */
    SRV_IPC_INDEX,             /* srv_ipc_index: read this header */
    SRV_IPC_JOB,               /* srv_ipc_job, followed by INSTANCE and PROMPT messages, then GO */
    SRV_IPC_JOB_INSTANCE,      /* srv_ipc_instance */
    SRV_IPC_JOB_PROMPT,        /* srv_ipc_prompt */
    SRV_IPC_JOB_GO,            /* no body */
    SRV_IPC_WORK_RULE,         /* srv_rule */
    SRV_IPC_LOOK,              /* srv_ipc_look: read this header, which is nobody's yet */
    /* work to core */
    SRV_IPC_WORK_READY = 64,   /* srv_ipc_ready */
    SRV_IPC_INDEX_PROMPT,      /* dicom_prompt, before INDEXED */
    SRV_IPC_INDEXED,           /* srv_ipc_indexed */
    SRV_IPC_JOB_PROGRESS,      /* srv_ipc_progress */
    SRV_IPC_JOB_SEGMENT,       /* srv_ipc_segment, before DONE */
    SRV_IPC_JOB_RESULT,        /* srv_ipc_result, before DONE */
    SRV_IPC_JOB_DONE,          /* srv_ipc_job_done */
    SRV_IPC_WORK_MODEL,        /* srv_model_info, before READY: the base first */
    SRV_IPC_LOOKED,            /* srv_ipc_indexed, its instance_id 0 */
    SRV_IPC_WORK_RULE_KNOWN,   /* srv_rule, before READY: in the order in which they are tried */
    /* core to send, send to core */
    SRV_IPC_SEND_START = 96,   /* srv_ipc_send_start */
    SRV_IPC_SENT,              /* dicom_send_result */
    SRV_IPC_FIND_START,        /* srv_ipc_find_start: to ask, in place of SEND_START */
    SRV_IPC_FOUND,             /* dicom_find_result */
    /* any role to core */
    SRV_IPC_FORBIDDEN = 128,   /* srv_ipc_forbidden: the sandbox ends the role (server/roles/sandbox.h) */
} srv_ipc_type;

#define SRV_IPC_BODY_MAX 16384

typedef struct srv_ipc_head {
    uint32_t type; /* srv_ipc_type */
    uint32_t size; /* of the body that follows in the same message */
} srv_ipc_head;

typedef struct srv_ipc_forbidden { int32_t call; /* number of the system call */ } srv_ipc_forbidden;

typedef struct srv_ipc_text { char text[MSA_ERROR_WHAT_MAX]; } srv_ipc_text;

typedef struct srv_ipc_receive_start {
    char storage_path[SRV_PATH_MAX]; /* root of the blobs */
    char ae_title[DICOM_AE_MAX];
    int32_t accept_any_called, busy;
    int32_t associate_timeout_s, idle_timeout_s, association_max_s;
    int64_t object_max_bytes;
    int64_t keep_free_bytes; /* of the storage volume: objects that would leave less are refused */
    char busy_why[MSA_ERROR_WHAT_MAX]; /* the sentence for busy; "": too many associations */
    dicom_tls tls; /* .on: begins with TLS */
} srv_ipc_receive_start;

typedef struct srv_ipc_refused {
    dicom_assoc_info assoc;
    char what[DICOM_UID_MAX + 64], reason[MSA_ERROR_WHAT_MAX];
} srv_ipc_refused;

typedef struct srv_ipc_commit { /* the blob is durable; may the row be too? */
    char sha256[MSA_SHA256_HEX];
    int64_t size_bytes;
    dicom_store_info info;
} srv_ipc_commit;

typedef struct srv_ipc_committed {
    int32_t status; /* msa_status */
    char what[MSA_ERROR_WHAT_MAX];
} srv_ipc_committed;

typedef struct srv_ipc_work_start {
    char storage_path[SRV_PATH_MAX], model_path[SRV_PATH_MAX], model_adapter[SRV_PATH_MAX], model_adapters_dir[SRV_PATH_MAX];
    char model_precision[8];
    int32_t n_rules;
    int32_t index_only; /* does not load the model */
    int32_t threads;    /* engine threads: the one place where they are set */
    int32_t memory_mib;
    int32_t cache_memory_mib, cache_disk_mib;
    int32_t series_number;
    msa_auto_options automatic;
    char series_description[65];
    bool report;
    char log_level[8];
} srv_ipc_work_start;

typedef struct srv_ipc_ready { /* as many as were told before it; 0: index_only */
    int32_t n_models, n_rules;
} srv_ipc_ready;

typedef struct srv_ipc_index {
    int64_t instance_id;
    char sha256[MSA_SHA256_HEX];
} srv_ipc_index;

typedef struct srv_ipc_look { char path[SRV_PATH_MAX]; } srv_ipc_look;

typedef struct srv_ipc_indexed {
    int64_t instance_id;
    int32_t status; /* msa_status; not MSA_OK: rejected for the reason in `what` */
    char what[MSA_ERROR_WHAT_MAX];
    char note[MSA_ERROR_WHAT_MAX]; /* of an annotation: dicom_annotation_read() */
    dicom_header header;
} srv_ipc_indexed;

typedef struct srv_ipc_job {
    int64_t job_id, token;
    int32_t rule; /* for the series as a whole: which of those that the worker has told */
    char input_key[MSA_SHA256_HEX];
    char job_dir[SRV_PATH_MAX]; /* made by core, writable */
    srv_forms forms;            /* in which segmentations are wanted */
} srv_ipc_job;

typedef struct srv_ipc_prompt {
    dicom_prompt prompt;
    int32_t rule; /* that chooses its model: which of those that the worker has told */
} srv_ipc_prompt;

typedef struct srv_ipc_instance { char sha256[MSA_SHA256_HEX]; } srv_ipc_instance;

typedef struct srv_ipc_progress {
    int64_t job_id;
    int32_t done, total;
} srv_ipc_progress;

typedef struct srv_ipc_segment {
    char label[DICOM_LABEL_MAX], note[128];
    int64_t voxels;
    double volume_ml, mean_iou;
    int32_t first_slice, last_slice;
    msa_candidates candidates;
} srv_ipc_segment;

typedef struct srv_ipc_result { /* file `name` in the job folder; core's store side hashes and keeps it */
    char name[40];
    int32_t form; /* which of the job's; -1: it is no segmentation and goes to every destination */
    char form_name[DICOM_SEG_FORM_NAME_MAX]; /* "": it is no segmentation */
    char sop_class_uid[DICOM_UID_MAX], sop_instance_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
} srv_ipc_result;

typedef struct srv_ipc_job_done {
    int64_t job_id;
    int32_t status; /* msa_status */
    char what[MSA_ERROR_WHAT_MAX];
    char warnings[512];
    int32_t slices;
    double engine_seconds;
} srv_ipc_job_done;

typedef struct srv_ipc_find_start { /* how many images are there of this series? */
    dicom_destination source;
    char study_uid[DICOM_UID_MAX], series_uid[DICOM_UID_MAX];
} srv_ipc_find_start;

typedef struct srv_ipc_send_start {
    char path[SRV_PATH_MAX]; /* the blob; "": only C-ECHO */
    dicom_destination to;
} srv_ipc_send_start;

/**
 * Blocking, for roles. recv: body gets at most `cap` bytes; *size is the body's. Errors: MSA_E_IO (the other end is gone),
 * MSA_E_PARSE (a message that is none).
 */
MSA_NODISCARD msa_status srv_ipc_send(int fd, srv_ipc_type type, const void *body, size_t size, msa_error *err);
MSA_NODISCARD msa_status srv_ipc_recv(int fd, srv_ipc_type *type, void *body, size_t cap, size_t *size, msa_error *err);
/* Text of a role is not trusted to end: core ends every one that it takes over. */
#define SRV_IPC_END(text) ((text)[sizeof(text) - 1] = '\0')
void srv_ipc_end_header(dicom_header *header);
void srv_ipc_end_prompt(dicom_prompt *prompt);

/* recv of one expected type and exact size. */
MSA_NODISCARD msa_status srv_ipc_expect(int fd, srv_ipc_type type, void *body, size_t size, msa_error *err);

#endif
