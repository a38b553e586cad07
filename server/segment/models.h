/* The models that a program works with: one base, and adapters on it for series and labels of some kinds. */
#ifndef SRV_SEGMENT_MODELS_H
#define SRV_SEGMENT_MODELS_H

#include "engine/model.h"
#include "server/core/config.h"

typedef struct srv_models srv_models;

/* As in the configuration: model.path, model.adapter, model.adapters_dir, model.precision and rules; NULL is
 * "".
 */
typedef struct srv_models_wanted {
    const char *path, *adapter, *adapters_dir;
    msa_precision precision; /* of the base, and so of every adapter on it */
    const srv_rule *rules;
    int32_t n_rules;
} srv_models_wanted;

/**
 * The base is loaded once; adapters share its weights, so that going from one to another is taking another
 * pointer. Every adapter of the folder is tried on the base and listed, also one that cannot be used; those
 * that no rule names are not kept in memory.
 *
 * With an adapter for all, the adapters of rules are not looked at. A bundled adapter counts only on the bundled model, and
 * where it is not there its rule is passed over; so is a rule whose adapter of the folder cannot be used. Any
 * other file must be there and be usable. Errors: those of msa_model_load() and msa_model_adapt(), in a
 * sentence that names the file; MSA_E_NOT_FOUND for a folder, or a name in it, that is not there.
 */
MSA_NODISCARD msa_status srv_models_load(srv_models **out, const srv_models_wanted *wanted, msa_error *err);
void srv_models_free(srv_models *m);
MSA_DEFINE_AUTO(srv_models, srv_models_free);

const srv_model_table *srv_models_table(const srv_models *m);
/* Model i of the table; NULL where it cannot be used or no rule names it. */
const msa_model *srv_models_at(const srv_models *m, int32_t i);
/* As srv_model_rule_for(); body_part "": not known. */
const msa_model *srv_models_for(const srv_models *m, const char *modality, const char *body_part,
                                const dicom_prompt *prompt);
const msa_model *srv_models_base(const srv_models *m);

/**
 * Path of the model or adapter that `path` names: a file; or "" or "default", "default-ct", "default-mr" for
 * what is bundled beside the running program (config/models/, then ../share/msad/models/). Errors:
 * MSA_E_NOT_FOUND with both places named.
 */
MSA_NODISCARD msa_status srv_model_path(const char *path, char *out, size_t out_size, msa_error *err);
/* It names something bundled. */
bool srv_model_is_bundled(const char *path);

/* The card beside a model file: NAME.md for NAME.safetensors, else CARD.md; its first heading, or its first
 * line. Both texts are "" when there is none. */
void srv_model_card(const char *file, char title[128], char path[1024]);

#endif
