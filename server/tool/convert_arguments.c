#include "server/tool/convert_arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/tool/tool.h"

static const char usage_begin[] =
    "usage: msa convert IN OUT [--profile NAME] [--base FILE] [--adapter] [--half] [OPTIONS]\n"
    "\n"
    "Reads weights that others made, a checkpoint of torch.save() (.pth, .pt) or safetensors, and writes a\n"
    "model file for msa and msad. Nothing in IN is executed. What names and shapes tell is found out;\n"
    "what they do not, a profile says:\n"
    "\n";

static const char usage_end[] =
    "  base           whatever --base has, a model of this program\n"
    "\n"
    "  --base FILE    where the tensors come from that IN lacks: SAM itself, for a file of adapters\n"
    "  --adapter      write what differs from the base, a model of this program, as an adapter for it\n"
    "  --half         half precision: a file of half the size\n"
    "  --zero-tables  relative positions of zero: what MSA since 2024 makes of SAM's, for its files of "
    "adapters\n"
    "  --prefix TEXT  only tensors whose names begin so, where a file holds several models\n"
    "  --drop-unknown leave out parts of the network that are not known instead of refusing them\n"
    "  --name, --model-version TEXT   what results and `msa inspect` call the model\n"
    "\n"
    "Settings, instead of what was found or what the profile says:\n"
    "  --image-size N           positions and relative tables are resized when the model is loaded\n"
    "  --input-norm NAME        sam, unit, medsam or sam_on_unit       --geometry NAME   longest_side or "
    "stretch\n"
    "  --point-order xy|yx      of clicks                              --mask-select NAME   sam or first\n"
    "  --depth-grouping NAME    none, volume or runs                   --depth-fold NAME   line or grid\n"
    "  --depth-chunk N          slices of a run, as in training; 0: all   --depth-slices N\n"
    "  --classes N              of a model that marks several at once\n"
    "  --heads N  --window N  --global-blocks I,J,...  --decoder-heads N\n"
    "  --decoder-wiring NAME    sam or esam                            --pad-order NAME\n"
    "  --adapter-act NAME       gelu or relu                           --decoder-adapter-act NAME\n"
    "  --adapter-mlp-scale X  --lora-alpha X  --block-norm-eps X  --crop-margin X\n"
    "\n"
    "Exit codes: 0 done, 64 wrong arguments, 65 unusable input, 66 a file is missing or cannot be written,\n"
    "70 internal error.\n";

enum {
    OPT_PROFILE = 1,
    OPT_BASE,
    OPT_ADAPTER,
    OPT_HALF,
    OPT_PREFIX,
    OPT_ZERO,
    OPT_DROP,
    OPT_POINT_ORDER,
    OPT_SET,
    OPT_HELP
};

/* Those with OPT_SET set the key that their name is, but for underscores. */
static const struct option options[] = {{"profile", required_argument, NULL, OPT_PROFILE},
                                        {"base", required_argument, NULL, OPT_BASE},
                                        {"adapter", no_argument, NULL, OPT_ADAPTER},
                                        {"half", no_argument, NULL, OPT_HALF},
                                        {"prefix", required_argument, NULL, OPT_PREFIX},
                                        {"zero-tables", no_argument, NULL, OPT_ZERO},
                                        {"drop-unknown", no_argument, NULL, OPT_DROP},
                                        {"point-order", required_argument, NULL, OPT_POINT_ORDER},
                                        {"name", required_argument, NULL, OPT_SET},
                                        {"model-version", required_argument, NULL, OPT_SET},
                                        {"image-size", required_argument, NULL, OPT_SET},
                                        {"input-norm", required_argument, NULL, OPT_SET},
                                        {"geometry", required_argument, NULL, OPT_SET},
                                        {"mask-select", required_argument, NULL, OPT_SET},
                                        {"depth-grouping", required_argument, NULL, OPT_SET},
                                        {"depth-fold", required_argument, NULL, OPT_SET},
                                        {"depth-chunk", required_argument, NULL, OPT_SET},
                                        {"depth-slices", required_argument, NULL, OPT_SET},
                                        {"classes", required_argument, NULL, OPT_SET},
                                        {"heads", required_argument, NULL, OPT_SET},
                                        {"window", required_argument, NULL, OPT_SET},
                                        {"global-blocks", required_argument, NULL, OPT_SET},
                                        {"decoder-heads", required_argument, NULL, OPT_SET},
                                        {"decoder-wiring", required_argument, NULL, OPT_SET},
                                        {"pad-order", required_argument, NULL, OPT_SET},
                                        {"adapter-act", required_argument, NULL, OPT_SET},
                                        {"decoder-adapter-act", required_argument, NULL, OPT_SET},
                                        {"adapter-mlp-scale", required_argument, NULL, OPT_SET},
                                        {"lora-alpha", required_argument, NULL, OPT_SET},
                                        {"block-norm-eps", required_argument, NULL, OPT_SET},
                                        {"crop-margin", required_argument, NULL, OPT_SET},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

int srv_convert_print_usage(void)
{
    const char *name = NULL, *meaning = NULL;
    (void)fputs(usage_begin, stdout);
    for (int32_t i = 0; (name = msa_convert_profile(i, &meaning)) != NULL; i++)
        (void)printf("  %-14s %s\n", name, meaning);
    return fputs(usage_end, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
}

static int add_setting(srv_convert_arguments *a, const char *key, const char *value)
{
    msa_error err = MSA_ERROR_INIT;
    const msa_convert_setting setting = {key, value};
    if (msa_convert_check_setting(&setting, &err) != MSA_OK) return srv_tool_usage("convert", "%s", err.what);
    a->settings[a->options.n_settings++] = setting;
    return 0;
}

/* "image-size" to "image_size", in a buffer that lives as long as the program. */
static const char *key_of(int option)
{
    static char keys[N_OPTIONS][32];
    char *key = keys[option];
    if (strcmp(options[option].name, "model-version") == 0) return "version";
    (void)snprintf(key, sizeof keys[0], "%s", options[option].name);
    for (char *p = key; *p != '\0'; p++)
        if (*p == '-') *p = '_';
    return key;
}

static int set_point_order(srv_convert_arguments *a, const char *text)
{
    if (strcmp(text, "xy") != 0 && strcmp(text, "yx") != 0)
        return srv_tool_usage("convert", "--point-order is xy or yx, not \"%.30s\"", text);
    return add_setting(a, "point_order_yx", strcmp(text, "yx") == 0 ? "true" : "false");
}

static int set_profile(srv_convert_arguments *a, const char *text)
{
    const char *name = NULL, *meaning = NULL;
    a->options.profile = text;
    if (strcmp(text, "base") == 0) return 0;
    for (int32_t i = 0; (name = msa_convert_profile(i, &meaning)) != NULL; i++)
        if (strcmp(name, text) == 0) return 0;
    return srv_tool_usage("convert", "there is no profile \"%.40s\"", text);
}

static int take(srv_convert_arguments *a, int option, int index, char **argv)
{
    switch (option) {
    case OPT_PROFILE:
        return set_profile(a, optarg);
    case OPT_BASE:
        a->options.base = optarg;
        return 0;
    case OPT_ADAPTER:
        a->options.adapter = true;
        return 0;
    case OPT_HALF:
        a->options.half = true;
        return 0;
    case OPT_PREFIX:
        a->options.prefix = optarg;
        return 0;
    case OPT_ZERO:
        a->options.zero_tables = true;
        return 0;
    case OPT_DROP:
        a->options.drop_unknown = true;
        return 0;
    case OPT_POINT_ORDER:
        return set_point_order(a, optarg);
    case OPT_SET:
        return add_setting(a, key_of(index), optarg);
    case OPT_HELP:
        a->help = true;
        return 0;
    default:
        return srv_tool_no_option("convert", option, argv);
    }
}

static int check(srv_convert_arguments *a, int argc, char **argv)
{
    if (argc - optind < 2)
        return srv_tool_usage("convert", "it takes IN, a file of weights, and OUT, the model to write");
    if (argc - optind > 2)
        return srv_tool_usage("convert", "\"%.60s\" is one argument too many", argv[optind + 2]);
    a->in = argv[optind];
    a->out = argv[optind + 1];
    if (a->options.adapter && a->options.base == NULL)
        return srv_tool_usage("convert", "--adapter needs --base, the model that the adapter is for");
    return 0;
}

int srv_convert_arguments_read(srv_convert_arguments *a, int argc, char **argv)
{
    int option = 0, index = 0;
    *a = (srv_convert_arguments){.settings = calloc((size_t)argc, sizeof *a->settings)};
    if (a->settings == NULL) {
        (void)fputs("msa: out of memory\n", stderr);
        return SRV_EXIT_INTERNAL;
    }
    a->options.settings = a->settings;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":", options, &index)) != -1) {
        const int code = take(a, option, index, argv);
        if (code != 0 || a->help) return code;
    }
    return check(a, argc, argv);
}

void srv_convert_arguments_clear(srv_convert_arguments *a)
{
    free(a->settings);
}
