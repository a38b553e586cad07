/* What makes a safetensors file an adapter: the base it belongs to, and the configuration of both together.
 */
#ifndef MSA_ENGINE_ADAPT_ADAPTER_FILE_H
#define MSA_ENGINE_ADAPT_ADAPTER_FILE_H

#include "engine/config.h"
#include "engine/io/safetensors.h"

/* Metadata "kind"; beside it stand "config" and "base_sha256". */
#define MSA_ADAPTER_KIND "msa adapter 1"

/**
 * The configuration that the adapter gives its base. Errors: MSA_E_PARSE (not an adapter), MSA_E_INVALID (it
 * was trained on another base, or its configuration differs from the base's in more than an adapter may add),
 * MSA_E_UNSUPPORTED.
 */
MSA_NODISCARD msa_status msa_adapter_file_check(msa_config *out, const msa_safetensors *f,
                                                const msa_config *base, const char *base_hash,
                                                msa_error *err);

/**
 * Adapter and base differ only in what an adapter may add: adapters, low-rank updates, the depth branch, and
 * the epsilon of the blocks' norms, since MSA's EfficientSAM computes with 1e-5 on weights that were
 * published for 1e-6. Errors: MSA_E_INVALID, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_adapter_config_check(const msa_config *adapter, const msa_config *base,
                                                  msa_error *err);

#endif
