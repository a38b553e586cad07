/* What tensors do not show, by whose training made them. */
#ifndef MSA_ENGINE_CONVERT_PROFILE_H
#define MSA_ENGINE_CONVERT_PROFILE_H

#include "engine/base/error.h"
#include "engine/config.h"
#include "engine/convert/detect.h"

/**
 * Sets what the profile `name` says, in a configuration that already says what was seen. seen: of
 * msa_detect(). Errors: MSA_E_INVALID (no such profile, one that the tensors contradict, or, with name NULL,
 * a sentence that lists those that fit).
 */
MSA_NODISCARD msa_status msa_profile_apply(msa_config *c, const char *name, const msa_seen *seen,
                                           msa_error *err);

#endif
