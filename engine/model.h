/* A model: weights mapped read-only from a safetensors file, checked against every bound. */
#ifndef MSA_ENGINE_MODEL_H
#define MSA_ENGINE_MODEL_H

#include <stdio.h>

#include "engine/base/cleanup.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/config.h"
#include "engine/precision.h"

typedef struct msa_model msa_model;

/**
 * Maps `path` (MAP_PRIVATE, PROT_READ: processes share the pages), checks header, names, shapes and that
 * every weight is finite, and prepares what depends on no input (interpolated position and relative
 * tables, dense positional encoding).
 *
 * Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (not a safetensors file, or one that lies),
 * MSA_E_UNSUPPORTED (a configuration not handled), MSA_E_NOMEM. Threads: the model is immutable; share it.
 */
MSA_NODISCARD msa_status msa_model_load(msa_model **out, const char *path, msa_error *err);
/**
 * An adapter file on its base, as `msa train` makes one. The weights that it does not hold are the base's:
 * the base is borrowed and must outlive the model. Its name is both names, its hash that of both hashes as
 * one text, the base's first, so that a result tells what it came from.
 *
 * Errors: as msa_model_load(); MSA_E_PARSE also when the file is not an adapter, MSA_E_INVALID when it was
 * trained on another base.
 */
MSA_NODISCARD msa_status msa_model_adapt(msa_model **out, const msa_model *base, const char *path,
                                         msa_error *err);
/* Both from files; the base goes with the model. adapter NULL or "": msa_model_load(). */
MSA_NODISCARD msa_status msa_model_load_adapted(msa_model **out, const char *path, const char *adapter,
                                                msa_error *err);
/* msa_model_load(), then msa_model_set_precision(): in less memory, since float32 is not prepared first. */
MSA_NODISCARD msa_status msa_model_load_in(msa_model **out, const char *path, msa_precision precision,
                                           msa_error *err);
/**
 * From now on the image encoder's large layers (qkv, proj, lin1, lin2 of every block, the neck's 1 x 1)
 * compute in `precision`; a loaded model is FP32, an adapted one as its base is at that time, with which it
 * shares what the adapter leaves as it was. Hash and version tell the precision from then on, so whatever is
 * kept by hash never mixes two. While nobody else uses the model. Uses the engine's threads.
 *
 * Errors: MSA_E_NOMEM, MSA_E_UNSUPPORTED (a weight beyond what fp16 holds, a layer too wide for int8): the
 * model is then as before.
 */
MSA_NODISCARD msa_status msa_model_set_precision(msa_model *m, msa_precision precision, msa_error *err);
msa_precision msa_model_precision(const msa_model *m);
void msa_model_free(msa_model *m);
MSA_DEFINE_AUTO(msa_model, msa_model_free);

const msa_config *msa_model_config(const msa_model *m);
/* SHA-256 of the file (of an adapted model: msa_model_adapt()), 64 lower-case hex digits; where the precision
 * is not FP32, that of these digits and its name. */
const char *msa_model_hash(const msa_model *m);
/* The same, whatever the precision. */
const char *msa_model_file_hash(const msa_model *m);
/* Tensors and parameters, as `msa inspect` reports them. */
int64_t msa_model_parameters(const msa_model *m);
/* Writes the configuration, profile, hash and tensor summary as text. */
void msa_model_describe(const msa_model *m, FILE *to);

/**
 * Writes a model of random weights with the hash scheme of the reference files (one key per tensor name), so
 * that the same seed gives the same file everywhere. config->untrained is set in the metadata whatever it
 * says.
 */
MSA_NODISCARD msa_status msa_model_write_random(const char *path, const msa_config *config, uint64_t seed,
                                                msa_error *err);
#endif
