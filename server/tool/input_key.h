/* The name that a result's UIDs are derived from. */
#ifndef SRV_TOOL_INPUT_KEY_H
#define SRV_TOOL_INPUT_KEY_H

#include "engine/base/hash.h"
#include "server/tool/arguments.h"

/**
 * SHA-256 over msad's version, the hashes of all files below the series folder (sorted: their names say
 * nothing), those of the annotations and the boxes as they were given (their order decides that of the
 * segments), what --auto was told, and the model's hash: whatever could change the result changes its UIDs,
 * so that no two different objects ever share one, and the same input gives the same object. Files below
 * skip_dir (the output folder) are not input. Errors: MSA_E_IO, MSA_E_NOT_FOUND, MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_input_key(const srv_segment_arguments *a, const char *skip_dir,
                                       const char *model_hash, char key[MSA_SHA256_HEX], msa_error *err);

#endif
