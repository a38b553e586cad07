/* Prometheus text format 0.0.4. Nothing that names a patient, a study or a peer is a label (invariant 8). */
#include "server/http/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void family(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP msad_%s %s\n# TYPE msad_%s %s\n", name, help, name, type);
}

static void whole(FILE *f, const char *name, const char *type, const char *help, int64_t value)
{
    family(f, name, type, help);
    (void)fprintf(f, "msad_%s %" PRId64 "\n", name, value);
}

static void fraction(FILE *f, const char *name, const char *type, const char *help, double value)
{
    family(f, name, type, help);
    (void)fprintf(f, "msad_%s %.15g\n", name, value);
}

/* Label values escape backslash, quote and line end. */
static void label(FILE *f, const char *name, const char *value, const char *before)
{
    (void)fprintf(f, "%s%s=\"", before, name);
    for (const char *c = value == NULL ? "" : value; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"') (void)fputc('\\', f);
        if (*c == '\n')
            (void)fputs("\\n", f);
        else
            (void)fputc(*c, f);
    }
    (void)fputc('"', f);
}

const double srv_histogram_bounds[SRV_HISTOGRAM_BUCKETS] = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

static void histogram(FILE *f, const char *name, const char *help, const srv_histogram *h)
{
    int64_t below = 0;
    family(f, name, "histogram", help);
    for (int i = 0; i < SRV_HISTOGRAM_BUCKETS; i++)
        (void)fprintf(f, "msad_%s_bucket{le=\"%g\"} %" PRId64 "\n", name, srv_histogram_bounds[i],
                      below += h->counts[i]);
    below += h->counts[SRV_HISTOGRAM_BUCKETS];
    (void)fprintf(f,
                  "msad_%s_bucket{le=\"+Inf\"} %" PRId64 "\nmsad_%s_sum %.15g\nmsad_%s_count %" PRId64 "\n",
                  name, below, name, h->sum_s, name, below);
}

static void model_labels(FILE *f, const srv_model_info *m)
{
    label(f, "model", m->name, ",");
    label(f, "model_version", m->version, ",");
    label(f, "model_hash", m->hash, ",");
    label(f, "untrained", m->untrained ? "true" : "false", ",");
}

static void about(FILE *f, const srv_http *h, const srv_http_live *live)
{
    family(f, "info", "gauge", "Version, and the model for any modality; always 1.");
    (void)fputs("msad_info{", f);
    label(f, "version", MSAD_VERSION, "");
    model_labels(f, srv_model_any(h->env.models));
    (void)fputs("} 1\n", f);
    family(f, "model_info", "gauge", "Models in use, by the rules that choose them; always 1.");
    for (int32_t i = 0; i < h->env.models->n_rules; i++) {
        const srv_rule *rule = &h->env.models->rules[i];
        if (rule->model < 0) continue;
        (void)fputs("msad_model_info{", f);
        label(f, "modality", rule->modality, "");
        label(f, "body_part", rule->body_part, ",");
        label(f, "label", rule->label, ",");
        label(f, "prompts", srv_policy_name(srv_rule_policy(rule)), ",");
        model_labels(f, &h->env.models->models[rule->model]);
        (void)fputs("} 1\n", f);
    }
    whole(f, "ready", "gauge", "1 when instances are taken.", live->ready);
    fraction(f, "start_time_seconds", "gauge", "When the service started, in seconds since 1970.",
             (double)h->started_ms / 1e3);
    family(f, "http_requests_total", "counter", "REST answers by class of their status.");
    for (int class = 2; class <= 5; class ++)
        (void)fprintf(f, "msad_http_requests_total{code=\"%dxx\"} %" PRId64 "\n", class, h->replies[class]);
    whole(f, "http_waiting", "gauge", "Requests that wait for a job to end.", h->waiters);
    whole(f, "http_streams", "gauge", "Readers of the event stream.", srv_hub_streams(h->hub));
}

static void live_figures(FILE *f, const srv_http_live *l)
{
    whole(f, "associations_open", "gauge", "DICOM associations now.", l->associations_open);
    whole(f, "associations_total", "counter", "DICOM associations since the start.", l->associations_total);
    whole(f, "instances_stored_total", "counter", "Instances acknowledged with Success.",
          l->instances_stored_total);
    whole(f, "instances_failed_total", "counter", "Instances answered with a failure.",
          l->instances_failed_total);
    whole(f, "received_bytes_total", "counter", "Bytes of stored instances.", l->bytes_stored_total);
    histogram(f, "commit_seconds",
              "From the whole object on the disk to its durable row, in seconds; then comes Success.",
              &l->commit_s);
    whole(f, "refusals_total", "counter",
          "Connections, associations and presentation contexts that were refused.", l->refusals_total);
    if (l->tls_expires_ms != 0)
        whole(f, "tls_certificate_expires_timestamp_seconds", "gauge",
              "When our certificate for DICOM over TLS runs out, in seconds since 1970.",
              l->tls_expires_ms / 1000);
    whole(f, "workers", "gauge", "Worker processes.", l->workers);
    whole(f, "workers_busy", "gauge", "Worker processes that run a job.", l->workers_busy);
    whole(f, "worker_crashes_total", "counter", "Worker processes that ended unasked.",
          l->worker_crashes_total);
    whole(f, "jobs_done_total", "counter", "Jobs whose work was done.", l->jobs_done_total);
    whole(f, "deliveries_total", "counter", "Results delivered.", l->deliveries_total);
    whole(f, "delivery_failures_total", "counter", "Tries to deliver that failed.",
          l->delivery_failures_total);
    whole(f, "disk_room", "gauge", "0: enough; 1: fewer associations are taken; 2: nothing is received.",
          l->disk_level);
    fraction(f, "engine_seconds_total", "counter", "Seconds spent in the engine.", l->engine_seconds_total);
    whole(f, "engine_slices_total", "counter", "Slices the engine has seen.", l->engine_slices_total);
    histogram(f, "engine_slice_seconds", "Seconds of the engine for a slice, one value a job.", &l->slice_s);
}

/* Names of destinations are the administrator's own words, not a patient's. */
static void destinations(FILE *f, const srv_http_env *env)
{
    static const char *const results[] = {"delivered", "retry", "refused"};
    srv_http_circuit c[SRV_DESTINATIONS_MAX];
    const int32_t n = env->circuit == NULL ? 0 : env->config->n_destinations;
    family(f, "destination_tries_total", "counter", "Tries to deliver, by destination and result.");
    for (int32_t i = 0; i < n; i++) {
        const char *name = env->config->destinations[i].name;
        c[i] = (srv_http_circuit){0};
        (void)env->circuit(env->ctx, name, &c[i]);
        const int64_t counts[] = {c[i].delivered, c[i].retried, c[i].refused};
        for (int k = 0; k < 3; k++) {
            (void)fputs("msad_destination_tries_total{", f);
            label(f, "destination", name, "");
            label(f, "result", results[k], ",");
            (void)fprintf(f, "} %" PRId64 "\n", counts[k]);
        }
    }
    family(f, "destination_circuit", "gauge",
           "0: it is sent to; 1: it failed, and is left alone; 2: it is tried.");
    for (int32_t i = 0; i < n; i++) {
        (void)fputs("msad_destination_circuit{", f);
        label(f, "destination", env->config->destinations[i].name, "");
        (void)fprintf(f, "} %d\n", c[i].state);
    }
}

static void catalogue(FILE *f, const srv_store_counts *c)
{
    const int64_t now = srv_now_ms();
    whole(f, "catalogue_instances", "gauge", "Instances in the catalogue.", c->instances);
    whole(f, "catalogue_instances_rejected", "gauge", "Stored instances that cannot be used.", c->rejected);
    whole(f, "catalogue_series", "gauge", "Series in the catalogue.", c->series);
    whole(f, "catalogue_prompts", "gauge", "Prompts in the catalogue.", c->prompts);
    family(f, "jobs", "gauge", "Jobs by state.");
    for (int s = SRV_JOB_RECEIVING; s <= SRV_JOB_CANCELLED; s++)
        (void)fprintf(f, "msad_jobs{state=\"%s\"} %" PRId64 "\n", srv_job_state_name((srv_job_state)s),
                      c->jobs[s]);
    family(f, "jobs_oldest_age_seconds", "gauge",
           "Age of the oldest job of each state that is not final; 0: none.");
    for (int s = SRV_JOB_RECEIVING; s <= SRV_JOB_DELIVERING; s++)
        (void)fprintf(
            f, "msad_jobs_oldest_age_seconds{state=\"%s\"} %.15g\n", srv_job_state_name((srv_job_state)s),
            c->oldest_ms[s] > 0 && now > c->oldest_ms[s] ? (double)(now - c->oldest_ms[s]) / 1e3 : 0.0);
    whole(f, "deliveries_pending", "gauge", "Results that wait to be sent.", c->deliveries_pending);
    whole(f, "deliveries_dead", "gauge", "Results that were given up.", c->deliveries_dead);
    fraction(f, "queue_oldest_age_seconds", "gauge", "Age of the oldest queued job; 0 when none is queued.",
             c->oldest_queued_ms > 0 && now > c->oldest_queued_ms ? (double)(now - c->oldest_queued_ms) / 1e3
                                                                  : 0.0);
}

static void disk(FILE *f, const srv_blobs *blobs)
{
    int64_t free_bytes = 0, size_bytes = 0;
    if (!srv_blobs_space(blobs, &free_bytes, &size_bytes)) return;
    whole(f, "disk_free_bytes", "gauge", "Of the file system with storage.path: what may still be written.",
          free_bytes);
    whole(f, "disk_size_bytes", "gauge", "Of the file system with storage.path: all of it.", size_bytes);
}

/* The loop's figures are taken on the loop, before the store thread writes the page. */
void srv_get_metrics_live(srv_request *req)
{
    srv_http *h = req->http;
    srv_http_live live = {0};
    FILE *f = open_memstream(&req->body, &req->body_size);
    if (f == NULL) {
        srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        return;
    }
    h->env.live(h->env.ctx, &live);
    about(f, h, &live);
    live_figures(f, &live);
    destinations(f, &h->env);
    if (fclose(f) != 0) srv_reply_problem(&req->reply, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
}

SRV_IN_STORE(srv_get_metrics)
{
    srv_store_counts counts;
    char *text = NULL;
    size_t size = 0;
    memset(&counts, 0, sizeof counts);
    MSA_TRY(srv_store_count(store, &counts, err));
    FILE *f = open_memstream(&text, &size);
    if (f == NULL) return msa_fail(err, MSA_E_NOMEM, "out of memory");
    (void)fwrite(req->body, 1, req->body_size, f);
    catalogue(f, &counts);
    disk(f, req->blobs);
    if (fclose(f) != 0) {
        free(text);
        return msa_fail(err, MSA_E_NOMEM, "out of memory");
    }
    srv_reply_body(out, MHD_HTTP_OK, req->route->media, text, size);
    return MSA_OK;
}
