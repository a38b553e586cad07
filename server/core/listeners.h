/* The DICOM ports, with and without TLS, and the certificate that the one shows. Loop thread. */
#ifndef SRV_CORE_LISTENERS_H
#define SRV_CORE_LISTENERS_H

#include "server/core/core.h"

typedef struct srv_listeners {
    srv_core *core;
    uv_connection_cb on_connection; /* `data` of the stream is ctx */
    void *ctx;
    uv_tcp_t *plain, *secure; /* NULL: none */
    dicom_tls tls;            /* of the latter */
    uint64_t look_at_ms;      /* when the end of the certificate is looked at again */
} srv_listeners;

/* core, on_connection and ctx are set. Errors: MSA_E_IO, with the setting that chooses another port. */
MSA_NODISCARD msa_status srv_listeners_open(srv_listeners *l, const srv_config *config, msa_error *err);
/* Listens where `config` says, before core->config is that; on failure all stays as it was. */
MSA_NODISCARD msa_status srv_listeners_reload(srv_listeners *l, const srv_config *config, msa_error *err);
void srv_listeners_tick(srv_listeners *l); /* warns of a certificate that runs out */
void srv_listeners_close(srv_listeners *l);

#endif
