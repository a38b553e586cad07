/**
 * Who asks, and whether they may. Without a file of tokens REST is open, and then it listens on loopback
 * only; with one, every request but those for anyone shows a token, also on loopback.
 *
 * Guesses are limited by address. A good token passes even where others guess: of 264 random bits nobody
 * finds one by trying, so the limit is there to keep guessers from filling logs and time, and must not shut
 * out those behind the same proxy.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/log.h"
#include "server/http/internal.h"

#define GUESSES_MAX     10   /* at once from one address; then */
#define GUESS_EVERY_MS  6000 /* one more in this time */
#define RELOAD_EVERY_MS 200u /* the file is looked at */
#define CLIENTS_MAX     512

typedef struct client { /* by address, and by token where there is one */
    uint8_t address[16];
    const char *token; /* borrowed, or NULL */
    uint64_t seen_ms, guessed_ms, asked_ms;
    int32_t guesses;
    double asked;
} client;

struct srv_auth {
    srv_tokens tokens;
    struct stat file;
    uint64_t looked_ms;
    client clients[CLIENTS_MAX];
};

/* ---- the file ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void load(srv_auth *a, const char *root)
{
    msa_error err = MSA_ERROR_INIT;
    const bool closed = a->tokens.exists;
    srv_tokens_stat(root, &a->file);
    memset(a->clients, 0, sizeof a->clients); /* they point at tokens */
    if (srv_tokens_load(&a->tokens, root, &err) != MSA_OK)
        msa_log(MSA_LOG_ERROR, "http", "tokens what=\"%s\"", err.what);
    a->tokens.exists = a->tokens.exists || closed; /* who deletes the file does not open the door */
    msa_log(MSA_LOG_INFO, "http", "tokens=%d required=%d", a->tokens.n, a->tokens.exists);
}

static void look_again(srv_http *h)
{
    srv_auth *a = h->auth;
    struct stat now;
    if (uv_now(h->env.loop) < a->looked_ms + RELOAD_EVERY_MS) return;
    a->looked_ms = uv_now(h->env.loop);
    srv_tokens_stat(h->env.config->storage_path, &now);
    if (!same_file(&now, &a->file)) load(a, h->env.config->storage_path);
}

static bool is_loopback(const char *address)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, address, bytes) == 1) return bytes[0] == 127;
    return inet_pton(AF_INET6, address, bytes) == 1 && memcmp(bytes, &in6addr_loopback, sizeof bytes) == 0;
}

msa_status srv_auth_new(srv_http *h, msa_error *err)
{
    const srv_config *config = h->env.config;
    h->auth = calloc(1, sizeof *h->auth);
    if (h->auth == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    load(h->auth, config->storage_path);
    bool usable = false;
    for (int32_t i = 0; i < h->auth->tokens.n; i++)
        usable = usable || srv_token_is_good(&h->auth->tokens.of[i], srv_now_ms());
    if (usable || is_loopback(config->http_bind) || config->http_tls_client_ca[0] != '\0') return MSA_OK;
    free(h->auth);
    h->auth = NULL;
    return msa_fail(
        err, MSA_E_INVALID,
        "http.bind is %s, which others can reach, and there is no access token: make one with `msad "
        "token create NAME --scope operate`, or bind to 127.0.0.1",
        config->http_bind);
}

void srv_auth_free(srv_auth *a)
{
    free(a);
}

/* No token is asked for. */
static bool is_open(const srv_http *h)
{
    return !h->auth->tokens.exists;
}

bool srv_auth_is_for_all(const srv_http *h)
{
    return is_open(h) && h->env.config->http_tls_client_ca[0] == '\0';
}

/* By its certificate, where these are asked for; judged once a connection. */
static bool is_known_client(srv_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    srv_conn *conn = info == NULL ? NULL : info->socket_context;
    if (req->http->env.config->http_tls_client_ca[0] == '\0') return true;
    if (conn == NULL) return srv_tls_client_is_known(req->connection);
    if (!conn->judged) conn->known = srv_tls_client_is_known(req->connection);
    conn->judged = true;
    return conn->known;
}

/* ---- limits ---- */

static void address_of(const srv_request *req, uint8_t out[16])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = info == NULL ? NULL : info->client_addr;
    memset(out, 0, 16);
    if (sa != NULL && sa->sa_family == AF_INET)
        memcpy(out, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    if (sa == NULL || sa->sa_family != AF_INET6) return;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six)) /* who comes over IPv4 where http.bind is :: */
        memcpy(out, six->s6_addr + 12, 4);
    else
        memcpy(out, six, 8); /* its network: a host has 2^64 addresses there */
}

static void print_address(const struct sockaddr *sa, char text[INET6_ADDRSTRLEN])
{
    if (sa->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, text,
                        INET6_ADDRSTRLEN);
    else if (sa->sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, text,
                        INET6_ADDRSTRLEN);
}

/* The one, or the place of the one that was seen longest ago. */
static client *client_of(srv_auth *a, const uint8_t address[16], const char *token, uint64_t now)
{
    client *oldest = &a->clients[0];
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        client *c = &a->clients[i];
        if (c->seen_ms > 0 && c->token == token && memcmp(c->address, address, sizeof c->address) == 0) {
            c->seen_ms = now + 1;
            return c;
        }
        if (c->seen_ms < oldest->seen_ms) oldest = c;
    }
    memset(oldest, 0, sizeof *oldest);
    memcpy(oldest->address, address, sizeof oldest->address);
    oldest->token = token;
    oldest->seen_ms = now + 1;
    oldest->asked_ms = oldest->guessed_ms = now;
    return oldest;
}

/* True: one guess too many. */
static bool count_guess(srv_http *h, srv_request *req)
{
    uint8_t address[16];
    const uint64_t now = uv_now(h->env.loop);
    address_of(req, address);
    client *c = client_of(h->auth, address, NULL, now);
    const int32_t forgiven = (int32_t)((now - c->guessed_ms) / GUESS_EVERY_MS);
    c->guesses = forgiven >= c->guesses ? 0 : c->guesses - forgiven;
    c->guessed_ms = c->guesses == 0 ? now : c->guessed_ms + (uint64_t)forgiven * GUESS_EVERY_MS;
    if (c->guesses >= GUESSES_MAX) return true;
    c->guesses++;
    char text[INET6_ADDRSTRLEN] = "";
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL && info->client_addr != NULL) print_address(info->client_addr, text);
    msa_log(MSA_LOG_WARN, "http", "token_refused peer=%s guesses=%d", text, c->guesses);
    return false;
}

/* True: more requests than http.requests_per_s; a second's worth may come at once. */
static bool count_request(srv_http *h, srv_request *req)
{
    const double most = h->env.config->http_requests_per_s;
    uint8_t address[16];
    const uint64_t now = uv_now(h->env.loop);
    if (most <= 0) return false;
    address_of(req, address);
    client *c = client_of(h->auth, address, req->token == NULL ? NULL : req->token->name, now);
    const double left = c->asked - (double)(now - c->asked_ms) * most / 1e3;
    c->asked = left < 0 ? 0 : left;
    c->asked_ms = now;
    if (c->asked >= most) return true;
    c->asked++;
    return false;
}

/* ---- one request ---- */

void srv_auth_identify(srv_request *req)
{
    srv_http *h = req->http;
    static const char scheme[] = "Bearer ";
    look_again(h);
    const char *given =
        MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    req->scopes = is_open(h) ? SRV_SCOPE_ALL : 0;
    req->token = NULL;
    if (given == NULL || strncasecmp(given, scheme, sizeof scheme - 1) != 0) return;
    const char *secret = given + sizeof scheme - 1;
    req->guessed = true;
    req->token = srv_tokens_find(&h->auth->tokens, secret, strlen(secret), srv_now_ms());
    if (req->token != NULL) req->scopes = req->token->scopes;
}

/* A copy of its SHA-256, as the table may be read anew while the request lives. */
bool srv_auth_still(srv_http *h, const char *token_sha256)
{
    look_again(h);
    if (token_sha256[0] == '\0') return is_open(h);
    for (int32_t i = 0; i < h->auth->tokens.n; i++)
        if (strcmp(h->auth->tokens.of[i].sha256, token_sha256) == 0)
            return srv_token_is_good(&h->auth->tokens.of[i], srv_now_ms());
    return false;
}

static void refuse_unknown(srv_request *req)
{
    if (req->guessed && count_guess(req->http, req)) {
        srv_reply_problem(&req->reply, MHD_HTTP_TOO_MANY_REQUESTS,
                          "too many wrong tokens from this address; wait, or use a good one");
        return;
    }
    srv_reply_problem(&req->reply, MHD_HTTP_UNAUTHORIZED, "%s",
                      req->guessed
                          ? "this access token is unknown, expired or revoked"
                          : "an access token is needed: Authorization: Bearer TOKEN; `msad token create` "
                            "makes one");
    req->reply.challenge =
        req->guessed ? "Bearer realm=\"msad\", error=\"invalid_token\"" : "Bearer realm=\"msad\"";
}

/**
 * A page on the web can make a browser on this machine, or one with a client certificate, send a POST without
 * a body here; a token it cannot send. Browsers say in Origin for which page they ask, and change nothing but
 * for our own.
 */
static bool is_for_another_page(const srv_request *req)
{
    const char *origin = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Origin");
    const char *host = MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    const char *end = origin == NULL ? NULL : strstr(origin, "://");
    return origin != NULL && (end == NULL || host == NULL || strcasecmp(end + 3, host) != 0);
}

void srv_auth_check(srv_request *req, const srv_route *route)
{
    const unsigned needed = route == NULL ? 0 : route->scopes;
    if (needed == SRV_SCOPE_ANYONE) return;
    if (!is_known_client(req)) {
        srv_reply_problem(&req->reply, MHD_HTTP_FORBIDDEN,
                          "a client certificate is needed that http.tls_client_ca vouches for");
        return;
    }
    const bool known = is_open(req->http) || req->token != NULL;
    if (!known) {
        refuse_unknown(req);
    } else if ((needed & ~req->scopes) != 0) {
        char text[32];
        srv_scopes_print(needed & ~req->scopes, text);
        srv_reply_problem(&req->reply, MHD_HTTP_FORBIDDEN, "this access token lacks the scope %s", text);
        req->reply.challenge = "Bearer realm=\"msad\", error=\"insufficient_scope\"";
    } else if (route != NULL && strcmp(route->method, "GET") != 0 && req->token == NULL &&
               is_for_another_page(req)) {
        srv_reply_problem(&req->reply, MHD_HTTP_FORBIDDEN,
                          "the Origin header names another page than ours; only with an access token");
    } else if (count_request(req->http, req)) {
        srv_reply_problem(&req->reply, MHD_HTTP_TOO_MANY_REQUESTS,
                          "more than %d requests a second (http.requests_per_s)",
                          req->http->env.config->http_requests_per_s);
    }
}
