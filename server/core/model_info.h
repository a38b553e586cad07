/* What is known of a loaded model outside the process that holds it. */
#ifndef SRV_CORE_MODEL_INFO_H
#define SRV_CORE_MODEL_INFO_H

#include <stdint.h>
#include <string.h>

#include "engine/base/hash.h"

#define SRV_MODALITY_MAX 17 /* a DICOM code string (CS) and its NUL */

typedef struct srv_model_info {
    char name[64], version[32], hash[MSA_SHA256_HEX];
    char modality[SRV_MODALITY_MAX]; /* of the series it is for; "*": of any */
    int32_t untrained;
} srv_model_info;

/* The index of the first that is for this modality; -1 when there is none. */
static inline int32_t srv_model_for(const srv_model_info *models, int32_t n, const char *modality)
{
    for (int32_t i = 0; i < n; i++)
        if (strcmp(models[i].modality, "*") == 0 || strcmp(models[i].modality, modality) == 0) return i;
    return -1;
}

#endif
