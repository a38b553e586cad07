/* The configuration as the JSON text that model files carry. */
#ifndef MSA_ENGINE_IO_CONFIG_JSON_H
#define MSA_ENGINE_IO_CONFIG_JSON_H

#include "engine/base/error.h"
#include "engine/config.h"

/**
 * Every size must be given and be in its range; an unknown key is refused with its name.
 * Errors: MSA_E_PARSE (not JSON, a wrong type, an unknown or missing key), MSA_E_UNSUPPORTED (out of range or
 * sizes that do not fit each other), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_config_parse(msa_config *out, const char *json, msa_error *err);
/* The text is the caller's, to free(). Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status msa_config_print(char **out, const msa_config *config, msa_error *err);
/* Ranges, and how sizes must fit each other. Errors: MSA_E_UNSUPPORTED. */
MSA_NODISCARD msa_status msa_config_check(const msa_config *config, msa_error *err);

/**
 * Sets one key from text as a person types it: names of enums, numbers, true or false, lists with commas.
 * Does not check how it fits the others: msa_config_check(). Errors: MSA_E_INVALID, with the key and what it
 * takes.
 */
MSA_NODISCARD msa_status msa_config_set(msa_config *config, const char *key, const char *text,
                                        msa_error *err);

#endif
