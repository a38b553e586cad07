/* What the subcommands of msa share. */
#ifndef SRV_TOOL_TOOL_H
#define SRV_TOOL_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/precision.h"

/* Exit codes: those of sysexits(3), 1 and 3 for results that are no failure. */
enum {
    SRV_EXIT_OK = 0,
    SRV_EXIT_DEFECTS = 1,    /* what was looked at is not as it should be */
    SRV_EXIT_NOTHING = 3,    /* it ran, and found nothing */
    SRV_EXIT_USAGE = 64,     /* wrong arguments */
    SRV_EXIT_DATA = 65,      /* input that cannot be used */
    SRV_EXIT_NO_INPUT = 66,  /* a file or folder is not there or cannot be read or written */
    SRV_EXIT_INTERNAL = 70,  /* a bug of ours, or no memory */
    SRV_EXIT_CANCELED = 130, /* Ctrl-C */
};

/* Prints "msa: <sentence>" to standard error and returns the exit code for it. */
int srv_tool_fail(const msa_error *err);
/* The same for wrong arguments: "msa: <sentence>" and where to find help. */
int srv_tool_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole number of an option. 0, or the exit code after the sentence has been printed; likewise the next. */
int srv_tool_number(const char *command, const char *option, const char *text, long long least,
                    long long most, long long *out);
/* The value of --precision. */
int srv_tool_precision(const char *command, const char *text, msa_precision *out);
/* What getopt_long() returned that is none of the options; of their list ":" is the first. The exit code. */
int srv_tool_no_option(const char *command, int returned, char *const argv[]);

/* With its parents; one that is there is fine. Errors: MSA_E_IO, MSA_E_INVALID. */
MSA_NODISCARD msa_status srv_tool_make_folder(const char *path, msa_error *err);

/* Whether a file is DICOM by its preamble; and what is wrong with a segmentation: prints, and returns the
 * exit code. series_dir: its images; NULL: it is looked at alone. */
bool srv_tool_is_dicom(const char *path);
int srv_tool_inspect_seg(const char *path, const char *series_dir);

/* Subcommands; argv[0] is the subcommand's name. They return the exit code. */
int srv_tool_segment(int argc, char **argv);
int srv_tool_inspect(int argc, char **argv);
int srv_tool_train(int argc, char **argv);
int srv_tool_eval(int argc, char **argv);
int srv_tool_bench(int argc, char **argv);
int srv_tool_convert(int argc, char **argv);

/* A line that is updated in place on a terminal, and now and then a plain line elsewhere. */
typedef struct srv_progress {
    const char *what;
    int64_t began_ms, shown_ms;
    int shown_percent; /* -1: nothing yet */
    int terminal;
} srv_progress;

void srv_progress_begin(srv_progress *p, const char *what);
/* An msa_progress_fn; ctx is the srv_progress. */
void srv_progress_show(void *ctx, int32_t done, int32_t total);
/* Ends the line with the time taken. */
void srv_progress_end(srv_progress *p, int32_t slices);
/* Clears what stands on the terminal, before an error is printed. */
void srv_progress_drop(srv_progress *p);

#endif
