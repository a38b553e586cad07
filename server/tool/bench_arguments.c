#include <getopt.h>
#include <string.h>

#include "server/tool/bench.h"
#include "server/tool/tool.h"

const char srv_bench_usage[] =
    "usage: msa bench [--model MODEL] [--image-size N] [--adapters none|2d|3d] [--depth D] [--precision P]\n"
    "                 [--train] [--set SET] [--recompute] [--only PARTS] [--series N] [--threads N]\n"
    "                 [--repeat N] [--beside COMMAND] [--turns N] [--json [FILE]]\n"
    "\n"
    "Times the image encoder, the mask decoder (one box, 16 boxes on one image), a further box on a slice\n"
    "that is encoded already, a whole series and, with --train, a training step of one picture: medians,\n"
    "warm. Beside them stand what this machine's multiply-adds reach in registers, the share of it that the\n"
    "encoder reaches, and a plain product of OpenBLAS at the shape of the encoder's largest projection.\n"
    "\n"
    "  --model MODEL     with random weights: vit_b (default), vit_l, vit_h, vit_192 (of width 192),\n"
    "                    efficientsam_vit_t, efficientsam_vit_s, mobile_sam; a model file; \"default\", the\n"
    "                    bundled model\n"
    "  --image-size N    of random weights: a multiple of 16 from 64 to 2048; default 256\n"
    "  --adapters KIND   of random weights: none (default), 2d or 3d; a training step has adapters always\n"
    "  --depth D         slices that a 3d model is given at once; default 8, of a file what it says\n"
    "  --precision P     of the image encoder in inference: fp32 (default), fp16, bf16 or int8\n"
    "  --train           a training step as well: forward, backward, Adam; weights are random\n"
    "  --set SET         what trains: adapters (default), adapters+decoder or all\n"
    "  --recompute       less memory in training: blocks are computed again in backward\n"
    "  --only PARTS      some of train_step,encoder,decoder,decoder_16,cached_box,series\n"
    "  --series N        slices of the whole series; default 4, of a 3d model one stack\n"
    "  --threads N       engine threads, 1 to 64; default: one a core\n"
    "  --repeat N        measurements, 3 to 200; default: what fits into 10 seconds a part, 3 to 15\n"
    "  --beside COMMAND  runs a command in turns with the first part that is measured, in the order of\n"
    "                    --only's list here, and gives the ratio; its last line begins with its\n"
    "                    milliseconds and may go on: \"ms, N of all cores\"\n"
    "  --turns N         of the command, 1 to 200; default 3\n"
    "  --json [FILE]     the results as JSON, in FILE or instead of the table\n"
    "\n"
    "Exit codes: 0 done, 64 wrong arguments, 65 unusable input, 66 a file is missing or cannot be written,\n"
    "70 internal error, 130 cancelled.\n";

enum {
    OPT_MODEL = 1,
    OPT_IMAGE_SIZE,
    OPT_ADAPTERS,
    OPT_DEPTH,
    OPT_ONLY,
    OPT_SERIES,
    OPT_TRAIN,
    OPT_SET,
    OPT_RECOMPUTE,
    OPT_PRECISION,
    OPT_THREADS,
    OPT_REPEAT,
    OPT_BESIDE,
    OPT_TURNS,
    OPT_JSON,
    OPT_HELP
};

static const struct option options[] = {{"model", required_argument, NULL, OPT_MODEL},
                                        {"image-size", required_argument, NULL, OPT_IMAGE_SIZE},
                                        {"image", required_argument, NULL, OPT_IMAGE_SIZE},
                                        {"adapters", required_argument, NULL, OPT_ADAPTERS},
                                        {"depth", required_argument, NULL, OPT_DEPTH},
                                        {"only", required_argument, NULL, OPT_ONLY},
                                        {"series", required_argument, NULL, OPT_SERIES},
                                        {"train", no_argument, NULL, OPT_TRAIN},
                                        {"set", required_argument, NULL, OPT_SET},
                                        {"recompute", no_argument, NULL, OPT_RECOMPUTE},
                                        {"precision", required_argument, NULL, OPT_PRECISION},
                                        {"threads", required_argument, NULL, OPT_THREADS},
                                        {"repeat", required_argument, NULL, OPT_REPEAT},
                                        {"beside", required_argument, NULL, OPT_BESIDE},
                                        {"turns", required_argument, NULL, OPT_TURNS},
                                        {"json", optional_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_number(const char *option, const char *text, int32_t least, int32_t most, int32_t *out)
{
    long long number = 0;
    const int code = srv_tool_number("bench", option, text, least, most, &number);
    *out = (int32_t)number;
    return code;
}

static int take_image_size(srv_bench_arguments *a, const char *text)
{
    const int code = take_number("--image-size", text, 64, 2048, &a->image_size);
    if (code != 0 || a->image_size % 16 == 0) return code;
    return srv_tool_usage("bench", "--image-size takes a multiple of 16, not \"%.30s\"", text);
}

static int take_set(srv_bench_arguments *a, const char *text)
{
    static const struct {
        const char *name;
        msa_train_set set;
    } sets[] = {{"adapters", MSA_TRAIN_ADAPTERS},
                {"adapters+decoder", MSA_TRAIN_ADAPTERS_DECODER},
                {"all", MSA_TRAIN_ALL}};
    a->set_name = text;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strcmp(text, sets[i].name) == 0) {
            a->set = sets[i].set;
            return 0;
        }
    return srv_tool_usage("bench", "--set is adapters, adapters+decoder or all, not \"%.30s\"", text);
}

static int take_adapters(srv_bench_arguments *a, const char *text)
{
    static const char *const names[] = {
        [MSA_BENCHMARK_PLAIN] = "none", [MSA_BENCHMARK_2D] = "2d", [MSA_BENCHMARK_3D] = "3d"};
    for (int i = MSA_BENCHMARK_PLAIN; i <= MSA_BENCHMARK_3D; i++)
        if (strcmp(text, names[i]) == 0) {
            a->adapters = (msa_benchmark_adapters)i;
            return 0;
        }
    return srv_tool_usage("bench", "--adapters is none, 2d or 3d, not \"%.30s\"", text);
}

static bool take_part(srv_bench_arguments *a, const char *name, size_t length)
{
    for (int p = 0; p < SRV_BENCH_PARTS; p++) {
        const char *it = srv_bench_part_name((srv_bench_part)p);
        if (strlen(it) != length || strncmp(it, name, length) != 0) continue;
        a->part[p] = true;
        return true;
    }
    return false;
}

static int take_only(srv_bench_arguments *a, const char *text)
{
    memset(a->part, 0, sizeof a->part);
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        if (!take_part(a, at, length))
            return srv_tool_usage(
                "bench",
                "--only takes train_step, encoder, decoder, decoder_16, cached_box and series, not \"%.30s\"",
                at);
        at += length;
        if (*at == '\0') return 0;
    }
}

/* The file may be an argument of its own: there are no others that begin without a dash. */
static void take_json(srv_bench_arguments *a, int argc, char **argv)
{
    a->json = optarg ? optarg : "-";
    if (!optarg && optind < argc && (argv[optind][0] != '-' || argv[optind][1] == '\0'))
        a->json = argv[optind++];
}

static int take(srv_bench_arguments *a, int option, const char **only, int argc, char **argv)
{
    switch (option) {
    case OPT_MODEL:
        a->model = optarg;
        return 0;
    case OPT_IMAGE_SIZE:
        return take_image_size(a, optarg);
    case OPT_ADAPTERS:
        return take_adapters(a, optarg);
    case OPT_DEPTH:
        return take_number("--depth", optarg, 1, MSA_STACK_MAX, &a->depth);
    case OPT_ONLY:
        *only = optarg;
        return 0;
    case OPT_SERIES:
        return take_number("--series", optarg, 1, 1024, &a->series);
    case OPT_TRAIN:
        a->part[SRV_BENCH_TRAIN_STEP] = true;
        return 0;
    case OPT_SET:
        return take_set(a, optarg);
    case OPT_RECOMPUTE:
        a->recompute = true;
        return 0;
    case OPT_PRECISION:
        return srv_tool_precision("bench", optarg, &a->precision);
    case OPT_THREADS:
        return take_number("--threads", optarg, 1, 64, &a->threads);
    case OPT_REPEAT:
        return take_number("--repeat", optarg, 3, SRV_BENCH_REPEAT_MAX, &a->repeat);
    case OPT_BESIDE:
        a->beside = optarg;
        return 0;
    case OPT_TURNS:
        return take_number("--turns", optarg, 1, SRV_BENCH_REPEAT_MAX, &a->turns);
    case OPT_JSON:
        take_json(a, argc, argv);
        return 0;
    case OPT_HELP:
        a->help = true;
        return 0;
    default:
        return srv_tool_no_option("bench", option, argv);
    }
}

int srv_bench_arguments_read(srv_bench_arguments *a, int argc, char **argv)
{
    int option = 0;
    const char *only = NULL;
    *a = (srv_bench_arguments){
        .model = "vit_b", .image_size = 256, .turns = 3, .set = MSA_TRAIN_ADAPTERS, .set_name = "adapters"};
    for (int p = SRV_BENCH_ENCODER; p < SRV_BENCH_PARTS; p++)
        a->part[p] = true;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        const int code = take(a, option, &only, argc, argv);
        if (code != 0) return code;
        if (a->help) return 0;
    }
    if (optind < argc) return srv_tool_usage("bench", "\"%.60s\" is one argument too many", argv[optind]);
    if (a->beside && !*a->beside) return srv_tool_usage("bench", "--beside needs a command");
    return only ? take_only(a, only) : 0;
}
