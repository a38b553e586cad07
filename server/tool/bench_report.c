/* Medians, the table and the JSON. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/tool/bench.h"

void srv_bench_add(srv_bench_times *t, srv_bench_moment began)
{
    const srv_bench_moment now = srv_bench_now();
    if (t->n == SRV_BENCH_REPEAT_MAX) return;
    t->ms[t->n] = now.ms - began.ms;
    t->cpu_ms[t->n++] = now.cpu_ms - began.cpu_ms;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double srv_bench_quantile(const double *values, int32_t n, double part)
{
    double sorted[SRV_BENCH_REPEAT_MAX];
    if (n == 0) return (double)NAN;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    const double at = part * (n - 1);
    const int32_t below = (int32_t)at;
    const int32_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

static double median(const srv_bench_times *t)
{
    return srv_bench_quantile(t->ms, t->n, 0.5);
}

static double gflops(double gmac, const srv_bench_times *t)
{
    return 2e3 * gmac / median(t);
}

static double gemm_gflops(const srv_bench_report *r, const srv_bench_phase *p)
{
    return gflops((double)r->gemm[0] * (double)r->gemm[1] * (double)r->gemm[2] * 1e-9, &p->gemm);
}

/* What the command of --beside is compared with. */
static const srv_bench_times *compared(const srv_bench_report *r)
{
    return r->training.step.n > 0 ? &r->training.step : &r->inference.encoder;
}

static double beside_ratio(const srv_bench_report *r)
{
    return srv_bench_quantile(r->beside_ms, r->n_beside, 0.5) / median(compared(r));
}

/* ---- the table ---- */

static void print_times(FILE *to, const char *what, const srv_bench_times *t)
{
    if (t->n == 0) return;
    (void)fprintf(to, "%-22s %10.2f %10.2f %10.2f %10.2f", what, median(t),
                  srv_bench_quantile(t->ms, t->n, 0), srv_bench_quantile(t->ms, t->n, 1),
                  srv_bench_quantile(t->cpu_ms, t->n, 0.5));
}

static void print_product(FILE *to, const srv_bench_report *r, const srv_bench_phase *p)
{
    print_times(to, "  OpenBLAS product", &p->gemm);
    (void)fprintf(to, "   %.1f GFLOP/s\n", gemm_gflops(r, p));
}

static void print_inference(FILE *to, const srv_bench_report *r)
{
    const srv_bench_phase *p = &r->inference;
    const double rate = gflops(r->encoder_gmac, &p->encoder);
    (void)fprintf(to, "inference, peak memory %.0f MiB\n", p->peak_mib);
    print_product(to, r, p);
    print_times(to, "  image encoder", &p->encoder);
    (void)fprintf(to, "   %.1f GFLOP/s, %.2f of the product's\n", rate, rate / gemm_gflops(r, p));
    print_times(to, "  mask decoder, a box", &p->decoder);
    (void)fputc('\n', to);
}

static void print_training(FILE *to, const srv_bench_report *r)
{
    const srv_bench_phase *p = &r->training;
    (void)fprintf(to, "training, %s%s, %.2f of %.2f M parameters, peak memory %.0f MiB\n",
                  r->arguments->set_name, r->arguments->recompute ? " with recomputing" : "",
                  (double)r->trained * 1e-6, (double)r->parameters * 1e-6, p->peak_mib);
    print_product(to, r, p);
    print_times(to, "  step, batch of one", &p->step);
    (void)fputc('\n', to);
}

static void print_beside(FILE *to, const srv_bench_report *r)
{
    (void)fprintf(to, "beside, peak memory %.0f MiB\n", r->beside_peak_mib);
    (void)fprintf(to, "%-22s", "  the command");
    for (int i = 0; i < 3; i++) {
        static const double parts[3] = {0.5, 0, 1};
        (void)fprintf(to, " %10.2f", srv_bench_quantile(r->beside_ms, r->n_beside, parts[i]));
    }
    (void)fprintf(to, "%11s   %.2f times the %s\n", "", beside_ratio(r),
                  r->training.step.n > 0 ? "training step" : "encoder");
}

void srv_bench_print(const srv_bench_report *r, FILE *to)
{
    (void)fprintf(to, "%s, image %d, %d threads, product %lld x %lld x %lld\n", r->name, r->image_size,
                  r->threads, (long long)r->gemm[0], (long long)r->gemm[1], (long long)r->gemm[2]);
    (void)fprintf(to, "%-22s %10s %10s %10s %10s\n", "milliseconds", "median", "least", "most", "all cores");
    if (r->training.step.n > 0) print_training(to, r);
    print_inference(to, r);
    if (r->n_beside > 0) print_beside(to, r);
}

/* ---- JSON ---- */

/* NaN is null: not measured, or not told by the system. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(round(x * 1000) / 1000) : json_null();
}

static int set_times(json_t *to, const char *name, const srv_bench_times *t)
{
    const double values[4] = {median(t), srv_bench_quantile(t->ms, t->n, 0),
                              srv_bench_quantile(t->ms, t->n, 1), srv_bench_quantile(t->cpu_ms, t->n, 0.5)};
    static const char *const ends[4] = {"ms", "ms_least", "ms_most", "cpu_ms"};
    char key[64];
    int bad = 0;
    for (size_t i = 0; i < 4 && t->n > 0; i++) {
        (void)snprintf(key, sizeof key, "%s_%s", name, ends[i]);
        bad |= json_object_set_new(to, key, number(values[i]));
    }
    return bad;
}

static int set_training(json_t *to, const srv_bench_report *r)
{
    const srv_bench_phase *p = &r->training;
    if (p->step.n == 0) return 0;
    int bad = set_times(to, "train_step", &p->step);
    bad |= json_object_set_new(to, "train_set", json_string(r->arguments->set_name));
    bad |= json_object_set_new(to, "train_recompute", json_boolean(r->arguments->recompute));
    bad |= json_object_set_new(to, "train_peak_rss_mib", number(p->peak_mib));
    bad |= json_object_set_new(to, "train_gemm_gflops", number(gemm_gflops(r, p)));
    bad |= json_object_set_new(to, "parameters", json_integer((json_int_t)r->parameters));
    return bad | json_object_set_new(to, "parameters_trained", json_integer((json_int_t)r->trained));
}

static int set_beside(json_t *to, const srv_bench_report *r)
{
    if (r->n_beside == 0) return 0;
    return json_object_set_new(to, "beside_ms", number(srv_bench_quantile(r->beside_ms, r->n_beside, 0.5))) |
           json_object_set_new(to, "beside_peak_rss_mib", number(r->beside_peak_mib)) |
           json_object_set_new(to, "beside_ratio", number(beside_ratio(r)));
}

static json_t *as_json(const srv_bench_report *r)
{
    const srv_bench_phase *p = &r->inference;
    json_t *to =
        json_pack("{s:s, s:i, s:i, s:i, s:[I,I,I]}", "model", r->name, "image_size", (int)r->image_size,
                  "threads", (int)r->threads, "repeat", (int)r->arguments->repeat, "gemm_shape",
                  (json_int_t)r->gemm[0], (json_int_t)r->gemm[1], (json_int_t)r->gemm[2]);
    if (!to) return NULL;
    int bad = set_times(to, "encoder", &p->encoder) | set_times(to, "decoder", &p->decoder);
    bad |= json_object_set_new(to, "gflops", number(gflops(r->encoder_gmac, &p->encoder)));
    bad |= json_object_set_new(to, "gemm_gflops", number(gemm_gflops(r, p)));
    bad |= json_object_set_new(to, "encoder_gmac", number(r->encoder_gmac));
    bad |= json_object_set_new(to, "peak_rss_mib", number(p->peak_mib));
    bad |= set_training(to, r) | set_beside(to, r);
    if (bad == 0) return to;
    json_decref(to);
    return NULL;
}

msa_status srv_bench_write_json(const srv_bench_report *r, const char *path, msa_error *err)
{
    json_t *json = as_json(r);
    if (!json) return msa_fail(err, MSA_E_NOMEM, "no memory for the results");
    const bool own = strcmp(path, "-") == 0;
    FILE *to = own ? stdout : fopen(path, "we");
    bool ok = to && json_dumpf(json, to, JSON_INDENT(2)) == 0 && fputc('\n', to) != EOF && fflush(to) == 0;
    const int why = errno;
    json_decref(json);
    if (to && !own) ok = fclose(to) == 0 && ok;
    if (!ok) return msa_fail(err, MSA_E_IO, "cannot write %.150s: %s", path, strerror(why));
    return MSA_OK;
}
