#include "server/tool/arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/tool/tool.h"

const char srv_segment_usage[] =
    "usage: msa segment SERIES_DIR [--annot FILE]... [--box BOX]... [--model FILE] [--adapter FILE]\n"
    "                  [--precision P] [--threads N] --out DIR\n"
    "\n"
    "       msa segment SERIES_DIR --auto [--points-per-side N] [--regions N] [--min-iou X] [--min-stability "
    "X]\n"
    "                  [--min-area MM2] [--link-iou X] [--model FILE] [--adapter FILE] ... --out DIR\n"
    "\n"
    "Segments the CT or MR series below SERIES_DIR. Prompts come from annotations, boxes, or both; with "
    "--auto\n"
    "there are none: every point of a grid over every slice is a click, and what is found is linked through "
    "the\n"
    "slices.\n"
    "\n"
    "  --annot FILE   a structured report (SR) with boxes or points on the series' images\n"
    "  --box BOX      x0,y0,x1,y1@SLICE or x0,y0,x1,y1@SLICE=LABEL: columns and rows, (0,0) is the outer "
    "corner\n"
    "                 of the first pixel; SLICE counts from 0 along the slice normal\n"
    "  --auto         without prompts; a segment for each region found, \"Region 1\" the largest\n"
    "  --points-per-side N   of the grid, 1 to 64 (32): time grows with its square\n"
    "  --regions N           at most, 1 to 256 (64)\n"
    "  --min-iou X           masks of which the model predicts less are dropped, 0 to 1 (0.88)\n"
    "  --min-stability X     and those that change when the cut does, 0 to 1 (0.95)\n"
    "  --min-area MM2        smaller masks are dropped, smaller holes filled (50)\n"
    "  --link-iou X          from this overlap on masks of neighbouring slices are one region (0.5)\n"
    "  --model FILE   a model; default: the bundled one, with its adapter for CT or MR where it has one\n"
    "  --adapter FILE an adapter trained on that model\n"
    "  --precision P  what the image encoder computes with: fp32 (default), fp16, bf16 or int8\n"
    "  --threads N    engine threads, 1 to 64; default: one a core\n"
    "  --cache DIR    keeps what the model makes of slices there, up to 2 GiB: prompting the same series "
    "again\n"
    "                 then takes a fraction of the time, and gives the same files\n"
    "  --json FILE    what was found, with the model's scores, as JSON; -: to standard output instead of "
    "the\n"
    "                 text\n"
    "  --format F     of the segmentation: binary (default), fractional (the model's probability) or "
    "labelmap\n"
    "  --profile V    what a viewer needs: strict (default), ohif, slicer or weasis\n"
    "  --compression C   none (default), deflate, or rle (not of single bits)\n"
    "  --empty-frames a frame for every slice, for readers that count frames\n"
    "  --contours     structure-set.dcm as well: the masks as an RT Structure Set\n"
    "  --captures     capture-1.dcm, ...: key slices with what was found, as Secondary Capture images\n"
    "  --no-report    without report.dcm\n"
    "  --out DIR      made if needed; gets seg.dcm (seg-2.dcm, ... when segments overlap), report.dcm, "
    "preview.png and\n"
    "                 overlay-NNN.png for each slice that holds a mask or a prompt\n"
    "\n"
    "Boxes of one label are one object. One box is carried through neighbouring slices until the object "
    "ends.\n"
    "The same input gives the same files, byte for byte.\n"
    "\n"
    "Exit codes: 0 done, 3 nothing found, 64 wrong arguments, 65 unusable input, 66 a file is missing or "
    "cannot be\n"
    "written, 70 internal error, 130 cancelled.\n";

enum {
    OPT_ANNOT = 1,
    OPT_BOX,
    OPT_AUTO,
    OPT_TUNE,
    OPT_MODEL,
    OPT_ADAPTER,
    OPT_PRECISION,
    OPT_THREADS,
    OPT_OUT,
    OPT_JSON,
    OPT_CACHE,
    OPT_FORMAT,
    OPT_PROFILE,
    OPT_COMPRESSION,
    OPT_EMPTY_FRAMES,
    OPT_NO_REPORT,
    OPT_CONTOURS,
    OPT_CAPTURES,
    OPT_HELP
};

static const struct option options[] = {{"annot", required_argument, NULL, OPT_ANNOT},
                                        {"box", required_argument, NULL, OPT_BOX},
                                        {"auto", no_argument, NULL, OPT_AUTO},
                                        {"points-per-side", required_argument, NULL, OPT_TUNE},
                                        {"regions", required_argument, NULL, OPT_TUNE},
                                        {"min-iou", required_argument, NULL, OPT_TUNE},
                                        {"min-stability", required_argument, NULL, OPT_TUNE},
                                        {"min-area", required_argument, NULL, OPT_TUNE},
                                        {"link-iou", required_argument, NULL, OPT_TUNE},
                                        {"model", required_argument, NULL, OPT_MODEL},
                                        {"adapter", required_argument, NULL, OPT_ADAPTER},
                                        {"precision", required_argument, NULL, OPT_PRECISION},
                                        {"threads", required_argument, NULL, OPT_THREADS},
                                        {"out", required_argument, NULL, OPT_OUT},
                                        {"json", required_argument, NULL, OPT_JSON},
                                        {"cache", required_argument, NULL, OPT_CACHE},
                                        {"format", required_argument, NULL, OPT_FORMAT},
                                        {"profile", required_argument, NULL, OPT_PROFILE},
                                        {"compression", required_argument, NULL, OPT_COMPRESSION},
                                        {"empty-frames", no_argument, NULL, OPT_EMPTY_FRAMES},
                                        {"no-report", no_argument, NULL, OPT_NO_REPORT},
                                        {"contours", no_argument, NULL, OPT_CONTOURS},
                                        {"captures", no_argument, NULL, OPT_CAPTURES},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

static int add_box(srv_segment_arguments *a, const char *text)
{
    msa_error err = MSA_ERROR_INIT;
    if (srv_box_parse(&a->boxes[a->n_boxes], text, &err) != MSA_OK)
        return srv_tool_usage("segment", "%s", err.what);
    a->n_boxes++;
    return 0;
}

/* Where the text of an option goes, or the flag that it sets; NULL: it is another kind of option. */
static const char **text_of(srv_segment_arguments *a, int option)
{
    switch (option) {
    case OPT_MODEL:
        return &a->model;
    case OPT_ADAPTER:
        return &a->adapter;
    case OPT_OUT:
        return &a->out_dir;
    case OPT_JSON:
        return &a->json;
    case OPT_CACHE:
        return &a->cache;
    case OPT_FORMAT:
        return &a->format;
    case OPT_PROFILE:
        return &a->profile;
    case OPT_COMPRESSION:
        return &a->compression;
    default:
        return NULL;
    }
}

static bool *flag_of(srv_segment_arguments *a, int option)
{
    switch (option) {
    case OPT_AUTO:
        return &a->automatic;
    case OPT_EMPTY_FRAMES:
        return &a->empty_frames;
    case OPT_NO_REPORT:
        return &a->no_report;
    case OPT_CONTOURS:
        return &a->contours;
    case OPT_CAPTURES:
        return &a->captures;
    case OPT_HELP:
        return &a->help;
    default:
        return NULL;
    }
}

/* which: of `options`. */
static int take(srv_segment_arguments *a, int option, int which, char **argv)
{
    long long number = 0;
    int code = 0;
    const char **text = text_of(a, option);
    bool *flag = flag_of(a, option);
    if (text) return *text = optarg, 0;
    if (flag) return *flag = true, 0;
    switch (option) {
    case OPT_ANNOT:
        a->annotations[a->n_annotations++] = optarg;
        return 0;
    case OPT_BOX:
        return add_box(a, optarg);
    case OPT_TUNE:
        a->tuned = true;
        return srv_auto_argument(&a->automatic_options, options[which].name, optarg);
    case OPT_PRECISION:
        return srv_tool_precision("segment", optarg, &a->precision);
    case OPT_THREADS:
        code = srv_tool_number("segment", "--threads", optarg, 1, 64, &number);
        a->threads = (int)number;
        return code;
    default:
        return srv_tool_no_option("segment", option, argv);
    }
}

/* The words one by one, so that the sentence names the one that is none. */
static int check_form(srv_segment_arguments *a)
{
    const char *format = a->format ? a->format : "", *profile = a->profile ? a->profile : "",
               *compression = a->compression ? a->compression : "";
    if (!dicom_seg_form_parse(&a->form, format, "", "", false))
        return srv_tool_usage("segment", "--format %.40s is none: binary, fractional or labelmap", format);
    if (!dicom_seg_form_parse(&a->form, "", profile, "", false))
        return srv_tool_usage("segment", "--profile %.40s is none: strict, ohif, slicer or weasis", profile);
    if (!dicom_seg_form_parse(&a->form, "fractional", "", compression, false))
        return srv_tool_usage("segment", "--compression %.40s is none: none, rle or deflate", compression);
    if (!dicom_seg_form_parse(&a->form, format, profile, compression, a->empty_frames))
        return srv_tool_usage("segment", "--compression rle does not go with the format binary");
    return 0;
}

static int check(const srv_segment_arguments *a, int argc, char **argv)
{
    if (optind >= argc) return srv_tool_usage("segment", "SERIES_DIR is missing: the folder of the series");
    if (optind + 1 < argc)
        return srv_tool_usage("segment", "\"%.60s\" is one SERIES_DIR too many", argv[optind + 1]);
    if (!a->out_dir || !*a->out_dir) return srv_tool_usage("segment", "--out DIR is missing");
    const bool prompted = a->n_boxes > 0 || a->n_annotations > 0;
    if (!prompted && !a->automatic)
        return srv_tool_usage("segment",
                              "there is no prompt: give --annot FILE, --box BOX, or both, or --auto");
    if (prompted && a->automatic)
        return srv_tool_usage("segment",
                              "--auto goes without prompts: leave out --annot and --box, or --auto");
    if (a->tuned && !a->automatic)
        return srv_tool_usage("segment", "options of the automatic mode need --auto");
    return 0;
}

int srv_segment_arguments_read(srv_segment_arguments *a, int argc, char **argv)
{
    int option = 0, which = 0;
    *a = (srv_segment_arguments){.model = "", .adapter = "", .automatic_options = msa_auto_defaults()};
    a->annotations = calloc((size_t)argc, sizeof *a->annotations);
    a->boxes = calloc((size_t)argc, sizeof *a->boxes);
    if (!a->annotations || !a->boxes) {
        (void)fputs("msa: out of memory\n", stderr);
        return SRV_EXIT_INTERNAL;
    }
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":", options, &which)) != -1) {
        const int code = take(a, option, which, argv);
        if (code != 0) return code;
        if (a->help) return 0;
    }
    int code = check(a, argc, argv);
    if (code == 0) code = check_form(a);
    if (code == 0) a->series_dir = argv[optind];
    return code;
}

void srv_segment_arguments_clear(srv_segment_arguments *a)
{
    free(a->annotations);
    free(a->boxes);
}
