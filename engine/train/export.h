/* What training leaves behind: a whole model, or what was added to a base. */
#ifndef MSA_ENGINE_TRAIN_EXPORT_H
#define MSA_ENGINE_TRAIN_EXPORT_H

#include "engine/io/safetensors.h"
#include "engine/model.h"
#include "engine/train/params.h"

#define MSA_NOTES_MAX 8

typedef struct msa_export_options {
    const float *trained;      /* (n_trained): the optimiser's moving average; NULL: the values */
    const msa_metadata *notes; /* (n_notes), at most MSA_NOTES_MAX: more metadata (recipe, steps, seed) */
    int32_t n_notes;
    msa_stored stored;
} msa_export_options;

/**
 * A model that msa_model_load() takes, not marked as untrained; low-rank updates are in its weights. options
 * NULL: values, no notes, single precision. Errors: MSA_E_IO, MSA_E_NOMEM, MSA_E_INVALID.
 */
MSA_NODISCARD msa_status msa_export_model(const msa_params *p, const char *path,
                                          const msa_export_options *options, msa_error *err);
/**
 * The trained tensors alone, with the configuration they belong to and the hash of the base they were trained
 * on (msa_model_hash()). Errors: as above; MSA_E_INVALID when everything was trained: then there is no base.
 */
MSA_NODISCARD msa_status msa_export_adapter(const msa_params *p, const char *base_hash, const char *path,
                                            const msa_export_options *options, msa_error *err);
/**
 * A base and an adapter file put together, ready to be exported or trained further; what the file holds is
 * what trains. Errors: MSA_E_INVALID (another base, or a configuration that differs in more than adapters),
 * MSA_E_PARSE (not an adapter; a tensor unknown, missing, of another shape, not finite), MSA_E_UNSUPPORTED,
 * MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_adapter_apply(msa_params **out, const msa_model *base, const char *path,
                                           msa_error *err);

#endif
