/* msad status: what REST says, for a terminal. */
#include "server/doctor/doctor.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "engine/base/cleanup.h"

#define SHOWN 5 /* of each kind */

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "-" : value;
}

/* The value of one sample, written as in the exposition: name and labels. 0 where there is none. */
static double sample(const char *metrics, const char *name)
{
    const size_t n = strlen(name);
    for (const char *line = metrics; line != NULL && *line != '\0';) {
        if (strncmp(line, name, n) == 0 && line[n] == ' ') return strtod(line + n, NULL);
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return 0;
}

static double jobs(const char *metrics, const char *state)
{
    char name[64];
    (void)snprintf(name, sizeof name, "msad_jobs{state=\"%s\"}", state);
    return sample(metrics, name);
}

static void show_queue(const char *m)
{
    (void)printf("queue        %.0f queued (the oldest for %.0f s), %.0f running, %.0f delivering\n",
                 jobs(m, "queued"), sample(m, "msad_queue_oldest_age_seconds"), jobs(m, "running"),
                 jobs(m, "delivering"));
    (void)printf("             %.0f receiving, %.0f waiting for prompts\n", jobs(m, "receiving"),
                 jobs(m, "waiting_prompt"));
    (void)printf("done         %.0f succeeded, %.0f found nothing, %.0f failed, %.0f cancelled\n",
                 jobs(m, "succeeded"), jobs(m, "succeeded_empty"), jobs(m, "failed"), jobs(m, "cancelled"));
    (void)printf("deliveries   %.0f pending, %.0f dead letters\n", sample(m, "msad_deliveries_pending"),
                 sample(m, "msad_deliveries_dead"));
    (void)printf("received     %.0f instances, %.1f GiB since the start; %.0f associations open\n",
                 sample(m, "msad_instances_stored_total"), sample(m, "msad_received_bytes_total") / (1 << 30),
                 sample(m, "msad_associations_open"));
    (void)printf("workers      %.0f of %.0f busy\n", sample(m, "msad_workers_busy"),
                 sample(m, "msad_workers"));
    if (sample(m, "msad_disk_size_bytes") > 0)
        (void)printf("disk         %.1f GiB free of %.1f GiB\n",
                     sample(m, "msad_disk_free_bytes") / (1 << 30),
                     sample(m, "msad_disk_size_bytes") / (1 << 30));
}

static void show_running(const srv_rest *rest)
{
    msa_error err = MSA_ERROR_INIT;
    json_t *json = NULL, *job = NULL;
    size_t i = 0;
    if (srv_rest_json(rest, "GET", "/v1/jobs?state=running&limit=20", NULL, &json, &err) != MSA_OK) return;
    json_array_foreach(json_object_get(json, "jobs"), i, job)
    {
        const json_t *progress = json_object_get(job, "progress");
        (void)printf("running      %s  %s  slice %lld of %lld  attempt %lld  since %s\n", text(job, "id"),
                     text(job, "modality"), (long long)json_integer_value(json_object_get(progress, "done")),
                     (long long)json_integer_value(json_object_get(progress, "total")),
                     (long long)json_integer_value(json_object_get(job, "attempt")), text(job, "started_at"));
    }
    json_decref(json);
}

static void show_destinations(const srv_rest *rest)
{
    msa_error err = MSA_ERROR_INIT;
    json_t *json = NULL, *to = NULL;
    size_t i = 0;
    if (srv_rest_json(rest, "GET", "/v1/destinations", NULL, &json, &err) != MSA_OK) return;
    json_array_foreach(json_object_get(json, "destinations"), i, to)
    {
        const json_t *circuit = json_object_get(to, "circuit");
        (void)printf("destination  %s  %s@%s:%lld  %s", text(to, "name"), text(to, "ae_title"),
                     text(to, "host"), (long long)json_integer_value(json_object_get(to, "port")),
                     circuit == NULL ? "" : text(circuit, "state"));
        if (circuit != NULL && strcmp(text(circuit, "state"), "closed") != 0)
            (void)printf(": %lld failures in a row, next try %s; %s",
                         (long long)json_integer_value(json_object_get(circuit, "failures")),
                         text(circuit, "next_try_at"), text(circuit, "comment"));
        (void)putchar('\n');
    }
    json_decref(json);
}

static void show_refusals(const srv_rest *rest)
{
    msa_error err = MSA_ERROR_INIT;
    json_t *json = NULL, *one = NULL;
    size_t i = 0;
    int shown = 0;
    if (srv_rest_json(rest, "GET", "/v1/associations?limit=200", NULL, &json, &err) != MSA_OK) return;
    json_array_foreach(json_object_get(json, "refusals"), i, one)
    {
        if (shown++ == SHOWN) break;
        (void)printf("refused      %s  %s from %s: %s\n", text(one, "at"), text(one, "calling_ae"),
                     text(one, "peer"), text(one, "reason"));
    }
    json_decref(json);
}

int srv_status_run(const srv_config *config)
{
    srv_rest rest;
    msa_error err = MSA_ERROR_INIT;
    MSA_AUTO_FREE char *ready = NULL;
    MSA_AUTO_FREE char *metrics = NULL;
    size_t size = 0;
    int status = 0, metrics_status = 0;
    srv_rest_of(&rest, config);
    if (srv_rest_call(&rest, "GET", "/readyz", NULL, &status, &ready, &size, &err) != MSA_OK) {
        (void)fprintf(stderr, "msad: no service answers: %s\n", err.what);
        return EX_UNAVAILABLE;
    }
    json_t *json = json_loads(ready, 0, NULL);
    const char *verdict = status == 200 ? "ready" : status == 503 ? "NOT READY" : "REFUSES TO TELL";
    (void)printf("msad         %s at %s%s%s\n", verdict, rest.base, status == 200 ? "" : ": ",
                 status == 200 ? "" : text(json, "detail"));
    json_decref(json);
    if (srv_rest_call(&rest, "GET", "/metrics", NULL, &metrics_status, &metrics, &size, &err) == MSA_OK &&
        metrics_status == 200)
        show_queue(metrics);
    else
        (void)printf("             more is told to who has a token: set MSAD_TOKEN (status %d)\n",
                     metrics_status);
    show_running(&rest);
    show_destinations(&rest);
    show_refusals(&rest);
    return status == 200 ? 0 : 1;
}
