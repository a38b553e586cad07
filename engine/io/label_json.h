/* labels.json: value of a label map to the name of what it marks. */
#ifndef MSA_ENGINE_IO_LABEL_JSON_H
#define MSA_ENGINE_IO_LABEL_JSON_H

#include <stdint.h>

#include "engine/base/error.h"

typedef struct msa_label_entry {
    uint16_t value;
    char name[60];
} msa_label_entry;

/**
 * {"1": "spleen", ...}, in the file's order; *out is freed with free(). Names are printable ASCII; longer
 * ones are cut. Errors: MSA_E_NOT_FOUND, MSA_E_IO, MSA_E_PARSE (also: a value that is not 1..65535, one
 * twice), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status msa_label_json_read(msa_label_entry **out, int32_t *n, const char *path,
                                             msa_error *err);

#endif
