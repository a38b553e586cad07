/* From a file's names and shapes to a configuration and the list of what would be written. */
#include "engine/convert/detect.h"
#include "engine/convert/plan.h"
#include "engine/convert/profile.h"
#include "engine/convert.h"
#include "engine/io/config_json.h"
#include "tests/fuzz/fuzz.h"

static void plan(const msa_config *c, const msa_names *names)
{
    msa_plan p;
    if (msa_config_check(c, NULL) != MSA_OK) return;
    if (msa_plan_make(&p, c, names, false, NULL) == MSA_OK)
        for (int32_t i = 0; i < p.n; i++)
            if (p.tensors[i].count != p.sources[i]->tensor->count) __builtin_trap();
    msa_plan_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    MSA_AUTO(msa_checkpoint) c = NULL;
    msa_names names = {0};
    msa_config config = {.decoder_heads = 8, .adapter_mlp_scale = 0.5f, .lora_alpha = 1.0f};
    const char *profile = NULL, *meaning = NULL;
    msa_seen seen;
    if (msa_checkpoint_of_bytes(&c, bytes, size, NULL) != MSA_OK) return 0;
    if (msa_names_make(&names, c, NULL, NULL, NULL) == MSA_OK &&
        msa_detect(&config, &names, &seen, NULL) == MSA_OK)
        for (int32_t i = 0; (profile = msa_convert_profile(i, &meaning)) != NULL; i++) {
            msa_config one = config;
            if (msa_profile_apply(&one, profile, &seen, NULL) != MSA_OK) continue;
            if (one.n_global < 0) one.n_global = 0;
            plan(&one, &names);
        }
    msa_names_release(&names);
    return 0;
}
