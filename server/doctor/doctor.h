/* The commands that look at a service from outside: msad doctor and msad status. */
#ifndef SRV_DOCTOR_DOCTOR_H
#define SRV_DOCTOR_DOCTOR_H

#include "server/core/config.h"
#include "server/doctor/rest.h"

/**
 * Checks settings, disk, ports and destinations, then has a service of its own, in a folder that is removed,
 * segment a phantom with the model and rules of these settings: over its listener, engine, writer and back. A
 * service that runs meanwhile is not touched. One line a step on standard output. Returns the exit status: 0,
 * or 1 when a step failed.
 */
int srv_doctor_run(const srv_config *config, const char *config_path);

/* How the service of these settings fares, asked over REST. Returns the exit status: 0; 1 when it is not
 * ready, or refuses to tell; 69 (EX_UNAVAILABLE) when it does not answer. */
int srv_status_run(const srv_config *config);

/* Documents made of the tables that the program works by: "settings" or "conformance", as Markdown. false: no
 * such one. */
bool srv_describe(const char *what, FILE *to);

/* ---- private to server/doctor ---- */

typedef struct srv_doctor {
    const srv_config *config;
    int failed; /* steps */
} srv_doctor;

void srv_doctor_ok(srv_doctor *d, const char *step, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* remedy: what a person does about it, a sentence. */
void srv_doctor_failed(srv_doctor *d, const char *step, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* trial.c: the phantom through a service of its own. */
void srv_doctor_trial(srv_doctor *d);
/* mirror.c: a process that stores what is sent to *port in `dir` as N.dcm, until it is killed or we end. */
MSA_NODISCARD msa_status srv_mirror_start(const char *dir, int32_t *port, int *pid, msa_error *err);

#endif
