/* What names and shapes say about a network. */
#ifndef MSA_ENGINE_CONVERT_DETECT_H
#define MSA_ENGINE_CONVERT_DETECT_H

#include "engine/config.h"
#include "engine/convert/names.h"

/* What a file brings itself, and so says what it is. */
typedef struct msa_seen {
    bool own_decoder; /* its mask decoder is not the base's */
    bool own_tables;  /* nor are its tables of relative positions; */
    bool old_tables;  /* they have the names of SAM and MSA's eras A and B */
} msa_seen;

/**
 * Fills in what can be seen and leaves the rest as it is given, but for image_size, window and the global
 * blocks, which become -1 (n_global) or 0 (image_size) where they cannot be told. Errors: MSA_E_PARSE (not
 * all of a network is there), MSA_E_UNSUPPORTED (a network that is not handled).
 */
MSA_NODISCARD msa_status msa_detect(msa_config *c, const msa_names *names, msa_seen *seen, msa_error *err);

#endif
