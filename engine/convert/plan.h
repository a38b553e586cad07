/* Which tensors of which file are written. */
#ifndef MSA_ENGINE_CONVERT_PLAN_H
#define MSA_ENGINE_CONVERT_PLAN_H

#include "engine/config.h"
#include "engine/convert/names.h"

typedef struct msa_plan {
    msa_tensor *tensors; /* without data, in the order of the model's list */
    msa_named **sources; /* of each */
    int32_t n, room;
    int32_t missing; /* that neither file has */
    char first_missing[192];
} msa_plan;

/**
 * The tensors that the configuration asks for. What is found is marked as used.
 * Errors: MSA_E_PARSE (a shape that the configuration contradicts), MSA_E_UNSUPPORTED (whole numbers),
 * MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_plan_make(msa_plan *out, const msa_config *c, const msa_names *names, bool half,
                                       msa_error *err);
/**
 * Leaves what an adapter of the base is made of: adapters, low-rank factors and, if one of its tensors is not
 * the base's, the mask decoder. Errors: MSA_E_INVALID (no adapters; another tensor that is not the base's).
 */
MSA_NODISCARD msa_status msa_plan_keep_adapter(msa_plan *plan, const msa_config *c,
                                               const msa_checkpoint *base, msa_error *err);
void msa_plan_release(msa_plan *plan);

#endif
