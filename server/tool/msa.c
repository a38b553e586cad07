/* msa: the model tool. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/tool/tool.h"

static const char usage[] =
    "msa " MSAD_VERSION " - segment CT and MR series from the command line\n"
    "\n"
    "usage: msa COMMAND [ARGUMENTS]\n"
    "\n"
    "  segment SERIES_DIR   boxes and a series in, DICOM-SEG and pictures out\n"
    "  train RECIPE         a recipe in, a model or an adapter out; goes on where it stopped\n"
    "  eval MODEL           labelled cases in; Dice, IoU and distances, pictures of the worst\n"
    "  bench                how long encoder, decoder and training step take on this machine\n"
    "  convert IN OUT       weights of SAM, MSA or MedSAM (.pth, safetensors) as a model of this program\n"
    "  inspect MODEL|SEG    a model's configuration, profile and hash; what is wrong with a segmentation\n"
    "  help                 this text\n"
    "  --version            the version\n"
    "\n"
    "\"msa COMMAND --help\" tells what a command takes.\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {{"segment", srv_tool_segment}, {"train", srv_tool_train},     {"eval", srv_tool_eval},
                {"bench", srv_tool_bench},     {"convert", srv_tool_convert}, {"inspect", srv_tool_inspect}};

int srv_tool_fail(const msa_error *err)
{
    (void)fprintf(stderr, "msa: %s\n", err->what);
    switch (err->status) {
    case MSA_E_NOT_FOUND:
    case MSA_E_IO:
        return SRV_EXIT_NO_INPUT;
    case MSA_E_INVALID:
    case MSA_E_PARSE:
    case MSA_E_UNSUPPORTED:
        return SRV_EXIT_DATA;
    case MSA_E_CANCELED:
        return SRV_EXIT_CANCELED;
    default:
        return SRV_EXIT_INTERNAL;
    }
}

int srv_tool_usage(const char *command, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fputs("msa: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fprintf(stderr, " (see \"msa%s%s --help\")\n", *command ? " " : "", command);
    va_end(args);
    return SRV_EXIT_USAGE;
}

int srv_tool_number(const char *command, const char *option, const char *text, long long least,
                    long long most, long long *out)
{
    char *end = NULL;
    *out = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0' && *out >= least && *out <= most) return 0;
    return srv_tool_usage(command, "%s takes a number from %lld to %lld, not \"%.30s\"", option, least, most,
                          text);
}

int srv_tool_no_option(const char *command, int returned, char *const argv[])
{
    const char *given = argv[optind - 1];
    if (returned == ':') return srv_tool_usage(command, "%.60s needs a value", given);
    return srv_tool_usage(command, "there is no option %.60s", given);
}

int srv_tool_precision(const char *command, const char *text, msa_precision *out)
{
    if (msa_precision_named(text, out)) return 0;
    return srv_tool_usage(command, "--precision is fp32, fp16, bf16 or int8, not \"%.30s\"", text);
}

static int is_any(const char *s, const char *a, const char *b, const char *c)
{
    return strcmp(s, a) == 0 || strcmp(s, b) == 0 || strcmp(s, c) == 0;
}

int main(int argc, char **argv)
{
    msa_log_set_level(MSA_LOG_WARN);
    if (argc < 2) {
        (void)fputs(usage, stderr);
        return SRV_EXIT_USAGE;
    }
    if (is_any(argv[1], "help", "--help", "-h")) return fputs(usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : 0;
    if (is_any(argv[1], "version", "--version", "-V"))
        return puts("msa " MSAD_VERSION) < 0 ? SRV_EXIT_NO_INPUT : 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    return srv_tool_usage("", "there is no command \"%.60s\"", argv[1]);
}
