#include "server/core/listeners.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

#define DAY_MS                INT64_C(86400000)
#define CERTIFICATE_LOOK_MS   (UINT64_C(43200) * 1000)
#define CERTIFICATE_WARN_DAYS 30

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_listener(uv_tcp_t *listener)
{
    if (listener != NULL) uv_close((uv_handle_t *)listener, on_listener_closed);
}

static msa_status open_listener(srv_listeners *l, const char *bind, int32_t port, const char *setting,
                                uv_tcp_t **out, msa_error *err)
{
    struct sockaddr_storage address;
    int rc = uv_ip4_addr(bind, port, (struct sockaddr_in *)&address);
    if (rc != 0) rc = uv_ip6_addr(bind, port, (struct sockaddr_in6 *)&address);
    if (rc != 0) return msa_fail(err, MSA_E_PARSE, "dicom.bind \"%s\" is not an IP address", bind);
    uv_tcp_t *listener = calloc(1, sizeof *listener);
    if (listener == NULL || uv_tcp_init(l->core->loop, listener) != 0) {
        free(listener);
        return msa_fail(err, MSA_E_IO, "cannot make a socket");
    }
    listener->data = l->ctx;
    rc = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0);
    if (rc == 0) rc = uv_listen((uv_stream_t *)listener, 128, l->on_connection);
    if (rc != 0) {
        close_listener(listener);
        return msa_fail(err, MSA_E_IO, "cannot listen for DICOM on %s port %d: %s; choose another with %s",
                        bind, port, uv_strerror(rc), setting);
    }
    *out = listener;
    return MSA_OK;
}

/* -1: there is none. */
static int32_t port_of(const uv_tcp_t *listener)
{
    struct sockaddr_storage a;
    int size = sizeof a;
    if (listener == NULL || uv_tcp_getsockname(listener, (struct sockaddr *)&a, &size) != 0) return -1;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

static bool is_loopback(const char *address)
{
    return srv_address_in("127.0.0.0/8, ::1", address);
}

/* AE titles and addresses prove nothing by themselves: what is open is said, once, at the start. */
static void warn_of_open_doors(const srv_config *config)
{
    if (is_loopback(config->dicom_bind)) return;
    if (config->n_senders == 0)
        msa_log(MSA_LOG_WARN, "receive",
                "what=\"whoever reaches %s may send: there are no entries under senders\"",
                config->dicom_bind);
    if (config->dicom_plain)
        msa_log(
            MSA_LOG_WARN, "receive",
            "what=\"dicom.port takes DICOM without TLS: set dicom.plain to false where no sender needs it\"");
}

/* Both listeners as `config` wants them, or neither. */
static msa_status open_listeners(srv_listeners *l, const srv_config *config, uv_tcp_t **plain,
                                 uv_tcp_t **secure, msa_error *err)
{
    msa_status status = MSA_OK;
    *plain = *secure = NULL;
    if (config->dicom_plain)
        status = open_listener(l, config->dicom_bind, config->dicom_port, "dicom.port", plain, err);
    if (status == MSA_OK && config->dicom_tls_certificate[0] != '\0')
        status = open_listener(l, config->dicom_bind, config->dicom_tls_port, "dicom.tls_port", secure, err);
    if (status == MSA_OK) return MSA_OK;
    close_listener(*plain);
    *plain = NULL;
    return status;
}

static void install_listeners(srv_listeners *l, const srv_config *config, uv_tcp_t *plain, uv_tcp_t *secure)
{
    l->plain = plain;
    l->secure = secure;
    l->tls = srv_config_tls(config);
    l->core->dicom_port = port_of(plain);
    l->core->dicom_tls_port = port_of(secure);
    if (secure != NULL)
        msa_log(MSA_LOG_INFO, "receive", "tls_port=%d anonymous=%d senders=%d", l->core->dicom_tls_port,
                config->dicom_tls_anonymous, config->n_senders);
    warn_of_open_doors(config);
}

static bool same_listeners(const srv_config *a, const srv_config *b)
{
    const bool secure_a = a->dicom_tls_certificate[0] != '\0', secure_b = b->dicom_tls_certificate[0] != '\0';
    return strcmp(a->dicom_bind, b->dicom_bind) == 0 && a->dicom_plain == b->dicom_plain &&
           a->dicom_port == b->dicom_port && secure_a == secure_b && a->dicom_tls_port == b->dicom_tls_port;
}

/**
 * The old listeners go first, as one port on two addresses may exclude each other (0.0.0.0 and 127.0.0.1),
 * and come back if the new ones cannot be had. Who connects in between is refused and may try again.
 */
static msa_status move_listeners(srv_listeners *l, const srv_config *to, msa_error *err)
{
    srv_config *from = malloc(sizeof *from);
    if (from == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    *from = *l->core->config;
    if (from->dicom_plain) from->dicom_port = l->core->dicom_port; /* the one bound, where it was 0 */
    if (l->secure != NULL) from->dicom_tls_port = l->core->dicom_tls_port;
    close_listener(l->plain);
    close_listener(l->secure);
    uv_tcp_t *plain = NULL, *secure = NULL;
    msa_error back = MSA_ERROR_INIT;
    const msa_status status = open_listeners(l, to, &plain, &secure, err);
    if (status != MSA_OK && open_listeners(l, from, &plain, &secure, &back) != MSA_OK)
        srv_core_fatal(l->core, "the old DICOM listener could not be had back after a reload");
    install_listeners(l, status == MSA_OK ? to : from, plain, secure);
    free(from);
    return status;
}

msa_status srv_listeners_reload(srv_listeners *l, const srv_config *config, msa_error *err)
{
    if (!same_listeners(l->core->config, config)) MSA_TRY(move_listeners(l, config, err));
    l->tls = srv_config_tls(config);
    l->look_at_ms = 0;
    return MSA_OK;
}

msa_status srv_listeners_open(srv_listeners *l, const srv_config *config, msa_error *err)
{
    uv_tcp_t *plain = NULL, *secure = NULL;
    MSA_TRY(open_listeners(l, config, &plain, &secure, err));
    install_listeners(l, config, plain, secure);
    return MSA_OK;
}

void srv_listeners_close(srv_listeners *l)
{
    close_listener(l->plain);
    close_listener(l->secure);
    l->plain = l->secure = NULL;
}

/* Twice a day, and again with each reload: a certificate that has run out stops every sender at once. */
void srv_listeners_tick(srv_listeners *l)
{
    const uint64_t now = uv_now(l->core->loop);
    if (now < l->look_at_ms) return;
    l->look_at_ms = now + CERTIFICATE_LOOK_MS;
    l->core->live.tls_expires_ms = l->tls.on ? dicom_tls_expires_ms(l->tls.certificate) : 0;
    const int64_t left_ms = l->core->live.tls_expires_ms - srv_now_ms();
    if (!l->tls.on || left_ms > CERTIFICATE_WARN_DAYS * DAY_MS) return;
    if (left_ms <= 0)
        msa_log(MSA_LOG_ERROR, "receive",
                "what=\"dicom.tls_certificate has expired: renew it, then reload (SIGHUP)\"");
    else
        msa_log(MSA_LOG_WARN, "receive",
                "what=\"dicom.tls_certificate expires in %d days: renew it, then reload (SIGHUP)\"",
                (int)(left_ms / DAY_MS));
}
