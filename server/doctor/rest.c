#include "server/doctor/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/cleanup.h"

#define ANSWER_MAX   (256u << 20)
#define PIN_MISMATCH 90 /* exit status of curl */

extern char **environ;

void srv_rest_of(srv_rest *r, const srv_config *config)
{
    const char *host = config->http_bind, *token = getenv("MSAD_TOKEN"), *url = getenv("MSAD_URL");
    const char *scheme = config->http_tls_certificate[0] != '\0' ? "https" : "http";
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    if (url != NULL)
        (void)snprintf(r->base, sizeof r->base, "%s", url);
    else
        (void)snprintf(r->base, sizeof r->base, strchr(host, ':') != NULL ? "%s://[%s]:%d" : "%s://%s:%d",
                       scheme, host, config->http_port);
    r->is_ours = url == NULL;
    (void)snprintf(r->certificate, sizeof r->certificate, "%s", config->http_tls_certificate);
    (void)snprintf(r->token, sizeof r->token, "%s", token == NULL ? "" : token);
}

/* A quoted value of curl's configuration file. */
static void put_value(FILE *to, const char *name, const char *before, const char *value)
{
    (void)fprintf(to, "%s = \"%s", name, before);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') (void)fputc('\\', to);
        if (*c != '\n' && *c != '\r') (void)fputc(*c, to);
    }
    (void)fputs("\"\n", to);
}

/* Hash of the key that the certificate is for, as curl takes it. */
static msa_status print_pin(FILE *to, const char *path, msa_error *err)
{
    gnutls_x509_crt_t certificate = NULL;
    gnutls_pubkey_t key = NULL;
    gnutls_datum_t pem = {NULL, 0}, der = {NULL, 0}, text = {NULL, 0};
    uint8_t hash[32];
    size_t size = sizeof hash;
    int rc = gnutls_load_file(path, &pem);
    if (rc >= 0) rc = gnutls_x509_crt_init(&certificate);
    if (rc >= 0) rc = gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM);
    if (rc >= 0) rc = gnutls_pubkey_init(&key);
    if (rc >= 0) rc = gnutls_pubkey_import_x509(key, certificate, 0);
    if (rc >= 0) rc = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
    if (rc >= 0) rc = gnutls_fingerprint(GNUTLS_DIG_SHA256, &der, hash, &size);
    if (rc >= 0) rc = gnutls_base64_encode2(&(gnutls_datum_t){hash, (unsigned)size}, &text);
    if (rc >= 0)
        (void)fprintf(to, "pinnedpubkey = \"sha256//%.*s\"\n", (int)text.size, (const char *)text.data);
    gnutls_free(text.data);
    gnutls_free(der.data);
    gnutls_free(pem.data);
    gnutls_pubkey_deinit(key);
    gnutls_x509_crt_deinit(certificate);
    return rc >= 0 ? MSA_OK
                   : msa_fail(err, MSA_E_IO, "http.tls_certificate: %.120s cannot be read: %s", path,
                              gnutls_strerror(rc));
}

/* A token is shown to nobody but the service. At its own address a certificate is seldom for that address, so
 * there the key itself is compared and not the name. */
static msa_status put_trust(FILE *to, const srv_rest *r, msa_error *err)
{
    if (r->certificate[0] == '\0') return MSA_OK;
    if (!r->is_ours) {
        put_value(to, "cacert", "", r->certificate);
        return MSA_OK;
    }
    (void)fputs("insecure\n", to); /* curl compares the pin all the same */
    return print_pin(to, r->certificate, err);
}

/* What is asked goes in by standard input: a token is nobody's business who lists processes. */
static msa_status make_order(const srv_rest *r, const char *method, const char *path, const json_t *body,
                             char **text, size_t *size, msa_error *err)
{
    FILE *f = open_memstream(text, size);
    if (f == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    put_value(f, "url", r->base, path);
    put_value(f, "request", "", method);
    const msa_status trust = put_trust(f, r, err);
    if (r->token[0] != '\0') put_value(f, "header", "Authorization: Bearer ", r->token);
    if (body != NULL) {
        MSA_AUTO_FREE char *json = json_dumps(body, JSON_COMPACT);
        put_value(f, "header", "", "Content-Type: application/json");
        put_value(f, "data", "", json == NULL ? "" : json);
    }
    if (fclose(f) != 0) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    return trust;
}

static msa_status spawn_curl(const char *order, size_t size, int *out, pid_t *pid, msa_error *err)
{
    char *args[] = {
        "curl", "-q", "-s", "--noproxy", "*", "--max-time", "60", "-w", "\n%{http_code} %{errormsg}",
        "-K",   "-",  NULL};
    int in[2], back[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(in, O_CLOEXEC) != 0) return msa_fail(err, MSA_E_IO, "cannot make a pipe");
    if (pipe2(back, O_CLOEXEC) != 0) {
        (void)close(in[0]);
        (void)close(in[1]);
        return msa_fail(err, MSA_E_IO, "cannot make a pipe");
    }
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions, back[1], STDOUT_FILENO);
    const int rc = posix_spawnp(pid, args[0], &actions, NULL, args, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(in[0]);
    (void)close(back[1]);
    /* At most some kilobytes, and curl reads all of it before it does anything. */
    const bool told = rc == 0 && write(in[1], order, size) == (ssize_t)size;
    (void)close(in[1]);
    if (told) {
        *out = back[0];
        return MSA_OK;
    }
    (void)close(back[0]);
    if (rc == 0) (void)waitpid(*pid, NULL, 0);
    return msa_fail(err, rc == ENOENT ? MSA_E_UNSUPPORTED : MSA_E_IO, "cannot run curl: %s",
                    strerror(rc == 0 ? EPIPE : rc));
}

static msa_status read_all(int fd, char **bytes, size_t *size, msa_error *err)
{
    char piece[65536];
    FILE *f = open_memstream(bytes, size);
    if (f == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    size_t total = 0;
    for (ssize_t n = 0; (n = read(fd, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno == EINTR) continue;
        total += n < 0 ? 0 : (size_t)n;
        if (n < 0 || total > ANSWER_MAX) break;
        (void)fwrite(piece, 1, (size_t)n, f);
    }
    return fclose(f) == 0 ? MSA_OK : msa_fail(err, MSA_E_NOMEM, "out of memory");
}

/* curl appends a line "CODE SENTENCE" to what it was given. */
static msa_status split(const srv_rest *r, char *bytes, size_t *size, int *status, msa_error *err)
{
    size_t at = *size;
    while (at > 0 && bytes[at - 1] != '\n')
        at--;
    if (at == 0) return msa_fail(err, MSA_E_IO, "curl gave no answer about %s", r->base);
    char *sentence = NULL;
    *status = (int)strtol(bytes + at, &sentence, 10);
    sentence += strspn(sentence, " ");
    if (*status == 0) return msa_fail(err, MSA_E_IO, "%s: %s", r->base, sentence);
    bytes[at - 1] = '\0';
    *size = at - 1;
    return MSA_OK;
}

msa_status srv_rest_call(const srv_rest *r, const char *method, const char *path, const json_t *body,
                         int *status, char **bytes, size_t *size, msa_error *err)
{
    MSA_AUTO_FREE char *order = NULL;
    MSA_AUTO_FREE char *answer = NULL;
    size_t order_size = 0;
    pid_t pid = 0;
    int ended = 0;
    MSA_AUTO_FD int fd = -1;
    *bytes = NULL;
    MSA_TRY(make_order(r, method, path, body, &order, &order_size, err));
    MSA_TRY(spawn_curl(order, order_size, &fd, &pid, err));
    const msa_status read = read_all(fd, &answer, size, err);
    (void)waitpid(pid, &ended, 0);
    MSA_TRY(read);
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == PIN_MISMATCH)
        return msa_fail(err, MSA_E_IO,
                        "%.60s: who answers there has another certificate than http.tls_certificate; if that "
                        "file was renewed, restart msad, which read the old one at its start",
                        r->base);
    MSA_TRY(split(r, answer, size, status, err));
    *bytes = MSA_STEAL(answer);
    return MSA_OK;
}

msa_status srv_rest_json(const srv_rest *r, const char *method, const char *path, const json_t *body,
                         json_t **out, msa_error *err)
{
    MSA_AUTO_FREE char *bytes = NULL;
    size_t size = 0;
    int status = 0;
    *out = NULL;
    MSA_TRY(srv_rest_call(r, method, path, body, &status, &bytes, &size, err));
    json_t *json = json_loadb(bytes, size, 0, NULL);
    if (status >= 200 && status < 300 && json != NULL) {
        *out = json;
        return MSA_OK;
    }
    const char *detail = json_string_value(json_object_get(json, "detail"));
    (void)msa_fail(err, MSA_E_INVALID, "%s %.60s was answered with %d%s%s", method, path, status,
                   detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
    json_decref(json);
    return MSA_E_INVALID;
}
