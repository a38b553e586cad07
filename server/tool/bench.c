/* msa bench: how long the encoder, the decoder and a training step take, against a plain matrix product. */
#include "server/tool/bench.h"

#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/pool.h"
#include "engine/benchmark.h"
#include "engine/predictor.h"
#include "server/segment/segment.h"
#include "server/tool/running.h"
#include "server/tool/tool.h"

#define SEED         1
#define BESIDE_TURNS 3 /* a command takes seconds to begin, so it is not run as often */

static msa_status check_interrupt(msa_error *err)
{
    if (atomic_load(srv_running_interrupted())) return msa_fail(err, MSA_E_CANCELED, "interrupted");
    return MSA_OK;
}

/* After measurement i of n: the command has its turn after equal parts of them. */
static msa_status take_turn(srv_bench_report *r, int32_t i, int32_t n, msa_error *err)
{
    double peak = 0;
    const int32_t turns = n < BESIDE_TURNS ? n : BESIDE_TURNS;
    MSA_TRY(check_interrupt(err));
    if (!r->arguments->beside || (i + 1) * turns / n == i * turns / n) return MSA_OK;
    MSA_TRY(srv_bench_command(r->arguments->beside, &r->beside_ms[r->n_beside], &peak, err));
    r->n_beside++;
    r->beside_peak_mib = fmax(r->beside_peak_mib, peak);
    return MSA_OK;
}

static void time_gemm(msa_benchmark_gemm *g, srv_bench_times *to)
{
    const srv_bench_moment began = srv_bench_now();
    msa_benchmark_gemm_run(g);
    srv_bench_add(to, began);
}

static msa_status open_gemm(msa_benchmark_gemm **out, srv_bench_report *r, const msa_config *c,
                            msa_error *err)
{
    const int64_t side = c->image_size / c->patch;
    r->gemm[0] = side * side;
    r->gemm[1] = 3ll * c->dim;
    r->gemm[2] = c->dim;
    MSA_TRY(msa_benchmark_gemm_new(out, r->gemm[0], r->gemm[1], r->gemm[2], err));
    msa_benchmark_gemm_run(*out); /* touches the memory */
    return MSA_OK;
}

/* ---- training ---- */

static msa_status measure_training(srv_bench_report *r, const msa_config *base, msa_error *err)
{
    const srv_bench_arguments *a = r->arguments;
    const msa_benchmark_step_options o = {.set = a->set, .recompute = a->recompute};
    MSA_AUTO(msa_benchmark_gemm) gemm = NULL;
    MSA_AUTO(msa_benchmark_step) step = NULL;
    msa_train_report report;
    msa_config c = *base;
    c.adapters = true;
    c.pad_order = MSA_PAD_THEN_NORM;
    srv_bench_peak_reset();
    MSA_TRY(open_gemm(&gemm, r, &c, err));
    MSA_TRY(msa_benchmark_step_new(&step, &c, &o, err));
    r->parameters = msa_benchmark_step_parameters(step, false);
    r->trained = msa_benchmark_step_parameters(step, true);
    MSA_TRY(msa_benchmark_step_run(step, &report, err));
    for (int32_t i = 0; i < a->repeat; i++) {
        time_gemm(gemm, &r->training.gemm);
        const srv_bench_moment began = srv_bench_now();
        MSA_TRY(msa_benchmark_step_run(step, &report, err));
        srv_bench_add(&r->training.step, began);
        MSA_TRY(take_turn(r, i, a->repeat, err));
    }
    r->training.peak_mib = srv_bench_peak_mib();
    return MSA_OK;
}

/* ---- inference ---- */

typedef struct inference {
    msa_model *model;
    msa_predictor *predictor;
    float *image, *embedding, *logits, *iou;
} inference;

static void inference_clear(inference *k)
{
    free(k->iou);
    free(k->logits);
    free(k->embedding);
    free(k->image);
    msa_predictor_free(k->predictor);
    msa_model_free(k->model);
}

/* A preset is written to a file for as long as it takes to map it, as any model is. */
static msa_status load_preset(msa_model **out, const msa_config *c, msa_error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/msa-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    if (n < 0 || (size_t)n >= sizeof path) return msa_fail(err, MSA_E_INVALID, "TMPDIR is too long a path");
    const int fd = mkstemp(path);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot make a file in %.150s", path);
    (void)close(fd);
    msa_status status = msa_model_write_random(path, c, SEED, err);
    if (status == MSA_OK) status = msa_model_load(out, path, err);
    (void)unlink(path);
    return status;
}

static msa_status open_inference(inference *k, const msa_config *c, msa_error *err)
{
    const size_t S = (size_t)c->image_size;
    const size_t g = S / (size_t)c->patch;
    MSA_TRY(msa_predictor_new(&k->predictor, k->model, err));
    k->image = malloc(3 * S * S * sizeof *k->image);
    k->embedding = malloc(msa_embedding_floats(c) * sizeof *k->embedding);
    k->logits = malloc(16 * g * g * (size_t)c->mask_tokens * sizeof *k->logits);
    k->iou = malloc((size_t)c->mask_tokens * sizeof *k->iou);
    if (!k->image || !k->embedding || !k->logits || !k->iou)
        return msa_fail(err, MSA_E_NOMEM, "no memory for a picture");
    for (size_t i = 0; i < 3 * S * S; i++)
        k->image[i] = (float)(i % 97) / 48.0f - 1.0f;
    return MSA_OK;
}

static msa_status run_once(inference *k, const msa_config *c, srv_bench_phase *to, msa_error *err)
{
    const float S = (float)c->image_size;
    const float box[4] = {0.25f * S, 0.25f * S, 0.75f * S, 0.75f * S};
    const msa_prompt_set prompt = {.box = box};
    const srv_bench_moment began = srv_bench_now();
    MSA_TRY(msa_predictor_encode(k->predictor, k->image, k->embedding, err));
    if (to) srv_bench_add(&to->encoder, began);
    const srv_bench_moment between = srv_bench_now();
    MSA_TRY(msa_predictor_decode(k->predictor, k->embedding, &prompt, k->logits, k->iou, err));
    if (to) srv_bench_add(&to->decoder, between);
    return MSA_OK;
}

static msa_status measure_inference(srv_bench_report *r, inference *k, msa_error *err)
{
    const msa_config *c = msa_model_config(k->model);
    const int32_t repeat = r->arguments->repeat;
    MSA_AUTO(msa_benchmark_gemm) gemm = NULL;
    MSA_TRY(open_gemm(&gemm, r, c, err));
    MSA_TRY(open_inference(k, c, err));
    MSA_TRY(run_once(k, c, NULL, err));
    for (int32_t i = 0; i < repeat; i++) {
        time_gemm(gemm, &r->inference.gemm);
        MSA_TRY(run_once(k, c, &r->inference, err));
        if (r->arguments->train)
            MSA_TRY(check_interrupt(err));
        else
            MSA_TRY(take_turn(r, i, repeat, err));
    }
    r->encoder_gmac = msa_benchmark_encoder_gmac(c);
    r->inference.peak_mib = srv_bench_peak_mib();
    return MSA_OK;
}

/* ---- both ---- */

/* The training phase comes first and gives its memory back, so that each phase has a peak of its own. */
static msa_status measure(srv_bench_report *r, inference *k, msa_error *err)
{
    const srv_bench_arguments *a = r->arguments;
    char path[PATH_MAX];
    msa_config c;
    const bool preset = msa_benchmark_preset(&c, a->model, a->image_size, a->adapters);
    if (!preset) {
        MSA_TRY(srv_model_path(a->model, path, sizeof path, err));
        MSA_TRY(msa_model_load(&k->model, path, err));
        c = *msa_model_config(k->model);
    }
    (void)snprintf(r->name, sizeof r->name, "%s", c.name);
    r->image_size = c.image_size;
    r->threads = msa_threads_get();
    if (a->train) MSA_TRY(measure_training(r, &c, err));
    (void)malloc_trim(0);
    srv_bench_peak_reset();
    if (preset) MSA_TRY(load_preset(&k->model, &c, err));
    return measure_inference(r, k, err);
}

int srv_tool_bench(int argc, char **argv)
{
    __attribute__((cleanup(inference_clear))) inference k = {0};
    srv_bench_arguments a;
    static srv_bench_report report;
    msa_error err = MSA_ERROR_INIT;
    const int code = srv_bench_arguments_read(&a, argc, argv);
    if (code != 0) return code;
    if (a.help) return fputs(srv_bench_usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    srv_running_begin(a.threads);
    report.arguments = &a;
    if (measure(&report, &k, &err) != MSA_OK) return srv_tool_fail(&err);
    if (a.json && srv_bench_write_json(&report, a.json, &err) != MSA_OK) return srv_tool_fail(&err);
    if (!a.json || strcmp(a.json, "-") != 0) srv_bench_print(&report, stdout);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
