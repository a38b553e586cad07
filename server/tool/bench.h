/* msa bench, part by part: its arguments, measuring, what it prints. */
#ifndef SRV_TOOL_BENCH_H
#define SRV_TOOL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/training.h"

enum { SRV_BENCH_REPEAT_MAX = 200 };

typedef struct srv_bench_arguments {
    const char *model; /* a preset, a file or "default" */
    const char *beside;
    const char *json;   /* NULL: the table alone; "-": standard output, and no table */
    int32_t image_size; /* of a preset */
    int32_t repeat, threads;
    bool adapters; /* of a preset */
    bool train, recompute;
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
} srv_bench_times;

typedef struct srv_bench_moment {
    double ms, cpu_ms;
} srv_bench_moment;

srv_bench_moment srv_bench_now(void);
/* What has passed since then. */
void srv_bench_add(srv_bench_times *t, srv_bench_moment began);
/* The value that this part of n is below: 0 the least, 0.5 the median, 1 the greatest. NaN of none. */
double srv_bench_quantile(const double *values, int32_t n, double part);

/* What was measured for inference or for training; the product runs in turns with it. */
typedef struct srv_bench_phase {
    srv_bench_times gemm, encoder, decoder, step;
    double peak_mib; /* of the process while it ran; NaN where the system does not tell */
} srv_bench_phase;

typedef struct srv_bench_report {
    const srv_bench_arguments *arguments;
    char name[64];
    int32_t image_size, threads;
    int64_t gemm[3]; /* M, N, K */
    double encoder_gmac;
    int64_t parameters, trained; /* of the step */
    srv_bench_phase inference, training;
    double beside_ms[SRV_BENCH_REPEAT_MAX], beside_peak_mib;
    int32_t n_beside; /* 0: no command */
} srv_bench_report;

void srv_bench_print(const srv_bench_report *r, FILE *to);
/* Errors: MSA_E_IO, MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_bench_write_json(const srv_bench_report *r, const char *path, msa_error *err);

/**
 * Runs a command with the shell: what it prints must end with a line that begins with a number, milliseconds.
 * peak_mib: of its greatest process. Errors: MSA_E_IO (it cannot be run), MSA_E_PARSE (it fails or prints no
 * such line).
 */
MSA_NODISCARD msa_status srv_bench_command(const char *command, double *ms, double *peak_mib, msa_error *err);
/* The peak of this process's memory, counted from the last reset on where the system allows that. */
double srv_bench_peak_mib(void);
void srv_bench_peak_reset(void);

#endif
