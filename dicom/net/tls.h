/* Private: what dicom/net has to say to OpenSSL, and its errors in words. */
#ifndef DICOM_NET_TLS_H
#define DICOM_NET_TLS_H

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "dicom/tls.h"

struct dicom_tls_context {
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> ctx{nullptr, SSL_CTX_free};
    std::string name; /* see dicom_tls */
    bool server = false;
};

namespace dicom
{

/* A connection's own state, before its handshake. NULL: out of memory. */
SSL *tls_new(const dicom_tls_context &context, int fd);

/* Why the handshake on `ssl` failed, or what the peer said of it later: the newest of OpenSSL's errors, as a
 * sentence about "the peer". Clears them. "" when there is none. */
std::string tls_problem(SSL *ssl, bool server);

/* Of the peer's certificate, "" where it has shown none: SHA-256 in hexadecimal, and its subject (RFC 4514,
 * UTF-8). */
std::string tls_fingerprint(SSL *ssl);
std::string tls_subject(SSL *ssl);

} // namespace dicom
#endif
