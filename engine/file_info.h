/* What a model file says of itself, read without building a model: for lists of files. */
#ifndef MSA_ENGINE_FILE_INFO_H
#define MSA_ENGINE_FILE_INFO_H

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/config.h"

typedef struct msa_file_info {
    bool is_adapter;
    msa_config config; /* of an adapter: that of base and adapter together */
    char sha256[MSA_SHA256_HEX], base_sha256[MSA_SHA256_HEX]; /* base: of an adapter, else "" */
    int64_t size_bytes, parameters;
    int32_t tensors;
} msa_file_info;

/**
 * Header and metadata are checked, the file is hashed; whether tensors fit the configuration and an adapter
 * its base is for msa_model_load() and msa_model_adapt() to say. What was read before a failure is in *out,
 * the rest is zero. Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE, MSA_E_UNSUPPORTED, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_file_info_read(msa_file_info *out, const char *path, msa_error *err);

/* The configuration as model files carry it (engine/config.h); free(). Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_file_info_config(char **json, const msa_config *config, msa_error *err);

#endif
