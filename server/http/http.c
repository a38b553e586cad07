/* The daemon on the loop: libmicrohttpd's epoll descriptor is watched by libuv, and all callbacks run on the
 * loop thread. */
#include "server/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/http/internal.h"

/* ---- the loop ---- */

static void arm(srv_http *h);

static void pump(srv_http *h)
{
    (void)MHD_run(h->daemon);
    arm(h);
}

static void on_run_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

static void arm(srv_http *h)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    if (h->stopping) return;
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        (void)uv_timer_start(&h->run_timer, on_run_timer, ms, 0);
    else
        (void)uv_timer_stop(&h->run_timer);
}

void srv_http_kick(srv_http *h)
{
    (void)uv_timer_start(&h->run_timer, on_run_timer, 0, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    pump(poll->data);
}

static void on_tick(uv_timer_t *timer)
{
    srv_http *h = timer->data;
    const uint64_t now = uv_now(h->env.loop);
    srv_watch_tick(h, now);
    srv_requests_tick(h, now);
    srv_hub_tick(h->hub, now);
}

/* Connections are counted for their deadlines; without one there is no tick, so an idle server costs nothing.
 */
static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    srv_http *h = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        srv_conn *conn = calloc(1, sizeof *conn);
        if (conn == NULL) return;
        conn->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        conn->deadline_ms = uv_now(h->env.loop) + (uint64_t)h->env.receive_ms;
        conn->next = h->conns;
        if (conn->next != NULL) conn->next->prev = conn;
        h->conns = conn;
        *socket_context = conn;
        /* Not anew with each connection: many that come one after the other would put it off for ever. */
        if (!h->stopping && !uv_is_active((uv_handle_t *)&h->tick_timer))
            (void)uv_timer_start(&h->tick_timer, on_tick, SRV_HTTP_TICK_MS, SRV_HTTP_TICK_MS);
        return;
    }
    srv_conn *conn = *socket_context;
    if (conn == NULL) return;
    *socket_context = NULL;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        h->conns = conn->next;
    if (conn->next != NULL) conn->next->prev = conn->prev;
    free(conn);
    if (h->conns == NULL && !h->stopping) (void)uv_timer_stop(&h->tick_timer);
}

/* ---- start ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* MHD's own turns %00 into the end of the text, so that two paths could mean the same. Here it stays as it
 * is. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    char *to = text;
    (void)cls, (void)connection;
    for (const char *from = text; *from != '\0';) {
        const int high = from[0] == '%' ? hex_digit(from[1]) : -1, low = high < 0 ? -1 : hex_digit(from[2]);
        const int byte = low < 0 ? 0 : high * 16 + low;
        *to++ = byte != 0 ? (char)byte : *from;
        from += byte != 0 ? 3 : 1;
    }
    *to = '\0';
    return (size_t)(to - text);
}

static void log_line(void *cls, const char *fmt, va_list args)
{
    char text[256];
    (void)cls;
    (void)vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    msa_log(MSA_LOG_DEBUG, "http", "%s", text);
}

/* Our own socket instead of MHD's: the reason of a failure is known, and so is the port. */
static msa_status listen_on(const srv_config *config, int *out, int *family, int32_t *port, msa_error *err)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    const int32_t wanted = config->http_port;
    if (inet_pton(AF_INET, config->http_bind, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)wanted);
    } else if (inet_pton(AF_INET6, config->http_bind, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)wanted);
    } else {
        return msa_fail(err, MSA_E_INVALID, "http.bind: %.60s is not a numeric address", config->http_bind);
    }
    *family = address.sa.sa_family;
    socklen_t size = *family == AF_INET ? sizeof address.v4 : sizeof address.v6;
    const int yes = 1;
    MSA_AUTO_FD int fd = socket(*family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0)
        return msa_fail(err, MSA_E_IO, "cannot make a socket for REST: %s", strerror(errno));
    if (bind(fd, &address.sa, size) != 0 || listen(fd, 128) != 0)
        return msa_fail(err, MSA_E_IO, "cannot listen for REST on %s port %d: %s", config->http_bind, wanted,
                        strerror(errno));
    if (getsockname(fd, &address.sa, &size) != 0)
        return msa_fail(err, MSA_E_IO, "getsockname: %s", strerror(errno));
    *port = ntohs(*family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    *out = fd;
    fd = -1;
    return MSA_OK;
}

static struct MHD_Daemon *start_daemon(srv_http *h, int fd, int family, const srv_tls *tls)
{
    const bool secret = tls->key != NULL;
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                           (secret ? (unsigned)MHD_USE_TLS : 0u) |
                           (family == AF_INET6 ? (unsigned)MHD_USE_IPv6 : 0u);
    const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem over_tls[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, tls->certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)srv_tls_priorities},
        {tls->client_ca != NULL ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, tls->client_ca},
        {MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(
        flags, 0, NULL, NULL, srv_request_access, h, MHD_OPTION_EXTERNAL_LOGGER, log_line, h,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, srv_request_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SRV_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)SRV_HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, secret ? over_tls : plain, MHD_OPTION_END);
}

/* sendfile() to a client that has left raises SIGPIPE; roles get their own disposition back by uv_spawn. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) (void)signal(SIGPIPE, SIG_IGN);
}

static void on_closed(uv_handle_t *handle)
{
    srv_http *h = handle->data;
    if (--h->handles > 0) return;
    json_decref(h->openapi);
    srv_auth_free(h->auth);
    srv_tls_free(&h->tls);
    free(h);
}

/* The handles that were opened so far are closed by the loop; the last one takes the memory with it. */
static void close_handle(srv_http *h, uv_handle_t *handle)
{
    handle->data = h;
    uv_close(handle, on_closed);
}

msa_status srv_http_start(srv_http **out, const srv_http_env *env, int32_t *port, msa_error *err)
{
    MSA_AUTO_FREE srv_http *h = calloc(1, sizeof *h);
    MSA_AUTO_FD int fd = -1;
    int family = AF_INET;
    *out = NULL;
    if (h == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    h->env = *env;
    if (h->env.receive_ms == 0) h->env.receive_ms = SRV_HTTP_RECEIVE_MS;
    if (h->env.store_ms == 0) h->env.store_ms = SRV_HTTP_STORE_MS;
    h->started_ms = srv_now_ms();
    ignore_sigpipe();
    json_object_seed(0); /* before two threads build objects */
    h->openapi = srv_openapi();
    if (h->openapi == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    msa_status status = srv_tls_load(&h->tls, env->config, err);
    if (status == MSA_OK) status = srv_auth_new(h, err);
    if (status == MSA_OK) status = srv_hub_new(h, err);
    if (status == MSA_OK) status = listen_on(env->config, &fd, &family, &h->port, err);
    if (status == MSA_OK) {
        h->daemon = start_daemon(h, fd, family, &h->tls);
        if (h->daemon == NULL)
            status = msa_fail(err, MSA_E_INTERNAL, "libmicrohttpd did not start");
        else
            fd = -1; /* MHD's now */
    }
    if (status != MSA_OK) {
        srv_hub_abandon(h->hub);
        srv_auth_free(h->auth);
        srv_tls_free(&h->tls);
        json_decref(h->openapi);
        return status;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(env->loop, &h->poll, info->epoll_fd) != 0) {
        MHD_stop_daemon(h->daemon);
        srv_hub_abandon(h->hub);
        srv_auth_free(h->auth);
        srv_tls_free(&h->tls);
        json_decref(h->openapi);
        return msa_fail(err, MSA_E_INTERNAL, "the loop cannot watch libmicrohttpd");
    }
    (void)uv_timer_init(env->loop, &h->run_timer);
    (void)uv_timer_init(env->loop, &h->tick_timer);
    h->poll.data = h->run_timer.data = h->tick_timer.data = h;
    h->handles = 3;
    (void)uv_poll_start(&h->poll, UV_READABLE, on_poll);
    arm(h);
    *port = h->port;
    *out = MSA_STEAL(h);
    return MSA_OK;
}

/* ---- stop ---- */

void srv_http_reloaded(srv_http *h, const srv_config *config)
{
    h->env.config = config;
}

void srv_http_stop(srv_http *h)
{
    if (h == NULL) return;
    h->stopping = true;
    srv_hub_end(h->hub);
    srv_requests_release(h);
    /* Once to take them up again, once to send what they say; a client that does not read now is not waited
     * for. */
    (void)MHD_run(h->daemon);
    srv_requests_release(h);
    (void)MHD_run(h->daemon);
    close_handle(h, (uv_handle_t *)&h->poll); /* before its descriptor is closed */
    srv_requests_release(h);
    MHD_stop_daemon(h->daemon); /* completes every request; those under way in the store live on without us */
    for (srv_request *req = h->requests, *next = NULL; req != NULL; req = next) {
        next = req->next;
        req->http = NULL;
        req->prev = req->next = NULL;
    }
    srv_watch_abandon(h);
    srv_hub_abandon(h->hub);
    close_handle(h, (uv_handle_t *)&h->run_timer);
    close_handle(h, (uv_handle_t *)&h->tick_timer);
}
