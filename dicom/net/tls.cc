/**
 * OpenSSL is used itself and not through DCMTK's dcmtls: that one waits for the peer in OpenSSL's own reads
 * and handshake, beside the deadlines that net_link keeps, and its profiles of 3.6.7 are older than RFC 9325.
 */
#include "dicom/net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <sys/stat.h>

#include "dicom/guard.h"
#include "dicom/net/association.h"

namespace dicom
{

namespace
{

/* RFC 9325 section 4.2: forward secrecy and AEAD. The suites of 1.3 all are. */
constexpr const char *SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20";

std::string last_error()
{
    const unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code)) return std::strerror(int(ERR_GET_REASON(code)));
    return reason != nullptr ? reason : "OpenSSL does not say why";
}

/* Sentences are short: of a long path the end is kept. */
std::string shown(const char *path)
{
    const std::string text = path;
    return text.size() > 80 ? "..." + text.substr(text.size() - 77) : text;
}

msa_status fail_file(const char *what, const char *path, msa_error *err)
{
    const std::string why = last_error();
    ERR_clear_error();
    return msa_fail(err, MSA_E_PARSE, "the %s %s cannot be used: %s", what, shown(path).c_str(), why.c_str());
}

msa_status check_file(const char *what, const char *path, bool secret, msa_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return msa_fail(err, MSA_E_IO, "the %s %s cannot be read: %s", what, shown(path).c_str(),
                        std::strerror(errno));
    if (!S_ISREG(st.st_mode))
        return msa_fail(err, MSA_E_IO, "the %s %s is not a file", what, shown(path).c_str());
    if (secret && (st.st_mode & 077) != 0)
        return msa_fail(err, MSA_E_INVALID,
                        "the %s %s may be used by others than its owner (mode %04o): chmod 600 it", what,
                        shown(path).c_str(), unsigned(st.st_mode & 07777));
    return MSA_OK;
}

msa_status load_own(SSL_CTX *ctx, const dicom_tls &tls, msa_error *err)
{
    if (tls.certificate[0] == '\0' || tls.key[0] == '\0')
        return msa_fail(err, MSA_E_INVALID,
                        "TLS needs both a certificate and its key; one of them is not set");
    MSA_TRY(check_file("TLS certificate", tls.certificate, false, err));
    MSA_TRY(check_file("TLS key", tls.key, true, err));
    if (SSL_CTX_use_certificate_chain_file(ctx, tls.certificate) != 1)
        return fail_file("TLS certificate", tls.certificate, err);
    /* A key with a password would be asked for on the terminal, which a service does not have. */
    SSL_CTX_set_default_passwd_cb(ctx, [](char *, int, int, void *) { return 0; });
    if (SSL_CTX_use_PrivateKey_file(ctx, tls.key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return fail_file("TLS key", tls.key, err);
    return MSA_OK;
}

msa_status load_peers(SSL_CTX *ctx, const dicom_tls &tls, bool server, msa_error *err)
{
    if (tls.ca[0] == '\0') {
        if (server && tls.peer_may_be_anonymous) return MSA_OK;
        return msa_fail(err, MSA_E_INVALID,
                        "TLS needs a file of certificates that vouch for the peers; none is set");
    }
    MSA_TRY(check_file("TLS file of trusted certificates", tls.ca, false, err));
    if (SSL_CTX_load_verify_file(ctx, tls.ca) != 1)
        return fail_file("TLS file of trusted certificates", tls.ca, err);
    /* What is in the file is trusted as it stands, also where its issuer is not there: a peer's own
     * certificate serves. */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (server) { /* tells the peer which certificate is wanted */
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(tls.ca);
        if (names != nullptr) SSL_CTX_set_client_CA_list(ctx, names);
        ERR_clear_error();
    }
    const int anonymous = tls.peer_may_be_anonymous ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | anonymous, nullptr);
    return MSA_OK;
}

msa_status configure(SSL_CTX *ctx, msa_error *err)
{
    /* One role serves one association: there is no session to resume. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, SUITES) != 1)
        return msa_fail(err, MSA_E_INTERNAL, "OpenSSL does not take our TLS profile: %s",
                        last_error().c_str());
    return MSA_OK;
}

const char *in_words(int reason, bool server)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "the peer showed no certificate";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "the peer does not speak TLS 1.2 or newer";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return server ? "the peer offers no cipher suite with forward secrecy and AEAD (BCP 195)"
                      : "the peer takes none of our cipher suites (BCP 195), or wants a certificate of ours";
    case SSL_R_HTTP_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_BAD_RECORD_TYPE:
        return "the peer does not speak TLS";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "the peer does not trust our certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the peer says that our certificate has expired";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the peer wants a certificate of ours";
    default:
        return nullptr;
    }
}

} // namespace

SSL *tls_new(const dicom_tls_context &context, int fd)
{
    SSL *ssl = SSL_new(context.ctx.get());
    if (ssl == nullptr || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return nullptr;
    }
    if (context.server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (context.name == "*") return ssl;
    unsigned char address[16];
    const char *name = context.name.c_str();
    const bool numeric = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    const int set = numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name)
                            : SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
    if (set == 1) return ssl;
    SSL_free(ssl);
    return nullptr;
}

std::string tls_problem(SSL *ssl, bool server)
{
    const unsigned long code = ERR_peek_last_error();
    if (code == 0) return "";
    const int reason = ERR_GET_REASON(code);
    const char *words = in_words(reason, server);
    std::string text;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        text = std::string("the peer's certificate is not accepted: ") +
               X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    else
        text = words != nullptr ? words : "TLS failed: " + printable(last_error().c_str(), 80);
    ERR_clear_error();
    return text;
}

std::string tls_fingerprint(SSL *ssl)
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (certificate == nullptr || X509_digest(certificate, EVP_sha256(), digest, &n) != 1) return "";
    std::string text;
    for (unsigned i = 0; i < n; i++) {
        static const char hex[] = "0123456789abcdef";
        text += {hex[digest[i] >> 4], hex[digest[i] & 15]};
    }
    return text;
}

std::string tls_subject(SSL *ssl)
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == nullptr) return "";
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
    if (!bio || X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0,
                                   XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
        return "";
    char *text = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &text);
    return n > 0 ? std::string(text, size_t(n)) : ""; /* control characters are escaped */
}

} // namespace dicom

msa_status dicom_tls_open(dicom_tls_context **out, const dicom_tls *tls, bool server, msa_error *err)
{
    *out = nullptr;
    return dicom::guard(err, [&]() -> msa_status {
        auto made = std::make_unique<dicom_tls_context>();
        made->ctx.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
        if (!made->ctx) return msa_fail(err, MSA_E_NOMEM, "out of memory");
        SSL_CTX *ctx = made->ctx.get();
        made->server = server;
        made->name = tls->name;
        MSA_TRY(dicom::configure(ctx, err));
        if (server || tls->certificate[0] != '\0') MSA_TRY(dicom::load_own(ctx, *tls, err));
        MSA_TRY(dicom::load_peers(ctx, *tls, server, err));
        *out = made.release();
        return MSA_OK;
    });
}

void dicom_tls_free(dicom_tls_context *context)
{
    delete context;
}

int64_t dicom_tls_expires_ms(const char *certificate_path)
{
    const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(certificate_path, "r"), BIO_free);
    if (!file) return 0;
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr), X509_free);
    struct tm t = {};
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &t) != 1) return 0;
    return int64_t(timegm(&t)) * 1000;
}
