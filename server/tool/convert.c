#include "engine/convert.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/tool/convert_arguments.h"
#include "server/tool/tool.h"

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a != NULL && b != NULL && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static void print_config(const msa_config *c)
{
    static const char *const norms[] = {"sam", "unit", "medsam", "sam_on_unit"};
    static const char *const groupings[] = {"none", "volume", "runs"};
    (void)printf("network   width %d, %d blocks, %d heads, images of %d x %d; %s%s%s\n", c->dim, c->depth,
                 c->heads, c->image_size, c->image_size, c->adapters ? "adapters" : "no adapters",
                 c->decoder_adapters != MSA_DECODER_ADAPTERS_NONE ? ", in the decoder too" : "",
                 c->lora_rank > 0 ? ", low-rank updates" : "");
    (void)printf(
        "profile   input_norm=%s geometry=%s point_order=%s pad_order=%s decoder_wiring=%s mask_select=%s "
        "depth_grouping=%s\n",
        norms[c->input_norm], c->geometry == MSA_GEOMETRY_STRETCH ? "stretch" : "longest_side",
        c->point_order_yx ? "yx" : "xy",
        c->pad_order == MSA_PAD_THEN_NORM ? "pad_then_norm" : "norm_then_pad",
        c->decoder_wiring == MSA_WIRING_ESAM ? "esam" : "sam",
        c->mask_select == MSA_SELECT_FIRST ? "first" : "sam", groupings[c->depth_grouping]);
}

static void print_report(const srv_convert_arguments *a, const msa_convert_report *r)
{
    (void)printf("read      %s: %s, %d tensors\n", a->in, r->format, r->tensors);
    print_config(&r->config);
    (void)printf("names     %d matched, %d missing%s, %d unexpected", r->matched, r->missing,
                 r->missing > 0 ? " (taken from the base)" : "", r->unexpected);
    if (r->unexpected > 0)
        (void)printf(" (left out: %s%s)", r->unexpected_name, r->unexpected > 1 ? ", ..." : "");
    (void)printf("\n");
    if (r->base_decoder)
        (void)printf("note      the mask decoder is the base's; MSA trains its own beside the adapters\n");
    if (r->zero_tables > 0)
        (void)printf("note      %d tables of relative positions are zero, as MSA trains them since 2024\n",
                     r->zero_tables);
    (void)printf("wrote     %s: %s, %d tensors, %lld parameters, %s\n", a->out,
                 a->options.adapter ? "an adapter" : "a model", r->written, (long long)r->parameters,
                 a->options.half ? "float16" : "float32");
}

int srv_tool_convert(int argc, char **argv)
{
    __attribute__((cleanup(srv_convert_arguments_clear))) srv_convert_arguments a = {0};
    msa_convert_report report;
    msa_error err = MSA_ERROR_INIT;
    const int code = srv_convert_arguments_read(&a, argc, argv);
    if (code != 0) return code;
    if (a.help) return srv_convert_print_usage();
    if (same_file(a.in, a.out) || same_file(a.options.base, a.out))
        return srv_tool_usage("convert", "OUT is a file that is read: give another name");
    if (msa_convert(a.in, a.out, &a.options, &report, &err) != MSA_OK) return srv_tool_fail(&err);
    print_report(&a, &report);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
