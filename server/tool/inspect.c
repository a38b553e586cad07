#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "server/segment/segment.h"
#include "server/tool/tool.h"

static const char usage[] =
    "usage: msa inspect MODEL\n"
    "\n"
    "Prints configuration, profile, hash and a summary of the tensors. MODEL is a file, or \"default\"\n"
    "for the bundled model.\n";

int srv_tool_inspect(int argc, char **argv)
{
    MSA_AUTO(msa_model) model = NULL;
    msa_error err = MSA_ERROR_INIT;
    char path[PATH_MAX];
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    if (argc != 2) return srv_tool_usage("inspect", "it takes one MODEL, a file or \"default\"");
    if (argv[1][0] == '-') return srv_tool_usage("inspect", "there is no option %.60s", argv[1]);
    if (srv_model_path(argv[1], path, sizeof path, &err) != MSA_OK) return srv_tool_fail(&err);
    if (msa_model_load(&model, path, &err) != MSA_OK) return srv_tool_fail(&err);
    msa_model_describe(model, stdout);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
