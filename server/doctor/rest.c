#include "server/doctor/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/cleanup.h"

#define ANSWER_MAX (256u << 20)

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
    (void)snprintf(r->ca, sizeof r->ca, "%s", config->http_tls_certificate);
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

/* What is asked goes in by standard input: a token is nobody's business who lists processes. */
static msa_status make_order(const srv_rest *r, const char *method, const char *path, const json_t *body,
                             char **text, size_t *size, msa_error *err)
{
    FILE *f = open_memstream(text, size);
    if (f == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    put_value(f, "url", r->base, path);
    put_value(f, "request", "", method);
    if (strncmp(r->base, "https", 5) == 0)
        (void)fputs("insecure\n", f); /* this very machine, by its address */
    if (r->ca[0] != '\0') put_value(f, "cacert", "", r->ca);
    if (r->token[0] != '\0') put_value(f, "header", "Authorization: Bearer ", r->token);
    if (body != NULL) {
        MSA_AUTO_FREE char *json = json_dumps(body, JSON_COMPACT);
        put_value(f, "header", "", "Content-Type: application/json");
        put_value(f, "data", "", json == NULL ? "" : json);
    }
    return fclose(f) == 0 ? MSA_OK : msa_fail(err, MSA_E_NOMEM, "out of memory");
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
    MSA_AUTO_FD int fd = -1;
    *bytes = NULL;
    MSA_TRY(make_order(r, method, path, body, &order, &order_size, err));
    MSA_TRY(spawn_curl(order, order_size, &fd, &pid, err));
    const msa_status read = read_all(fd, &answer, size, err);
    (void)waitpid(pid, NULL, 0);
    MSA_TRY(read);
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
