#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "server/tool/eval.h"
#include "server/tool/tool.h"

const char srv_eval_usage[] =
    "usage: msa eval MODEL --data DIR [--adapter FILE] [--precision P] [--prompt KIND] [--whole] [--seed N]\n"
    "                [--threads N] [--json FILE] [--overlays DIR]\n"
    "       msa eval --baseline filled|otsu --data DIR [...]\n"
    "\n"
    "Segments every labelled case below DIR with prompts taken from its labels, and compares. MODEL is a\n"
    "file, or \"default\" for the bundled model, with its adapter for CT or MR where it has one.\n"
    "A case is a folder with a DICOM series and, in it or beside it, a SEG or RTSTRUCT that refers to it;\n"
    "or a folder with a NIfTI image, labels.nii.gz and, for names, labels.json.\n"
    "\n"
    "  --prompt KIND   box         tight boxes on every slice of the label (default)\n"
    "                  box0.75     those boxes moved and scaled to an IoU of 0.75 with themselves\n"
    "                  box0.5      ... of 0.5\n"
    "                  point1      a random point of the label on every slice of it\n"
    "                  point3      three of them\n"
    "                  middle-box  one tight box on the middle slice; the engine carries it on\n"
    "  --whole         one box a slice; otherwise each connected part of the label on it gets its own\n"
    "  --adapter FILE  an adapter trained on MODEL, for every case\n"
    "  --precision P   what the image encoder computes with: fp32 (default), fp16, bf16 or int8\n"
    "  --baseline M    no model: the boxes filled, or Otsu's threshold in them\n"
    "  --seed N        of what is random in the prompts; default 1\n"
    "  --json FILE     the results as JSON\n"
    "  --overlays DIR  pictures of the worst labels\n"
    "  --threads N     engine threads, 1 to 64; default: one a core\n"
    "\n"
    "With a prompt on every slice of the label, only those slices are asked about and compared. Dice and "
    "IoU\n"
    "are of the volume; \"slice\" is the mean Dice of the slices that hold label or result; HD95 is in mm.\n"
    "Labels under 300 voxels are listed but not averaged; every case counts the same in the mean of all.\n"
    "\n"
    "Exit codes: 0 done, 64 wrong arguments, 65 unusable input, 66 a file is missing or cannot be written,\n"
    "70 internal error, 130 cancelled.\n";

enum {
    OPT_DATA = 1,
    OPT_PROMPT,
    OPT_ADAPTER,
    OPT_PRECISION,
    OPT_BASELINE,
    OPT_SEED,
    OPT_JSON,
    OPT_OVERLAYS,
    OPT_THREADS,
    OPT_WHOLE,
    OPT_HELP
};

static const struct option options[] = {{"data", required_argument, NULL, OPT_DATA},
                                        {"prompt", required_argument, NULL, OPT_PROMPT},
                                        {"adapter", required_argument, NULL, OPT_ADAPTER},
                                        {"precision", required_argument, NULL, OPT_PRECISION},
                                        {"baseline", required_argument, NULL, OPT_BASELINE},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"json", required_argument, NULL, OPT_JSON},
                                        {"overlays", required_argument, NULL, OPT_OVERLAYS},
                                        {"threads", required_argument, NULL, OPT_THREADS},
                                        {"whole", no_argument, NULL, OPT_WHOLE},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_prompt(srv_eval_arguments *a, const char *text)
{
    a->prompt_name = text;
    if (msa_eval_prompt_named(text, &a->prompt)) return 0;
    return srv_tool_usage(
        "eval", "--prompt is box, box0.75, box0.5, point1, point3 or middle-box, not \"%.30s\"", text);
}

static int take_baseline(srv_eval_arguments *a, const char *text)
{
    a->baseline_name = text;
    a->baseline = strcmp(text, "otsu") == 0 ? MSA_EVAL_OTSU : MSA_EVAL_FILLED;
    if (a->baseline == MSA_EVAL_OTSU || strcmp(text, "filled") == 0) return 0;
    return srv_tool_usage("eval", "--baseline is filled or otsu, not \"%.30s\"", text);
}

static int take(srv_eval_arguments *a, int option, char **argv)
{
    long long number = 0;
    int code = 0;
    switch (option) {
    case OPT_DATA:
        a->data = optarg;
        return 0;
    case OPT_PROMPT:
        return take_prompt(a, optarg);
    case OPT_ADAPTER:
        a->adapter = optarg;
        return 0;
    case OPT_PRECISION:
        return srv_tool_precision("eval", optarg, &a->precision);
    case OPT_BASELINE:
        return take_baseline(a, optarg);
    case OPT_SEED:
        code = srv_tool_number("eval", "--seed", optarg, 0, LLONG_MAX, &number);
        a->seed = (uint64_t)number;
        return code;
    case OPT_JSON:
        a->json = optarg;
        return 0;
    case OPT_OVERLAYS:
        a->overlays = optarg;
        return 0;
    case OPT_THREADS:
        code = srv_tool_number("eval", "--threads", optarg, 1, 64, &number);
        a->threads = (int)number;
        return code;
    case OPT_WHOLE:
        a->whole = true;
        return 0;
    case OPT_HELP:
        a->help = true;
        return 0;
    default:
        return srv_tool_no_option("eval", option, argv);
    }
}

static int check(srv_eval_arguments *a, int argc, char **argv)
{
    const bool boxes =
        a->prompt == MSA_EVAL_BOX || a->prompt == MSA_EVAL_BOX75 || a->prompt == MSA_EVAL_BOX50;
    const int given = argc - optind;
    if (given > (a->baseline_name ? 0 : 1))
        return srv_tool_usage("eval", "\"%.60s\" is one argument too many",
                              argv[optind + (a->baseline_name ? 0 : 1)]);
    if (!a->baseline_name && given == 0)
        return srv_tool_usage("eval", "MODEL is missing: a file, or \"default\" for the bundled model");
    if (!a->data || !*a->data) return srv_tool_usage("eval", "--data DIR is missing");
    if (a->baseline_name && a->adapter)
        return srv_tool_usage("eval", "--baseline uses no model, so it takes no --adapter");
    if (a->baseline_name && !boxes)
        return srv_tool_usage("eval",
                              "--baseline needs a box on every slice: --prompt box, box0.75 or box0.5");
    if (given == 1) a->model = argv[optind];
    return 0;
}

int srv_eval_arguments_read(srv_eval_arguments *a, int argc, char **argv)
{
    int option = 0;
    *a = (srv_eval_arguments){.prompt = MSA_EVAL_BOX, .prompt_name = "box", .seed = 1};
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        const int code = take(a, option, argv);
        if (code != 0) return code;
        if (a->help) return 0;
    }
    return check(a, argc, argv);
}
