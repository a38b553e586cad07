/* How good a model in training is on pictures that it does not learn from. */
#ifndef MSA_ENGINE_TRAIN_VALIDATION_H
#define MSA_ENGINE_TRAIN_VALIDATION_H

#include "engine/train/data.h"
#include "engine/train/trainer.h"

typedef struct msa_validation msa_validation;

/**
 * pictures: how many; they are items 0, 1, ... of step 0 of the source, which it takes (also on failure).
 * Errors: MSA_E_NOMEM, MSA_E_INVALID (no picture).
 */
MSA_NODISCARD msa_status msa_validation_new(msa_validation **out, msa_source *source, int32_t pictures,
                                            const msa_trainer *trainer, msa_error *err);
void msa_validation_free(msa_validation *v);
MSA_DEFINE_AUTO(msa_validation, msa_validation_free);
/* See msa_training_validate(). */
MSA_NODISCARD msa_status msa_validation_run(msa_validation *v, msa_trainer *trainer, msa_train_report *report,
                                            msa_train_view_fn *view, void *ctx, msa_error *err);

#endif
