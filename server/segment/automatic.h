/* Regions that nobody prompted, as objects with names and results. */
#ifndef SRV_SEGMENT_AUTOMATIC_H
#define SRV_SEGMENT_AUTOMATIC_H

#include "server/segment/objects.h"

/* Of one run's masks in memory that is given out before it is written: a long series of large slices gets
 * fewer regions for it. */
#define SRV_AUTOMATIC_MASK_BYTES ((size_t)6 << 30)
/* Regions that lie in each other go into files of their own (dicom/seg.h); deeper ones are left out. */
#define SRV_AUTOMATIC_LAYERS 8

/**
 * *objects has a name for each region, "Region 1" the largest, and no prompt; *results (its n) their masks,
 * each malloc'ed, and the array itself. A region under more than SRV_AUTOMATIC_LAYERS others, and what memory
 * has no room for, is counted in n_left_out. Nothing found: no object. Errors: as msa_segment_automatic().
 */
MSA_NODISCARD msa_status srv_automatic_find(srv_objects **objects, msa_object_result **results,
                                            const srv_segment_request *request, const msa_volume *volume,
                                            msa_error *err);

#endif
