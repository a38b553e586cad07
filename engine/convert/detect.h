/* What names and shapes say about a network. */
#ifndef MSA_ENGINE_CONVERT_DETECT_H
#define MSA_ENGINE_CONVERT_DETECT_H

#include "engine/config.h"
#include "engine/convert/names.h"

/**
 * Fills in what can be seen and leaves the rest as it is given, but for image_size, window and the global
 * blocks, which become -1 (n_global) or 0 (image_size) where they cannot be told. *old_names: relative tables
 * have the names of SAM and MSA's eras A and B. Errors: MSA_E_PARSE (not all of a network is there),
 * MSA_E_UNSUPPORTED (a network that is not handled).
 */
MSA_NODISCARD msa_status msa_detect(msa_config *c, const msa_names *names, bool *old_names, msa_error *err);

#endif
