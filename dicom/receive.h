/* One association as C-STORE SCP (PS3.4 annex B, PS3.7 section 9.1.1). Blocking, with deadlines; one process
 * each. */
#ifndef DICOM_RECEIVE_H
#define DICOM_RECEIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dicom/init.h"
#include "dicom/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_assoc_info {
    char calling_ae[DICOM_AE_MAX], called_ae[DICOM_AE_MAX], peer[48];
    char tls[16];                            /* "TLSv1.3"; "": without */
    char certificate[DICOM_FINGERPRINT_MAX]; /* of the peer's; "": it showed none */
    char subject[256];                       /* likewise, as RFC 4514 writes it, in UTF-8 */
} dicom_assoc_info;

typedef enum dicom_admission { /* PS3.8 section 9.3.4 */
                               DICOM_ADMITTED = 0,
                               DICOM_NOT_CALLING = 1, /* permanent: calling AE title not recognized */
                               DICOM_NOT_NOW = 2,     /* transient: local limit exceeded */
} dicom_admission;

typedef struct dicom_verdict {
    int32_t admission;            /* dicom_admission */
    int64_t object_max_bytes;     /* 0: as in the options */
    char why[MSA_ERROR_WHAT_MAX]; /* of a refusal: a sentence for the administrator */
} dicom_verdict;

typedef struct dicom_store_info {
    char sop_class_uid[DICOM_UID_MAX], sop_instance_uid[DICOM_UID_MAX], transfer_syntax_uid[DICOM_UID_MAX];
} dicom_store_info;

/**
 * Where datasets go. All called on the thread of dicom_receive_run(); `ctx` is passed through.
 * admit   may this peer have its association? NULL: any may. Asked when the request is well formed and calls
 * us begin   an object starts; its Part 10 preamble and file meta information come first through write()
 * write   bytes in order; a failure stops the object
 * commit  the object is whole: make it durable; MSA_OK only then. The sentence in *err goes to the log and to
 * Error Comment (0000,0902), its status to the C-STORE response (dicom/net/status.cc) abort   the object will
 * not be finished: forget it. Not called after commit. stopping the service stops: asked between objects; may
 * be NULL. The association is then aborted at the sender's next pause, or some seconds later, and never
 * inside an object refused a presentation context was refused, or the association; `what` names the SOP class
 * or transfer syntax, `reason` is a sentence for the administrator
 */
typedef struct dicom_receive_sink {
    void *ctx;
    void (*admit)(void *ctx, const dicom_assoc_info *assoc, dicom_verdict *verdict);
    void (*opened)(void *ctx, const dicom_assoc_info *assoc);
    msa_status (*begin)(void *ctx, const dicom_store_info *info, msa_error *err);
    msa_status (*write)(void *ctx, const void *bytes, size_t size, msa_error *err);
    msa_status (*commit)(void *ctx, const dicom_store_info *info, msa_error *err);
    void (*abort)(void *ctx);
    void (*refused)(void *ctx, const dicom_assoc_info *assoc, const char *what, const char *reason);
    bool (*stopping)(void *ctx);
} dicom_receive_sink;

typedef struct dicom_receive_options {
    const char *ae_title;   /* ours */
    bool accept_any_called; /* false: another called AE title is rejected (source 1, reason 7) */
    bool busy;              /* reject with "local limit exceeded" (transient) and return */
    const char *busy_why;   /* the sentence for that; NULL or "": too many associations */
    int32_t associate_timeout_s, idle_timeout_s, association_max_s;
    int64_t object_max_bytes;
    const dicom_tls_context *tls; /* NULL: DICOM without TLS */
} dicom_receive_options;

typedef struct dicom_receive_result {
    int32_t stored, failed, echoed;
    char ended[16]; /* "released", "aborted", "stopped", "timeout", "rejected", "lost" */
} dicom_receive_result;

/**
 * Serves one accepted TCP connection and closes it. Never parses a dataset: PDVs go to the sink as they come.
 * Errors: those that ended the association abnormally; result is filled in any case.
 */
MSA_NODISCARD msa_status dicom_receive_run(int socket_fd, const dicom_receive_options *options,
                                           const dicom_receive_sink *sink, dicom_receive_result *result,
                                           msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
