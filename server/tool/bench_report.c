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

const char *srv_bench_part_name(srv_bench_part part)
{
    static const char *const names[SRV_BENCH_PARTS] = {"train_step", "encoder",    "decoder",
                                                       "decoder_16", "cached_box", "series"};
    return names[part];
}

static double encoder_gflops(const srv_bench_report *r)
{
    return 2e3 * r->encoder_gmac / median(&r->part[SRV_BENCH_ENCODER]);
}

static double gemm_gflops(const srv_bench_machine *m)
{
    return 2e-6 * (double)m->gemm_shape[0] * (double)m->gemm_shape[1] * (double)m->gemm_shape[2] /
           median(&m->gemm);
}

static double fma_gflops(const srv_bench_machine *m)
{
    return srv_bench_quantile(m->fma_gflops, m->n, 0.5);
}

/* The encoder's share of the peak in the processor time that it was given: what remains when others use the
 * machine as well. */
static double cores_share(const srv_bench_report *r)
{
    const srv_bench_times *t = &r->part[SRV_BENCH_ENCODER];
    const srv_bench_machine *m = &r->machine;
    return 2e3 * r->encoder_gmac * r->threads / srv_bench_quantile(t->cpu_ms, t->n, 0.5) /
           srv_bench_quantile(m->fma_gflops, m->n, 1);
}

static double beside_ratio(const srv_bench_report *r)
{
    return median(&r->beside) / median(&r->part[r->compared]);
}

/* ---- the table ---- */

static void print_values(FILE *to, const char *what, const double *values, int32_t n)
{
    (void)fprintf(to, "%-26s %10.2f %10.2f %10.2f", what, srv_bench_quantile(values, n, 0.5),
                  srv_bench_quantile(values, n, 0), srv_bench_quantile(values, n, 1));
}

static void print_times(FILE *to, const char *what, const srv_bench_times *t)
{
    print_values(to, what, t->ms, t->n);
    (void)fprintf(to, " %10.2f", srv_bench_quantile(t->cpu_ms, t->n, 0.5));
}

static void part_title(const srv_bench_report *r, srv_bench_part part, char title[64])
{
    switch (part) {
    case SRV_BENCH_TRAIN_STEP:
        (void)snprintf(title, 64, "training step");
        break;
    case SRV_BENCH_ENCODER:
        (void)snprintf(title, 64, r->slices > 1 ? "image encoder, %d slices" : "image encoder", r->slices);
        break;
    case SRV_BENCH_DECODER:
        (void)snprintf(title, 64, "mask decoder, a box");
        break;
    case SRV_BENCH_DECODER_16:
        (void)snprintf(title, 64, "mask decoder, %d boxes", SRV_BENCH_BOXES);
        break;
    case SRV_BENCH_CACHED_BOX:
        (void)snprintf(title, 64, "a box on a known slice");
        break;
    default:
        (void)snprintf(title, 64, "series of %d slices", r->series_slices);
    }
}

static void print_part(FILE *to, const srv_bench_report *r, srv_bench_part part)
{
    char title[64];
    part_title(r, part, title);
    print_times(to, title, &r->part[part]);
    (void)fprintf(to, " %8.0f MiB", r->part[part].peak_mib);
    if (part == SRV_BENCH_ENCODER && isfinite(r->encoder_gmac))
        (void)fprintf(to, "   %.1f GFLOP/s, %.0f %% of the peak", encoder_gflops(r),
                      100 * encoder_gflops(r) / fma_gflops(&r->machine));
    if (part == SRV_BENCH_TRAIN_STEP)
        (void)fprintf(to, "   %s%s, %.2f of %.2f M parameters", r->arguments->set_name,
                      r->arguments->recompute ? " with recomputing" : "", (double)r->trained * 1e-6,
                      (double)r->parameters * 1e-6);
    (void)fputc('\n', to);
}

static void print_machine(FILE *to, const srv_bench_machine *m)
{
    print_times(to, "OpenBLAS product", &m->gemm);
    (void)fprintf(to, " %12s   %.1f GFLOP/s, %lld x %lld x %lld\n", "", gemm_gflops(m),
                  (long long)m->gemm_shape[0], (long long)m->gemm_shape[1], (long long)m->gemm_shape[2]);
    (void)fprintf(to, "%-26s %10.1f %10.1f %10.1f\n", "peak, fp32 GFLOP/s", fma_gflops(m),
                  srv_bench_quantile(m->fma_gflops, m->n, 0), srv_bench_quantile(m->fma_gflops, m->n, 1));
}

static void print_beside(FILE *to, const srv_bench_report *r)
{
    char title[64];
    part_title(r, r->compared, title);
    print_times(to, "beside", &r->beside);
    (void)fprintf(to, " %8.0f MiB   %.2f times the %s\n", r->beside.peak_mib, beside_ratio(r), title);
}

void srv_bench_print(const srv_bench_report *r, FILE *to)
{
    (void)fprintf(to, "%s, image %d, %s, %d threads, peak memory %.0f MiB\n", r->name, r->image_size,
                  msa_precision_name(r->arguments->precision), r->threads, r->peak_mib);
    (void)fprintf(to, "%-26s %10s %10s %10s %10s %12s\n", "milliseconds", "median", "least", "most",
                  "all cores", "peak memory");
    for (int p = 0; p < SRV_BENCH_PARTS; p++)
        if (r->part[p].n > 0) print_part(to, r, (srv_bench_part)p);
    if (r->beside.n > 0) print_beside(to, r);
    print_machine(to, &r->machine);
}

/* ---- JSON ---- */

/* NaN is null: not measured, or not told by the system. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(round(x * 1000) / 1000) : json_null();
}

static int set(json_t *to, const char *key, double x)
{
    return json_object_set_new(to, key, number(x));
}

static int set_times(json_t *to, const char *name, const srv_bench_times *t)
{
    const double values[5] = {median(t), srv_bench_quantile(t->ms, t->n, 0),
                              srv_bench_quantile(t->ms, t->n, 1), srv_bench_quantile(t->cpu_ms, t->n, 0.5),
                              t->peak_mib};
    static const char *const ends[5] = {"ms", "ms_least", "ms_most", "cpu_ms", "peak_rss_mib"};
    char key[64];
    int bad = 0;
    for (size_t i = 0; i < 5 && t->n > 0; i++) {
        (void)snprintf(key, sizeof key, "%s_%s", name, ends[i]);
        bad |= set(to, key, values[i]);
    }
    return bad;
}

static int set_training(json_t *to, const srv_bench_report *r)
{
    if (r->part[SRV_BENCH_TRAIN_STEP].n == 0) return 0;
    return json_object_set_new(to, "train_set", json_string(r->arguments->set_name)) |
           json_object_set_new(to, "train_recompute", json_boolean(r->arguments->recompute)) |
           json_object_set_new(to, "parameters", json_integer((json_int_t)r->parameters)) |
           json_object_set_new(to, "parameters_trained", json_integer((json_int_t)r->trained));
}

static int set_encoder(json_t *to, const srv_bench_report *r)
{
    if (r->part[SRV_BENCH_ENCODER].n == 0) return 0;
    return json_object_set_new(to, "slices", json_integer(r->slices)) |
           set(to, "encoder_gmac", r->encoder_gmac) | set(to, "gflops", encoder_gflops(r)) |
           set(to, "fma_peak_share_of_cores", cores_share(r)) |
           set(to, "fma_peak_share", encoder_gflops(r) / fma_gflops(&r->machine));
}

static int set_beside(json_t *to, const srv_bench_report *r)
{
    if (r->beside.n == 0) return 0;
    return json_object_set_new(to, "beside_part", json_string(srv_bench_part_name(r->compared))) |
           set_times(to, "beside", &r->beside) | set(to, "beside_ratio", beside_ratio(r));
}

static json_t *as_json(const srv_bench_report *r)
{
    const srv_bench_machine *m = &r->machine;
    json_t *to = json_pack("{s:s, s:s, s:i, s:i, s:[I,I,I]}", "model", r->name, "precision",
                           msa_precision_name(r->arguments->precision), "image_size", (int)r->image_size,
                           "threads", (int)r->threads, "gemm_shape", (json_int_t)m->gemm_shape[0],
                           (json_int_t)m->gemm_shape[1], (json_int_t)m->gemm_shape[2]);
    if (!to) return NULL;
    int bad = set(to, "peak_rss_mib", r->peak_mib) | set(to, "fma_peak_gflops", fma_gflops(m)) |
              set(to, "gemm_gflops", gemm_gflops(m));
    for (int p = 0; p < SRV_BENCH_PARTS; p++)
        bad |= set_times(to, srv_bench_part_name((srv_bench_part)p), &r->part[p]);
    if (r->part[SRV_BENCH_SERIES].n > 0)
        bad |= json_object_set_new(to, "series_slices", json_integer(r->series_slices));
    bad |= set_encoder(to, r) | set_training(to, r) | set_beside(to, r);
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
