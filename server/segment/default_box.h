/* The prompt of a series that nobody annotated, where its rule says so. */
#ifndef SRV_SEGMENT_DEFAULT_BOX_H
#define SRV_SEGMENT_DEFAULT_BOX_H

#include "dicom/annotation.h"
#include "dicom/series.h"

/**
 * A box on the middle slice (the lower one of two; of the key images among `prompts`, where there are some,
 * as results lie on these only), around the centre of the body, with sides of `percent` of the body's. The
 * body is what is brighter than the threshold that parts the slice's values best (Otsu, 64 bins); its
 * outermost hundredth on each side, such as a table, is left out. A slice without any contrast is body all
 * over. The label is "". Errors: MSA_E_INVALID (percent not in 1..100), MSA_E_NOMEM.
 */
MSA_NODISCARD msa_status srv_default_box(dicom_prompt *out, const dicom_series *series,
                                         const dicom_prompt *prompts, size_t n, int32_t percent,
                                         msa_error *err);

/* The same of one slice (rows, cols) of values: x0, y0, x1, y1 in *out. */
void srv_default_box_of(dicom_prompt *out, const float *slice, int32_t rows, int32_t cols, int32_t percent);

#endif
