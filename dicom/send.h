/* C-STORE and C-ECHO as SCU (PS3.4 annexes A and B). Blocking, with deadlines; runs in the send role. */
#ifndef DICOM_SEND_H
#define DICOM_SEND_H

#include <stdbool.h>
#include <stdint.h>

#include "dicom/init.h"
#include "dicom/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_destination {
    char name[64], host[256], ae_title[DICOM_AE_MAX], calling_ae[DICOM_AE_MAX];
    int32_t port, timeout_s;
    char address[16]; /* dicom_destination_resolve(); "": not looked up yet */
    /* In which form it wants segmentations, in words (dicom/seg.h); "" is the usual one. Sending looks at the
     * file alone. */
    char format[16], profile[16], compression[16];
    bool empty_frames;
    dicom_tls tls;    /* its name "": that of the host */
} dicom_destination;

typedef enum dicom_delivery { /* what the sender does next */
    DICOM_DELIVERED = 0, /* 0000, a warning (Bxxx), or 0111: the peer has this very object */
    DICOM_RETRY = 1,     /* network error, abort, transient reject, A7xx, 0110, 0213 */
    DICOM_REFUSED = 2,   /* A9xx, Cxxx, 0122, 0124, permanent reject: will not get better by itself */
} dicom_delivery;

typedef struct dicom_send_result {
    int32_t outcome;                  /* dicom_delivery */
    int32_t dimse_status;             /* -1 when there was no response */
    char comment[MSA_ERROR_WHAT_MAX]; /* one sentence for the administrator */
} dicom_send_result;

/**
 * Looks the host up and keeps its IPv4 address in `to`, so that sending and asking need no name service: they run where
 * there is none. False, and the result says so: it is not known by that name.
 */
bool dicom_destination_resolve(dicom_destination *to, dicom_send_result *result);

/**
 * Sends one Part 10 file as its bytes stand (the dataset is not re-encoded where the peer takes its syntax; a peer that
 * takes only Implicit VR gets that). Returns MSA_OK whenever result is filled, whatever the outcome; errors are ours
 * (file unreadable, out of memory).
 */
MSA_NODISCARD msa_status dicom_send_file(const dicom_destination *to, const char *path,
                                         dicom_send_result *result, msa_error *err);
MSA_NODISCARD msa_status dicom_send_echo(const dicom_destination *to, dicom_send_result *result,
                                         msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
