#include "engine/adapt/adapter_file.h"

#include <string.h>

#include "engine/io/config_json.h"

/* The configuration without what an adapter may add. */
static msa_status print_base(char **json, const msa_config *config, msa_error *err)
{
    msa_config c = *config;
    c.adapters = false;
    c.adapter_act = MSA_ACT_GELU;
    c.adapter_mlp_scale = 0.5f;
    c.decoder_adapters = MSA_DECODER_ADAPTERS_NONE;
    c.decoder_adapter_mode = MSA_ADAPTER_ADD;
    c.decoder_adapter_act = MSA_ACT_GELU;
    c.depth_grouping = MSA_DEPTH_NONE;
    c.block_norm_eps =
        0.0f; /* no weight: of the code that trained the adapter, and the adapter's then counts */
    c.lora_rank = 0;
    c.adalora = false;
    c.untrained = false;
    c.name[0] = c.version[0] = '\0';
    return msa_config_print(json, &c, err);
}

msa_status msa_adapter_config_check(const msa_config *adapter, const msa_config *base, msa_error *err)
{
    MSA_AUTO_FREE char *ours = NULL;
    MSA_AUTO_FREE char *theirs = NULL;
    MSA_TRY(print_base(&ours, base, err));
    MSA_TRY(print_base(&theirs, adapter, err));
    if (strcmp(ours, theirs) != 0)
        return msa_fail(err, MSA_E_INVALID, "the adapter's configuration is not that of its base");
    return MSA_OK;
}

msa_status msa_adapter_file_check(msa_config *out, const msa_safetensors *f, const msa_config *base,
                                  const char *base_hash, msa_error *err)
{
    const char *kind = msa_safetensors_metadata(f, "kind"), *json = msa_safetensors_metadata(f, "config"),
               *hash = msa_safetensors_metadata(f, "base_sha256");
    if (kind == NULL || strcmp(kind, MSA_ADAPTER_KIND) != 0 || json == NULL || hash == NULL)
        return msa_fail(err, MSA_E_PARSE, "the file is not an adapter of this program");
    if (strcmp(hash, base_hash) != 0)
        return msa_fail(err, MSA_E_INVALID,
                        "the adapter was trained on another base: it wants %.12s..., this is %.12s...", hash,
                        base_hash);
    MSA_TRY(msa_config_parse(out, json, err));
    return msa_adapter_config_check(out, base, err);
}
