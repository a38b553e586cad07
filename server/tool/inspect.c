#include <stdio.h>
#include <string.h>

#include "server/segment/models.h"
#include "server/tool/tool.h"

static const char usage[] =
    "usage: msa inspect MODEL [--adapter FILE]\n"
    "       msa inspect SEG [--series DIR]\n"
    "\n"
    "Prints configuration, profile, hash and a summary of the tensors. MODEL is a file, or \"default\"\n"
    "for the bundled model and its adapters; FILE is an adapter trained on it.\n"
    "\n"
    "SEG is a DICOM segmentation of any maker: prints a sentence for each defect, and looks with --series\n"
    "whether it lies on the images below DIR. Exit code 1 when there are defects.\n";

static void describe(const srv_models *models)
{
    const srv_model_table *t = srv_models_table(models);
    const srv_rule *last = &t->rules[t->n_rules - 1];
    msa_model_describe(srv_models_at(models, last->model), stdout);
    for (int32_t i = 0; i + 1 < t->n_rules; i++) {
        if (t->rules[i].model < 0 || t->rules[i].model == last->model) continue;
        (void)printf("\nfor %s\n", t->rules[i].modality);
        msa_model_describe(srv_models_at(models, t->rules[i].model), stdout);
    }
}

int srv_tool_inspect(int argc, char **argv)
{
    MSA_AUTO(srv_models) models = NULL;
    msa_error err = MSA_ERROR_INIT;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(usage, stdout) < 0 ? SRV_EXIT_NO_INPUT : SRV_EXIT_OK;
    const bool on_series = argc == 4 && strcmp(argv[2], "--series") == 0;
    if ((argc == 2 || on_series) && srv_tool_is_dicom(argv[1]))
        return srv_tool_inspect_seg(argv[1], on_series ? argv[3] : NULL);
    if (on_series) return srv_tool_usage("inspect", "--series goes with a DICOM file, which %.200s is not", argv[1]);
    const bool adapted = argc == 4 && strcmp(argv[2], "--adapter") == 0;
    if (argc != 2 && !adapted)
        return srv_tool_usage("inspect", "it takes one MODEL, a file or \"default\", and --adapter FILE");
    if (argv[1][0] == '-') return srv_tool_usage("inspect", "there is no option %.60s", argv[1]);
    const srv_models_wanted wanted = {.path = argv[1],
                                      .adapter = adapted ? argv[3] : NULL,
                                      .rules = srv_rules_built_in,
                                      .n_rules = srv_n_rules_built_in};
    if (srv_models_load(&models, &wanted, &err) != MSA_OK) return srv_tool_fail(&err);
    describe(models);
    return fflush(stdout) == 0 ? SRV_EXIT_OK : SRV_EXIT_NO_INPUT;
}
