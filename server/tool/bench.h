/* msa bench, part by part: its arguments, measuring, what it prints. */
#ifndef SRV_TOOL_BENCH_H
#define SRV_TOOL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/benchmark.h"
#include "engine/precision.h"

enum { SRV_BENCH_REPEAT_MAX = 200, SRV_BENCH_BOXES = 16, SRV_BENCH_SERIES_SLICES = 4 };

/* In the order in which they are measured: training gives its memory back before the rest begins. */
typedef enum srv_bench_part {
    SRV_BENCH_TRAIN_STEP,
    SRV_BENCH_ENCODER,
    SRV_BENCH_DECODER,
    SRV_BENCH_DECODER_16,
    SRV_BENCH_CACHED_BOX, /* a further box on a slice that is encoded already, as msa_segment() does it */
    SRV_BENCH_SERIES,
    SRV_BENCH_PARTS,
} srv_bench_part;

/* encoder, decoder, ...: as --only and the JSON have them. */
const char *srv_bench_part_name(srv_bench_part part);

typedef struct srv_bench_arguments {
    const char *model; /* a preset, a file or "default" */
    const char *beside;
    const char *json;        /* NULL: the table alone; "-": standard output, and no table */
    int32_t image_size;      /* of a preset */
    int32_t repeat;          /* 0: as often as there is time for */
    msa_precision precision; /* of inference */
    int32_t turns; /* of the command of --beside: it takes seconds to begin, so it is not run as often */
    int32_t threads;
    int32_t depth;  /* slices of a stack; 0: the model's */
    int32_t series; /* slices of the whole series; 0: a stack of a model that sees several, else 4 */
    msa_benchmark_adapters adapters; /* of a preset */
    bool part[SRV_BENCH_PARTS];
    bool recompute;
    msa_train_set set;
    const char *set_name;
    bool help;
} srv_bench_arguments;

extern const char srv_bench_usage[];
/* Returns 0, or the exit code after the sentence has been printed. */
int srv_bench_arguments_read(srv_bench_arguments *a, int argc, char **argv);

/* Milliseconds of one thing, as often as it was measured: on the clock, and of all processors together, which
 * says more when others use them as well. */
typedef struct srv_bench_times {
    double ms[SRV_BENCH_REPEAT_MAX], cpu_ms[SRV_BENCH_REPEAT_MAX];
    int32_t n; /* 0: not measured */
    double peak_mib;
} srv_bench_times;

typedef struct srv_bench_moment {
    double ms, cpu_ms;
} srv_bench_moment;

srv_bench_moment srv_bench_now(void);
/* What has passed since then. */
void srv_bench_add(srv_bench_times *t, srv_bench_moment began);
/* The value that this part of n is below: 0 the least, 0.5 the median, 1 the greatest. NaN of none. */
double srv_bench_quantile(const double *values, int32_t n, double part);

/* What this machine can do, measured in turns with what is compared with it. */
typedef struct srv_bench_machine {
    double fma_gflops[SRV_BENCH_REPEAT_MAX]; /* multiply-adds in registers */
    int32_t n;
    srv_bench_times gemm;  /* a plain matrix product */
    int64_t gemm_shape[3]; /* M, N, K */
} srv_bench_machine;

typedef struct srv_bench_report {
    const srv_bench_arguments *arguments;
    msa_config config;
    char name[64];
    int32_t image_size, threads;
    int32_t slices;        /* that the encoder takes at once */
    int32_t series_slices; /* of the whole series */
    double encoder_gmac;
    int64_t parameters, trained; /* of the step */
    srv_bench_times part[SRV_BENCH_PARTS];
    srv_bench_machine machine; /* beside the encoder, or whatever was measured first */
    srv_bench_part compared;   /* what the command of --beside is compared with */
    double peak_mib;           /* of everything, loading included */
    srv_bench_times beside;    /* n 0: no command; cpu_ms NaN where it does not say */
} srv_bench_report;

/* One thing to be timed; it must do the same each time. */
typedef msa_status srv_bench_run(void *ctx, msa_error *err);
/**
 * Runs it once to warm up, which gives the part's peak of memory, and then as often as the arguments say,
 * with the machine's own rates and the command of --beside in turns. Errors: those of `run`; MSA_E_CANCELED.
 */
MSA_NODISCARD msa_status srv_bench_measure(srv_bench_report *r, srv_bench_part part, srv_bench_run *run,
                                           void *ctx, msa_error *err);
/* Every part but the training step. path: the model's file; NULL: r->config, with random weights. */
MSA_NODISCARD msa_status srv_bench_inference(srv_bench_report *r, const char *path, msa_error *err);

void srv_bench_print(const srv_bench_report *r, FILE *to);
/* Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_bench_write_json(const srv_bench_report *r, const char *path, msa_error *err);

/**
 * Runs a command with the shell: what it prints must end with a line that begins with a number, milliseconds,
 * perhaps followed by " ms, N of all cores": ms[0] and ms[1], else NaN. peak_mib: of its greatest process.
 * Errors: MSA_E_IO (it cannot be run), MSA_E_PARSE (it fails or prints no such line).
 */
MSA_NODISCARD msa_status srv_bench_command(const char *command, double ms[2], double *peak_mib,
                                           msa_error *err);
/* The peak of this process's memory, counted from the last reset on where the system allows that. */
double srv_bench_peak_mib(void);
void srv_bench_peak_reset(void);

#endif
