/* A series as the engine takes it: its voxels, where its slices lie, its grey window. */
#ifndef SRV_SEGMENT_VOLUME_H
#define SRV_SEGMENT_VOLUME_H

#include "dicom/series.h"
#include "engine/segmenter.h"

typedef struct srv_volume {
    msa_volume volume; /* voxels are the series' */
    float *position_mm;
    const char *window_note; /* static text; "" */
} srv_volume;

/* `v` is zeroed; it is to be cleared in either case. Errors: MSA_E_NOMEM. */
MSA_NODISCARD msa_status srv_volume_fill(srv_volume *v, const dicom_series *series, msa_error *err);
void srv_volume_clear(srv_volume *v);

#endif
