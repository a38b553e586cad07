/* labels.json, or a dataset.json: value of a label map to the name of what it marks. */
#ifndef MSA_ENGINE_IO_LABEL_JSON_H
#define MSA_ENGINE_IO_LABEL_JSON_H

#include <stdbool.h>
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

/**
 * The dataset.json of the Medical Segmentation Decathlon ("labels": {"1": "liver"}, "modality": {"0": "CT"})
 * or of nnU-Net ("labels": {"liver": 1}, "channel_names"). Background (0) and "ignore" are left out; a value
 * that only stands in lists (regions) is called "label n"; other than printable ASCII becomes '?'. said_ct:
 * image number `modality` is a CT. Errors: as above; MSA_E_PARSE (also: no labels).
 */
MSA_NODISCARD msa_status msa_dataset_json_read(msa_label_entry **out, int32_t *n, bool *said_ct,
                                               int32_t modality, const char *path, msa_error *err);

#endif
