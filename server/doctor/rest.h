/* REST as a client, for msad doctor and msad status: by the program curl, so that no role has to load a
 * library for it. Blocking. */
#ifndef SRV_DOCTOR_REST_H
#define SRV_DOCTOR_REST_H

#include <jansson.h>

#include "engine/base/error.h"
#include "server/core/config.h"

typedef struct srv_rest {
    char base[384];                 /* "http://127.0.0.1:8090" */
    bool is_ours;                   /* the address is that of the settings: whoever answers there has to show
                                       `certificate`, whatever name that is for */
    char certificate[SRV_PATH_MAX]; /* the service's own; "": none */
    char token[256];                /* sent as a bearer token; "": none */
} srv_rest;

/* Where the service of these settings answers, or MSAD_URL, whose certificate has to be for the name in it;
 * the token is that of MSAD_TOKEN, if there is one. */
void srv_rest_of(srv_rest *r, const srv_config *config);
/**
 * body: JSON or NULL. bytes: malloc'ed, NUL-terminated. Returns MSA_OK for every answer, whatever its status.
 * Errors: MSA_E_IO with curl's sentence when there was none, or when who answered is not the service: then
 * nothing was asked; MSA_E_UNSUPPORTED without curl; MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_rest_call(const srv_rest *r, const char *method, const char *path,
                                       const json_t *body, int *status, char **bytes, size_t *size,
                                       msa_error *err);
/* The JSON of a successful answer, owned by the caller. Besides: MSA_E_INVALID with the problem's own
 * sentence. */
MSA_NODISCARD msa_status srv_rest_json(const srv_rest *r, const char *method, const char *path,
                                       const json_t *body, json_t **out, msa_error *err);

#endif
