/* Doors into the model and the predictor for reference checks and, later, training; not for the rest of msad.
 */
#ifndef MSA_ENGINE_SAM_INTERNAL_H
#define MSA_ENGINE_SAM_INTERNAL_H

#include "engine/model.h"
#include "engine/predictor.h"
#include "engine/sam/tables.h"
#include "engine/sam/tap.h"
#include "engine/sam/weights.h"

/**
 * As msa_model_load(), for a file whose configuration lies elsewhere and whose weights have names that begin
 * with `prefix` ("" or "w."); tensors without it are not looked at. The configuration is copied.
 */
MSA_NODISCARD msa_status msa_model_open(msa_model **out, const char *path, const char *prefix,
                                        const msa_config *config, msa_error *err);
/* What predictors compute with: of the encoder's large layers it is l->packed or l->reduced, and l->weight is
 * not to be read. */
const msa_weights *msa_model_weights(const msa_model *m);
/* The same with every l->weight there, from now on: twice the memory. Not while another model is loaded on
 * it. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_model_whole_weights(const msa_weights **out, const msa_model *m, msa_error *err);
const msa_tables *msa_model_tables(const msa_model *m);
/* 1, 2, ...: no two models of a process have the same one, whatever became of the first. */
uint64_t msa_model_serial(const msa_model *m);

/* As msa_predictor_new_stack(); `tap` (copied by reference, outlives the predictor) sees every intermediate
 * result, of a stack those of one slice after another. */
MSA_NODISCARD msa_status msa_predictor_new_watched(msa_predictor **out, const msa_model *model,
                                                   int32_t slices, const msa_tap *tap, msa_error *err);

/**
 * As msa_model_write_random(), with a position table of pos_grid x pos_grid rows instead of the model's own
 * grid; 0: the own grid. Reference files of the 2025 variant mean 64.
 */
MSA_NODISCARD msa_status msa_model_write_hashed(const char *path, const msa_config *config, uint64_t seed,
                                                int32_t pos_grid, msa_error *err);

/* One value of the reference files' hash scheme: element i of tensor `name` under `seed`, in -1 .. 1. */
uint64_t msa_hash_key(const char *name, uint64_t seed);
double msa_hash_unit(uint64_t key, int64_t i);

#endif
