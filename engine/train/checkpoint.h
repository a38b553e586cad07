/* A run on disk: what a trainer needs to go on to the same bits. */
#ifndef MSA_ENGINE_TRAIN_CHECKPOINT_H
#define MSA_ENGINE_TRAIN_CHECKPOINT_H

#include "engine/train/trainer.h"

/**
 * Writes values, moments and averages of what trains, the step and the running means. The file is written
 * beside `path`, synced and renamed: whenever the process dies, the old one or the new one is there.
 * recipe_hash: a text that stands for everything else that shapes the run. The same state makes the same
 * bytes. Errors: MSA_E_IO, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_checkpoint_save(const msa_trainer *t, const char *path, const char *recipe_hash,
                                             msa_error *err);
/**
 * Into a trainer made with the same options on the same start. On an error the trainer is as it was.
 * Errors: MSA_E_INVALID (another recipe, seed, set of parameters or frozen value), MSA_E_PARSE (malformed),
 * MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_checkpoint_load(msa_trainer *t, const char *path, const char *recipe_hash,
                                             msa_error *err);

#endif
