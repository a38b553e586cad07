/* The models that a program works with: one base, and adapters on it for series of some modalities. */
#ifndef SRV_SEGMENT_MODELS_H
#define SRV_SEGMENT_MODELS_H

#include "engine/model.h"
#include "server/core/config.h"

#define SRV_MODELS_MAX (SRV_RULES_MAX + 1)

typedef struct srv_models srv_models;

/**
 * path, adapter, rules: as model.path, model.adapter and rules of the configuration. With an adapter the
 * rules are not looked at. A bundled adapter counts only on the bundled model, and where it is not there its
 * rule is passed over; any other file must be there. Errors: those of msa_model_load() and msa_model_adapt(),
 * in a sentence that names the file.
 */
MSA_NODISCARD msa_status srv_models_load(srv_models **out, const char *path, const char *adapter,
                                         const srv_rule *rules, int32_t n_rules, msa_error *err);
void srv_models_free(srv_models *m);
MSA_DEFINE_AUTO(srv_models, srv_models_free);

/* In the order in which they are tried (srv_model_for()); the last one is for any modality. */
int32_t srv_models_list(const srv_models *m, const srv_model_info **list);
const msa_model *srv_models_at(const srv_models *m, int32_t i);
const msa_model *srv_models_for(const srv_models *m, const char *modality);
const msa_model *srv_models_base(const srv_models *m);

/**
 * Path of the model or adapter that `path` names: a file; or "" or "default", "default-ct", "default-mr" for
 * what is bundled beside the running program (config/models/, then ../share/msad/models/). Errors:
 * MSA_E_NOT_FOUND with both places named.
 */
MSA_NODISCARD msa_status srv_model_path(const char *path, char *out, size_t out_size, msa_error *err);
/* It names something bundled. */
bool srv_model_is_bundled(const char *path);

#endif
