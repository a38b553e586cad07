/* REST over TLS by BCP 195 (RFC 9325), by libmicrohttpd's own GnuTLS: the files, and who the client is. */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/cleanup.h"
#include "server/http/internal.h"

#define PEM_MAX (1 << 20)

/* TLS 1.3 and 1.2, forward secrecy and authenticated ciphers only. */
const char srv_tls_priorities[] =
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:"
    "-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:%SAFE_RENEGOTIATION";

static msa_status read_pem(const char *setting, const char *path, bool secret, char **out, msa_error *err)
{
    struct stat st;
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return msa_fail(err, MSA_E_IO, "%s: %.120s cannot be read: %s", setting, path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > PEM_MAX)
        return msa_fail(err, MSA_E_INVALID, "%s: %.120s is not a PEM file", setting, path);
    if (secret && (st.st_mode & 077) != 0)
        return msa_fail(err, MSA_E_INVALID, "%s: %.120s may be used by others than its owner; chmod 600",
                        setting, path);
    MSA_AUTO_FREE char *text = calloc(1, (size_t)st.st_size + 1);
    if (text == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    if (read(fd, text, (size_t)st.st_size) != st.st_size || strstr(text, "-----BEGIN ") == NULL)
        return msa_fail(err, MSA_E_INVALID, "%s: %.120s is not a PEM file", setting, path);
    *out = MSA_STEAL(text);
    return MSA_OK;
}

/* MHD says only that it did not start; here the sentence can name the file. */
static msa_status check_pair(const srv_tls *tls, msa_error *err)
{
    gnutls_certificate_credentials_t credentials;
    const gnutls_datum_t key = {(unsigned char *)tls->key, (unsigned)strlen(tls->key)},
                         certificate = {(unsigned char *)tls->certificate,
                                        (unsigned)strlen(tls->certificate)};
    if (gnutls_certificate_allocate_credentials(&credentials) != 0)
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    const int rc = gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    int n = 1;
    if (rc >= 0 && tls->client_ca != NULL) {
        const gnutls_datum_t ca = {(unsigned char *)tls->client_ca, (unsigned)strlen(tls->client_ca)};
        n = gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM);
    }
    gnutls_certificate_free_credentials(credentials);
    if (rc < 0)
        return msa_fail(err, MSA_E_INVALID,
                        "http.tls_certificate and http.tls_key are not a certificate and its key: %s",
                        gnutls_strerror(rc));
    return n > 0 ? MSA_OK : msa_fail(err, MSA_E_INVALID, "http.tls_client_ca holds no certificate");
}

msa_status srv_tls_load(srv_tls *out, const srv_config *config, msa_error *err)
{
    const bool key = config->http_tls_key[0] != '\0', certificate = config->http_tls_certificate[0] != '\0',
               ca = config->http_tls_client_ca[0] != '\0';
    memset(out, 0, sizeof *out);
    if (!key && !certificate && !ca) return MSA_OK;
    if (!key || !certificate)
        return msa_fail(err, MSA_E_INVALID, "REST over TLS needs both http.tls_certificate and http.tls_key");
    msa_status status = read_pem("http.tls_key", config->http_tls_key, true, &out->key, err);
    if (status == MSA_OK)
        status =
            read_pem("http.tls_certificate", config->http_tls_certificate, false, &out->certificate, err);
    if (status == MSA_OK && ca)
        status = read_pem("http.tls_client_ca", config->http_tls_client_ca, false, &out->client_ca, err);
    if (status == MSA_OK) status = check_pair(out, err);
    if (status != MSA_OK) srv_tls_free(out);
    return status;
}

void srv_tls_free(srv_tls *tls)
{
    if (tls->key != NULL) explicit_bzero(tls->key, strlen(tls->key));
    free(tls->key);
    free(tls->certificate);
    free(tls->client_ca);
    memset(tls, 0, sizeof *tls);
}

/* MHD asks for a certificate where there is a CA, and leaves the judgement to us. */
bool srv_tls_client_is_known(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned verdict = 1;
    return info != NULL && info->tls_session != NULL &&
           gnutls_certificate_type_get(info->tls_session) == GNUTLS_CRT_X509 &&
           gnutls_certificate_verify_peers2(info->tls_session, &verdict) == 0 && verdict == 0;
}
