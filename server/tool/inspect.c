#include <stdio.h>
#include <string.h>

#include "server/segment/models.h"
#include "server/tool/tool.h"

static const char usage[] =
    "usage: msa inspect MODEL [--adapter FILE]\n"
    "\n"
    "Prints configuration, profile, hash and a summary of the tensors. MODEL is a file, or \"default\"\n"
    "for the bundled model and its adapters; FILE is an adapter trained on it.\n";

static void describe(const srv_models *models)
{
    const srv_model_info *list = NULL;
    const int32_t n = srv_models_list(models, &list);
    msa_model_describe(srv_models_at(models, n - 1), stdout);
    for (int32_t i = 0; i + 1 < n; i++) {
        (void)printf("\nfor %s\n", list[i].modality);
        msa_model_describe(srv_models_at(models, i), stdout);
    }
}

int srv_tool_inspect(int argc, char **argv)
{
    MSA_AUTO(srv_models) models = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    const bool adapted = argc == 4 && strcmp(argv[2], "--adapter") == 0;
    if (argc != 2 && !adapted)
        return srv_tool_usage("inspect", "it takes one MODEL, a file or \"default\", and --adapter FILE");
    if (argv[1][0] == '-') return srv_tool_usage("inspect", "there is no option %.60s", argv[1]);
    if (srv_models_load(&models, argv[1], adapted ? argv[3] : NULL, srv_rules_built_in, srv_n_rules_built_in,
                        &err) != MSA_OK)
        return srv_tool_fail(&err);
    describe(models);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
