#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/tool/arguments.h"
#include "server/tool/tool.h"

/* What `--auto` may be told: each of the options' fields, and the range that its sentence names. */
typedef struct auto_option {
    const char *name;
    size_t offset;
    bool whole;
    double min, max;
} auto_option;

#define FIELD(field) offsetof(msa_auto_options, field)

static const auto_option known[] = {
    {"points-per-side", FIELD(points_per_side), true, 1, MSA_AUTO_POINTS_MAX},
    {"regions", FIELD(regions_max), true, 1, MSA_AUTO_REGIONS_MAX},
    {"min-iou", FIELD(iou_min), false, 0, 1},
    {"min-stability", FIELD(stability_min), false, 0, 1},
    {"min-area", FIELD(area_min_mm2), false, 0, 1e6},
    {"link-iou", FIELD(link_iou), false, 0, 1},
};

int srv_auto_argument(msa_auto_options *options, const char *name, const char *text)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const auto_option *o = &known[i];
        char *end = NULL;
        if (strcmp(o->name, name) != 0) continue;
        const double value = strtod(text, &end);
        const bool fits = *text && !*end && value >= o->min && value <= o->max;
        if (!fits || (o->whole && value != floor(value)))
            return srv_tool_usage("segment", "--%s takes a %snumber from %.7g to %.7g, not \"%.30s\"", name,
                                  o->whole ? "whole " : "", o->min, o->max, text);
        const int32_t whole = (int32_t)value;
        const float real = (float)value;
        memcpy((char *)options + o->offset, o->whole ? (const void *)&whole : (const void *)&real, 4);
        return 0;
    }
    return srv_tool_usage("segment", "there is no option --%.60s", name);
}
