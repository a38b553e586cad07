/* A small made-up CT series with one known object in it, for trying out a whole installation. */
#ifndef DICOM_PHANTOM_H
#define DICOM_PHANTOM_H

#include <stdint.h>

#include "dicom/init.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dicom_phantom {
    char series_uid[DICOM_UID_MAX];
    int32_t slices;
    double box[4]; /* x0, y0, x1, y1 in pixels around the object on `slice`, as REST takes it */
    int32_t slice; /* from 0 along the normal */
    double volume_ml;
} dicom_phantom;

/**
 * Writes image-NN.dcm into `dir`, which exists. UIDs derive from `name`: same name, same bytes. No patient is
 * in it.
 * Errors: MSA_E_IO, MSA_E_NOMEM, MSA_E_INTERNAL.
 */
MSA_NODISCARD msa_status dicom_phantom_write(const char *dir, const char *name, dicom_phantom *out,
                                             msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
