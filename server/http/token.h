/**
 * Access tokens of REST: a small file below storage.path, which holds the SHA-256 of each secret and never
 * the secret itself. `msad token` writes it; the service reads it again whenever it has changed. It is no
 * part of the catalogue, which one process alone may open.
 */
#ifndef SRV_HTTP_TOKEN_H
#define SRV_HTTP_TOKEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"

#define SRV_TOKENS_MAX     256
#define SRV_TOKEN_NAME_MAX 40
#define SRV_TOKEN_SECRET   56 /* room for "msad_" and 44 characters of base64url: 264 random bits */

/* What a request may do. Each is a right of its own; a token for `operate` is given `read` as well, and one
 * for `admin` both. */
enum {
    SRV_SCOPE_READ = 1,
    SRV_SCOPE_OPERATE = 2, /* changes what becomes of jobs and series */
    SRV_SCOPE_ADMIN = 4,   /* changes where data goes */
    SRV_SCOPE_PHI = 8,     /* pictures and objects of a patient */
    SRV_SCOPE_ANYONE = 16, /* of a route: no token needed */
};
#define SRV_SCOPE_ALL (SRV_SCOPE_READ | SRV_SCOPE_OPERATE | SRV_SCOPE_ADMIN | SRV_SCOPE_PHI)

typedef struct srv_token {
    char name[SRV_TOKEN_NAME_MAX]; /* letters, digits, dot, hyphen, underscore */
    char sha256[MSA_SHA256_HEX];
    unsigned scopes;
    int64_t created_ms, expires_ms, revoked_ms; /* 0: never */
} srv_token;

typedef struct srv_tokens {
    bool exists; /* there is a file: then REST asks for a token, whatever the file holds */
    int32_t n;
    srv_token of[SRV_TOKENS_MAX];
} srv_tokens;

/* root: storage.path. No file is no error. Errors: MSA_E_IO, MSA_E_PARSE; *out then has exists and no tokens.
 */
MSA_NODISCARD msa_status srv_tokens_load(srv_tokens *out, const char *root, msa_error *err);
/* Identity of the file as it is now, to see whether it has changed; all zero without one. */
void srv_tokens_stat(const char *root, struct stat *out);
/* Makes a token under a name that is free (a revoked or expired one may be taken again). Errors:
 * MSA_E_INVALID. */
MSA_NODISCARD msa_status srv_tokens_create(const char *root, const char *name, unsigned scopes,
                                           int64_t expires_ms, int64_t now_ms, char secret[SRV_TOKEN_SECRET],
                                           msa_error *err);
/* Errors: MSA_E_NOT_FOUND. */
MSA_NODISCARD msa_status srv_tokens_revoke(const char *root, const char *name, int64_t now_ms,
                                           msa_error *err);
bool srv_token_is_good(const srv_token *token, int64_t now_ms);
/* NULL: none that is good. Takes the same time whichever it is. */
const srv_token *srv_tokens_find(const srv_tokens *tokens, const char *secret, size_t size, int64_t now_ms);
/* "read,phi" and back; false: not scopes. */
void srv_scopes_print(unsigned scopes, char out[32]);
bool srv_scopes_parse(const char *text, unsigned *scopes);

/* The command `msad token ...`; returns the exit status. */
int srv_token_main(int argc, char **argv);

#endif
