#include "server/http/token.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/base/cleanup.h"
#include "server/core/config.h"

#define FILE_MAX (SRV_TOKENS_MAX * 256)
#define HEADING  "# Access tokens: name, SHA-256, scopes, created, expires, revoked. Use `msad token`.\n"

static const struct {
    const char *name;
    unsigned scope, with; /* what a token of it may do */
} scopes[] = {
    {"read", SRV_SCOPE_READ, SRV_SCOPE_READ},
    {"operate", SRV_SCOPE_OPERATE, SRV_SCOPE_OPERATE | SRV_SCOPE_READ},
    {"admin", SRV_SCOPE_ADMIN, SRV_SCOPE_ADMIN | SRV_SCOPE_OPERATE | SRV_SCOPE_READ},
    {"phi", SRV_SCOPE_PHI, SRV_SCOPE_PHI},
};
#define N_SCOPES (sizeof scopes / sizeof scopes[0])

void srv_scopes_print(unsigned set, char out[32])
{
    out[0] = '\0';
    for (size_t i = 0; i < N_SCOPES; i++) {
        const size_t n = strlen(out);
        if (set & scopes[i].scope) (void)snprintf(out + n, 32 - n, "%s%s", n > 0 ? "," : "", scopes[i].name);
    }
}

bool srv_scopes_parse(const char *text, unsigned *set)
{
    *set = 0;
    for (;;) {
        const size_t n = strcspn(text, ",");
        size_t i = 0;
        while (i < N_SCOPES && (strlen(scopes[i].name) != n || memcmp(scopes[i].name, text, n) != 0))
            i++;
        if (i == N_SCOPES) return false;
        *set |= scopes[i].with;
        if (text[n] == '\0') return true;
        text += n + 1;
    }
}

static bool is_name(const char *text)
{
    const size_t n = strlen(text);
    return n > 0 && n < SRV_TOKEN_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* ---- the file ---- */

static void path_of(const char *root, const char *name, char path[SRV_PATH_MAX + 32])
{
    (void)snprintf(path, SRV_PATH_MAX + 32, "%s/%s", root, name);
}

void srv_tokens_stat(const char *root, struct stat *out)
{
    char path[SRV_PATH_MAX + 32];
    path_of(root, "tokens", path);
    if (stat(path, out) != 0) memset(out, 0, sizeof *out);
}

static bool read_line(const char *line, srv_token *t)
{
    char set[32];
    int end = -1;
    memset(t, 0, sizeof *t);
    if (sscanf(line, "%39s %64s %31s %" SCNd64 " %" SCNd64 " %" SCNd64 "%n", t->name, t->sha256, set,
               &t->created_ms, &t->expires_ms, &t->revoked_ms, &end) != 6)
        return false;
    return line[end] == '\0' && is_name(t->name) && strlen(t->sha256) == MSA_SHA256_HEX - 1 &&
           strspn(t->sha256, "0123456789abcdef") == MSA_SHA256_HEX - 1 && srv_scopes_parse(set, &t->scopes);
}

static msa_status parse(srv_tokens *out, char *text, msa_error *err)
{
    char *rest = NULL;
    int number = 0;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        number++;
        if (line[0] == '#') continue;
        if (out->n == SRV_TOKENS_MAX || !read_line(line, &out->of[out->n]))
            return msa_fail(err, MSA_E_PARSE,
                            "the file of access tokens is damaged at entry %d; no token is good", number);
        out->n++;
    }
    return MSA_OK;
}

msa_status srv_tokens_load(srv_tokens *out, const char *root, msa_error *err)
{
    char path[SRV_PATH_MAX + 32];
    out->exists = false;
    out->n = 0;
    path_of(root, "tokens", path);
    MSA_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return MSA_OK;
    out->exists = true;
    MSA_AUTO_FREE char *text = calloc(1, FILE_MAX + 1);
    if (text == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    const ssize_t size = fd < 0 ? -1 : read(fd, text, FILE_MAX);
    if (size < 0)
        return msa_fail(err, MSA_E_IO, "the file of access tokens cannot be read: %s; no token is good",
                        strerror(errno));
    if (strlen(text) != (size_t)size)
        return msa_fail(err, MSA_E_PARSE, "the file of access tokens is damaged; no token is good");
    const msa_status status = parse(out, text, err);
    if (status != MSA_OK) out->n = 0;
    return status;
}

static msa_status write_file(const srv_tokens *tokens, const char *path, const struct stat *owner,
                             msa_error *err)
{
    MSA_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot write %.150s: %s", path, strerror(errno));
    /* Written by root, it is still the service that has to read it. */
    if (geteuid() == 0 && fchown(fd, owner->st_uid, owner->st_gid) != 0)
        return msa_fail(err, MSA_E_IO, "cannot give the file of access tokens to the service: %s",
                        strerror(errno));
    bool fine = dprintf(fd, "%s", HEADING) > 0;
    for (int32_t i = 0; i < tokens->n && fine; i++) {
        const srv_token *t = &tokens->of[i];
        char set[32];
        srv_scopes_print(t->scopes, set);
        fine = dprintf(fd, "%s %s %s %" PRId64 " %" PRId64 " %" PRId64 "\n", t->name, t->sha256, set,
                       t->created_ms, t->expires_ms, t->revoked_ms) > 0;
    }
    return fine && fsync(fd) == 0
               ? MSA_OK
               : msa_fail(err, MSA_E_IO, "the file of access tokens could not be made durable: %s",
                          strerror(errno));
}

/* Loads under a lock that lasts until the folder's descriptor is closed. */
static msa_status begin(srv_tokens *tokens, const char *root, int *folder, msa_error *err)
{
    if (mkdir(root, 0700) != 0 && errno != EEXIST)
        return msa_fail(err, MSA_E_IO, "cannot make the folder %.100s: %s", root, strerror(errno));
    *folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0 || flock(*folder, LOCK_EX) != 0)
        return msa_fail(err, MSA_E_IO, "cannot open the folder %.100s: %s", root, strerror(errno));
    return srv_tokens_load(tokens, root, err);
}

/* The new file takes the place of the old one in one step: a reader sees either, a crash leaves either. */
static msa_status keep(const srv_tokens *tokens, const char *root, int folder, msa_error *err)
{
    char path[SRV_PATH_MAX + 32], made[SRV_PATH_MAX + 32];
    struct stat owner;
    path_of(root, "tokens", path);
    path_of(root, "tokens.new", made);
    if (fstat(folder, &owner) != 0) return msa_fail(err, MSA_E_IO, "fstat: %s", strerror(errno));
    MSA_TRY(write_file(tokens, made, &owner, err));
    if (rename(made, path) != 0 || fsync(folder) != 0)
        return msa_fail(err, MSA_E_IO, "the file of access tokens could not be put in place: %s",
                        strerror(errno));
    return MSA_OK;
}

/* ---- tokens ---- */

bool srv_token_is_good(const srv_token *t, int64_t now_ms)
{
    return t->revoked_ms == 0 && (t->expires_ms == 0 || now_ms < t->expires_ms);
}

/* Every entry is looked at to its end. What is compared are hashes of 256 random bits, so even a difference
 * in time would say nothing about a secret. */
const srv_token *srv_tokens_find(const srv_tokens *tokens, const char *secret, size_t size, int64_t now_ms)
{
    char hex[MSA_SHA256_HEX];
    const srv_token *found = NULL;
    msa_sha256_bytes(secret, size, NULL, hex);
    for (int32_t i = 0; i < tokens->n; i++) {
        unsigned differs = 0;
        for (size_t k = 0; k < MSA_SHA256_HEX - 1; k++)
            differs |= (unsigned)(unsigned char)(hex[k] ^ tokens->of[i].sha256[k]);
        if (differs == 0 && srv_token_is_good(&tokens->of[i], now_ms)) found = &tokens->of[i];
    }
    return found;
}

static srv_token *named(srv_tokens *tokens, const char *name)
{
    for (int32_t i = 0; i < tokens->n; i++)
        if (strcmp(tokens->of[i].name, name) == 0) return &tokens->of[i];
    return NULL;
}

/* base64url without padding (RFC 4648 section 5) */
static void print_secret(const uint8_t bytes[33], char secret[SRV_TOKEN_SECRET])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = (size_t)snprintf(secret, SRV_TOKEN_SECRET, "msad_");
    for (size_t i = 0; i < 33; i += 3) {
        const uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            secret[n++] = digits[three >> shift & 63];
    }
    secret[n] = '\0';
}

static msa_status add(srv_tokens *tokens, const char *name, srv_token **out, int64_t now_ms, msa_error *err)
{
    srv_token *t = named(tokens, name);
    if (t != NULL && srv_token_is_good(t, now_ms))
        return msa_fail(err, MSA_E_INVALID,
                        "there is a token %s already; revoke it first, or take another name", name);
    if (t == NULL && tokens->n == SRV_TOKENS_MAX)
        return msa_fail(err, MSA_E_INVALID, "there are %d tokens already", SRV_TOKENS_MAX);
    *out = t != NULL ? t : &tokens->of[tokens->n++];
    return MSA_OK;
}

msa_status srv_tokens_create(const char *root, const char *name, unsigned set, int64_t expires_ms,
                             int64_t now_ms, char secret[SRV_TOKEN_SECRET], msa_error *err)
{
    MSA_AUTO_FREE srv_tokens *tokens = calloc(1, sizeof *tokens);
    MSA_AUTO_FD int folder = -1;
    uint8_t bytes[33]; /* 264 bits: 44 characters and no rest */
    srv_token *t = NULL;
    secret[0] = '\0';
    if (tokens == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    if (!is_name(name))
        return msa_fail(err, MSA_E_INVALID,
                        "the name is not 1 to %d letters, digits, dots, hyphens and underscores",
                        SRV_TOKEN_NAME_MAX - 1);
    MSA_TRY(begin(tokens, root, &folder, err));
    MSA_TRY(add(tokens, name, &t, now_ms, err));
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return msa_fail(err, MSA_E_INTERNAL, "no random numbers");
    *t = (srv_token){.scopes = set, .created_ms = now_ms, .expires_ms = expires_ms};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    print_secret(bytes, secret);
    explicit_bzero(bytes, sizeof bytes);
    msa_sha256_bytes(secret, strlen(secret), NULL, t->sha256);
    return keep(tokens, root, folder, err);
}

msa_status srv_tokens_revoke(const char *root, const char *name, int64_t now_ms, msa_error *err)
{
    MSA_AUTO_FREE srv_tokens *tokens = calloc(1, sizeof *tokens);
    MSA_AUTO_FD int folder = -1;
    if (tokens == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    MSA_TRY(begin(tokens, root, &folder, err));
    srv_token *t = named(tokens, name);
    if (t == NULL)
        return msa_fail(err, MSA_E_NOT_FOUND, "there is no token of this name; `msad token list` shows them");
    if (t->revoked_ms == 0) t->revoked_ms = now_ms;
    return keep(tokens, root, folder, err);
}
