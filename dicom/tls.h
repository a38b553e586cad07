/* DICOM over TLS by BCP 195 (RFC 9325): TLS 1.2 with AEAD suites, and 1.3; nothing older, no renegotiation.
 */
#ifndef DICOM_TLS_H
#define DICOM_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DICOM_PATH_MAX        512
#define DICOM_FINGERPRINT_MAX 65 /* SHA-256 of a certificate's DER, lower-case hexadecimal */

/* Files are PEM. Whose certificate is whose: key and certificate are ours, ca is for the peer's. */
typedef struct dicom_tls {
    bool on;
    bool peer_may_be_anonymous; /* as server: a peer without a certificate is let in. One that shows a wrong
                                   one never is */
    char key[DICOM_PATH_MAX], certificate[DICOM_PATH_MAX]; /* "": none (a client may do without) */
    char ca[DICOM_PATH_MAX]; /* certificates that vouch for peers, or those of the peers themselves */
    char name[256]; /* as client: that the peer's certificate must be for; "*": any that ca vouches for */
} dicom_tls;

typedef struct dicom_tls_context dicom_tls_context;

/**
 * Reads the files: do it before the process is confined. Errors, with the file and the remedy in the
 * sentence: MSA_E_INVALID (the key may be used by others than its owner), MSA_E_IO, MSA_E_PARSE.
 */
MSA_NODISCARD msa_status dicom_tls_open(dicom_tls_context **out, const dicom_tls *tls, bool server,
                                        msa_error *err);
void dicom_tls_free(dicom_tls_context *context);
MSA_DEFINE_AUTO(dicom_tls_context, dicom_tls_free);
/* When the certificate in a PEM file (its first one) runs out, in milliseconds since 1970; 0: it cannot be read. */
int64_t dicom_tls_expires_ms(const char *certificate_path);

#ifdef __cplusplus
}
#endif
#endif
