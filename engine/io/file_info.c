#include "engine/file_info.h"

#include <stdio.h>
#include <string.h>

#include "engine/adapt/adapter_file.h"
#include "engine/io/config_json.h"
#include "engine/io/safetensors.h"

static void count_tensors(msa_file_info *out, const msa_safetensors *f)
{
    out->tensors = msa_safetensors_count(f);
    for (int32_t i = 0; i < out->tensors; i++)
        out->parameters += msa_safetensors_at(f, i)->count;
}

msa_status msa_file_info_read(msa_file_info *out, const char *path, msa_error *err)
{
    MSA_AUTO(msa_safetensors) f = NULL;
    size_t size = 0;
    memset(out, 0, sizeof *out);
    MSA_TRY(msa_sha256_file(path, out->sha256, err));
    MSA_TRY(msa_safetensors_open_bare(&f, path, err));
    (void)msa_safetensors_bytes(f, &size);
    MSA_TRY(msa_safetensors_hash(f, out->sha256, err)); /* of what was read, should it have changed */
    out->size_bytes = (int64_t)size;
    count_tensors(out, f);
    const char *kind = msa_safetensors_metadata(f, "kind"), *json = msa_safetensors_metadata(f, "config");
    const char *base = msa_safetensors_metadata(f, "base_sha256");
    out->is_adapter = kind != NULL && strcmp(kind, MSA_ADAPTER_KIND) == 0;
    if (out->is_adapter && base != NULL)
        (void)snprintf(out->base_sha256, sizeof out->base_sha256, "%.64s", base);
    if (json == NULL)
        return msa_fail(err, MSA_E_PARSE, "the file carries no configuration: not a model of this program");
    return msa_config_parse(&out->config, json, err);
}

msa_status msa_file_info_config(char **json, const msa_config *config, msa_error *err)
{
    return msa_config_print(json, config, err);
}
