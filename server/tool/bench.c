/* msa bench: how long the parts of the engine take, against what this machine can do and another program. */
#include "server/tool/bench.h"

#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <string.h>

#include "engine/base/pool.h"
#include "engine/model.h"
#include "server/segment/models.h"
#include "server/tool/running.h"
#include "server/tool/tool.h"

/* Where no number is given: as often as fits into this time, within these bounds. */
#define REPEAT_LEAST 3
#define REPEAT_MOST  15
#define REPEAT_MS    10e3

static msa_status check_interrupt(msa_error *err)
{
    if (atomic_load(srv_running_interrupted())) return msa_fail(err, MSA_E_CANCELED, "interrupted");
    return MSA_OK;
}

static int32_t repeats(const srv_bench_arguments *a, double ms)
{
    if (a->repeat > 0) return a->repeat;
    const double fit = REPEAT_MS / fmax(ms, 1e-3);
    return fit < REPEAT_LEAST ? REPEAT_LEAST : fit > REPEAT_MOST ? REPEAT_MOST : (int32_t)fit;
}

/* After measurement i of n: the command has its turn after equal parts of them. */
static msa_status take_turn(srv_bench_report *r, srv_bench_part part, int32_t i, int32_t n, msa_error *err)
{
    double ms[2], peak = 0;
    srv_bench_times *t = &r->beside;
    const int32_t turns = n < r->arguments->turns ? n : r->arguments->turns;
    MSA_TRY(check_interrupt(err));
    if (!r->arguments->beside || part != r->compared || (i + 1) * turns / n == i * turns / n) return MSA_OK;
    MSA_TRY(srv_bench_command(r->arguments->beside, ms, &peak, err));
    t->ms[t->n] = ms[0];
    t->cpu_ms[t->n++] = ms[1];
    t->peak_mib = fmax(t->peak_mib, peak);
    return MSA_OK;
}

/* ---- the machine ---- */

static msa_status open_product(msa_benchmark_gemm **out, srv_bench_report *r, const msa_config *c,
                               msa_error *err)
{
    const int64_t side = c->image_size / c->patch;
    int64_t *shape = r->machine.gemm_shape;
    shape[0] = side * side;
    shape[1] = 3ll * c->dim;
    shape[2] = c->dim;
    MSA_TRY(msa_benchmark_gemm_new(out, shape[0], shape[1], shape[2], err));
    msa_benchmark_gemm_run(*out); /* touches the memory */
    return MSA_OK;
}

static void measure_machine(srv_bench_machine *m, msa_benchmark_gemm *product)
{
    m->fma_gflops[m->n++] = msa_benchmark_fma_peak();
    const srv_bench_moment began = srv_bench_now();
    msa_benchmark_gemm_run(product);
    srv_bench_add(&m->gemm, began);
}

/* ---- one part ---- */

/* The part that the machine's own rates are measured with. */
static srv_bench_part beside_machine(const srv_bench_arguments *a)
{
    srv_bench_part first = SRV_BENCH_TRAIN_STEP;
    while (!a->part[first])
        first++;
    return a->part[SRV_BENCH_ENCODER] ? SRV_BENCH_ENCODER : first;
}

static void note_peak(srv_bench_report *r)
{
    r->peak_mib = fmax(r->peak_mib, srv_bench_peak_mib());
}

msa_status srv_bench_measure(srv_bench_report *r, srv_bench_part part, srv_bench_run *run, void *ctx,
                             msa_error *err)
{
    srv_bench_times *times = &r->part[part];
    msa_benchmark_gemm *product = NULL;
    srv_bench_moment began = srv_bench_now();
    msa_status status = MSA_OK;
    if (!r->arguments->part[part]) return MSA_OK;
    note_peak(r);
    srv_bench_peak_reset();
    MSA_TRY(run(ctx, err));
    times->peak_mib = srv_bench_peak_mib();
    note_peak(r);
    const int32_t n = repeats(r->arguments, srv_bench_now().ms - began.ms);
    if (part == beside_machine(r->arguments)) MSA_TRY(open_product(&product, r, &r->config, err));
    for (int32_t i = 0; i < n && status == MSA_OK; i++) {
        if (product) measure_machine(&r->machine, product);
        began = srv_bench_now();
        status = run(ctx, err);
        srv_bench_add(times, began);
        if (status == MSA_OK) status = take_turn(r, part, i, n, err);
    }
    msa_benchmark_gemm_free(product);
    srv_bench_peak_reset(); /* the product's memory is nobody's */
    return status;
}

static msa_status run_step(void *ctx, msa_error *err)
{
    msa_train_report report;
    return msa_benchmark_step_run(ctx, &report, err);
}

static msa_status measure_training(srv_bench_report *r, msa_error *err)
{
    const msa_benchmark_step_options o = {.set = r->arguments->set, .recompute = r->arguments->recompute};
    MSA_AUTO(msa_benchmark_step) step = NULL;
    msa_config c = r->config;
    if (!r->arguments->part[SRV_BENCH_TRAIN_STEP]) return MSA_OK;
    c.adapters = true;
    c.pad_order = MSA_PAD_THEN_NORM;
    MSA_TRY(msa_benchmark_step_new(&step, &c, &o, err));
    r->parameters = msa_benchmark_step_parameters(step, false);
    r->trained = msa_benchmark_step_parameters(step, true);
    return srv_bench_measure(r, SRV_BENCH_TRAIN_STEP, run_step, step, err);
}

/* ---- all of them ---- */

static bool measures_inference(const srv_bench_arguments *a)
{
    for (int p = SRV_BENCH_TRAIN_STEP + 1; p < SRV_BENCH_PARTS; p++)
        if (a->part[p]) return true;
    return false;
}

/* A file is opened twice, so that training and inference have the memory to themselves. */
static msa_status measure(srv_bench_report *r, msa_error *err)
{
    const srv_bench_arguments *a = r->arguments;
    char path[PATH_MAX] = "";
    const bool preset = msa_benchmark_preset(&r->config, a->model, a->image_size, a->adapters,
                                             a->depth > 0 ? a->depth : MSA_DEPTH_SLICES);
    if (!preset) {
        MSA_AUTO(msa_model) model = NULL;
        MSA_TRY(srv_model_path(a->model, path, sizeof path, err));
        MSA_TRY(msa_model_load_in(&model, path, a->precision, err));
        r->config = *msa_model_config(model);
    }
    (void)snprintf(r->name, sizeof r->name, "%s", r->config.name);
    r->image_size = r->config.image_size;
    r->threads = msa_threads_get();
    r->compared = SRV_BENCH_TRAIN_STEP;
    while (!a->part[r->compared])
        r->compared++;
    MSA_TRY(measure_training(r, err));
    note_peak(r);
    (void)malloc_trim(0);
    srv_bench_peak_reset();
    return measures_inference(a) ? srv_bench_inference(r, preset ? NULL : path, err) : MSA_OK;
}

int srv_tool_bench(int argc, char **argv)
{
    srv_bench_arguments a;
    static srv_bench_report report;
    msa_error err = MSA_ERROR_INIT;
    const int code = srv_bench_arguments_read(&a, argc, argv);
    if (code != 0) return code;
    if (a.help) return fputs(srv_bench_usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    srv_running_begin(a.threads);
    report.arguments = &a;
    if (measure(&report, &err) != MSA_OK) return srv_tool_fail(&err);
    if (a.json && srv_bench_write_json(&report, a.json, &err) != MSA_OK) return srv_tool_fail(&err);
    if (!a.json || strcmp(a.json, "-") != 0) srv_bench_print(&report, stdout);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
